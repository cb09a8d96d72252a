"""Recovery beside others: what a compaction cuts off while a thread is being read."""

from __future__ import annotations

import pytest
from helpers import THREAD, Trail, chain, leaves

from walgraph import Log, LogCorrupt
from walgraph.engine import recorder
from walgraph.wal.compaction import compact


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """A graph whose thread has a snapshot at every barrier."""
    monkeypatch.setattr(recorder, "SNAPSHOT_RECORDS", 1)
    monkeypatch.setattr(recorder, "SNAPSHOT_GROWTH", 0)
    with Log.open(tmp_path / "log", fsync="off") as log:
        yield chain(leaves("a"), leaves("b"), state=Trail).compile(log)


def test_a_cut_between_the_snapshot_and_the_records_is_no_gap(graph, monkeypatch) -> None:
    """A compaction cut behind the snapshot that was just read; its records were passed over, and writes were lost.

    A siege found it: a thread was taken over while another process compacted, and signals that it had received were
    gone from its state. The newer snapshot, which the cut left, is read instead.
    """
    graph.invoke({"trail": ["first"]}, THREAD)
    log = graph.checkpointer
    look = log.snapshot

    def overtaken(thread, at=None):
        found = look(thread, at)
        monkeypatch.setattr(log, "snapshot", look)
        graph.invoke({"trail": ["second"]}, THREAD)
        compact(log, {"t": log.head("t").seq})
        return found

    monkeypatch.setattr(log, "snapshot", overtaken)
    found = graph.get_state(THREAD).values
    assert found == {"trail": ["first", "a", "b", "second", "a", "b"]}


def test_records_that_nothing_leads_to_are_not_folded(graph, monkeypatch) -> None:
    """A log that was cut, and whose snapshot cannot be had, is damaged: its thread does not begin in the middle."""
    for number in range(2):
        graph.invoke({"trail": [number]}, THREAD, durability="sync")
    log = graph.checkpointer
    compact(log, {"t": log.head("t").seq})
    assert log.head("t").horizon
    monkeypatch.setattr(log, "snapshot", lambda *_: None)
    with pytest.raises(LogCorrupt, match="what comes next"):
        graph.get_state(THREAD)
