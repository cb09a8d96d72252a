"""Telling whoever runs a thread in this process that somebody, in whatever process, wishes the run to stop.

    attend(thread, told) ──► told(reason)        in the same process at once, from another one within ``LOOK`` seconds
    leave(thread, told)

A wish of another process lies in the table of handed-over runs (``wal.submissions``). A thread of this process looks
for it, but only while somebody attends, and only if anything was written since it last looked; most programs have no
such table, and then looking is one question. A wish that is older than the run is somebody's from before: it goes.
One that is heard stays until the end of the run is recorded, so that whoever takes over from a process that died
before hears it again.

Invariants:
1. Nothing is looked for while nobody attends; the thread that looks begins with the first who does.
2. Whoever has left is told nothing any more.
3. A wish that was heard is dropped only when what it wished for is on record, and never another one in its place.

This module must not know how a run stops.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from .errors import WalgraphError
from .store import Store
from .submission_layout import Wish

Told: TypeAlias = Callable[[str], None]

LOOK = 0.05
"""Seconds between two looks."""
IDLE_LOOKS = 20
"""How many looks in vain it takes until the thread waits to be woken, which costs more than to look."""


class Watch:
    """The runs of one process that want to be told.

    Args:
        store: The log's store.
        is_shared: Whether other processes can write to it.
    """

    def __init__(self, store: Store, *, is_shared: bool) -> None:
        self._store = store
        self._is_shared = is_shared
        self._told: dict[str, tuple[Told, str, int]] = {}
        self._heard: dict[str, Wish] = {}
        """What those who attend were told of."""
        self._looker: threading.Thread | None = None
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._is_idle = True
        self._seen = -1

    def attend(self, thread: str, told: Told, run: str, since: int) -> None:
        """Let ``told`` be called, from any thread, when the run of a thread is to stop.

        Args:
            thread: The thread, which the caller has claimed.
            told: What is called; at once, if somebody has wished it to stop already.
            run: What the run is called.
            since: When it began; 0 if it goes on with what was begun before, so that any wish is meant for it.
        """
        self._told[thread] = (told, run, since)
        if not self._is_shared:
            return
        if self._store.has_submissions():
            # What another run passed over may be meant for this one.
            self._seen = -1
            with contextlib.suppress(WalgraphError):
                self._look()
        if self._is_idle:
            self._begin()

    def now(self) -> int:
        """Return the time by which wishes are told from runs: that of the machine, since all processes share it."""
        return time.time_ns()

    def leave(self, thread: str, told: Told) -> Wish | None:
        """Call ``told`` no more, after a last look; return the wish that it was told of."""
        held = self._told.get(thread)
        if held is None or held[0] != told:
            return None
        if self._is_shared:
            with contextlib.suppress(WalgraphError):
                self._look()
        self._told.pop(thread, None)
        return self._heard.pop(thread, None)

    def drop(self, wish: Wish) -> None:
        """Drop a wish: what it wished for is on record, or there is nothing any more that it could be for."""
        with contextlib.suppress(WalgraphError):
            self._store.submissions.fulfil(wish.thread, wish)

    def tell(self, wish: Wish) -> bool:
        """Tell whoever runs a thread in this process; return whether anybody does."""
        held = self._told.get(wish.thread)
        if held is None:
            return False
        self._heard[wish.thread] = wish
        held[0](wish.reason)
        return True

    def close(self) -> None:
        """Look no more; returns when nothing is being read."""
        self._closing.set()
        self._wanted.set()
        looker = self._looker
        if looker is not None and looker is not threading.current_thread():
            looker.join()

    def _begin(self) -> None:
        self._is_idle = False
        if self._looker is None:
            self._looker = threading.Thread(target=self._run, name="walgraph-watch", daemon=True)
            self._looker.start()
        self._wanted.set()

    def _run(self) -> None:
        vain = 0
        while not self._closing.is_set():
            vain = 0 if self._told else vain + 1
            if vain > IDLE_LOOKS:
                self._wanted.clear()
                self._is_idle = True
                # Whoever came to attend just now has seen that somebody looks, and woke nobody.
                if not self._told:
                    self._wanted.wait()
                self._is_idle, vain = False, 0
                continue
            # A log that cannot be read ends its runs by itself.
            with contextlib.suppress(WalgraphError):
                self._look()
            self._closing.wait(LOOK)

    def _look(self) -> None:
        if not self._store.has_submissions():
            return
        submissions = self._store.submissions
        last = submissions.last_change()
        if last == self._seen:
            return
        self._seen = last
        for wish in submissions.wishes():
            held = self._told.get(wish.thread)
            if held is None:
                continue
            told, run, since = held
            if wish.at >= since and wish.run in {"", run}:
                self._heard[wish.thread] = wish
                told(wish.reason)
            else:
                submissions.fulfil(wish.thread, wish)
