"""Reading and changing the rows of handed-over runs, inside a transaction.

    row_of, find, of_thread, first_of      one submission, or those of a thread that have not ended
    admit, keep, leave_line, finish, erase what the steps of a submission's life consist of

It must not begin transactions, nor decide which step is next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .checked import shaped
from .submission_layout import (
    BY_THREAD,
    COUNTERS,
    ENDED,
    HOLDING,
    Submission,
    group_key,
    last_number,
    numbered,
    pack_fields,
    pack_number,
    row_key,
    run_key,
    timed,
    unpack_fields,
    waiting_key,
)
from .tables import SUBMITTED

if TYPE_CHECKING:
    from .tables import ReadTransaction, WriteTransaction

PAGE = 64
FINAL = "ended"


def keys_of(txn: ReadTransaction, prefix: bytes) -> list[bytes]:
    """Return all keys that begin so."""
    found: list[bytes] = []
    start = prefix
    while True:
        page = [key for key in txn.keys(SUBMITTED, start, PAGE) if key.startswith(prefix)]
        found += page
        if len(page) < PAGE:
            return found
        start = page[-1] + b"\x00"


def next_entry(txn: ReadTransaction, start: bytes, prefix: bytes) -> tuple[bytes, bytes] | None:
    """Return the first entry at or after ``start`` whose key begins with ``prefix``."""
    found = txn.scan(SUBMITTED, start, 1)
    return found[0] if found and found[0][0].startswith(prefix) else None


def unpacked(key: bytes, data: bytes) -> Submission:
    """Decode a submission.

    Raises:
        LogCorrupt: It is damaged.
    """
    what = f"entry of handed-over run number {last_number(key)}"
    return shaped(Submission, unpack_fields(key, data, what), what)


def row_of(txn: ReadTransaction, number: int) -> Submission | None:
    """Return a submission by its number."""
    key = row_key(number)
    data = txn.get(SUBMITTED, key)
    return None if data is None else unpacked(key, data)


def find(txn: ReadTransaction, run: str) -> Submission | None:
    """Return a submission by its run's id."""
    number = txn.get(SUBMITTED, run_key(run))
    found = None if number is None else row_of(txn, last_number(number))
    return found if found is not None and found.run == run else None


def of_thread(txn: ReadTransaction, thread: str) -> list[Submission]:
    """Return the submissions of a thread that have not ended, in order."""
    found = [row_of(txn, last_number(key)) for key in keys_of(txn, group_key(BY_THREAD, thread))]
    return [each for each in found if each is not None and each.thread == thread]


def first_of(txn: ReadTransaction, thread: str) -> Submission | None:
    """Return the oldest submission of a thread that has not ended."""
    prefix = group_key(BY_THREAD, thread)
    found = next_entry(txn, prefix, prefix)
    return None if found is None else row_of(txn, last_number(found[0]))


def counters(txn: ReadTransaction) -> tuple[int, int]:
    """Return the last number and the last ticket that were given."""
    data = txn.get(SUBMITTED, COUNTERS)
    if data is None:
        return 0, 0
    fields: list[Any] = unpack_fields(COUNTERS, data, "counters of handed-over runs")
    return fields[0], fields[1]


def put_counters(txn: WriteTransaction, number: int, ticket: int) -> None:
    """Keep the last number and the last ticket."""
    txn.put(SUBMITTED, COUNTERS, pack_fields(COUNTERS, (number, ticket)))


def keep(txn: WriteTransaction, submission: Submission) -> None:
    """Write a submission, and where its state says that it is to be found."""
    key = row_key(submission.number)
    txn.put(SUBMITTED, key, pack_fields(key, submission))
    if submission.state == "waiting" and submission.ticket:
        txn.put(SUBMITTED, waiting_key(submission), pack_number(submission.number))
    elif submission.state == "started":
        txn.put(SUBMITTED, _held(submission), b"\x00")


def admit(txn: WriteTransaction, wanted: Submission) -> Submission:
    """Write a run that is new, and let it stand in line if it is the first of its thread."""
    number, ticket = counters(txn)
    is_first = first_of(txn, wanted.thread) is None
    made = wanted._replace(number=number + 1, ticket=ticket + 1 if is_first else 0)
    keep(txn, made)
    txn.put(SUBMITTED, run_key(made.run), pack_number(made.number))
    txn.put(SUBMITTED, numbered(group_key(BY_THREAD, made.thread), made.number), b"\x00")
    put_counters(txn, made.number, ticket + is_first)
    return made


def leave_line(txn: WriteTransaction, submission: Submission) -> None:
    """Take a submission out of its place in the line, or in its queue."""
    if submission.state == "waiting" and submission.ticket:
        txn.delete(SUBMITTED, waiting_key(submission))
    elif submission.state == "started":
        txn.delete(SUBMITTED, _held(submission))


def finish(txn: WriteTransaction, found: Submission, ended: Submission) -> Submission:
    """Write that a submission has ended, and let the next one of its thread stand in line."""
    leave_line(txn, found)
    # What was given is in the thread's records by now; the digest still tells the same submission from another.
    ended = ended._replace(state=FINAL, ticket=0, given=b"")
    keep(txn, ended)
    txn.put(SUBMITTED, timed(ENDED, ended.ended_at, ended.number), b"\x00")
    txn.delete(SUBMITTED, numbered(group_key(BY_THREAD, ended.thread), ended.number))
    following = first_of(txn, ended.thread)
    if following is not None and following.state == "waiting" and not following.ticket:
        number, ticket = counters(txn)
        put_counters(txn, number, ticket + 1)
        keep(txn, following._replace(ticket=ticket + 1))
    return ended


def erase(txn: WriteTransaction, gone: Submission) -> None:
    """Forget a submission."""
    leave_line(txn, gone)
    txn.delete(SUBMITTED, row_key(gone.number))
    txn.delete(SUBMITTED, run_key(gone.run))
    txn.delete(SUBMITTED, numbered(group_key(BY_THREAD, gone.thread), gone.number))
    if gone.ended_at:
        txn.delete(SUBMITTED, timed(ENDED, gone.ended_at, gone.number))


def _held(submission: Submission) -> bytes:
    return numbered(group_key(HOLDING, submission.queue), submission.number)
