"""Items: keyed values beside the records, for stores and caches. The contract.

    change([Put, Touch, Delete, …]) ──► one atomic, durable commit
    view() ──► get, scan, spaces        ◄── one state of all items

An item is known by namespace and key. A log has two shelves of them, ``store`` and ``cache``, which do not know each
other. Nothing of a thread leans on an item: threads are deleted, compacted and folded without looking here.

Invariants:
1. All changes of one call become visible together, or not at all. When the call returns, they are as durable as the
   log's commits.
2. Items come in the order in which their namespaces and, within one, their keys came first.
3. Times are assigned inside the write transaction. ``created_at`` stays when an item is put again.
4. An item whose time is over is handed out only to who asks for such items, and removed by ``sweep``.
5. A damaged item is never handed out: reading it raises ``LogCorrupt``. Putting it again, or deleting it, mends it.

This module must not know how items are kept, nor what their values mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeAlias

Namespace: TypeAlias = tuple[str, ...]


class Item(NamedTuple):
    """One item. Times are nanoseconds; ``ttl`` and ``expires_at`` are 0 for one that stays."""

    namespace: Namespace
    key: str
    value: bytes
    vectors: bytes
    created_at: int
    updated_at: int
    ttl: int
    expires_at: int


class Put(NamedTuple):
    """Keep a value, in the place of the one that is there; ``vectors`` is what a search wants to find beside it."""

    namespace: Namespace
    key: str
    value: bytes
    vectors: bytes = b""
    ttl: int = 0


class Touch(NamedTuple):
    """Let an item's time begin anew; one that is not there, or whose time is over, stays as it is.

    Nothing is written as long as less than a hundredth of the time has passed, so that reading often costs nothing.
    """

    namespace: Namespace
    key: str


class Delete(NamedTuple):
    """Remove an item if it is there."""

    namespace: Namespace
    key: str


class Expire(NamedTuple):
    """Remove an item if its time is over."""

    namespace: Namespace
    key: str


class Clear(NamedTuple):
    """Remove all items of exactly this namespace; of all of them if None."""

    namespace: Namespace | None


Change: TypeAlias = Put | Touch | Delete | Expire | Clear


class ItemView(ABC):
    """One state of all items, for as long as it is open."""

    @abstractmethod
    def get(self, namespace: Namespace, key: str, *, expired: bool = False) -> Item | None:
        """Return an item, or None if it is not there.

        Raises:
            LogCorrupt: It is damaged.
        """

    @abstractmethod
    def scan(self, prefix: Namespace = (), *, expired: bool = False) -> Iterator[Item]:
        """Yield the items of all namespaces that begin so.

        Raises:
            LogCorrupt: One is damaged.
        """

    @abstractmethod
    def is_worn(self, item: Item) -> bool:
        """Tell whether a touch would begin the item's time anew, so that it need not be tried in vain."""

    @abstractmethod
    def spaces(self, *, expired: bool = False) -> list[Namespace]:
        """Return the namespaces that hold items, in the order in which they came."""


class Items(ABC):
    """One shelf of items."""

    @abstractmethod
    def change(self, changes: Sequence[Change]) -> int:
        """Carry out the changes in order, durably and atomically; return how many items were removed.

        Raises:
            ValueError: A name is not valid Unicode; nothing was changed.
            LogFull: There is no room; nothing was changed.
            LogFailed: A flush failed; opening the log again tells what is durable.
        """

    @abstractmethod
    def view(self) -> AbstractContextManager[ItemView]:
        """Return the present state; short, since an open one stops the reuse of space."""

    @abstractmethod
    def sweep(self) -> int:
        """Remove the items whose time is over, in short transactions; return how many."""

    @abstractmethod
    def check(self, look: Callable[[Item], str | None]) -> tuple[int, list[str]]:
        """Read everything; return how many items there are, and what is wrong, in words.

        Args:
            look: Called with each item that is whole; returns what is wrong with it, or None.
        """
