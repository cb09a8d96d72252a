"""Reading a thread again when a compaction took away what was being read.

    steady(log, thread, read) ──► read() ──► what it returns
                                  │ LogCorrupt, RecordsCompacted
                                  └─► was the thread cut, or snapshot anew, since? ── yes ──► read() again

``LogReading.since`` gives a snapshot and the records after it as they were at one moment. But large values, and the
frames of large threads, are fetched when they are asked for; by then a compaction in any process may have removed them,
since a newer snapshot stands for all of it. That looks like damage, and is none.

Invariants:
1. Damage is told: what fails while nothing was cut fails for the caller.
2. It ends, also beside somebody who makes snapshots all the time: after ``TRIES``.

This module must not know what is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .errors import LogCorrupt, RecordsCompacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from .log_reading import LogReading

T = TypeVar("T")

TRIES = 10
"""How often a thread is read at most."""


def steady(log: LogReading, thread: str, read: Callable[[], T]) -> T:
    """Return what ``read`` returns, calling it again where a compaction overtook it.

    Args:
        log: The log.
        thread: The thread's id.
        read: Reads the thread, from the beginning each time, and changes nothing.

    Raises:
        LogCorrupt: The thread is damaged.
        RecordsCompacted: What is to be read was cut off.
    """
    stood: object = None
    for _ in range(TRIES - 1):
        try:
            return read()
        except (LogCorrupt, RecordsCompacted):
            # Asked only now, so that reading costs no more where nothing fails.
            stands = _standing(log, thread)
            if stands == stood:
                raise
            stood = stands
    return read()


def _standing(log: LogReading, thread: str) -> object:
    """Return what changes whenever something of a thread may have gone."""
    row = log.store.row(thread)
    return () if row is None else (row.number, row.base, row.horizon, *log.store.snapshots(thread))
