"""A data file read without LMDB, as far as it can be read: for what is too damaged to be opened.

    meta page ─► tree of the main table ─► trees of the named tables ─► leaves ─► entries
    all pages ─► leaves that no tree leads to any more ─► frames that a broken branch has hidden (``strays``)

The layout is LMDB 0.9's (data format 1), as ``lmdb.verify`` reads it; integers are little-endian.

    page    number u64, pad u16, flags u16, lower u16, upper u16 (an overflow page: pages u32), then node offsets u16
    node    low u16, high u16, flags u16, length of key u16, key, value
            a branch: low, high and flags are the number of the page below; a leaf: low and high the length of the
            value, flag 1: the value is the number of its first overflow page, flag 2: the value is a table's head

Invariants:
1. Nothing that is read is believed: every number is checked before it leads anywhere, and no page is read twice.
2. What cannot be read is counted, and the walk goes on beside it.

This module must not know what the tables mean.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from .errors import LogCorrupt

_MAGIC = 0xBEEFC0DE
_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
_META = struct.Struct("<II")
_HEAD = struct.Struct("<IHHQQQQQ")
_U64 = struct.Struct("<Q")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _TABLE = 1, 2
_HEADER = 16
_NONE = (1 << 64) - 1
DEEPEST = 32

Entry = tuple[bytes, bytes]


class Head(NamedTuple):
    """Where a table's tree begins, and how many entries it should have."""

    depth: int
    entries: int
    root: int


class Pages:
    """A data file, read page by page.

    Args:
        path: The log's directory.

    Raises:
        LogCorrupt: Neither meta page can be read.
    """

    def __init__(self, path: str) -> None:
        with Path(path, "data.mdb").open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = 4096
        self.lost: dict[str, int] = {}
        """Table → how many of its pages could not be read."""
        self._seen: set[int] = set()
        metas = [meta for meta in (self._meta(0), self._meta(self._page_size())) if meta is not None]
        if not metas:
            message = f"Neither of the two first pages of {path}/data.mdb can be read."
            raise LogCorrupt(message, hint="Restore it from a backup.", path=path)
        self.tables = self._tables([head for _, head in sorted(metas, key=lambda meta: -meta[0])])

    def __enter__(self) -> Self:
        """Return the pages themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._data.close()

    def forget(self) -> None:
        """Let pages be read again; what was lost stays known."""
        self._seen.clear()

    def entries(self, table: str) -> Iterator[Entry]:
        """Yield the entries of a table that can be read, in order."""
        head = self.tables.get(table)
        if head is not None and head.root != _NONE:
            self.lost[table] = 0
            yield from self._walk(table, head.root, 0)

    def strays(self, key_bytes: int, magic: bytes) -> Iterator[Entry]:
        """Yield entries of leaves anywhere in the file whose keys are so long and whose values begin so.

        Among them are those of pages that are free by now: whoever asks must tell what is still meant.
        """
        for number in range(2, len(self._data) // self.size):
            if self._page(number, _LEAF) is None:
                continue
            for key, value, _ in self._leaf(number):
                if len(key) == key_bytes and value is not None and value.startswith(magic):
                    yield key, value

    def _page_size(self) -> int:
        size = int.from_bytes(self._data[40:44], "little")
        return size if size in {1 << bits for bits in range(9, 17)} else 4096

    def _meta(self, start: int) -> tuple[int, Head] | None:
        """Return the number of the transaction and the head of the main table that a meta page holds."""
        if len(self._data) < start + 152:
            return None
        magic, version = _META.unpack_from(self._data, start + 16)
        if magic != _MAGIC or version != 1:
            return None
        self.size = self._page_size() if start == 0 else start
        (transaction,) = _U64.unpack_from(self._data, start + 144)
        return transaction, _head(self._data[start + 88 : start + 136])

    def _tables(self, heads: list[Head]) -> dict[str, Head]:
        """Return the tables of the newest main tree that can be read."""
        for head in heads:
            self._seen.clear()
            self.lost["main"] = 0
            found = {}
            for key, value, flags in self._nodes("main", head.root, 0):
                if flags & _TABLE and value is not None and len(value) == _HEAD.size:
                    found[key.decode("utf-8", "replace")] = _head(value)
            if found:
                return found
        return {}

    def _walk(self, table: str, number: int, depth: int) -> Iterator[Entry]:
        for key, value, flags in self._nodes(table, number, depth):
            if flags & _TABLE:
                continue
            if value is None:
                self.lost[table] += 1
            else:
                yield key, value

    def _nodes(self, table: str, number: int, depth: int) -> Iterator[tuple[bytes, bytes | None, int]]:
        """Yield the leaves' nodes below a page, in order."""
        page = None if depth > DEEPEST or number in self._seen else self._page(number, _BRANCH | _LEAF)
        if page is None:
            self.lost[table] += 1
            return
        self._seen.add(number)
        if page & _LEAF:
            yield from self._leaf(number)
            return
        for below in self._branch(number):
            yield from self._nodes(table, below, depth + 1)

    def _page(self, number: int, kinds: int) -> int | None:
        """Return the kind of a page; None if there is no such page, or one of another kind."""
        start = number * self.size
        if number < 2 or start + self.size > len(self._data):
            return None
        own, _, flags, lower, upper = _PAGE.unpack_from(self._data, start)
        is_sound = own == number and flags & kinds and flags & ~(kinds | 0x10) == 0
        if not is_sound or not _HEADER <= lower <= upper <= self.size:
            return None
        return int(flags)

    def _offsets(self, number: int) -> Iterator[int]:
        """Yield where the nodes of a page begin, in the file."""
        start = number * self.size
        lower, upper = struct.unpack_from("<HH", self._data, start + 12)
        for (offset,) in struct.iter_unpack("<H", self._data[start + _HEADER : start + lower]):
            if upper <= offset <= self.size - _NODE.size:
                yield start + offset

    def _branch(self, number: int) -> list[int]:
        found = []
        for place in self._offsets(number):
            low, high, flags, _ = _NODE.unpack_from(self._data, place)
            found.append(low | high << 16 | flags << 32)
        return found

    def _leaf(self, number: int) -> Iterator[tuple[bytes, bytes | None, int]]:
        end = (number + 1) * self.size
        for place in self._offsets(number):
            low, high, flags, length = _NODE.unpack_from(self._data, place)
            size = low | high << 16
            begin = place + _NODE.size + length
            if begin > end:
                continue
            key = self._data[place + _NODE.size : begin]
            if flags & _BIG:
                yield key, self._big(begin, size) if begin + 8 <= end else None, flags
            elif begin + size <= end:
                yield key, self._data[begin : begin + size], flags
            else:
                yield key, None, flags

    def _big(self, place: int, size: int) -> bytes | None:
        """Return a value that lies on pages of its own."""
        (number,) = _U64.unpack_from(self._data, place)
        start = number * self.size
        if number < 2 or start + _HEADER + size > len(self._data):
            return None
        own, _, flags, _, _ = _PAGE.unpack_from(self._data, start)
        if own != number or not flags & _OVERFLOW:
            return None
        return self._data[start + _HEADER : start + _HEADER + size]


def _head(data: bytes) -> Head:
    _, _, depth, _, _, _, entries, root = _HEAD.unpack(data)
    return Head(depth, entries, root)
