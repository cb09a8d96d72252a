"""Threads of LangGraph's other savers, brought into a log.

    a source ──► one checkpoint after another, oldest first ──► Incoming, writes ──► lane ──► the log
             ──► the same once more ◄──── compared, byte by byte ────────────────────────────┘

Values are not decoded on the way, so nobody's classes are needed: what the serialiser made is carried over as it is.

RESTART   A checkpoint that is there is not put again. So an import that was killed carries on when it is run again, and
          one that came to its end has nothing left to do but to compare.

Invariants:
1. What is reported as imported was read back from the log and is equal: values, versions, metadata, parents, writes.
2. A thread that has gone on in the log since is refused: older checkpoints must not come after newer ones.

This module must not know which saver a source reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from ..wal.log import Log
from ..wal.named import NamedTuple
from ..wal.progress import Progress
from .errors import ImportDiffers
from .saved_draft import Draft, Incoming, Typed, draft_checkpoint, draft_writes
from .saved_lane import Lane
from .saved_lanes import lanes_of
from .saved_view import View

FLUSH_EVERY = 64
"""How many checkpoints go into one commit."""


class ForeignWrite(NamedTuple):
    """One write of a task, as another saver keeps it."""

    task: str
    path: str
    position: int
    channel: str
    value: Typed


class Foreign(NamedTuple):
    """One checkpoint of another saver, and the writes that belong to it."""

    checkpoint: Incoming
    writes: tuple[ForeignWrite, ...]


class Source(Protocol):
    """Where threads are brought from."""

    def close(self) -> None:
        """Let go of what it reads."""

    def count(self) -> int:
        """Return how many checkpoints there are."""

    def threads(self) -> Sequence[str]:
        """Return the ids of the threads."""

    def ids(self, thread: str) -> set[tuple[str, str]]:
        """Return namespace and id of each checkpoint of a thread."""

    def checkpoints(self, thread: str) -> Iterator[Foreign]:
        """Yield a thread's checkpoints, oldest first."""

    def opened(self, value: Typed) -> Typed:
        """Return a value without its cipher, which gives it other bytes each time."""


class Moved(NamedTuple):
    """What an import did: how many threads and checkpoints there are, and how many of these came now."""

    threads: int
    checkpoints: int
    writes: int
    added: int


def move(source: Source, log: Log, tell: Progress) -> Moved:
    """Bring all threads of a source into a log.

    Raises:
        ImportDiffers: A thread has gone on in the log, or what was written is not what was read.
        OtherThread: A thread of that id is run by walgraph.
    """
    whole = source.count()
    done = added = writes = 0
    threads = source.threads()
    for thread in threads:
        lane = lanes_of(log).lane(log, thread)
        _check_origin(lane, source)
        for number, foreign in enumerate(source.checkpoints(thread), 1):
            added += _put(lane, foreign)
            if not number % FLUSH_EVERY:
                with lane.lock:
                    lane.settle()
                tell("checkpoints", done + number, whole)
        with lane.lock:
            lane.settle()
            lane.snapshot_if_due()
        for foreign in source.checkpoints(thread):
            _compare(lane, foreign, source.opened)
            done += 1
            writes += len(foreign.writes)
            if not done % FLUSH_EVERY:
                tell("compared", done, whole)
    log.flush()
    return Moved(len(threads), done, writes, added)


def _check_origin(lane: Lane, source: Source) -> None:
    with lane.lock:
        state = lane.current()
        there = {(ns, own) for ns, space in state.spaces.items() for own in space.entries}
    more = there - source.ids(lane.thread) if there else set()
    if more:
        ns, own = min(more)
        where = f" in the namespace {ns!r}" if ns else ""
        message = (
            f"Thread {lane.thread!r} has gone on in the log: {len(more)} of its checkpoints are not in the source, "
            f"among them {own}{where}."
        )
        raise ImportDiffers(
            message, hint="Import into another log, or delete the thread first.", thread=lane.thread
        )


def _put(lane: Lane, foreign: Foreign) -> int:
    """Append a checkpoint and its writes, as far as they are not there; return 1 if it was not."""
    new = foreign.checkpoint
    with lane.lock:
        is_new = lane.state.record(new.ns, new.id) is None
    if is_new:
        lane.append(
            lambda lane: draft_checkpoint(lane.state, new, lane.read, lane.summary),
            awaited=False,
        )
    tasks: dict[tuple[str, str], list[tuple[int, str, Typed]]] = {}
    for task, path, position, channel, value in foreign.writes:
        tasks.setdefault((task, path), []).append((position, channel, value))
    for (task, path), writes in tasks.items():
        place = (new.ns, new.id, task, path)

        def make(lane: Lane, place: Any = place, writes: Any = writes) -> Draft:
            return draft_writes(lane.state, place, writes, lane.read, lane.summary)

        lane.append(make, awaited=False)
    return int(is_new)


def _compare(lane: Lane, foreign: Foreign, opened: Callable[[Typed], Typed]) -> None:
    """Compare a checkpoint with what the log holds of it; what is encrypted, by what it says."""
    new = foreign.checkpoint
    with lane.lock:
        there = lane.state.record(new.ns, new.id)
        view = None if there is None else View.of(lane, new.ns, new.id)
        kept = {
            (task, write.path, index, write.channel, opened(_write(lane, write.number)))
            for (task, index), write in lane.state.writes(new.ns, new.id).items()
        }
    if view is None:
        raise _differs(lane, new, "it is not there")
    record = view.record
    pairs: dict[str, tuple[Any, Any]] = {
        "parent": (record.parent, new.parent),
        "time": (record.ts, new.ts),
        "versions": (dict(view.versions), dict(new.versions)),
        "versions seen": (view.seen, {node: dict(seen) for node, seen in new.seen.items()}),
        "updated channels": (_listed(record.updated), _listed(new.updated)),
        "metadata": (record.metadata, new.metadata),
        "values": (_clear(view.values, opened), _clear(new.values, opened)),
        "rest": (view.rest and opened(view.rest), new.rest and opened(new.rest)),
        "writes": (kept, {(*write[:4], opened(write.value)) for write in foreign.writes}),
    }
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise _differs(lane, new, f"its {name} differ")


def _clear(values: Mapping[str, Any], opened: Callable[[Typed], Typed]) -> dict[str, Typed]:
    return {channel: opened(value) for channel, value in values.items()}


def _listed(updated: Any) -> Any:
    return list(updated) if isinstance(updated, list | tuple) else updated


def _write(lane: Lane, number: int) -> Typed:
    return Typed(lane.state.payloads.get(number).type, lane.read(number))


def _differs(lane: Lane, new: Incoming, why: str) -> ImportDiffers:
    message = (
        f"Checkpoint {new.id} of thread {lane.thread!r} is not in the log as it is in the source: {why}."
    )
    hint = (
        "If somebody wrote to the source meanwhile, run the import again; otherwise delete the thread first."
    )
    return ImportDiffers(message, hint=hint, thread=lane.thread, checkpoint=new.id)
