"""How the writes of a superstep become one value.

A channel is a named value of the state. The objects here are descriptions of channels: they hold no value, so
one object serves every thread and every fold. The value travels beside it, in ``ThreadState``.

    kind                          writes in a step   without a write   what a node reads
    LastValue                     one                stays             the value
    AnyValue                      any, last wins     is dropped        the value
    EphemeralValue                one (guard)        is dropped        the value
    UntrackedValue                one (guard)        stays             the value; never stored
    BinaryOperatorAggregate       any, folded        stays             the value
    Topic                         any, gathered      emptied, or kept  the list, unless it is empty
    NamedBarrierValue             names              stays             None, once all names were seen
    NamedBarrierValueAfterFinish  names              stays             the same, after ``finish``
    LastValueAfterFinish          any, last wins     stays             the value, after ``finish``

``fold(value, writes)`` is the one verb that the log repeats. ``consume(value)`` says that the value triggered
a node, ``finish(value)`` that nothing else is due; only the last three kinds (``barrier``) heed them.

Invariants:
1. Every method is pure: it changes neither the value it was given nor the description. So must a reducer be.
2. ``MISSING`` stands for "nothing was written"; None, 0 and empty collections are values like any other.
3. What changes nothing returns the very object it was given, so that a caller may compare by identity.
4. ``fold(value, ())`` differs from a ``value`` only where ``forgets`` is true, so nothing else need be asked.
5. ``fold(MISSING, …)`` and ``fold(channel.initial(), …)`` are the same.

This module must not know tasks or graphs: the caller adds who wrote what to an ``InvalidUpdateError``.
"""

from __future__ import annotations

import collections.abc
import operator as operators
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NotRequired, Required, get_args, get_origin

from .barrier import LastValueAfterFinish, NamedBarrierValue, NamedBarrierValueAfterFinish
from .channel_base import MISSING, BaseChannel, Missing, Overwrite, overwritten
from .naming import callable_name, type_name

__all__ = [
    "MISSING",
    "AnyValue",
    "BaseChannel",
    "BinaryOperatorAggregate",
    "EphemeralValue",
    "LastValue",
    "LastValueAfterFinish",
    "Missing",
    "NamedBarrierValue",
    "NamedBarrierValueAfterFinish",
    "Overwrite",
    "Reducer",
    "Topic",
    "UntrackedValue",
    "concrete",
    "describe",
    "from_description",
    "overwritten",
    "publish_reducer",
]

Reducer = Callable[[Any, Any], Any]
"""``(value so far, one write) -> new value``; pure."""

_CONCRETE: Final[dict[Any, type]] = {
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}


class LastValue(BaseChannel):
    """Holds the last value; one write per step, since two would have no order that means anything."""

    __slots__ = ()

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the one write, or the value when there is none."""
        if len(writes) == 1:
            write = writes[0]
            # There is no reducer to bypass, so the wrapper adds nothing. A dict that looks like it is data.
            return write.value if write.__class__ is Overwrite else write
        if not writes:
            return value
        return self._refuse(
            f"At key '{self.key}': Can receive only one value per step. "
            "Use an Annotated key to handle multiple values.",
            f"Annotate the key with a reducer, such as Annotated[list, operator.add], or let one task write "
            f"{self.key!r} in this step.",
            writes,
        )


class AnyValue(BaseChannel):
    """Holds the last of any number of writes, taken to be equal; empty after a step without one."""

    __slots__ = ()
    forgets = True

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the last write, or ``MISSING``."""
        return writes[-1] if writes else MISSING


class EphemeralValue(BaseChannel):
    """Holds a value for one step only.

    Args:
        typ: The type of the value.
        guard: Whether two writes in one step are an error; otherwise the last one wins.
    """

    __slots__ = ("guard",)
    forgets = True

    def __init__(self, typ: Any, guard: bool = True) -> None:  # noqa: FBT001, FBT002 - LangGraph's signature
        super().__init__(typ)
        self.guard = guard

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the write, or ``MISSING``."""
        if not writes:
            return MISSING
        if self.guard and len(writes) != 1:
            self._refuse_unguarded(writes)
        return writes[-1]

    def _traits(self) -> tuple[Any, ...]:
        return (self.guard,)


class UntrackedValue(BaseChannel):
    """Holds a value that is never stored, such as a connection; it is missing after a restart.

    Args:
        typ: The type of the value.
        guard: Whether two writes in one step are an error; otherwise the last one wins.
    """

    __slots__ = ("guard",)
    tracked = False

    def __init__(self, typ: Any, guard: bool = True) -> None:  # noqa: FBT001, FBT002 - LangGraph's signature
        super().__init__(typ)
        self.guard = guard

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the write, or the value when there is none."""
        if not writes:
            return value
        if self.guard and len(writes) != 1:
            self._refuse_unguarded(writes)
        return writes[-1]

    def _traits(self) -> tuple[Any, ...]:
        return (self.guard,)


class BinaryOperatorAggregate(BaseChannel):
    """Holds what a reducer made of all writes so far.

    Args:
        typ: The type of the value; what ``typ()`` returns is the start, if it can be called so.
        operator: The reducer. Its attribute ``prepare``, if any, is applied to writes before they are logged.
    """

    __slots__ = ("operator", "prepare", "start")

    def __init__(self, typ: Any, operator: Reducer) -> None:
        super().__init__(typ)
        self.operator = operator
        self.start = concrete(typ)
        prepare = getattr(operator, "prepare", None)
        self.prepare = _past_overwrite(prepare) if callable(prepare) else None

    def initial(self) -> Any:
        """Return ``typ()``, made anew, or ``MISSING`` when the type cannot be called without arguments."""
        try:
            return self.start()
        except Exception:  # noqa: BLE001 - any failure means the same: there is no value to start from
            return MISSING

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the value after the reducer took each write in turn; an ``Overwrite`` settles it."""
        operator = self.operator
        if value is MISSING:
            value = self.initial()
        settled = False
        for write in writes:
            kind = write.__class__
            if (kind is dict or kind is Overwrite) and (replacement := overwritten(write)) is not MISSING:
                if settled:
                    self._refuse(
                        "Can receive only one Overwrite value per super-step.",
                        f"Let one task of the step overwrite {self.key!r}.",
                        writes,
                    )
                value = replacement
                settled = True
            elif not settled:
                value = write if value is MISSING else operator(value, write)
        return value

    def _traits(self) -> tuple[Any, ...]:
        # Two lambdas cannot be told apart by name; they are taken to be the same one, written twice.
        name = getattr(self.operator, "__name__", "")
        return () if name == "<lambda>" else (self.operator,)

    def __eq__(self, other: object) -> bool:
        """Return whether the reducers are the same, as far as that can be told."""
        if type(other) is not type(self):
            return False
        ours, theirs = self._traits(), other._traits()
        return not ours or not theirs or ours == theirs

    __hash__ = BaseChannel.__hash__


class Topic(BaseChannel):
    """Gathers what is published to it, in order; a list that is published counts as its items.

    Args:
        typ: The type of one item.
        accumulate: Whether items stay for later steps.
    """

    __slots__ = ("accumulate", "forgets")

    def __init__(self, typ: Any, accumulate: bool = False) -> None:  # noqa: FBT001, FBT002 - as in LangGraph
        super().__init__(typ)
        self.accumulate = accumulate
        self.forgets = not accumulate

    def initial(self) -> Any:
        """Return an empty list."""
        return []

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the items of this step, after those before it when the topic accumulates."""
        if not writes and (self.accumulate or value == []):
            return [] if value is MISSING else value
        items = list(value) if self.accumulate and value is not MISSING else []
        for write in writes:
            if isinstance(write, list):
                items.extend(write)
            else:
                items.append(write)
        return items

    def available(self, value: Any) -> bool:
        """Return whether there are items."""
        return bool(value)

    def get(self, value: Any) -> Any:
        """Return the items as a list of the reader's own."""
        if value:
            return list(value)
        raise self._empty()

    def _traits(self) -> tuple[Any, ...]:
        return (self.accumulate,)


def describe(channel: BaseChannel) -> dict[str, Any]:
    """Return the channel as plain data: for a graph's fingerprint, and for tools without its code."""
    kind = type(channel)
    data: dict[str, Any] = {
        "kind": kind.__name__ if _KINDS.get(kind.__name__) is kind else callable_name(kind),
        "type": type_name(channel.typ),
    }
    match channel:
        case BinaryOperatorAggregate():
            data["reducer"] = callable_name(channel.operator)
            data["start"] = None if channel.initial() is MISSING else type_name(channel.start)
        case EphemeralValue() | UntrackedValue():
            data["guard"] = channel.guard
        case Topic():
            data["accumulate"] = channel.accumulate
        case NamedBarrierValue():
            data["names"] = sorted(str(name) for name in channel.names)
    return data


def from_description(data: dict[str, Any]) -> BaseChannel | None:
    """Return a channel that folds like the described one, or None when that takes code unknown here."""
    match data:
        case {"kind": "BinaryOperatorAggregate", "reducer": str(reducer), "start": start}:
            typ = Any if start is None else _STARTS.get(start)
            known = _REDUCERS.get(reducer)
            return None if typ is None or known is None else BinaryOperatorAggregate(typ, known)
        case {"kind": "EphemeralValue", "guard": bool(guard)}:
            return EphemeralValue(Any, guard)
        case {"kind": "UntrackedValue", "guard": bool(guard)}:
            return UntrackedValue(Any, guard)
        case {"kind": "Topic", "accumulate": bool(accumulate)}:
            return Topic(Any, accumulate)
        case {"kind": "NamedBarrierValue", "names": [*names]}:
            return NamedBarrierValue(str, names)
        case {"kind": "NamedBarrierValueAfterFinish", "names": [*names]}:
            return NamedBarrierValueAfterFinish(str, names)
        case {"kind": "LastValue" | "AnyValue" | "LastValueAfterFinish" as kind}:
            return _KINDS[kind](Any)
    return None


def publish_reducer(reducer: Reducer) -> None:
    """Make a reducer one that everybody has, so that ``from_description`` finds it by its name."""
    _REDUCERS[callable_name(reducer)] = reducer


def concrete(typ: Any) -> Any:
    """Return the class that a type stands for: without annotations and parameters, and not abstract."""
    while (origin := get_origin(typ)) is not None:
        typ = get_args(typ)[0] if origin in (Annotated, Required, NotRequired) else origin
    return _CONCRETE.get(typ, typ) if isinstance(typ, type) else typ


def _past_overwrite(prepare: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return ``prepare`` as applied to a write: it reaches through an ``Overwrite``."""

    def prepared(write: Any) -> Any:
        replacement = overwritten(write)
        return prepare(write) if replacement is MISSING else Overwrite(prepare(replacement))

    return prepared


_KINDS: Final[dict[str, type[BaseChannel]]] = {
    kind.__name__: kind
    for kind in (
        LastValue,
        AnyValue,
        EphemeralValue,
        UntrackedValue,
        BinaryOperatorAggregate,
        Topic,
        NamedBarrierValue,
        NamedBarrierValueAfterFinish,
        LastValueAfterFinish,
    )
}

_STARTS: Final[dict[str, type]] = {
    kind.__name__: kind for kind in (list, dict, set, frozenset, tuple, str, bytes, bool, int, float, complex)
}

_PURE_OPERATORS = ("add", "and_", "concat", "floordiv", "mod", "mul", "or_", "pow", "sub", "truediv", "xor")
"""Functions of ``operator`` that serve as reducers and leave their arguments alone."""

_REDUCERS: Final[dict[str, Reducer]] = {
    callable_name(reducer): reducer
    for reducer in (max, min, *(getattr(operators, name) for name in _PURE_OPERATORS))
}
