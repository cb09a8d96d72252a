"""A value that cannot be folded here: the last one that is known, and what was written since.

    Unfolded(channel) ── fold ──► the channel's own fold, where everybody has its reducer
                             └──► Gathered(base) ◄─ writes ◄─ writes …     where only the user's code has it

Invariants:
1. Folding never runs code that this process does not have, and never fails for want of it.
2. An ``Overwrite`` makes the value known again.
3. A fold without a ``Gathered`` in it is exact.

It must not guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..replay.channel_base import MISSING, BaseChannel, overwritten
from ..wal.errors import WalgraphError


class Gathered:
    """The writes of one step, linked to those of the steps before, down to a value that is known.

    Args:
        base: The last value that is known; ``MISSING`` if there is none.
        step: What the newest step wrote.
        older: What the steps before it wrote.
    """

    __slots__ = ("base", "older", "step")

    def __init__(self, base: Any, step: tuple[Any, ...], older: Gathered | None = None) -> None:
        self.base = base
        self.step = step
        self.older = older

    def __repr__(self) -> str:
        """Show both parts."""
        return f"Gathered({self.base!r}, {self.writes()!r})"

    def writes(self) -> list[Any]:
        """Return everything written since the base, oldest first."""
        steps: list[tuple[Any, ...]] = []
        held: Gathered | None = self
        while held is not None:
            steps.append(held.step)
            held = held.older
        return [write for step in reversed(steps) for write in step]

    def is_bare(self) -> bool:
        """Return whether no value is known at all."""
        return self.base is MISSING


class Unfolded(BaseChannel):
    """A channel that gathers what it cannot fold.

    Args:
        inner: How the channel folds, if everybody has its reducer.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: BaseChannel | None = None) -> None:
        super().__init__(Any if inner is None else inner.typ)
        self.inner = inner

    def initial(self) -> Any:
        """Return what the channel begins with, as far as it is known."""
        return MISSING if self.inner is None else self.inner.initial()

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the folded value, or the writes gathered on top of it."""
        if self.inner is not None and not isinstance(value, Gathered):
            try:
                return self.inner.fold(value, writes)
            except WalgraphError:
                raise
            except Exception as error:  # noqa: BLE001 - the reducer met values whose classes are not known here
                del error
        if not writes:
            return value
        for write in writes:
            replacement = overwritten(write)
            if replacement is not MISSING:
                return replacement
        if isinstance(value, Gathered):
            return Gathered(value.base, tuple(writes), value)
        return Gathered(value, tuple(writes))
