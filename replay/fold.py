"""The meaning of each record: ``ThreadState × Record → ThreadState``.

    fold ── by kind ──► an arm of a few lines ──► the one GraphState that the record's scope names
                             │
                             └── at a barrier: ``commit``: outcomes → channels, what is due next

The same function runs live, after each append, and in recovery, over what the log holds. So there is nothing to
recover but state, and no second opinion about it.

Invariants:
1. No clock, no randomness, no I/O but the ledger's, no user code but reducers, which are declared pure.
2. Writes are applied in the order of task paths, nodes by name and then sends by index, whatever the order in which
   tasks ended (LangGraph rule A-1).
3. A record that cannot be folded (conflicting writes, a reducer that raises) raises before anything is changed: the
   loop folds a barrier on trial before it appends it.
4. A scope whose graph is not known here is kept unread, record by record, until ``attach`` brings the graph.

It must not plan: what is due is state; which of it to do now is ``replay.plan``'s to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from ..wal.named import new
from ..wal.record import (
    AttemptFailed,
    CallsSettled,
    Forked,
    Record,
    RunEnded,
    RunResumed,
    RunStarted,
    SignalReceived,
    StateEdited,
    StateFolded,
    StepCommitted,
    StepStarted,
    TaskAnswered,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskRouted,
    TaskStarted,
    ThreadCreated,
    TimerFired,
    TimerSet,
)
from .branch import adopted
from .channel import MISSING
from .errors import InvalidUpdateError
from .follow import finish, quiescent, route
from .identity import ends_with_step
from .ledger import Ledger
from .plain import graph_from_plain, thread_from_plain
from .scopes import above, scope_within
from .settling import settled
from .state import (
    CAUGHT,
    DUE,
    FAILED,
    FINISHED,
    GOTO_WRITE,
    NEW_GRAPH,
    NO_INPUT,
    OPENED,
    OUTCOMES,
    UNROUTED,
    WAITING,
    Caught,
    GraphState,
    Intent,
    Outcome,
    Retry,
    ThreadState,
    Unread,
    with_field,
)
from .waits import waited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..wal.record import Path, Target, Write
    from .blueprint import Blueprint

    Blueprints: TypeAlias = Callable[[str], Blueprint | None]
    """Scope → the blueprint of its graph, or None where it is not known (yet)."""

NOTHING: Outcome = Outcome(DUE)
BARRIERS = (StepCommitted, RunStarted, RunResumed, RunEnded, StateEdited, Forked)
"""The kinds of record that say what time it was for the whole thread."""
EMPTY: Ledger[Outcome] = Ledger()


def fold(blueprints: Blueprints, state: ThreadState, seq: int, record: Record) -> ThreadState:
    """Return the state after ``record``.

    Args:
        blueprints: Gives the blueprint of a scope, or None where it is not known.
        state: The state before; it is not changed.
        seq: The record's seq.
        record: What happened.

    Raises:
        InvalidUpdateError: A barrier's writes conflict; the message names the tasks.
    """
    arm = EVERY_STEP.get(record.__class__)
    if arm is not None:
        # These come with every step, so they do not go past the other kinds first.
        within: str = record.scope  # type: ignore[union-attr]  # each of the kinds with such an arm has one
        blueprint, before = blueprints(within), state.scopes.get(within)
        if blueprint is not None and before is not None:
            after = state.with_graph(within, seq, arm(blueprint, before, seq, record))
            return without_children(after, within) if record.__class__ is StepCommitted else after
    if isinstance(record, ThreadCreated):
        # A copy of another thread takes a name of its own before anything else is written to it.
        named = adopted(record.thread, state)[0] if state.seq else state
        return named._replace(seq=seq, at=record.at, thread=record.thread)
    if isinstance(record, StateFolded):
        return attach_all(blueprints, thread_from_plain(record.state)._replace(seq=seq))
    scope = scope_within(record)
    blueprint = blueprints(scope)
    if blueprint is None:
        older = state.unread.get(scope)
        # The thread's time goes on with its records, whether or not their graph is known here.
        at = max(state.at, record.at) if isinstance(record, BARRIERS) else state.at
        return state._replace(seq=seq, at=at, unread={**state.unread, scope: Unread(older, seq, record)})
    assert scope not in state.unread
    after = state.with_graph(scope, seq, fold_graph(blueprint, state.scopes.get(scope), seq, record))
    match record:
        case Forked(whole=True):
            # What goes on of the subgraphs, persistent ones too, is told by the records that follow.
            return after._replace(scopes={scope: after.scopes[scope]}, unread={}, at=record.at)
        case Forked() | StateEdited(how="update" | "clear" | "input"):
            return without_children(after._replace(at=record.at), scope)
        case RunStarted() | RunResumed() if not scope:
            is_new = isinstance(record, RunStarted)
            begun = after._replace(
                run=record.run,
                epoch=record.epoch,
                durability=record.durability,
                graph=record.graph,
                at=record.at,
                deadline=record.deadline if is_new or record.deadline is not None else state.deadline,
            )
            # A new input abandons what subgraphs had begun; a resume takes it up.
            return without_children(begun, scope) if is_new else begun
        case RunStarted():
            return without_children(after._replace(at=record.at), scope)
        case RunResumed() | RunEnded() | StateEdited():
            return after._replace(at=record.at)
        case _:
            return after


def attach(blueprints: Blueprints, state: ThreadState, scope: str) -> ThreadState:
    """Fold what was kept unread of ``scope``, now that ``blueprints`` knows its graph."""
    unread = state.unread.get(scope)
    blueprint = blueprints(scope)
    if unread is None or blueprint is None:
        return state
    records: list[Unread] = []
    while unread is not None:
        records.append(unread)
        unread = unread.older
    graph = state.scopes.get(scope)
    for held in reversed(records):
        graph = fold_graph(blueprint, graph, held.seq, held.record)
    assert graph is not None
    left = {key: value for key, value in state.unread.items() if key != scope}
    return state._replace(scopes={**state.scopes, scope: graph}, unread=left)


def attach_all(blueprints: Blueprints, state: ThreadState) -> ThreadState:
    """Fold what whoever stored the state had to keep unread, and is known here."""
    for scope in list(state.unread):
        state = attach(blueprints, state, scope)
    return state


def fold_graph(blueprint: Blueprint, graph: GraphState | None, seq: int, record: Record) -> GraphState:
    """Return one graph's state after a record of its scope; ``graph`` is None before its first record."""
    graph = graph or NEW_GRAPH
    arm = EVERY_STEP.get(record.__class__)
    if arm is not None:
        return arm(blueprint, graph, seq, record)
    match record:
        case TaskRouted(_, path, goto):
            before = graph.outcomes.get(path) or NOTHING
            writes = tuple(write for write in before.writes if write[0] != GOTO_WRITE)
            return _with(
                graph,
                path,
                before._replace(status=FINISHED, writes=writes, goto=goto, failure=None, retry=None),
            )
        case TaskFailed():
            return _failed(graph, record)
        case AttemptFailed(_, path, _, attempt, first_at, at, due_at):
            before = graph.outcomes.get(path) or NOTHING
            retry = Retry(attempt, first_at, at, due_at)
            status = UNROUTED if before.returned else DUE
            return _with(graph, path, before._replace(status=status, retry=retry, intent=None))
        case TaskStarted(_, path, call, key, attempt, at):
            before = graph.outcomes.get(path) or NOTHING
            intent = Intent(key, attempt, at)
            return _with(graph, path, before._replace(status=DUE, call=call, failure=None, intent=intent))
        case CallsSettled(_, paths, how):
            return with_field(graph, OUTCOMES, settled(graph.outcomes, paths, how))
        case TaskInterrupted(_, path, questions, call, refused):
            before = graph.outcomes.get(path) or NOTHING
            return _with(
                graph, path, before.asking(questions)._replace(call=call, refused=refused or before.refused)
            )
        case TaskAnswered(_, path, answers):
            before = graph.outcomes.get(path) or NOTHING
            return _with(
                graph, path, before._replace(status=DUE, answers=before.answers + answers, refused=None)
            )
        case TimerSet() | TimerFired() | SignalReceived():
            return waited(graph, record)
        case RunStarted():
            return _admitted(blueprint, graph, seq, record)
        case RunResumed():
            notes = record.metadata and {**graph.noted, **record.metadata}
            resumed = graph._replace(ended=None, reason=None, outcomes=_due_again(graph.outcomes))
            return resumed._replace(notes=notes) if notes else resumed
        case RunEnded(_, _, how, reason):
            return graph._replace(ended=how, reason=reason)
        case StateEdited():
            return _edited(blueprint, graph, seq, record)
        case Forked(_, at, origin, how, state):
            begun = graph_from_plain(state)
            if how == "copy":
                return begun._replace(step=begun.step + 1, base=seq, at=at, source="fork")
            # A branch that an input or an edit follows in the same frame is no checkpoint of its own.
            step = begun.step + 1 if how == "fork" else begun.step
            return begun._replace(step=step, base=seq, at=at, source=how, parent=origin)
        case ThreadCreated() | StateFolded() | TaskFinished() | StepStarted() | StepCommitted():
            message = f"a {type(record).__name__} concerns the whole thread, or has an arm of its own"
            raise AssertionError(message)
        case _:
            assert_never(record)


def commit(blueprint: Blueprint, graph: GraphState, seq: int, record: StepCommitted) -> GraphState:
    """Close the superstep: its outcomes become the values, and what they trigger becomes due."""
    # All at once, since each field looked up by name costs as much as a third of this line.
    (values, step, base, _, _, _, due, sends, joins, deferred, ran, _, _, outcomes,
     ended, reason, metadata, caller, run, above, notes) = graph  # fmt: skip
    found = outcomes.get
    writes: Sequence[Write]
    targets: Sequence[Target]
    if len(due) == 1 and not sends:
        # What most steps are: the names of the nodes that are due are the path of the one task.
        outcome = found(due) or NOTHING
        if outcome.caught is not None:
            outcome = graph.standing(due) or NOTHING
        writes, targets = outcome.writes, outcome.goto
    else:
        done = [found(path) or NOTHING for path in _in_order(graph)]
        if any(outcome.caught is not None for outcome in done):
            done = [graph.standing(path) or NOTHING for path in _in_order(graph)]
        writes = [write for outcome in done for write in outcome.writes]
        targets = [target for outcome in done for target in outcome.goto]
    try:
        values = _written(blueprint, values, writes, bump=True)
    except InvalidUpdateError as error:
        named = [(graph.node_of(path), found(path) or NOTHING) for path in _in_order(graph)]
        _name_authors(error, [(node, write) for node, outcome in named for write in outcome.writes])
        raise
    ran = due or ran
    due, sends, joins, deferred = route(targets, (), (), joins, deferred)
    if not due:
        due, joins, deferred = quiescent(joins, deferred)
        values = finish(blueprint, values)
    return new(GraphState, (
        values, step + 1, seq, record.at, "loop", base, due, sends, joins, deferred, ran, NO_INPUT, False, EMPTY,
        ended, reason, metadata if notes is None else notes, caller, run, above, None,
    ))  # fmt: skip


def apply_writes(
    blueprint: Blueprint, values: dict[str, Any], writes: Sequence[tuple[str, Write]], *, bump: bool = True
) -> dict[str, Any]:
    """Return the values after the writes, given as pairs of the writing node and its write, in order.

    Args:
        blueprint: The graph, whose channels say what writes mean.
        values: The values before; not changed.
        writes: What was written, by whom.
        bump: Whether this closes a superstep, so that channels that forget do so.

    Raises:
        InvalidUpdateError: A channel refuses its writes; the message names the nodes that wrote.
    """
    try:
        return _written(blueprint, values, [write for _, write in writes], bump=bump)
    except InvalidUpdateError as error:
        _name_authors(error, writes)
        raise


def _written(
    blueprint: Blueprint, values: dict[str, Any], writes: Sequence[Write], *, bump: bool
) -> dict[str, Any]:
    """Return the values after the writes; their authors are looked up only when a channel refuses."""
    channels = blueprint.channels
    grouped: dict[str, list[Any]] = {}
    for written, value in writes:
        if written in grouped:
            grouped[written].append(value)
        else:
            grouped[written] = [value]
    if bump and blueprint.forgetful:
        for forgetful in blueprint.forgetful:
            grouped.setdefault(forgetful, [])
    if not grouped:
        return values
    after = values.copy()
    for key, group in grouped.items():
        channel = channels.get(key)
        if channel is None:
            # The state lost this key since it was written, so nothing can read it. Who resumes an unfinished step has
            # seen to it that nothing of it is lost in this way.
            continue
        try:
            value = channel.fold(after.get(key, MISSING), group)
        except InvalidUpdateError as error:
            error.details.setdefault("channel", key)
            raise
        if value is MISSING or not channel.tracked:
            after.pop(key, None)
        else:
            after[key] = value
    return after


def _name_authors(error: InvalidUpdateError, writes: Sequence[tuple[str, Write]]) -> None:
    channel = error.details.get("channel")
    authors = [node for node, (written, _) in writes if written == channel]
    error.add_note(f"written by: {', '.join(authors)}")


def _finished(_blueprint: Blueprint, graph: GraphState, _seq: int, record: TaskFinished) -> GraphState:
    _, path, writes, goto, call = record
    before = graph.outcomes.get(path) or NOTHING
    status = FINISHED
    if goto is None:
        status, goto = UNROUTED, ()
    asked, answers = before.questions, before.answers
    fields = (status, writes, goto, call, None, 0, asked, answers, True, None, None, None, (), None)
    outcomes = graph.outcomes.put(path, new(Outcome, fields))
    return new(GraphState, (*graph[:OUTCOMES], outcomes, *graph[OUTCOMES + 1 :]))


def _started(_blueprint: Blueprint, graph: GraphState, _seq: int, _record: StepStarted) -> GraphState:
    return new(GraphState, (*graph[:OPENED], True, *graph[OPENED + 1 :]))


EVERY_STEP: dict[type, Callable[[Blueprint, GraphState, int, Any], GraphState]] = {
    TaskFinished: _finished,
    StepCommitted: commit,
    StepStarted: _started,
}
"""The arms of the three kinds that come with every step; a draft takes them without going past the others."""


def _with(graph: GraphState, path: Path, outcome: Outcome) -> GraphState:
    return with_field(graph, OUTCOMES, graph.outcomes.put(path, outcome))


def _failed(graph: GraphState, record: TaskFailed) -> GraphState:
    """Take note of a failure. One that a handler takes over is final: what the body had returned by then counts."""
    before = graph.outcomes.get(record.path) or NOTHING
    after = before._replace(status=FAILED, failure=record.failure, attempts=record.attempts, retry=None)
    if record.handler is not None:
        own = [target for key, targets in before.writes if key == GOTO_WRITE for target in targets]
        after = after._replace(
            status=CAUGHT,
            writes=tuple(write for write in before.writes if write[0] != GOTO_WRITE),
            goto=tuple(tuple(target) if isinstance(target, list) else target for target in own),
            caught=Caught(record.handler, record.error),
        )
    elif record.call is not None:
        after = after._replace(call=record.call, caught=Caught(None, record.error))
    return _with(graph, record.path, after)


def _due_again(outcomes: Ledger[Outcome]) -> Ledger[Outcome]:
    """Give failed tasks another chance, with the answers and, where only routing failed, the writes they have.

    A task that waits without a question of its own waits for something in it, a subgraph's breakpoint for example;
    running it again is how that goes on. One that sleeps, or waits for a signal, is woken by the record that ends that.
    """
    for path, outcome in list(outcomes.recent()):
        if outcome.status == FAILED or (
            outcome.status == WAITING and not outcome.pending() and not outcome.asleep()
        ):
            status = UNROUTED if outcome.returned else DUE
            # A call that failed may have failed by its arguments, so others may be tried; but answers belong to a call.
            call = outcome.call if outcome.questions or outcome.intent is not None else None
            outcomes = outcomes.put(
                path, outcome._replace(status=status, failure=None, call=call, caught=None)
            )
    return outcomes


def _admitted(blueprint: Blueprint, graph: GraphState, seq: int, record: RunStarted) -> GraphState:
    """Begin a run on an input. What the last run left unfinished is given up (N-2); half-seen joins stay."""
    fresh = graph.step < -1
    return graph._replace(
        step=-1 if fresh else graph.step + 1, base=seq, at=record.at, source="input",
        parent=None if fresh else _parent(graph), due=(blueprint.entry,), sends=(), input=record.input,
        opened=False, outcomes=EMPTY, ended=None, reason=None, metadata=record.metadata, caller=record.caller,
        run=record.run, above=record.above, notes=None,
    )  # fmt: skip


def _edited(blueprint: Blueprint, graph: GraphState, seq: int, record: StateEdited) -> GraphState:
    """Apply an edit from outside: a barrier of its own, or a ``Command`` that joins the present step (N-4)."""
    if record.how == "input":
        (edit,) = record.edits
        given = RunStarted(
            record.scope,
            record.at,
            graph.run,
            edit.writes[0][1],
            None,
            "",
            0,
            record.metadata or {},
            graph.caller,
        )
        return _admitted(blueprint, graph, seq, given)
    writes = [(edit.as_node or "", write) for edit in record.edits for write in edit.writes]
    targets = [target for edit in record.edits for target in edit.goto]
    if record.how == "command":
        values = apply_writes(blueprint, graph.values, writes, bump=False)
        due, sends, joins, deferred = route(targets, graph.due, graph.sends, graph.joins, graph.deferred)
        return graph._replace(values=values, due=due, sends=sends, joins=joins, deferred=deferred)
    if record.how == "clear":
        # The stored writes of finished tasks are applied, and nothing is due any more (U-4).
        done = [(path, graph.standing(path) or NOTHING) for path in _in_order(graph)]
        writes = [
            (graph.node_of(path), write)
            for path, outcome in done
            if outcome.status == FINISHED
            for write in outcome.writes
            if write[0] in blueprint.channels
        ]
    values = apply_writes(blueprint, graph.values, writes)
    due, sends, joins, deferred = route(targets, (), (), graph.joins, graph.deferred)
    if not due:
        due, joins, deferred = quiescent(joins, deferred)
    ran = tuple(sorted({edit.as_node for edit in record.edits if edit.as_node})) or (
        graph.due if record.how == "clear" else ()
    )
    return graph._replace(
        values=values, step=max(graph.step, -1) + 1, base=seq, at=record.at, source="update",
        parent=_parent(graph) or None, due=due, sends=sends, joins=joins, deferred=deferred, ran=ran or graph.ran,
        input=NO_INPUT, opened=False, outcomes=EMPTY, ended=None, reason=None,
        metadata={**graph.noted, **record.metadata} if record.metadata else graph.noted, notes=None,
    )  # fmt: skip


def _parent(graph: GraphState) -> int | None:
    """Return the checkpoint that an input or an edit follows: at a branch, the one that it branches off from."""
    return graph.parent if graph.source == "branch" else graph.base


def _in_order(graph: GraphState) -> Iterable[Path]:
    """Return the step's paths in the order in which writes are applied: nodes by name, sends by index (A-1)."""
    if not graph.sends:
        return [(name,) for name in graph.due]
    return [*((name,) for name in graph.due), *((index,) for index in range(len(graph.sends)))]


def without_children(state: ThreadState, scope: str) -> ThreadState:
    """Drop the subgraphs that belonged to tasks of a step of ``scope`` that is over."""
    if len(state.scopes) == 1 and not state.unread:
        return state
    ended = {
        key
        for key in (*state.scopes, *state.unread)
        if ends_with_step(key, scope, lambda name: above(state, name))
    }
    if not ended:
        return state
    return state._replace(
        scopes={key: value for key, value in state.scopes.items() if key not in ended},
        unread={key: value for key, value in state.unread.items() if key not in ended},
    )
