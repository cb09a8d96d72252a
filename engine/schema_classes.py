"""Which classes a schema mentions, so that a log can rebuild their values.

    class State(TypedDict):
        order: Order                        ──►  Order, and what its fields mention
        lines: dict[str, list[Line]]        ──►  Line, …
        mode: Literal[Mode.FAST]            ──►  Mode

Only classes whose values are data are returned: dataclasses, enums, named tuples, pydantic models and attrs
classes. Another class in a schema, say of a connection, is not meant to be stored just because it is named.

Invariants:
1. Annotations are only read. Nothing is constructed or imported.
2. A name that cannot be found hides only what lies behind it; reading the schema itself reports it.

This module must not know channels beyond their type, nor the codec.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

from ..replay.channel import BaseChannel


def classes_in(schema: Any) -> set[type]:
    """Return every class of data that can be reached from a schema's annotations, the schema included."""
    seen: set[int] = set()
    found: set[type] = set()
    # Annotations need not be hashable, so what was seen is known by identity; the list keeps them alive.
    pending: list[Any] = [schema]
    for annotation in pending:
        if id(annotation) not in seen:
            seen.add(id(annotation))
            if isinstance(annotation, type) and _is_data(annotation):
                found.add(annotation)
            pending.extend(_parts(annotation))
    return found


def is_model(schema: Any) -> bool:
    """Return whether the schema is a pydantic model, without importing pydantic."""
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return base is not None and isinstance(schema, type) and issubclass(schema, base)


def _is_data(cls: type) -> bool:
    return (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, Enum)
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        or is_model(cls)
        or hasattr(cls, "__attrs_attrs__")
    )


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation is made of."""
    if isinstance(annotation, BaseChannel):
        yield annotation.typ
    elif get_origin(annotation) is Literal:
        yield from (type(value) for value in get_args(annotation))
    elif get_origin(annotation) is not None:
        yield get_origin(annotation)
        for part in get_args(annotation):
            # The parameters of a Callable come as a list.
            yield from part if isinstance(part, list) else (part,)
    elif isinstance(annotation, type):
        if _is_data(annotation) or is_typeddict(annotation):
            yield from _field_types(annotation)
    else:
        # A type variable, a new type, or an alias made by the ``type`` statement.
        for attribute in ("__bound__", "__constraints__", "__supertype__", "__value__"):
            part = getattr(annotation, attribute, None)
            yield from part if isinstance(part, tuple) else (part,)


def _field_types(cls: type) -> Iterator[Any]:
    if is_model(cls):
        fields: dict[str, Any] = getattr(cls, "model_fields", {})
        yield from (field.annotation for field in fields.values())
    hints: dict[str, Any] = {}
    with contextlib.suppress(NameError, TypeError, AttributeError):
        hints = get_type_hints(cls, include_extras=True)
    if not hints:
        for base in cls.__mro__:
            hints.update(inspect.get_annotations(base))
    yield from hints.values()
