"""The stores that come with the library: one in memory, one in a log.

    InMemoryStore()    gone with the process
    LogStore(log)      in the log's own file: as durable as its records, read and written by many processes

Invariants:
1. Both give the same answers to the same calls.
2. What ``put`` has returned from is on disk, if the log's commits are.

It must not know how items are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.log import Log
from ..wal.memory_store import MemoryTables
from ..wal.table_items import TableItems
from ..wal.tables import ITEMS
from .store_items import ItemStore

if TYPE_CHECKING:
    from ..wal.items import Items
    from .store import IndexConfig, TTLConfig


class InMemoryStore(ItemStore):
    """A store in this process's memory, for tests and throwaway runs; safe to use from any thread.

    Args:
        index: How items are made findable by what they mean; not at all if None.
        ttl: How long items live unless a call says otherwise; for ever if None.
    """

    def __init__(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        super().__init__(index=index, ttl=ttl)
        self._shelf = TableItems(MemoryTables(), ITEMS)

    def items(self, *, write: bool) -> Items:
        """Return where the items are."""
        return self._shelf


class LogStore(ItemStore):
    """A store in the file of a log: batches are atomic, and as durable as the log's own commits.

    Deleting, compacting or shrinking threads leaves it alone. All graphs and processes that use the log share it.

    Args:
        log: The log.
        index: How items are made findable by what they mean; not at all if None.
        ttl: How long items live unless a call says otherwise; for ever if None.
    """

    _waits_for_disk = True

    def __init__(self, log: Log, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        """Keep the log.

        Raises:
            TypeError: It is no log.
        """
        if not isinstance(log, Log):
            message = f"LogStore needs a Log, not a {type(log).__name__}: LogStore(Log.open(path))."
            raise TypeError(message)
        super().__init__(index=index, ttl=ttl)
        self.log = log

    @property
    def is_readonly(self) -> bool:
        """Whether the log was opened for reading only."""
        return self.log.readonly

    def items(self, *, write: bool) -> Items:
        """Return where the items are."""
        return self.log.items(write=write)
