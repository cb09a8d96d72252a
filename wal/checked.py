"""Rows with a checksum of their own, and names as keys: what all tables beside the log of frames are made of.

It must not know what rows mean.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeVar

import msgpack
import xxhash

from .errors import LogCorrupt

NAME_BYTES = 400
Row = TypeVar("Row", bound=tuple[Any, ...])
_SEAL = struct.Struct(">Q")
_packb: Callable[[object], bytes] = msgpack.packb
_hash = xxhash.xxh3_64_intdigest


def pack_checked(fields: tuple[object, ...], seed: int) -> bytes:
    """Encode a row of the directory with its own checksum in front."""
    data = _packb(fields)
    return _SEAL.pack(_hash(data, seed)) + data


def unpack_checked(data: bytes, seed: int, what: str) -> list[object]:
    """Decode what ``pack_checked`` made.

    Raises:
        LogCorrupt: The bytes are not what was written.
    """
    body = data[8:]
    if len(data) < 9 or _SEAL.unpack_from(data)[0] != _hash(body, seed):
        message = f"The {what} is damaged: its checksum does not match its {len(data)} bytes."
        raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", what=what)
    try:
        fields: list[object] = msgpack.unpackb(body, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        message = f"The {what} holds no encoded fields: {error!r}."
        raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", what=what) from error
    if not isinstance(fields, tuple):
        message = f"The {what} holds no list of fields."
        raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", what=what)
    return fields


def shaped(cls: type[Row], fields: Sequence[Any], what: str) -> Row:
    """Make a row of its fields, each of the class that it is declared with; older rows have fewer.

    Checksums are no proof against malice: whoever made a log to do harm has made them fit.

    Raises:
        LogCorrupt: There are too many fields or too few, or one is of another class or beyond what is stored.
    """
    kinds = _KINDS.get(cls) or _kinds_of(cls)
    is_right = len(fields) <= len(kinds)
    for value, kind in zip(fields, kinds, strict=False):
        cls_of = type(value)
        is_right = (
            is_right and (not kind or cls_of in kind) and (cls_of is not int or -(1 << 63) <= value < 1 << 64)
        )
    try:
        if is_right:
            return cls(*fields)
    except TypeError:
        pass
    message = f"The {what} is not what a row of its kind is: {len(fields)} fields, or one of another class."
    raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", what=what)


def misfits(row: tuple[Any, ...]) -> list[str]:
    """Return the names of a named tuple's fields that are not of the classes with which they are declared."""
    kinds = _KINDS.get(type(row)) or _kinds_of(type(row))
    names: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
    return [
        name
        for name, value, kind in zip(names, row, kinds, strict=False)
        if kind and type(value) not in kind and not isinstance(value, tuple(kind))
    ]


def _kinds_of(cls: type) -> list[frozenset[type]]:
    """Return which classes the fields of a named tuple may be of."""
    from typing import Literal, Union, get_args, get_origin, get_type_hints

    found = []
    for hint in get_type_hints(cls).values():
        options = get_args(hint) if get_origin(hint) in {UnionType, Union} else (hint,)
        classes = set[type]()
        for each in options:
            literals = get_args(each) if get_origin(each) is Literal else ()
            classes.update(map(type, literals) if literals else [get_origin(each) or each])
        # What is declared as anything may be anything.
        found.append(frozenset([] if Any in options else classes))
    _KINDS[cls] = found
    return found


_KINDS: dict[type, list[frozenset[type]]] = {}


def name_key(name: str) -> bytes:
    """Return the key under which a name, however long, is found; what it leads to is compared on every hit."""
    encoded = name.encode()
    return b"\x00" + encoded if len(encoded) <= NAME_BYTES else b"\x01" + xxhash.xxh3_128_digest(encoded)
