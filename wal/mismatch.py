"""What to say when a recorded value and the class of its name do not fit together.

    the class lost a recorded field · gained one without a default · is another kind of class now

Invariant:
1. Each is an ``UnknownType`` with the name and a remedy; recorded data is never dropped or filled in by guessing.

This module must not decide whether there is a mismatch.
"""

from __future__ import annotations

from .errors import UnknownType
from .registry import name_of


def lost_field(cls: type, names: list[str]) -> UnknownType:
    """Return the error for recorded fields that the class no longer has."""
    return UnknownType(
        f"a recorded {name_of(cls)} has the field(s) {', '.join(names)}, which the class here does not have",
        hint="keep old fields as long as logs hold them; or give the class conversions with register_type",
        name=name_of(cls),
        fields=names,
    )


def other_kind(cls: type, kind: str) -> UnknownType:
    """Return the error for a class that is not of the kind that was recorded."""
    return UnknownType(
        f"{name_of(cls)} was recorded as {kind}, and is none here",
        hint="register the class that was recorded under its old name: register_type(cls, name=...)",
        name=name_of(cls),
    )


def no_default(cls: type, names: list[str]) -> UnknownType:
    """Return the error for fields that were not recorded and have no default."""
    return UnknownType(
        f"a recorded {name_of(cls)} has no field(s) {', '.join(names)}, and the class gives no default for them",
        hint="give new fields a default, so that older records can be read",
        name=name_of(cls),
        fields=names,
    )
