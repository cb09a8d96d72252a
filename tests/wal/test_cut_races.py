"""What a cut meets that was true when it was planned and is no longer: other cuts, and a writer's newer snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest
from wal_helpers import created, write_steps

from walgraph.wal import Encoder, Log, MemoryLog, Summary
from walgraph.wal.table_store import TableStore
from walgraph.wal.verify import verify


def a_log(kind: str, path: Path) -> Log:
    """Return a log with ten steps of one thread."""
    log = MemoryLog() if kind == "memory" else Log.open(path / "log")
    with log.writer("t") as writer:
        writer.append(created(), Summary())
        for number in range(10):
            write_steps(writer, number, number + 1)
            writer.flush()
    return log


def snapshot(log: Log, seq: int) -> None:
    """Put a snapshot."""
    log.put_snapshot("t", seq, Encoder().value(f"at {seq}"))
    log.flush()


@pytest.fixture(params=["memory", "lmdb"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    """A log of each kind."""
    return a_log(request.param, tmp_path)


def test_an_older_snapshot_is_taken_beside_the_newest(log: Log) -> None:
    """A compaction that keeps some history cuts before the snapshot that the run made; both are there."""
    snapshot(log, 28)
    snapshot(log, 13)
    assert log.store.snapshots("t") == [13, 28]
    head = log.head("t")
    assert head is not None
    assert head.snapshot_seq == 28
    assert log.truncate("t", 13) > 0
    assert next(log.read("t")).seq == 14
    assert verify(log).ok


def test_a_snapshot_before_the_horizon_is_not_taken(log: Log) -> None:
    """What it would stand for is gone already."""
    snapshot(log, 13)
    log.truncate("t", 13)
    snapshot(log, 7)
    assert log.store.snapshots("t") == [13]


def test_a_cut_whose_snapshot_was_replaced_does_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer's newer snapshot took the place of the one that the cut leans on: nothing is cut off."""
    snapshot(log, 13)
    original = TableStore._cut

    def late(self: TableStore, *arguments: object) -> int:
        monkeypatch.undo()
        snapshot(log, 28)
        return original(self, *arguments)

    monkeypatch.setattr(TableStore, "_cut", late)
    assert log.truncate("t", 13) == 0
    assert next(log.read("t")).seq == 1
    assert verify(log).ok


def test_two_cuts_of_one_thread_do_not_meet(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower of two compactions finds its work done, and does not take that for damage."""
    snapshot(log, 13)
    original = TableStore._cut

    def late(self: TableStore, *arguments: object) -> int:
        monkeypatch.undo()
        assert log.truncate("t", 13) > 0
        snapshot(log, 28)
        assert log.truncate("t", 28) > 0
        return original(self, *arguments)

    monkeypatch.setattr(TableStore, "_cut", late)
    assert log.truncate("t", 13) == 0
    head = log.head("t")
    assert head is not None
    assert head.horizon == 28
    assert verify(log).ok
