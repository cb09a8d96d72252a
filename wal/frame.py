"""One frame: all records that a thread appended in one atomic step, as bytes.

A frame is one entry of the log. Every number is big-endian.

    offset  size  field
         0     2  magic       b"WG"
         2     1  format      version of this table; readers refuse a higher one
         3     1  flags       1: the body is encrypted (``wal.envelope``); a reader refuses a bit that it does not know
         4     4  records     how many records the body holds
         8     8  lsn         position in the whole log, assigned inside the write transaction
        16     8  thread      number of the thread in this log
        24     8  after       seq of the record that this frame follows; 0 for the first
        32     8  last        seq of the frame's last record
        40     8  previous    lsn of the thread's previous frame; 0 for the first
        48     8  epoch       of the writer
        56     8  id          random, so that an unanswered commit can be asked about
        64     8  time        nanoseconds since 1970 at the commit, never smaller than the log's last
        72     8  length      of the body
        80     8  checksum    XXH3-64 of bytes 0..80 and the body, seeded with the previous frame's checksum
        88     n  body        concatenated encoded records (``wal.codec``)

VALID      A frame is valid if and only if its length is right, its checksum matches under its predecessor's as
           seed, and it stands under the lsn and the thread that it names. The first frame of a thread is seeded
           with the hash of the thread's id, so that no chain can be taken for another.

SEQS       The records of a frame are numbered after + 1, after + 2, and so on; a ``StateFolded`` takes the seq that
           it carries, and counting goes on from there. ``last`` therefore may be greater than after + records.

MERGING    A body is a concatenation, so frames of one thread that wait together become one before they are written.

Invariants:
1. ``seal`` and ``unseal`` are inverse; ``tests/wal/golden`` pins the bytes.
2. Nothing in a frame is trusted before its checksum was checked.

This module must not know where frames are stored, nor what records mean.
"""

import struct

import xxhash

from .blob import SEALED
from .errors import FormatTooNew, LogCorrupt
from .named import NamedTuple

MAGIC = b"WG"
FORMAT = 1
ENCRYPTED = 1
_FIELDS = struct.Struct(">2sBBIQQQQQQ8sQQ")
_CHECKSUM = struct.Struct(">Q")
FIELD_BYTES = _FIELDS.size
HEADER_BYTES = FIELD_BYTES + _CHECKSUM.size

assert HEADER_BYTES == 88, "the table above is the format"

_pack_fields = _FIELDS.pack
_pack_checksum = _CHECKSUM.pack
_hash = xxhash.xxh3_64_intdigest


class Summary(NamedTuple):
    """What the directory of threads shows; written with every frame, the last one wins.

    Args:
        status: ``running``, ``interrupted``, ``sleeping``, ``waiting``, ``failed``, ``drained``, ``parked``, ``done``.
        graph: Name of the graph that runs on the thread.
        step: Number of the newest step.
        next: Names of the nodes that are due.
        due_at: When a timer is due, in nanoseconds since 1970.
    """

    status: str = "running"
    graph: str = ""
    step: int = -1
    next: tuple[str, ...] = ()
    due_at: int | None = None


class Header(NamedTuple):
    """The fixed part of a frame, in the order of the table."""

    records: int
    lsn: int
    thread: int
    after: int
    last: int
    previous: int
    epoch: int
    id: bytes
    time: int
    length: int
    checksum: int


def first_seed(thread_id: str) -> int:
    """Return the seed of a thread's first frame."""
    return _hash(thread_id.encode())


def seal(header: Header, body: bytes, seed: int) -> tuple[bytes, int]:
    """Return the frame's bytes and its checksum; ``header.length`` and ``header.checksum`` are computed here."""
    fields = _pack_fields(
        MAGIC,
        FORMAT,
        ENCRYPTED if body[:1] == SEALED else 0,
        header.records,
        header.lsn,
        header.thread,
        header.after,
        header.last,
        header.previous,
        header.epoch,
        header.id,
        header.time,
        len(body),
    )
    checksum = _hash(fields + body, seed)
    return b"".join((fields, _pack_checksum(checksum), body)), checksum


def peek(data: bytes, lsn: int) -> Header:
    """Read the header of a frame without checking its checksum.

    Raises:
        LogCorrupt: The bytes cannot be a frame.
        FormatTooNew: The frame was written by a newer walgraph.
    """
    if len(data) < HEADER_BYTES:
        raise _corrupt(lsn, f"it has {len(data)} bytes, a header alone has {HEADER_BYTES}")
    magic, version, flags, *fields = _FIELDS.unpack_from(data)
    if magic != MAGIC:
        raise _corrupt(lsn, f"it begins with {magic!r} instead of {MAGIC!r}")
    if version > FORMAT or flags & ~ENCRYPTED:
        message = f"The frame at lsn {lsn} has format {version} and flags {flags}; this walgraph reads format {FORMAT}."
        raise FormatTooNew(message, hint="Upgrade walgraph.", lsn=lsn, format=version)
    header = Header._make((*fields, _CHECKSUM.unpack_from(data, FIELD_BYTES)[0]))
    if header.lsn != lsn or header.length != len(data) - HEADER_BYTES:
        found = f"lsn {header.lsn} and {header.length} bytes of body"
        raise _corrupt(lsn, f"it says {found}, but {len(data) - HEADER_BYTES} bytes of body are there")
    return header


def unseal(data: bytes, header: Header, seed: int) -> bytes:
    """Return the body of a frame after checking its checksum; ``header`` comes from ``peek``.

    Raises:
        LogCorrupt: The bytes are not what was written.
    """
    body = data[HEADER_BYTES:]
    checksum = _hash(data[:FIELD_BYTES] + body, seed)
    if checksum != header.checksum:
        raise _corrupt(
            header.lsn, f"its checksum is {header.checksum:016x}, its bytes give {checksum:016x}", header
        )
    return body


def _corrupt(lsn: int, why: str, header: Header | None = None) -> LogCorrupt:
    where = f"lsn {lsn}" if header is None else f"lsn {lsn}, after seq {header.after}"
    return LogCorrupt(
        f"The frame at {where} is damaged: {why}.",
        hint="Run `wal verify` to see what else is damaged; other threads stay usable. Restore from a backup.",
        lsn=lsn,
    )
