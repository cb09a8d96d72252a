"""Words that the tests of stores and caches share.

called = Called(store, way)
called.get(("users",), "1")     store.get(…), or store.aget(…) on an event loop of its own
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import Way

from walgraph import BaseStore, InMemoryStore, Log, LogStore, MemoryLog, SearchItem


class Called:
    """A store or a cache whose methods are called in one of the two ways.

    Args:
        target: The store or cache.
        way: How to call it.
    """

    def __init__(self, target: Any, way: Way) -> None:
        self.target = target
        self.way = way

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method, or the one with an ``a`` before its name, run to its end."""
        if not self.way.is_async:
            return getattr(self.target, name)
        method = getattr(self.target, f"a{name}")

        @functools.wraps(method)
        def wait(*args: Any, **kwargs: Any) -> Any:
            return asyncio.run(method(*args, **kwargs))

        return wait


class Shop:
    """Makes stores of one kind.

    Args:
        kind: ``memory``, ``memory log`` or ``lmdb``.
        place: A folder for logs.
    """

    def __init__(self, kind: str, place: Path) -> None:
        self.kind = kind
        self.place = place
        self.logs: list[Log] = []

    def make(self, **options: Any) -> BaseStore:
        """Return a store; one in a log always in the same."""
        if self.kind == "memory":
            return InMemoryStore(**options)
        if not self.logs:
            self.logs.append(MemoryLog() if self.kind == "memory log" else Log.open(self.place / "log"))
        return LogStore(self.logs[0], **options)


def found(items: list[SearchItem]) -> list[str]:
    """The keys of what a search found."""
    return [item.key for item in items]
