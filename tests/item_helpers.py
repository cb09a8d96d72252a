"""Words that the tests of items share: what is there, and how to damage it."""

from __future__ import annotations

from walgraph.wal.items import Item, Items, Put
from walgraph.wal.lmdb_store import LmdbStore
from walgraph.wal.memory_store import MemoryStore
from walgraph.wal.tables import ITEMS, Tables


def names(items: Items, *prefix: str, expired: bool = False) -> list[tuple[str, ...]]:
    """Namespace and key of what a scan finds, in order."""
    with items.view() as view:
        return [(*item.namespace, item.key) for item in view.scan(prefix, expired=expired)]


def one(items: Items, namespace: tuple[str, ...], key: str, *, expired: bool = False) -> Item | None:
    """One item."""
    with items.view() as view:
        return view.get(namespace, key, expired=expired)


def spaces(items: Items) -> list[tuple[str, ...]]:
    """The namespaces."""
    with items.view() as view:
        return view.spaces()


def fine(item: Item) -> None:
    """Find nothing wrong with a value."""


def problems(items: Items) -> list[str]:
    """What a check finds."""
    return items.check(fine)[1]


def put(*path: str, value: bytes = b"v", ttl: int = 0) -> Put:
    """A put at a namespace and key."""
    return Put(path[:-1], path[-1], value, b"", ttl)


class Damaged:
    """A shelf whose bytes can be changed from below."""

    def __init__(self, store: MemoryStore | LmdbStore) -> None:
        self.items = store.items
        self.tables: Tables = store._tables

    def change(self, kind: bytes, old: bytes = b"", new: bytes | None = None) -> None:
        """Replace bytes in the last entry of a kind; without any, remove it."""
        with self.tables.write() as txn:
            key, value = txn.at_or_before(ITEMS, bytes([kind[0] + 1])) or (b"", b"")
            assert key.startswith(kind)
            if new is None:
                txn.delete(ITEMS, key)
            else:
                assert old in value
                txn.put(ITEMS, key, value.replace(old, new))
