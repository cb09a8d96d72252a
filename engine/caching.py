"""Results that are used again: where the result of a call is kept, and how it is looked for.

    call ──► Place: namespace (function, name) and key (a hash of ``key_func`` of its arguments)
               ├─ look ── found ──► the call is not made; what was found is recorded as its outcome
               └─ not found ──► the call is made ──► keep

What is kept is what the function returned, and not what a graph made of it: routers are asked each time, and edges may
change. A cache is asked before anything is recorded and told before the outcome is, so a log needs no cache to be read,
and a process that dies in between finds in the cache what it did not record.

Invariants:
1. A cache that fails costs time, never a run: it is said in the log of the program, and the call is made.
2. What depends on an answer to a question is neither kept nor looked for: the answer was given to one thread.

It is loaded by the first call that may be cached. It must not know who calls, nor what becomes of the results.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import xxhash

from ..replay.naming import callable_name
from ..wal.errors import NotSerializable
from .errors import InvalidCacheKey, InvalidGraph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .cache import BaseCache, FullKey, Namespace
    from .node import Callee, Node
    from .policy import CachePolicy

NAMESPACE = "__pregel_ns_writes"
"""The first part of every namespace; LangGraph's, so that one cache may hold other things beside."""

_LOG = logging.getLogger("walgraph.cache")


class Place:
    """Where one call's result is kept.

    Args:
        cache: The cache.
        policy: How results are kept.
        callee: What is called.
        name: What users call it.
        arguments: The call's arguments in their order …
        keywords: … and by name.

    Raises:
        NotSerializable: An argument cannot be encoded, so the calls cannot be told apart.
        InvalidCacheKey: ``key_func`` returned something else than text or bytes.
    """

    def __init__(
        self,
        cache: BaseCache[Any],
        policy: CachePolicy,
        callee: Callee,
        name: str,
        arguments: Sequence[Any],
        keywords: Mapping[str, Any] | None = None,
    ) -> None:
        self._cache = cache
        self._name = name
        self._ttl = policy.ttl
        try:
            key = policy.key_func(*arguments, **(keywords or {}))
        except NotSerializable as error:
            error.add_note(
                f"the arguments of {name!r} are what its result would be cached under; give its CachePolicy a key_func "
                "that makes text or bytes of them"
            )
            raise
        if not isinstance(key, str | bytes):
            message = f"key_func of {name!r} returned {key!r}, which is neither text nor bytes"
            raise InvalidCacheKey(
                message, hint="Return str or bytes, for example by json.dumps(x, sort_keys=True)."
            )
        data = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
        self.key: FullKey = namespace_of(callee, name), xxhash.xxh3_128_hexdigest(data)

    def look(self) -> tuple[Any] | None:
        """Return the result that is kept, in a tuple since it may be None; None if there is none."""
        try:
            return self._found(self._cache.get([self.key]))
        except Exception as error:
            self._cannot_read(error)
            return None

    async def alook(self) -> tuple[Any] | None:
        """Return the result that is kept; see ``look``."""
        try:
            return self._found(await self._cache.aget([self.key]))
        except Exception as error:
            self._cannot_read(error)
            return None

    def keep(self, value: Any) -> None:
        """Keep a result."""
        try:
            self._cache.set({self.key: (value, self._ttl)})
        except Exception as error:
            self._cannot_write(error)

    async def akeep(self, value: Any) -> None:
        """Keep a result; see ``keep``."""
        try:
            await self._cache.aset({self.key: (value, self._ttl)})
        except Exception as error:
            self._cannot_write(error)

    def _found(self, values: Mapping[FullKey, Any]) -> tuple[Any] | None:
        return (values[self.key],) if self.key in values else None

    def _cannot_read(self, error: Exception) -> None:
        _LOG.warning(
            "the cache cannot be read, so %r is called as if nothing were cached: %r", self._name, error
        )

    def _cannot_write(self, error: Exception) -> None:
        _LOG.warning(
            "what %r returned cannot be cached, so an equal call will be made again; this one counts: %r",
            self._name,
            error,
        )


def namespace_of(callee: Callee, name: str) -> Namespace:
    """Return where results of a node or task are kept: by what the function is called, and by its own name."""
    function = callee.function
    identity = callable_name(function)
    if "<lambda>" in identity:
        # All lambdas of a scope have one name.
        identity = f"{identity}:{getattr(getattr(function, '__code__', None), 'co_firstlineno', '')}"
    elif callee.is_runnable:
        identity = f"{identity}:{getattr(function, 'name', '')}"
    return NAMESPACE, identity, name


def namespaces_of(nodes: Mapping[str, Node], names: Iterable[str] | None) -> list[Namespace]:
    """Return where results of a graph's nodes are kept.

    Args:
        nodes: The graph's nodes.
        names: Those that are meant; None for all.

    Raises:
        InvalidGraph: There is no node of a name.
    """
    found = []
    for name in nodes if names is None else names:
        node = nodes.get(name)
        if node is None:
            message = f"there is no node {name!r} whose results could be forgotten"
            raise InvalidGraph(message, hint=f"The graph's nodes are {', '.join(map(repr, nodes))}.")
        if node.callee is not None:
            found.append(namespace_of(node.callee, name))
    return found
