"""Threads that wait for a group commit, and how they are woken.

    durable      ●──►●──►●──►●     in a row: each wakes the next one as soon as it is awake itself
    not yet      ○ ○ ○             one of them, to lead the next group; the others wait on
    log failed   ○ ○ ○             all of them, to raise

Woken all at once they would only queue for the interpreter's lock and push each other off the processors: eight of
them change places twice as often.

Invariants:
1. A waiter is woken exactly once, by whoever settles it or by the one before it in the row.
2. A row is made in one go, under the committer's lock, so whoever stops waiting finds it whole or is not in it.

This module must not know what is committed.
"""

from __future__ import annotations

import threading


class Waiter:
    """One thread that waits for its ticket."""

    __slots__ = ("done", "following", "signal", "ticket")

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        # Set before the signal, so that whoever is woken by good news goes on without asking for the lock again.
        self.done = False
        self.following: Waiter | None = None
        self.signal = threading.Lock()
        self.signal.acquire()

    def pass_on(self) -> None:
        """Wake the next one in the row."""
        if self.following is not None:
            self.following.signal.release()


def settle(waiting: list[Waiter], durable: int, *, has_failed: bool) -> list[Waiter]:
    """Wake who is done and one who leads next, or everybody; return those who wait on.

    Args:
        waiting: Who waits, in the order in which they came.
        durable: Tickets up to this one are durable.
        has_failed: Whether the log has failed, so that nothing more will be.
    """
    row = [waiter for waiter in waiting if waiter.ticket <= durable]
    for waiter, following in zip(row, [*row[1:], None], strict=False):
        waiter.done, waiter.following = True, following
    rest = [waiter for waiter in waiting if not waiter.done]
    woken = rest if has_failed else rest[:1]
    for waiter in (*row[:1], *woken):
        waiter.signal.release()
    return rest[len(woken) :]
