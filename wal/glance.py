"""A glance at the pages of a data file that LMDB would die of, before it maps them.

    newest meta page ─► roots of all tables ─► the last page of each, the first, then the others, PAGES at most

LMDB believes what a page says. A page whose number is not its place ends a process that writes (SIGABRT), and an entry
that is longer than its page one that reads (SIGBUS). Anything else that is wrong with a page it notices, or the
checksums of what lies there do, and the rest of the log stays readable.

Invariants:
1. What a writer changes meanwhile is not taken for damage: only what held under one meta page counts.
2. It costs the same however large the log is, and so finds what is on the way to where the log goes on, not everything.

This module must not know what the tables mean.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from typing import NamedTuple

PAGES = 64
_TRIES = 5
_BRANCH, _LEAF, _BIG, _TABLE = 1, 2, 1, 2
_HEADER, _NODE_BYTES = 16, 8
_MAGIC = 0xBEEFC0DE
_META = struct.Struct("<Q8xI60xQ40xQQQ")
"""A meta page: its number, magic, root of the free pages, root of the tables, last page, transaction."""
_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
_ROOT = 40
_NONE = (1 << 64) - 1


class _Meta(NamedTuple):
    place: int
    roots: tuple[int, ...]
    last: int
    transaction: int


def glance(descriptor: int, size: int, *, readonly: bool = False) -> str:
    """Return what is wrong with a page, in words; empty if nothing was seen.

    Args:
        descriptor: The data file, open for reading.
        size: Bytes of a page.
        readonly: Look only for what ends a process that reads.
    """
    wrong = ""
    for _ in range(_TRIES):
        meta = _newest(descriptor, size)
        if meta is None:
            return ""
        wrong = _look(descriptor, size, meta, readonly=readonly)
        if not wrong or _newest(descriptor, size) == meta:
            return wrong
    return ""


def _newest(descriptor: int, size: int) -> _Meta | None:
    found = []
    for start in (0, size):
        data = os.pread(descriptor, _META.size, start)
        if len(data) == _META.size:
            place, magic, free, main, last, transaction = _META.unpack(data)
            if magic == _MAGIC:
                found.append(_Meta(place - start // size, (main, free), last, transaction))
    return max(found, key=lambda meta: meta.transaction, default=None)


def _look(descriptor: int, size: int, meta: _Meta, *, readonly: bool) -> str:
    if meta.place:
        return "its two meta pages have changed places, so that it would open one commit back"
    waiting = deque(meta.roots)
    for _ in range(PAGES):
        if not waiting:
            return ""
        number = waiting.popleft()
        if number == _NONE:
            continue
        page = os.pread(descriptor, size, number * size)
        if len(page) < size:
            return f"page {number} lies beyond the end"
        place, _, kind, lower, upper = _PAGE.unpack_from(page)
        if not kind & (_BRANCH | _LEAF):
            continue
        if place != number and not readonly:
            return f"page {number} says that it is page {place}"
        if not _HEADER <= lower <= upper <= size or lower % 2:
            return f"page {number} has no room for its entries"
        offsets = struct.unpack_from(f"<{(lower - _HEADER) // 2}H", page, _HEADER)
        if not all(upper <= offset <= size - _NODE_BYTES for offset in offsets):
            return f"page {number} has entries outside of it"
        if kind & _BRANCH:
            below = _below(page, offsets)
            if not all(2 <= each <= meta.last for each in below):
                return f"page {number} leads to where no page is"
            waiting.extend(below[-1:] + below[:-1])
        else:
            wrong, roots = _leaf(page, size, offsets, meta.last)
            if wrong:
                return f"page {number} {wrong}"
            waiting.extend(roots)
    return ""


def _below(page: bytes, offsets: tuple[int, ...]) -> list[int]:
    """Return the pages that a branch leads to."""
    found = []
    for offset in offsets:
        low, high, top, _ = _NODE.unpack_from(page, offset)
        found.append(low | high << 16 | top << 32)
    return found


def _leaf(page: bytes, size: int, offsets: tuple[int, ...], last: int) -> tuple[str, list[int]]:
    """Return what is wrong with a leaf, and the roots of the tables in it."""
    roots = []
    for offset in offsets:
        low, high, flags, key = _NODE.unpack_from(page, offset)
        begin, length = offset + _NODE_BYTES + key, low | high << 16
        if flags & _BIG:
            if begin + 8 > size:
                return "has an entry that is longer than it", []
            first = int.from_bytes(page[begin : begin + 8], "little")
            if first < 2 or first + (_HEADER + length - 1) // size > last:
                return "has a value that goes beyond the end", []
        elif begin + length > size:
            return "has an entry that is longer than it", []
        elif flags & _TABLE and length == _ROOT + 8:
            roots.append(int.from_bytes(page[begin + _ROOT : begin + _ROOT + 8], "little"))
    return "", roots
