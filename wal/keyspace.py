"""Keys and values of the tables: how ids become keys and rows become bytes.

    THREADS   0            → checksum + msgpack array of ``Position``
              number       → checksum (seeded with the number) + msgpack array of ``Row``
    NAMES     0x00 + id    → number, for ids up to 400 bytes of UTF-8
              0x01 + hash  → number, for longer ones; the row's id is compared on every hit
    SNAPS     number, seq  → checksum (seeded with number and seq) + encoded state

Invariants:
1. Every value carries or is covered by a checksum that also covers its key, so a misplaced page is noticed.
2. Fields of ``Row`` and ``Position`` are only ever added at the end.

This module must not know when rows change.
"""

from __future__ import annotations

import struct

import xxhash

from .checked import pack_checked, shaped, unpack_checked
from .errors import LogCorrupt, ThreadNotFound
from .frame import Header, first_seed
from .named import new
from .store import Frame, Position, Row
from .tables import BLOBS, MARKS, SNAPS, THREADS, ReadTransaction, WriteTransaction

number_key = struct.Struct(">Q").pack
_u64 = struct.Struct(">Q")
_pair = struct.Struct(">QQ")
pair_key = _pair.pack
chunk_key = struct.Struct(">16sI").pack

POSITION_KEY = number_key(0)
LAST_SEQ = (1 << 64) - 1
RESTORE = "Run `wal verify`; restore from a backup."


def key_number(key: bytes) -> int:
    """Return the number that a key stands for.

    Raises:
        LogCorrupt: It is no such key: its page is that of another table.
    """
    try:
        number: int = _u64.unpack(key)[0]
    except struct.error:
        raise _not_a_key(key) from None
    return number


def key_pair(key: bytes) -> tuple[int, int]:
    """Return thread number and seq of a snapshot's key.

    Raises:
        LogCorrupt: It is no such key.
    """
    try:
        number, seq = _pair.unpack(key)
    except struct.error:
        raise _not_a_key(key) from None
    return number, seq


def _not_a_key(key: bytes) -> LogCorrupt:
    return LogCorrupt(
        f"A table of the log holds the key {key.hex()}, which belongs to another one.", hint=RESTORE
    )


def pack_row(row: Row) -> bytes:
    """Encode a row of the directory."""
    return pack_checked(row, row.number)


def unpack_row(data: bytes, number: int) -> Row:
    """Decode a row of the directory."""
    what = f"directory entry of thread number {number}"
    row = shaped(Row, unpack_checked(data, number, what), what)
    if row.number != number or min(row.seq, row.lsn, row.horizon, row.anchor_lsn, row.base, row.frames) < 0:
        message = f"The {what} names number {row.number}, or a place before the log's first."
        raise LogCorrupt(message, hint=RESTORE, thread=row.thread)
    return row


def pack_position(position: Position) -> bytes:
    """Encode the log's position."""
    return pack_checked(position, 0)


def unpack_position(data: bytes | None) -> Position:
    """Decode the log's position; a log without one is empty."""
    if data is None:
        return Position()
    what = "log's own entry in the directory"
    return shaped(Position, unpack_checked(data, 0, what), what)


def read_position(txn: ReadTransaction) -> Position:
    """Return the log's position."""
    return unpack_position(txn.get(THREADS, POSITION_KEY))


def new_row(number: int, thread: str, now: int) -> Row:
    """Return the row of a thread that has no frame yet."""
    seed = first_seed(thread)
    # Spelled out by position, as below: status, graph, step, next, due_at, and so on.
    return new(Row, (
        number, thread, "running", "", -1, (), None, 0, 0, seed, 0, b"", now, now, 0, 0, 0, 0, 0, 0, seed, 0, 0,
    ))  # fmt: skip


def advance(row: Row, frame: Frame, header: Header, checksum: int) -> Row:
    """Return the row after one more frame."""
    size = header.length
    spilled = sum([len(blob.data) for blob in frame.blobs]) if frame.blobs else 0
    status, graph, step, due, due_at = frame.summary
    # Spelled out by position, since this runs once per frame and a NamedTuple's _replace costs three times as much.
    return new(Row, (
        row.number, row.thread, status, graph, step, due, due_at, frame.last, header.lsn, checksum, frame.epoch,
        frame.id, row.created_at, header.time, row.size + size, row.frames + 1, row.records + frame.records,
        row.snapshot_seq, row.since_bytes + size + spilled, row.horizon, row.anchor, row.anchor_lsn, row.base,
    ))  # fmt: skip


def pack_snapshot(data: bytes, number: int, seq: int) -> bytes:
    """Put a snapshot's checksum in front of it."""
    return _u64.pack(xxhash.xxh3_64_intdigest(data, _snapshot_seed(number, seq))) + data


def unpack_snapshot(data: bytes | None, number: int, seq: int) -> bytes:
    """Check and remove a snapshot's checksum."""
    body = b"" if data is None else data[8:]
    if (
        data is None
        or len(data) < 8
        or data[:8] != _u64.pack(xxhash.xxh3_64_intdigest(body, _snapshot_seed(number, seq)))
    ):
        message = (
            f"The snapshot of thread number {number} at seq {seq} is damaged: its checksum does not match."
        )
        raise LogCorrupt(message, hint=RESTORE, seq=seq)
    return body


def _snapshot_seed(number: int, seq: int) -> int:
    return xxhash.xxh3_64_intdigest(pair_key(number, seq))


def snapshot_seqs(txn: ReadTransaction, number: int) -> list[int]:
    """Return the seqs of a thread's snapshots, oldest first."""
    # A thread has two at most, the base and the newest, beside what a crash between two versions may leave.
    found = txn.keys(SNAPS, pair_key(number, 0), 16)
    return [seq for owner, seq in map(key_pair, found) if owner == number]


def newest_snapshot(txn: ReadTransaction, row: Row, at: int | None = None) -> tuple[int, bytes] | None:
    """Return seq and encoded state of a thread's newest snapshot at or before ``at``."""
    found = txn.at_or_before(SNAPS, pair_key(row.number, LAST_SEQ if at is None else at))
    if found is None:
        return None
    number, seq = key_pair(found[0])
    return (seq, unpack_snapshot(found[1], number, seq)) if number == row.number else None


def read_blob(txn: ReadTransaction, digest: bytes) -> bytes | None:
    """Return a blob's chunks joined, or None if there is no first chunk."""
    chunk = txn.get(BLOBS, chunk_key(digest, 0))
    if chunk is None:
        return None
    parts = []
    while chunk is not None:
        parts.append(chunk)
        chunk = txn.get(BLOBS, chunk_key(digest, len(parts)))
    return b"".join(parts)


def read_marks(txn: ReadTransaction) -> set[bytes]:
    """Return the digests that commits have marked since the sweep began."""
    return set(txn.keys(MARKS, b"\x00", 1 << 30))


def clear_marks(txn: WriteTransaction) -> None:
    """Remove all marks."""
    for key in read_marks(txn):
        txn.delete(MARKS, key)


def not_found(thread: str) -> ThreadNotFound:
    """Return the error for a thread that does not exist."""
    return ThreadNotFound(
        f"The log holds no thread {thread!r}.", hint="List them with `wal threads`.", thread=thread
    )


def broken_chain(thread: str, header: Header, expected: int) -> LogCorrupt:
    """Return the error for a frame that does not continue its predecessor."""
    message = (
        f"The chain of thread {thread!r} is broken at lsn {header.lsn}: that frame ends at seq {header.last}, "
        f"its successor follows seq {expected}."
    )
    return LogCorrupt(message, hint=RESTORE, thread=thread, lsn=header.lsn)


def missing_frame(thread: str, lsn: int) -> LogCorrupt:
    """Return the error for a frame that its successor names and that is not there."""
    message = f"Thread {thread!r} lacks its frame at lsn {lsn}."
    return LogCorrupt(message, hint=RESTORE, thread=thread, lsn=lsn)
