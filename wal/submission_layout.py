"""How runs that were handed over lie in their table: keys, rows and checksums.

    00                                        →  last number of a submission, last ticket
    01 number                                 →  a submission
    02 run                                    →  number
    03 thread  number                         →  empty; the submissions of a thread that have not ended, in order
    04 queue+graph  priority  ticket          →  number; who may start next: of each thread only its first
    05 queue  number                          →  empty; those that hold a place in their queue
    06 queue                                  →  what a queue allows
    07 queue  time  number                    →  empty; when runs of a queue with a rate were started
    08 thread                                 →  how often a thread was taken over without getting on
    09 thread                                 →  a wish to cancel what the thread does
    0a time  number                           →  empty; what has ended, by when

Runs and queues stand in keys as names of threads do (``wal.keyspace``); threads, queues and pairs of queue and graph
that are followed by more stand as XXH3-128. A priority is written so that smaller ones come first.

Invariants:
1. Every row is covered by a checksum that also covers its key; the names in it are compared on every hit.
2. Fields are only ever added at the end.

This module must not know when rows change.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import xxhash

from .checked import name_key, pack_checked, unpack_checked

COUNTERS = b"\x00"
ROW, BY_RUN, BY_THREAD, WAITING, HOLDING = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"
QUEUE, STARTS, TRIES, WISH, ENDED = b"\x06", b"\x07", b"\x08", b"\x09", b"\x0a"

RELEASE = "released"
"""The reason of a run that was parked and waits again: that it ended so does not count."""
_number = struct.Struct(">Q")
_pair = struct.Struct(">QQ")
_MIDDLE = 1 << 63
GROUP_BYTES = 17
"""A kind and a hash: what the keys of one queue, one thread or one pair of queue and graph begin with."""


class Submission(NamedTuple):
    """A run that was handed over. Times are nanoseconds, 0 for what has not happened.

    ``state`` is ``waiting``, ``started``, ``suspended`` (it sleeps or waits for a signal), ``parked`` (nobody takes it
    over any more) or ``ended``; then ``how`` says how. ``since`` is the thread's last seq when it was first started.
    ``notes`` are pairs that its metadata gets: which schedule handed it over, and for what time.
    """

    number: int
    run: str
    thread: str
    graph: str
    queue: str
    priority: int
    given: bytes
    digest: bytes
    submitted_at: int
    state: str = "waiting"
    ticket: int = 0
    since: int = -1
    started_at: int = 0
    ended_at: int = 0
    how: str = ""
    reason: str = ""
    result: bytes = b""
    notes: tuple[tuple[str, str], ...] = ()


class Queue(NamedTuple):
    """What a queue allows, over all worker processes of the log.

    Args:
        name: The queue's name.
        concurrency: How many of its runs may be under way at once; None for as many as there are workers.
        rate: How many runs may start in how many seconds, as a pair; None for no limit.
    """

    name: str
    concurrency: int | None = None
    rate: tuple[int, float] | None = None


class Tries(NamedTuple):
    """How often a thread was taken over since it last got on, and its last seq at the first of these times."""

    thread: str
    times: int
    seq: int


class Wish(NamedTuple):
    """A wish to cancel what a thread does, or one run of it if ``run`` is not empty."""

    thread: str
    run: str
    reason: str
    at: int


def row_key(number: int) -> bytes:
    """Return the key of a submission."""
    return ROW + _number.pack(number)


def run_key(run: str) -> bytes:
    """Return the key under which a run's number is found."""
    return BY_RUN + name_key(run)


def group_key(kind: bytes, *names: str) -> bytes:
    """Return what keys of some kind begin with that are about a thread, a queue, or a queue and a graph."""
    return kind + xxhash.xxh3_128_digest(b"\x00".join([name.encode() for name in names]))


def numbered(prefix: bytes, number: int) -> bytes:
    """Return a prefix followed by a number."""
    return prefix + _number.pack(number)


def timed(prefix: bytes, moment: int, number: int) -> bytes:
    """Return a prefix followed by a time and a number."""
    return prefix + _pair.pack(max(0, moment), number)


def waiting_key(submission: Submission) -> bytes:
    """Return the key under which a submission waits for its turn."""
    group = group_key(WAITING, submission.queue, submission.graph)
    return group + _pair.pack(submission.priority + _MIDDLE, submission.ticket)


def queue_key(name: str) -> bytes:
    """Return the key of what a queue allows."""
    return QUEUE + name_key(name)


def last_number(key: bytes) -> int:
    """Return the number that a key ends with, or that a value is."""
    number: int = _number.unpack(key[-8:])[0]
    return number


def moment_of(key: bytes) -> int:
    """Return the time in a key that ends with a time and a number."""
    moment: int = _number.unpack(key[-16:-8])[0]
    return moment


def pack_number(number: int) -> bytes:
    """Return a number as a value."""
    return _number.pack(number)


def pack_fields(key: bytes, fields: tuple[object, ...]) -> bytes:
    """Encode a row."""
    return pack_checked(fields, xxhash.xxh3_64_intdigest(key))


def unpack_fields(key: bytes, data: bytes, what: str) -> list[object]:
    """Decode a row.

    Raises:
        LogCorrupt: It is damaged.
    """
    return unpack_checked(data, xxhash.xxh3_64_intdigest(key), what)
