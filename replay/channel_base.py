"""What every channel is: a description with pure methods, the missing value, and the write that overwrites.

    MISSING       stands for the value of a channel to which nothing was written
    Overwrite     a write that replaces a value instead of being folded into it
    BaseChannel   what the kinds in ``channel`` and ``barrier`` have in common

Invariants:
1. There is one ``MISSING`` per process; copies and pickles of it are it.
2. A channel object is never changed once it is made; ``named`` returns a twin.

This module must not know the kinds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, NoReturn, Self, final

from .errors import EmptyChannelError, InvalidUpdateError
from .naming import type_name

OVERWRITE: Final = "__overwrite__"
"""The mark by which plain data, as a client sends it, says that it is an ``Overwrite``."""


@final
class Missing:
    """The class of ``MISSING``; it has no other instance."""

    __slots__ = ()
    _only: ClassVar[Missing | None] = None

    def __new__(cls) -> Missing:
        """Return the one instance, so that copies and unpickled values stay comparable by identity."""
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __bool__(self) -> Literal[False]:
        """Count as false, as nothing does."""
        return False

    def __repr__(self) -> str:
        """Return ``MISSING``."""
        return "MISSING"

    def __reduce__(self) -> tuple[type[Missing], tuple[()]]:
        """Pickle and copy as the one instance."""
        return (Missing, ())


MISSING: Final = Missing()
"""Stands for the value of a channel to which nothing was written. Compare with ``is``."""


@dataclass(slots=True)
class Overwrite:
    """A write that replaces the value of an aggregate instead of being folded into it.

    The other writes of the step to that channel have no effect; a second ``Overwrite`` in it is an error.
    As plain data it is ``{"__overwrite__": value}`` or ``{"value": value, "type": "__overwrite__"}``.
    """

    value: Any
    type: Literal["__overwrite__"] = OVERWRITE


def overwritten(write: Any) -> Any:
    """Return the value that an ``Overwrite``, in any of its forms, asks for; ``MISSING`` for other writes."""
    kind = write.__class__
    if kind is Overwrite:
        return write.value
    if kind is dict:
        if len(write) == 1 and OVERWRITE in write:
            return write[OVERWRITE]
        if write.get("type").__class__ is str and write["type"] == OVERWRITE and "value" in write:
            return write["value"]
    return MISSING


class BaseChannel:
    """One channel: what it may hold and how writes change it.

    Args:
        typ: The type of the value, as annotated in the schema.
        key: The name of the channel in the state; ``named`` gives it later.
    """

    __slots__ = ("key", "typ")

    forgets: bool = False
    """Whether a step without a write changes the value, so that ``fold(value, ())`` must be called for it."""

    tracked: bool = True
    """Whether the value may be stored. An untracked one is lost with the process."""

    prepare: Callable[[Any], Any] | None = None
    """Applied to a write before it is logged: settles what a reducer would otherwise invent, such as ids."""

    def __init__(self, typ: Any, key: str = "") -> None:
        self.typ = typ
        self.key = key

    def named(self, key: str) -> Self:
        """Return the same description under another key."""
        twin = copy.copy(self)
        twin.key = key
        return twin

    def initial(self) -> Any:
        """Return the value that the channel holds before the first write, or ``MISSING``."""
        return MISSING

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return what the value becomes through the writes of one step, in their order.

        Raises:
            InvalidUpdateError: The channel cannot take these writes; the key is in ``details["channel"]``.
        """
        raise NotImplementedError

    def available(self, value: Any) -> bool:
        """Return whether a node can read the channel, and be triggered by it."""
        return value is not MISSING

    def get(self, value: Any) -> Any:
        """Return what a node reads.

        Raises:
            EmptyChannelError: There is nothing to read.
        """
        if self.available(value):
            return value
        raise self._empty()

    def consume(self, value: Any) -> Any:
        """Return the value after it has triggered a node."""
        return value

    def finish(self, value: Any) -> Any:
        """Return the value after a step that left nothing else due."""
        return value

    def __eq__(self, other: object) -> bool:
        """Return whether both behave alike; type and key are left out, as when schemas share a key."""
        return type(other) is type(self) and self._traits() == other._traits()

    def __hash__(self) -> int:
        """Hash by kind, which equal descriptions share."""
        return hash(type(self))

    def __repr__(self) -> str:
        """Return kind, key and type."""
        return f"{type(self).__name__}({type_name(self.typ)}, key={self.key!r})"

    def _traits(self) -> tuple[Any, ...]:
        """Return what sets descriptions of the same kind apart."""
        return ()

    def _empty(self) -> EmptyChannelError:
        return EmptyChannelError(
            f"The channel {self.key!r} ({type(self).__name__}) holds nothing that can be read.",
            hint="Write to it in an earlier step, or give the key a reducer whose type has an empty value.",
            channel=self.key,
        )

    def _refuse(self, message: str, hint: str, writes: Sequence[Any] = ()) -> NoReturn:
        raise InvalidUpdateError(message, hint=hint, channel=self.key, writes=len(writes))

    def _refuse_unguarded(self, writes: Sequence[Any]) -> NoReturn:
        self._refuse(
            f"At key '{self.key}': {type(self).__name__}(guard=True) can receive only one value per step. "
            "Use guard=False if you want to store any one of multiple values.",
            "Let one task of the step write the key, or pass guard=False.",
            writes,
        )
