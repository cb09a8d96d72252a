"""The superstep loop: plan, do, record, until the plan says stop.

    plan ── Begin ────► record StepStarted, then execute  (limit, breakpoints and drain are looked at first)
         ── Execute ──► append what is drafted; perform; record outcomes as they come
         ── Commit ───► fold StepCommitted on trial; record it
         ── Suspend, Fail, Finish ──► record RunEnded, and stop

The loop is a generator of effects (``effect``) and does no I/O. It folds what it is about to record into a draft, so
that a step's last outcome, its barrier and the start of the next step are planned together and travel in one
append: one flush a step under ``sync``. The draft becomes the state when the append succeeded, and is forgotten
when it did not.

There is no resume code: a run that takes up a thread folds the log and plans.

Invariants:
1. User code runs only after everything recorded before it was appended (guarantee G4).
2. The state never holds what the log does not; only the draft does.
3. What is shown was appended before.

It must not know threads, coroutines or stores.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..replay.channel import MISSING
from ..replay.draft import Draft
from ..replay.live import live_values
from ..replay.plan import Begin, Commit, Execute, Fail, Suspend, plan
from ..replay.questions import open_questions
from ..replay.waits import open_waits
from ..wal.codec import Encoder
from ..wal.errors import NotSerializable
from ..wal.named import NamedTuple, new
from ..wal.record import (
    HANDLER,
    RunEnded,
    RunResumed,
    StepCommitted,
    StepStarted,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
)
from . import clock
from .context import TaskContext
from .effect import Append, Perform, Publish
from .errors import (
    DeadlineExceeded,
    GraphCancelled,
    GraphDrained,
    GraphInterrupt,
    GraphRecursionError,
    NodeError,
    ParentCommand,
    StepTimeout,
)
from .failure import failure_of, handed_over, unpacked
from .interrupt import shown
from .job import Job
from .response import is_invalid_resume
from .run import Breakpoints
from .show import closed, ended, left, questions, starts, stopped
from .steering import command_given
from .stream import settled
from .suspend import Suspension, how_parked, suspensions
from .task import perform

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ..replay.plan import Move
    from ..replay.state import GraphState
    from ..wal.record import Path, Record, Write
    from .control import Interrupt
    from .effect import Done, Effect
    from .run import Run
    from .stream import Drafted, Event


class End(NamedTuple):
    """How a run ended, and what its caller is to be told; the output is that of a run that stopped to ask."""

    how: str
    error: BaseException | None = None
    interrupts: tuple[Interrupt, ...] = ()
    output: Any = None
    suspended: tuple[Suspension, ...] = ()
    """What it sleeps for and waits for."""


class Loop:
    """Drives one run to its end.

    Args:
        run: The run.
        opening: Records that begin it: its admission, answers, edits.
    """

    def __init__(self, run: Run, opening: Sequence[Record] = ()) -> None:
        self.run = run
        self.draft = Draft(run.recorder.blueprints.get, run.recorder.state, run.scope)
        self.events: list[Event | Drafted] = []
        self.errors: dict[Path, BaseException] = {}
        self.told: set[str] = set()
        self.parked: BaseException | None = None
        self.untracked: dict[Path, tuple[Write, ...]] = {}
        entry = run.program.nodes[run.program.entry]
        self._hidden: Path | None = (entry.name,) if entry.callee is None and not entry.branches else None
        for record in opening:
            self.draft.add(record)

    def effects(self) -> Generator[Effect, Any, End]:
        """Yield what is to be done, until the run ends."""
        draft = self.draft
        end: End | None
        while True:
            move = plan(draft.graph)
            kind = move.__class__
            # Every step makes the moves that are looked for first; a match would look each one's fields up by name.
            if kind is Commit:
                end = self._commit()
            elif kind is Begin or kind is Execute:
                paths: list[Path] = move[0]  # type: ignore[misc,assignment]  # the one field of these two
                end = self._begin() if kind is Begin else self._go_on()
                if end is None and not (paths[0] == self._hidden and self._has_handed_on(paths)):
                    end = yield from self._execute(paths)
            else:
                end = self._stop(move)
            # An end that cannot be recorded, because an outcome cannot be written, is none: the plan says what follows.
            if end is not None and (yield from self._record_end(end)):
                return end

    def _stop(self, move: Move) -> End:
        """Return how a run ends that has nothing to do and nothing to close."""
        match move:
            case Suspend():
                return self._suspend()
            case Fail(paths):
                if self.run.sinks:
                    state = self.draft.state()
                    asked = open_questions(state, self.run.scope)
                    self.events.extend(questions(self.run, state, asked, self.told, self.output))
                return End("failed", self.errors[paths[0]])
            case _:
                return End("done")

    def _begin(self) -> End | None:
        """Start a step, unless something says that the run is to stop before it."""
        run, graph = self.run, self.draft.graph
        step = graph.step + 1
        if step > run.stop:
            return End("failed", _too_many_steps(run))
        before = run.breakpoints.before
        if before and graph.base != run.resumed_at and Breakpoints.match(before, self._names(graph)):
            return self._park()
        is_asked = run.control is not None and run.control.drain_reason is not None
        if (is_asked or run.deadline is not None) and (stop := self._asked_to_stop()) is not None:
            return stop
        self.draft.add(new(StepStarted, (run.scope, step, graph.due, len(graph.sends))))
        if run.modes:
            self.events.extend(starts(run, self.draft.graph))
        return None

    def _asked_to_stop(self) -> End | None:
        """Return how a run ends that is out of time, or that somebody asked to stop."""
        run = self.run
        if run.deadline is not None and (late := self._too_late()) is not None:
            return late
        if run.control is not None and run.control.drain_reason is not None:
            return _asked_to_stop(run.control.stopped())
        return None

    def _go_on(self) -> End | None:
        """Go on with a step that is open; nothing of it is begun again if the run is to stop before it is resumed."""
        # What a run records first is its opening: from then on it is under way.
        is_resumed = self.draft.records and isinstance(self.draft.records[0], RunResumed)
        return self._asked_to_stop() if is_resumed else None

    def _has_handed_on(self, paths: list[Path]) -> bool:
        """Let the hidden START hand on the input, and return whether it could.

        It calls no user code, so it need not wait for the admission. If the input is refused START is performed like
        any other task, and fails after the admission is on record.
        """
        done = perform(self._jobs(paths)[0])
        if done.error is None:
            self._take(done)
        return done.error is None

    def _execute(self, paths: list[Path]) -> Generator[Effect, Any, End | None]:
        """See that tasks run, and record what becomes of them as they end."""
        run, draft = self.run, self.draft
        if (draft.records or self.events) and not (yield from self._append()):
            # An outcome could not be written, so the plan was made on a wrong state.
            return None
        jobs: Sequence[Job] = self._jobs(paths)
        left = len(jobs)
        while left:
            ended: list[Done] = yield new(Perform, (jobs,))
            jobs = ()
            left -= len(ended)
            if run.recorder.state is not draft.base:
                # Tasks record their own children while they run, so the state has moved on.
                draft.begin(run.recorder.state)
            for done in ended:
                self._take(done)
            if left:
                yield from self._append()
                if self.errors and self.parked is None:
                    # Siblings still run; a failure that is on record by now need not wait for them to be handled.
                    jobs = self._jobs(self._handlers(ended))
                    left += len(jobs)
        return self._stopped() if self.parked is not None else None

    def _names(self, graph: GraphState) -> list[str]:
        return [graph.node_of(path) for path in graph.paths()]

    def _stopped(self) -> End:
        """Return how a run ends of which a task was stopped by something that is neither an answer nor a failure."""
        if isinstance(self.parked, GraphCancelled | GraphDrained):
            return _asked_to_stop(self.parked)
        return End("failed" if self._is_out_of_time(self.parked) else "aborted", self.parked)

    def _is_out_of_time(self, error: BaseException | None) -> bool:
        """Return whether an error says that the step's time is over, or that of the run."""
        return isinstance(error, StepTimeout) or (
            self.run.deadline is not None and isinstance(error, DeadlineExceeded)
        )

    def _handlers(self, ended: list[Done]) -> list[Path]:
        """Return the paths of the error handlers that take over from tasks which failed."""
        outcomes = self.draft.graph.outcomes
        found = [(done.path, outcomes.get(done.path)) for done in ended]
        return [
            (*path, HANDLER) for path, outcome in found if outcome is not None and outcome.caught is not None
        ]

    def _jobs(self, paths: list[Path]) -> list[Job]:
        """Return tasks of the step that is open, ready to be performed."""
        run, graph = self.run, self.draft.graph
        base, due, outcome_of = graph.base, graph.due, graph.outcomes.get
        step = run.step = graph.step + 1
        nodes = run.program.nodes
        jobs = []
        for path in paths:
            if len(path) > 1:
                run.node_errors[path] = self._node_error(path[:-1], graph)
            # The one node that is due, which most steps consist of, is its own path.
            name = due[0] if path is due else graph.node_of(path)
            context = TaskContext(run, path, name, base, step)
            jobs.append(Job(run, nodes[name], context, graph, outcome_of(path)))
        return jobs

    def _node_error(self, path: Path, graph: GraphState) -> NodeError:
        """Return what an error handler is told: the exception as it was raised, or as the log has it."""
        failed = graph.outcomes.get(path)
        assert failed is not None, "a handler runs in the place of a task that failed"
        assert failed.caught is not None, "as above"
        assert failed.failure is not None, "as above"
        error = self.errors.get(path) or unpacked(
            failed.caught.error, failed.failure, self.run.recorder.registry
        )
        return NodeError(graph.node_of(path), error)

    def _take(self, done: Done) -> None:
        """Draft what a task came to, and what is to be shown of it."""
        path, records, error, untracked, is_cached = done
        for record in records:
            self.draft.add(record)
        if untracked:
            self.untracked[path] = untracked
        run = self.run
        if error is not None and not isinstance(error, ParentCommand):
            self.errors[path] = error
            if self._is_out_of_time(error) or not isinstance(error, Exception | GraphInterrupt):
                self.parked = self.parked or error
        elif error is not None and not records:
            self.parked = self.parked or error
        if run.modes and records:
            if isinstance(error, GraphInterrupt) and error.interrupts and run.sinks:
                self.told.update(interrupt.id for interrupt in error.interrupts)
                self.events.extend(stopped(run, error.interrupts, self.output))
            self._show_end(path, is_cached=is_cached)

    def _show_end(self, path: Path, *, is_cached: bool = False) -> None:
        error, untracked = self.errors.get(path), self.untracked.get(path, ())
        self.events.extend(ended(self.run, self.draft.graph, path, error, untracked, is_cached=is_cached))

    def _commit(self) -> End | None:
        """Close the step, if its outcomes can be folded together."""
        run, graph = self.run, self.draft.graph
        steering = command_given(graph, run.above) if run.scope else None
        if steering is not None:
            return End("parent", steering)
        try:
            # What is never recorded is folded first, since the step must not be closed if either cannot be.
            untracked = self._folded_untracked(graph) if self.untracked else run.untracked
            self.draft.add(new(StepCommitted, (run.scope, run.recorder.now(), graph.step + 1)))
            run.untracked = untracked
            if self.untracked:
                self.untracked.clear()
        except Exception as error:
            error.add_note(
                f"while closing step {graph.step + 1} of thread {run.thread!r} over the outcomes of "
                f"{', '.join(self._names(graph))}: these are recorded and kept; mend the thread with update_state, or "
                "give it a new input"
            )
            return End("failed", error)
        if self.errors:
            self.errors.clear()
        if run.node_errors:
            run.node_errors.clear()
        if run.modes:
            self.events.extend(closed(run, graph, self.draft.graph, self.output))
        run.recorder.snapshot_if_due()
        after = run.breakpoints.after
        if after and Breakpoints.match(after, self._names(graph)):
            return self._park()
        return None

    def _folded_untracked(self, graph: GraphState) -> dict[str, Any]:
        """Return the values that are never recorded after the step's writes, taken in the order of paths."""
        channels = self.run.program.blueprint.channels
        written: dict[str, list[Any]] = {}
        for path in sorted(graph.paths(), key=lambda p: (isinstance(p[0], int), p[0])):
            for key, value in self.untracked.get(graph.acting(path), ()):
                written.setdefault(key, []).append(value)
        values = dict(self.run.untracked)
        for key, group in written.items():
            values[key] = channels[key].fold(values.get(key, MISSING), group)
        return values

    def output(self, *, live: bool = False) -> Any:
        """Return what the caller is given of the present values; ``live`` with what finished in the open step."""
        run, graph = self.run, self.draft.graph
        values, untracked = graph.values, run.untracked
        if run.program.is_entrypoint:
            return values.get("__end__")
        if live:
            values = live_values(run.program.blueprint, graph, bump=True)
            with suppress(Exception):
                untracked = self._folded_untracked(graph)
        read = run.shown.read({**values, **untracked} if untracked else values, run)
        return read if run.shown_key is None else read.get(run.shown_key)

    def _suspend(self) -> End:
        """Stop until somebody answers."""
        run, graph = self.run, self.draft.graph
        if (late := self._too_late()) is not None:
            return late
        # Questions of subgraphs are recorded in their own scopes, also those that nobody here has waited for.
        asked = open_questions(self.draft.state(), run.scope)
        interrupts = shown(item.question for item in asked)
        waits = open_waits(self.draft.state(), run.scope)
        self.events.extend(questions(run, self.draft.state(), asked, self.told, self.output))
        # An answer that did not fit is told to whoever gave it; what it was to answer stays open.
        refused = next((error for error in self.errors.values() if is_invalid_resume(error)), None)
        how = "interrupted" if asked else "parked"
        suspended: tuple[Suspension, ...] = ()
        if waits:
            suspended = suspensions(self.draft.state(), waits)
            how = "interrupted" if asked else how_parked(waits)
        if run.scope:
            return End(how, refused, interrupts, None, suspended)
        output = self.output(live=True)
        self.events.extend(left(run, graph, output, suspended, is_asking=bool(asked)))
        return End(how, refused, interrupts, output, suspended)

    def _too_late(self) -> End | None:
        """Return how a run ends whose deadline has passed."""
        deadline = self.run.deadline
        if deadline is None or clock.now() < deadline:
            return None
        return End("failed", DeadlineExceeded.of(self.run.thread, deadline))

    def _park(self) -> End:
        """Stop at a static breakpoint."""
        if not self.run.scope:
            self.events.extend(stopped(self.run, (), self.output))
        return End("parked", output=self.output())

    def _record_end(self, end: End) -> Generator[Effect, Any, bool]:
        """Record how the run ended; False if it has not ended, since an outcome could not be written."""
        run = self.run
        if end.how != "aborted":
            # An aborted run leaves its thread as a killed one would: unfinished.
            reason = repr(end.error) if end.error is not None else None
            self.draft.add(RunEnded(run.scope, run.recorder.now(), end.how, reason))
        is_whole: bool = yield from self._append()
        return is_whole or end.how == "aborted"

    def _append(self) -> Generator[Effect, Any, bool]:
        """Append what is drafted, then show what it means; False if an outcome could not be written and so failed."""
        is_whole = True
        draft = self.draft
        since = moved = 0
        if draft.records:
            state = draft.state()
            try:
                yield new(Append, (draft.records, draft.base, state))
            except NotSerializable as error:
                self._reject(error)
                is_whole = False
                state = draft.state()
                yield Append(draft.records, draft.base, state)
            held = self.run.recorder.state
            if held is state:
                draft.rest()
            else:
                since, drafted = draft.base.seq, draft.graph.base
                draft.begin(held)
                moved = draft.graph.base - drafted
        if self.events:
            events, self.events = self.events, []
            yield Publish(settled(events, since, moved))
        return is_whole

    def _reject(self, error: NotSerializable) -> None:
        """Draft anew without what cannot be written: the tasks that returned it have failed.

        Raises:
            NotSerializable: It is not a task's outcome that cannot be written, but the run's own input.
        """
        drafted = self.draft.records
        self.draft.begin(self.draft.base)
        self.events = []
        found = False
        for record in drafted:
            if isinstance(record, StepCommitted | RunEnded) and found:
                # What came after an outcome that turns out to be a failure is planned anew.
                return
            problem = _problem(record)
            if problem is None:
                self.draft.add(record)
                if self.run.modes and isinstance(record, TaskFinished | TaskFailed | TaskInterrupted):
                    self._show_end(record.path)
                continue
            if not isinstance(record, TaskFinished):
                raise error
            found = True
            name = self.draft.state().scopes[record.scope].node_of(record.path)
            problem.add_note(
                f"returned by node {name!r} in step {self.draft.graph.step + 1} of thread {self.run.thread!r}"
            )
            self.errors[record.path] = problem
            failed = TaskFailed(record.scope, record.path, failure_of(problem), 1)
            handler = self.run.program.nodes[name].handler
            self.draft.add(failed if handler is None else handed_over(failed, handler, problem))
            if self.run.modes:
                self._show_end(record.path)
        if not found:
            raise error


def _asked_to_stop(asked: BaseException) -> End:
    return End("cancelled" if isinstance(asked, GraphCancelled) else "drained", asked)


def _problem(record: Record) -> NotSerializable | None:
    try:
        Encoder().records([record])
    except NotSerializable as error:
        return error
    return None


def _too_many_steps(run: Run) -> GraphRecursionError:
    limit = run.config.get("recursion_limit")
    message = (
        f"Recursion limit of {limit} reached without hitting a stop condition. You can increase the limit by setting "
        "the `recursion_limit` config key."
    )
    return GraphRecursionError(
        message, hint="The state is kept, and invoke(None, config) goes on with a fresh budget."
    )
