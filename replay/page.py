"""One page of outcomes: encoded once, stored by its content, and read entry by entry.

    [fingerprints, callers, offsets, entry 0, entry 1, …]          one encoded value, a blob of the log
      8 bytes       8 bytes   4 bytes    └─ [path, outcome as plain data]
      for each entry, each caller of a loose entry, each entry

An entry is found by the fingerprint of its path and decoded alone, so that looking one up costs neither time nor memory
for the others. The entries that belong to no run (``replay.pages``) come first.

Invariants:
1. ``Page(write(entries).data)`` gives each entry's outcome at its path, and None for every other path.
2. Equal entries make equal bytes, so a page that is made again, by a second fold, is stored once.

It must not know where pages are kept, nor which outcomes belong into them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from msgpack import Packer, Unpacker, packb
from xxhash import xxh3_64_intdigest

from ..wal.blob import Blob, digest
from .plain_outcome import outcome_from_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..wal.codec import Decoder
    from ..wal.record import Path
    from .state import Outcome


def fingerprint(path: Path) -> int:
    """Return the 64 bits by which a path is looked for; two paths may share them, so what is found is compared."""
    return xxh3_64_intdigest(packb(path, unicode_errors="surrogatepass"))


def write(entries: Sequence[tuple[Path, bytes]], callers: Sequence[Path]) -> Blob:
    """Return the page of these entries, each a path with ``[path, outcome]`` as it is encoded."""
    prints = b"".join([fingerprint(path).to_bytes(8) for path, _ in entries])
    outer = b"".join([fingerprint(caller).to_bytes(8) for caller in callers])
    offsets, end = [], 0
    for _, data in entries:
        offsets.append(end)
        end += len(data)
    packer = Packer()
    head = packer.pack_array_header(3 + len(entries))
    parts = [prints, outer, struct.pack(f">{len(offsets)}I", *offsets)]
    data = b"".join([head, *map(packer.pack, parts), *(data for _, data in entries)])
    return Blob(digest(data), data)


class Page:
    """The content of a page, of which nothing but its table is decoded.

    Args:
        data: What ``write`` made.
        decoder: Decodes entries.
    """

    __slots__ = ("_begin", "_data", "_decoder", "_last", "_offsets", "callers", "prints")

    def __init__(self, data: bytes, decoder: Decoder) -> None:
        unpacker = Unpacker(None, max_buffer_size=len(data))
        unpacker.feed(data)
        unpacker.read_array_header()
        self.prints: bytes = unpacker.unpack()
        self.callers: bytes = unpacker.unpack()
        offsets: bytes = unpacker.unpack()
        self._offsets = struct.unpack(f">{len(offsets) // 4}I", offsets)
        self._begin = unpacker.tell()
        self._data = data
        self._decoder = decoder
        self._last = -8

    def get(self, path: Path, sought: int) -> Outcome | None:
        """Return the outcome at a path whose fingerprint is ``sought``, or None."""
        prints, needle = self.prints, sought.to_bytes(8)
        # What is replayed asks for one entry after the other, so the next one is looked at first.
        at = self._last + 8
        if prints[at : at + 8] != needle:
            at = prints.find(needle)
        while at >= 0:
            if at % 8 == 0:
                held, plain = self._entry(at // 8)
                if tuple(held) == path:
                    self._last = at
                    return outcome_from_plain(plain)
            at = prints.find(needle, at + 1)
        return None

    def items(self) -> Iterator[tuple[Path, Outcome]]:
        """Yield the entries in the order in which they lie here."""
        for index in range(len(self._offsets)):
            held, plain = self._entry(index)
            yield tuple(held), outcome_from_plain(plain)

    def paths(self, count: int) -> Iterator[Path]:
        """Yield the paths of the first ``count`` entries; what these came to is not decoded."""
        for index in range(count):
            unpacker = Unpacker(None, strict_map_key=False, unicode_errors="surrogatepass")
            unpacker.feed(self._cut(index))
            unpacker.read_array_header()
            yield tuple(unpacker.unpack())

    def _entry(self, index: int) -> Any:
        return self._decoder.value(self._cut(index))

    def _cut(self, index: int) -> bytes:
        offsets, begin = self._offsets, self._begin
        if index + 1 == len(offsets):
            return self._data[begin + offsets[index] :]
        return self._data[begin + offsets[index] : begin + offsets[index + 1]]
