"""Threads that LangGraph runs, as the command line looks at them: without LangGraph, and without the user's classes.

    saved_of(log, thread)     the fold of the thread, or None if walgraph runs it
    show_state(...)           ``wal state``: channels, tasks that wrote, and what asks
    wrong_snapshot, wrong_order, plan_saved    what ``verify`` and ``compact`` want to know

Values are LangGraph's to decode. What its default serialiser made is msgpack, so it can be shown, its classes by name;
of other formats the tag and the size are.

Invariants:
1. Nothing is changed here, and no class of the user's is looked for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgpack

from ..replay.errors import CheckpointNotFound, OtherThread
from ..replay.saved import SavedThread
from ..wal.errors import WalgraphError
from ..wal.log import Log
from ..wal.named import NamedTuple
from ..wal.registry import Opaque
from ..wal.saved_record import CheckpointsDropped
from ..wal.shared import bytes_of
from ..wal.steady import steady
from .render import Column, Page
from .saved_draft import in_order, next_nodes
from .saved_drop import all_but
from .words import plain, preview

if TYPE_CHECKING:
    from ..wal.codec import Packed

CHANNELS = (Column("channel"), Column("value"))
WRITES = (Column("task"), Column("channel"), Column("value"))
VALUE = 2000


def folded(log: Log, thread: str, upto: int | None = None, *, cached: bool = True) -> SavedThread:
    """Return a thread as it was at ``upto``; without ``cached`` from the oldest state that there is.

    Raises:
        CheckpointNotFound: What lies before ``upto`` was compacted away.
    """
    return steady(log, thread, lambda: _folded(log, thread, upto, cached=cached))


def _folded(log: Log, thread: str, upto: int | None, *, cached: bool) -> SavedThread:
    head = log.head(thread)
    horizon = 0 if head is None else head.horizon
    if upto is not None and upto < horizon:
        message = f"thread {thread!r} begins at seq {horizon} since it was compacted; seq {upto} is gone"
        raise CheckpointNotFound(message, hint="wal inspect LOG THREAD lists what is there.", thread=thread)
    decoder = log.decoder(lenient=True)
    found, records = log.since(thread, upto if cached else horizon, upto, decoder=decoder)
    state = SavedThread(decoder)
    if found is not None:
        state = SavedThread.from_plain(decoder.value(found[1]), found[0], decoder)
    for seq, record in records:
        state.apply(seq, record)
    return state


def value_of(kind: str, data: bytes) -> Any:
    """Return a value as far as it can be shown."""
    try:
        match kind:
            case "null":
                return None
            case "bytes" | "bytearray":
                return data
            case "json":
                return json.loads(data)
            case "msgpack":
                return msgpack.unpackb(data, ext_hook=_extension, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        pass
    return Opaque(kind, f"{len(data)} bytes")


def _extension(_code: int, data: bytes) -> Any:
    content = msgpack.unpackb(data, ext_hook=_extension, strict_map_key=False)
    if isinstance(content, list) and len(content) > 2 and all(isinstance(name, str) for name in content[:2]):
        return Opaque(f"{content[0]}.{content[1]}", content[2])
    return Opaque("extension", content)


def show_state(page: Page, log: Log, thread: str, at: str | None, scope: str) -> None:
    """Show a checkpoint: the newest one of a namespace, the one with an id, of a step, or as of a seq.

    Raises:
        CheckpointNotFound: There is none.
    """
    upto = int(at.removeprefix("seq:")) if at is not None and at.removeprefix("seq:").isdecimal() else None
    state = folded(log, thread, upto)
    own = _chosen(state, scope, None if upto is not None else at)
    if own is None:
        known = ", ".join(sorted(repr(ns) for ns in state.spaces)) or "none"
        message = (
            f"thread {thread!r} has no checkpoint {at or ''} in the namespace {scope!r}; namespaces: {known}"
        )
        raise CheckpointNotFound(message, hint="wal inspect LOG THREAD lists what it has.", thread=thread)
    found = state.resolved(scope, own)

    def read(number: int) -> Any:
        kind = state.payloads.get(number).type
        return value_of(kind, state.payloads.read(number, lambda digest: bytes_of(log.fetch(digest))))

    values = {channel: read(number) for channel, number in found.values.items()}
    writes = [
        (task, write.channel, read(write.number)) for (task, _), write in in_order(state.writes(scope, own))
    ]
    record, due = found.record, next_nodes(found.values)
    if page.as_json:
        page.emit(
            "langgraph-state",
            thread=thread,
            scope=scope,
            seq=state.seq,
            checkpoint=own,
            parent=record.parent,
            at=record.ts,
            metadata=plain(record.metadata),
            next=list(due),
            values={channel: plain(value) for channel, value in values.items()},
            writes=[[task, channel, plain(value)] for task, channel, value in writes],
            namespaces=sorted(state.spaces),
        )
        return
    page.line(f"thread {thread} · run by LangGraph{f' · {scope}' if scope else ''} · checkpoint {own}")
    said = record.metadata
    page.line(
        f"step {said.get('step', '-')} · source {said.get('source', '-')} · {record.ts} · next {', '.join(due) or '-'}"
    )
    page.table(CHANNELS, [(channel, preview(value, VALUE)) for channel, value in values.items()])
    if writes:
        page.line()
        page.table(WRITES, [(task, channel, preview(value)) for task, channel, value in writes])
    for ns in sorted(state.spaces):
        if ns != scope:
            page.talk(f"namespace: --scope {ns!r}")


def _chosen(state: SavedThread, scope: str, at: str | None) -> str | None:
    space = state.spaces.get(scope)
    if space is None:
        return None
    if at is None:
        return space.newest
    if at.startswith("step:"):
        for own in reversed(space.entries):
            record = state.record(scope, own)
            if record is not None and str(record.metadata.get("step")) == at[5:]:
                return own
        return None
    return at if at in space.entries else None


def wrong_snapshot(log: Log, thread: str, seq: int, data: bytes) -> str | None:
    """Return what is wrong with a snapshot of a thread that LangGraph runs, or None."""
    decoder = log.decoder(lenient=True)
    try:
        recorded = SavedThread.from_plain(decoder.value(data), seq, decoder).to_plain()
        fresh = folded(log, thread, seq, cached=False).to_plain()
    except OtherThread as error:
        return error.message
    return None if recorded == fresh else "the snapshot differs from its records"


def wrong_order(log: Log, thread: str) -> str | None:
    """Return what is wrong with the records of a thread that LangGraph runs, or None: every value must be readable."""
    try:
        state = folded(log, thread, cached=False)
        for ns, space in state.spaces.items():
            for own in space.entries:
                state.resolved(ns, own)
        for number in state.payloads.numbers():
            state.payloads.read(number, lambda digest: bytes_of(log.fetch(digest)))
    except (WalgraphError, KeyError) as error:
        return f"it cannot be folded: {error}"
    return None


class SavedPlan(NamedTuple):
    """What a compaction can do: how many checkpoints stay, and the snapshot that stands for all records."""

    checkpoints: int
    packed: Packed


def plan_saved(log: Log, thread: str, keep_last: int) -> SavedPlan:
    """Return what is left of a thread when all but the newest checkpoints of each namespace were dropped."""
    state = folded(log, thread)
    for ns, ids in all_but(state, keep_last).items():
        state.apply(state.seq + 1, CheckpointsDropped(ns, ids))
    return SavedPlan(sum(len(space.entries) for space in state.spaces.values()), state.packed())
