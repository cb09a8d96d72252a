"""Words that the tests of stores and caches share.

called = Called(store, way)
called.get(("users",), "1")     store.get(…), or store.aget(…) on an event loop of its own
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from helpers import Way


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
