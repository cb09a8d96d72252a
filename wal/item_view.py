"""Reading items: one read transaction, from a namespace to its row to its items, in order.

    get    name of the namespace ─► number ─► row, compared ─► key ─► number ─► item, compared
    scan   names that begin so ─► numbers, sorted ─► rows, compared ─► their items

Invariants:
1. What an index leads to is compared with what was looked for: a damaged index never hands out another item.

This module must not change anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from .item_layout import (
    SPACE,
    Space,
    is_worn,
    item_key,
    items_of,
    key_key,
    last_number,
    misplaced,
    namespace_key,
    prefix_key,
    space_key,
    times_of,
    unpack_item,
    unpack_space,
)
from .items import Item, ItemView, Namespace
from .tables import ReadTransaction, entries


def find_space(txn: ReadTransaction, table: int, namespace: Namespace) -> Space | None:
    """Return the row of a namespace."""
    number = txn.get(table, namespace_key(namespace))
    if number is None:
        return None
    space = read_space(txn, table, last_number(number))
    if space is None or space.namespace != namespace:
        raise misplaced(f"namespace {namespace!r}", "nothing" if space is None else repr(space.namespace))
    return space


def read_space(txn: ReadTransaction, table: int, number: int) -> Space | None:
    """Return the row of a namespace by its number."""
    data = txn.get(table, space_key(number))
    return None if data is None else unpack_space(data, number)


def spaces(txn: ReadTransaction, table: int) -> Iterator[Space]:
    """Yield the rows of all namespaces, in order."""
    for key, data in entries(txn, table, SPACE):
        yield unpack_space(data, last_number(key))


class TableView(ItemView):
    """A read transaction's view; ``txn`` is None as long as there is no table."""

    def __init__(self, txn: ReadTransaction | None, table: int) -> None:
        self._txn = txn
        self._table = table
        self._now = time.time_ns()

    def get(self, namespace: Namespace, key: str, *, expired: bool = False) -> Item | None:
        """Return an item, or None if it is not there."""
        txn, table = self._txn, self._table
        space = None if txn is None else find_space(txn, table, namespace)
        if txn is None or space is None:
            return None
        number = txn.get(table, key_key(space.number, key))
        if number is None:
            return None
        place = item_key(space.number, last_number(number))
        data = txn.get(table, place)
        if data is None:
            raise misplaced(f"key {key!r} of {namespace!r}", "nothing")
        item = unpack_item(place, data, namespace)
        if item.key != key:
            raise misplaced(f"key {key!r} of {namespace!r}", repr(item.key))
        return item if expired or self._lives(item.expires_at) else None

    def scan(self, prefix: Namespace = (), *, expired: bool = False) -> Iterator[Item]:
        """Yield the items of all namespaces that begin so."""
        txn = self._txn
        if txn is None:
            return
        for space in self._below(txn, prefix):
            for place, data in entries(txn, self._table, items_of(space.number)):
                if expired or self._lives(times_of(data).expires_at):
                    yield unpack_item(place, data, space.namespace)

    def is_worn(self, item: Item) -> bool:
        """Tell whether a touch would begin the item's time anew."""
        return is_worn(item, self._now)

    def spaces(self, *, expired: bool = False) -> list[Namespace]:
        """Return the namespaces that hold items."""
        txn = self._txn
        if txn is None:
            return []
        return [space.namespace for space in self._below(txn, ()) if expired or self._has_living(txn, space)]

    def _below(self, txn: ReadTransaction, prefix: Namespace) -> Iterator[Space]:
        """Yield the rows of all namespaces that begin so, in order."""
        if not prefix:
            yield from spaces(txn, self._table)
            return
        numbers = [last_number(value) for _, value in entries(txn, self._table, prefix_key(prefix))]
        for number in sorted(numbers):
            space = read_space(txn, self._table, number)
            if space is None:
                raise misplaced(f"a namespace below {prefix!r}", f"number {number}, which is not there")
            # A prefix that is longer than a key is cut, and then finds more than is wanted.
            if space.namespace[: len(prefix)] == prefix:
                yield space

    def _has_living(self, txn: ReadTransaction, space: Space) -> bool:
        found = entries(txn, self._table, items_of(space.number))
        return any(self._lives(times_of(data).expires_at) for _, data in found)

    def _lives(self, expires_at: int) -> bool:
        return not expires_at or self._now < expires_at
