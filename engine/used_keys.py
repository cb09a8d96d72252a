"""The keys that a caller has given to its calls: each may be used once.

    few      a set of the keys themselves
    many     16 bytes of hash each, in a table: a function may make a million calls with keys

Invariants:
1. ``take`` is true for a key once, whichever threads ask.

It must not know calls.
"""

from __future__ import annotations

import threading
from array import array

from xxhash import xxh3_128_intdigest

FEW = 1024
"""Up to so many keys are kept as they are."""

_HALF = (1 << 64) - 1


class UsedKeys:
    """Keys that were used; once they are many, two of them are told apart by 128 bits of hash."""

    __slots__ = ("_count", "_few", "_lock", "_slots")

    def __init__(self) -> None:
        self._few: set[str] | None = set()
        self._slots = array("Q")
        self._count = 0
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Note a key; return whether it was not used before."""
        with self._lock:
            few = self._few
            if few is None:
                return self._add(key)
            if key in few:
                return False
            few.add(key)
            if len(few) > FEW:
                self._few = None
                self._slots = array("Q", bytes(64 * FEW))
                for held in few:
                    self._add(held)
            return True

    def __contains__(self, key: object) -> bool:
        """Return whether a key was used."""
        if not isinstance(key, str):
            return False
        with self._lock:
            if self._few is not None:
                return key in self._few
            return bool(self._slots[_place(self._slots, *_halves(key))])

    def _add(self, key: str) -> bool:
        """Put a key into the table, unless it is there."""
        if 3 * self._count > len(self._slots):
            # Two numbers a key, and a third of the places empty.
            old, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
            for at in range(0, len(old), 2):
                if old[at]:
                    self._put(_place(self._slots, old[at], old[at + 1]), old[at], old[at + 1])
        upper, lower = _halves(key)
        at = _place(self._slots, upper, lower)
        if self._slots[at]:
            return False
        self._put(at, upper, lower)
        self._count += 1
        return True

    def _put(self, at: int, upper: int, lower: int) -> None:
        self._slots[at], self._slots[at + 1] = upper, lower


def _halves(key: str) -> tuple[int, int]:
    """Return the two halves of a key's hash; the first is not 0, which is what an empty place holds."""
    whole = xxh3_128_intdigest(key.encode("utf-8", "surrogatepass"))
    return whole >> 64 or 1, whole & _HALF


def _place(slots: array[int], upper: int, lower: int) -> int:
    """Return where a hash is in the table, or the empty place where it is to be put."""
    mask = len(slots) - 2
    at = upper << 1 & mask
    while slots[at] and (slots[at] != upper or slots[at + 1] != lower):
        at = at + 2 & mask
    return at
