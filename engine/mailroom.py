"""Signals on their way from a thread's mailbox to the tasks of its run: each to one task, in order.

    next(name)  ──► the oldest message of that name which this run has not received yet
    line(name)  ──► the tasks of this run that wait for it in place, in the order in which they began

What a run has received waits in the mailbox until the record that says so is durable, so the run keeps in mind what
it has taken: signals of one name are taken by their numbers.

Invariants:
1. A message is taken once by a run.
2. Of the tasks that wait in place for one name, the first in line takes the next message.

It must not record.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from ..wal.fault import reach

if TYPE_CHECKING:
    from ..wal.log import Log
    from ..wal.mail import Message


class Mailroom:
    """What one run takes from its thread's mailbox.

    Args:
        log: The log.
        thread: The thread's id.
    """

    def __init__(self, log: Log, thread: str) -> None:
        self._log = log
        self._thread = thread
        self._taken: dict[str, int] = {}
        self._lines: dict[str, deque[object]] = {}
        self._lock = threading.Lock()

    def stand(self, name: str) -> object:
        """Get in line for a name; the place is given up with ``leave``."""
        place = object()
        with self._lock:
            self._lines.setdefault(name, deque()).append(place)
        return place

    def leave(self, name: str, place: object) -> None:
        """Get out of line."""
        with self._lock:
            line = self._lines[name]
            line.remove(place)
            if not line:
                del self._lines[name]

    def take(self, name: str, place: object | None = None, until: int | None = None) -> Message | None:
        """Take the next message of a name, if one waits and it is the turn of who asks.

        Args:
            name: The signal.
            place: The place in line of who asks; None for a task that is parked, before any stands in line.
            until: A message that was sent later than this comes too late, and is left for others.
        """
        with self._lock:
            if place is not None and self._lines[name][0] is not place:
                return None
            message = self._log.first_message(self._thread, name, self._taken.get(name, 0))
            if message is None or (until is not None and message.sent_at > until):
                return None
            self._taken[name] = message.number
            reach("mail: signal taken")
            return message
