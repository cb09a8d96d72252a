"""What is read of one of LangGraph's threads: one checkpoint, or which ones are meant.

    View.of(lane, ns, id)    a checkpoint with all its values and writes, as bytes
    selected(...)            the checkpoints that a listing means, newest first
    check_superseded(...)    whether a checkpoint may be put on its parent

Invariants:
1. Newest first is the order of the log, within a thread; across threads it is that of ids, which hold the time.
2. A view holds bytes; who asked for it makes values of them, outside of any lock.

This module must not know LangGraph's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..replay.saved import SavedThread
from ..wal.saved_record import CheckpointPut, Version
from .errors import CheckpointSuperseded
from .saved_draft import Typed, in_order
from .saved_lane import Lane


class View(NamedTuple):
    """One checkpoint."""

    record: CheckpointPut
    versions: Mapping[str, Version]
    seen: Mapping[str, Mapping[str, Version]]
    values: dict[str, Typed]
    writes: list[tuple[str, str, Typed]]
    """Task, channel and value, in the order in which LangGraph applies them."""
    rest: Typed | None

    @classmethod
    def of(cls, lane: Lane, ns: str, id: str, *, channels: Collection[str] | None = None) -> View:
        """Return a checkpoint that is there; with ``channels`` only their values. Called with the lane's lock held."""
        state = lane.state
        found = state.resolved(ns, id)
        values = {
            channel: typed(lane, number)
            for channel, number in found.values.items()
            if channels is None or channel in channels
        }
        writes = [
            (task, write.channel, typed(lane, write.number))
            for (task, _), write in in_order(state.writes(ns, id))
            if channels is None or write.channel in channels
        ]
        rest = found.record.rest
        return cls(
            found.record,
            found.versions,
            found.seen,
            values,
            writes,
            typed(lane, rest) if type(rest) is int else None,
        )


class Place(NamedTuple):
    """Where a checkpoint is."""

    thread: str
    ns: str
    id: str


def typed(lane: Lane, number: int) -> Typed:
    """Return a payload; called with the lane's lock held."""
    return Typed(lane.state.payloads.get(number).type, lane.read(number))


def config_of(thread: str, ns: str, id: str) -> dict[str, Any]:
    """Return the config that names a checkpoint."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}


def selected(
    lane_of: Callable[[str], Lane],
    threads: Sequence[str],
    wanted: tuple[str | None, str | None, str | None],
    filter: Mapping[str, Any] | None,
) -> Iterator[Place]:
    """Yield the places of checkpoints, newest first.

    Args:
        lane_of: Returns the lane of a thread.
        threads: The threads.
        wanted: Namespace and id, None for all, and the id of the checkpoint that all of them must be older than.
        filter: Keys and values that the metadata must have.
    """
    places: list[Place] = []
    for thread in threads:
        lane = lane_of(thread)
        with lane.lock:
            places += [Place(thread, *each) for each in _ordered(lane.current(), wanted)]
    if len(threads) > 1:
        places.sort(key=lambda place: place.id, reverse=True)
    for place in places:
        if filter:
            lane = lane_of(place.thread)
            with lane.lock:
                record = lane.state.record(place.ns, place.id)
            if record is None or not all(record.metadata.get(key) == value for key, value in filter.items()):
                continue
        yield place


def _ordered(state: SavedThread, wanted: tuple[str | None, str | None, str | None]) -> list[tuple[str, str]]:
    only_ns, only_id, before = wanted
    known = (
        [space.entries[before].seq for space in state.spaces.values() if before in space.entries]
        if before
        else []
    )
    rows = [
        (entry.seq, ns, own)
        for ns, space in state.spaces.items()
        if only_ns is None or ns == only_ns
        for own, entry in space.entries.items()
        if (not only_id or own == only_id)
        and (before is None or (entry.seq < known[0] if known else own < before))
    ]
    rows.sort(reverse=True)
    return [(ns, own) for _, ns, own in rows]


def check_superseded(lane: Lane, ns: str, parent: str | None, id: str) -> None:
    """Refuse a second child of a checkpoint that was handed out here as the newest; called with the lock held.

    Raises:
        CheckpointSuperseded: Somebody else has gone on from there.
    """
    if parent is not None and (ns, parent) in lane.lost:
        raise lane.lost[ns, parent]
    if not lane.handed.get((ns, parent)):
        return
    space = lane.state.spaces.get(ns)
    if space is None or id in space.entries:
        return
    if parent in space.parents or (
        parent is None and any(not each.parent for each in space.entries.values())
    ):
        others = [each for each, entry in space.entries.items() if entry.parent == parent]
        said = "was the newest of its thread" if parent is not None else "did not exist"
        at = f"checkpoint {parent}" if parent is not None else "it"
        message = (
            f"Thread {lane.thread!r} was changed by another run: when this one began, {at} {said}, and by now "
            f"{', '.join(others[-3:])} came after it. Nothing of this run's {id} was put."
        )
        hint = (
            "Run one thread once at a time, and invoke it again: it goes on from the newest checkpoint. "
            'WalSaver(..., on_superseded="fork") lets both stand.'
        )
        raise CheckpointSuperseded(
            message, hint=hint, thread=lane.thread, ns=ns, parent=parent, ours=id, theirs=others
        )
