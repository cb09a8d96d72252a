"""Caches: results of nodes and tasks that are kept for a while, so that the same call need not be made again.

    set({(namespace, key): (value, seconds)}) ──► encoded ──► get([(namespace, key)]) ──► a copy of the value

A cache may forget at any time, and whoever asks it must be able to do without: what must not be lost is in the log.

Invariants:
1. What comes back is a copy: nobody who changes it changes what the next one gets.
2. A value whose time is over is never handed out.
3. What cannot be encoded is refused before anything is kept.

It must not know what its keys stand for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..wal.codec import GLOBAL, Decoder, Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Namespace = tuple[str, ...]
FullKey = tuple[Namespace, str]
V = TypeVar("V")

FORM = "walgraph"
"""What our own codec says of the bytes that it makes."""
_SWEEP_AT = 1024
"""By how many values a cache grows, at least, before those are removed whose time is over."""


class Serializer(Protocol):
    """Makes bytes of values, and values of bytes; LangGraph's serialisers have this shape."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the form of the bytes, and the bytes."""
        ...

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value."""
        ...


class CodecSerializer:
    """The log's own codec: exact round trips or a typed error, and no pickle."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._decoder = Decoder(GLOBAL)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Encode a value.

        Raises:
            NotSerializable: The value, or a part of it, would not come back the same.
        """
        return FORM, self._encoder.value(obj, whole=True).data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Decode a value.

        Raises:
            UnknownType: The value is of a class that this process does not know.
        """
        return self._decoder.value(data[1])


class BaseCache(ABC, Generic[V]):
    """What a cache is.

    Args:
        serde: Makes bytes of values; the log's own codec if omitted.
    """

    serde: Serializer

    def __init__(self, *, serde: Serializer | None = None) -> None:
        self.serde = serde if serde is not None else CodecSerializer()

    @abstractmethod
    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return the values of those keys that are there and whose time is not over."""

    @abstractmethod
    def set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Keep values.

        Args:
            pairs: Namespace and key → the value, and for how many seconds; None for ever.
        """

    @abstractmethod
    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget all values of exactly these namespaces; of all of them if None."""

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return the values of those keys that are there; from a thread, unless a subclass knows better."""
        return await asyncio.to_thread(self.get, keys)

    async def aset(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Keep values; from a thread, unless a subclass knows better."""
        await asyncio.to_thread(self.set, pairs)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget values; from a thread, unless a subclass knows better."""
        await asyncio.to_thread(self.clear, namespaces)


class InMemoryCache(BaseCache[V]):
    """A cache in this process's memory; safe to use from any thread.

    Args:
        serde: Makes bytes of values; the log's own codec if omitted.
    """

    def __init__(self, *, serde: Serializer | None = None) -> None:
        super().__init__(serde=serde)
        # Until when each value counts is told by a clock that nobody sets.
        self._kept: dict[FullKey, tuple[tuple[str, bytes], float | None]] = {}
        self._swept = 0
        self._lock = threading.Lock()

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return copies of the values of those keys that are there and whose time is not over."""
        now = time.monotonic()
        found: dict[FullKey, tuple[str, bytes]] = {}
        with self._lock:
            for namespace, name in keys:
                key = tuple(namespace), name
                data, until = self._kept.get(key, (None, None))
                if data is None:
                    continue
                if until is None or now < until:
                    found[key] = data
                else:
                    del self._kept[key]
        return {key: self.serde.loads_typed(data) for key, data in found.items()}

    def set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Keep copies of values; all of them, or none if one cannot be encoded.

        Raises:
            NotSerializable: A value would not come back the same.
        """
        encoded = {key: (self.serde.dumps_typed(value), ttl) for key, (value, ttl) in pairs.items()}
        now = time.monotonic()
        with self._lock:
            for (namespace, name), (data, ttl) in encoded.items():
                self._kept[tuple(namespace), name] = data, None if ttl is None else now + ttl
            if len(self._kept) > 2 * self._swept + _SWEEP_AT:
                # What nobody asks for again would stay for ever.
                self._kept = {k: kept for k, kept in self._kept.items() if kept[1] is None or now < kept[1]}
                self._swept = len(self._kept)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget all values of exactly these namespaces; of all of them if None."""
        with self._lock:
            if namespaces is None:
                self._kept.clear()
            else:
                gone = {tuple(namespace) for namespace in namespaces}
                self._kept = {key: kept for key, kept in self._kept.items() if key[0] not in gone}

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """Return copies of the values of those keys that are there and whose time is not over."""
        return self.get(keys)

    async def aset(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Keep copies of values."""
        self.set(pairs)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget all values of exactly these namespaces; of all of them if None."""
        self.clear(namespaces)
