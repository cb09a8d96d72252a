"""A cache in a log: what was computed once need not be computed again after a restart, nor in another process.

    set ──► encoded ──► items of the log, with a time to live ──► get: those whose time is not over

Invariants:
1. It lies beside the records and the store of the log, and nothing leans on it.
2. A value of a class that this process does not know is as good as none: the caller computes it again.
3. What is over is removed as the cache is used, a while after its time.

It must not know what its keys stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..wal.errors import UnknownType
from ..wal.items import Clear, Put
from ..wal.log import Log
from .cache import BaseCache

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..wal.items import Change
    from .cache import FullKey, Namespace, Serializer

V = TypeVar("V")
_SECOND = 1_000_000_000
_SWEEP_AT = 1000
"""How many values are set between two looks for those whose time is over."""


class LogCache(BaseCache[V]):
    """A cache in the file of a log, shared by all graphs and processes that use the log.

    Args:
        log: The log.
        serde: Makes bytes of values; the log's own codec if omitted.
    """

    def __init__(self, log: Log, *, serde: Serializer | None = None) -> None:
        """Keep the log.

        Raises:
            TypeError: It is no log.
        """
        if not isinstance(log, Log):
            message = f"LogCache needs a Log, not a {type(log).__name__}: LogCache(Log.open(path))."
            raise TypeError(message)
        super().__init__(serde=serde)
        self.log = log
        self._since_sweep = 0

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return the values of those keys that are there and whose time is not over.

        Raises:
            LogCorrupt: One is damaged.
        """
        found: dict[FullKey, V] = {}
        with self.log.items(cached=True).view() as view:
            kept = [view.get(tuple(namespace), key) for namespace, key in keys]
        for item in kept:
            if item is None:
                continue
            # The form of the bytes lies where a store would keep vectors.
            try:
                found[item.namespace, item.key] = self.serde.loads_typed((item.vectors.decode(), item.value))
            except UnknownType:
                continue
        return found

    def set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Keep values, all of them or none.

        Raises:
            NotSerializable: A value would not come back the same.
        """
        changes: list[Change] = []
        for (namespace, key), (value, ttl) in pairs.items():
            form, data = self.serde.dumps_typed(value)
            # What lives for no time at all is over as soon as it is set.
            time = 0 if ttl is None else max(1, int(ttl * _SECOND))
            changes.append(Put(tuple(namespace), key, data, form.encode(), time))
        if changes:
            items = self.log.items(cached=True, write=True)
            items.change(changes)
            self._since_sweep += len(changes)
            if self._since_sweep >= _SWEEP_AT:
                self._since_sweep = 0
                items.sweep()

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget all values of exactly these namespaces; of all of them if None."""
        gone = [Clear(None)] if namespaces is None else [Clear(tuple(each)) for each in namespaces]
        self.log.items(cached=True, write=True).change(gone)
