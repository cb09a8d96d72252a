"""The two shelves of items that a store over tables has: made when they are first asked for.

Most programs keep no items, and so never load what reads and writes them.

It must not know what items are.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .tables import CACHED, ITEMS, Tables

if TYPE_CHECKING:
    from .items import Items


class Shelves:
    """What stores and caches keep beside the records."""

    _tables: Tables

    @cached_property
    def items(self) -> Items:
        """What stores keep."""
        return _shelf(self._tables, ITEMS)

    @cached_property
    def cached(self) -> Items:
        """What caches keep."""
        return _shelf(self._tables, CACHED)

    def renew_shelves(self) -> None:
        """Forget the shelves, with whoever waited at them; for a forked child, which lacks those threads."""
        for name in ("items", "cached"):
            vars(self).pop(name, None)


def _shelf(tables: Tables, table: int) -> Items:
    from .table_items import TableItems

    return TableItems(tables, table)
