"""Encoded data as JSON and back, byte for byte, without knowing a single class.

    encoded bytes ──► tagged(bytes) ──► JSON     {"plan": ["train"], "at": {"$ext": 5, "data": "B+oL…"}}
    encoded bytes ◄── untagged(JSON)

    {"$float": "nan"}                       a float that JSON has not: nan, inf, -inf
    {"$bytes": base64}                      bytes
    {"$map": [[key, value], …]}             a map whose keys are not all text, or begin with "$"
    {"$ext": code, "value": …}              an extension whose payload is one more value (codes from 32 on)
    {"$ext": code, "data": base64}          any other extension
    {"$raw": base64}                        encoded data that this module would write otherwise, as it is

Invariants:
1. ``untagged(tagged(data)) == data`` for every encoded value: what would come back otherwise is kept as it is.
2. No class is looked up and none is called, so a log can be carried over by whoever has not the user's code.

This module must not know what the data mean.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import msgpack
from msgpack import ExtType

from .values import NESTED

DEEPEST = 100
"""What nests deeper stays raw, since readers of JSON give up somewhere."""
_double = struct.Struct(">d").pack
_TEXT = {"unicode_errors": "surrogatepass"}


class _Raw(Exception):
    """A value that is not written in the one way that this module would write it."""


def tagged(data: bytes) -> Any:
    """Return one encoded value as JSON has it."""
    try:
        return _tag_encoded(data, 0)
    except (_Raw, ValueError, TypeError, RecursionError):
        return {"$raw": base64.b64encode(data).decode()}


def untagged(shape: Any) -> bytes:
    """Return the encoded value that ``tagged`` made a shape of.

    Raises:
        ValueError: It is no such shape.
    """
    if type(shape) is dict and "$raw" in shape:
        return base64.b64decode(shape["$raw"], validate=True)
    packed: bytes = _packer().pack(_untag(shape))
    return packed


def _packer() -> msgpack.Packer:
    return msgpack.Packer(use_bin_type=True, **_TEXT)


def _tag_encoded(data: bytes, depth: int) -> Any:
    value = msgpack.unpackb(data, strict_map_key=False, ext_hook=ExtType, raw=False, **_TEXT)
    # What packs to other bytes was written with longer headers, or with keys that come twice.
    if _packer().pack(value) != data:
        raise _Raw
    return _tag(value, depth)


def _tag(value: Any, depth: int) -> Any:
    cls = type(value)
    if cls is str or value is None or cls is bool or cls is int:
        return value
    if cls is float:
        return value if math.isfinite(value) else _tag_odd(value)
    if depth > DEEPEST:
        raise _Raw
    if cls is list:
        return [_tag(each, depth + 1) for each in value]
    if cls is dict:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {key: _tag(each, depth + 1) for key, each in value.items()}
        return {"$map": [[_tag(key, depth + 2), _tag(each, depth + 2)] for key, each in value.items()]}
    if cls is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if cls is ExtType:
        if value.code >= NESTED:
            return {"$ext": value.code, "value": _tag_encoded(value.data, depth + 1)}
        return {"$ext": value.code, "data": base64.b64encode(value.data).decode()}
    raise _Raw


def _tag_odd(value: float) -> dict[str, str]:
    if math.isnan(value) and _double(value) != _double(math.nan):
        # There are many, and text names one.
        raise _Raw
    return {"$float": repr(value)}


def _untag(shape: Any) -> Any:
    cls = type(shape)
    if cls is list:
        return [_untag(each) for each in shape]
    if cls is not dict:
        return shape
    if "$ext" in shape:
        code = shape["$ext"]
        if "value" in shape:
            return ExtType(code, untagged(shape["value"]))
        return ExtType(code, base64.b64decode(shape["data"], validate=True))
    if "$bytes" in shape:
        return base64.b64decode(shape["$bytes"], validate=True)
    if "$float" in shape:
        return float(shape["$float"])
    if "$map" in shape:
        return {_untag(key): _untag(each) for key, each in shape["$map"]}
    return {key: _untag(each) for key, each in shape.items()}
