"""Walking one thread's frames: back along ``previous`` from the head, then forward, checking each.

    row.lsn ─► frame ─► previous ─► … ─► where the reader stands, or the horizon
                                         │ checksum: the first seed
               body ◄─ body ◄─ … ◄───────┘

The log is ordered by lsn, so a thread's frames lie scattered; each names its predecessor, and the directory the last.

Invariants:
1. Going back, nothing is believed but what agrees with its successor; going forward, every checksum is checked.
2. A walk ends: an lsn that does not decrease is damage.

This module must not know why a thread is read.
"""

from __future__ import annotations

from array import array

from .errors import LogCorrupt, RecordsCompacted
from .frame import Header, first_seed, peek, unseal
from .keyspace import RESTORE, broken_chain, missing_frame, not_found, number_key
from .named import NamedTuple
from .store import Row
from .tables import LOG, ReadTransaction

HELD_BYTES = 32 << 20
"""How much of a thread a walk keeps in memory; the rest is fetched again on the way forward."""


class Stretch(NamedTuple):
    """What to read, each part newest first: frames held already, the lsns of those before them; and the seed."""

    held: list[tuple[Header, bytes]]
    lsns: array[int]
    seed: int


def read_frame(txn: ReadTransaction, lsn: int, thread: str) -> bytes:
    """Return the bytes of a frame.

    Raises:
        LogCorrupt: It is not there.
    """
    data = txn.get(LOG, number_key(lsn))
    if data is None:
        raise missing_frame(thread, lsn)
    return data


def compacted(thread: str, begins: int) -> RecordsCompacted:
    """Return the error for records that were cut off."""
    message = f"Thread {thread!r} begins after seq {begins} since it was compacted; what was to be read lies before."
    return RecordsCompacted(message, hint="Read what is left, from there on.", thread=thread, horizon=begins)


def gone(now: Row | None, row: Row, lsn: int) -> Exception:
    """Return the error for a frame that is not there, though it was when the walk began.

    Args:
        now: The thread's row by now.
        row: The same when the walk began.
        lsn: The frame's.
    """
    if now is None or now.number != row.number:
        return not_found(row.thread)
    return compacted(row.thread, now.base) if lsn <= now.anchor_lsn else missing_frame(row.thread, lsn)


def no_anchor(thread: str, base: int) -> LogCorrupt:
    """Return the error for a thread that was cut off, and whose beginning nothing leads to."""
    message = (
        f"The snapshot of thread {thread!r} at seq {base}, which stands for what was cut off, is missing."
    )
    return LogCorrupt(message, hint=RESTORE, thread=thread)


def walk_back(txn: ReadTransaction, row: Row, after: int, upto: int | None) -> Stretch:
    """Find the frames that hold records with after < seq ≤ upto.

    Raises:
        LogCorrupt: A frame is missing, or is not what its successor says.
    """
    frames: list[tuple[Header, bytes]] = []
    lsns: array[int] = array("Q")
    lsn, held, expected, checksum = row.lsn, 0, row.seq, row.checksum
    while lsn > row.anchor_lsn:
        data = read_frame(txn, lsn, row.thread)
        header = peek(data, lsn)
        is_next = header.last == expected and header.thread == row.number and header.previous < lsn
        if not is_next or (lsn == row.lsn and header.checksum != checksum):
            raise broken_chain(row.thread, header, expected)
        if header.last <= after:
            return Stretch(frames, lsns, header.checksum)
        expected = header.after
        lsn = header.previous
        if upto is None or header.after < upto:
            held += len(data)
            if held <= HELD_BYTES:
                frames.append((header, data))
            else:
                lsns.append(header.lsn)
    if expected != row.horizon:
        message = f"Thread {row.thread!r} begins after seq {expected}, its directory says {row.horizon}."
        raise LogCorrupt(message, hint=RESTORE, thread=row.thread)
    return Stretch(frames, lsns, row.anchor if row.anchor_lsn else first_seed(row.thread))


def walk(txn: ReadTransaction, row: Row, after: int, upto: int | None) -> list[tuple[Header, bytes]]:
    """Return checked frames inside one transaction, oldest first."""
    frames, lsns, seed = walk_back(txn, row, after, upto)
    found = []
    for lsn in reversed(lsns):
        data = read_frame(txn, lsn, row.thread)
        header = peek(data, lsn)
        found.append((header, unseal(data, header, seed)))
        seed = header.checksum
    for header, data in reversed(frames):
        found.append((header, unseal(data, header, seed)))
        seed = header.checksum
    return found
