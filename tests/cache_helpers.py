"""Words that the tests of cached results share: nodes that count, and caches that count or fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from helpers import Trail, Way

from walgraph import START, CachePolicy, InMemoryCache, StateGraph

POLICY = CachePolicy()
HIT = {"__metadata__": {"cached": True}}


def one(node: Any, log: Any = None, cache: Any = None, *, state: Any = Trail, **options: Any) -> Any:
    """Return a graph of one node whose results are cached."""
    options = {"cache_policy": POLICY, **options}
    return StateGraph(state).add_node("n", node, **options).add_edge(START, "n").compile(log, cache=cache)


def on(thread: str) -> dict[str, Any]:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": thread}}


def way_of_clearing(way: Way, graph: Any, *arguments: Any) -> None:
    """Clear a graph's cache in one of the two ways."""
    if way.is_async:
        asyncio.run(graph.aclear_cache(*arguments))
    else:
        graph.clear_cache(*arguments)


def counted(way: Way, name: str = "n", failures: int = 0) -> Any:
    """Return a node that writes how often it ran, after it failed as often as asked.

    Args:
        way: How it is made.
        name: What it leaves in the trail.
        failures: How many of its first attempts fail.
    """

    def node(state: Any) -> dict[str, Any]:
        made.ran += 1
        if made.ran <= failures:
            message = "not yet"
            raise ValueError(message)
        return {"trail": [name], "x": made.ran}

    made: Any = way.node(node)
    made.ran = 0
    return made


class Counted(InMemoryCache[Any]):
    """A cache that remembers what it was given, and may be slow.

    Args:
        pause: Seconds that each look takes.
    """

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__()
        self.pause = pause
        self.was_set: list[tuple[Any, int | None]] = []

    def get(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Look, slowly."""
        time.sleep(self.pause)
        return super().get(keys)

    async def aget(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Look, slowly."""
        await asyncio.sleep(self.pause)
        return super().get(keys)

    def set(self, pairs: Mapping[Any, tuple[Any, int | None]]) -> None:
        """Keep, and remember."""
        self.was_set.extend(pairs.values())
        super().set(pairs)


class Broken(InMemoryCache[Any]):
    """A cache whose server is away."""

    def get(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Fail."""
        message = "no cache today"
        raise ConnectionError(message)

    def set(self, pairs: Mapping[Any, tuple[Any, int | None]]) -> None:
        """Fail."""
        self.get(())
