"""What the tests of items are run with: shelves of each kind, over memory and over LMDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from item_helpers import Damaged, put

from walgraph.wal.environment import open_environment
from walgraph.wal.items import Items
from walgraph.wal.lmdb_store import LmdbStore
from walgraph.wal.memory_store import MemoryStore


@pytest.fixture(params=["memory", "lmdb"])
def tables_store(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[MemoryStore | LmdbStore]:
    """A new store of each kind."""
    made = MemoryStore() if request.param == "memory" else LmdbStore(open_environment(f"{tmp_path}/log"))
    yield made
    made.close()


@pytest.fixture(params=["items", "cached"])
def items(request: pytest.FixtureRequest, tables_store: MemoryStore | LmdbStore) -> Items:
    """One of its shelves."""
    shelf: Items = getattr(tables_store, request.param)
    return shelf


@pytest.fixture
def damaged(tables_store: MemoryStore | LmdbStore) -> Damaged:
    """A shelf with two items, the second about to be damaged."""
    tables_store.items.change([put("a", "x", value=b"good"), put("a", "y", value=b"fine")])
    return Damaged(tables_store)
