"""Named tuples that are quickly made: ``typing.NamedTuple``, but for code that is compiled for each class.

    class Write(NamedTuple):          the same statement, the same fields, defaults, ``_replace``, ``_asdict``, order,
        key: str                      equality, copies and patterns
        value: Any = None

The standard one compiles a constructor for each class, which took a fifth of ``import walgraph``: there are eighty such
classes. Here all share one constructor. To a type checker it is the standard one.

Invariants:
1. An instance is a tuple of all its fields, in order, without a dict of its own.
2. A missing, surplus or unknown argument is a TypeError, as for any function.

Classes that users make instances of are made with the standard one, since an editor shows what those take.
"""

from __future__ import annotations

import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

__all__ = ["NamedTuple", "new"]

new = tuple.__new__
"""Makes a named tuple of a tuple of all its fields, which the classes' own constructors do at three times the cost."""

try:
    # A getter in C, which the standard library gives its own named tuples.
    from _collections import _tuplegetter as _getter  # type: ignore[import-not-found]
except ImportError:

    def _getter(position: int, doc: str) -> property:
        return property(itemgetter(position), doc=doc)


if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _Meta(type):
        """Turns the annotations of a class body into the fields of a tuple."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            """Make the class."""
            if bases:
                fields = tuple(_annotations(namespace))
                namespace["_field_defaults"] = {
                    field: namespace[field] for field in fields if field in namespace
                }
                for position, field in enumerate(fields):
                    namespace[field] = _getter(position, f"Field number {position}.")
                namespace["_fields"] = namespace["__match_args__"] = fields
                namespace["_width"] = len(fields)
                namespace["_defaults"] = tuple(namespace["_field_defaults"].values())
            namespace["__slots__"] = ()
            return super().__new__(cls, name, bases or (tuple,), namespace)

    class NamedTuple(metaclass=_Meta):
        """The base of named tuples."""

        def __new__(cls, *given: Any, **named: Any) -> Self:
            """Make an instance.

            Raises:
                TypeError: A field has no value, or there is no such field.
            """
            if named or len(given) != cls._width:
                given = cls._completed(given, named)
            return tuple.__new__(cls, given)

        @classmethod
        def _completed(cls, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
            fields, defaults = cls._fields, cls._defaults
            left_out = len(fields) - len(given)
            if not named and 0 <= left_out <= len(defaults):
                return given + defaults[len(defaults) - left_out :]
            if len(given) > len(fields):
                message = f"{cls.__name__} takes {len(fields)} fields, and was given {len(given)}"
                raise TypeError(message)
            rest = fields[len(given) :]
            if strange := named.keys() - set(rest):
                message = f"{cls.__name__} has no field left for {', '.join(sorted(strange))}"
                raise TypeError(message)
            values = {**cls._field_defaults, **named}
            if missing := [field for field in rest if field not in values]:
                message = f"{cls.__name__} lacks {', '.join(missing)}"
                raise TypeError(message)
            return (*given, *(values[field] for field in rest))

        @classmethod
        def _make(cls, values: Any) -> Self:
            return cls(*values)

        def _replace(self, **changes: Any) -> Self:
            values = tuple(map(changes.pop, self._fields, self))
            if changes:
                message = f"{type(self).__name__} has no field {', '.join(sorted(changes))}"
                raise ValueError(message)
            return tuple.__new__(type(self), values)

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            """Return the class and its fields by name."""
            fields = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({fields})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            """Return what a copy is made of."""
            return tuple(self)


def _annotations(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the annotations of a class body, which newer Pythons keep as a function until somebody asks."""
    found: dict[str, Any] | None = namespace.get("__annotations__")
    if found is not None or sys.version_info < (3, 14):
        return found or {}
    import annotationlib  # type: ignore[import-not-found]  # mypy looks at older Pythons, too

    ask = annotationlib.get_annotate_from_class_namespace(namespace)
    if ask is None:
        return {}
    return dict(annotationlib.call_annotate_function(ask, annotationlib.Format.FORWARDREF))
