"""Recovery from what a compaction leaves."""

from __future__ import annotations

import pytest
from helpers import THREAD, Trail, chain, leaves

from walgraph import Log, LogCorrupt
from walgraph.engine import recorder
from walgraph.wal.compaction import compact
from walgraph.wal.keyspace import pair_key
from walgraph.wal.tables import SNAPS


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """A graph whose thread has a snapshot at every barrier."""
    monkeypatch.setattr(recorder, "SNAPSHOT_RECORDS", 1)
    monkeypatch.setattr(recorder, "SNAPSHOT_GROWTH", 0)
    with Log.open(tmp_path / "log", fsync="off") as log:
        yield chain(leaves("a"), leaves("b"), state=Trail).compile(log)


def test_records_that_nothing_leads_to_are_not_folded(graph) -> None:
    """A log that was cut, and whose snapshot cannot be had, is damaged: its thread does not begin in the middle."""
    for number in range(2):
        graph.invoke({"trail": [number]}, THREAD, durability="sync")
    log = graph.checkpointer
    compact(log, {"t": log.head("t").seq})
    assert log.head("t").horizon
    with log.store.all_tables.write() as txn:
        for seq in log.store.snapshots("t"):
            txn.delete(SNAPS, pair_key(log.store.row("t").number, seq))
    with pytest.raises(LogCorrupt, match="which stands for what was cut off, is missing"):
        graph.get_state(THREAD)
