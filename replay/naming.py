"""Names for types and callables that stay the same from one process to the next.

The fingerprint of a graph is made of these names, so they never contain an address or anything else that
differs between two runs of the same code.

    int                           int
    dict[str, list[Message]]      dict[str, list[app.models:Message]]
    Annotated[list, add]          list
    operator.add                  operator:add
    partial(merge, limit=3)       functools:partial(app.state:merge)

Invariants:
1. Equal code gives equal names. The reverse is not promised: two lambdas of one module share a name.
2. Nothing is imported, called or evaluated to find a name.

This module must not turn names back into objects.
"""

from __future__ import annotations

import functools
import types
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

_PUBLIC_HOMES = {"_operator": "operator", "builtins": "builtins"}
"""Modules that are the private half of a public one, by whose name people know them."""


def type_name(annotation: Any) -> str:
    """Return a readable and stable name for a type annotation."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, (str, ForwardRef)):
        return annotation if isinstance(annotation, str) else annotation.__forward_arg__
    origin = get_origin(annotation)
    if origin is None:
        return _plain_name(annotation)
    arguments = get_args(annotation)
    if origin in (Annotated, Required, NotRequired):
        return type_name(arguments[0])
    if origin is Literal:
        return f"Literal[{', '.join(_literal(item) for item in arguments)}]"
    inner = [_argument(item) for item in arguments]
    if origin in (Union, types.UnionType):
        return " | ".join(inner)
    return f"{_plain_name(origin)}[{', '.join(inner)}]"


def callable_name(function: Any) -> str:
    """Return ``module:qualname`` of a function, a method, a partial, or of the class of a callable object."""
    if isinstance(function, functools.partial):
        return f"functools:partial({callable_name(function.func)})"
    named = function if hasattr(function, "__qualname__") else type(function)
    module = getattr(named, "__module__", None) or "builtins"
    return f"{_PUBLIC_HOMES.get(module, module)}:{named.__qualname__}"


def _argument(item: Any) -> str:
    if item is Ellipsis:
        return "..."
    if isinstance(item, (list, tuple)):
        return f"[{', '.join(_argument(part) for part in item)}]"
    return type_name(item)


def _literal(item: Any) -> str:
    # The repr of an enum member holds the value, which may have an address in it; the name has not.
    return f"{type(item).__qualname__}.{item.name}" if hasattr(item, "name") else repr(item)


def _plain_name(item: Any) -> str:
    if isinstance(item, TypeVar):
        return item.__name__
    name = (
        getattr(item, "__qualname__", None) or getattr(item, "__name__", None) or getattr(item, "_name", None)
    )
    if name is None:
        return type(item).__qualname__
    module = getattr(item, "__module__", "builtins")
    return str(name) if module in ("builtins", "typing") else f"{module}:{name}"
