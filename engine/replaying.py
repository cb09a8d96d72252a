"""Checking code against history: a recorded run is folded and planned anew, with no effect executed.

    records ──► fold ──► plan: are the tasks that were begun those that this graph would begin?
                  │
                  └─ before an entrypoint's outcome: its body runs again over the recorded calls
                        asks for another call, or leaves one out ──► divergence
                        returns something else                   ──► divergence
                        asks for a call that nothing is recorded of ──► there history ends

What runs is the code between calls: the bodies of entrypoints, and of nodes that the caller names, which must be free
of effects outside of ``@task`` anyway to be resumed. Bodies of tasks never run, nor do other nodes, nor routers.

Invariants:
1. Nothing is appended, whatever the code does: there is nothing here that could write to the log.
2. A call without a recorded outcome is not made; who waits for it goes no further.

It must not decide what becomes of a mismatch.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from ..replay.errors import GraphChanged, NonDeterminism
from ..replay.fold import fold
from ..replay.plan import Finish, plan
from ..replay.recover import state_of
from ..replay.state import CAUGHT, FAILED, FINISHED, ThreadState
from ..wal.codec import Encoder
from ..wal.errors import LogCorrupt, WalgraphError
from ..wal.record import Forked, RunStarted, StateEdited, StateFolded, StepStarted, TaskFinished
from ..wal.steady import steady
from .context import TaskContext, current
from .determinism import EndOfHistory, check_all_asked, shown
from .errors import InvalidGraph, Parked
from .graph_check import check_thread
from .job import Job
from .nested import blueprints_of
from .outcome import writes_of
from .recorder import Recorder
from .run import Run
from .task import acall, call_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..replay.state import GraphState
    from ..wal.log import Log
    from ..wal.record import Path, Record
    from .graph import CompiledGraph


class Divergence(NamedTuple):
    """The first place at which code and history part.

    Args:
        seq: The record before which, or with which, it was noticed.
        path: The task's or call's path; empty for the graph as a whole.
        cause: ``moved``, ``removed``, ``added``, ``renamed`` or ``arguments`` for calls; ``result`` if a body returned
            something else, ``raised`` if it raised, ``plan`` if other tasks would have been begun, ``graph`` if the
            graph lost what is still needed, ``fold`` if records cannot be folded any more.
        recorded: What the log holds.
        attempted: What the code does.
        message: All of it in one sentence.
    """

    seq: int
    path: Path
    cause: str
    recorded: str
    attempted: str
    message: str


class Replay(NamedTuple):
    """What became of a replay: how many records were folded, how many bodies ran, and where it diverged, if it did."""

    thread: str
    records: int
    bodies: int
    divergence: Divergence | None


class _Frozen(Recorder):
    """A recorder that holds a state and records nothing."""

    def record(self, records: Sequence[Record], base: Any = None, draft: Any = None) -> None:
        """Stop whoever wants something recorded: history ends here."""
        raise EndOfHistory(getattr(records[0], "path", ()), None)

    async def arecord(self, records: Sequence[Record], base: Any = None, draft: Any = None) -> None:
        """Stop whoever wants something recorded: history ends here."""
        self.record(records, base, draft)


class _Diverged(Exception):
    def __init__(self, divergence: Divergence) -> None:
        super().__init__(divergence.message)
        self.divergence = divergence


def replay_thread(
    log: Log, graph: CompiledGraph[Any, Any, Any, Any], thread: str, *, nodes: Iterable[str] = ()
) -> Replay:
    """Run a thread's history past a graph's code, without executing any effect, and say where they part.

    The bodies of entrypoints run again over their recorded calls; what they do outside of ``@task`` happens again.
    ``runtime.store`` is None, and nothing is streamed.

    Args:
        log: The log; it may be open for reading only, and somebody else may write to it.
        graph: The code, as it is now.
        thread: The thread's id.
        nodes: Names of nodes whose bodies are to run as well; they must be free of effects outside of ``@task``.

    Returns:
        How much was looked at, and the first divergence, or None if there is none.

    Raises:
        ThreadNotFound: There is no such thread.
        InvalidGraph: The graph has no node of one of the names.
        UnknownType: A recorded value's class is not known here.
    """
    program = graph.program
    played = set(nodes)
    if unknown := sorted(played - program.nodes.keys()):
        message = f"graph {program.name!r} has no node {', '.join(map(repr, unknown))}"
        raise InvalidGraph(message, hint=f"It has {', '.join(map(repr, program.nodes))}.")
    if program.is_entrypoint:
        played.add(program.entry)
    return steady(log, thread, lambda: _replayed(log, graph, thread, played))


def _replayed(log: Log, graph: CompiledGraph[Any, Any, Any, Any], thread: str, played: set[str]) -> Replay:
    replaying = _Replaying(log, graph, thread, played)
    try:
        replaying.through()
    except _Diverged as diverged:
        return Replay(thread, replaying.records, replaying.bodies, diverged.divergence)
    return Replay(thread, replaying.records, replaying.bodies, None)


class _Replaying:
    """One replay of one thread."""

    def __init__(
        self, log: Log, graph: CompiledGraph[Any, Any, Any, Any], thread: str, played: set[str]
    ) -> None:
        self.log, self.graph, self.thread, self.played = log, graph, thread, played
        self.program = graph.program
        self.blueprints = blueprints_of(self.program)
        self.decoder = log.decoder(self.program.registry)
        self.records = self.bodies = 0
        head = log.head(thread)
        # History begins with nothing, or with what a compaction left of what was before.
        horizon = 0 if head is None else head.horizon
        found, self.following = log.since(thread, horizon, decoder=self.decoder)
        self.state = ThreadState() if found is None else state_of(found, self.blueprints, self.decoder)

    def through(self) -> None:
        """Go through all records.

        Raises:
            _Diverged: Here code and history part.
        """
        for seq, record in self.following:
            self._check(seq, record)
            try:
                self.state = fold(self.blueprints, self.state, seq, record)
            except LogCorrupt:
                raise
            except WalgraphError as error:
                self._diverge(seq, (), "fold", type(record).__name__, error.message)
            self.records += 1
        self._end()

    def _check(self, seq: int, record: Record) -> None:
        """Look at what a record says was done, before it is folded."""
        if isinstance(record, StepStarted):
            graph = self.state.scopes.get(record.scope)
            if graph is not None and (set(graph.due), len(graph.sends)) != (set(record.nodes), record.sends):
                recorded = _tasks(record.nodes, record.sends)
                self._diverge(seq, (), "plan", recorded, _tasks(graph.due, len(graph.sends)))
        elif isinstance(record, TaskFinished) and not record.scope and len(record.path) == 1:
            self._play(seq, record.path, record)
        elif isinstance(record, RunStarted | Forked | StateEdited | StateFolded) and not getattr(
            record, "scope", ""
        ):
            self._play_open(seq)

    def _end(self) -> None:
        """Look at what is unfinished, and whether the graph still has what that needs."""
        root = self.state.root()
        if root is None or isinstance(plan(root), Finish):
            return
        self._play_open(self.state.seq)
        try:
            check_thread(self._run(), (), None)
        except GraphChanged as changed:
            self._diverge(self.state.seq, (), "graph", "what is due", changed.message)

    def _play_open(self, seq: int) -> None:
        """Run the bodies of the tasks that have no outcome, as far as history goes."""
        root = self.state.root()
        if root is None or not root.opened:
            return
        for path in root.paths():
            outcome = root.outcomes.get(path)
            if outcome is None or outcome.status not in {FINISHED, CAUGHT}:
                self._play(seq, path, None)

    def _run(self) -> Run:
        recorder = _Frozen(self.thread, self.state, self.program.registry, "none")
        recorder.blueprints.update({"": self.program.blueprint})
        run = Run(self.program, recorder, self.thread, "", {})
        run.run_id = run.admission = self.state.run
        run.is_replayed = run.is_resumed = True
        run.on_mismatch = "accept" if self.graph.settings.on_mismatch == "accept" else "raise"
        return run

    def _play(self, seq: int, path: Path, recorded: TaskFinished | None) -> None:
        """Run a body over its recorded calls, and compare what it comes to with what it came to then."""
        graph = self.state.root()
        assert graph is not None, "a task has a graph"
        name = graph.node_of(path)
        node = self.program.nodes.get(name)
        if name not in self.played or node is None or node.callee is None:
            return
        outcome = graph.outcomes.get(path)
        if outcome is not None and outcome.returned:
            return
        self.bodies += 1
        context = TaskContext(self._run(), path, name, graph.base, graph.step + 1)
        job = Job(context.run, node, context, graph, outcome)
        try:
            value = _called(job)
        except NonDeterminism as error:
            self._differs(seq, error)
        except EndOfHistory as end:
            if recorded is not None:
                made = "a call" if end.call is None else shown(end.call)
                self._diverge(seq, end.path, "added", "that it returned", made)
        except Parked as error:
            if recorded is not None:
                self._diverge(seq, path, "raised", "that it returned", type(error).__name__)
        except Exception as error:
            failed = outcome is not None and outcome.failure is not None
            if recorded is not None or (not failed and self._has_ended(graph, path)):
                self._diverge(seq, path, "raised", "that it returned", repr(error))
        else:
            if recorded is not None and self.program.is_entrypoint:
                self._compare_results(seq, name, value, recorded)

    def _has_ended(self, graph: GraphState, path: Path) -> bool:
        outcome = graph.outcomes.get(path)
        return outcome is not None and outcome.status in {FINISHED, FAILED}

    def _compare_results(self, seq: int, name: str, value: Any, recorded: TaskFinished) -> None:
        writes, _ = writes_of(self.program, name, value)
        if _encoded(writes) != _encoded(recorded.writes):
            self._diverge(seq, recorded.path, "result", _preview(recorded.writes), _preview(writes))

    def _differs(self, seq: int, error: NonDeterminism) -> None:
        details = error.details
        attempted = "nothing" if details["attempted"] is None else shown(details["attempted"])
        place = Divergence(
            seq, details["path"], details["cause"], shown(details["recorded"]), attempted, error.message
        )
        raise _Diverged(place) from error

    def _diverge(self, seq: int, path: Path, cause: str, recorded: str, attempted: str) -> None:
        place = f"task {'/'.join(map(str, path))}" if path else "the graph"
        message = f"{place} of thread {self.thread!r} at seq {seq}: the log holds {recorded}, this code has {attempted}"
        raise _Diverged(Divergence(seq, path, cause, recorded, attempted, message))


def _called(job: Job) -> Any:
    """Call a node's body over its recorded calls, wherever this is called from."""
    context, callee = job.context, job.node.callee
    assert callee is not None, "nodes without one are not called"

    def within() -> Any:
        current.set(context)
        context.begin(1, job.outcome)
        argument = job.input()
        if callee.is_async:
            context.run.is_async = True
            value = asyncio.run(acall(callee, argument, context))
        else:
            value = call_here(callee, argument, context)
        check_all_asked(context)
        return value

    here = contextvars.copy_context()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return here.run(within)
    came_to: list[Any] = []

    def apart() -> None:
        try:
            came_to.append((here.run(within), None))
        except BaseException as error:
            came_to.append((None, error))

    # An event loop cannot run another one in its own thread.
    thread = threading.Thread(target=apart)
    thread.start()
    thread.join()
    [(value, error)] = came_to
    if error is not None:
        raise error
    return value


def _tasks(nodes: Iterable[str], sends: int) -> str:
    return f"{', '.join(sorted(nodes)) or 'no node'} and {sends} sends"


def _encoded(writes: Iterable[tuple[str, Any]]) -> bytes:
    return Encoder().value([list(write) for write in writes]).data


def _preview(writes: Iterable[tuple[str, Any]]) -> str:
    text = repr(dict(writes))
    return text if len(text) <= 200 else f"{text[:200]}…"
