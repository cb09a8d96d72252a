"""Telling a log how something ended of which nobody knew: a person's word, given from outside of any run.

    resolve_effect(log, thread, key, value)        the call returned it           TaskFinished
                                    RUN_AGAIN      it did not take effect         AttemptFailed

Afterwards the run is resumed as usual, and finds the call settled.

Invariants:
1. Only what is in doubt can be settled, and only while no run owns the thread.
2. Nothing is folded, so the graph that wrote the thread need not be known.

It must not resume anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.intents import effects
from ..wal.codec import GLOBAL
from ..wal.frame import Summary
from ..wal.record import AttemptFailed, Failure, TaskAnswered, TaskFinished
from .calling import RETURN
from .clock import now as time_now
from .control import RUN_AGAIN
from .errors import AnswerError

if TYPE_CHECKING:
    from ..replay.intents import Effect
    from ..wal.log import Log
    from ..wal.log_reading import ThreadId
    from ..wal.record import Record

SETTLED = Failure("walgraph.resolve_effect", "it did not take effect, as somebody found out", "", ())
"""What is recorded of an attempt that is to be followed by another."""


def resolve_effect(log: Log, thread_id: ThreadId, key: str, outcome: Any) -> None:
    """Record how an at-most-once call ended that is in doubt; resuming the run then goes on from there.

    Args:
        log: The log.
        thread_id: The thread.
        key: The call's idempotency key, as ``OutcomeUnknown`` and ``wal effects`` show it.
        outcome: What the call is to return; or ``RUN_AGAIN`` if it did not take effect, so that it begins again.

    Raises:
        AnswerError: No call of that key is in doubt.
        ThreadNotFound: The log has no such thread.
        ThreadBusy: A run owns the thread.
        NotSerializable: The value cannot be written.
    """
    with log.writer(thread_id) as writer:
        effect = in_doubt(log, writer.thread_id, key)
        head = writer.head
        assert head is not None, "something is recorded of it"
        records: list[Record] = []
        scope, path = effect.scope, effect.path
        if outcome is RUN_AGAIN:
            now = time_now()
            records.append(AttemptFailed(scope, path, SETTLED, effect.attempt, effect.at, now, now))
            if effect.question is not None:
                records.append(TaskAnswered(scope, path, ((effect.question, RUN_AGAIN),)))
        else:
            records.append(TaskFinished(scope, path, ((RETURN, outcome),), (), effect.call))
        due_at = None if head.due_at is None else int(head.due_at.timestamp() * 1e9)
        # Who is crashed is not said by the log: it is running, and has no owner.
        status = "running" if head.status == "crashed" else head.status
        writer.append(records, Summary(status, head.graph, head.step, head.next, due_at))
        writer.flush()


def in_doubt(log: Log, thread: str, key: str) -> Effect:
    """Return the call of a key that is in doubt.

    Raises:
        AnswerError: There is none.
        ThreadNotFound: The log has no such thread.
    """
    known = effects(log, thread, log.decoder(GLOBAL, lenient=True))
    pending = [effect for effect in known if effect.standing in {"in doubt", "running", "asked"}]
    found = next((effect for effect in pending if effect.key == key), None)
    if found is None:
        stands = next((effect.standing for effect in known if effect.key == key), None)
        why = "there is no such call" if stands is None else f"it is {stands}"
        message = f"nothing with the key {key} is in doubt in thread {thread!r}: {why}"
        raise AnswerError(
            message,
            hint=f"wal effects LOG {thread} lists the thread's calls and their keys.",
            interrupt_ids=(key,),
            pending_ids=tuple(effect.key for effect in pending),
        )
    return found
