"""The arguments of a call as bytes that tell calls apart: what results are cached under when nobody says otherwise.

    {"b": 2, "a": [1]}   ──► each dict in the order of its encoded keys ──► the log's own codec ──► bytes

Invariants:
1. Equal arguments give equal bytes, in whatever order dicts were filled; also within dataclasses and models.
2. Nothing is pickled, and what cannot be encoded is refused.

It must not know caches.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ..replay.naming import callable_name
from ..wal.codec import Encoder
from ..wal.errors import NotSerializable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def canonical(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> bytes:
    """Return the arguments of a call as bytes that are equal for equal arguments.

    Raises:
        NotSerializable: One cannot be encoded.
    """
    given = [list(arguments), dict(keywords)]
    # What cannot be encoded, nests too deep or within itself is refused here, before it is looked through.
    plain = Encoder().value(given, whole=True).data
    try:
        return Encoder().value(_ordered(given), whole=True).data
    except NotSerializable:
        # A class has conversions of its own, since its parts are nothing that a log knows.
        return plain


def _ordered(value: Any) -> Any:
    """Return a value with each dict in the order of its encoded keys."""
    kind = type(value)
    if kind is dict:
        encoded = Encoder()
        ordered: Any = {}
        for key in sorted(value, key=lambda key: encoded.value(key).data):
            ordered[key] = _ordered(value[key])
        return ordered
    if kind is list or kind is tuple:
        items = []
        for item in value:
            items.append(_ordered(item))  # noqa: PERF401 - one Python frame for each level, not two
        return kind(items)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"class": callable_name(kind), "fields": _ordered(tuple(value))}
    if dataclasses.is_dataclass(value):
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    elif hasattr(kind, "model_fields"):
        fields = {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
    else:
        return value
    return {"class": callable_name(kind), "fields": _ordered(fields)}
