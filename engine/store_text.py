"""Which texts of a value are embedded: paths into it, as LangGraph writes them.

    "title"   "author.name"   "tags[0]"   "tags[-1]"   "parts[*].text"   "meta.*"   "{title,author.name}"   "$"

Invariants:
1. What is not there gives no text, and is no error.
2. ``[*]`` and ``*`` give one text for each element, ``{a,b}`` one for each field.

It must not embed anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WHOLE = "$"
"""The path of the whole value."""
_CLOSING = {"[": "]", "{": "}"}


def tokenize_path(path: str) -> list[str]:
    """Split a path into its steps: names, ``[…]`` and ``{…}``."""
    tokens = []
    place = 0
    while place < len(path):
        start = place
        if path[place] in _CLOSING:
            place = _behind_closing(path, place)
        elif path[place] == ".":
            place += 1
            continue
        else:
            while place < len(path) and path[place] not in ".[{":
                place += 1
        tokens.append(path[start:place])
    return tokens


def _behind_closing(path: str, place: int) -> int:
    """Return the place behind the bracket that closes the one at ``place``; the end if none does."""
    opening = path[place]
    depth = 0
    for index in range(place, len(path)):
        depth += (path[index] == opening) - (path[index] == _CLOSING[opening])
        if depth == 0:
            return index + 1
    return len(path)


def get_text_at_path(obj: Any, path: str | Sequence[str]) -> list[str]:
    """Return the texts that a path leads to.

    Args:
        obj: The value.
        path: The path, or its steps; ``"$"`` or nothing for the whole.

    Returns:
        Texts as they are, numbers as text, lists and dicts as JSON; nothing for None and for what is not there.
    """
    if not path or path == WHOLE:
        return [_as_json(dict(obj) if isinstance(obj, Mapping) else obj)]
    return list(_texts(obj, tokenize_path(path) if isinstance(path, str) else list(path)))


def _texts(obj: Any, tokens: list[str]) -> Iterator[str]:
    if not tokens:
        yield from _leaf(obj)
        return
    token, rest = tokens[0], tokens[1:]
    if token.startswith("{") and token.endswith("}"):
        for field in token[1:-1].split(","):
            yield from _leaf(_walk(obj, tokenize_path(field.strip())))
        return
    for part in _step(obj, token):
        yield from _texts(part, rest)


def _step(obj: Any, token: str) -> list[Any]:
    """Return the parts that one step leads to."""
    is_list = isinstance(obj, list | tuple)
    if token.startswith("[") and token.endswith("]"):
        if not is_list:
            return []
        if token == "[*]":  # noqa: S105 - a step of a path, not a secret
            return list(obj)
        try:
            index = int(token[1:-1])
        except ValueError:
            return []
        return [obj[index]] if -len(obj) <= index < len(obj) else []
    if token == "*":  # noqa: S105
        return list(obj.values()) if isinstance(obj, Mapping) else list(obj) if is_list else []
    return [obj[token]] if isinstance(obj, Mapping) and token in obj else []


def _walk(obj: Any, names: list[str]) -> Any:
    """Follow names through mappings; None if there is nothing."""
    if not names:
        return None
    for name in names:
        if not isinstance(obj, Mapping) or name not in obj:
            return None
        obj = obj[name]
    return obj


def _leaf(obj: Any) -> list[str]:
    if isinstance(obj, str | int | float):
        return [str(obj)]
    return [_as_json(obj)] if isinstance(obj, list | tuple | dict) else []


def _as_json(obj: Any) -> str:
    # A value may hold what JSON does not know, such as a date: its text is as good to search by.
    return json.dumps(obj, sort_keys=True, ensure_ascii=False, default=str)
