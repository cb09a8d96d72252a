"""Is a table of items whole: each row, each item, each name that leads to one, and their numbers?

    names 01 ─► rows 02 ◄─ counts ─┐
    keys  03 ─► items 04 ──────────┘

Invariants:
1. Nothing is raised for damage: it is reported, and the walk goes on.

This module must not know what values mean.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import LogCorrupt
from .item_layout import (
    BY_KEY,
    BY_NAME,
    ITEM,
    SPACE,
    Space,
    item_key,
    items_of,
    key_key,
    last_number,
    namespace_key,
    unpack_item,
    unpack_space,
)
from .items import Item
from .tables import ReadTransaction, entries


def check_items(
    txn: ReadTransaction, table: int, look: Callable[[Item], str | None]
) -> tuple[int, list[str]]:
    """Read a whole table; return how many items there are, and what is wrong, in words."""
    wrong: list[str] = []
    names = {last_number(value): key for key, value in entries(txn, table, BY_NAME)}
    keys = {
        item_key(last_number(key[:9]), last_number(value)): key for key, value in entries(txn, table, BY_KEY)
    }
    there = 0
    for place, data in entries(txn, table, SPACE):
        try:
            space = unpack_space(data, last_number(place))
        except LogCorrupt as error:
            wrong.append(error.message)
            names.pop(last_number(place), None)
            continue
        if names.pop(space.number, None) != namespace_key(space.namespace):
            wrong.append(f"namespace {space.namespace!r} is not found by its name")
        there += _check_space(txn, table, space, (keys, wrong, look))
    wrong += [f"a name leads to namespace number {number}, which is not there" for number in names]
    items = sum(1 for _ in entries(txn, table, ITEM))
    if items != there:
        wrong.append(f"{items - there} items belong to no namespace")
    elif keys:
        wrong.append(f"{len(keys)} keys lead to items that are not there")
    return items, wrong


def _check_space(
    txn: ReadTransaction,
    table: int,
    space: Space,
    report: tuple[dict[bytes, bytes], list[str], Callable[[Item], str | None]],
) -> int:
    """Check the items of one namespace, and return how many there are."""
    keys, wrong, look = report
    count = 0
    for place, data in entries(txn, table, items_of(space.number)):
        count += 1
        entry = keys.pop(place, None)
        try:
            item = unpack_item(place, data, space.namespace)
        except LogCorrupt as error:
            wrong.append(error.message)
            continue
        if entry != key_key(space.number, item.key):
            wrong.append(f"item {item.key!r} of namespace {space.namespace!r} is not found by its key")
        problem = look(item)
        if problem is not None:
            wrong.append(f"item {item.key!r} of namespace {space.namespace!r}: {problem}")
    if count != space.held:
        wrong.append(f"namespace {space.namespace!r} holds {count} items, its row says {space.held}")
    return count
