"""What the directory of threads says about one thread, for people and programs.

Invariants:
1. Times are aware datetimes in UTC; the store keeps nanoseconds.
2. ``running`` is said only of a thread whose owner lives; without one it is ``crashed``.

This module must not know how rows are stored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from .named import NamedTuple
from .store import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ThreadHead(NamedTuple):
    """One thread as it stands.

    ``seq`` is its last record; ``bytes``, ``frames`` and ``records`` are what the log holds of it, ``horizon`` is the
    oldest seq whose state can still be rebuilt (0 if nothing was compacted), ``frame`` the id of its newest frame.
    """

    thread_id: str
    status: str
    graph: str
    step: int
    next: tuple[str, ...]
    seq: int
    bytes: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    epoch: int
    snapshot_seq: int
    frames: int
    records: int
    horizon: int
    since_snapshot: int
    frame: str


def moment(nanoseconds: int) -> datetime:
    """Return a point in time, to the microsecond."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def nanoseconds(when: datetime) -> int:
    """Return a point in time, given with its zone, as nanoseconds since 1970.

    Raises:
        ValueError: It has no zone, so nobody can say which point in time it is.
    """
    if when.tzinfo is None or when.utcoffset() is None:
        message = (
            f"{when!r} has no time zone; give it one, for example datetime.now(UTC) or "
            "when.replace(tzinfo=ZoneInfo('Europe/Berlin'))."
        )
        raise ValueError(message)
    return (when - _EPOCH) // timedelta(microseconds=1) * 1000


def to_head(row: Row, status: str) -> ThreadHead:
    """Return a row of the directory as a head."""
    return ThreadHead(
        row.thread,
        status,
        row.graph,
        row.step,
        tuple(row.next),
        row.seq,
        row.size,
        moment(row.created_at),
        moment(row.updated_at),
        None if row.due_at is None else moment(row.due_at),
        row.epoch,
        row.snapshot_seq,
        row.frames,
        row.records,
        row.base,
        row.since_bytes,
        row.frame.hex(),
    )
