"""The one place where the engine reads the wall clock and waits for it.

    clock.now()            nanoseconds since 1970
    clock.pause(seconds)   rest, in this thread           await clock.apause(seconds)   rest, on the event loop
    clock.using(other)     for the time of a test: every run of this process goes by another clock

What measures how long something takes in this process (time-outs, pauses between looks at a lock) is no business of
the wall clock's, and stays with ``time.monotonic``.

Invariants:
1. Who reads the time or waits for it reads ``current`` at that moment, so that a clock that was put in its place is
   the clock of all.
2. A clock never says how long to wait: a wall clock jumps, so whoever waits looks at it again (``engine.timer``).

It must not know what is waited for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from ..wal.head import moment, nanoseconds
from ..wal.mail import Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 1_000_000_000


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def time_ns(self) -> int:
        """Return the nanoseconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Return when so much time has passed."""

    async def asleep(self, seconds: float) -> None:
        """Return when so much time has passed, without blocking the event loop."""


class WallClock:
    """The machine's clock."""

    time_ns = staticmethod(time.time_ns)
    sleep = staticmethod(time.sleep)

    async def asleep(self, seconds: float) -> None:
        """Return when so much time has passed, without blocking the event loop."""
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock for tests: it stands still until somebody waits for it or moves it, and nobody waits in earnest.

    Args:
        start: What it shows at first; the machine's time if None.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = time.time_ns() if start is None else nanoseconds(start)
        self._lock = threading.Lock()

    def time_ns(self) -> int:
        """Return the nanoseconds since 1970 that it shows."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by so much, at once."""
        with self._lock:
            self._now += max(0, int(seconds * SECOND))
        # Whoever is to act meanwhile gets a turn, as it would if the time had to pass.
        time.sleep(0)

    async def asleep(self, seconds: float) -> None:
        """Move on by so much, at once."""
        self.sleep(seconds)
        await asyncio.sleep(0)

    def now(self) -> datetime:
        """Return what it shows, in UTC."""
        return moment(self._now)

    def advance(self, duration: float | timedelta) -> None:
        """Move it on, by seconds or a timedelta; backwards if that is negative."""
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        with self._lock:
            self._now += int(seconds * SECOND)

    def set(self, to: datetime) -> None:
        """Make it show a time, given with its zone."""
        with self._lock:
            self._now = nanoseconds(to)


current: Clock = WallClock()
"""The clock that all runs of this process go by."""


def now() -> int:
    """Return the time in nanoseconds since 1970."""
    return current.time_ns()


def pause(seconds: float) -> None:
    """Return when so much time has passed."""
    current.sleep(seconds)


async def apause(seconds: float) -> None:
    """Return when so much time has passed, without blocking the event loop."""
    await current.asleep(seconds)


@contextmanager
def using(clock: Clock) -> Iterator[Clock]:
    """Let all runs of this process go by another clock for a while."""
    global current
    before, stamping = current, Stamp.time_ns
    current, Stamp.time_ns = clock, clock.time_ns
    try:
        yield clock
    finally:
        current, Stamp.time_ns = before, stamping
