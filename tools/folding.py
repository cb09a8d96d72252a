"""Folding a thread without the user's code, or with it.

    the graph's description in the log ──► blueprint, reducers that everybody has ─┐
    --app module:graph ──► the graph itself: its reducers, classes, subgraphs ─────┴──► the one fold of ``replay``

Invariants:
1. Nothing is written.
2. What cannot be folded here is gathered (``gathered``) or kept unread, never guessed.
3. Records are folded with the graph that recorded them, or with the user's, as a resume would.

This module must not show anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.messages import add_messages
from ..engine.nested import blueprints_of
from ..replay.blueprint import Blueprint, blueprint_of
from ..replay.channel import BinaryOperatorAggregate, publish_reducer
from ..replay.channel_base import BaseChannel
from ..replay.errors import CheckpointNotFound
from ..replay.fold import attach_all, fold, fold_graph
from ..replay.identity import START
from ..replay.plain import thread_from_plain
from ..replay.state import GraphState, ThreadState, Unread
from ..wal.codec import GLOBAL, Decoder
from ..wal.errors import LogCorrupt, ThreadNotFound, WalgraphError
from ..wal.log import Log
from ..wal.log_reading import Stored
from ..wal.record import (
    Record,
    Reference,
    RunResumed,
    RunStarted,
    StateEdited,
    StateFolded,
    StepStarted,
    TaskFinished,
)
from ..wal.steady import steady
from .gathered import Gathered, Unfolded

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph

publish_reducer(add_messages)


class Known(NamedTuple):
    """A blueprint, the channels whose kind is the user's own, and what the log says of all channels."""

    blueprint: Blueprint
    foreign: tuple[str, ...] = ()
    channels: Mapping[str, Any] = MappingProxyType({})


class Folded(NamedTuple):
    """A record, its seq, and the state after it."""

    seq: int
    record: Record
    state: ThreadState


class Lens:
    """How one log is read here.

    Args:
        log: The log.
        app: The user's graph, if it was given.
        lenient: Whether values of unknown classes are shown as such, instead of refused.
    """

    def __init__(self, log: Log, app: CompiledGraph | None = None, *, lenient: bool = True) -> None:
        self.log = log
        self.app = app
        self.decoder: Decoder = log.decoder(GLOBAL if app is None else app.program.registry, lenient=lenient)
        self._known: dict[bytes, Known] = {}

    def known(self, reference: Reference | None) -> Known | None:
        """Return what is known of the graph that a log's reference names; None without one."""
        if self.app is not None:
            return Known(self.app.program.blueprint)
        if reference is None:
            return None
        found = self._known.get(reference.digest)
        if found is None:
            description: dict[str, Any] = self.log.shared(reference, lenient=True)
            found = self._known[reference.digest] = _without_code(description)
        return found

    def blueprints(self, reference: Reference | None) -> Callable[[str], Blueprint | None]:
        """Return scope → blueprint while the graph of ``reference`` runs."""
        known = self.known(reference)
        root = None if known is None else known.blueprint
        if self.app is None:
            return lambda scope: None if scope else root
        below = blueprints_of(self.app.parts.program)
        return lambda scope: below(scope) if scope else root

    def fold(self, state: ThreadState, seq: int, record: Record) -> ThreadState:
        """Return the state after a record."""
        reference = state.graph
        if isinstance(record, RunStarted | RunResumed) and not record.scope and record.graph is not None:
            reference = record.graph
        blueprints = self.blueprints(reference)
        try:
            if state.unread:
                state = attach_all(blueprints, state)
            return fold(blueprints, state, seq, record)
        except WalgraphError:
            raise
        except Exception as error:
            if self.app is not None:
                # It may be what a reducer of the user's raises.
                raise
            message = f"the record at seq {seq} cannot be folded: {error!r}"
            raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", seq=seq) from error

    def since(
        self, thread: str, upto: int | None = None, *, cached: bool = True
    ) -> tuple[ThreadState, Iterator[Folded]]:
        """Return the state that folding begins with, and what follows up to ``upto``; both of one moment.

        Args:
            thread: The thread's id.
            upto: The last seq to fold; None for all.
            cached: Begin with the newest snapshot; otherwise with the oldest state that there is.

        Raises:
            ThreadNotFound: There is no such thread.
            CheckpointNotFound: What lies before ``upto`` was compacted away.
        """
        head = self.log.head(thread)
        if head is None:
            message = f"the log holds no thread {thread!r}"
            raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)
        if upto is not None and upto < head.horizon:
            message = (
                f"thread {thread!r} begins at seq {head.horizon} since it was compacted; seq {upto} is gone"
            )
            raise CheckpointNotFound(
                message, hint="wal inspect LOG THREAD lists what is there.", thread=thread
            )
        found, records = self.log.since(thread, upto if cached else head.horizon, upto, decoder=self.decoder)
        begin = ThreadState() if found is None else self.decode(found[1], found[0])
        return begin, self._folded(begin, records, upto)

    def decode(self, data: bytes, seq: int) -> ThreadState:
        """Return the state of a snapshot."""
        state = thread_from_plain(self.decoder.value(data), self.decoder)._replace(seq=seq)
        return attach_all(self.blueprints(state.graph), state)

    def _folded(self, begin: ThreadState, records: Iterator[Stored], upto: int | None) -> Iterator[Folded]:
        state = begin
        for seq, record in records:
            # A folded state stands for records that may lie on both sides of ``upto``.
            if upto is not None and isinstance(record, StateFolded) and seq > upto:
                return
            state = self.fold(state, seq, record)
            yield Folded(seq, record, state)

    def state_at(self, thread: str, upto: int | None = None, *, cached: bool = True) -> ThreadState:
        """Return the thread's state at ``upto``, or at its head; what it raises is what ``since`` does."""

        def read() -> ThreadState:
            state, following = self.since(thread, upto, cached=cached)
            for folded in following:
                state = folded.state
            return state

        return steady(self.log, thread, read)

    def is_one_graph(self, references: Iterable[Reference | None]) -> bool:
        """Return whether these graphs fold alike: a changed one would fold old records otherwise than they were."""
        known = [self.known(reference) for reference in references if reference is not None]
        return all(
            each is not None and known[0] is not None and each.channels == known[0].channels for each in known
        )

    def is_exact(self, state: ThreadState) -> bool:
        """Return whether nothing in the state is missing for want of the user's code (but for what is unread)."""
        known = self.known(state.graph)
        if known is None or known.foreign or "" in state.unread:
            return False
        held = [value for graph in state.scopes.values() for value in graph.values.values()]
        return not any(isinstance(value, Gathered) for value in held)


def gathered_graph(graph: GraphState | None, unread: Unread | None) -> GraphState | None:
    """Return the state of a graph that nobody knows here: what was written to each of its channels, unfolded."""
    records: list[tuple[int, Record]] = []
    while unread is not None:
        records.append((unread.seq, unread.record))
        unread = unread.older
    records.reverse()
    channels = {name: Unfolded() for _, record in records for name in _written(record)}
    blueprint = Blueprint("", _entry([record for _, record in records]), channels, {})
    for seq, record in records:
        graph = fold_graph(blueprint, graph, seq, record)
    return graph


def _without_code(description: dict[str, Any]) -> Known:
    blueprint, missing = blueprint_of(description)
    described: dict[str, Any] = description["channels"]
    channels: dict[str, BaseChannel] = {}
    for key in described:
        inner = blueprint.channels.get(key)
        # Only reducers can meet values that they do not understand; the other kinds never look into one.
        channels[key] = (
            Unfolded(inner) if inner is None or isinstance(inner, BinaryOperatorAggregate) else inner
        )
    foreign = tuple(key for key in missing if described[key].get("kind") != "BinaryOperatorAggregate")
    whole = Blueprint(blueprint.name, blueprint.entry, channels, blueprint.nodes)
    return Known(whole, foreign, described)


def _written(record: Record) -> Sequence[str]:
    match record:
        case TaskFinished(_, _, writes):
            return [channel for channel, _ in writes]
        case StateEdited(_, _, _, edits):
            return [channel for edit in edits for channel, _ in edit.writes]
        case _:
            return []


def _entry(records: list[Record]) -> str:
    """Return the node that an input makes due: the one that the first step after an input consists of."""
    admitted = False
    for record in records:
        if isinstance(record, RunStarted):
            admitted = True
        elif admitted and isinstance(record, StepStarted) and len(record.nodes) == 1:
            return record.nodes[0]
    return START
