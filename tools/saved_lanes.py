"""The lanes of a log in this process: one for each of LangGraph's threads, however many savers use the log.

    lanes_of(log).lane(log, thread)

Invariants:
1. All log objects of one path share their lanes within a process; a forked child begins without any.
2. A lane is let go of only while nothing is on its way through it.

This module must not know what a lane does.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict

from ..wal.log import Log
from ..wal.store import Store
from .saved_lane import Lane

LANES = 256
"""How many threads' indexes a process keeps for one log."""


class Lanes:
    """The lanes of one log in this process."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._lock = threading.Lock()

    def lane(self, log: Log, thread: str) -> Lane:
        """Return the lane of a thread."""
        with self._lock:
            lane = self._lanes.get(thread)
            if lane is None:
                lane = self._lanes[thread] = Lane(log, thread)
                self._evict()
            self._lanes.move_to_end(thread)
            if lane.log.closed:
                lane.log = log
            return lane

    def _evict(self) -> None:
        if len(self._lanes) > LANES:
            for thread, lane in [*self._lanes.items()][: len(self._lanes) - LANES]:
                if lane.is_idle and lane.lock.acquire(blocking=False):
                    try:
                        del self._lanes[thread]
                    finally:
                        lane.lock.release()

    def flush(self) -> None:
        """Return when all that was appended here is durable."""
        for lane in [*self._lanes.values()]:
            with lane.lock:
                lane.settle()


_of_stores: weakref.WeakKeyDictionary[Store, Lanes] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def lanes_of(log: Log) -> Lanes:
    """Return the lanes of a log, which all log objects of its path share."""
    with _lock:
        store = log.store
        found = _of_stores.get(store)
        if found is None:
            found = _of_stores[store] = Lanes()
        return found


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it.
    _lock = threading.Lock()
    _of_stores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
