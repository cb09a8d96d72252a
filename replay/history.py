"""The states a thread went through: time travel is the same fold, stopped earlier.

    records  1 2 3 4 5 6 7 8 9 …
    barriers     ▲     ▲     ▲        each is a checkpoint; its seq is its identity
    shown        state at the barrier, with what its step's tasks came to before the next one

    checkpoints   forwards, from a snapshot          checkpoint_at   one of them
    backwards     the same, newest first, a stretch between two snapshots at a time
    Origin        a checkpoint that a branch is to begin at, and the thread as it was then

Invariants:
1. A branch begins with the state it starts from, so folding forward never crosses branches.
2. "Latest" is the head of the log, never the greatest clock.
3. Nothing is written, and what was compacted away is said to be gone, not shown as empty. History that is listed while
   it is compacted ends early; it has no hole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.errors import ThreadNotFound
from ..wal.named import NamedTuple
from ..wal.record import Forked, StateEdited, StateFolded, TaskAnswered, TaskInterrupted
from ..wal.steady import steady
from .branch import stripped
from .fold import fold
from .questions import Asked, open_questions, task_around
from .recover import recover, state_of
from .scopes import base_of, is_current
from .state import FINISHED, Outcome, ThreadState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wal.codec import Registry
    from ..wal.head import ThreadHead
    from ..wal.log import Log
    from ..wal.log_reading import Stored
    from ..wal.record import Path, Question, Record
    from .fold import Blueprints
    from .state import GraphState


class Checkpoint(NamedTuple):
    """One barrier of one graph: the thread's state when the next barrier of that graph was about to come.

    ``begun`` is the thread's state at the barrier itself, as far back as the records went that were read. ``asked`` are
    the questions that subgraphs of the step asked, answered or not, each with the path of the node's task around it.
    """

    graph: GraphState
    thread: ThreadState
    begun: ThreadState
    asked: tuple[tuple[Path, Question], ...] = ()


def checkpoints(
    log: Log,
    thread: str,
    blueprints: Blueprints,
    registry: Registry,
    scope: str = "",
    *,
    at: int | None = None,
) -> Iterator[Checkpoint]:
    """Yield a graph's checkpoints, oldest first.

    Args:
        log: The log.
        thread: The thread's id.
        blueprints: Gives the blueprint of a scope, or None.
        registry: The classes that values may be rebuilt as.
        scope: The graph's namespace.
        at: Yield none but the checkpoint with this seq, and read no more for it than must be.

    Raises:
        ThreadNotFound: The log has no such thread.
    """
    head = _head(log, thread)
    if at is not None and at > head.seq:
        return
    begin = head.horizon if at is None else max(at, head.horizon)
    for checkpoint in _stretch(log, thread, blueprints, registry, scope, begin=begin):
        if at is None or checkpoint.graph.base == at:
            yield checkpoint
        if at is not None and checkpoint.graph.base >= at:
            return


def backwards(
    log: Log, thread: str, blueprints: Blueprints, registry: Registry, scope: str = ""
) -> Iterator[Checkpoint]:
    """Yield a graph's checkpoints, newest first; what nobody asks for any more is not read.

    Raises:
        ThreadNotFound: The log has no such thread.
    """
    upto: int | None = None
    held: Checkpoint | None = None
    _head(log, thread)
    while True:

        def older(upto: int | None = upto) -> tuple[int, int, list[Checkpoint]]:
            horizon = _head(log, thread).horizon
            if upto is not None and upto <= horizon:
                # What is older than what was shown last was compacted away meanwhile.
                return horizon, horizon, []
            made = [seq for seq in log.store.snapshots(thread) if upto is None or seq < upto]
            begin = max(made, default=0)
            found = _stretch(log, thread, blueprints, registry, scope, begin=begin, upto=upto)
            return horizon, begin, list(found)

        horizon, begin, found = steady(log, thread, older)
        # A stretch that begins within a step lacks what was asked in it before: that is in the older one.
        for checkpoint in reversed(found):
            whole = checkpoint
            if held is not None:
                if held.graph.base == checkpoint.graph.base:
                    whole = held._replace(begun=checkpoint.begun, asked=checkpoint.asked + held.asked)
                else:
                    yield held
                held = None
            if begin > horizon and whole.graph.base <= begin:
                held = whole
            else:
                yield whole
        if begin <= horizon:
            if held is not None:
                yield held
            return
        upto = begin


def checkpoint_at(
    log: Log, thread: str, blueprints: Blueprints, registry: Registry, seq: int, scope: str = ""
) -> Checkpoint | None:
    """Return the checkpoint whose barrier is at ``seq``, or None if there is none."""
    return steady(
        log, thread, lambda: next(checkpoints(log, thread, blueprints, registry, scope, at=seq), None)
    )


class Origin(NamedTuple):
    """A checkpoint that a branch is to begin at.

    Args:
        log: The log.
        thread: The thread's id.
        blueprints: Gives the blueprint of a scope, or None.
        registry: The classes that values may be rebuilt as.
        scope: The graph that the checkpoint is one of.
        seq: Its identity.
    """

    log: Log
    thread: str
    blueprints: Blueprints
    registry: Registry
    scope: str
    seq: int

    def begun(self) -> ThreadState | None:
        """Return the thread as it was at the checkpoint; None if there is no such checkpoint.

        What commands added to the checkpoint before its step was over is part of it, as history shows (N-4).
        """
        return steady(self.log, self.thread, self._begun)

    def _begun(self) -> ThreadState | None:
        reached = self._reached()
        if reached is None:
            return None
        last = state = reached
        for seq, record in self._following(reached):
            state = fold(self.blueprints, state, seq, record)
            if base_of(state, self.scope) != self.seq:
                break
            last = state
        graph, edited = reached.scopes.get(self.scope), last.scopes.get(self.scope)
        if graph is None or edited is None:
            return reached
        # Between two barriers of a graph nothing but commands changes these.
        graph = graph._replace(
            values=edited.values,
            due=edited.due,
            sends=edited.sends,
            joins=edited.joins,
            deferred=edited.deferred,
        )
        if reached.seq == self.seq:
            return reached.with_graph(self.scope, reached.seq, graph)
        # Under ``exit`` a state is recorded with what its open step had come to, which is to be done again.
        over = {
            name
            for name in (*reached.scopes, *reached.unread)
            if name != self.scope and is_current(reached, name, self.scope)
        }
        scopes = {name: held for name, held in reached.scopes.items() if name not in over}
        unread = {name: held for name, held in reached.unread.items() if name not in over}
        return reached._replace(scopes={**scopes, self.scope: stripped(graph)}, unread=unread)

    def asked(self, wanted: set[str] | None) -> ThreadState | None:
        """Return the thread as it was before the first answer that was given to a question of the checkpoint's step.

        Args:
            wanted: The questions that are meant; None for any.
        """
        return steady(self.log, self.thread, lambda: self._asked(wanted))

    def _asked(self, wanted: set[str] | None) -> ThreadState | None:
        state = self._reached()
        if state is None:
            return None
        for seq, record in self._following(state):
            if isinstance(record, TaskAnswered) and any(
                wanted is None or key in wanted for key, _ in record.answers
            ):
                break
            after = fold(self.blueprints, state, seq, record)
            if base_of(after, self.scope) != self.seq:
                break
            state = after
        return state

    def _following(self, state: ThreadState) -> Iterator[Stored]:
        return self.log.read(self.thread, state.seq, decoder=self.log.decoder(self.registry), whole=True)

    def _reached(self) -> ThreadState | None:
        """Return the first state of the thread, as recorded, whose newest barrier of the graph is the checkpoint."""
        head = _head(self.log, self.thread)
        if self.seq > head.seq:
            return None
        upto = max(self.seq, head.horizon)
        state = recover(self.log, self.thread, self.blueprints, self.registry, upto=upto).state
        if base_of(state, self.scope) != self.seq:
            following = next(self._following(state), None)
            if following is None or not isinstance(following.record, StateFolded):
                return None
            state = fold(self.blueprints, state, following.seq, following.record)
        graph = state.scopes.get(self.scope)
        is_there = base_of(state, self.scope) == self.seq and (graph is None or graph.source != "branch")
        return state if is_there else None


def _head(log: Log, thread: str) -> ThreadHead:
    head = log.head(thread)
    if head is None:
        message = f"the log holds no thread {thread!r}"
        raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.")
    return head


def _stretch(
    log: Log,
    thread: str,
    blueprints: Blueprints,
    registry: Registry,
    scope: str,
    *,
    begin: int,
    upto: int | None = None,
) -> Iterator[Checkpoint]:
    """Yield the checkpoints between the newest snapshot at or before ``begin`` and ``upto``, oldest first."""
    decoder = log.decoder(registry)
    found, records = log.since(thread, begin, upto, decoder=decoder)
    state = ThreadState() if found is None else state_of(found, blueprints, decoder)
    last = _seen(state, scope)
    for seq, record in records:
        state = fold(blueprints, state, seq, record)
        graph = state.scopes.get(scope)
        # A branch is no checkpoint of its own: the input or the edit in the same frame is.
        if graph is None or not graph.base or graph.source == "branch":
            continue
        if last is None or graph.base != last.graph.base:
            if last is not None:
                yield _edited(last, record) if graph.parent == last.graph.base else last
            last = Checkpoint(graph, state, state, _asked_below(state, record, scope))
            continue
        asked = last.asked + _asked_below(state, record, scope)
        last = Checkpoint(graph, state, last.begun, asked)
    if last is not None:
        yield last


def _asked_below(state: ThreadState, record: Record, scope: str) -> tuple[tuple[Path, Question], ...]:
    """Return what subgraphs ask by a record, or in a state that came as a whole in place of records.

    The task around a question is looked up at once: later the subgraphs between the two may be over.
    """
    match record:
        case TaskInterrupted() if is_current(state, record.scope, scope):
            asked = [Asked(record.scope, record.path, question) for question in record.questions]
        case StateFolded() | Forked():
            asked = open_questions(state, scope)
        case _:
            return ()
    return tuple((task_around(state, item, scope), item.question) for item in asked if item.scope != scope)


def _seen(state: ThreadState, scope: str) -> Checkpoint | None:
    graph = state.scopes.get(scope)
    return (
        None
        if graph is None or not graph.base or graph.source == "branch"
        else Checkpoint(graph, state, state)
    )


def _edited(checkpoint: Checkpoint, record: Record) -> Checkpoint:
    """Show an edit as the result of the tasks whose place it took (U-7)."""
    graph = checkpoint.graph
    if not isinstance(record, StateEdited) or record.how != "update":
        return checkpoint
    outcomes = graph.outcomes
    for edit in record.edits:
        if edit.path is not None:
            before = outcomes.get(edit.path) or Outcome(FINISHED)
            outcomes = outcomes.put(edit.path, before._replace(status=FINISHED, writes=edit.writes))
    return checkpoint._replace(graph=graph._replace(outcomes=outcomes))
