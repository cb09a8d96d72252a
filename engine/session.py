"""From a call of ``invoke`` or ``stream`` to a run, and back to what the caller is given.

    root     claim the thread ─► recover its state ─► open ─► Loop … ─► settle ─► output, or the error
    nested   take the recorder of the run around it, a scope of its own ─► the same

A graph that is called inside of a node or a task is a subgraph of it, whether it was added as a node or is called by
name, unless the call names another thread.

Invariants:
1. Whatever happens, what was recorded is flushed before the call returns or raises, and the claim is given back.
2. A refused call leaves no trace.

It must not plan or perform.
"""

from __future__ import annotations

import asyncio
import importlib.util
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..replay.history import Origin
from ..replay.identity import checkpoint_seq, lasting_scope, numbered_scope
from ..replay.recover import recover
from ..replay.scopes import base_of, is_current
from ..replay.state import ThreadState
from ..wal.codec import GLOBAL
from ..wal.errors import ThreadBusy, WalgraphError
from ..wal.log import Log
from ..wal.record import Question, RunResumed
from . import show
from .config import merged, thread_of
from .context import current, watching
from .control import Command
from .errors import GraphChanged, GraphInterrupt, InvalidUpdateError
from .loop import End, Loop
from .nested import blueprints_of, lasting
from .opening import nested_opening, not_found, opening, was_cancelled
from .reader import Reader
from .recorder import PARKED, Recorder
from .run import DEFAULT_RECURSION_LIMIT, Breakpoints, Run
from .run_control import Attendance, RunControl
from .settings import Compiled, checked_breakpoints, checked_durability, checked_keys, coerced
from .steering import command_given
from .stream import Printer, Sink, settled
from .suspend import GraphSuspended, Suspension, suspended, with_suspended

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..wal.log import IfBusy
    from ..wal.writer import Writer
    from .context import Chat, TaskContext
    from .control import Interrupt
    from .stream import Wanted


STOPPED = PARKED | {"parked"}
"""How a run ends that goes on later, with what its output is then."""
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05
"""Seconds between two looks at whether a busy thread is free, for coroutines: each is twice the one before."""


class Session:
    """One call of a graph.

    Args:
        graph: The graph.
        config: The caller's config.
        context: What nodes find as ``runtime.context``.
        output_keys: The channels to return, or None.
        durability: The mode, or None for the graph's default.
        control: The caller's handle to stop the run, or None.
    """

    def __init__(
        self,
        graph: Compiled,
        config: dict[str, Any] | None,
        context: Any,
        output_keys: Sequence[str] | str | None,
        durability: str | None,
        control: RunControl | None,
    ) -> None:
        self.graph = graph
        config = merged(graph.settings.config, config)
        self.parent = _parent(config)
        self._watch = watching.get() if self.parent is not None else None
        if self._watch is not None:
            self._watch.calls()
        self.config = merged(self.parent.run.config, config) if self.parent is not None else config
        if self.config.setdefault("recursion_limit", DEFAULT_RECURSION_LIMIT) < 1:
            message = "recursion_limit must be at least 1"
            raise ValueError(message)
        self.durability = checked_durability(durability) or graph.settings.durability or "async"
        self.context = coerced(context, graph.settings.context_schema)
        if self.parent is not None and context is None:
            self.context = self.parent.run.context
        self.control = (
            control or (self.parent.run.control if self.parent is not None else None) or RunControl()
        )
        self.output_keys = checked_keys(graph, output_keys)
        self._shows_all = False
        self.before = graph.settings.interrupt_before
        self.after = graph.settings.interrupt_after
        self.sinks: list[Sink] = list(self.parent.run.sinks) if self.parent is not None else []
        self.scope, self._call = _place(graph, self.parent)
        self.version = "v1"
        self._run: Run | None = None
        self._settled = False
        self._writer: Writer | None = None
        self._attendance: Attendance | None = None

    @property
    def run(self) -> Run:
        """The run, once it has begun."""
        assert self._run is not None
        return self._run

    def stop_at(self, before: Sequence[str] | str | None, after: Sequence[str] | str | None) -> None:
        """Set breakpoints for this call; none given leaves the compiled ones."""
        nodes = list(self.graph.program.nodes)
        self.before = checked_breakpoints(before, nodes) or self.before
        self.after = checked_breakpoints(after, nodes) or self.after

    def show_all(self) -> None:
        """Show all channels, as streams do, where nothing was asked for; else the output schema says what is shown."""
        self._shows_all = True

    def watch(self, wanted: Wanted) -> Sink:
        """Collect events for the caller, and print what is to be printed."""
        self.prints(wanted)
        sink = Sink(wanted, self.scope, self.graph.program, is_bare=isinstance(self.output_keys, str))
        self.sinks.append(sink)
        return sink

    def prints(self, wanted: Wanted) -> None:
        """Print what the caller asked to see on the terminal."""
        self.version = wanted.version
        if wanted.printed:
            printed = wanted._replace(modes=wanted.printed)
            self.sinks.append(Printer(printed, self.scope, self.graph.program))

    def claim(self, if_busy: IfBusy) -> None:
        """Claim the thread, if the run is one of a root graph with a log.

        Args:
            if_busy: What to do if another run owns the thread.
        """
        log = self.graph.settings.log
        if self.parent is not None:
            return
        if log is True:
            message = "checkpointer=True cannot be used for root graphs."
            raise RuntimeError(message)
        if isinstance(log, Log):
            self._writer = log.writer(thread_of(self.config), if_busy=if_busy)

    def adopt(self, writer: Writer) -> None:
        """Take a thread that the caller has claimed; it is given back when the run is over."""
        self._writer = writer

    async def aclaim(self, if_busy: IfBusy) -> None:
        """Do what ``claim`` does; waiting for the owner must not stop the event loop that the owner may need.

        Nor may it keep a thread busy: the owner's synchronous nodes need those, and a wait that is cancelled would
        leave one behind that claims the thread for nobody.
        """
        if if_busy != "wait":
            self.claim(if_busy)
            return
        pause = FIRST_PAUSE
        while True:
            try:
                self.claim("raise")
            except ThreadBusy:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return

    @contextmanager
    def begun(self, given: Any) -> Iterator[Loop | None]:
        """Begin the run; None when there is nothing left to do and the values stand.

        Args:
            given: The input.
        """
        log, writer = self.graph.settings.log, self._writer
        if self.parent is not None:
            with self._alone(self.parent.run.recorder):
                yield self._nested(given)
            return
        if writer is None or not isinstance(log, Log):
            yield self._unlogged(given)
            return
        try:
            yield self._logged(given, log, writer)
        except BaseException as passing:
            self._leave(writer, passing)
            raise
        finally:
            if self._attendance is not None:
                self._attendance.close()
        writer.close()

    def _leave(self, writer: Writer, passing: BaseException) -> None:
        """Keep what was done, though the consumer left or an error passes through; say so if it cannot be kept."""
        if self._run is None:
            writer.abandon()
            return
        try:
            if not self._settled:
                self.run.recorder.settle()
            writer.close()
        except WalgraphError as failure:
            # Giving the claim back comes before everything; what was queued is lost with the failed log.
            writer.abandon()
            if isinstance(passing, GeneratorExit):
                # The consumer left without an error, so this is the one way to learn of it.
                raise
            if not isinstance(passing, WalgraphError):
                passing.add_note(f"what this run did could not be recorded either: {failure.message}")

    @contextmanager
    def _alone(self, recorder: Recorder) -> Iterator[None]:
        """See that no other run writes to the scope meanwhile, as two calls of a persistent subgraph would.

        Raises:
            InvalidUpdateError: Another task runs the same persistent subgraph right now, or waits for an answer in it.
        """
        scope = self.scope
        if scope in recorder.running or self._is_taken(recorder.state):
            message = (
                f"subgraph {scope!r} of thread {recorder.thread!r} keeps its state (checkpointer=True), and two tasks "
                "of one step run it at once"
            )
            raise InvalidUpdateError(
                message, hint="Compile it with checkpointer=None, or let the tasks run one after another."
            )
        recorder.running.add(scope)
        try:
            yield
        finally:
            recorder.running.discard(scope)

    def _is_taken(self, state: ThreadState) -> bool:
        """Return whether another task's call of this persistent subgraph is parked in the present step."""
        graph = state.scopes.get(self.scope)
        if graph is None or graph.run == self._call or graph.ended not in {"interrupted", "parked"}:
            return False
        return is_current(state, self.scope)

    def _unlogged(self, given: Any) -> Loop:
        recorder = Recorder("", ThreadState(), GLOBAL, "none")
        recorder.attach("", self.graph.program.blueprint)
        run = self._make_run(recorder, "", "")
        return self._loop(run, opening(run, given, None, None))

    def _logged(self, given: Any, log: Log, writer: Writer) -> Loop | None:
        program = self.graph.program
        thread = writer.thread_id
        known = {"": program.blueprint}
        state, weight = ThreadState(), 0
        if writer.head is not None:
            state, weight = recover(log, thread, known.get, program.registry)
        recorder = Recorder(thread, state, program.registry, self.durability, log, writer, weight)
        recorder.name = program.name
        recorder.attach("", program.blueprint)
        run = self._make_run(recorder, thread, "")
        fork = self._fork(log, thread, state)
        records = opening(run, given, program.reference(log), fork)
        if records and (given is None or isinstance(given, Command)):
            from .graph_check import check_thread

            recorded = None if state.graph is None else log.shared(state.graph, lenient=True)
            try:
                check_thread(run, records, recorded)
            except GraphChanged as changed:
                if self.graph.settings.on_change is None or fork is not None:
                    raise
                from .changing import carried_over, pinned

                if (old := pinned(self.graph)) is not None:
                    self.graph = old
                    return self._logged(given, log, writer)
                records = carried_over(run, given, records, changed, self.graph.settings.on_change)
        # From here on there is a run to settle.
        self._run = run
        since = 0 if given is None or isinstance(given, Command) else writer.claimed_at
        run.attendance = self._attendance = Attendance(log.watch, run, since)
        return self._loop(run, records) if records else None

    def _fork(self, log: Log, thread: str, state: ThreadState) -> Origin | None:
        """Return the checkpoint that the config addresses, unless it is the head (TT-3)."""
        configurable = self.config["configurable"]
        if not configurable.keys() & {"checkpoint_id", "checkpoint_map"}:
            return None
        from .reading import addressed

        scope, text = addressed(configurable)
        if text is None:
            return None
        program = self.graph.program
        scope = lasting(program, scope)
        seq = checkpoint_seq(text)
        if seq is not None and seq == base_of(state, scope) and is_current(state, scope):
            return None
        if seq is None or not state.seq:
            raise not_found(thread, text)
        return Origin(log, thread, blueprints_of(program), program.registry, scope, seq)

    def _nested(self, given: Any) -> Loop | None:
        parent = self.parent
        assert parent is not None
        scope, call = self.scope, self._call
        if self.graph.settings.log is False:
            recorder = Recorder(parent.run.thread, ThreadState(), GLOBAL, "none")
        else:
            recorder = parent.run.recorder
        recorder.attach(scope, self.graph.program.blueprint)
        # So that whoever looks at the thread from outside knows what the records mean.
        parent.run.program.called[parent.name] = self.graph
        run = self._run = self._make_run(recorder, parent.run.thread, scope)
        records = nested_opening(run, given, call, parent.path)
        if records is not None:
            if isinstance(records[0], RunResumed):
                from .graph_check import check_graph

                check_graph(run, run.program, run.graph, scope=scope)
            return self._loop(run, records)
        graph = run.graph
        if graph.ended == "parent" and (steering := command_given(graph, run.above)) is not None:
            raise steering
        return None

    def _make_run(self, recorder: Recorder, thread: str, scope: str) -> Run:
        run = Run(self.graph.program, recorder, thread, scope, self.config)
        run.run_id = str(self.config.get("run_id") or uuid.uuid4())
        run.admission = run.run_id if self.parent is None else self.parent.run.admission
        run.context = self.context
        above = self.parent.run.store if self.parent is not None else None
        run.store = above if above is not None else self.graph.settings.store
        run.control = self.control
        run.watch = self._watch
        run.on_mismatch = self.graph.settings.on_mismatch or (
            "raise" if self.parent is None else self.parent.run.on_mismatch
        )
        run.step_timeout = self.graph.settings.step_timeout
        run.cache = self.graph.settings.cache
        if run.cache is None and self.parent is not None:
            run.cache = self.parent.run.cache
        if self.parent is not None:
            run.deadline = self.parent.run.deadline
            run.anchor = self.parent if self.graph.settings.log is False else None
        run.breakpoints = Breakpoints(self.before, self.after, self.config.get("tags"))
        if self.output_keys is not None:
            keys = (self.output_keys,) if isinstance(self.output_keys, str) else self.output_keys
            run.shown = Reader(self.graph.program.blueprint.channels, keys)
            run.shown_key = self.output_keys if isinstance(self.output_keys, str) else None
        elif self._shows_all:
            run.shown = self.graph.program.reader
        if self.sinks:
            run.show_to(self.sinks)
        if "messages" in run.modes or self.config.get("callbacks") or (self.parent and self.parent.run.chat):
            run.chat = _chat_of(run)
        if self.parent is not None:
            run.above = self.parent.run.scope
            run.attendance = self.parent.run.attendance
            if run.attendance is not None:
                run.attendance.joins(run)
            run.answers = self.parent.run.answers
            if self.graph.settings.log is False:
                run.answers = {**run.answers, **self.parent.answers}
        return run

    def _loop(self, run: Run, records: list[Any]) -> Loop:
        self._run = run
        run.is_resumed = any(isinstance(record, RunResumed) for record in records)
        before = run.recorder.state.scopes.get(run.scope)
        loop = Loop(run, records)
        opened = loop.draft.graph
        is_same = before is not None and opened.base == before.base
        # A run's budget counts from the checkpoint that it begins at, which a branch finds further back.
        step = -2 if before is None else opened.step if is_same else opened.step - 1
        run.stop = step + 1 + self.config["recursion_limit"] + 1
        if is_same or opened.source == "fork":
            # A breakpoint here was stopped at before, also if a branch has just begun here.
            run.resumed_at = opened.base
        if run.modes:
            resumed = before if is_same or opened.source != "input" else None
            loop.events.extend(show.opened(run, loop.draft, resumed, loop.output))
        return loop

    def standing(self, sink: Sink) -> Iterator[Any]:
        """Yield what a stream shows of a run that had nothing left to do: the values as they are (R-4)."""
        run = self.run
        loop = Loop(run)
        run.publish(settled(show.opened(run, loop.draft, loop.draft.graph, loop.output), 0, 0))
        yield from sink.queue

    def output(self) -> Any:
        """Return the output of a run that had nothing left to do."""
        self._settled = True
        loop = Loop(self.run)
        shown = (
            suspended(self.run.recorder.state) if loop.draft.graph.ended in {"sleeping", "waiting"} else ()
        )
        output = loop.output(live=bool(shown)) if not (shown and self.graph.program.is_entrypoint) else {}
        return with_suspended(output, shown) if self.version == "v1" else self._whole(output, (), shown)

    def finish(self, end: End) -> Any:
        """Flush, then return the run's output or raise what ended it."""
        if self.parent is None:
            self._settled = True
            self.run.recorder.settle()
            end = self._last_word(end)
        return self._given(end)

    async def afinish(self, end: End) -> Any:
        """Do what ``finish`` does without blocking the event loop."""
        if self.parent is None:
            self._settled = True
            await self.run.recorder.asettle()
            end = self._last_word(end)
        return self._given(end)

    def _last_word(self, end: End) -> End:
        """Listen no more, and cancel a run that was to be cancelled while it came to a pause of its own."""
        if (attendance := self._attendance) is not None:
            attendance.leave()
        if attendance is None or attendance.cancelled is None:
            return end
        from .last_word import last_word

        return last_word(self.run, end, attendance.cancelled)

    def _given(self, end: End) -> Any:
        if end.error is not None:
            if self.parent is None and end.how == "cancelled":
                raise was_cancelled(self.run.thread, str(end.error)) from None
            raise end.error
        if self.parent is not None and end.how in STOPPED:
            if self.graph.settings.log is False:
                # Nothing is kept of this graph, so its questions become those of the task that called it.
                questions = (Question(i.id, 0, i.value, i.response_schema) for i in end.interrupts)
                self.parent.asked = (*self.parent.asked, *questions)
            if end.suspended and not end.interrupts:
                raise GraphSuspended
            raise GraphInterrupt(end.interrupts)
        is_asking = bool(end.interrupts or end.suspended)
        output = end.output if end.how in STOPPED else Loop(self.run).output()
        if is_asking and self.graph.program.is_entrypoint:
            # An entrypoint has no output before it returns; what it returned last time would be misleading.
            output = {}
        if self.version != "v1":
            return self._whole(output, end.interrupts, end.suspended)
        if end.interrupts:
            output = {**(output if isinstance(output, dict) else {}), "__interrupt__": list(end.interrupts)}
        return with_suspended(output, end.suspended) if end.suspended else output

    def _whole(
        self, output: Any, interrupts: tuple[Interrupt, ...], suspended: tuple[Suspension, ...] = ()
    ) -> Any:
        """Return the output as version 2 has it."""
        from .parts import GraphOutput

        value = output if isinstance(self.output_keys, str) else self.graph.program.output.modelled(output)
        return GraphOutput(value, interrupts, suspended)


def _chat_of(run: Run) -> Chat | None:
    """Return what shows models' tokens and hands on callbacks; None where there is no langchain_core."""
    if importlib.util.find_spec("langchain_core") is None:
        return None
    from .chat import Callbacks

    return Callbacks(run)


def _place(graph: Compiled, parent: TaskContext[Run] | None) -> tuple[str, str]:
    """Return the namespace of a call, and what tells it from other calls: the task, and how many it made before."""
    if parent is None:
        return "", ""
    number, parent.subgraphs = parent.subgraphs, parent.subgraphs + 1
    own = parent.scope_of_task
    scope = lasting_scope(own) if graph.settings.log is True else own
    return numbered_scope(scope, number), numbered_scope(parent.id, number)


def _parent(config: dict[str, Any]) -> TaskContext[Run] | None:
    """Return the task whose subgraph this call is, if any (SG-4)."""
    context = current.get()
    if context is None:
        return None
    thread = config["configurable"].get("thread_id")
    return context if thread is None or str(thread) == context.run.thread else None
