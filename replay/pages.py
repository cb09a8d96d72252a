"""The pages of a ledger: outcomes that are final lie in the log, and here is only where.

    path ──► a run of its caller's calls ──┐
         └─► the table of loose ones ──────┴──► number of the page ──► its bytes, kept for a while ──► the outcome

    run      calls numbered 40 … 551 of one caller in one page: three numbers, however many calls
    loose    every other path, those of calls with keys for example: 8 bytes of a table, and as many for its caller

A function that makes a million calls one after another thus costs a few numbers for each page. What is replayed asks
for outcomes about in the order in which they were recorded, so a page is read once and then forgotten.

Invariants:
1. A version never changes what it shows, whatever is added to versions that came from it.
2. A path lies in one page at most.
3. What is kept of pages' contents is bounded: ``KEPT_PAGES``, and ``KEPT_BYTES`` of them unless one alone is larger.
4. Reading goes by content: a fetch gives the bytes of that digest or raises, so what is found does not depend on when.

It must not know which outcomes are final, nor when pages are made (``replay.paging``).
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right, insort
from collections import OrderedDict
from struct import unpack
from typing import TYPE_CHECKING, Any

from ..wal.named import NamedTuple
from ..wal.record import Path, Reference
from .page import Page, fingerprint

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from ..wal.codec import Decoder
    from .state import Outcome

RUN_LENGTH = 32
"""From how many consecutive calls of one caller in a page on they are noted as a run."""

KEPT_PAGES = 16
KEPT_BYTES = 4 << 20
"""How much of what was read of pages is kept: for calls that are asked for in another order than they ended in."""

_PAGE_BITS = 20
_PAGE = (1 << _PAGE_BITS) - 1
_END = 1 << 64


class Leaf(NamedTuple):
    """Where a page lies, and which paths it has: the runs, and that so many of its first entries are in none."""

    reference: Reference
    size: int
    loose: int
    runs: tuple[tuple[Path, int, int], ...]


class _Table:
    """A set of fingerprints with the page of each, in 8 bytes an entry; it grows only.

    A slot holds the upper bits of a fingerprint and the page's number plus one in the lowest; 0 is an empty slot.
    """

    __slots__ = ("_held", "_slots")

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._held = 0

    def add(self, sought: int, page: int) -> None:
        if 3 * self._held > 2 * len(self._slots):
            grown = array("Q", bytes(16 * len(self._slots)))
            for slot in self._slots:
                if slot:
                    self._put(grown, slot)
            self._slots = grown
        self._put(self._slots, sought & ~_PAGE | page + 1)
        self._held += 1

    def pages(self, sought: int) -> Iterator[int]:
        """Yield the numbers of pages that may hold what has this fingerprint."""
        slots = self._slots
        mask, upper = len(slots) - 1, sought >> _PAGE_BITS
        at = upper & mask
        while slot := slots[at]:
            if slot >> _PAGE_BITS == upper:
                yield (slot & _PAGE) - 1
            at = at + 1 & mask

    @staticmethod
    def _put(slots: array[int], slot: int) -> None:
        mask = len(slots) - 1
        at = slot >> _PAGE_BITS & mask
        while slots[at]:
            at = at + 1 & mask
        slots[at] = slot


class _Directory:
    """What all versions share: where paths are, for as many pages as the newest version has; and what was read."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.leaves: list[Leaf] = []
        self.runs: dict[Path, list[tuple[int, int, int]]] = {}
        self.lock = threading.Lock()
        self._table: _Table | None = None
        self._callers: _Table | None = None
        self._tabled = 0
        self._fresh: dict[int, bytes] = {}
        self._kept: OrderedDict[int, tuple[Page, int]] = OrderedDict()
        self._kept_bytes = 0
        self.reads = 0
        """How many pages were read from the log so far."""

    def add(self, leaf: Leaf, data: bytes | None = None) -> None:
        """Add a page; whoever has just made it brings its bytes, since nobody may have stored them yet."""
        number = len(self.leaves)
        if data is not None and leaf.loose:
            self._fresh[number] = data
        self.leaves.append(leaf)
        for caller, first, last in leaf.runs:
            insort(self.runs.setdefault(caller, []), (first, last, number))

    def page(self, number: int) -> Page:
        """Return a page, from what is kept or from the log."""
        with self.lock:
            held = self._kept.get(number)
            if held is not None:
                self._kept.move_to_end(number)
                return held[0]
        fetch = self.decoder.fetch
        assert fetch is not None, "pages lie in a log"
        data = fetch(self.leaves[number].reference.digest)
        page = Page(data, self.decoder)
        with self.lock:
            self.reads += 1
            if number not in self._kept:
                self._kept[number] = (page, len(data))
                self._kept_bytes += len(data)
            while len(self._kept) > KEPT_PAGES or (self._kept_bytes > KEPT_BYTES and len(self._kept) > 1):
                _, (_, size) = self._kept.popitem(last=False)
                self._kept_bytes -= size
        return page

    def tables(self) -> tuple[_Table, _Table]:
        """Return where loose paths are, and which callers have some; made of what the pages say of themselves."""
        paths, callers = self._table, self._callers
        if paths is None or callers is None or self._tabled < len(self.leaves):
            with self.lock:
                paths, callers = self._table or _Table(), self._callers or _Table()
                fetch = self.decoder.fetch
                assert fetch is not None, "pages lie in a log"
                for number in range(self._tabled, len(self.leaves)):
                    leaf = self.leaves[number]
                    if leaf.loose:
                        # Not kept: of most of them nothing else is needed now.
                        data = self._fresh.pop(number, None)
                        page = Page(fetch(leaf.reference.digest) if data is None else data, self.decoder)
                        for sought in unpack(f">{leaf.loose}Q", page.prints[: 8 * leaf.loose]):
                            paths.add(sought, number)
                        for sought in unpack(f">{len(page.callers) // 8}Q", page.callers):
                            if next(callers.pages(sought), None) is None:
                                callers.add(sought, number)
                    self._tabled = number + 1
                self._table, self._callers = paths, callers
        return paths, callers


class Pages:
    """Outcomes that lie in pages of the log.

    Args:
        decoder: Fetches and decodes what lies in the log.
        leaves: The pages.
    """

    __slots__ = ("_count", "_directory")

    def __init__(self, decoder: Decoder, leaves: Sequence[Leaf] = ()) -> None:
        self._directory = _Directory(decoder)
        for leaf in leaves:
            self._directory.add(leaf)
        self._count = len(leaves)

    @property
    def leaves(self) -> Sequence[Leaf]:
        """The pages, in the order in which they were made."""
        return self._directory.leaves[: self._count]

    @property
    def reads(self) -> int:
        """How many pages were read so far to look something up."""
        return self._directory.reads

    def adding(self, made: Sequence[tuple[Leaf, bytes]]) -> Pages:
        """Return a version that has these pages as well, of which each comes with its bytes."""
        directory = self._directory
        if self._count != len(directory.leaves):
            # Somebody else goes on from this version already.
            return Pages(directory.decoder, self.leaves).adding(made)
        new: Pages = object.__new__(Pages)
        for leaf, data in made:
            directory.add(leaf, data)
        new._directory, new._count = directory, len(directory.leaves)
        return new

    def get(self, path: Path) -> Outcome | None:
        """Return the outcome at ``path``, or None.

        Raises:
            LogCorrupt: The page is missing or damaged.
            UnknownType: A value in it is of a class that is not known here.
        """
        directory, last = self._directory, path[-1]
        runs = directory.runs.get(path[:-1])
        if runs is not None and isinstance(last, int):
            at = bisect_right(runs, (last, _END, 0)) - 1
            if at >= 0 and last <= runs[at][1]:
                number = runs[at][2]
                return directory.page(number).get(path, fingerprint(path)) if number < self._count else None
        sought = fingerprint(path)
        for number in directory.tables()[0].pages(sought):
            if number < self._count:
                found = directory.page(number).get(path, sought)
                if found is not None:
                    return found
        return None

    def items(self) -> Iterator[tuple[Path, Outcome]]:
        """Yield all paths with their outcomes, page by page."""
        for number in range(self._count):
            yield from self._directory.page(number).items()

    def calls_left(self, caller: Path, made: int, keys: Container[str]) -> Iterator[int | str]:
        """Yield what ends paths just below ``caller``: numbers from ``made`` on, and keys that are not in ``keys``."""
        directory = self._directory
        for first, last, _ in directory.runs.get(caller, ()):
            yield from range(max(first, made), last + 1)
        sought = fingerprint(caller)
        if next(directory.tables()[1].pages(sought), None) is None:
            return
        needle = sought.to_bytes(8)
        for number, leaf in enumerate(self.leaves):
            if not leaf.loose:
                continue
            page = directory.page(number)
            if needle in page.callers:
                for path in page.paths(leaf.loose):
                    part = path[-1]
                    if path[:-1] == caller and (part not in keys if isinstance(part, str) else part >= made):
                        yield part

    def __len__(self) -> int:
        """Return how many outcomes there are."""
        return sum(leaf.size for leaf in self.leaves)

    def to_plain(self) -> list[Any]:
        """Return where the pages lie, as plain data."""
        return [
            [leaf.reference, leaf.size, leaf.loose, [[list(caller), *ends] for caller, *ends in leaf.runs]]
            for leaf in self.leaves
        ]

    @staticmethod
    def from_plain(plain: list[Any], decoder: Decoder) -> Pages:
        """Return the pages that ``to_plain`` was asked for."""
        return Pages(
            decoder,
            [
                Leaf(reference, count, loose, tuple((tuple(caller), *ends) for caller, *ends in runs))
                for reference, count, loose, runs in plain
            ],
        )
