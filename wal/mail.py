"""Mailboxes: signals that were sent to threads and wait until one receives them. The contract.

    post(thread, name, payload, id)   from any process, at any time, whoever owns the thread   ──► one durable commit
    first(thread, name)               the oldest message of a name that waits                  ◄── one look
    take (in a group commit)          the frame that says it was received, and its removal, are one transaction

A thread has one writer, so whoever sends it something must not write its records. The message lies beside them until
the thread's own run appends that it received it (``SignalReceived``); the frame that says so names the message, and
the store removes it in the same transaction. So it is received by the log exactly when it waits no more.

NUMBERS    Messages of a thread are numbered from 1 in the order in which they were sent, and received in that order
           within each name.

IDS        A message that bears an id is sent once: the same id again is answered "known" and changes nothing, also
           after the message was received. A mailbox knows its newest 10,000 ids; older ones are forgotten.

DELETION   Deleting a thread drops its mailbox and leaves the hash of its id for 30 days at least. Until then a signal
           to it is refused, unless a thread of that id has begun anew. A copy of a thread begins with an empty mailbox.

Invariants:
1. What ``post`` acknowledged waits until it is taken, in whatever process.
2. A message is removed only together with the frame that received it, or with its thread.
3. A frame that is refused takes nothing.

This module must not know what payloads mean, nor who waits for them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Stamp:
    """What stamps messages: the machine's clock, unless a test has put another one in its place."""

    time_ns: Callable[[], int] = staticmethod(time.time_ns)


class Message(NamedTuple):
    """A signal that waits in a mailbox. ``sent_at`` is nanoseconds since 1970, ``payload`` the encoded value."""

    thread: str
    name: str
    id: str | None
    sent_at: int
    payload: bytes
    number: int


class Mail(ABC):
    """All mailboxes of a log."""

    @abstractmethod
    def post(self, thread: str, name: str, payload: bytes, id: str | None = None) -> bool:
        """Leave a message, durably; return False if its id is known, so that nothing was changed.

        Raises:
            ThreadDeleted: The thread was deleted, and has not begun anew.
            LogFull: There is no room; nothing was changed.
        """

    @abstractmethod
    def first(self, thread: str, name: str, after: int = 0) -> Message | None:
        """Return the oldest message of a name that waits and has a greater number than ``after``; None if none does."""

    @abstractmethod
    def waiting(self, thread: str) -> list[Message]:
        """Return all messages that wait for a thread, in the order in which they were sent."""

    @abstractmethod
    def full(self) -> list[tuple[str, int]]:
        """Return the threads for which messages wait, each with the number of the last that was sent to it."""

    @abstractmethod
    def check(self, look: Callable[[Message], str | None]) -> tuple[int, list[str]]:
        """Read everything; return how many messages wait, and what is wrong, in words.

        Args:
            look: Called with each message; returns what is wrong with it, or None.
        """
