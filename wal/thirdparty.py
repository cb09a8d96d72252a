"""Values of pydantic and numpy, without importing either before data is theirs.

    pydantic   a model is its field values, the names of the fields that were given, extra values, private values
    numpy      an array is dtype, shape, memory order and bytes; a scalar is dtype and bytes

Invariants:
1. Neither library is imported for a question; only an array in recorded data imports numpy.
2. No validator runs: the values were valid when they were written.
3. Arrays of Python objects are refused in both directions.

This module must not know payloads, nor other kinds of class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from .errors import UnknownType
from .mismatch import lost_field, other_kind
from .registry import name_of
from .values import ARRAY, MODEL, SCALAR, Form, Pack, Refused

Find: TypeAlias = Callable[[str], type]
"""Returns the class of a recorded name, or raises UnknownType."""


def is_model(cls: type) -> bool:
    """Tell whether the class is a pydantic model, without importing pydantic for the question."""
    pydantic = sys.modules.get("pydantic")
    base = getattr(pydantic, "BaseModel", None)
    return base is not None and issubclass(cls, base)


def model_form(cls: Any) -> Form:
    """Return how models of this class are written."""
    name = name_of(cls)
    fields = cls.model_fields

    def make(value: Any, _pack: Pack) -> list[Any]:
        # The instance dictionary also holds cached properties, which come back by themselves.
        items = {field: content for field, content in value.__dict__.items() if field in fields}
        private = value.__pydantic_private__
        return [
            name,
            items,
            sorted(value.__pydantic_fields_set__),
            value.__pydantic_extra__,
            None if private is None else dict(private),
        ]

    return Form(MODEL, make)


def read_model(content: Any, find: Find) -> Any:
    """Rebuild a model from its parts."""
    name, items, fields_set, extra, private = content
    cls: Any = find(name)
    if not is_model(cls):
        raise other_kind(cls, "a pydantic model")
    fields = cls.model_fields
    if lost := [field for field in items if field not in fields]:
        raise lost_field(cls, lost)
    if len(items) != len(fields):
        for field, facts in fields.items():
            # A field that was added later, unless this very instance was made without it (model_construct).
            if field not in items and not facts.is_required():
                items[field] = facts.get_default(call_default_factory=True, validated_data=items)
    value = cls.__new__(cls)
    place = object.__setattr__
    place(value, "__dict__", items)
    place(value, "__pydantic_fields_set__", set(fields_set))
    place(value, "__pydantic_extra__", extra)
    place(value, "__pydantic_private__", private)
    return value


def numpy_form(cls: Any) -> Form | None:
    """Return how a class of numpy is written, or None when it is refused."""
    numpy = sys.modules["numpy"]
    if cls is numpy.ndarray:
        return Form(ARRAY, _write_array)
    if issubclass(cls, numpy.generic):
        return Form(SCALAR, lambda value, _pack: [_write_dtype(value.dtype, value), value.tobytes()])
    return None


def _write_dtype(dtype: Any, value: Any) -> Any:
    if dtype.hasobject:
        raise Refused(value, "a numpy array of Python objects cannot be recorded; use a list")
    written = dtype.str if dtype.names is None else dtype.descr
    if sys.modules["numpy"].dtype(written) != dtype:
        raise Refused(value, f"the dtype {dtype} would not come back the same")
    return written


def _write_array(value: Any, _pack: Pack) -> list[Any]:
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    return [_write_dtype(value.dtype, value), list(value.shape), order, value.tobytes(order)]


def _dtype(written: Any) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise UnknownType(
            "a recorded value is a numpy array, and numpy is not installed here",
            hint="install numpy",
            name="numpy:ndarray",
        ) from error
    dtype = numpy.dtype(written)
    if dtype.hasobject:
        raise ValueError("an array of Python objects is never written")
    return dtype


def read_array(content: Any, _find: Find) -> Any:
    """Rebuild an array that the user may write to."""
    written, shape, order, data = content
    dtype = _dtype(written)
    numpy = sys.modules["numpy"]
    if not data:
        return numpy.empty(shape, dtype, order)
    # A bytearray, because an array over bytes would be read-only.
    return numpy.frombuffer(bytearray(data), dtype).reshape(shape, order=order)


def read_scalar(content: Any, _find: Find) -> Any:
    """Rebuild a scalar."""
    written, data = content
    dtype = _dtype(written)
    # Text of length zero has items of no bytes, which frombuffer cannot count.
    return sys.modules["numpy"].frombuffer(data, dtype)[0] if data else dtype.type()
