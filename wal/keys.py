"""The keys of encrypted logs: which there are, which is the newest, and which thread is written with which.

    keys file     {"keys": {"2025": base64, "2026": base64}, "newest": "2026", "threads": {"acme/*": "acme-1"}}
    environment   WALGRAPH_KEYS_FILE names such a file, WALGRAPH_KEYS holds one; LANGGRAPH_AES_KEY is one key by itself

Data says which key it was written with, so all keys of a ring read, and one writes: a thread's own, or the newest.

Invariants:
1. A key is 16, 24 or 32 bytes, and is shown by no ``repr`` and in no error.
2. A ring does not change; a log is opened with another one to add or to forget a key.

This module must not know how data is encrypted.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

FILE, INLINE, LANGGRAPH = "WALGRAPH_KEYS_FILE", "WALGRAPH_KEYS", "LANGGRAPH_AES_KEY"
SIZES = (16, 24, 32)


class KeyRing:
    """Keys by their ids, and who is written with which; for ``Log.open(path, keys=...)``.

    Args:
        keys: Id → key, of 16, 24 or 32 bytes that nobody can guess.
        newest: The id of the key that is written with, unless ``threads`` or ``namespaces`` says otherwise; the last
            one, if left out.
        threads: Which thread is written with which key: a function from its id to the key's, or a mapping from
            patterns (``acme/*``) of which the first that fits counts. Where it says None, the newest key is used.
        namespaces: The same for the items of stores and caches, by their namespaces.

    Raises:
        ValueError: There is no key, one has another length, or one is named that is not there.
    """

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        newest: str | None = None,
        threads: Mapping[str, str] | Callable[[str], str | None] | None = None,
        namespaces: Callable[[tuple[str, ...]], str | None] | None = None,
    ) -> None:
        if not keys:
            raise ValueError("A ring of keys has at least one key.")
        for name, key in keys.items():
            if not name or len(name.encode()) > 255:
                raise ValueError(f"A key's id has 1 to 255 bytes; {name!r} has not.")
            if len(key) not in SIZES:
                raise ValueError(f"Key {name!r} is not 16, 24 or 32 bytes.")
        self._keys = dict(keys)
        self.newest = next(reversed(self._keys)) if newest is None else newest
        patterns = dict(threads) if isinstance(threads, Mapping) else {}
        for name in (self.newest, *patterns.values()):
            if name not in self._keys:
                raise ValueError(f"The ring has no key {name!r}; it has {', '.join(map(repr, self._keys))}.")
        self._patterns = patterns
        self._choose = None if isinstance(threads, Mapping) else threads
        self._namespaces = namespaces
        self.follows = False
        """Whether a thread goes on with the key of its newest frame."""

    def __repr__(self) -> str:
        """Return the keys' ids."""
        return f"<KeyRing {', '.join(self._keys)}; newest {self.newest}>"

    def __eq__(self, other: object) -> bool:
        """Tell whether another ring holds the same, and writes alike."""
        return isinstance(other, KeyRing) and self._content() == other._content()

    def __hash__(self) -> int:
        """Return a hash of the keys' ids."""
        return hash((*self._keys, self.newest))

    def _content(self) -> tuple[object, ...]:
        return self._keys, self.newest, self._patterns, self._choose, self._namespaces

    def following(self) -> KeyRing:
        """Return the same ring for a program that knows no threads: each goes on with the key that it has."""
        ring = copy.copy(self)
        ring.follows = self._choose is None and not self._patterns
        return ring

    def get(self, name: str) -> bytes | None:
        """Return a key, or None if the ring has none of that id."""
        return self._keys.get(name)

    def names(self) -> list[str]:
        """Return the ids of all keys, the newest first."""
        return [self.newest, *[name for name in self._keys if name != self.newest]]

    def of_thread(self, thread: str) -> str:
        """Return the id of the key that a thread is written with."""
        chosen = None if self._choose is None else self._choose(thread)
        if chosen is None:
            chosen = next(
                (key for pattern, key in self._patterns.items() if fnmatchcase(thread, pattern)), None
            )
        return self.newest if chosen is None else chosen

    def of_namespace(self, namespace: tuple[str, ...]) -> str:
        """Return the id of the key that the items of a namespace are written with."""
        chosen = None if self._namespaces is None else self._namespaces(namespace)
        return self.newest if chosen is None else chosen

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KeyRing:
        """Read a ring from a JSON file.

        Raises:
            ValueError: It is no such file.
            OSError: It cannot be read.
        """
        return cls._parsed(Path(path).read_text("utf-8"), f"The keys file {os.fspath(path)}")

    @classmethod
    def from_environment(cls) -> KeyRing | None:
        """Return the ring that the environment names, or None.

        Raises:
            ValueError: What it names is no ring.
            OSError: The file that it names cannot be read.
        """
        if path := os.environ.get(FILE):
            return cls.load(path)
        if text := os.environ.get(INLINE):
            return cls._parsed(text, f"${INLINE}")
        if text := os.environ.get(LANGGRAPH):
            return cls({"langgraph": text.encode()})
        return None

    @classmethod
    def _parsed(cls, text: str, what: str) -> KeyRing:
        try:
            shape: Any = json.loads(text)
            keys = {str(name): base64.b64decode(key, validate=True) for name, key in shape["keys"].items()}
            unknown = shape.keys() - {"keys", "newest", "threads"}
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            # What was read is not told of: it may be a key.
            message = f'{what} is no ring of keys; write {{"keys": {{"2026": "…base64…"}}}}.'
            raise ValueError(message) from None
        if unknown:
            raise ValueError(f"{what} says {', '.join(sorted(unknown))}, which nobody understands.")
        threads = shape.get("threads")
        if threads is not None and not isinstance(threads, dict):
            raise ValueError(f"{what} has threads that are no mapping from patterns to keys.")
        return cls(keys, newest=shape.get("newest"), threads=threads)
