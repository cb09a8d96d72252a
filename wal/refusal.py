"""Finds and words why a value cannot be recorded.

The encoder fails fast and knows only the innermost culprit. This module walks the value again, slowly, and names the
place as the user would write it: ``channel 'client', path ['a'][3].connection``.

Invariants:
1. It runs only after a failure, never on the way of a value that can be recorded.
2. It always ends in ``NotSerializable`` or returns because no value fails alone.

This module must not know the wire format; it is given a function that tries to encode.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from .classes import BUILTINS, is_named_tuple
from .errors import NotSerializable
from .registry import default_name
from .thirdparty import is_model
from .values import FOREIGN, Refused

_STEPS_MAX = 32
_CODE = (type, FunctionType, BuiltinFunctionType, MethodType, functools.partial)
_HINT = (
    "keep connections, clients, locks and the like out of the state and reach them through the run's context; "
    "or teach walgraph the class: register_type(cls, encode=..., decode=...)"
)


def reason_against(cls: type) -> str:
    """Say why values of a class are refused."""
    if cls in FOREIGN:
        return FOREIGN[cls]
    for base in BUILTINS:
        if issubclass(cls, base):
            return f"it is a subclass of {base.__name__} and would come back as a plain {base.__name__}"
    if issubclass(cls, _CODE):
        return "functions and classes are code, and only values are recorded"
    return "nothing says how to rebuild it"


def explain(named: Iterable[tuple[str, str | None, Any]], attempt: Callable[[Any], object]) -> None:
    """Raise ``NotSerializable`` for the first of the named values that fails; return if none does.

    Args:
        named: Values with words for their place, and their channel if they are written to one.
        attempt: Encodes a value and raises ``Refused`` if that cannot be done.
    """
    for place, channel, value in named:
        problem = _problem(value, attempt)
        if problem is not None:
            raise _error(place, channel, value, problem, attempt)


def _problem(value: Any, attempt: Callable[[Any], object]) -> Refused | None:
    try:
        attempt(value)
    except Refused as problem:
        return problem
    return None


def _error(
    place: str, channel: str | None, value: Any, problem: Refused, attempt: Callable[[Any], object]
) -> NotSerializable:
    path = ""
    if not problem.whole:
        for _ in range(_STEPS_MAX):
            for step, part in _parts(value):
                inner = _problem(part, attempt)
                if inner is not None:
                    path, value, problem = path + step, part, inner
                    break
            else:
                break
    cls = type(value)
    where = f"{place}, path {path}" if path else place
    return NotSerializable(
        f"{where}: a value of type {default_name(cls).replace(':', '.')} cannot be recorded, since {problem.reason}",
        hint=_HINT,
        channel=channel,
        path=path,
        type=default_name(cls),
    )


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value consists of, with the expression that leads there."""
    cls = type(value)
    if issubclass(cls, dict):
        for key, item in list(dict.items(value)):
            yield f" key {key!r}", key
            yield f"[{key!r}]", item
    elif issubclass(cls, (list, tuple, deque)) and not is_named_tuple(cls):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif issubclass(cls, (set, frozenset)):
        for item in value:
            yield f" member {item!r}", item
    elif issubclass(cls, BaseException):
        for index, item in enumerate(value.args):
            yield f".args[{index}]", item
    if is_model(cls):
        yield from _attributes(value, [*value.__dict__])
        for kind in ("__pydantic_extra__", "__pydantic_private__"):
            for name, item in (getattr(value, kind, None) or {}).items():
                yield f".{name}", item
    elif is_named_tuple(cls):
        yield from _attributes(value, value._fields)
    elif not isinstance(value, type):
        fields = (
            [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
        )
        own = getattr(value, "__dict__", None) or {}
        yield from _attributes(value, [*fields, *(name for name in own if name not in fields)])


def _attributes(value: Any, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for name in names:
        if hasattr(value, name):
            yield f".{name}", getattr(value, name)
