"""Channels that wait: until every name was seen, or until nothing else is due.

    NamedBarrierValue              every name was written                value: the names seen, a frozen set
    NamedBarrierValueAfterFinish   every name written, then finished     value: (names seen, finished)
    LastValueAfterFinish           written, then finished                value: (what was written, finished)

``finish`` is told to them when a step leaves nothing else due; ``consume`` when they have triggered a node.

Invariants:
1. What was consumed is empty again, so that a barrier in a loop fills anew.
2. A write after ``finish`` takes the ``LastValueAfterFinish`` back to waiting: it runs once per quiescence.

This module must not know which nodes wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .channel_base import MISSING, BaseChannel


class NamedBarrierValue(BaseChannel):
    """Becomes available once every name was written. Its value is the frozen set of the names seen.

    Args:
        typ: The type of a name.
        names: The names to wait for.
    """

    __slots__ = ("names",)

    def __init__(self, typ: Any, names: Iterable[Any]) -> None:
        super().__init__(typ)
        self.names = frozenset(names)

    def initial(self) -> Any:
        """Return the empty set."""
        return frozenset()

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the names seen, the new ones included."""
        return self._seen(frozenset() if value is MISSING else value, writes)

    def available(self, value: Any) -> bool:
        """Return whether every name was seen."""
        return bool(value == self.names)

    def get(self, value: Any) -> Any:
        """Return None: a barrier says that, not what."""
        if self.available(value):
            return None
        raise self._empty()

    def consume(self, value: Any) -> Any:
        """Return the empty set when the barrier was complete, so that it can fill again."""
        return frozenset() if value == self.names else value

    def _seen(self, seen: Any, writes: Sequence[Any]) -> Any:
        if strange := [write for write in writes if write not in self.names]:
            self._refuse(
                f"At key '{self.key}': Value {strange[0]} not in {set(self.names)}",
                "Write one of the names that the barrier waits for.",
                writes,
            )
        return seen if seen.issuperset(writes) else frozenset(seen).union(writes)

    def _traits(self) -> tuple[Any, ...]:
        return (self.names,)


class NamedBarrierValueAfterFinish(NamedBarrierValue):
    """A barrier that waits for quiescence too. Its value is ``(names seen, finished)``.

    Args:
        typ: The type of a name.
        names: The names to wait for.
    """

    __slots__ = ()

    def initial(self) -> Any:
        """Return that no name was seen."""
        return (frozenset(), False)

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the names seen, the new ones included."""
        seen, finished = self.initial() if value is MISSING else value
        after = self._seen(seen, writes)
        return value if after is seen and value is not MISSING else (after, finished)

    def available(self, value: Any) -> bool:
        """Return whether every name was seen and the graph came to rest since."""
        return value is not MISSING and bool(value[1]) and bool(value[0] == self.names)

    def consume(self, value: Any) -> Any:
        """Return that no name was seen, when the barrier was available."""
        return self.initial() if self.available(value) else value

    def finish(self, value: Any) -> Any:
        """Return the value as finished, when every name was seen."""
        if value is MISSING or value[1] or value[0] != self.names:
            return value
        return (value[0], True)


class LastValueAfterFinish(BaseChannel):
    """Holds the last write back until nothing else is due. Its value is ``(value, finished)``."""

    __slots__ = ()

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the last write, to be held back anew."""
        return (writes[-1], False) if writes else value

    def available(self, value: Any) -> bool:
        """Return whether the graph came to rest since the last write."""
        return value is not MISSING and bool(value[1])

    def get(self, value: Any) -> Any:
        """Return the value that was held back."""
        if self.available(value):
            return value[0]
        raise self._empty()

    def consume(self, value: Any) -> Any:
        """Return ``MISSING`` when the value was available."""
        return MISSING if self.available(value) else value

    def finish(self, value: Any) -> Any:
        """Return the value as finished."""
        return value if value is MISSING or value[1] else (value[0], True)
