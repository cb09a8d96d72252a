"""How schedules lie in their table: keys, rows and checksums.

    01 name          →  a schedule
    02 time  name    →  empty; when it is to be looked at next

Names stand in keys as those of threads do (``wal.keyspace``), times are u64 nanoseconds. A paused schedule, and one
that comes to no further time, has no entry of kind 02; one that has firings in its buffer has one at time 0, since
these wait for a run and not for a time.

Invariants:
1. Every row is covered by a checksum that also covers its key; the name in it is compared on every hit.
2. A schedule has the entry of kind 02 that its row says, and no other.
3. Fields are only ever added at the end.

This module must not know when rows change, nor what a cron expression means.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import xxhash

from .checked import name_key, pack_checked, shaped, unpack_checked
from .errors import LogCorrupt

ROW, LOOK = b"\x01", b"\x02"
_time = struct.Struct(">Q")
LOOK_BYTES = len(LOOK) + _time.size
WAITING = 0
"""The time under which a schedule is to be looked at whose buffer waits for the run before."""


class Schedule(NamedTuple):
    """A schedule as it is kept. Times and durations are nanoseconds, 0 for none.

    ``last`` is the time up to which all its times have been dealt with, ``next`` the first one after it, ``seen`` what
    the clock showed when that was last changed. ``run`` is the run that it handed over last, ``fired`` that run's
    nominal time. ``thread`` is empty if each firing has a thread of its own.
    """

    name: str
    cron: str
    zone: str
    graph: str
    thread: str
    queue: str
    priority: int
    given: bytes
    digest: bytes
    missed: str
    overlap: str
    grace: int
    catch_up: int
    starts_at: int
    ends_at: int
    made_at: int
    changed_at: int
    next: int = 0
    last: int = 0
    seen: int = 0
    paused_at: int = 0
    reason: str = ""
    buffered: tuple[int, ...] = ()
    run: str = ""
    fired: int = 0
    fires: int = 0
    skips: int = 0


def look_at(schedule: Schedule) -> int | None:
    """Return when a schedule is to be looked at next; None for never."""
    if schedule.paused_at:
        return None
    if schedule.buffered:
        return WAITING
    return schedule.next or None


def row_key(name: str) -> bytes:
    """Return the key of a schedule."""
    return ROW + name_key(name)


def look_key(schedule: Schedule) -> bytes | None:
    """Return the key that says when a schedule is to be looked at, if it is."""
    at = look_at(schedule)
    return None if at is None else LOOK + _time.pack(at) + name_key(schedule.name)


def moment_of(key: bytes) -> int:
    """Return the time in a key of kind 02."""
    moment: int = _time.unpack_from(key, len(LOOK))[0]
    return moment


def row_key_of(key: bytes) -> bytes:
    """Return the key of the schedule that a key of kind 02 names."""
    return ROW + key[LOOK_BYTES:]


def after(moment: int) -> bytes:
    """Return what is greater than all keys of kind 02 up to a time, and at most the others."""
    return LOOK + _time.pack(moment + 1)


def pack_schedule(key: bytes, schedule: Schedule) -> bytes:
    """Encode a schedule."""
    return pack_checked(schedule, xxhash.xxh3_64_intdigest(key))


def unpack_schedule(key: bytes, data: bytes) -> Schedule:
    """Decode a schedule.

    Raises:
        LogCorrupt: It is damaged, or stands under another name than its own.
    """
    what = "entry of a schedule"
    schedule = shaped(Schedule, unpack_checked(data, xxhash.xxh3_64_intdigest(key), what), what)
    if row_key(schedule.name) != key:
        message = f"The entry of schedule {schedule.name!r} stands under another name."
        raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.")
    return schedule
