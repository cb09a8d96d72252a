"""How mailboxes lie in their table: keys, rows and checksums.

    1 + box                   → checksum + [thread, last number, how many wait, how many ids are known]
    2 + box + name + number   → checksum + [thread, name, id or None, sent at, payload]        a message that waits
    3 + box + id              → number                                                         an id that was sent
    4 + box + number          → id                                                             the same, by age
    5 + box                   → empty                                                          a box where some wait
    6 + box                   → when the thread was deleted
    7 + when + box            → empty                                                          the same, by age

``box`` is the 128-bit hash of the thread's id, ``name`` the 64-bit hash of the signal's name, ``id`` the 128-bit hash
of the message's id; numbers and times are big-endian. Rows carry the names, which are compared.

Invariants:
1. Rows 1 and 2 carry checksums that cover their keys; the others say nothing that these do not tell, or are keys.
2. Nothing of a deleted thread is left but the hash of its id.

This module must not know when rows change.
"""

from __future__ import annotations

import struct

import xxhash

from .checked import pack_checked, shaped, unpack_checked
from .errors import LogCorrupt
from .mail import Message
from .named import NamedTuple

HEAD, MESSAGE, KNOWN, AGE, FULL, GONE, GONE_AGE = (bytes([kind]) for kind in range(1, 8))
BOX_BYTES = 16
_NAME_BYTES = 8
_number = struct.Struct(">Q")
pack_number = _number.pack


class Head(NamedTuple):
    """What is known of a mailbox: whose it is, the number of its last message, how many wait, how many ids it knows."""

    thread: str
    last: int = 0
    waiting: int = 0
    known: int = 0


def box_of(thread: str) -> bytes:
    """Return what stands for a thread in the keys."""
    return xxhash.xxh3_128_digest(thread.encode())


def head_key(box: bytes) -> bytes:
    """Return the key of what is known of a mailbox."""
    return HEAD + box


def messages_of(box: bytes, name: str | None = None) -> bytes:
    """Return what the keys of all messages of a mailbox, or of those of one name, begin with."""
    return MESSAGE + box + (b"" if name is None else xxhash.xxh3_64_digest(name.encode()))


def message_key(box: bytes, name: str, number: int) -> bytes:
    """Return the key of a message."""
    return messages_of(box, name) + pack_number(number)


def known_key(box: bytes, id: str) -> bytes:
    """Return the key under which an id is known to have been sent."""
    return KNOWN + box + xxhash.xxh3_128_digest(id.encode())


def age_key(box: bytes, number: int) -> bytes:
    """Return the key under which an id is found by its age."""
    return AGE + box + pack_number(number)


def number_of(data: bytes) -> int:
    """Return the number that a key ends with, or that a row is."""
    number: int = _number.unpack(data[-8:])[0]
    return number


def pack_head(head: Head, box: bytes) -> bytes:
    """Encode what is known of a mailbox."""
    return pack_checked(head, _seed(head_key(box)))


def unpack_head(data: bytes | None, box: bytes, thread: str) -> Head:
    """Decode what is known of a mailbox; one that nothing was sent to is empty.

    Raises:
        LogCorrupt: It is damaged, or another thread's.
    """
    if data is None:
        return Head(thread)
    what = f"mailbox of thread {thread!r}"
    head = shaped(Head, unpack_checked(data, _seed(head_key(box)), what), what)
    if thread and head.thread != thread:
        message = f"The mailbox of thread {thread!r} names thread {head.thread!r}."
        raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", thread=thread)
    return head


def pack_message(message: Message, box: bytes) -> tuple[bytes, bytes]:
    """Return key and row of a message."""
    key = message_key(box, message.name, message.number)
    return key, pack_checked(message[:-1], _seed(key))


def unpack_message(key: bytes, data: bytes) -> Message:
    """Decode a message.

    Raises:
        LogCorrupt: It is damaged.
    """
    number = number_of(key)
    what = f"message {number} of a mailbox"
    return shaped(Message, [*unpack_checked(data, _seed(key), what), number], what)


def _seed(key: bytes) -> int:
    return xxhash.xxh3_64_intdigest(key)
