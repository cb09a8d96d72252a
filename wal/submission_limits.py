"""What queues allow, and whether they have room: concurrency and rate, over all processes of a log.

    Queue("mail", concurrency=4, rate=(10, 60.0))      four at once; ten starts in any sixty seconds

Invariants:
1. A place is held from a run's start until it ends, suspends, or waits again; a killed holder's until it is taken over.
2. A run counts against the rate once, when it starts first. Starts are remembered for as long as they count.
3. A clock that was set back costs one period at most.

It must not begin transactions, nor start anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .errors import QueueProblem
from .submission_layout import (
    HOLDING,
    STARTS,
    Queue,
    Submission,
    group_key,
    last_number,
    moment_of,
    pack_fields,
    queue_key,
    timed,
    unpack_fields,
)
from .submission_rows import keys_of
from .tables import SUBMITTED

if TYPE_CHECKING:
    from .tables import ReadTransaction, WriteTransaction

SECOND = 1_000_000_000
LONGEST = 366 * 24 * 3600


def queue_of(txn: ReadTransaction, name: str) -> Queue:
    """Return what a queue allows; everything, if nobody said anything of it."""
    key = queue_key(name)
    data = txn.get(SUBMITTED, key)
    return Queue(name) if data is None else unpacked_queue(key, data)


def unpacked_queue(key: bytes, data: bytes) -> Queue:
    """Decode what a queue allows.

    Raises:
        LogCorrupt: It is damaged.
    """
    fields: list[Any] = unpack_fields(key, data, "entry of a queue")
    name, concurrency, rate = fields
    return Queue(name, concurrency, None if rate is None else tuple(rate))


def put_queue(txn: WriteTransaction, queue: Queue) -> None:
    """Keep what a queue allows."""
    key = queue_key(queue.name)
    txn.put(SUBMITTED, key, pack_fields(key, queue))


def has_room(txn: ReadTransaction, name: str, now: int, *, goes_on: bool = False) -> bool:
    """Tell whether a queue lets one more run start, or one that was started before go on."""
    queue = queue_of(txn, name)
    if queue.concurrency is not None:
        prefix = group_key(HOLDING, name)
        held = txn.keys(SUBMITTED, prefix, queue.concurrency)
        if len(held) == queue.concurrency and held[-1].startswith(prefix):
            return False
    if queue.rate is None or goes_on:
        return True
    count, seconds = queue.rate
    prefix = group_key(STARTS, name)
    earliest = timed(prefix, now - int(seconds * SECOND) + 1, 0)
    lately = [key for key in txn.keys(SUBMITTED, earliest, count) if key.startswith(prefix)]
    # A start in the future means that the clock was set back; whoever starts next puts that right.
    return len(lately) < count or moment_of(lately[-1]) > now


def note_start(txn: WriteTransaction, submission: Submission, now: int) -> None:
    """Count a run's first start against the rate of its queue."""
    if queue_of(txn, submission.queue).rate is not None:
        txn.put(SUBMITTED, timed(group_key(STARTS, submission.queue), now, submission.number), b"\x00")


def tidy_starts(txn: WriteTransaction, name: str, now: int) -> None:
    """Forget starts that no longer count; those in the future were now, before the clock was set back."""
    rate = queue_of(txn, name).rate
    prefix = group_key(STARTS, name)
    for key in keys_of(txn, prefix):
        moment = moment_of(key)
        if rate is None or moment <= now - int(rate[1] * SECOND):
            txn.delete(SUBMITTED, key)
        elif moment > now:
            txn.delete(SUBMITTED, key)
            txn.put(SUBMITTED, timed(prefix, now, last_number(key)), b"\x00")


def check_queue(queue: Queue) -> None:
    """See that what is said of a queue makes sense.

    Raises:
        QueueProblem: It does not.
    """
    name, concurrency, rate = cast("tuple[Any, Any, Any]", queue)
    problem = ""
    if not isinstance(name, str) or not name:
        problem = "needs a name that is text"
    elif concurrency is not None and not _is_count(concurrency):
        problem = f"cannot have a concurrency of {concurrency!r}"
    elif rate is not None and not _is_rate(rate):
        problem = f"cannot have a rate of {rate!r}"
    if problem:
        raise QueueProblem(
            f"The queue {name!r} {problem}.",
            hint='Queue("mail", concurrency=4, rate=(10, 60.0)): four at once, ten a minute.',
            queue=name,
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_rate(rate: Any) -> bool:
    """Tell whether a rate is a pair of a number of runs and of seconds."""
    if not isinstance(rate, tuple | list) or len(rate) != 2 or not _is_count(rate[0]):
        return False
    seconds = rate[1]
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= LONGEST
