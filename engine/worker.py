"""A worker: finds what is to be carried on in a log, and carries it on, until it is told to stop.

    run      one thread looks for work (``finding``), up to ``concurrency`` threads carry it out (``assignment``)
    arun     the same on an event loop: one task looks, up to ``concurrency`` tasks carry out

    with Worker(log, graphs):         … in the background, for as long as the block runs
    Worker(log, graphs).run()         … here, until SIGTERM, SIGINT or ``stop()``

Any number of workers, in any number of processes of one machine, share a log. What they agree on is the log: who has
claimed a thread, and which run has a place in its queue.

LOOKING    In this process a worker is told when a run is handed over. What other processes do is seen by looking, every
           ``POLL`` seconds: at one number of LMDB's, which says whether anything was written, and, of each run under
           way elsewhere, whether the kernel still knows its owner. All threads are looked through much less often.

Invariants:
1. A worker that is told to stop begins nothing new, lets running tasks end, and returns when all its runs are drained.
2. What a run raises ends that run, not the worker. What is wrong with the log ends the worker.
3. A worker in a forked child is another one: it has no runs, and stops at once.

It must not know what a run does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from .assignment import LEFT, Assignment, Carried, How
from .finding import Finder, Served, graphs_of
from .firing import Clockwork
from .run_control import RunControl
from .settings import checked_durability, checked_options
from .signals import drain_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from ..wal.log import Log
    from .settings import Compiled

POLL = 0.02
"""Seconds between two looks at what other processes did."""
SWEEP = 1.0
"""Seconds between two looks through all threads, at least."""
SWEEP_SHARE = 20
"""How many times as long as a look through all threads takes must pass before the next."""
CONCURRENCY = 8
ATTEMPTS = 5


class WorkerOptions(TypedDict, total=False):
    """The options of a worker that most never need."""

    attempts: int
    config: dict[str, Any] | None
    context: Any
    durability: str | None
    on_end: Callable[[Carried], None] | None


class Worker:
    """Carries on what a log holds.

    Args:
        log: The log.
        graphs: A graph, several, or a mapping from names to graphs; what needs another one is left alone.
        concurrency: How many runs are carried out at once.
        queues: The names of the queues that are served; None for all.
        options: ``attempts``: how often a thread may be taken over without getting on before it is parked.
            ``config``, ``context``, ``durability``: as for ``invoke``, for runs that say nothing themselves.
            ``on_end``: called with what became of each run, in the thread that carried it out.

    Raises:
        TypeError: There is no such option.
        ValueError: Two graphs have one name, or a number makes no sense.
    """

    def __init__(
        self,
        log: Log,
        graphs: Any,
        *,
        concurrency: int = CONCURRENCY,
        queues: Sequence[str] | None = None,
        **options: Unpack[WorkerOptions],
    ) -> None:
        self._on_end = options.get("on_end")
        self._concurrency = at_least_one("concurrency", concurrency)
        self._log = log
        self._finder = Finder(log, served(log, graphs, queues, options))
        self._clockwork = Clockwork(log, self._finder.served.serves)
        self._control = RunControl()
        self._active: dict[str, Assignment] = {}
        # Whoever stops the worker may be a signal handler that interrupted whoever holds it.
        self._lock = threading.RLock()
        self._woken = Wake()
        self._background: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._process = os.getpid()
        self._looked = Looked()

    def __repr__(self) -> str:
        """Return which graphs it carries on, and how many runs are under way."""
        return f"<Worker for {', '.join(self._finder.served.graphs)}: {len(self._active)} under way>"

    @property
    def left(self) -> list[Carried]:
        """What was left alone, and why: threads whose graph is not here or does not fit, and schedules, by name."""
        return [*self._finder.left.values(), *self._clockwork.left.values()]

    @property
    def active(self) -> list[str]:
        """The threads that are being carried on right now."""
        return list(self._active)

    def stop(self, reason: str = "shutdown") -> None:
        """Ask for an orderly end, from any thread: running tasks end, their runs are drained, ``run`` returns."""
        self._control.request_drain(reason)
        self._drain()
        self._woken.set()

    def run(self) -> None:
        """Carry on what there is and what comes, until ``stop``, or SIGTERM or SIGINT in the main thread.

        Raises:
            LogError: The log cannot be read or written.
        """
        with (
            self._listening(),
            self._until_told(),
            ThreadPoolExecutor(self._concurrency, "walgraph-run") as pool,
        ):
            try:
                while not self._is_stopping():
                    for assignment in self._found():
                        self._begin(assignment)
                        pool.submit(assignment.carry_out).add_done_callback(self._done(assignment))
                    self._woken.wait(self._pause())
            finally:
                self._drain()
        self._raise_failure()

    async def arun(self) -> None:
        """Do what ``run`` does on the running event loop; runs of synchronous nodes take threads.

        Raises:
            LogError: The log cannot be read or written.
        """
        running: set[asyncio.Task[Carried]] = set()
        with self._listening(), self._until_told():
            try:
                while not self._is_stopping():
                    found = await asyncio.to_thread(self._found_all) if self._is_due() else []
                    for assignment in found:
                        self._begin(assignment)
                        task = asyncio.create_task(assignment.acarry_out())
                        running.add(task)
                        task.add_done_callback(running.discard)
                        task.add_done_callback(self._done(assignment))
                    await self._woken.awaited(self._pause())
            finally:
                self._drain()
                if running:
                    await asyncio.wait(running)
        self._raise_failure()

    # In the background

    def __enter__(self) -> Self:
        """Begin to work in a thread of its own."""
        self._background = threading.Thread(target=self._run_quietly, name="walgraph-worker", daemon=True)
        self._background.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait until all runs are drained.

        Raises:
            LogError: The log could not be read or written meanwhile.
        """
        self.stop()
        background, self._background = self._background, None
        if background is not None and os.getpid() == self._process:
            background.join()
            self._raise_failure()

    async def __aenter__(self) -> Self:
        """Begin to work as a task of the running event loop."""
        self._task = asyncio.create_task(self.arun())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait until all runs are drained.

        Raises:
            LogError: The log could not be read or written meanwhile.
        """
        self.stop()
        task, self._task = self._task, None
        if task is not None:
            await task

    def _run_quietly(self) -> None:
        try:
            self.run()
        except BaseException as error:
            # Raised where the block ends.
            self._failure = self._failure or error

    # Within

    def _is_stopping(self) -> bool:
        return self._control.drain_requested or self._failure is not None or os.getpid() != self._process

    def _found(self) -> Iterator[Assignment]:
        """Yield claimed work, as much as there is room for, if anything can have changed since the last look."""
        # What is due is handed over whether or not there is room here: other workers may have some.
        self._clockwork.tick()
        room = self._concurrency - len(self._active)
        if room <= 0 or not self._looked.is_due(self._log, self._finder):
            return
        finder, looked = self._finder, self._looked
        places: tuple[Callable[[], Iterator[Assignment]], ...] = (
            finder.lost, finder.due, finder.queued, lambda: looked.unfinished(finder)
        )  # fmt: skip
        for found in places:
            for assignment in found():
                yield assignment
                room -= 1
                if room <= 0 or self._is_stopping():
                    looked.again()
                    self._report_parked()
                    return
        looked.was_through(self._log, self._finder)
        self._report_parked()

    def _is_due(self) -> bool:
        return self._looked.is_due(self._log, self._finder) or self._clockwork.is_due()

    def _found_all(self) -> list[Assignment]:
        return list(self._found())

    def _report_parked(self) -> None:
        parked, self._finder.parked = self._finder.parked, []
        for carried in parked:
            self._tell(carried)

    def _tell(self, carried: Carried) -> None:
        try:
            if self._on_end is not None:
                self._on_end(carried)
        except Exception as error:
            # Whoever gave it is told by ``run``, since nobody else would hear of it.
            self._failure = self._failure or error

    def _begin(self, assignment: Assignment) -> None:
        with self._lock:
            self._active[assignment.thread] = assignment
        if self._control.drain_reason is not None:
            assignment.control.request_drain(self._control.drain_reason)

    def _done(self, assignment: Assignment) -> Callable[[Any], None]:
        def done(future: Future[Carried] | asyncio.Task[Carried]) -> None:
            with self._lock:
                self._active.pop(assignment.thread, None)
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self._failure = self._failure or error
            elif not future.cancelled():
                carried = future.result()
                if carried.how == LEFT:
                    self._finder.pass_over(carried)
                self._tell(carried)
            self._looked.again()
            self._woken.set()

        return done

    def _drain(self) -> None:
        reason = self._control.drain_reason or "shutdown"
        with self._lock:
            for assignment in list(self._active.values()):
                assignment.control.request_drain(reason)

    def _pause(self) -> float:
        if len(self._active) >= self._concurrency:
            # There is room again only when a run ends, which wakes; a signal does so by interrupting.
            return 10 * POLL
        return POLL

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Be told when something is handed over in this process."""
        submissions = self._log.submissions(write=True)
        submissions.listeners.add(self._woken)
        try:
            yield
        finally:
            submissions.listeners.discard(self._woken)

    @contextlib.contextmanager
    def _until_told(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT stop the worker, if it runs in the main thread, where alone handlers can be set."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with drain_on_signals(self._control, (signal.SIGTERM, signal.SIGINT)):
            yield

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class Wake:
    """What a worker waits at, in a thread or on an event loop; anybody may set it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signal = asyncio.Event()

    def set(self) -> None:
        """Wake whoever waits, or comes to wait next."""
        self._event.set()
        if self._loop is not None:
            # The loop may have been closed since somebody waited on it.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._signal.set)

    def wait(self, seconds: float) -> None:
        """Wait until it is set, or for so long."""
        self._event.wait(seconds)
        self._event.clear()

    async def awaited(self, seconds: float) -> None:
        """Do what ``wait`` does, on the event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._signal = loop, asyncio.Event()
        if not self._event.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._signal.wait()
        self._event.clear()
        self._signal.clear()


class Looked:
    """What a worker saw when it last looked, so that it can tell cheaply whether there is anything new."""

    def __init__(self) -> None:
        self._seen = -1
        self._is_due = True
        self._others: list[str] = []
        self._swept_at = 0.0
        self._sweep_took = 0.0
        self._limited = False

    def again(self) -> None:
        """Look again as soon as there is room."""
        self._is_due = True

    def is_due(self, log: Log, finder: Finder) -> bool:
        """Tell whether it is time to look for work."""
        if self._is_due or log.submissions().last_change() != self._seen or self._is_time_to_sweep():
            return True
        if self._limited or finder.has_due():
            return True
        return any(not log.is_claimed(thread) for thread in self._others)

    def was_through(self, log: Log, finder: Finder) -> None:
        """Note that all there was has been found, as of now."""
        submissions = log.submissions()
        seen = submissions.last_change()
        running = [
            each.thread for each in submissions.started() if finder.served.serves(each.queue, each.graph)
        ]
        self._others = [thread for thread in {*running, *finder.running} if log.is_claimed(thread)]
        # Runs that wait for their queue's rate come due by time alone.
        self._limited = any(queue.rate is not None for queue in submissions.queues())
        self._seen, self._is_due = seen, False

    def unfinished(self, finder: Finder) -> Iterator[Assignment]:
        """Look through all threads, if it is time."""
        if not self._is_time_to_sweep() and not any(
            not finder.log.is_claimed(each) for each in finder.running
        ):
            return
        began = time.monotonic()
        yield from finder.unfinished()
        self._swept_at = time.monotonic()
        self._sweep_took = self._swept_at - began

    def _is_time_to_sweep(self) -> bool:
        return time.monotonic() - self._swept_at >= max(SWEEP, SWEEP_SHARE * self._sweep_took)


def served(log: Log, graphs: Any, queues: Sequence[str] | None, options: WorkerOptions) -> Served:
    """Return what is to be carried on.

    Raises:
        TypeError: There is no such option.
        ValueError: Two graphs have one name, or an option makes no sense.
    """
    checked_options("a worker", WorkerOptions, options)
    if isinstance(queues, str):
        queues = (queues,)
    how = How(options.get("config"), options.get("context"), checked_durability(options.get("durability")))
    attempts = at_least_one("attempts", options.get("attempts", ATTEMPTS))
    named: dict[str, Compiled] = graphs_of(log, graphs)
    return Served(named, None if queues is None else frozenset(queues), attempts, how)


def at_least_one(name: str, value: Any) -> int:
    """Return a number that is at least one.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = f"{name} must be an int of at least 1, not {value!r}."
        raise ValueError(message)
    return value
