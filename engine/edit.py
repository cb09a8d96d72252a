"""``update_state`` and ``bulk_update_state``: changing a thread from outside of a run.

    supersteps     [[(values, as_node, task_id), …], …]
    one superstep  StateEdited   as if each ``as_node`` had returned its values, all in one step (U-1, U-6)
                   as_node END   nothing is due any more; what siblings had finished is applied (U-4)
                   __input__     the graph is given an input, and has not begun on it (U-5)
                   __copy__      Forked: the checkpoint once more, beside itself (U-5)

An edit is made under the thread's claim, like a run, so two of them cannot fork a thread by accident. All supersteps
of a call travel in one frame: they are recorded together, or not at all.

It must not run nodes; only the routers of ``as_node`` are asked where its values lead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.branch import branch, is_copied
from ..replay.draft import Draft
from ..replay.history import Origin, backwards
from ..replay.identity import END, START, checkpoint_seq, task_id
from ..replay.recover import recover
from ..replay.state import NEW_GRAPH, GraphState, ThreadState
from ..wal.record import Edit, StateEdited, ThreadCreated
from . import view
from .context import TaskContext
from .errors import InvalidUpdateError
from .job import Job
from .metadata import new_notes
from .nested import blueprints_of, lasting, program_at
from .opening import not_found
from .outcome import writes_of
from .reading import addressed, log_of, thread_of
from .recorder import Recorder
from .run import Run
from .task import perform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..wal.log import Log
    from ..wal.record import Path, Target, Write
    from ..wal.writer import Writer
    from .settings import Compiled

INPUT, COPY = "__input__", "__copy__"
"""What stands for a node's name where an edit is an input, or a copy of the checkpoint."""


class Update:
    """One item of a superstep: what a node is taken to have returned.

    Args:
        item: Values, node's name and task id, of which the last two may be left out.

    Raises:
        InvalidUpdateError: It has another form.
    """

    __slots__ = ("as_node", "task", "values")

    def __init__(self, item: Any) -> None:
        if not isinstance(item, tuple | list) or not 1 <= len(item) <= 3:
            message = f"Invalid update item: {item!r}"
            raise InvalidUpdateError(message, hint="An update is StateUpdate(values, as_node, task_id).")
        self.values, self.as_node, self.task = (*item, None, None)[:3]


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
    thread = thread_of(config.get("configurable", {}))
    if not supersteps:
        message = "No supersteps provided"
        raise ValueError(message)
    if any(not step for step in supersteps):
        message = "No updates provided"
        raise ValueError(message)
    steps = [_checked([Update(item) for item in step]) for step in supersteps]
    with log.writer(thread) as writer:
        return _Editing(graph, config, log, writer).apply(steps)


def _checked(step: list[Update]) -> list[Update]:
    """Return the updates of a superstep, if they can be made together."""
    message = None
    if len(step) > 1:
        names = [item.as_node for item in step]
        if any(item.as_node == END and item.values is None for item in step):
            message = "Cannot apply multiple updates when clearing state"
        elif INPUT in names:
            message = "Cannot apply multiple updates when updating as input"
        elif COPY in names:
            message = "Cannot copy checkpoint with multiple updates"
        elif None in names:
            message = "as_node is required when applying multiple updates"
    if message is not None:
        raise InvalidUpdateError(message, hint="Put it into a superstep of its own.")
    return step


class _Editing:
    """One call of ``update_state`` under the thread's claim."""

    def __init__(self, graph: Compiled, config: dict[str, Any], log: Log, writer: Writer) -> None:
        self.root = graph.program
        self.blueprint = blueprints_of(self.root)
        self.log = log
        self.thread = writer.thread_id
        scope, self.text = addressed(config.get("configurable", {}))
        scope = lasting(self.root, scope)
        program = program_at(self.root, scope)
        registry = self.root.registry
        state, weight = ThreadState(), 0
        if writer.head is not None:
            state, weight = recover(log, self.thread, self.blueprint, registry)
        self.recorder = Recorder(self.thread, state, registry, "sync", log, writer, weight)
        self.recorder.name = self.root.name
        for name in ("", *state.scopes):
            if (known := self.blueprint(name)) is not None:
                self.recorder.attach(name, known)
        self.run = Run(program, self.recorder, self.thread, scope, config)
        self.draft = Draft(self.blueprint, self.recorder.state, scope)

    @property
    def graph(self) -> GraphState | None:
        """The graph's state, with the edits so far; None before its first checkpoint."""
        return self.draft.graph if self.draft.graph.base else None

    def apply(self, steps: Sequence[list[Update]]) -> dict[str, Any]:
        """Draft all supersteps and record them together; return the config of the last checkpoint."""
        run, recorder = self.run, self.recorder
        if not recorder.state.seq:
            self.draft.add(ThreadCreated(recorder.now(), self.thread, None))
        elif is_copied(recorder.state, self.thread):
            self.draft.add(ThreadCreated(recorder.now(), self.thread, recorder.state.thread))
        origin = self._origin()
        if origin is not None and steps[0][0].as_node != COPY:
            self._branch_off(self._moment(origin), "branch")
            origin = None
        for step in steps:
            first = step[0]
            if first.as_node == COPY:
                self._copy(origin, first)
            elif first.as_node == INPUT:
                self._give(first)
            elif first.as_node == END and first.values is None:
                self.draft.add(self._edited("clear", ()))
            else:
                self._edit(step)
            origin = None
        # With the draft, the directory of threads shows what is due after the edits, and not before them.
        recorder.record(self.draft.records, self.draft.base, self.draft.state())
        settled = recorder.state.scopes[run.scope]
        parents = view.parents_of(recorder.state, run.scope)
        return view.config_of(self.thread, run.scope, settled.base, parents)

    def _origin(self) -> Origin | None:
        """Return the checkpoint that the config names, if it is not the head."""
        graph, text = self.graph, self.text
        if text is None and self.run.scope and graph is None:
            return self._newest()
        if text is None or (graph is not None and checkpoint_seq(text) == graph.base):
            return None
        seq = checkpoint_seq(text)
        if seq is None or not self.recorder.state.seq:
            raise not_found(self.thread, text)
        return self._at(seq)

    def _newest(self) -> Origin:
        """Return the newest checkpoint of a subgraph that is over, or was left behind by its caller."""
        scope, found = self.run.scope, None
        if self.recorder.state.seq:
            history = backwards(self.log, self.thread, self.blueprint, self.recorder.registry, scope)
            found = next(history, None)
        if found is None:
            message = f"Subgraph {scope} not found"
            raise ValueError(message)
        return self._at(found.graph.base)

    def _at(self, seq: int) -> Origin:
        return Origin(self.log, self.thread, self.blueprint, self.recorder.registry, self.run.scope, seq)

    def _moment(self, origin: Origin) -> ThreadState:
        """Return the thread as it was at a checkpoint."""
        moment = origin.begun()
        if moment is None:
            raise not_found(self.thread, str(self.text))
        return moment

    def _branch_off(self, moment: ThreadState, how: str) -> None:
        """Draft a branch that begins as the thread was at a moment; from here on it is the thread."""
        drafted = self.draft
        begun = branch(self.thread, drafted.seq, self.recorder.now(), moment, how=how, scope=self.run.scope)
        self.run.scope = begun.scopes[self.run.scope]
        self.recorder.attach(self.run.scope, self.run.program.blueprint)
        self.draft = Draft(self.blueprint, self.recorder.state, self.run.scope)
        for record in (*drafted.records, *begun.records):
            self.draft.add(record)

    def _copy(self, origin: Origin | None, item: Update) -> None:
        """Draft a copy of the checkpoint, and the updates that are to be made to it as one step (U-5)."""
        graph = self.graph
        if graph is None:
            message = "Cannot copy a non-existent checkpoint"
            raise InvalidUpdateError(message, hint="Only a thread that has begun has one.")
        values = item.values
        if values is not None and not isinstance(values, list):
            message = f"Invalid update item: {values!r} when copying checkpoint"
            raise InvalidUpdateError(message, hint="Give a list of pairs of values and as_node, or None.")
        items: list[Update] = []
        for each in values or ():
            if not isinstance(each, tuple | list) or not 2 <= len(each) <= 3:
                message = f"Invalid update item: {each!r} when copying checkpoint"
                raise InvalidUpdateError(
                    message, hint="Each item is a tuple of values, as_node and perhaps a task id."
                )
            items.append(Update(each))
        if origin is None and self.draft.records:
            # The checkpoint was made by a superstep of this very call, so nothing has come after it.
            self._branch_off(self.draft.state(), "copy")
        else:
            self._branch_off(self._moment(origin or self._at(graph.base)), "copy")
        if items:
            self._edit(_checked(items))

    def _give(self, item: Update) -> None:
        """Draft an input."""
        if item.values is None:
            message = f"Received no input writes for {START}"
            raise InvalidUpdateError(message, hint="Give what the graph would be invoked with.")
        given = Edit(INPUT, ((INPUT, item.values),), ())
        self.draft.add(self._edited("input", (given,)))

    def _edit(self, step: Sequence[Update]) -> None:
        """Draft what nodes are taken to have returned."""
        graph = self.graph
        taken: list[Path] = []
        edits: list[Edit] = []
        for item in step:
            made = _edit(self.run, graph, item.values, item.as_node)
            place = None if graph is None else _place(self.run, graph, str(made.as_node), item.task, taken)
            if place is not None:
                taken.append(place)
            edits.append(made._replace(path=place))
        self.draft.add(self._edited("update", tuple(edits)))

    def _edited(self, how: str, edits: tuple[Edit, ...]) -> StateEdited:
        # An input begins a run, which shows what it was given and nothing from before.
        notes = new_notes(self.run.config, None if how == "input" else self.graph)
        return StateEdited(self.run.scope, self.recorder.now(), how, edits, notes)


def _place(run: Run, graph: GraphState, name: str, task: str | None, taken: Sequence[Path]) -> Path | None:
    """Return the task whose place an edit takes: the one of that id, else the first of its node that is due (U-7)."""
    for path in graph.paths():
        if path in taken:
            continue
        if task is None and graph.node_of(path) == name:
            return path
        if task is not None and task_id(run.thread, run.scope, graph.base, path) == task:
            return path
    return None


def _edit(run: Run, graph: GraphState | None, values: Any, as_node: str | None) -> Edit:
    program = run.program
    name = _author(run, graph) if as_node is None else as_node
    if name not in program.nodes:
        message = f"Node {name} does not exist"
        raise InvalidUpdateError(
            message, hint=f"The graph's nodes are {', '.join(map(repr, program.nodes))}."
        )
    writes, targets = writes_of(program, name, values)
    if program.is_entrypoint:
        return Edit(name, tuple(writes), ())
    return Edit(name, tuple(writes), (*targets, *_follow(run, graph, name, writes)))


def _follow(run: Run, graph: GraphState | None, name: str, writes: list[Write]) -> tuple[Target, ...]:
    """Return where a node's edges and routers lead after these writes, by performing it without its body."""
    node = run.program.nodes[name]
    if not node.branches:
        return node.targets
    if graph is None:
        graph = NEW_GRAPH
    context = TaskContext(run, (name,), name, graph.base, graph.step + 1)
    job = Job(run, node, context, graph._replace(due=(name,)), None)
    job.returned = writes
    done = perform(job)
    if done.error is not None:
        raise done.error
    return done.records[0].goto  # type: ignore[union-attr, return-value]  # a task without an error has finished


def _author(run: Run, graph: GraphState | None) -> str:
    """Return the node that an edit without ``as_node`` is taken to come from (U-2)."""
    nodes = [name for name, node in run.program.nodes.items() if name != START and not node.is_error_handler]
    if len(nodes) == 1:
        return nodes[0]
    if graph is None or not graph.ran:
        return START
    ran = [name for name in graph.ran if name != START] or list(graph.ran)
    if len(ran) == 1:
        return ran[0]
    message = "Ambiguous update, specify as_node"
    raise InvalidUpdateError(message, hint=f"The last superstep ran {', '.join(ran)}.")
