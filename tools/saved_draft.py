"""From a checkpoint or writes, as they are given, to the records that are appended.

    Incoming  ──► what of it is new, beside its parent ──► CheckpointPut ─┐
    writes    ──► those that are not there yet ──────────► WritesPut ─────┴─► Draft: records, large values, summary

For each value that is new the cheapest form is taken:

    the same bytes are there, in the parent's channel or in a write that led here    their number
    most of its bytes are there                                                      pieces: what is new, and stretches
    it stands by itself, small                                                       its bytes
    it stands by itself, large                                                       the address of a blob

Invariants:
1. The record says what was given, whichever form each value took.
2. A chain of values that lean on one another ends before reading it costs more than reading the value does.

This module must not know the log, nor LangGraph's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

from ..replay.saved import DEEPEST, Resolved, SavedThread, Write
from ..replay.splice import splice
from ..wal.blob import Blob
from ..wal.frame import Summary
from ..wal.record import Reference
from ..wal.saved_record import CheckpointPut, Copied, Kept, Payload, Piece, SavedRecord, Version, WritesPut
from ..wal.saved_thread import GRAPH
from ..wal.shared import blob_of

INLINE_BYTES = 8 * 1024
"""Larger values lie among the log's blobs."""
SPLICED_BYTES = 256
"""Smaller values are not worth looking into."""
SHORT_CHAIN = 256
LONG_CHAIN = 2048
"""How deep a value may lean: always so deep; and as deep as this while it saves more than it takes to read."""
MANY_WRITES = 256
INTERRUPT, ERROR, RESUME = "__interrupt__", "__error__", "__resume__"
AT_ONCE = frozenset({INTERRUPT, ERROR, RESUME, "__scheduled__", "__error_source_node__"})
"""Channels whose writes are waited for: no checkpoint need follow them."""
BRANCH = "branch:to:"
_TEXT = {str}


class Typed(NamedTuple):
    """A value as the serialiser made it."""

    type: str
    data: bytes


class Incoming(NamedTuple):
    """A checkpoint that is to be put; a value that is a number is taken over from its parent."""

    ns: str
    id: str
    parent: str | None
    v: int
    ts: str
    versions: Mapping[str, Version]
    seen: Mapping[str, Mapping[str, Version]]
    updated: Sequence[str] | Literal[False] | None
    values: Mapping[str, Typed | int]
    metadata: dict[str, Any]
    rest: Typed | None


class Draft(NamedTuple):
    """What is to be appended: records, the blobs that they name, and what the directory is to show."""

    records: tuple[SavedRecord, ...]
    blobs: tuple[Blob, ...]
    summary: Summary
    fresh: Sequence[tuple[int, bytes]] = ()
    """Numbers and bytes of new payloads that will be asked for again soon, and take time to read."""


NOTHING: tuple[SavedRecord, ...] = ()


class Keeper:
    """Finds the form in which values are kept, and gathers the blobs of the large ones.

    Args:
        state: The thread.
        read: Returns the bytes of a payload by its number.
    """

    def __init__(self, state: SavedThread, read: Callable[[int], bytes]) -> None:
        self.state = state
        self.read = read
        self.blobs: list[Blob] = []
        self.fresh: list[tuple[int, bytes]] = []
        self._next = state.payloads.next

    def kept(self, value: Typed, old: int | None = None, writes: Sequence[int] = ()) -> Kept:
        """Return the form of one value.

        Args:
            value: The value.
            old: The payload that it may be a change of.
            writes: Payloads that it may have come from.
        """
        payloads = self.state.payloads
        data = value.data
        alike: list[int] = []
        candidates: list[int] = [*writes] if old is None else [*writes, old]
        for number in candidates:
            if payloads.get(number).type == value.type:
                if payloads.size(number) == len(data) and self.read(number) == data:
                    return number
                alike.append(number)
        number = self._next
        self._next += 1
        if len(data) >= SPLICED_BYTES:
            self.fresh.append((number, data))
        if len(data) < SPLICED_BYTES or not alike:
            return Payload(value.type, self._whole(data))
        former = (old, self.read(old)) if old is not None and old in alike else None
        pieces = splice(data, former, [(number, self.read(number)) for number in alike if number != old])
        literal = sum([len(piece) for piece in pieces if type(piece) is bytes])
        if literal * 2 > len(data) or self._is_too_deep(pieces, literal, len(data)):
            return Payload(value.type, self._whole(data))
        kept: list[Piece] = []
        for piece in pieces:
            kept += self._whole(piece) if type(piece) is bytes else (piece,)
        return Payload(value.type, tuple(kept))

    def _is_too_deep(self, pieces: Sequence[bytes | Copied], literal: int, size: int) -> bool:
        weights = [self.state.payloads.weight(piece.number) for piece in pieces if type(piece) is Copied]
        depth = 1 + max([weight.depth for weight in weights], default=0)
        written = literal + max([weight.written for weight in weights], default=0)
        return depth > LONG_CHAIN or (depth > SHORT_CHAIN and written > size)

    def _whole(self, data: bytes) -> tuple[bytes | Reference, ...]:
        if len(data) <= INLINE_BYTES:
            return (data,)
        address, blob = blob_of(data)
        self.blobs.append(blob)
        return (address,)


def draft_checkpoint(
    state: SavedThread, new: Incoming, read: Callable[[int], bytes], summary: Summary
) -> Draft:
    """Return what is appended for a checkpoint; ``summary`` is what the directory shows so far."""
    keeper = Keeper(state, read)
    below = _below(state, new)
    base = None if below is None or not _can_change(below, new) else below
    written = _writes_of(state, new)
    values: list[tuple[str, Kept | None]] = []
    for channel, value in new.values.items():
        before = None if below is None else below.values.get(channel)
        if type(value) is int:
            kept: Kept = value
        else:
            assert isinstance(value, Typed), "a value is a number or was serialised"
            kept = keeper.kept(value, before, written.get(channel, ()))
        if base is None or kept != before:
            values.append((channel, kept))
    if base is not None:
        values += [(channel, None) for channel in base.values if channel not in new.values]
    record = CheckpointPut(
        new.ns,
        new.id,
        new.parent,
        None if base is None else base.record.id,
        new.v,
        new.ts,
        tuple(_changes({} if base is None else base.versions, new.versions)),
        tuple(
            [
                (node, tuple(seen.items()))
                for node, seen in new.seen.items()
                if base is None or not _same_versions(base.seen.get(node), seen)
            ]
        ),
        new.updated if new.updated is None or new.updated is False else tuple(new.updated),
        tuple(values),
        new.metadata,
        None if new.rest is None else keeper.kept(new.rest),
    )
    return Draft((record,), tuple(keeper.blobs), _summary(new, summary, state), keeper.fresh)


def draft_writes(
    state: SavedThread,
    place: tuple[str, str, str, str],
    writes: Sequence[tuple[int, str, Typed]],
    read: Callable[[int], bytes],
    summary: Summary,
) -> Draft:
    """Return what is appended for a task's writes; nothing if all of them are there.

    Args:
        state: The thread.
        place: Namespace, checkpoint, task and path.
        writes: Index, channel and value of each.
        read: Returns the bytes of a payload by its number.
        summary: What the directory shows so far.
    """
    ns, checkpoint, task, path = place
    keeper = Keeper(state, read)
    there = state.writes(ns, checkpoint)
    below = state.resolved(ns, checkpoint).values if state.record(ns, checkpoint) is not None else {}
    new: list[tuple[int, str, Kept]] = []
    for index, channel, value in writes:
        former = there.get((task, index))
        if former is not None and index >= 0:
            continue
        kept = keeper.kept(value, below.get(channel), () if former is None else (former.number,))
        if former is None or kept != former.number:
            new.append((index, channel, kept))
    if not new:
        return Draft(NOTHING, (), summary)
    if not ns:
        status = _status({channel for _, channel, _ in new})
        summary = summary if status is None else summary._replace(status=status)
    return Draft(
        (WritesPut(ns, checkpoint, task, path, tuple(new)),), tuple(keeper.blobs), summary, keeper.fresh
    )


def in_order(writes: Mapping[tuple[str, int], Write]) -> list[tuple[tuple[str, int], Write]]:
    """Return writes in the order in which LangGraph applies them: by path, task and index."""
    return sorted(writes.items(), key=lambda item: (item[1].path, *item[0]))


def _below(state: SavedThread, new: Incoming) -> Resolved | None:
    if new.parent is None or new.parent == new.id or state.record(new.ns, new.parent) is None:
        return None
    return state.resolved(new.ns, new.parent)


def _can_change(below: Resolved, new: Incoming) -> bool:
    """Return whether the new checkpoint can be said as a change to the one below: nothing may have vanished."""
    return (
        below.depth + 1 < DEEPEST
        and below.versions.keys() <= new.versions.keys()
        and below.seen.keys() <= new.seen.keys()
    )


def _writes_of(state: SavedThread, new: Incoming) -> dict[str, list[int]]:
    """Return channel → payloads that were written to it on the way to the new checkpoint."""
    found: dict[str, list[int]] = {}
    if new.parent is None:
        return found
    written = state.writes(new.ns, new.parent)
    if len(written) <= MANY_WRITES:
        for _, write in in_order(written):
            found.setdefault(write.channel, []).append(write.number)
    return found


def _changes(before: Mapping[str, Version], after: Mapping[str, Version]) -> list[tuple[str, Version]]:
    # 1, 1.0 and True are equal, and must come back as what they were.
    get = before.get
    return [
        (key, value)
        for key, value in after.items()
        if get(key) != value or (type(value) is not str and type(get(key)) is not type(value))
    ]


def _same_versions(one: Mapping[str, Version] | None, other: Mapping[str, Version]) -> bool:
    if one is None or one != other:
        return False
    # Text equals nothing but text. A checkpoint holds the versions of every node that has run, so this is asked often.
    if {*map(type, other.values())} <= _TEXT:
        return True
    return all(type(one[key]) is type(value) for key, value in other.items())


def next_nodes(channels: Iterable[str]) -> tuple[str, ...]:
    """Return the nodes that are due, as far as the names of the channels that hold a value tell."""
    return tuple(sorted([name.removeprefix(BRANCH) for name in channels if name.startswith(BRANCH)]))


def _status(channels: AbstractSet[str]) -> str | None:
    """Return how a thread stands by what its tasks wrote last; None if that does not say."""
    for channel, status in ((INTERRUPT, "interrupted"), (ERROR, "failed"), (RESUME, "parked")):
        if channel in channels:
            return status
    return None


def _summary(new: Incoming, before: Summary, state: SavedThread) -> Summary:
    """Return what the directory shows once a checkpoint is put; only those of the root graph count.

    A task's writes may have overtaken it.
    """
    if new.ns:
        return before
    due = next_nodes(new.values)
    step = new.metadata.get("step")
    status = _status({write.channel for write in state.writes(new.ns, new.id).values()})
    return Summary(status or ("parked" if due else "done"), GRAPH, step if type(step) is int else -1, due)
