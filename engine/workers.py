"""Threads that run tasks: a small pool whose waiting callers help themselves.

    submit(work) ──► queue ──► worker threads, started when needed
                       └─────► whoever waits for a piece of work that nobody took yet runs it itself

Helping oneself keeps a task that is awaited at once in the thread that awaits it, which saves two hand-overs, and it
is why a limit of one does not deadlock when a task waits for its own children (LangGraph rule T-10): who runs a piece
of work and waits for another has nothing else to do, so the other is run in its place.

Invariants:
1. A piece of work is run once, by whoever takes it.
2. No more than ``limit`` threads run work at once, those that help themselves included. Who rests gives its place to
   others, and goes on at once afterwards, since somebody may hold a place and wait for it.
3. ``close`` returns when no worker runs anything.

It must not know what the work is.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

DEFAULT_LIMIT = min(32, (os.cpu_count() or 1) + 4)
"""How many threads a pool starts when nobody says how many; what concurrent.futures takes."""


class Work(Generic[T]):
    """One piece of work, taken once."""

    __slots__ = ("_call", "_future", "_pool", "_taken")

    def __init__(self, call: Callable[[], T], pool: Pool, future: Future[T] | None = None) -> None:
        self._call = call
        self._pool = pool
        self._taken = threading.Lock()
        self._future = future

    @property
    def future(self) -> Future[T]:
        """What takes what comes of the work."""
        assert self._future is not None, "the work was given to somebody who waits for it"
        return self._future

    def run_if_free(self) -> bool:
        """Run the work here unless somebody took it or the pool is at its limit; return whether it was run."""
        return self._pool.help(self)

    def take(self) -> bool:
        """Take the work; return whether it was still free."""
        return self._taken.acquire(blocking=False)

    def run(self) -> None:
        """Run the work, which the caller has taken."""
        if self._future is None:
            self._call()
            return
        try:
            result = self._call()
        except BaseException as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)


class Pool:
    """Runs work in threads.

    Args:
        limit: How many pieces may run at once; None for a default by processors.
        name: What the threads are called.
    """

    def __init__(self, limit: int | None = None, name: str = "walgraph-worker") -> None:
        self._limit = limit or DEFAULT_LIMIT
        self._name = name
        self._queue: deque[Work[object]] = deque()
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._running: set[int] = set()
        self._idle = 0
        self._resting = 0
        self._closed = False
        _pools.add(self)

    def submit(self, call: Callable[[], T], future: Future[T] | None = None) -> Work[T]:
        """Queue a call; a worker takes it as soon as one is free.

        Args:
            call: What to call.
            future: Takes what comes of it; a new one if left out.
        """
        work: Work[T] = Work(call, self, Future() if future is None else future)
        with self._lock:
            self._queue.append(work)  # type: ignore[arg-type]  # the queue holds work of any result
            if self._idle:
                self._condition.notify()
            # A thread that was woken counts as idle until it runs, so what is queued must not be more than these.
            if self._idle < len(self._queue) and len(self._threads) < self._limit + self._resting:
                self._start()
        return work

    def start(self, calls: Sequence[Callable[[], None]]) -> None:
        """Queue calls that tell by themselves what comes of them, all at once; they must not raise."""
        works: list[Work[object]] = [Work(call, self) for call in calls]
        with self._condition:
            self._queue.extend(works)
            self._condition.notify(len(works))
            while self._idle < len(self._queue) and len(self._threads) < self._limit + self._resting:
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def is_run_by(self, thread: int) -> bool:
        """Return whether a thread runs work of this pool."""
        return thread in self._running

    @property
    def is_closed(self) -> bool:
        """Whether the pool takes no more work."""
        return self._closed

    def rest(self, thread: int) -> None:
        """Let others run in the place of a thread."""
        with self._lock:
            self._running.discard(thread)
            self._resting += 1
            if self._queue and not self._closed:
                if self._idle:
                    self._condition.notify()
                elif len(self._threads) < self._limit + self._resting:
                    self._start()

    def go_on(self, thread: int) -> None:
        """Count a thread that rested among those that run."""
        with self._lock:
            self._running.add(thread)
            self._resting -= 1

    def help(self, work: Work[T]) -> bool:
        """Run a piece of work in this thread, if that is allowed; return whether it was run."""
        me = threading.get_ident()
        if me in self._running:
            if not work.take():
                return False
            work.run()
            return True
        with self._lock:
            if len(self._running) >= self._limit or not work.take():
                return False
            self._running.add(me)
        work.run()
        self._leave(me)
        return True

    def close(self, *, drop: bool = False) -> None:
        """Take no more work, let what runs end, and wait for it.

        Args:
            drop: Whether to forget what nobody has begun, because the run is being given up.
        """
        with self._lock:
            self._closed = True
            if drop:
                self._queue.clear()
            self._condition.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _leave(self, thread: int) -> None:
        with self._lock:
            self._running.remove(thread)
            if self._closed:
                self._condition.notify_all()
            elif self._queue:
                self._condition.notify()

    def _work(self) -> None:
        me = threading.get_ident()
        while True:
            with self._lock:
                while not self._queue or len(self._running) >= self._limit:
                    if self._closed and not self._queue:
                        return
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                work = self._queue.popleft()
                if not work.take():
                    continue
                self._running.add(me)
            work.run()
            # Without this the last result would live on in an idle thread's frame.
            del work
            self._leave(me)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _pools_here() -> list[Pool]:
    thread = threading.get_ident()
    return [pool for pool in list(_pools) if pool.is_run_by(thread)]


@contextmanager
def resting() -> Iterator[None]:
    """Let others run in this thread's place, in whatever pools it works, while it rests."""
    thread, pools = threading.get_ident(), _pools_here()
    for pool in pools:
        pool.rest(thread)
    try:
        yield
    finally:
        for pool in pools:
            pool.go_on(thread)


def is_closing() -> bool:
    """Return whether a pool that this thread works in waits for its work to end."""
    return any(pool.is_closed for pool in _pools_here())
