"""From a log to a state: the newest snapshot, and the records after it.

    log.snapshot ─► ThreadState at seq s ─► fold ◄─ log.read(after=s)
                                             └─► ThreadState at the head

There is nothing else to recovery. The fold is the one that ran live.

Invariants:
1. With or without the snapshot, the state is the same (guarantee G6); ``without_snapshot`` shows it.
2. Nothing is written.
3. No record is passed over: what was cut off between the two reads is in a newer snapshot, which is read then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.errors import LogCorrupt
from ..wal.keyspace import RESTORE
from ..wal.named import NamedTuple
from ..wal.record import StateFolded
from .errors import CheckpointNotFound
from .fold import attach_all, fold
from .plain import thread_from_plain
from .state import ThreadState

if TYPE_CHECKING:
    from ..wal.codec import Decoder, Registry
    from ..wal.log import Log
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
        UnknownType: A value's class is not known here.
        LogCorrupt: Bytes are not what was written.
    """
    decoder = log.decoder(registry)
    tried = -1
    while True:
        found = log.snapshot(thread, upto)
        state, weight = ThreadState(), 0
        if found is not None:
            seq, data = found
            state, weight = (
                attach_all(blueprints, thread_from_plain(decoder.value(data), decoder)._replace(seq=seq)),
                len(data),
            )
        try:
            return Recovered(fold_from(log, thread, blueprints, decoder, state, upto), weight)
        except LogCorrupt:
            # Since the snapshot was read, a compaction may have cut behind it, and left a newer one.
            head = log.head(thread)
            if head is None or head.horizon <= state.seq or state.seq <= tried:
                raise
            tried = state.seq


def without_snapshot(
    log: Log, thread: str, blueprints: Blueprints, registry: Registry, upto: int
) -> ThreadState:
    """Return the state at ``upto`` from records alone, as far as the log still holds them all.

    Raises:
        CheckpointNotFound: Records before were compacted away.
    """
    head = log.head(thread)
    if head is not None and head.horizon:
        found = log.snapshot(thread, head.horizon)
        if found is None or found[0] > upto:
            message = (
                f"thread {thread!r} begins at seq {head.horizon} since it was compacted; seq {upto} is gone"
            )
            raise CheckpointNotFound(
                message, hint="Choose a later checkpoint: wal inspect LOG THREAD lists them."
            )
        decoder = log.decoder(registry)
        state = thread_from_plain(decoder.value(found[1]), decoder)._replace(seq=found[0])
        state = attach_all(blueprints, state)
        return fold_from(log, thread, blueprints, decoder, state, upto)
    return fold_from(log, thread, blueprints, log.decoder(registry), ThreadState(), upto)


def fold_from(
    log: Log, thread: str, blueprints: Blueprints, decoder: Decoder, state: ThreadState, upto: int | None
) -> ThreadState:
    """Fold a thread's records after ``state``, up to and including ``upto``.

    Raises:
        LogCorrupt: The records do not follow the state; if they were cut off meanwhile, a newer snapshot is there.
    """
    last = state.seq
    for seq, record in log.read(thread, state.seq, upto, decoder=decoder):
        # An exit-mode run is one StateFolded, which may stand for records beyond ``upto``.
        if upto is not None and isinstance(record, StateFolded) and seq > upto:
            break
        # A folded state stands for all records up to its own; any other must be the next.
        if seq != last + 1 and not isinstance(record, StateFolded):
            message = f"Thread {thread!r} was read up to seq {last}, and what comes next is seq {seq}."
            raise LogCorrupt(message, hint=RESTORE, thread=thread)
        last = seq
        state = fold(blueprints, state, seq, record)
    return state
