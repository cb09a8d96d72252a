"""From a log to a state: the newest snapshot, and the records after it.

    log.since ─┬─► snapshot ─► ThreadState at seq s ─► fold ─► ThreadState at the head
               └─► the records after s ─────────────────┘

There is nothing else to recovery. The fold is the one that ran live.

Invariants:
1. With or without the snapshot, the state is the same (guarantee G6); ``without_snapshot`` shows it.
2. Nothing is written.
3. No record is passed over: snapshot and records are of one moment, and what is cut off while they are read is in a
   newer snapshot, which is read then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.errors import RecordsCompacted
from ..wal.named import NamedTuple
from ..wal.record import StateFolded
from ..wal.steady import steady
from .errors import CheckpointNotFound
from .fold import attach_all, fold
from .plain import thread_from_plain
from .state import ThreadState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wal.codec import Decoder, Registry
    from ..wal.log import Log
    from ..wal.log_reading import Stored
    from .fold import Blueprints


class Recovered(NamedTuple):
    """A thread's state, and what its snapshot weighs."""

    state: ThreadState
    snapshot_bytes: int


def recover(
    log: Log, thread: str, blueprints: Blueprints, registry: Registry, *, upto: int | None = None
) -> Recovered:
    """Return a thread's state.

    Args:
        log: The log.
        thread: The thread's id.
        blueprints: Gives the blueprint of a scope, or None.
        registry: The classes that values may be rebuilt as.
        upto: The last seq to fold; None for all.

    Raises:
        ThreadNotFound: The log has no such thread.
        CheckpointNotFound: What lies before ``upto`` was compacted away.
        UnknownType: A value's class is not known here.
        LogCorrupt: Bytes are not what was written.
    """
    decoder = log.decoder(registry)

    def read() -> Recovered:
        try:
            found, records = log.since(thread, upto, upto, decoder=decoder)
        except RecordsCompacted as error:
            raise _gone(thread, error.details["horizon"], upto) from error
        state = ThreadState() if found is None else state_of(found, blueprints, decoder)
        return Recovered(_folded(blueprints, state, records, upto), 0 if found is None else len(found[1]))

    return steady(log, thread, read)


def without_snapshot(
    log: Log, thread: str, blueprints: Blueprints, registry: Registry, upto: int
) -> ThreadState:
    """Return the state at ``upto`` from records alone, as far as the log still holds them all.

    Raises:
        CheckpointNotFound: Records before were compacted away.
    """
    decoder = log.decoder(registry)

    def read() -> ThreadState:
        head = log.head(thread)
        horizon = 0 if head is None else head.horizon
        if upto < horizon:
            raise _gone(thread, horizon, upto)
        found, records = log.since(thread, horizon, upto, decoder=decoder)
        state = ThreadState() if found is None else state_of(found, blueprints, decoder)
        return _folded(blueprints, state, records, upto)

    return steady(log, thread, read)


def state_of(snapshot: tuple[int, bytes], blueprints: Blueprints, decoder: Decoder) -> ThreadState:
    """Return the state that a snapshot holds."""
    seq, data = snapshot
    return attach_all(blueprints, thread_from_plain(decoder.value(data), decoder)._replace(seq=seq))


def _folded(
    blueprints: Blueprints, state: ThreadState, records: Iterator[Stored], upto: int | None
) -> ThreadState:
    """Fold the records after ``state``, up to and including ``upto``."""
    for seq, record in records:
        # An exit-mode run is one StateFolded, which may stand for records beyond ``upto``.
        if upto is not None and isinstance(record, StateFolded) and seq > upto:
            break
        state = fold(blueprints, state, seq, record)
    return state


def _gone(thread: str, begins: int, upto: int | None) -> CheckpointNotFound:
    message = f"thread {thread!r} begins at seq {begins} since it was compacted; seq {upto} is gone"
    return CheckpointNotFound(message, hint="Choose a later checkpoint: wal inspect LOG THREAD lists them.")
