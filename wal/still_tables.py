"""The tables of a store as they are at one moment, through one read transaction that stays open.

While it is open, the space of what others remove is not used again, so the file of a log that is written to grows by
what is written meanwhile; nobody waits.

Invariants:
1. Everything that is read through one ``StillTables`` is of one state of all tables.

This module must not know what is looked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from .store import Store
from .table_store import TableStore
from .tables import LATER_NAMES, TABLE_NAMES, ReadTransaction, Tables, WriteTransaction


class Lasting:
    """A transaction that outlives the blocks which it is used in."""

    def __init__(self, txn: ReadTransaction) -> None:
        self.txn = txn

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Stay open."""

    def __getattr__(self, name: str) -> object:
        """Read as the transaction reads."""
        return getattr(self.txn, name)


class StillTables(Tables):
    """The tables as one transaction sees them.

    Args:
        txn: The transaction.
        there: Which of the tables that not every log has were there when it began.
        number: That of the last transaction which had been committed then.
    """

    def __init__(self, txn: ReadTransaction, there: frozenset[int], number: int) -> None:
        self.txn = txn
        self.there = there
        self.number = number

    def read(self) -> ReadTransaction:
        """Return the transaction, in a form that stays open."""
        return Lasting(self.txn)  # type: ignore[return-value]  # it reads by what it hands on

    def write(self) -> WriteTransaction:
        """Nothing can be written into what is past."""
        raise AssertionError("a moment is only read")

    def last(self) -> int:
        """Return the number of the last transaction that had been committed."""
        return self.number

    def prepare(self, table: int, *, create: bool) -> bool:
        """Tell whether a table was there."""
        assert not create, "a moment is only read"
        return table < len(TABLE_NAMES) or table in self.there


class StillStore(TableStore):
    """The contract over one moment of another store."""

    readonly = True

    def __init__(self, store: Store, tables: StillTables) -> None:
        super().__init__(tables)
        self.tables = tables
        self.durability = store.durability
        self._store = store

    def facts(self) -> Mapping[str, object]:
        """Return what is known of the storage now."""
        return self._store.facts()

    def close(self) -> None:
        """Whoever made the moment ends it."""


@contextlib.contextmanager
def held(store: TableStore) -> Iterator[StillTables]:
    """Hand out a store's tables as they are now."""
    tables = store.all_tables
    later = range(len(TABLE_NAMES), len(TABLE_NAMES) + len(LATER_NAMES))
    # A table that was opened after a transaction began cannot be read in it.
    there = frozenset(table for table in later if tables.prepare(table, create=False))
    number = tables.last()
    with tables.read() as txn:
        yield StillTables(txn, there, number)
