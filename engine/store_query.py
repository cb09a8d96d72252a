"""What a search asks for: filters over values, and conditions on namespaces.

    {"status": "open", "size": {"$gte": 3}, "owner": {"name": "Ada"}}       all must hold
     equal              compared             looked into

Invariants:
1. A filter is looked over before anything is read, so that a wrong one is an error even where nothing is stored.
2. What cannot be compared does not match, and is no error: other items may.

It must not know where items are kept.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .store import MatchCondition, Namespace

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_OPERATORS = frozenset({"$eq", "$ne", *_ORDERS})


def check_filter(wanted: Any) -> None:
    """Look a filter over.

    Raises:
        ValueError: It uses an operator that does not exist.
    """
    if isinstance(wanted, dict):
        if _has_operators(wanted):
            for name in wanted:
                if name not in _OPERATORS:
                    message = f"Unsupported operator: {name}. There are {', '.join(sorted(_OPERATORS))}."
                    raise ValueError(message)
            return
        for part in wanted.values():
            check_filter(part)
    elif isinstance(wanted, list | tuple):
        for part in wanted:
            check_filter(part)


def holds(value: Any, wanted: dict[str, Any] | None) -> bool:
    """Tell whether a value passes a filter; a field that is missing counts as None."""
    return not wanted or all(_matches(value.get(name), part) for name, part in wanted.items())


def _has_operators(wanted: dict[Any, Any]) -> bool:
    return any(isinstance(name, str) and name.startswith("$") for name in wanted)


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        if _has_operators(wanted):
            return all(_passes(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, dict) and all(
            _matches(value.get(name), part) for name, part in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(map(_matches, value, wanted))
        )
    return bool(value == wanted)


def _passes(value: Any, name: str, operand: Any) -> bool:
    if name == "$eq":
        return bool(value == operand)
    if name == "$ne":
        return bool(value != operand)
    numbers = _as_numbers(value, operand)
    try:
        return _ORDERS[name](*(numbers or (value, operand)))
    except TypeError:
        return False


def _as_numbers(value: Any, operand: Any) -> tuple[Any, Any] | None:
    """Return both as numbers, if they are numbers or texts that can be read so."""
    if isinstance(value, int | float) and isinstance(operand, int | float):
        return value, operand
    try:
        return float(value), float(operand)
    except (TypeError, ValueError, OverflowError):
        return None


def check_page(limit: Any, offset: Any) -> None:
    """Look over how much is wanted.

    Raises:
        ValueError: It is no number, or below zero.
    """
    for name, number in (("limit", limit), ("offset", offset)):
        if not isinstance(number, int) or number < 0:
            message = f"{name} must be a whole number, zero or more, not {number!r}."
            raise ValueError(message)


def check_conditions(conditions: Iterable[MatchCondition]) -> None:
    """Look conditions on namespaces over.

    Raises:
        ValueError: One has a type that does not exist.
    """
    for condition in conditions:
        if condition.match_type not in ("prefix", "suffix"):
            message = f"Unsupported match type: {condition.match_type}. There are prefix and suffix."
            raise ValueError(message)


def is_match(namespace: Namespace, condition: MatchCondition) -> bool:
    """Tell whether a namespace begins or ends as wanted."""
    length = len(condition.path)
    if len(namespace) < length:
        return False
    part = namespace[:length] if condition.match_type == "prefix" else namespace[len(namespace) - length :]
    return all(wanted in ("*", label) for label, wanted in zip(part, condition.path, strict=True))


def select_namespaces(
    namespaces: Iterable[Namespace], conditions: Sequence[MatchCondition], max_depth: int | None
) -> list[Namespace]:
    """Return the namespaces that meet all conditions, cut at a depth, sorted."""
    found = [each for each in namespaces if all(is_match(each, condition) for condition in conditions)]
    return sorted({each[:max_depth] for each in found})
