"""One attempt under a time-out: who watches it, and what is left of it when its time is over.

    body ── progress, heartbeats ──► Watch ── looks again when the next limit may have been reached
      ▲                                │
      └────────── cancelled ◄──────────┘ reached ──► NodeTimeoutError, once the body has ended

    limit          counted from
    run_timeout    the beginning of the attempt
    idle_timeout   the last progress: a stream chunk, a call of a task or subgraph, an outcome of one, a heartbeat,
                   whatever langchain tells its callbacks;
                   with ``refresh_on="heartbeat"`` the last heartbeat

Whoever runs below the attempt, in whatever thread or coroutine, finds its watch in a context variable, and a watch
tells the one above it: what a task of the attempt does is progress of the attempt.

Invariants:
1. An attempt has ended when its time-out is raised, all that it called by ``@task`` included: it never runs beside the
   next one. Threads cannot be stopped, so they are waited for.
2. What an attempt shows, calls or returns after its time is over reaches nobody; what it called before is recorded.
3. A cancellation that comes from elsewhere stays one.

It is loaded by the first attempt that has a time-out. It must not know retries or records.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .context import Watcher, watching
from .errors import NodeTimeoutError, Parked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .context import TaskContext
    from .policy import TimeoutPolicy
    from .run import Run

T = TypeVar("T")


class Watch(Watcher):
    """Watches one attempt.

    Args:
        name: What users call what is attempted.
        policy: Its limits, in seconds.
        above: The watch that the attempt is itself watched by, if it is part of another.
    """

    def __init__(self, name: str, policy: TimeoutPolicy, above: Watch | None) -> None:
        self.name = name
        self._run: Any = policy.run_timeout
        self._idle: Any = policy.idle_timeout
        self._takes_all = policy.refresh_on == "auto"
        self._above = above
        # One lock for the whole chain: when an outer attempt's time is over, so is that of what it called.
        self._lock: threading.RLock = threading.RLock() if above is None else above._lock  # noqa: SLF001 - its own kind
        self._reached: Literal["run", "idle"] | None = None
        self._begun = self._last = time.monotonic()
        self._elapsed = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_over(self) -> bool:
        """Whether the attempt's time is over, or that of the one around it."""
        return self._reached is not None or (self._above is not None and self._above.is_over)

    @property
    def is_reached(self) -> bool:
        """Whether a limit of this very attempt was reached."""
        return self._reached is not None

    def heartbeat(self) -> None:
        """Note that the attempt says it is alive."""
        self._last = time.monotonic()
        if self._above is not None:
            self._above.heartbeat()

    def progress(self) -> None:
        """Note that the attempt got on."""
        if self._takes_all:
            self._last = time.monotonic()
        if self._above is not None:
            self._above.progress()

    def calls(self) -> None:
        """Note that the attempt calls a task or a subgraph.

        Raises:
            NodeTimeoutError: Its time is over; what it calls now would be done beside the next attempt.
        """
        if self.is_over:
            raise self.error()
        self.progress()

    def shows(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a stream writer whose chunks are progress, and are dropped when the attempt's time is over."""

        def written(payload: Any) -> None:
            with self._lock:
                if self.is_over:
                    return
                write(payload)
            self.progress()

        return written

    def start(self, stop: Callable[[], None]) -> None:
        """Begin to look at the clock; ``stop`` is called once, when a limit is reached."""
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._look()

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def error(self) -> NodeTimeoutError:
        """Return what to raise."""
        if self._reached is None and self._above is not None:
            return self._above.error()
        return NodeTimeoutError(
            self.name,
            self._elapsed,
            kind=self._reached or "run",
            idle_timeout=self._idle,
            run_timeout=self._run,
        )

    def _look(self) -> None:
        now = time.monotonic()
        left: dict[float, Literal["run", "idle"]] = {}
        if self._idle is not None:
            left[self._last + self._idle - now] = "idle"
        if self._run is not None:
            left[self._begun + self._run - now] = "run"
        nearest = min(left)
        if nearest > 0:
            # Progress moves the idle limit; it costs nothing more, since the clock is only looked at again here.
            self._timer = self._loop.call_later(nearest, self._look)
            return
        self._elapsed = now - self._begun
        with self._lock:
            self._reached = left[nearest]
        self._stop()


async def timed(body: Awaitable[T], policy: TimeoutPolicy, context: TaskContext[Run]) -> T:
    """Wait for one attempt, for as long as its policy allows.

    Args:
        body: The attempt.
        policy: How long it may take.
        context: The task that it is an attempt at.

    Raises:
        NodeTimeoutError: It took too long, and has been stopped.
    """
    above = watching.get()
    assert above is None or isinstance(above, Watch)
    watch = Watch(context.name, policy, above)
    token = watching.set(watch)
    hearing = None if policy.idle_timeout is None else _hears_langchain()
    loop = asyncio.get_running_loop()
    try:
        # The standard scope knows how to tell its own cancellation of a coroutine from one that comes from elsewhere.
        async with asyncio.timeout(None) as scope:
            watch.start(lambda: scope.reschedule(loop.time()))
            try:
                value = await body
            finally:
                watch.end()
    except asyncio.CancelledError:
        raise
    except (Exception, Parked) as error:
        if not watch.is_reached:
            raise
        cause: BaseException | None = None if isinstance(error, TimeoutError) else error
    else:
        if not watch.is_reached:
            return value
        cause = None
    finally:
        watching.reset(token)
        if hearing is not None:
            hearing()
    # Whatever the body made of its cancellation, a value, a question or an error of its own, came too late.
    stopped = watch.error()
    await settled(context)
    raise stopped from cause


def _hears_langchain() -> Callable[[], None] | None:
    """Take what langchain does from here on for progress, if it is there; return what undoes this."""
    if "langchain_core" not in sys.modules:
        return None
    from .chat_progress import hears, hears_no_more

    return functools.partial(hears_no_more, hears())


async def settled(context: TaskContext[Run]) -> None:
    """Stop what an attempt called, and return when it has ended and the state knows of it."""
    for child in context.children:
        child.cancel()
    for child in context.children:
        await child.awaited()
    await context.run.recorder.caught_up()
