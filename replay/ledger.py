"""Outcomes of the open step: a persistent mapping that only grows.

    a = Ledger()                      # {}
    b = a.put(("fetch",), outcome)    # a is still {}
    c = b.put(("rank",), outcome)     # O(1): b and c share one dict, c sees one entry more

A step may hold 100,000 task results, and state is frozen, so each result must not cost a copy of all the others.
A ledger is a dict shared by all versions that grew from each other, plus the number of puts that this version
sees. The newest version puts into the shared dict; an older one, when put to (a fork, a discarded draft), copies
what it sees first. The empty ledger is shared by everybody and so never put to in place.

    Ledger.over(pages, rest)      what is in pages lies in the log (``replay.pages``); only the rest is in memory

Whoever made pages of the oldest values goes on from such a ledger. What is put to it counts for more than the pages.

Invariants:
1. A version never changes what it shows, whatever is put to versions that came from it.
2. A put to the newest version is O(1); a lookup is O(1) for a path that was put once.
3. Iteration is in the order of first put, but pages come first.
4. Threads may put to versions of one ledger at once: a loop drafts while its tasks' children are recorded.

It must not know what an outcome is.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from ..wal.record import Path

V = TypeVar("V")

_PUTTING = threading.Lock()
"""Held while a put looks whether its version is the newest and takes the next number."""


_new = object.__new__


class Ledger(Generic[V]):
    """A persistent, grow-only mapping from task paths to values."""

    __slots__ = ("_puts", "_seen", "_shared", "pages")

    def __init__(self) -> None:
        """Create the empty ledger."""
        # A path's versions are a chain, newest first: (number of the put, value, older version or None).
        self._shared: dict[Path, tuple[int, V, object]] = {}
        self._puts = [0]
        self._seen = 0
        self.pages: Any = None
        """Where the values lie that are not in memory (``replay.pages.Pages``); None while all are."""

    @staticmethod
    def over(pages: Any, rest: Iterable[tuple[Path, V]]) -> Ledger[V]:
        """Return a ledger that shows the rest, and else what lies in pages."""
        new: Ledger[V] = Ledger()
        new.pages = pages
        new._shared = {path: (1, value, None) for path, value in rest}
        new._seen = new._puts[0] = len(new._shared)
        return new

    def put(self, path: Path, value: V) -> Ledger[V]:
        """Return a ledger that shows ``value`` at ``path`` and is otherwise like this one."""
        new: Ledger[V] = _new(Ledger)
        new.pages = self.pages
        seen = self._seen
        if not seen:
            # Nobody else has the first dict of a new ledger, so there is nothing to guard.
            new._shared, new._puts, new._seen = {path: (1, value, None)}, [1], 1
            return new
        with _PUTTING:
            puts = self._puts
            if puts[0] == seen:
                shared = self._shared
            else:
                shared, puts = {key: (0, held, None) for key, held in self.recent()}, [seen]
            number = puts[0] = seen + 1
            shared[path] = (number, value, shared.get(path))
        new._shared, new._puts, new._seen = shared, puts, number
        return new

    def get(self, path: Path) -> V | None:
        """Return the value at ``path``, or None."""
        version: tuple[int, V, object] | None = self._shared.get(path)
        while version is not None and version[0] > self._seen:
            version = version[2]  # type: ignore[assignment]  # a chain of the same tuples
        if version is None:
            return None if self.pages is None else self.pages.get(path)
        return version[1]

    def items(self) -> Iterator[tuple[Path, V]]:
        """Yield the pairs of path and value that this version shows, those in pages too: page by page, from the log."""
        if self.pages is not None:
            for path, value in self.pages.items():
                if self._recent(path) is None:
                    yield path, value
        yield from self.recent()

    def recent(self) -> Iterator[tuple[Path, V]]:
        """Yield the pairs that are in memory: all that may still change, and what was put of late."""
        for path in list(self._shared):
            value = self._recent(path)
            if value is not None:
                yield path, value

    @property
    def recency(self) -> int:
        """How many puts were made since the last page; no fewer than there are pairs in memory."""
        return self._seen

    def calls_left(self, caller: Path, made: int, keys: Container[str]) -> Iterator[int | str]:
        """Yield what ends a path in pages just below ``caller``: numbers from ``made`` on, and keys not in ``keys``."""
        if self.pages is not None:
            yield from self.pages.calls_left(caller, made, keys)

    def _recent(self, path: Path) -> V | None:
        version: tuple[int, V, object] | None = self._shared.get(path)
        while version is not None and version[0] > self._seen:
            version = version[2]  # type: ignore[assignment]  # a chain of the same tuples
        return None if version is None else version[1]

    def __len__(self) -> int:
        """Return how many paths this version shows."""
        return sum(1 for _ in self.items())

    def __bool__(self) -> bool:
        """Return whether anything was put."""
        return self._seen > 0 or self.pages is not None

    def __eq__(self, other: object) -> bool:
        """Compare by what is shown, whatever the history of puts, and wherever it lies."""
        if not isinstance(other, Ledger):
            return False
        count = 0
        for path, value in self.items():
            if other.get(path) != value:
                return False
            count += 1
        return count == len(other)

    __hash__ = None  # type: ignore[assignment]  # its values may be unhashable

    def __repr__(self) -> str:
        """Return the ledger as the dict it stands for."""
        return f"Ledger({dict(self.items())!r})"
