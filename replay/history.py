"""The states a thread went through: time travel is the same fold, stopped earlier.

    records  1 2 3 4 5 6 7 8 9 …
    barriers     ▲     ▲     ▲        each is a checkpoint; its seq is its identity
    shown        state at the barrier, with what its step's tasks came to before the next one

Invariants:
1. A branch begins with the state it starts from, so folding forward never crosses branches.
2. "Latest" is the head of the log, never the greatest clock.
3. Nothing is written, and what was compacted away is said to be gone, not shown as empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..wal.errors import ThreadNotFound
from ..wal.record import StateFolded
from .fold import attach_all, fold
from .plain import thread_from_plain
from .state import ThreadState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wal.codec import Registry
    from ..wal.log import Log
    from .fold import Blueprints
    from .state import GraphState


class Checkpoint(NamedTuple):
    """One barrier of one graph: the thread's state when the next barrier of that graph was about to come."""

    graph: GraphState
    thread: ThreadState


def checkpoints(
    log: Log,
    thread: str,
    blueprints: Blueprints,
    registry: Registry,
    scope: str = "",
    upto: int | None = None,
) -> Iterator[Checkpoint]:
    """Yield a graph's checkpoints, oldest first.

    Args:
        log: The log.
        thread: The thread's id.
        blueprints: Gives the blueprint of a scope, or None.
        registry: The classes that values may be rebuilt as.
        scope: The graph's namespace.
        upto: Stop after the checkpoint with this seq.

    Raises:
        ThreadNotFound: The log has no such thread.
    """
    head = log.head(thread)
    if head is None:
        message = f"the log holds no thread {thread!r}"
        raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.")
    decoder = log.decoder(registry)
    state = ThreadState()
    if head.horizon and (found := log.snapshot(thread, head.horizon)) is not None:
        state = attach_all(blueprints, thread_from_plain(decoder.value(found[1]))._replace(seq=found[0]))
    last = _seen(state, scope)
    for seq, record in log.read(thread, state.seq, decoder=decoder):
        state = fold(blueprints, state, seq, record)
        now = _seen(state, scope)
        if now is None:
            continue
        if last is not None and now.graph.base != last.graph.base:
            yield last
            if upto is not None and last.graph.base == upto:
                return
        last = now
        if upto is not None and last.graph.base > upto and not isinstance(record, StateFolded):
            return
    if last is not None:
        yield last


def checkpoint_at(
    log: Log, thread: str, blueprints: Blueprints, registry: Registry, seq: int, scope: str = ""
) -> Checkpoint | None:
    """Return the checkpoint whose barrier is at ``seq``, or None if there is none."""
    for checkpoint in checkpoints(log, thread, blueprints, registry, scope, seq):
        if checkpoint.graph.base == seq:
            return checkpoint
    return None


def _seen(state: ThreadState, scope: str) -> Checkpoint | None:
    graph = state.scopes.get(scope)
    # A branch is no checkpoint of its own: the input or the edit in the same frame is.
    return None if graph is None or not graph.base or graph.source == "branch" else Checkpoint(graph, state)
