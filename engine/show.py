"""What the stream modes show: from what happened to payloads.

    the loop …                       values   updates   tasks    checkpoints   messages
    opens (a resume)                 now      restored  start    now
    opens (an input)                                             input
    begins a step                                       start
    took a task's end                         its       result                 returned
      that asks                     asked     asked     result
    closed a step                    after                       after
    stops to ask, or at a breakpoint asked    asked

``debug`` shows tasks and checkpoints once more, in a wrapper with step and time. The payloads are LangGraph's (§2.18,
ST-1). A task that was restored, or whose outcome was found in a cache, shows its update, marked as cached, and
a start, but no result (R-3, CA-1).

Invariants:
1. A payload never fails because user code does: an input that cannot be made is shown as the values it is made of.
2. Nothing is made that nobody asked for.

It must not decide when something is shown: the loop does, after what is told was appended.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..replay.history import Checkpoint
from ..replay.identity import START, TASK_SEPARATOR, child_scope, lasting_scope, task_id
from ..replay.questions import open_questions, task_around
from ..replay.state import CAUGHT, FAILED, FINISHED, WAITING
from .context import TaskContext
from .errors import GraphInterrupt
from .interrupt import shown
from .job import input_of
from .metadata import noted, tags_of, triggers_of
from .steering import PARENT_WRITE
from .stream import Drafted, Event, Known
from .view import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..replay.draft import Draft
    from ..replay.questions import Asked
    from ..replay.state import GraphState, ThreadState
    from ..wal.record import Path, Write
    from .control import Interrupt, PregelTask
    from .run import Run

RETURNED = frozenset(("__end__", "__return__"))
"""The writes that hold what an entrypoint and a ``@task`` returned."""
CACHED = {"__metadata__": {"cached": True}}
"""What the mode ``updates`` says of a task that was not run: it was restored, or found in a cache."""


def opened(
    run: Run, draft: Draft, before: GraphState | None, output: Callable[[], Any]
) -> Iterator[Event | Drafted]:
    """Yield what a run shows at its beginning.

    Args:
        run: The run.
        draft: The state with the records that open the run.
        before: What the graph's state was before them, if the run takes up what another left there.
        output: Gives what the caller would be given now.
    """
    graph = draft.graph
    if before is not None and "values" in run.modes:
        yield Event(run.scope, "values", output())
    # What failed is due again by now; the checkpoint still says that it failed.
    was = graph if before is None or before.base != graph.base else graph._replace(outcomes=before.outcomes)
    yield from checkpoint(run, was, draft.state())
    if not graph.opened:
        return
    yield from starts(run, graph)
    if "updates" in run.modes:
        for path in _running(graph):
            outcome = graph.outcomes.get(path)
            if outcome is not None and (outcome.status == FINISHED or (outcome.caught and outcome.returned)):
                update = updated(run, outcome.writes)
                yield Event(run.scope, "updates", {graph.node_of(path): update, **CACHED})


def starts(run: Run, graph: GraphState) -> Iterator[Drafted]:
    """Yield that the tasks of the open step start."""
    if not run.modes.isdisjoint(("tasks", "debug", "messages")):
        yield Drafted(graph, partial(_starts, run))


def _starts(run: Run, graph: GraphState) -> Iterator[Event]:
    for path in _running(graph):
        name = graph.node_of(path)
        if name == START:
            continue
        node = run.program.nodes[name]
        outcome = graph.outcomes.get(path)
        if "messages" in run.modes and (outcome is None or outcome.status != FINISHED):
            yield Event(run.scope, "messages", Known(_ids_of_input(run, graph, path)))
        try:
            given = input_of(run, node, graph, path)
        except Exception:
            # The task is about to raise the same; whoever watches sees what it was given.
            given = node.reader.values(graph.values)
        yield from start(run, path, name, graph.base, graph.step + 1, given)


def start(run: Run, path: Path, name: str, base: int, step: int, given: Any) -> Iterator[Event]:
    """Yield that a task starts.

    Args:
        run: The run.
        path: The task's path.
        name: The node's or the task function's name.
        base: The seq of the barrier that the step follows.
        step: The superstep.
        given: Its input.
    """
    payload = {
        "id": task_id(run.thread, run.scope, base, path),
        "name": name,
        "input": given,
        "triggers": triggers_of(run.program, path),
    }
    metadata = noted(run.program, run.config, path, name)
    if tags := tags_of(run.config):
        metadata["tags"] = tags
    if metadata:
        payload["metadata"] = metadata
    yield from _detail(run, "tasks", "task", step, payload)


def ended(
    run: Run,
    graph: GraphState,
    path: Path,
    error: BaseException | None,
    untracked: Sequence[Write],
    *,
    is_cached: bool = False,
) -> Iterator[Event]:
    """Yield how a node's task ended.

    Args:
        run: The run.
        graph: Its state, with the task's outcome.
        path: The task's path.
        error: What it raised, if it did.
        untracked: Its writes that are not recorded.
        is_cached: Whether its outcome was found in a cache.
    """
    outcome, name = graph.outcomes.get(path), graph.node_of(path)
    if outcome is None or name == START or outcome.status not in {FINISHED, FAILED, CAUGHT, WAITING}:
        return
    writes = (*outcome.writes, *untracked)
    if writes and writes[0][0] == PARENT_WRITE:
        # It steers the graph above, and what it wrote is shown there.
        return
    if outcome.status == FINISHED or (outcome.status == CAUGHT and outcome.returned):
        # What a body returned whose routers failed counts, if an error handler takes over.
        if "messages" in run.modes:
            context = TaskContext(run, path, name, graph.base, graph.step + 1)
            yield from returned_messages(context, writes)
        if "updates" in run.modes:
            update = {name: updated(run, writes)}
            yield Event(run.scope, "updates", {**update, **CACHED} if is_cached else update)
    if not is_cached:
        yield from result(run, path, name, graph.base, graph.step + 1, writes, error)


def result(
    run: Run,
    path: Path,
    name: str,
    base: int,
    step: int,
    writes: Sequence[Write],
    error: BaseException | None,
) -> Iterator[Event]:
    """Yield the result of a task.

    Args:
        run: The run.
        path: The task's path.
        name: The node's or the task function's name.
        base: The seq of the barrier that the step follows.
        step: The superstep.
        writes: What it wrote.
        error: What it raised, if it did.
    """
    if run.modes.isdisjoint(("tasks", "debug")):
        return
    asked: tuple[Interrupt, ...] = error.interrupts if isinstance(error, GraphInterrupt) else ()
    if isinstance(error, GraphInterrupt) and not asked:
        # Its subgraph stops at a breakpoint: the task has come to nothing yet.
        return
    # What the caller wants to be given narrows values and updates; a result is what the task wrote.
    keys = {*run.program.reader.keys, *RETURNED}
    payload = {
        "id": task_id(run.thread, run.scope, base, path),
        "name": name,
        "error": None if isinstance(error, GraphInterrupt) else error,
        "result": by_channel([write for write in writes if write[0] in keys]),
        "interrupts": [asdict(interrupt) for interrupt in asked],
    }
    yield from _detail(run, "tasks", "task_result", step, payload)


def called(
    context: TaskContext[Run], value: Any, error: BaseException | None, *, is_cached: bool = False
) -> Iterator[Event]:
    """Yield how a call of a ``@task`` ended.

    Args:
        context: The call.
        value: What it returned.
        error: What it raised, if it did.
        is_cached: Whether what it returned was found in a cache.
    """
    run, path, name = context.run, context.path, context.name
    place = path, name, context.base, context.step
    writes = () if error is not None else (("__return__", value),)
    if error is None:
        if "messages" in run.modes:
            yield from returned_messages(context, writes)
        if "updates" in run.modes:
            yield Event(run.scope, "updates", {name: value, **CACHED} if is_cached else {name: value})
    # What a call asks is shown as what its node asks.
    if not is_cached and not isinstance(error, GraphInterrupt):
        yield from result(run, *place, writes, error)


def closed(
    run: Run, before: GraphState, after: GraphState, output: Callable[[], Any]
) -> Iterator[Event | Drafted]:
    """Yield what a closed step shows.

    Args:
        run: The run.
        before: The state with the step's outcomes.
        after: The state that they made.
        output: Gives what the caller would be given now.
    """
    if "values" in run.modes:
        written = {key for _, outcome in before.outcomes.recent() for key, _ in outcome.writes}
        if not written.isdisjoint(run.shown.keys):
            yield Event(run.scope, "values", output())
    yield from checkpoint(run, after)


def stopped(run: Run, asked: tuple[Interrupt, ...], output: Callable[[], Any]) -> Iterator[Event]:
    """Yield that the run stops to ask, or at a breakpoint, where nothing is asked.

    Args:
        run: The run.
        asked: The questions.
        output: Gives what the caller would be given now.
    """
    if "updates" in run.modes:
        yield Event(run.scope, "updates", {"__interrupt__": asked})
    if "values" in run.modes and asked:
        # An entrypoint has no values before it returns; what it returned last time would be misleading.
        yield Event(run.scope, "values", {} if run.program.is_entrypoint else output(), asked)


def questions(
    run: Run, state: ThreadState, asked: Sequence[Asked], told: set[str], output: Callable[[], Any]
) -> Iterator[Event]:
    """Yield what each task of the open step asks and was not shown when it ended, one task after another.

    Args:
        run: The run.
        state: The thread.
        asked: The open questions of the run's graph and those below it, in the order of tasks.
        told: The ids of the questions that were shown.
        output: Gives what the caller would be given now.
    """
    if run.sinks:
        outcomes = state.scopes[run.scope].outcomes
        untold = (item for item in asked if item.question.id not in told)
        for path, items in groupby(untold, lambda item: task_around(state, item, run.scope)):
            outcome = outcomes.get(path)
            # What a subgraph asks beside a failure of its own is not asked before that is mended.
            if outcome is None or outcome.status != FAILED:
                yield from stopped(run, shown(item.question for item in items), output)


def left(
    run: Run, graph: GraphState, output: Any, suspended: tuple[Any, ...], *, is_asking: bool
) -> Iterator[Event]:
    """Yield how a root graph stands that stops within a step: with what the step's other tasks have written.

    Args:
        run: The run.
        graph: Its state, with the outcomes of the open step.
        output: What the caller is given.
        suspended: What it sleeps for and waits for.
        is_asking: Whether there are questions; otherwise, unless it is suspended, a subgraph is at a static breakpoint.
    """
    if "values" in run.modes and not run.program.is_entrypoint:
        finished = [outcome for _, outcome in graph.outcomes.recent() if outcome.status == FINISHED]
        if any(key in run.shown.keys for outcome in finished for key, _ in outcome.writes):
            yield Event(run.scope, "values", output)
    if suspended:
        if "updates" in run.modes:
            yield Event(run.scope, "updates", {"__suspended__": suspended})
    elif not is_asking:
        yield from stopped(run, (), lambda: output)


def checkpoint(run: Run, graph: GraphState, state: ThreadState | None = None) -> Iterator[Drafted]:
    """Yield a checkpoint, if the run has a log.

    Args:
        run: The run.
        graph: Its state at the checkpoint.
        state: The state of the thread, if there may be questions in subgraphs.
    """
    if run.recorder.writer is not None and not run.modes.isdisjoint(("checkpoints", "debug")):
        yield Drafted(graph, partial(_checkpoint, run, state or run.recorder.state))


def _checkpoint(run: Run, state: ThreadState, graph: GraphState) -> Iterator[Event]:
    around = state.with_graph(run.scope, run.recorder.state.seq, graph)
    asked = tuple(
        (task_around(around, item, run.scope), item.question)
        for item in open_questions(around, run.scope, answered=True)
        if item.scope != run.scope
    )
    found = Checkpoint(graph, around, around, asked)
    view = snapshot(run.program, run.thread, run.scope, found, live=False, by_name=True)
    payload = {
        "config": view.config,
        # Of the checkpoints of such a run only the last is kept, so none of them has a parent that can be looked up.
        "parent_config": None if run.recorder.durability == "exit" else view.parent_config,
        "values": view.values,
        "metadata": view.metadata,
        "next": list(view.next),
        "tasks": [_task(run, task) for task in view.tasks],
    }
    yield from _detail(run, "checkpoints", "checkpoint", graph.step, payload)


def updated(run: Run, writes: Sequence[Write]) -> Any:
    """Return what the mode ``updates`` shows of one task's writes: None, a dict, or a list of dicts."""
    program = run.program
    if program.is_entrypoint:
        return next((value for key, value in writes if key == "__end__"), None)
    keys = frozenset(run.shown.keys)
    shown = [write for write in writes if write[0] in keys]
    if not shown:
        return None
    if program.root or run.shown_key is not None:
        return shown[0][1]
    update = dict(shown)
    return update if len(update) == len(shown) else [{key: value} for key, value in shown]


def by_channel(writes: Sequence[Write]) -> dict[str, Any]:
    """Return writes by channel; those of a channel that was written more than once as ``{"$writes": [...]}``."""
    grouped: dict[str, list[Any]] = {}
    for key, value in writes:
        grouped.setdefault(key, []).append(value)
    return {key: group[0] if len(group) == 1 else {"$writes": group} for key, group in grouped.items()}


def returned_messages(context: TaskContext[Run], writes: Sequence[Write]) -> Iterator[Event]:
    """Yield the messages that a task returned; whoever was shown one before is not shown it again.

    Args:
        context: The task.
        writes: What it wrote.
    """
    run = context.run
    for key, value in writes:
        for message in messages_in(value, is_messages=key in run.program.prepare):
            yield Event(run.scope, "messages", (message, context.metadata))


def messages_in(value: Any, *, is_messages: bool) -> Iterator[Any]:
    """Yield the messages that a value holds, as itself or as its items.

    Args:
        value: What was written or read.
        is_messages: Whether the value is one of a channel of messages, where dicts are messages too.
    """
    for item in value if isinstance(value, list | tuple) else (value,):
        if is_message(item) or (is_messages and isinstance(item, dict) and "id" in item):
            yield item


def is_message(value: Any) -> bool:
    """Return whether a value is a message of langchain_core, without importing it."""
    return hasattr(value, "content") and any(
        cls.__name__ == "BaseMessage" and cls.__module__.startswith("langchain_core.")
        for cls in type(value).__mro__
    )


def _running(graph: GraphState) -> Iterator[Path]:
    """Yield the paths of the open step's tasks, and of the error handlers that took over from them."""
    for path in graph.paths():
        yield path
    for path in graph.paths():
        if (acting := graph.acting(path)) is not path:
            yield acting


def _ids_of_input(run: Run, graph: GraphState, path: Path) -> frozenset[str]:
    """Return the ids of the messages that a task is given, since it may hand them on."""
    head = path[0]
    program = run.program
    if isinstance(head, int):
        given = _fields(graph.sends[head][1])
    elif head == program.entry:
        given = _fields(graph.input)
    else:
        given = {key: graph.values[key] for key in program.nodes[head].reader.keys if key in graph.values}
    messages = (
        message
        for key, value in given.items()
        for message in messages_in(value, is_messages=key in program.prepare)
    )
    return frozenset(message["id"] if isinstance(message, dict) else message.id for message in messages)


def _fields(value: Any) -> dict[str, Any]:
    """Return the parts of a state-like value by name."""
    if isinstance(value, dict):
        return value
    cls = type(value)
    names: Iterable[str] = (
        getattr(cls, "model_fields", None) or getattr(cls, "__dataclass_fields__", None) or ()
    )
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _detail(run: Run, mode: str, kind: str, step: int, payload: Any) -> Iterator[Event]:
    """Yield an event of a mode, and the same as ``debug`` shows it."""
    if mode in run.modes:
        yield Event(run.scope, mode, payload)
    if "debug" in run.modes and not (run.is_hidden and mode == "tasks"):
        now = datetime.fromtimestamp(run.recorder.now() / 1e9, UTC).isoformat()
        wrapped = {"step": step, "timestamp": now, "type": kind, "payload": payload}
        yield Event(run.scope, "debug", wrapped)


def _task(run: Run, task: PregelTask) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": task.id, "name": task.name}
    if task.error:
        shown["error"] = task.error
    else:
        if task.result:
            shown["result"] = task.result
        shown["interrupts"] = tuple(asdict(interrupt) for interrupt in task.interrupts)
    shown["state"] = _place_of_subgraph(run, task)
    return shown


def _place_of_subgraph(run: Run, task: PregelTask) -> dict[str, Any] | None:
    """Return the config of the subgraph that a task runs or will run, if its node is one."""
    settings = getattr(run.program.nodes[task.name].subgraph, "settings", None)
    if settings is None or settings.log is False:
        state: dict[str, Any] | None = task.state
        return state
    own = child_scope(run.scope, f"{task.name}{TASK_SEPARATOR}{task.id}")
    scope = lasting_scope(own) if settings.log is True else own
    return {"configurable": {"thread_id": run.thread, "checkpoint_ns": scope}}
