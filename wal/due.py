"""Which threads are due, in the order of their times: the index of what the rows of the directory say.

    DUE   due time + thread number (2 × u64)   → empty

Invariants:
1. A thread stands in the index exactly when its row has a ``due_at``, under that time; both change together.
2. It is derived: what it says can be found by reading all rows.

This module must not know what is due then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .keyspace import key_pair, number_key, pair_key, unpack_row
from .tables import DUE, THREADS, ReadTransaction, Tables, WriteTransaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .store import Row

PAGE = 256
"""How many entries one short read transaction hands out."""


def move(txn: WriteTransaction, number: int, before: int | None, after: int | None) -> None:
    """Let a thread be due at another time; None is never."""
    if before == after:
        return
    if before is not None:
        txn.delete(DUE, pair_key(before, number))
    if after is not None:
        txn.put(DUE, pair_key(after, number), b"")


def rows_due(tables: Tables, before: int) -> Iterator[Row]:
    """Yield the rows of the threads that are due at or before a time, the longest overdue first."""
    if not tables.prepare(DUE, create=False):
        return
    start = b"\x00"
    while True:
        with tables.read() as txn:
            keys = txn.keys(DUE, start, PAGE)
            due = [key for key in keys if key_pair(key)[0] <= before]
            rows = [_row(txn, key_pair(key)[1]) for key in due]
        yield from (row for row in rows if row is not None)
        if len(due) < PAGE:
            return
        start = keys[-1] + b"\x00"


def _row(txn: ReadTransaction, number: int) -> Row | None:
    data = txn.get(THREADS, number_key(number))
    return None if data is None else unpack_row(data, number)


def check_due(tables: Tables, rows: Iterable[Row]) -> list[str]:
    """Compare the index with the directory, and say what is wrong."""
    said = {pair_key(row.due_at, row.number): row.thread for row in rows if row.due_at is not None}
    there: set[bytes] = set()
    if tables.prepare(DUE, create=False):
        with tables.read() as txn:
            there = set(txn.keys(DUE, b"\x00", 1 << 30))
    wrong = [
        f"thread {said[key]!r} is due, and the index of what is due lacks it" for key in said.keys() - there
    ]
    wrong += [
        f"the index of what is due names thread number {key_pair(key)[1]}, which is not due then"
        for key in there - said.keys()
    ]
    return sorted(wrong)
