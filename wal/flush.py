"""Flush policies: who waits for the disk, and what the disk is asked for.

WHO WAITS   A durability mode never changes LMDB's flags, only who waits for the group commit.

    mode    who waits                        lost at kill -9      lost at power loss (fsync="full")
    sync    the step, for its position       nothing recorded     nothing recorded
    async   nobody; the flusher commits      the last window      the same
    exit    the end of the run               the whole run        the whole run

WHAT IS ASKED   ``fsync`` is chosen once per log, when it is opened.

    fsync   LMDB flags                  a commit survives power loss     the store survives power loss
    full    sync, metasync              yes                              yes
    data    sync, no metasync           all but perhaps the last one     yes
    off     no sync                     no                               no: only for throwaway runs

The flusher is one daemon thread per log. It is started by the first append that nobody waits for, looks every
``interval`` seconds while there is work, and sleeps without a time-out after a while without any.

Invariants:
1. What was appended is committed at most ``interval`` later, plus the time that the commit itself takes, and the
   pause of a crew that gathers for it (``wal.committer``).
2. The flusher never dies of a failed commit: the committer keeps the failure for those who wait.

This module must not know what is committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, TypeAlias

Fsync: TypeAlias = Literal["full", "data", "off"]

LMDB_FLAGS: dict[str, dict[str, bool]] = {
    "full": {"sync": True, "metasync": True},
    "data": {"sync": True, "metasync": False},
    "off": {"sync": False, "metasync": False},
}
"""Flags of ``lmdb.open`` for each ``fsync``."""

MAX_INTERVAL = 0.05
IDLE_ROUNDS = 50


class Flusher:
    """A thread that commits what has gathered.

    Args:
        work: Commits what is queued; tells whether there was anything.
        interval: Seconds between two looks while there is work.
        name: Name of the thread.
    """

    def __init__(self, work: Callable[[], bool], interval: float, name: str) -> None:
        self._work = work
        self._interval = min(interval, MAX_INTERVAL)
        self._name = name
        self._now = threading.Event()
        self._begin = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self.asleep = True
        """True while the flusher would not notice new work by itself; read without a lock by the committer."""

    def wake(self) -> None:
        """Make sure that a look is taken within the interval; called with the committer's lock held."""
        self.asleep = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        else:
            self._begin.set()

    def hurry(self) -> None:
        """Make the flusher look at once; called with the committer's lock held."""
        if not self._now.is_set():
            # One that is set and not yet cleared is followed by a look, which waits for the lock that the caller has.
            self._now.set()
        if self.asleep:
            self.wake()

    def release(self) -> None:
        """Let the thread end by itself."""
        self._stopped = True
        self._now.set()
        self._begin.set()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self.release()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        idle = 0
        while not self._stopped:
            self._now.wait(self._interval)
            self._now.clear()
            if self._work():
                idle = 0
                continue
            idle += 1
            if idle < IDLE_ROUNDS or self._stopped:
                continue
            # Clear first, declare sleep second, look once more third: whoever appends after the declaration
            # wakes this thread, and whoever appended before it is seen by the last look.
            self._begin.clear()
            self.asleep = True
            if self._work():
                self.asleep = False
            else:
                self._begin.wait()
            idle = 0
