"""Compares plain data, and says where it differs first."""

from __future__ import annotations

from typing import Any


def differs(theirs: Any, ours: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """Return where two pieces of plain data differ first, and how."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if set(theirs) != set(ours):
            return f"{where}: keys", theirs, ours
        pairs = [(f"{where}[{key!r}]", theirs[key], ours[key]) for key in theirs]
    elif isinstance(theirs, list | tuple) and type(theirs) is type(ours):
        if len(theirs) != len(ours):
            return f"{where}: length", theirs, ours
        names = getattr(theirs, "_fields", None)
        pairs = [
            (f"{where}.{names[index]}" if names else f"{where}[{index}]", their, our)
            for index, (their, our) in enumerate(zip(theirs, ours, strict=True))
        ]
    else:
        return None if type(theirs) is type(ours) and theirs == ours else (where, theirs, ours)
    return next((found for place, their, our in pairs if (found := differs(their, our, place))), None)
