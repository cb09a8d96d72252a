"""Which checkpoints of LangGraph's threads may go, and letting them go.

    all_but(state, n)      all but the newest n of each namespace, and what their delta channels lean on
    of_runs(state, ids)    those of certain runs
    drop(lane, choose)     a CheckpointsDropped for each namespace, in one frame

A delta channel is not in every checkpoint: its value is made of what was written since an ancestor that holds it. The
metadata say which channels are such. So an ancestor stays as long as a checkpoint that stays leans on it.

Invariants:
1. The checkpoints that stay are what they were; only their ancestors may be missing.

This module must not know LangGraph's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ..replay.saved import SavedThread
from ..wal.saved_record import CheckpointsDropped
from .saved_draft import Draft
from .saved_lane import Lane

DELTA = "counters_since_delta_snapshot"


def all_but(state: SavedThread, newest: int) -> dict[str, tuple[str, ...]]:
    """Return namespace → ids of all checkpoints but the newest ones, and those that these lean on."""
    chosen: dict[str, tuple[str, ...]] = {}
    for ns, space in state.spaces.items():
        ids = [*space.entries]
        kept = set(ids[-newest:])
        for each in ids[-newest:]:
            kept |= leaned_on(state, ns, each)
        # Writes of checkpoints that were never put go as well, unless they may still be.
        stray = [each for each in space.written() if each not in space.entries and ids and each < ids[-1]]
        gone = (*[each for each in ids if each not in kept], *stray)
        if gone:
            chosen[ns] = gone
    return chosen


def leaned_on(state: SavedThread, ns: str, id: str) -> set[str]:
    """Return the ancestors that the delta channels of a checkpoint are made of."""
    record = state.record(ns, id)
    assert record is not None, "it is there"
    open_ones = {
        channel for channel in record.metadata.get(DELTA, ()) if channel not in state.resolved(ns, id).values
    }
    found: set[str] = set()
    for ancestor in state.lineage(ns, id) if open_ones else ():
        found.add(ancestor)
        open_ones -= state.resolved(ns, ancestor).values.keys()
        if not open_ones:
            break
    return found


def of_runs(state: SavedThread, runs: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return namespace → ids of the checkpoints of these runs."""
    chosen: dict[str, tuple[str, ...]] = {}
    for ns, space in state.spaces.items():
        ids = [each for each in space.entries if _run_of(state, ns, each) in runs]
        if ids:
            chosen[ns] = tuple(ids)
    return chosen


def _run_of(state: SavedThread, ns: str, id: str) -> object:
    record = state.record(ns, id)
    return None if record is None else record.metadata.get("run_id")


def drop(lane: Lane, choose: Callable[[SavedThread], Mapping[str, tuple[str, ...]]]) -> bool:
    """Drop the checkpoints that are chosen, durably; tell whether there were any."""
    any_chosen: list[bool] = []

    def make(lane: Lane) -> Draft:
        records = tuple([CheckpointsDropped(ns, ids) for ns, ids in choose(lane.state).items()])
        any_chosen.append(bool(records))
        return Draft(records, (), lane.summary)

    lane.change(make)
    return any(any_chosen)
