"""The table of schedules: rows change under the eyes of who changes them, together with the runs they hand over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_helpers import a_run, a_schedule

from walgraph import Log, LogCorrupt, MemoryLog
from walgraph.wal.lmdb_store import LmdbTransaction
from walgraph.wal.schedule_layout import LOOK, ROW, pack_schedule, row_key, unpack_schedule
from walgraph.wal.submission_layout import Submission
from walgraph.wal.tables import SCHEDULED
from walgraph.wal.verify import verify

GOLDEN = (
    "46f0ab28520c3e73dc001ba76e696768746c79a9302032202a202a202aa3555443a167a0a17100c40481a17801c40664"
    "6967657374a66c6174657374a4736b6970000000000000cd03e8000000a0920708a96e696768746c794031000000"
)
"""A row, with its checksum in front."""


@pytest.fixture(params=["memory", "lmdb"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """An empty log of each kind."""
    with MemoryLog() if request.param == "memory" else Log.open(tmp_path / "log.wal") as made:
        yield made


def test_a_row_is_changed_only_by_who_has_seen_it(log: Log) -> None:
    """Making, changing and deleting are refused when it is not as the caller thinks."""
    table = log.schedules(write=True)
    first = a_schedule()
    second = first._replace(next=2000)
    assert table.change(None, first)
    assert not table.change(None, second)
    assert not table.change(second, first)
    assert table.change(first, second)
    assert not table.change(first, None)
    assert table.get("nightly") == second
    assert table.change(second, None)
    assert (table.get("nightly"), list(table.all()), list(table.due(10**18))) == (None, [], [])


def test_runs_are_handed_over_together_with_the_row(log: Log) -> None:
    """A refused change hands nothing over; a run whose id is known is not handed over again."""
    table, runs = log.schedules(write=True), log.submissions()
    first = a_schedule()
    table.change(None, first)
    assert not table.change(first._replace(next=5), first, [a_run("n@1")])
    assert runs.get("n@1") is None
    assert table.change(first, first._replace(next=2000), [a_run("n@1"), a_run("n@2", "n@1")])
    assert table.change(first._replace(next=2000), first._replace(next=3000), [a_run("n@1")])
    assert [(each.run, each.number) for each in runs.all()] == [("n@1", 1), ("n@2", 2)]
    assert [each.run for each in runs.waiting(lambda *_: True, 10)] == ["n@1"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_fails_leaves_both_or_neither(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row and its runs are one transaction."""
    first = a_schedule()
    with Log.open(tmp_path / "log.wal") as log:
        table = log.schedules(write=True)
        table.change(None, first, [a_run("other")])
        leave = LmdbTransaction.__exit__

        def failing(self: Any, *given: Any) -> None:
            if when == "after":
                leave(self, *given)
                raise OSError("it is not known whether that was written")
            leave(self, OSError, OSError("no"), None)
            raise OSError("no")

        with monkeypatch.context() as patch:
            patch.setattr(LmdbTransaction, "__exit__", failing)
            with pytest.raises(OSError, match="n"):
                table.change(first, first._replace(next=2000), [a_run("n@1")])
    with Log.open(tmp_path / "log.wal") as log:
        row = log.schedules().get("nightly")
        assert row is not None
        is_written = log.submissions().get("n@1") is not None
        assert (row.next == 2000) == is_written == (when == "after")


def test_what_is_due_comes_in_the_order_of_its_time(log: Log) -> None:
    """Paused ones and those that are over do not come; those whose buffer waits come always."""
    table = log.schedules(write=True)
    for n in range(150):
        table.change(None, a_schedule(f"s{n:03}", next=1000 + n * 7 % 150))
    table.change(None, a_schedule("paused", paused_at=1))
    table.change(None, a_schedule("over", next=0))
    table.change(None, a_schedule("waits", buffered=(5,)))
    due = list(table.due(1099))
    assert [each.name for each in due[:2]] == ["waits", "s000"]
    assert [each.next for each in due[1:]] == list(range(1000, 1100))
    assert (table.next_look(0), table.next_look(1099), table.next_look(2000)) == (1000, 1100, None)
    assert len(list(table.all())) == 153


def test_long_names_are_told_apart(log: Log) -> None:
    """Names of any length find what is theirs."""
    table = log.schedules(write=True)
    for end in "ab":
        table.change(None, a_schedule("x" * 5000 + end))
    assert [each.name[-1] for each in table.due(10**18)] in (["a", "b"], ["b", "a"])
    found = table.get("x" * 5000 + "b")
    assert found is not None
    assert found.name[-1] == "b"
    assert table.get("x" * 5000 + "c") is None


def test_a_log_without_schedules_has_no_table(tmp_path: Path) -> None:
    """Looking makes none."""
    with Log.open(tmp_path / "log.wal") as log:
        table = log.schedules()
        found = (table.get("x"), list(table.all()), list(table.due(5)), table.next_look(0))
        assert found == (None, [], [], None)
        assert not table.is_there()
        assert verify(log, structure=False).ok


def test_verify_finds_what_is_wrong_with_the_table(tmp_path: Path) -> None:
    """A damaged row, one under another name, a lost entry of when to look, one that is too many, a damaged input."""
    with Log.open(tmp_path / "log.wal") as log:
        table = log.schedules(write=True)
        for name in ("a", "b", "c"):
            table.change(None, a_schedule(name))
        table.change(None, a_schedule("d", given=b"\xc1"))
        with log.store.all_tables.write() as txn:
            data = txn.get(SCHEDULED, row_key("a")) or b""
            txn.put(SCHEDULED, row_key("a"), data[:-1] + bytes([data[-1] ^ 1]))
            looks = txn.keys(SCHEDULED, LOOK, 10)
            txn.delete(SCHEDULED, looks[1])
            txn.put(SCHEDULED, looks[2][:-1] + b"z", b"\x00")
            txn.put(SCHEDULED, ROW + b"\x00q", data)
        with pytest.raises(LogCorrupt):
            table.get("a")
        said = "\n".join(problem.what for problem in verify(log, structure=False).problems)
    assert said.count("checksum does not match") == 2
    assert said.count("names a time that is none") == 2
    assert said.count("is missing") == 1
    assert "input of schedule 'd'" in said


def test_rows_are_written_as_ever() -> None:
    """The bytes of a schedule are pinned, and rows that lack later fields are read with their defaults."""
    row = a_schedule(buffered=(7, 8), run="nightly@1")
    data = pack_schedule(row_key("nightly"), row)
    assert data.hex() == GOLDEN
    assert unpack_schedule(row_key("nightly"), data) == row
    run = a_run("nightly@1")
    assert Submission(*run[:-1]) == run._replace(notes=())
