"""Words for the tests of backups: a target in memory, a log with a bit of everything, and comparing two logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wal_helpers import a_step

from walgraph import Log
from walgraph.wal import BackupDamaged, Encoder, Summary
from walgraph.wal.backup_target import Target
from walgraph.wal.schedule_layout import Schedule
from walgraph.wal.submission_layout import Submission
from walgraph.wal.tables import LATER_NAMES, TABLE_NAMES
from walgraph.wal.verify import verify


class Memory(Target):
    """A target in memory, which can be made to fail before or after the n-th write."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.fails_at = -1
        self.after = False
        self.writes = 0

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so."""
        return sorted(name for name in self.held if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        """Return what was written."""
        if name not in self.held:
            raise BackupDamaged(f"lacks {name}")
        return self.held[name]

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        """Keep it."""
        self.writes += 1
        if new and name in self.held:
            raise FileExistsError(name)
        if self.writes == self.fails_at and not self.after:
            raise OSError("pulled out")
        self.held[name] = data
        if self.writes == self.fails_at:
            raise OSError("pulled out")

    def delete(self, name: str) -> None:
        """Forget it."""
        self.held.pop(name, None)


@contextmanager
def filled(path: Path) -> Iterator[Log]:
    """Open a log with two threads, a large value, a signal, a handed-over run and a schedule."""
    with Log.open(path, fsync="off") as made:
        for thread in ("t", "u"):
            with made.writer(thread) as writer:
                frames(writer, 0, 5)
                writer.append(
                    a_step(9, "x" * 100_000), Summary("sleeping", "g", 9, ("next",), 10**18), awaited=True
                )
                writer.flush()
        made.signal("u", "paid", {"amount": 3})
        made.schedules(write=True).change(None, a_schedule(), [a_run("nightly@1")])
        yield made


def a_schedule(name: str = "nightly", **fields: Any) -> Schedule:
    """Return a schedule that is due at the time 1000."""
    given = Encoder().value({"x": 1}).data
    made = Schedule(name, "0 2 * * *", "UTC", "g", "", "q", 0, given, b"digest", "latest", "skip", *[0] * 6)
    return made._replace(**{"next": 1000, **fields})


def a_run(name: str, thread: str = "") -> Submission:
    """Return a run that is handed over."""
    return Submission(0, name, thread or name, "g", "q", 0, Encoder().value({"x": 1}).data, b"digest", 5)


def frames(writer: Any, first: int, end: int) -> None:
    """Write steps, one frame each."""
    for number in range(first, end):
        writer.append(a_step(number), Summary("running", "g", number, ("node",)), awaited=True)
        writer.flush()


def same(one: Log, path: Path | str) -> None:
    """Assert that a log at a path holds the same as this one, its own id apart."""
    with Log.open(path, readonly=True) as other:
        assert verify(other).ok
        first, second = (dict(each.store.facts()) for each in (one, other))
        assert first["tables"].keys() == second["tables"].keys()
        names = [name.decode() for name in TABLE_NAMES + LATER_NAMES]
        for table in [names.index(name) for name in first["tables"] if name != "meta"]:
            with one.store.all_tables.read() as mine, other.store.all_tables.read() as theirs:
                assert mine.scan(table, b"\x00", 10**6) == theirs.scan(table, b"\x00", 10**6)
        assert first["store"] != second["store"]
