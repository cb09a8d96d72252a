"""Is the table of handed-over runs whole: each row, each key that leads to one, and each that must?

It must not change anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import WalgraphError
from .submission_layout import (
    BY_RUN,
    BY_THREAD,
    COUNTERS,
    ENDED,
    HOLDING,
    QUEUE,
    ROW,
    STARTS,
    TRIES,
    WAITING,
    WISH,
    Submission,
    group_key,
    last_number,
    numbered,
    pack_number,
    run_key,
    timed,
    unpack_fields,
    waiting_key,
)
from .submission_limits import unpacked_queue
from .submission_rows import FINAL, keys_of, unpacked
from .tables import SUBMITTED

if TYPE_CHECKING:
    from .tables import ReadTransaction

POINTERS = (BY_RUN, BY_THREAD, WAITING, HOLDING, ENDED)
"""The kinds of keys that lead to a submission; each is expected of some state of it."""


def check_submissions(txn: ReadTransaction, look: Callable[[bytes], str | None]) -> tuple[int, list[str]]:
    """Read the whole table; return how many runs it knows, and what is wrong, in words.

    Args:
        txn: One moment of it.
        look: Called with each encoded input and result; returns what is wrong with it, or None.
    """
    wrong: list[str] = []
    expected: dict[bytes, bytes] = {}
    count = 0
    for key in keys_of(txn, ROW):
        count += 1
        try:
            submission = unpacked(key, txn.get(SUBMITTED, key) or b"")
        except WalgraphError as error:
            wrong.append(error.message)
            continue
        expected.update(pointers_to(submission))
        for what, data in (("input", submission.given), ("result", submission.result)):
            problem = look(data) if data else None
            if problem:
                wrong.append(f"{what} of run {submission.run!r}: {problem}")
    for kind in POINTERS:
        for key in keys_of(txn, kind):
            found = txn.get(SUBMITTED, key)
            if expected.pop(key, None) != found:
                wrong.append(f"the entry {key.hex()} of kind {kind.hex()} leads to no run that stands so")
    wrong += [f"an entry of kind {key[:1].hex()} is missing: {key.hex()}" for key in expected]
    wrong += _rows(txn)
    return count, wrong


def pointers_to(submission: Submission) -> dict[bytes, bytes]:
    """Return the entries that lead to a submission, as it stands."""
    number = submission.number
    found = {run_key(submission.run): pack_number(number)}
    if submission.state == FINAL:
        found[timed(ENDED, submission.ended_at, number)] = b"\x00"
        return found
    found[numbered(group_key(BY_THREAD, submission.thread), number)] = b"\x00"
    if submission.state == "waiting" and submission.ticket:
        found[waiting_key(submission)] = pack_number(number)
    elif submission.state == "started":
        found[numbered(group_key(HOLDING, submission.queue), number)] = b"\x00"
    return found


def _rows(txn: ReadTransaction) -> list[str]:
    """Say which of the other rows are damaged."""
    wrong: list[str] = []
    for kind, what in (
        (COUNTERS, "counters of handed-over runs"),
        (QUEUE, "entry of a queue"),
        (TRIES, "entry of a thread that was taken over"),
        (WISH, "wish to cancel a run"),
    ):
        for key in keys_of(txn, kind):
            data = txn.get(SUBMITTED, key) or b""
            try:
                if kind is QUEUE:
                    unpacked_queue(key, data)
                else:
                    unpack_fields(key, data, what)
            except WalgraphError as error:
                wrong.append(error.message)
    wrong += [
        f"a start of a queue is counted at {key.hex()} for run number 0"
        for key in keys_of(txn, STARTS)
        if not last_number(key)
    ]
    return wrong
