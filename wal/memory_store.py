"""The store in this process's memory: for tests and throwaway runs.

A table is a dict and a sorted list of its keys. A write transaction holds the one lock and keeps an undo list.

Invariants:
1. What an aborted transaction did is undone in reverse order.
2. Nothing survives the process: ``durability`` is ``PROCESS``.

This module must not know what the tables mean to the log.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from .errors import LogCorrupt
from .store import Durability
from .table_store import TableStore
from .tables import LATER_NAMES, LOG, META, TABLE_NAMES, Tables


class MemoryTransaction:
    """One transaction over the dicts."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables
        self._undo: list[tuple[int, bytes, bytes | None]] = []
        self._abandoned = False

    def __enter__(self) -> Self:
        """Begin."""
        self._tables.lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End; undo everything if there was an error."""
        try:
            if kind is not None or self._abandoned:
                for table, key, value in reversed(self._undo):
                    if value is None:
                        self._remove(table, key)
                    else:
                        self._set(table, key, value)
            elif self._undo:
                self._tables.committed += 1
        finally:
            self._tables.lock.release()

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return the value of a key."""
        return self._tables.values[table].get(key)

    def get_many(self, table: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of those keys that are there."""
        values = self._tables.values[table]
        return {key: values[key] for key in keys if key in values}

    def scan(self, table: int, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to ``limit`` entries with key ≥ ``start``, in order."""
        values = self._tables.values[table]
        return [(key, values[key]) for key in self.keys(table, start, limit)]

    def keys(self, table: int, start: bytes, limit: int) -> list[bytes]:
        """Return up to ``limit`` keys ≥ ``start``, in order."""
        keys = self._tables.keys[table]
        first = bisect_left(keys, start)
        return keys[first : first + limit]

    def at_or_before(self, table: int, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key ≤ ``key``."""
        keys = self._tables.keys[table]
        place = bisect_right(keys, key)
        return (keys[place - 1], self._tables.values[table][keys[place - 1]]) if place else None

    def count(self, table: int) -> int:
        """Return the number of entries."""
        return len(self._tables.keys[table])

    def number(self) -> int:
        """Return this transaction's number."""
        return self._tables.committed + 1

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self._undo.append((table, key, self._tables.values[table].get(key)))
        self._set(table, key, value)

    def put_many(self, table: int, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values."""
        for key, value in items:
            self.put(table, key, value)

    def append(self, table: int, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Add entries that are greater than all that are there; an error otherwise."""
        keys = self._tables.keys[table]
        for key, value in items:
            if keys and key <= keys[-1]:
                raise LogCorrupt(f"An entry at {key.hex()} lies beyond the end that the log knows.")
            self.put(table, key, value)

    def delete(self, table: int, key: bytes) -> bool:
        """Remove an entry; tell whether it was there."""
        value = self._tables.values[table].get(key)
        if value is None:
            return False
        self._undo.append((table, key, value))
        self._remove(table, key)
        return True

    def abandon(self) -> None:
        """Make the end undo everything, without an error."""
        self._abandoned = True

    def _set(self, table: int, key: bytes, value: bytes) -> None:
        values, keys = self._tables.values[table], self._tables.keys[table]
        if key not in values:
            if not keys or key > keys[-1]:
                keys.append(key)
            else:
                insort(keys, key)
        values[key] = value

    def _remove(self, table: int, key: bytes) -> None:
        del self._tables.values[table][key]
        keys = self._tables.keys[table]
        del keys[bisect_left(keys, key)]


class MemoryTables(Tables):
    """Dicts and their sorted keys."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.committed = 0
        self.values: list[dict[bytes, bytes]] = [{} for _ in TABLE_NAMES + LATER_NAMES]
        self.keys: list[list[bytes]] = [[] for _ in TABLE_NAMES + LATER_NAMES]

    def read(self) -> MemoryTransaction:
        """Return a transaction to read in."""
        return MemoryTransaction(self)

    def write(self) -> MemoryTransaction:
        """Return a transaction to write in."""
        return MemoryTransaction(self)

    def last(self) -> int:
        """Return the number of the last transaction that was committed."""
        return self.committed

    def prepare(self, table: int, *, create: bool) -> bool:
        """Every table is there."""
        return True


class MemoryStore(TableStore):
    """The contract over dicts."""

    durability = Durability.PROCESS

    def __init__(self) -> None:
        self.tables = MemoryTables()
        super().__init__(self.tables)
        with self.tables.write() as txn:
            txn.put(META, b"store", os.urandom(16))

    def facts(self) -> Mapping[str, object]:
        """Return what is known of the storage."""
        size = sum(len(key) + len(value) for table in self.tables.values for key, value in table.items())
        return {"storage": "memory", "size": size, "entries": len(self.tables.keys[LOG])}

    def renew_locks(self) -> None:
        """Give a forked child its own lock, since the inherited one may be held by a thread that it lacks."""
        self.tables.lock = threading.RLock()
        self.renew_shelves()

    def close(self) -> None:
        """Nothing to let go of."""
