"""Takes the large parts out of a value, so that what did not change is not written again.

    {"doc": <1 MB str>, "log": [m1 … m900], "n": 3}
       │                  │                  └─ stays
       │                  └─ JOINED_LIST [blob(m1…m80), blob(m81…m161), …, [m880 … m900]]
       └─ blob

A list is cut from its front wherever what gathered exceeds the limit. A list that only grows at its end thus keeps
its full parts for ever and rewrites the last one. Dicts are cut the same way, in their order.

Invariants:
1. The outlined value decodes to the same value as the original.
2. A part goes out of line only when its own encoding exceeds the limit; its inner parts were cut first.
3. Cutting depends on the value alone, so equal beginnings give equal blobs.

This module must not know records, stores, or how objects are written: the encoder's hook does that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgpack import ExtType

from .blob import digest
from .values import BLOB, BYTEARRAY, JOINED_DICT, JOINED_LIST, text_bytes, write_address

_DEPTH_MAX = 64
"""Deeper parts stay where they are. They go out of line with what contains them, and no stack runs out."""

_SMALL = 9
_HEADER = 6


class Outline:
    """One value's, or one batch's, large parts.

    Args:
        limit: Parts above this many encoded bytes go out of line.
        hook: The encoder's hook, which turns objects into extensions.
        pack: Encodes plain data.
    """

    __slots__ = ("_depth", "_hook", "_limit", "_pack", "blobs")

    def __init__(self, limit: int, hook: Callable[[Any], Any], pack: Callable[[Any], bytes]) -> None:
        self._limit = limit
        self._hook = hook
        self._pack = pack
        self._depth = 0
        self.blobs: dict[bytes, bytes] = {}

    def part(self, value: Any) -> Any:
        """Return the value with its large parts replaced by the addresses of blobs."""
        if self._depth >= _DEPTH_MAX:
            return without_bytearrays(value)
        return self._cut(value)[0]

    def _cut(self, value: Any) -> tuple[Any, int]:
        """Return what stands for the value, and (an estimate from above of) its encoded size."""
        cls = type(value)
        if cls is str:
            return self._whole(value, _HEADER + (len(value) if value.isascii() else len(text_bytes(value))))
        if cls is bytes:
            return self._whole(value, _HEADER + len(value))
        if cls is bytearray:
            return self._whole(ExtType(BYTEARRAY, bytes(value)), _HEADER + len(value))
        if cls is float or cls is bool or value is None or (cls is int and -(1 << 63) <= value < 1 << 64):
            return value, _SMALL
        if self._depth >= _DEPTH_MAX and (cls is list or cls is dict):
            # As an extension, so that what is inside is not encoded a second time with what is around it.
            inside = self._pack([without_bytearrays(value)])
            return self._whole(
                ExtType(JOINED_LIST if cls is list else JOINED_DICT, inside), _HEADER + len(inside)
            )
        self._depth += 1
        try:
            if cls is list:
                return self._list(value)
            if cls is dict:
                return self._dict(value)
            extension = self._hook(value)
        finally:
            self._depth -= 1
        return self._whole(extension, _HEADER + len(extension.data))

    def _whole(self, value: Any, size: int) -> tuple[Any, int]:
        return (value, size) if size <= self._limit else self._blob(value)

    def _blob(self, value: Any) -> tuple[Any, int]:
        data = self._pack(value)
        if len(data) <= self._limit:
            # The size was only estimated, and from above.
            return value, len(data)
        name = digest(data)
        self.blobs[name] = data
        address = write_address((name, len(data)), self._pack)
        return ExtType(BLOB, address), _HEADER + len(address)

    def _list(self, value: list[Any]) -> tuple[Any, int]:
        parts: list[Any] = []
        run: list[Any] = []
        size = _HEADER
        for item in value:
            small, item_size = self._cut(item)
            run.append(small)
            size += item_size
            if size > self._limit:
                part, size = self._blob(run)
                if part is not run:
                    parts.append(part)
                    run, size = [], _HEADER
        return self._join(JOINED_LIST, parts, run, size)

    def _dict(self, value: dict[Any, Any]) -> tuple[Any, int]:
        parts: list[Any] = []
        run: dict[Any, Any] = {}
        size = _HEADER
        for key, item in value.items():
            small, item_size = self._cut(item)
            run[key] = small
            size += item_size + (_HEADER + 4 * len(key) if type(key) is str else len(self._pack(key)))
            if size > self._limit:
                part, size = self._blob(run)
                if part is not run:
                    parts.append(part)
                    run, size = {}, _HEADER
        return self._join(JOINED_DICT, parts, run, size)

    def _join(self, code: int, parts: list[Any], run: Any, size: int) -> tuple[Any, int]:
        if not parts:
            return run, size
        if not run and len(parts) == 1:
            return parts[0], _HEADER + len(parts[0].data)
        joined = ExtType(code, self._pack([*parts, run] if run else parts))
        return self._whole(joined, _HEADER + len(joined.data))


def without_bytearrays(value: Any) -> Any:
    """Return plain data in which each bytearray is replaced by the extension that stands for it."""
    cls = type(value)
    if cls is bytearray:
        return ExtType(BYTEARRAY, bytes(value))
    # Loops instead of comprehensions: one frame per level, and values may be 500 levels deep.
    if cls is list:
        items: list[Any] = []
        for item in value:
            items.append(without_bytearrays(item))  # noqa: PERF401
        return items
    if cls is dict:
        entries: dict[Any, Any] = {}
        for key, item in value.items():
            entries[key] = without_bytearrays(item)
        return entries
    return value
