"""Mailboxes in an ordered table, whatever keeps it.

    post, first, waiting, full      transactions of their own
    take, drop, bury                within a transaction of the store, which commits frames and deletes threads

Invariants:
1. What a mailbox says of itself changes in the transaction that changes what lies in it.
2. The table is made when it is first needed; without it, every mailbox is empty.

This module must not know what payloads mean.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .checked import name_key
from .errors import LogCorrupt, ThreadDeleted, WalgraphError
from .fault import reach
from .mail import Mail, Message, Stamp
from .mail_layout import (
    AGE,
    BOX_BYTES,
    FULL,
    GONE,
    GONE_AGE,
    HEAD,
    KNOWN,
    MESSAGE,
    Head,
    age_key,
    box_of,
    head_key,
    known_key,
    message_key,
    messages_of,
    number_of,
    pack_head,
    pack_message,
    pack_number,
    unpack_head,
    unpack_message,
)
from .tables import MAIL, NAMES, entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .tables import ReadTransaction, Tables, WriteTransaction

KNOWN_IDS = 10_000
"""How many ids a mailbox remembers, so that what is sent again is known."""
GONE_NANOSECONDS = 30 * 24 * 3600 * 1_000_000_000
"""How long it is remembered at least that a thread was deleted."""


class TableMail(Mail):
    """All mailboxes of a log; in a table that is made when it is first needed."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def prepare(self) -> None:
        """Make the table, before a transaction that is to write to it."""
        self._tables.prepare(MAIL, create=True)

    @property
    def is_there(self) -> bool:
        """Whether anything was ever written to it."""
        return self._tables.prepare(MAIL, create=False)

    def post(self, thread: str, name: str, payload: bytes, id: str | None = None) -> bool:
        """Leave a message, durably; return False if its id is known, so that nothing was changed.

        Raises:
            ThreadDeleted: The thread was deleted, and has not begun anew.
            LogFull: There is no room; nothing was changed.
        """
        self.prepare()
        box = box_of(thread)
        reach("mail: before a signal")
        with self._tables.write() as txn:
            if txn.get(MAIL, GONE + box) is not None and txn.get(NAMES, name_key(thread)) is None:
                message = f"Thread {thread!r} was deleted, so the signal {name!r} would reach nobody."
                raise ThreadDeleted(message, hint="Start a new thread, or send it elsewhere.", thread=thread)
            head = unpack_head(txn.get(MAIL, head_key(box)), box, thread)
            if id is not None and txn.get(MAIL, known_key(box, id)) is not None:
                txn.abandon()
                return False
            number = head.last + 1
            message_row = Message(thread, name, id, Stamp.time_ns(), payload, number)
            txn.put(MAIL, *pack_message(message_row, box))
            known = head.known if id is None else _remember(txn, box, id, number, head.known)
            if not head.waiting:
                txn.put(MAIL, FULL + box, b"")
            txn.put(MAIL, head_key(box), pack_head(Head(thread, number, head.waiting + 1, known), box))
        reach("mail: signal left")
        return True

    def first(self, thread: str, name: str, after: int = 0) -> Message | None:
        """Return the oldest message of a name that waits and has a greater number than ``after``; None if none does."""
        if not self.is_there:
            return None
        box = box_of(thread)
        prefix = messages_of(box, name)
        with self._tables.read() as txn:
            start = prefix + pack_number(after + 1)
            while found := txn.scan(MAIL, start, 1):
                key, row = found[0]
                if not key.startswith(prefix):
                    return None
                message = unpack_message(key, row)
                if (message.thread, message.name) == (thread, name):
                    return message
                # Another name whose hash is the same.
                start = key + b"\x00"
        return None

    def waiting(self, thread: str) -> list[Message]:
        """Return all messages that wait for a thread, in the order in which they were sent."""
        if not self.is_there:
            return []
        with self._tables.read() as txn:
            found = [unpack_message(key, row) for key, row in entries(txn, MAIL, messages_of(box_of(thread)))]
        return sorted((message for message in found if message.thread == thread), key=lambda m: m.number)

    def full(self) -> list[tuple[str, int]]:
        """Return the threads for which messages wait, each with the number of the last that was sent to it."""
        if not self.is_there:
            return []
        found = []
        with self._tables.read() as txn:
            for key, _ in entries(txn, MAIL, FULL):
                box = key[1:]
                head = unpack_head(txn.get(MAIL, head_key(box)), box, "")
                found.append((head.thread, head.last))
        return sorted(found)

    # Inside a transaction of the store

    def take(self, txn: WriteTransaction, thread: str, received: Iterable[tuple[str, int]]) -> None:
        """Remove messages, given by name and number, that a frame of this transaction says were received."""
        box = box_of(thread)
        gone = sum([txn.delete(MAIL, message_key(box, name, number)) for name, number in received])
        if not gone:
            return
        head = unpack_head(txn.get(MAIL, head_key(box)), box, thread)
        head = head._replace(waiting=head.waiting - gone)
        txn.put(MAIL, head_key(box), pack_head(head, box))
        if not head.waiting:
            txn.delete(MAIL, FULL + box)

    def drop(self, txn: WriteTransaction, thread: str) -> bool:
        """Remove a thread's mailbox; tell whether there was one."""
        box = box_of(thread)
        keys = [key for kind in (MESSAGE, KNOWN, AGE) for key, _ in entries(txn, MAIL, kind + box)]
        for key in keys:
            txn.delete(MAIL, key)
        txn.delete(MAIL, FULL + box)
        return txn.delete(MAIL, head_key(box))

    def bury(self, txn: WriteTransaction, thread: str) -> None:
        """Note that a thread was deleted, and forget one or two that were deleted long ago."""
        now, box = time.time_ns(), box_of(thread)
        for key, _ in txn.scan(MAIL, GONE_AGE, 2):
            if key[:1] == GONE_AGE and int.from_bytes(key[1:9]) <= now - GONE_NANOSECONDS:
                txn.delete(MAIL, key)
                if txn.get(MAIL, GONE + key[9:]) == key[1:9]:
                    txn.delete(MAIL, GONE + key[9:])
        before = txn.get(MAIL, GONE + box)
        if before is not None:
            txn.delete(MAIL, GONE_AGE + before + box)
        txn.put(MAIL, GONE + box, pack_number(now))
        txn.put(MAIL, GONE_AGE + pack_number(now) + box, b"")

    # Verifying

    def check(self, look: Callable[[Message], str | None]) -> tuple[int, list[str]]:
        """Read everything; return how many messages wait, and what is wrong, in words.

        Args:
            look: Called with each message; returns what is wrong with it, or None.
        """
        if not self.is_there:
            return 0, []
        wrong: list[str] = []
        with self._tables.read() as txn:
            waiting = _check_messages(txn, look, wrong)
            _check_heads(txn, waiting, wrong)
        return sum(waiting.values()), wrong


def _remember(txn: WriteTransaction, box: bytes, id: str, number: int, known: int) -> int:
    """Note that an id was sent; return how many are known, of which the oldest is forgotten when they are too many."""
    key = known_key(box, id)
    txn.put(MAIL, key, pack_number(number))
    txn.put(MAIL, age_key(box, number), key[-16:])
    if known < KNOWN_IDS:
        return known + 1
    ((oldest, hashed),) = txn.scan(MAIL, AGE + box, 1)
    txn.delete(MAIL, oldest)
    txn.delete(MAIL, KNOWN + box + hashed)
    return known


def _check_messages(
    txn: ReadTransaction, look: Callable[[Message], str | None], wrong: list[str]
) -> dict[bytes, int]:
    """Read each message, and return how many there are in each mailbox."""
    waiting: dict[bytes, int] = {}
    for key, row in entries(txn, MAIL, MESSAGE):
        box = key[1 : 1 + BOX_BYTES]
        waiting[box] = waiting.get(box, 0) + 1
        try:
            message = unpack_message(key, row)
        except LogCorrupt as error:
            wrong.append(error.message)
            continue
        if box_of(message.thread) != box or message_key(box, message.name, message.number) != key:
            wrong.append(f"message {message.number} to thread {message.thread!r} lies in another's place")
        try:
            problem = look(message)
        except WalgraphError as error:
            problem = error.message
        if problem:
            wrong.append(f"message {message.number} to thread {message.thread!r}: {problem}")
    return waiting


def _check_heads(txn: ReadTransaction, waiting: dict[bytes, int], wrong: list[str]) -> None:
    """Compare what mailboxes say of themselves with what lies in them."""
    heads: set[bytes] = set()
    for key, row in entries(txn, MAIL, HEAD):
        box = key[1:]
        heads.add(box)
        try:
            head = unpack_head(row, box, "")
        except LogCorrupt as error:
            wrong.append(error.message)
            continue
        if box_of(head.thread) != box:
            wrong.append(f"the mailbox of thread {head.thread!r} lies in another's place")
        held = waiting.get(box, 0)
        if head.waiting != held:
            wrong.append(f"{held} messages wait for thread {head.thread!r}, its mailbox says {head.waiting}")
        known, ages = (sum(1 for _ in entries(txn, MAIL, kind + box)) for kind in (KNOWN, AGE))
        if not head.known == known == ages:
            wrong.append(
                f"{known} ids are known of thread {head.thread!r}, its mailbox says {head.known}, {ages} by age"
            )
        if (txn.get(MAIL, FULL + box) is not None) != (held > 0):
            wrong.append(f"the list of full mailboxes is wrong about thread {head.thread!r}")
        last = max([number_of(key) for key, _ in entries(txn, MAIL, messages_of(box))], default=0)
        if last > head.last:
            wrong.append(
                f"message {last} waits for thread {head.thread!r}, whose last is said to be {head.last}"
            )
    wrong += [f"messages wait in a mailbox that nobody knows: {box.hex()}" for box in waiting.keys() - heads]
