"""Who is inside LMDB right now, so that no fork happens meanwhile.

    transaction ──► inside[…]           fork ──► wait until nobody else is inside ──► fork ──► go on
                        ▲                                                                 │
                        └───────────── whoever is to begin waits ◄────────────────────────┘

An environment is closed in a forked child, and py-lmdb lets that wait for the calls under way. But the threads that
made them are the parent's: a child that was forked during one waited for ever.

Invariants:
1. While a process forks, no other thread of it is inside a transaction, unless one stays there for LONGEST_SECONDS.
2. Whoever forks within a transaction of its own does not wait for itself.

This module must not know what is forked, nor what a transaction is.
"""

from __future__ import annotations

import os
import threading
import time

LONGEST_SECONDS = 1.0
"""How long a fork is held up by a transaction that does not end, as one that waits for another process."""
_PAUSE_SECONDS = 0.0002

inside: dict[int, int] = {}
"""Transaction → thread, of those that are under way."""
_forking: list[int] = []
"""The thread that forks; a second one waits for the first in the system's own lock for forks."""


def wait_for_fork() -> None:
    """Return when no other thread is forking; it is called when somebody may be."""
    while _forking and _forking[0] != threading.get_ident():
        time.sleep(_PAUSE_SECONDS)


def enter(transaction: int) -> None:
    """Say that a transaction begins, in this thread."""
    thread = threading.get_ident()
    inside[transaction] = thread
    while _forking and _forking[0] != thread:
        # The fork looked before we were there, or waits for us.
        del inside[transaction]
        wait_for_fork()
        inside[transaction] = thread


def others() -> bool:
    """Return whether another thread is inside a transaction."""
    here = threading.get_ident()
    return any(thread != here for thread in list(inside.values()))


def forget_others() -> None:
    """In a forked child: forget the transactions of threads that only the parent has."""
    here = threading.get_ident()
    for transaction in [each for each, thread in inside.items() if thread != here]:
        del inside[transaction]


def _before() -> None:
    _forking.append(threading.get_ident())
    end = time.monotonic() + LONGEST_SECONDS
    while others() and time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)


def _after() -> None:
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
