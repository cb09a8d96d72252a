"""Finding what is to be carried on, and claiming it.

    lost          handed-over runs that were started, and whose process is gone
    queued        handed-over runs whose turn it is
    due           threads whose time has come, and those that were sent a signal
    unfinished    threads that crashed or were drained

    each ──► claim the thread ──► look again ──► durable note of the start or the try ──► Assignment

Who claims a thread first carries it on; everybody else passes over it without a word. A thread that was taken over
again and again without getting on is parked: a record says why, and nobody takes it over before it is released.

Invariants:
1. Nothing is started whose thread is not claimed.
2. A try is on disk before the thread's code runs, so that it counts however the process ends.
3. What has no program here is left as it is, and reported.

It must not run anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..replay.plain import thread_from_plain
from ..replay.recover import recover
from ..wal.ending import end_run
from ..wal.errors import ThreadBusy, UnknownType
from ..wal.record import (
    AttemptFailed,
    RunEnded,
    RunResumed,
    RunStarted,
    StateFolded,
    StepStarted,
    ThreadCreated,
)
from ..wal.submission_layout import RELEASE
from . import clock
from .assignment import LEFT, Assignment, Carried, How
from .recorder import PARKED
from .settings import Compiled
from .waking import is_signalled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ..wal.head import ThreadHead
    from ..wal.log import Log
    from ..wal.submission_layout import Submission
    from ..wal.writer import Writer
    from .graph import CompiledGraph

OVER = frozenset({"done", "failed", "interrupted", "parked", "cancelled"})
"""How a run may have ended, so that its thread is free for the next one."""
RELEASED = frozenset({"failed", "parked"})
"""How a thread may stand that goes on only if somebody names it."""
NO_PROGRESS = (ThreadCreated, RunStarted, RunResumed, RunEnded, StepStarted, AttemptFailed)
"""Kinds of records that a run writes whether or not it gets on."""


class Served(NamedTuple):
    """What is carried on here.

    Args:
        graphs: Name → graph.
        queues: The queues; None for all.
        attempts: How often a thread may be taken over without getting on.
        how: How runs are called that do not say so themselves.
    """

    graphs: Mapping[str, Compiled]
    queues: Collection[str] | None
    attempts: int
    how: How

    def serves(self, queue: str, graph: str) -> bool:
        """Tell whether a run of this queue and graph is one of ours."""
        return graph in self.graphs and (self.queues is None or queue in self.queues)


def graphs_of(log: Log, graphs: Any) -> dict[str, Compiled]:
    """Return graphs by their names, each with this log as its own.

    Args:
        log: The log.
        graphs: One graph, several, or a mapping from names to graphs.

    Raises:
        ValueError: Two have the same name.
        TypeError: One is no compiled graph.
    """
    given: list[tuple[str, CompiledGraph[Any, Any, Any, Any]]]
    if hasattr(graphs, "items"):
        given = list(graphs.items())
    else:
        given = [
            (getattr(g, "name", ""), g)
            for g in (graphs if isinstance(graphs, list | tuple | set) else [graphs])
        ]
    found: dict[str, Compiled] = {}
    for name, graph in given:
        parts = getattr(graph, "parts", None)
        if not isinstance(parts, Compiled):
            message = f"{graph!r} is no compiled graph; call compile() first."
            raise TypeError(message)
        if name in found:
            message = (
                f"two graphs are called {name!r}; name them: compile(name=...), or a mapping from names."
            )
            raise ValueError(message)
        program = parts.program if parts.program.name == name else parts.program.renamed(name)
        found[name] = Compiled(program, parts.settings._replace(log=log))
    return found


class Finder:
    """Finds and claims what is to be carried on.

    Args:
        log: The log.
        served: What is carried on here.
    """

    def __init__(self, log: Log, served: Served) -> None:
        self.log = log
        self.served = served
        self.left: dict[str, Carried] = {}
        """What was left alone, by thread."""
        self.parked: list[Carried] = []
        """What was parked since somebody last looked."""
        self.running: list[str] = []
        """The threads that live processes were seen to run when all were last looked through."""
        self._passed: set[str] = set()
        self._seen_mail: dict[str, int] = {}
        """Thread → the number of the last signal that was sent to it when it was last looked at."""

    def pass_over(self, carried: Carried) -> None:
        """Leave a thread alone from now on: the code here cannot go on with it."""
        self._passed.add(carried.thread_id)
        self.left[carried.thread_id] = carried

    # What there is

    def lost(self, threads: Collection[str] | None = None) -> Iterator[Assignment]:
        """Claim the handed-over runs whose process is gone."""
        for submission in self.log.submissions().started():
            if threads is not None and submission.thread not in threads:
                continue
            if self.log.is_claimed(submission.thread) or not self._is_ours(submission):
                continue
            assignment = self._taken_over(submission)
            if assignment is not None:
                yield assignment

    def queued(self, is_wanted: Callable[[Submission], bool] | None = None) -> Iterator[Assignment]:
        """Claim the handed-over runs whose turn it is: all, or those that are wanted."""
        submissions = self.log.submissions()
        for submission in submissions.waiting(self.served.serves, clock.now()):
            thread = submission.thread
            if thread in self._passed or self.log.is_claimed(thread):
                continue
            if is_wanted is not None and not is_wanted(submission):
                continue
            head = self.log.head(thread)
            if head is not None and not submission.started_at and head.status not in OVER:
                # Its turn comes when what the thread does has come to an end.
                continue
            assignment = self._started(submission)
            if assignment is not None:
                yield assignment

    def drained(self, threads: Collection[str] | None = None) -> Iterator[Assignment]:
        """Claim the handed-over runs that were begun and stopped in good order, as a shutdown does."""
        if threads is not None:
            for thread in threads:
                first = self.log.submissions().first(thread)
                if first is not None and first.state == "parked":
                    self.log.submissions(write=True).requeue(first.run)
        for submission in list(self.log.submissions().unfinished({"waiting"})):
            if submission.started_at and (threads is None or submission.thread in threads):
                assignment = self._started(submission) if self._is_ours(submission) else None
                if assignment is not None:
                    yield assignment

    def has_due(self) -> bool:
        """Tell whether the time of a thread has come that nobody carries on, cheaply."""
        return any(
            row.thread not in self.left and not self.log.is_claimed(row.thread)
            for row in self.log.store.due(clock.now())
        )

    def due(self, threads: Collection[str] | None = None) -> Iterator[Assignment]:
        """Claim the threads whose time has come, and those that wait and have been sent something since."""
        for row in self.log.store.due(clock.now()):
            if self._is_passed_over(row.thread) or (threads is not None and row.thread not in threads):
                continue
            head = self.log.head(row.thread)
            # A question may stand open beside a sleep or before a deadline: time goes on all the same.
            if head is not None and head.status in PARKED:
                assignment = self.unfinished_one(head)
                if assignment is not None:
                    yield assignment
        for thread, number in self.log.signalled():
            if number <= self._seen_mail.get(thread, 0) or self._is_passed_over(thread):
                continue
            if threads is not None and thread not in threads:
                continue
            head = self.log.head(thread)
            if head is None or head.status not in PARKED or self._is_between(thread):
                continue
            self._seen_mail[thread] = number
            if not is_signalled(self.log, thread):
                continue
            assignment = self.unfinished_one(head)
            if assignment is not None:
                yield assignment

    def _is_between(self, thread: str) -> bool:
        """Tell whether a thread's handed-over run has come to a wait, of which its row does not know yet."""
        first = self.log.submissions().first(thread)
        return first is not None and first.state == "started"

    def _is_passed_over(self, thread: str) -> bool:
        return thread in self._passed or self.log.is_claimed(thread)

    def unfinished(self, threads: Collection[str] | None = None) -> Iterator[Assignment]:
        """Claim the threads that crashed or were drained, and those whose time or signal has come.

        Args:
            threads: The threads that are meant, of which those that were parked or failed go on too; None for all.
        """
        now = clock.now()
        self.running = []
        for head in self.log.threads():
            if head.status == "running":
                self.running.append(head.thread_id)
            if threads is not None and head.thread_id not in threads:
                continue
            is_wanted = threads is not None and head.status in RELEASED
            if not (is_wanted or is_to_go_on(self.log, head, now)) or head.thread_id in self._passed:
                continue
            assignment = self.unfinished_one(head)
            if assignment is not None:
                yield assignment

    def unfinished_one(self, head: ThreadHead) -> Assignment | None:
        """Claim one thread that is to go on."""
        first = self.log.submissions().first(head.thread_id)
        if first is not None and first.started_at:
            if first.state == "suspended" and self._is_ours(first):
                return self._started(first)
            # A drained one waits for its turn, and a lost one is found by its row.
            return None
        if head.graph not in self.served.graphs:
            self._report(head.thread_id, head.graph)
            return None
        writer = self._claim(head.thread_id)
        if writer is None:
            return None
        graph = self.served.graphs[head.graph]
        now = writer.head
        if now is None or now.seq != head.seq or now.status != head.status:
            writer.abandon()
            return None
        if now.status == "crashed" and self._is_hopeless(writer, graph):
            self._park(writer, None)
            return None
        return Assignment(self.log, graph, writer, None, None, self.served.how)

    # Claiming

    def _claim(self, thread: str) -> Writer | None:
        try:
            return self.log.writer(thread)
        except ThreadBusy:
            return None

    def _started(self, submission: Submission) -> Assignment | None:
        """Claim a run's thread, and give it its place in its queue."""
        writer = self._claim(submission.thread)
        if writer is None:
            return None
        head = writer.head
        started = self.log.submissions(write=True).start(
            submission.run, since=0 if head is None else head.seq, now=clock.now()
        )
        if started is None:
            writer.abandon()
            return None
        is_first, is_released = not submission.started_at, submission.reason == RELEASE
        return self._assigned(writer, started, is_first=is_first, is_released=is_released)

    def _taken_over(self, submission: Submission) -> Assignment | None:
        """Claim the thread of a run whose process is gone, unless that has happened too often."""
        writer = self._claim(submission.thread)
        if writer is None:
            return None
        found = self.log.submissions().get(submission.run)
        if found is None or found.state != "started":
            writer.abandon()
            return None
        if self._is_hopeless(writer, self.served.graphs[found.graph]):
            self._park(writer, found)
            return None
        return self._assigned(writer, found, is_first=False)

    def _assigned(
        self, writer: Writer, submission: Submission, *, is_first: bool, is_released: bool = False
    ) -> Assignment | None:
        """Return what is to be done for a run that has its place."""
        graph = self.served.graphs[submission.graph]
        try:
            decoder = self.log.decoder(graph.program.registry)
            given, config, context, durability = decoder.value(submission.given)
            config = _over(config, {"metadata": dict(submission.notes)}) if submission.notes else config
            how = How(_over(self.served.how.config, config), context, durability)
            if context is None:
                how = how._replace(context=self.served.how.context)
            if durability is None:
                how = how._replace(durability=self.served.how.durability)
            if is_first:
                return Assignment(self.log, graph, writer, submission, given, how)
            assignment = Assignment(self.log, graph, writer, submission, given, how)
            return assignment if self._is_to_be_run(assignment, writer, is_released=is_released) else None
        except UnknownType as error:
            self.log.submissions(write=True).requeue(submission.run)
            writer.abandon()
            name = submission.graph
            self.pass_over(Carried(submission.thread, name, LEFT, submission.run, str(error), None, error))
            return None

    def _is_to_be_run(self, assignment: Assignment, writer: Writer, *, is_released: bool) -> bool:
        """See what is to be done for a run that was started before: begin, go on, or only say how it ended."""
        head, submission = writer.head, assignment.submission
        assert submission is not None, "it is a handed-over run"
        admitted = None if head is None else _admitted(self.log, submission, assignment.graph)
        if head is None or admitted is None:
            return True
        assignment.goes_on()
        if admitted == "superseded" or (head.status in OVER - {"done"} and not is_released):
            from .standing import ended_before

            how = head.status if admitted == "admitted" else admitted
            ended_before(self.log, assignment.graph, submission, how)
            writer.abandon()
            return False
        return True

    # Giving up

    def _is_hopeless(self, writer: Writer, graph: Compiled) -> bool:
        """Note that a thread is taken over once more, durably; True if it was so too often without getting on."""
        submissions = self.log.submissions(write=True)
        tries = submissions.tried(writer.thread_id)
        seq = writer.seq
        if tries.times and seq > tries.seq:
            decoder = self.log.decoder(graph.program.registry, lenient=True)
            since = self.log.read(writer.thread_id, tries.seq, decoder=decoder)
            if any(not isinstance(stored.record, NO_PROGRESS) for stored in since):
                tries = tries._replace(times=0)
        if tries.times >= self.served.attempts:
            return True
        submissions.note_try(writer.thread_id, tries.times + 1, seq)
        return False

    def _park(self, writer: Writer, submission: Submission | None) -> None:
        """Let nobody take a thread up any more before a person has looked at it."""
        count = self.served.attempts
        times = "time" if count == 1 else "times"
        reason = f"taken over {count} {times} without getting on: whatever runs it dies"
        thread, head = writer.thread_id, writer.head
        if head is not None and head.status not in OVER:
            end_run(writer, "parked", reason, clock.now())
        if submission is not None:
            self.log.submissions(write=True).park(submission.run, reason)
        self.log.submissions(write=True).note_try(thread, 0, 0)
        writer.close()
        graph = submission.graph if submission is not None else head.graph if head is not None else ""
        run = "" if submission is None else submission.run
        self.parked.append(Carried(thread, graph, "parked", run, reason))

    def _is_ours(self, submission: Submission) -> bool:
        if submission.graph not in self.served.graphs:
            self._report(submission.thread, submission.graph, submission.run)
            return False
        return submission.thread not in self._passed and self.served.serves(
            submission.queue, submission.graph
        )

    def _report(self, thread: str, graph: str, run: str = "") -> None:
        reason = f"no program here for graph {graph!r}"
        self.left[thread] = Carried(thread, graph, LEFT, run, reason)


def is_to_go_on(log: Log, head: ThreadHead, now: int) -> bool:
    """Tell whether a thread has something to do and nobody who does it."""
    if head.status in {"crashed", "drained"}:
        return True
    if head.status in PARKED and not log.is_claimed(head.thread_id):
        return head.due_at is not None and head.due_at.timestamp() * 1e9 <= now
    return False


def _over(below: dict[str, Any] | None, config: dict[str, Any]) -> dict[str, Any]:
    """Return a run's own config over the one that is given to all."""
    if below is None:
        return config
    from .config import merged

    return merged(below, config)


def _admitted(log: Log, submission: Submission, graph: Compiled) -> str | None:
    """Return whether the thread's records know of a run: None, ``admitted``, or ``superseded`` by another input."""
    program = graph.program
    known = {"": program.blueprint}
    state = recover(log, submission.thread, known.get, program.registry).state
    if state.run == submission.run:
        return "admitted"
    found = None
    decoder = log.decoder(program.registry, lenient=True)
    for _, record in log.read(submission.thread, max(0, submission.since), decoder=decoder):
        if isinstance(record, StateFolded):
            run = thread_from_plain(record.state).run
            found = "admitted" if run == submission.run else found and "superseded"
        elif isinstance(record, RunStarted) and not record.scope:
            found = "admitted" if record.run == submission.run else found and "superseded"
        elif isinstance(record, RunResumed) and not record.scope and record.run == submission.run:
            found = "admitted"
    return found
