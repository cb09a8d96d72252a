"""Which classes may be rebuilt from recorded values, and under which names.

    a class is known because …                              where
    ─────────────────────────────────────────────────────   ─────────────────────────────────────
    this process encoded a value of it                      GLOBAL, automatically
    the user called ``register_type``                       GLOBAL
    a graph's schema mentions it                            the graph's own Registry(parent=GLOBAL)
    it belongs to ``langchain_core.messages``               found on demand, if installed
    it is a standard class that the codec knows             never here: ``wal.values`` builds those

A name is ``module:qualname``, or a stable name that the user chose so that a class can move without making old
records unreadable.

Invariants:
1. Nothing is ever imported because data names it; the one package looked into on demand is fixed in this file.
2. Within one Registry the newest registration under a name wins; a parent is asked only for what is missing.
3. A class has at most one stable name in a process, and keeps being found under ``module:qualname`` as well.

This module must not know the wire format.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, is_typeddict, overload

from .named import NamedTuple

AnyClass = TypeVar("AnyClass", bound=type)

MESSAGES = "langchain_core.messages"
"""The one package whose classes are found by name without registration."""


class Conversion(NamedTuple):
    """How the user wants the values of a class written and read."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


STABLE_NAMES: dict[type, str] = {}
"""Classes with a name chosen by the user."""

CONVERSIONS: dict[type, Conversion] = {}
"""Classes with conversions given by the user."""

ADMITTED: set[type] = set()
"""Classes that somebody registered on purpose, which allows kinds of class that are refused otherwise."""

COMPILED: dict[type, Any] = {}
"""What the codec worked out about a class; forgotten when somebody registers the class anew."""


class Registry:
    """Classes by name. A missing name is looked up in the parent."""

    __slots__ = ("_classes", "_parent")

    def __init__(self, parent: Registry | None = None) -> None:
        self._parent = parent
        self._classes: dict[str, type] = {}

    def register(self, cls: type, name: str | None = None) -> None:
        """Make ``cls`` known, under ``name`` or the stable name that it has, and under ``module:qualname``.

        TypedDicts are accepted and ignored: their values are plain dicts.
        """
        if is_typeddict(cls):
            return
        if not isinstance(cls, type):
            raise TypeError(f"only classes can be registered, this is {cls!r}")
        if name is not None:
            STABLE_NAMES[cls] = name
        ADMITTED.add(cls)
        COMPILED.pop(cls, None)
        self.learn(cls)

    def learn(self, cls: type) -> None:
        """Make ``cls`` findable without admitting it for writing; what encoding does by itself."""
        self._classes[default_name(cls)] = cls
        stable = STABLE_NAMES.get(cls)
        if stable is not None:
            self._classes[stable] = cls

    def find(self, name: str) -> type | None:
        """Return the class of that name, or None when nobody registered one."""
        found = self._classes.get(name)
        if found is not None:
            return found
        if self._parent is not None:
            return self._parent.find(name)
        return _message_class(name) if name.startswith(MESSAGES) else None


GLOBAL = Registry()
"""What this process knows, whatever the graph."""


def default_name(cls: type) -> str:
    """Return ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def name_of(cls: type) -> str:
    """Return the name under which values of ``cls`` are written."""
    return STABLE_NAMES.get(cls) or default_name(cls)


@overload
def register_type(
    cls: AnyClass,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> AnyClass: ...


@overload
def register_type(
    cls: None = None,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Callable[[AnyClass], AnyClass]: ...


def register_type(
    cls: type | None = None,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Any:
    """Let values of a class be recorded and rebuilt in every process that makes the same call.

    Works as a function, as ``@register_type`` and as ``@register_type(name="order")``.

    Args:
        cls: The class.
        name: A name that stays when the class moves; ``module:qualname`` if omitted.
        encode: Turns an object into a plain value (anything that can be recorded). Not needed for dataclasses,
            NamedTuples, enums, pydantic models, and classes whose attributes say everything.
        decode: Turns the plain value back into an equal object. Comes together with ``encode``.

    Returns:
        The class itself, unchanged.
    """
    if (encode is None) != (decode is None):
        raise TypeError("register_type: give both encode and decode, or neither")

    def admit(target: AnyClass) -> AnyClass:
        if encode is not None and decode is not None and isinstance(target, type):
            if issubclass(target, Enum):
                raise TypeError("register_type: enums are recorded by member name and take no conversions")
            CONVERSIONS[target] = Conversion(encode, decode)
        GLOBAL.register(target, name)
        return target

    return admit if cls is None else admit(cls)


class Opaque:
    """A recorded value whose class is not known here: its name and its plain content, for tools to show.

    Only lenient decoding makes these. They cannot be recorded again, so that nothing is rewritten half-understood.
    """

    __slots__ = ("content", "name")

    def __init__(self, name: str, content: Any) -> None:
        self.name = name
        self.content = content

    def __repr__(self) -> str:
        """Show the recorded name and content."""
        return f"Opaque({self.name!r}, {self.content!r})"

    def __eq__(self, other: object) -> bool:
        """Compare name and content."""
        if not isinstance(other, Opaque):
            return NotImplemented
        return self.name == other.name and bool(self.content == other.content)

    def __hash__(self) -> int:
        """Hash by name alone, since the content may be unhashable and opaque values can be dict keys."""
        return hash(self.name)


def _message_class(name: str) -> type | None:
    """Find a class of ``langchain_core.messages``, importing that package and nothing that the data chose."""
    module, _, qualname = name.partition(":")
    if module != MESSAGES and not module.startswith(f"{MESSAGES}."):
        return None
    try:
        messages = importlib.import_module(MESSAGES)
    except ImportError:
        return None
    if qualname not in getattr(messages, "__all__", ()):
        return None
    found = getattr(messages, qualname, None)
    return found if isinstance(found, type) and found.__module__ == module else None
