"""Handing a run over: it is on disk when the call returns, and a worker carries it out (``engine.worker``).

    submit(graph, input, thread_id) ──► the log's table of handed-over runs ──► RunHandle: status, result, cancel
                                                    ▲
                                        workers, in any process, take turns

Invariants:
1. When ``submit`` returns, the run is durable, whatever the durability of the run itself (guarantee G4).
2. The same run handed over again is the same run; something else under its id is refused.
3. What cannot be written is refused before anything is kept.

It must not run anything.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

import xxhash

from ..wal.codec import GLOBAL, Encoder
from ..wal.errors import NotSerializable, RunNotFound
from ..wal.head import nanoseconds
from ..wal.log import Log
from ..wal.log_reading import as_thread_id
from ..wal.record import Failure
from ..wal.submission_layout import Queue, Submission
from . import clock
from .canonical import canonical
from .errors import EmptyInputError, NoLog, RunCancelled, RunParked
from .failure import unpacked
from .settings import checked_durability, checked_options

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from ..wal.codec import Registry
    from ..wal.log_reading import ThreadId
    from .graph import CompiledGraph

FIRST_LOOK, LONGEST_LOOK = 0.002, 0.02
"""Seconds between two looks at whether a run has ended; each is a bit longer than the one before."""
DEFAULT_QUEUE = "default"
PRIORITIES = 1 << 31


class SubmitOptions(TypedDict, total=False):
    """The options of ``submit``, by name."""

    run_id: str | None
    queue: str
    priority: int
    config: dict[str, Any] | None
    context: Any
    durability: str | None


class Offer(NamedTuple):
    """What is kept of a call of ``submit``: how the run is to be called."""

    input: Any
    config: dict[str, Any]
    context: Any
    durability: str | None


def submit(
    graph: CompiledGraph[Any, Any, Any, Any] | str,
    input: Any,
    thread_id: ThreadId | None = None,
    *,
    log: Log | None = None,
    **options: Unpack[SubmitOptions],
) -> RunHandle:
    """Hand a run over to the workers of a log.

    Runs of one thread are carried out one after another, in the order in which they were handed over, each when the
    one before it is over: done, failed, stopped to ask, or cancelled.

    Args:
        graph: The graph, or its name where its code is not at hand.
        input: What the run is given, as for ``invoke``: also None, or a ``Command``.
        thread_id: The thread; None for that of the config, or else for a new one that is called like the run.
        log: The log; that of the graph if None.
        options: ``run_id``: what makes the run the same run when it is handed over twice; a new one if None.
            ``queue`` and ``priority``: which line it stands in, and how far in front (smaller numbers come first).
            ``config``, ``context`` and ``durability``: as for ``invoke``; they are kept with the run.

    Returns:
        A handle: ``status()``, ``result(timeout)``, ``cancel()``, and ``await``.

    Raises:
        NoLog: The graph has no log, and none was given.
        RunConflict: Something else was handed over under that run id.
        NotSerializable: The input, the config or the context cannot be written.
        EmptyInputError: There is no input, and the thread has nothing that is unfinished.
        LogFull: There is no room for it.
        TypeError: There is no such option.
    """
    checked_options("submit", SubmitOptions, options)
    place = log_of(graph, log)
    run = _run_id(options.get("run_id"))
    config = dict(options.get("config") or {})
    configurable = dict(config.pop("configurable", {}))
    named = configurable.pop("thread_id", None) if thread_id is None else thread_id
    configurable.pop("thread_id", None)
    thread = run if named is None else as_thread_id(named)
    offer = Offer(
        input,
        {**config, "configurable": configurable},
        options.get("context"),
        checked_durability(options.get("durability")),
    )
    name = graph if isinstance(graph, str) else graph.name
    given, digest = written(offer, thread, name)
    submissions = place.submissions(write=True)
    if input is None and place.head(thread) is None and submissions.first(thread) is None:
        message = f"Thread {thread!r} has no run to resume"
        raise EmptyInputError(message, hint="Hand over an input.")
    queue, priority = line_of(options.get("queue", DEFAULT_QUEUE), options.get("priority", 0))
    kept = submissions.submit(
        Submission(0, run, thread, name, queue, priority, given, digest, max(1, clock.now()))
    )
    return RunHandle(place, kept.run, registry_of(graph))


async def asubmit(
    graph: CompiledGraph[Any, Any, Any, Any] | str,
    input: Any,
    thread_id: ThreadId | None = None,
    *,
    log: Log | None = None,
    **options: Unpack[SubmitOptions],
) -> RunHandle:
    """Hand a run over without blocking the event loop while it is written; see ``submit``."""
    return await asyncio.to_thread(lambda: submit(graph, input, thread_id, log=log, **options))


class RunHandle:
    """A run that was handed over; made by ``submit``, and anywhere else of its log and id.

    Args:
        log: The log.
        run_id: The run's id.
        registry: The classes that its result may be rebuilt as; those of the graph that was handed over.

    Raises:
        RunNotFound: No such run was handed over.
    """

    def __init__(self, log: Log, run_id: str, registry: Registry | None = None) -> None:
        self.run_id = run_id
        self._log = log
        self._registry = registry or GLOBAL
        self.thread_id = self._row().thread

    def __repr__(self) -> str:
        """Return run and thread."""
        return f"<RunHandle {self.run_id!r} of thread {self.thread_id!r}>"

    def status(self) -> str:
        """Return how the run stands.

        Returns:
            ``queued``, ``running``, ``crashed`` (its process died, and nobody has taken it over yet), ``sleeping``,
            ``waiting``, or how it ended: ``done``, ``failed``, ``interrupted``, ``parked``, ``cancelled``, or
            ``superseded`` when another input took its place.
        """
        row = self._row()
        match row.state:
            case "ended":
                return row.how
            case "waiting":
                return "queued"
            case "started":
                return "running" if self._log.is_claimed(row.thread) else "crashed"
            case "suspended":
                head = self._log.head(row.thread)
                return "sleeping" if head is None else head.status
            case _:
                return "parked"

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the run is over, and return what ``invoke`` would have returned, or raise what it would have.

        Args:
            timeout: The seconds to wait at most; None for as long as it takes.

        Raises:
            TimeoutError: It is not over by then.
            RunCancelled: It was cancelled.
            RunParked: It killed its process again and again, so nobody takes it over any more.
            Exception: What the run raised.
        """
        end = None if timeout is None else time.monotonic() + timeout
        looks = _Looks(self._log)
        while True:
            pause = looks.pause()
            if pause is None:
                row = self._row()
                if row.state in {"ended", "parked"}:
                    return self._result_of(row)
                continue
            if end is not None:
                pause = min(pause, end - time.monotonic())
                if pause <= 0:
                    raise self._too_late(timeout)
            time.sleep(pause)

    async def aresult(self) -> Any:
        """Do what ``result`` does, on the event loop; ``await handle`` is the same, ``asyncio.timeout`` limits it."""
        looks = _Looks(self._log)
        while True:
            pause = looks.pause()
            if pause is not None:
                await asyncio.sleep(pause)
                continue
            row = self._row()
            if row.state in {"ended", "parked"}:
                return self._result_of(row)

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the run, whether it waits, runs or sleeps; return whether there was anything to cancel.

        Args:
            reason: Why, for those who look.
        """
        return self._log.cancel(self.thread_id, run_id=self.run_id, reason=reason)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the result."""
        return self.aresult().__await__()

    def _row(self) -> Submission:
        row = self._log.submissions().get(self.run_id)
        if row is None:
            raise RunNotFound(
                f"No run {self.run_id!r} was handed over to this log, or it was forgotten since.",
                hint="submit hands one over.",
                run=self.run_id,
            )
        return row

    def _too_late(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"run {self.run_id!r} is not over after {timeout} s; it is {self.status()}")

    def _result_of(self, row: Submission) -> Any:
        if row.state == "parked":
            message = f"Run {row.run!r} of thread {row.thread!r} was parked: {row.reason}."
            hint = "Mend the cause, then release it: wal recover LOG THREAD --apply."
            raise RunParked(message, hint=hint, run=row.run, thread=row.thread)
        if row.how in {"cancelled", "superseded"}:
            why = f": {row.reason}" if row.reason else ""
            message = f"Run {row.run!r} of thread {row.thread!r} was {row.how}{why}."
            raise RunCancelled(message, hint="Hand over a new input.", run=row.run, thread=row.thread)
        if not row.result:
            raise NotSerializable(f"What run {row.run!r} returned could not be written: {row.reason}")
        value = self._log.decoder(self._registry).value(row.result)
        if row.how != "failed":
            return value
        error, failure = value
        raise unpacked(error, Failure(failure[0], failure[1], failure[2], tuple(failure[3])), self._registry)


class _Looks:
    """When to look at a run again: each time that anything in the log has changed, asked at growing intervals."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._seen = -1
        self._pause = FIRST_LOOK

    def pause(self) -> float | None:
        """Return None when it is time to look, else how long to wait before asking again."""
        last = self._log.submissions().last_change()
        if last != self._seen:
            self._seen = last
            return None
        self._pause = min(self._pause * 1.3, LONGEST_LOOK)
        return self._pause


def define_queue(
    log: Log, name: str, *, concurrency: int | None = None, rate: tuple[int, float] | None = None
) -> Queue:
    """Say what a queue allows, over all worker processes of the log, from now on.

    Args:
        log: The log, which keeps it.
        name: The queue.
        concurrency: How many of its runs may be under way at once; None for as many as there are workers.
        rate: How many runs may start in how many seconds, as a pair; None for no limit.

    Raises:
        QueueProblem: That makes no sense.
    """
    queue = Queue(name, concurrency, rate)
    log.submissions(write=True).define(queue)
    return queue


def forget_runs(log: Log, before: datetime) -> int:
    """Forget handed-over runs that ended before a time, with their ids and results; return how many.

    Args:
        log: The log; the records of the runs' threads stay as they are.
        before: The time, with its zone.

    Raises:
        ValueError: The time has no zone.
    """
    return log.submissions(write=True).forget(nanoseconds(before))


def log_of(graph: Any, log: Log | None) -> Log:
    """Return the log that something is handed over to: the one that was given, or that of the graph.

    Raises:
        NoLog: There is none.
    """
    place = log if log is not None or isinstance(graph, str) else graph.settings.log
    if not isinstance(place, Log):
        message = "a run can only be handed over to a log, and there is none"
        raise NoLog(message, hint="Pass log=..., or compile(checkpointer=Log.open(path)).")
    return place


def registry_of(graph: Any) -> Registry | None:
    """Return the classes that a graph knows; None where its code is not at hand."""
    return None if isinstance(graph, str) else graph.program.registry


def _run_id(given: Any) -> str:
    """Return a run's id as text.

    Raises:
        ValueError: It is empty.
    """
    run = str(uuid.uuid4()) if given is None else str(given)
    if not run:
        message = "A run's id must not be empty."
        raise ValueError(message)
    run.encode()
    return run


def line_of(queue: Any, priority: Any) -> tuple[str, int]:
    """Return queue and priority.

    Raises:
        ValueError: They are of no use.
    """
    if not isinstance(queue, str) or not queue:
        message = f"queue must be the name of a queue, not {queue!r}."
        raise ValueError(message)
    queue.encode()
    if isinstance(priority, bool) or not isinstance(priority, int) or not -PRIORITIES < priority < PRIORITIES:
        message = f"priority must be an int between -2**31 and 2**31, not {priority!r}."
        raise ValueError(message)
    return queue, priority


def written(offer: Offer, thread: str, graph: str) -> tuple[bytes, bytes]:
    """Return an offer as bytes, and what tells it from others under the same run id."""
    given = Encoder().value(list(offer), whole=True).data
    return given, xxhash.xxh3_128_digest(canonical([thread, graph, *offer], {}))
