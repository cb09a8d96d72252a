"""LangGraph's store and cache on our log.

    WalStore(log)    what ``engine.stores.LogStore`` is, under LangGraph's base class and with LangGraph's items
    WalCache(log)    the same for ``engine.cache_log.LogCache``, with LangGraph's serialiser

They are adapters: operations and results are renamed, and nothing is done twice.

Invariants:
1. A ``WalStore`` and a ``LogStore`` on one log hold the same items.

It must not know how items are kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from langgraph.cache.base import BaseCache
from langgraph.store.base import BaseStore, Item, SearchItem

from ..engine import store as ours
from ..engine.cache_log import LogCache
from ..engine.stores import LogStore
from ..wal.log import Log

if TYPE_CHECKING:
    from concurrent.futures import Future

    from langgraph.cache.base import FullKey, Namespace
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langgraph.store.base import IndexConfig, Op, Result, TTLConfig

V = TypeVar("V")
_OPERATIONS: dict[str, Any] = {
    "GetOp": ours.GetOp,
    "SearchOp": ours.SearchOp,
    "PutOp": ours.PutOp,
    "ListNamespacesOp": ours.ListNamespacesOp,
}


class OnLog:
    """What stands on a log that it was given, or that it opened itself and closes; to be used with ``with`` or not.

    Args:
        log: The log, or the directory of one, which is made if it is not there.
        options: What LangGraph's base class is told.
    """

    def __init__(self, log: Log | str | os.PathLike[str], **options: Any) -> None:
        super().__init__(**options)
        self._owned = not isinstance(log, Log)
        self.log = log if isinstance(log, Log) else Log.open(log)

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """Return one on the log at a path, to be used with ``with`` or ``async with``; options as of the class."""
        return cls(conn_string, **options)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def setup(self) -> None:
        """Do nothing: a log needs no preparation. What LangGraph ships for databases has this method."""

    def close(self) -> None:
        """Close the log if it was opened here; idempotent."""
        if self._owned:
            self.log.close()


class WalStore(OnLog, BaseStore):
    """A store in the file of a log: batches are atomic, and as durable as the log's own commits.

    Args:
        log: The log, or the directory of one, which is made if it is not there and closed with the store.
        index: How items are made findable by what they mean; not at all if None.
        ttl: How long items live unless a call says otherwise; for ever if None.
    """

    supports_ttl = True

    def __init__(
        self,
        log: Log | str | os.PathLike[str],
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        super().__init__(log)
        self.ttl_config = ttl
        self._kept = LogStore(self.log, index=index, ttl=ttl)

    def close(self) -> None:
        """Stop the sweeper, and close the log if this store opened it; idempotent."""
        if not self.log.closed:
            self._kept.stop_ttl_sweeper()
        super().close()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations, all of them or none; return one result for each, in order."""
        return [_result(each) for each in self._kept.batch(map(_operation, ops))]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations without blocking the event loop."""
        return [_result(each) for each in await self._kept.abatch(map(_operation, ops))]

    def sweep_ttl(self) -> int:
        """Remove the items whose time is over; return how many."""
        return self._kept.sweep_ttl()

    def start_ttl_sweeper(self, sweep_interval_minutes: int | None = None) -> Future[None]:
        """Begin to remove items whose time is over, now and then."""
        return self._kept.start_ttl_sweeper(sweep_interval_minutes)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop removing them; return whether it has stopped."""
        return self._kept.stop_ttl_sweeper(timeout)


def _operation(op: Any) -> Any:
    kind = _OPERATIONS.get(type(op).__name__)
    if kind is None:
        message = f"WalStore knows no operation {type(op).__name__}."
        raise TypeError(message)
    fields = op._asdict()
    if fields.get("match_conditions"):
        fields["match_conditions"] = tuple([ours.MatchCondition(*each) for each in _pairs(fields)])
    return kind(**fields)


def _pairs(fields: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(each.match_type, each.path) for each in fields["match_conditions"]]


def _result(found: Any) -> Any:
    if isinstance(found, ours.SearchItem):
        return SearchItem(
            found.namespace, found.key, found.value, found.created_at, found.updated_at, found.score
        )
    if isinstance(found, ours.Item):
        return Item(
            value=found.value,
            key=found.key,
            namespace=found.namespace,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )
    if isinstance(found, list):
        return [_result(each) for each in found]
    return found


class WalCache(OnLog, BaseCache[V]):
    """A cache in the file of a log, shared by all graphs and processes that use the log.

    Args:
        log: The log, or the directory of one, which is made if it is not there and closed with the cache.
        serde: LangGraph's serialiser; its own if omitted.
    """

    def __init__(self, log: Log | str | os.PathLike[str], *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(log, serde=serde)
        self._kept: LogCache[V] = LogCache(self.log, serde=self.serde)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return the values of those keys that are there and whose time is not over."""
        return self._kept.get(keys)

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return the values of those keys that are there, without blocking the event loop."""
        return await self._kept.aget(keys)

    def set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Keep values, all of them or none."""
        self._kept.set(pairs)

    async def aset(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Keep values, without blocking the event loop."""
        await self._kept.aset(pairs)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget all values of exactly these namespaces; of all of them if None."""
        self._kept.clear(namespaces)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget values, without blocking the event loop."""
        await self._kept.aclear(namespaces)
