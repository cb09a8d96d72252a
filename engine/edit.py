"""Looking at a thread, and changing its state from outside of a run.

    get_state, get_state_history    the fold, stopped where asked; a view of it (``view``)
    update_state                    a ``StateEdited`` record: as if ``as_node`` had returned the values (U-1)

An edit is made under the thread's claim, like a run, so two of them cannot fork a thread by accident.

It must not run nodes; only the routers of ``as_node`` are asked where its values lead.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..replay.fold import fold
from ..replay.history import checkpoint_at, checkpoints
from ..replay.identity import END, LEVEL_SEPARATOR, START, TASK_SEPARATOR, checkpoint_seq
from ..replay.plain import graph_to_plain
from ..replay.recover import recover
from ..replay.state import GraphState, ThreadState
from ..wal.log import Log, as_thread_id
from ..wal.record import Edit, Forked, StateEdited, ThreadCreated
from . import view
from .context import TaskContext
from .control import StateSnapshot
from .errors import InvalidUpdateError, MissingThreadId, NoLog
from .job import Job
from .opening import not_found
from .outcome import writes_of
from .recorder import Recorder
from .run import Run
from .settings import Compiled
from .task import perform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..replay.blueprint import Blueprint
    from ..wal.record import Record, Target, Write


class Reading:
    """Looks at one thread through one graph.

    Args:
        graph: The graph, which says what the records mean.
        config: With ``thread_id``; ``checkpoint_id`` and ``checkpoint_ns`` where they matter.

    Raises:
        NoLog: The graph has no log.
        MissingThreadId: The config has no thread id.
    """

    def __init__(self, graph: Compiled, config: dict[str, Any]) -> None:
        self.root = graph
        self.config = config
        self.log = log_of(graph)
        configurable = config.get("configurable", {})
        self.thread = thread_of(configurable)
        self.scope = str(configurable.get("checkpoint_ns") or "")
        self.text = configurable.get("checkpoint_id")
        self.graph = graph if not self.scope else subgraph_at(graph, self.scope)

    def blueprint(self, scope: str) -> Blueprint | None:
        """Return the blueprint of a scope, as far as the graph's nodes tell."""
        if not scope:
            return self.root.program.blueprint
        if scope == self.scope:
            return self.graph.program.blueprint
        found = find_subgraph(self.root, scope)
        return None if found is None else found.program.blueprint

    def state(self, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the view of the head, or of the checkpoint that the config names."""
        if self.log.head(self.thread) is None:
            return view.empty(self.config)
        program = self.root.program
        if self.text is not None:
            seq = checkpoint_seq(self.text)
            found = None
            if seq is not None:
                found = checkpoint_at(
                    self.log, self.thread, self.blueprint, program.registry, seq, self.scope
                )
            if found is None:
                return view.empty(self.config)
            return self._view(found.graph, found.thread, live=False, subgraphs=subgraphs)
        state = recover(self.log, self.thread, self.blueprint, program.registry).state
        graph = state.scopes.get(self.scope)
        if graph is None:
            return view.empty(self.config)
        return self._view(graph, state, live=True, subgraphs=subgraphs)

    def history(
        self, filter_: dict[str, Any] | None, before: dict[str, Any] | None, limit: int | None
    ) -> Iterator[StateSnapshot]:
        """Yield views of the checkpoints, newest first."""
        if self.log.head(self.thread) is None:
            return
        text = (before or {}).get("configurable", {}).get("checkpoint_id")
        border = None if text is None else checkpoint_seq(text)
        wanted: deque[tuple[GraphState, ThreadState]] = deque(maxlen=limit)
        registry = self.root.program.registry
        for graph, state in checkpoints(self.log, self.thread, self.blueprint, registry, self.scope):
            if border is not None and graph.base >= border:
                continue
            metadata = {**graph.metadata, "source": graph.source, "step": graph.step}
            if any(metadata.get(key) != value for key, value in (filter_ or {}).items()):
                continue
            wanted.append((graph, state))
        for graph, state in reversed(wanted):
            yield self._view(graph, state, live=False, subgraphs=False)

    def _view(self, graph: GraphState, state: ThreadState, *, live: bool, subgraphs: bool) -> StateSnapshot:
        program = self.graph.program
        shown = view.snapshot(program, self.thread, self.scope, graph, live=live, state=state)
        tasks = []
        for task in shown.tasks:
            if task.state is not None:
                configurable = {"thread_id": self.thread, **task.state["configurable"]}
                where: Any = {"configurable": configurable}
                if (
                    subgraphs
                    and (inner := self._inner(configurable["checkpoint_ns"], state, live=live)) is not None
                ):
                    where = inner
                task = task._replace(state=where)  # noqa: PLW2901 - the same task, completed
            tasks.append(task)
        return shown._replace(tasks=tuple(tasks))

    def _inner(self, scope: str, state: ThreadState, *, live: bool) -> StateSnapshot | None:
        found, graph = find_subgraph(self.root, scope), state.scopes.get(scope)
        if found is None or graph is None:
            return None
        inner = Reading(self.root, {"configurable": {"thread_id": self.thread, "checkpoint_ns": scope}})
        return inner._view(graph, state, live=live, subgraphs=True)


def update(graph: Compiled, config: dict[str, Any], supersteps: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Apply edits, each inner sequence as one superstep, and return the config of the last checkpoint.

    Args:
        graph: The graph.
        config: With ``thread_id``, and ``checkpoint_id`` to begin at an older checkpoint.
        supersteps: Tuples of values, as_node and task id.

    Raises:
        InvalidUpdateError: The values do not fit, or it is not clear which node is meant.
        ThreadBusy: A run owns the thread.
    """
    log = log_of(graph)
    configurable = config.get("configurable", {})
    thread = thread_of(configurable)
    if not supersteps:
        message = "No supersteps provided"
        raise ValueError(message)
    if any(not step for step in supersteps):
        message = "No updates provided"
        raise ValueError(message)
    program = graph.program
    scope = str(configurable.get("checkpoint_ns") or "")
    inner = subgraph_at(graph, scope).program if scope else program
    with log.writer(thread) as writer:
        known = {"": program.blueprint, scope: inner.blueprint}
        state, weight = ThreadState(), 0
        if writer.head is not None:
            state, weight = recover(log, thread, known.get, program.registry)
        if scope and scope not in state.scopes:
            message = f"Subgraph {scope} not found"
            raise ValueError(message)
        recorder = Recorder(thread, state, program.registry, "sync", log, writer, weight)
        recorder.name = program.name
        for name, blueprint in known.items():
            recorder.attach(name, blueprint)
        run = Run(inner, recorder, thread, scope, config)
        records: list[Record] = [] if state.seq else [ThreadCreated(recorder.now(), thread, None)]
        records.extend(_branch(known, run, configurable.get("checkpoint_id")))
        draft = state
        for record in records:
            draft = fold(known.get, draft, draft.seq + 1, record)
        for step in supersteps:
            edited = _edited(run, draft.scopes.get(scope), [tuple(item) for item in step])
            draft = fold(known.get, draft, draft.seq + 1, edited)
            records.append(edited)
        # With the draft, the directory of threads shows what is due after the edit, and not before it.
        recorder.record(records, recorder.state, draft)
        settled = recorder.state.scopes[scope]
        return view.config_of(thread, scope, settled.base)


def _branch(known: dict[str, Blueprint], run: Run, text: str | None) -> list[Record]:
    """Return the record of a branch, if the config names a checkpoint that is not the head."""
    recorder, scope = run.recorder, run.scope
    head = recorder.state.scopes.get(scope)
    if text is None or (head is not None and checkpoint_seq(text) == head.base):
        return []
    seq = checkpoint_seq(text)
    found = None
    if head is not None and seq is not None and recorder.log is not None:
        found = checkpoint_at(recorder.log, run.thread, known.get, recorder.registry, seq, scope)
    if found is None:
        raise not_found(run.thread, text)
    return [Forked(scope, recorder.now(), found.graph.base, "branch", graph_to_plain(found.graph))]


def _edited(run: Run, graph: GraphState | None, updates: list[tuple[Any, ...]]) -> StateEdited:
    """Return the record of one superstep of edits."""
    now = run.recorder.now()
    if len(updates) == 1 and updates[0][0] is None and updates[0][1] == END:
        return StateEdited(run.scope, now, "clear", ())
    if len(updates) > 1 and any(item[1] is None for item in updates):
        message = "as_node is required when applying multiple updates"
        raise InvalidUpdateError(message)
    edits = tuple(_edit(run, graph, item[0], item[1]) for item in updates)
    return StateEdited(run.scope, now, "update", edits)


def _edit(run: Run, graph: GraphState | None, values: Any, as_node: str | None) -> Edit:
    program = run.program
    name = _author(run, graph) if as_node is None else START if as_node == "__input__" else as_node
    if name not in program.nodes:
        message = f"Node {name} does not exist"
        raise InvalidUpdateError(
            message, hint=f"The graph's nodes are {', '.join(map(repr, program.nodes))}."
        )
    if program.is_entrypoint:
        return Edit(name, (("__end__", values), ("__previous__", values)), ())
    writes, targets = writes_of(program, name, values)
    return Edit(name, tuple(writes), (*targets, *_follow(run, graph, name, writes)))


def _follow(run: Run, graph: GraphState | None, name: str, writes: list[Write]) -> tuple[Target, ...]:
    """Return where a node's edges and routers lead after these writes, by performing it without its body."""
    node = run.program.nodes[name]
    if not node.branches:
        return node.targets
    if graph is None:
        graph = GraphState({}, -2, 0, 0, "", None, (), (), {}, frozenset(), ())
    context = TaskContext(run, (name,), name, graph.base, graph.step + 1)
    job = Job(run, node, context, graph._replace(due=(name,)), None)
    job.returned = writes
    done = perform(job)
    if done.error is not None:
        raise done.error
    return done.records[0].goto  # type: ignore[union-attr, return-value]  # a task without an error has finished


def _author(run: Run, graph: GraphState | None) -> str:
    """Return the node that an edit without ``as_node`` is taken to come from (U-2)."""
    nodes = [name for name in run.program.nodes if name != START]
    if len(nodes) == 1:
        return nodes[0]
    if graph is None or not graph.ran:
        return START
    ran = [name for name in graph.ran if name != START] or list(graph.ran)
    if len(ran) == 1:
        return ran[0]
    message = "Ambiguous update, specify as_node"
    raise InvalidUpdateError(message, hint=f"The last superstep ran {', '.join(ran)}.")


def log_of(graph: Compiled) -> Log:
    """Return the graph's log.

    Raises:
        NoLog: It was compiled without one.
    """
    log = graph.settings.log
    if not isinstance(log, Log):
        message = "No checkpointer set"
        raise NoLog(message, hint="compile(checkpointer=Log.open(path)) gives the graph a log.")
    return log


def thread_of(configurable: dict[str, Any]) -> str:
    """Return the thread id of a config's ``configurable``.

    Raises:
        MissingThreadId: It has none.
    """
    thread = configurable.get("thread_id")
    if thread is None:
        message = "the config has no thread_id, so there is no thread to look at"
        raise MissingThreadId(message, hint='Pass {"configurable": {"thread_id": "any-name"}}.')
    return as_thread_id(thread)


def find_subgraph(graph: Compiled, scope: str) -> Compiled | None:
    """Return the compiled graph that runs in a namespace, if it was added as a node at every level."""
    for segment in scope.split(LEVEL_SEPARATOR):
        node = graph.program.nodes.get(segment.partition(TASK_SEPARATOR)[0])
        inner: Any = None if node is None else node.subgraph
        if not hasattr(inner, "parts"):
            return None
        graph = inner.parts
    return graph


def subgraph_at(graph: Compiled, scope: str) -> Compiled:
    """Return the compiled graph that runs in a namespace.

    Raises:
        ValueError: No node's subgraph runs there.
    """
    found = find_subgraph(graph, scope)
    if found is None:
        message = f"Subgraph {scope} not found"
        raise ValueError(message)
    return found
