"""What a store needs from its storage: ordered tables and transactions over them.

    META      b"format", b"store"                     → what this log is
    THREADS   0 → ``Position``; thread number (u64)   → ``Row``
    NAMES     0x00 + id, or 0x01 + hash of a long id  → thread number
    LOG       lsn (u64)                               → frame
    SNAPS     thread number + seq (2 × u64)           → checksum + encoded state
    BLOBS     digest (16) + chunk number (u32)        → chunk
    MARKS     digest                                  → empty; blobs that commits used while a sweep runs
    ITEMS     what stores keep, see ``wal.item_layout``; made when it is first needed
    CACHED    what caches keep, in the same way
    SUBMITTED runs that were handed over, see ``wal.submission_layout``; made when the first one is
    MAIL      signals that wait, see ``wal.mail_layout``; made when it is first needed, as the next
    DUE       due time + thread number (2 × u64)      → empty; see ``wal.due``
    SCHEDULED schedules, see ``wal.schedule_layout``; made when the first one is

Keys are ordered as bytes. ``Position`` lies among the rows so that a commit touches one page less.

Invariants:
1. A reader sees one state of all tables; what a writer changed is seen by all or by nobody.
2. At most one write transaction is open at a time, among all processes.

This module must not know what the tables mean to the log.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

META, THREADS, NAMES, LOG, SNAPS, BLOBS, MARKS = range(7)
TABLE_NAMES = (b"meta", b"threads", b"names", b"log", b"snap", b"blob", b"mark")
"""The tables that every log has."""
ENCRYPTED = b"encrypted"
"""Key in the table meta: whoever writes must encrypt."""
ITEMS, CACHED, SUBMITTED, MAIL, DUE, SCHEDULED = range(len(TABLE_NAMES), len(TABLE_NAMES) + 6)
LATER_NAMES = (b"item", b"cache", b"submit", b"mail", b"due", b"schedule")
"""The tables that a log gets when they are first needed, so that logs without them are as they always were."""

PAGE = 256
"""How many entries are read at once where all that begin alike are wanted."""


class ReadTransaction(Protocol):
    """One consistent view of the tables."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End; a writer commits, or undoes everything if there was an error."""
        ...

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return the value of a key."""
        ...

    def get_many(self, table: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of those keys that are there."""
        ...

    def scan(self, table: int, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to ``limit`` entries with key ≥ ``start``, in order."""
        ...

    def keys(self, table: int, start: bytes, limit: int) -> list[bytes]:
        """Return up to ``limit`` keys ≥ ``start``, in order."""
        ...

    def at_or_before(self, table: int, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key ≤ ``key``."""
        ...

    def count(self, table: int) -> int:
        """Return the number of entries."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """One atomic, durable change of the tables."""

    def number(self) -> int:
        """Return this transaction's number: one more than that of the last one committed, by whatever process."""
        ...

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        ...

    def put_many(self, table: int, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values; fastest when sorted by key."""
        ...

    def append(self, table: int, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Add entries that are greater than all that are there; an error otherwise."""
        ...

    def delete(self, table: int, key: bytes) -> bool:
        """Remove an entry; tell whether it was there."""
        ...

    def abandon(self) -> None:
        """Make the end undo everything, without an error."""
        ...


class Tables(ABC):
    """The storage itself."""

    @abstractmethod
    def read(self) -> ReadTransaction:
        """Return a transaction to read in; short, since an open one stops the reuse of space."""

    @abstractmethod
    def write(self) -> WriteTransaction:
        """Return a transaction to write in; waits while another is open."""

    @abstractmethod
    def prepare(self, table: int, *, create: bool) -> bool:
        """Make a table usable that not every log has; tell whether it is there. Not within a transaction."""

    @abstractmethod
    def last(self) -> int:
        """Return the number of the last transaction that any process has committed; cheap, so that it can be polled."""


def entries(txn: ReadTransaction, table: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries whose keys begin so, in order."""
    start = prefix
    while True:
        found = txn.scan(table, start, PAGE)
        for key, value in found:
            if not key.startswith(prefix):
                return
            yield key, value
        if len(found) < PAGE:
            return
        start = found[-1][0] + b"\x00"
