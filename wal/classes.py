"""How objects of classes are written and rebuilt: enums, NamedTuples, dataclasses, models, exceptions, arrays.

    written as      for                                        rebuilt through
    ──────────────  ─────────────────────────────────────────  ──────────────────────────────────────────
    CUSTOM          classes with conversions                    the user's ``decode``
    ENUM, FLAG      enums                                       the member's name
    EXCEPTION       exceptions                                  ``__new__``, args, attributes, notes
    NAMED_TUPLE     NamedTuples                                 ``tuple.__new__``
    MODEL           pydantic models                             ``__new__`` and the model's own dictionaries
    OBJECT          dataclasses; other classes if registered    ``object.__new__`` and ``object.__setattr__``
    DERIVED         subclasses of builtins, if registered       the builtin's ``__new__``
    ARRAY, SCALAR   numpy                                       ``numpy.frombuffer``

Invariants:
1. No constructor, validator or ``__post_init__`` of the user runs on reading: values were valid when written.
2. Fields are written by name, so a class may gain fields with defaults and reorder them; a recorded field that
   the class no longer has is an UnknownType, never dropped.
3. What a class holds beyond its fields is written too, or the value is refused.
4. numpy and pydantic are looked for only when a value, or recorded data, is of theirs.

This module must not know how payloads are packed.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from enum import Enum, Flag
from types import MemberDescriptorType
from typing import Any

from .errors import UnknownType
from .mismatch import lost_field, no_default, other_kind
from .registry import ADMITTED, COMPILED, CONVERSIONS, GLOBAL, name_of
from .thirdparty import Find, is_model, model_form, numpy_form, read_array, read_model, read_scalar
from .values import (
    ARRAY,
    CUSTOM,
    DERIVED,
    ENUM,
    EXCEPTION,
    FLAG,
    FORMS,
    MODEL,
    NAMED_TUPLE,
    OBJECT,
    SCALAR,
    Form,
    Pack,
    Refused,
)

BUILTINS = (bool, int, float, complex, str, bytes, bytearray, list, dict, set, frozenset, tuple)
_MISSING = object()
_COMPILED_MAX = 4096


def form_of(cls: type) -> Form | None:
    """Return how values of ``cls`` are written, or None when they are refused."""
    form = FORMS.get(cls) or COMPILED.get(cls)
    if form is None:
        form = _compile(cls)
        if form is not None:
            if len(COMPILED) >= _COMPILED_MAX:
                # Classes made anew in every call would otherwise pile up for ever.
                COMPILED.clear()
            COMPILED[cls] = form
            if form.code not in (ARRAY, SCALAR):
                GLOBAL.learn(cls)
    return form


def _compile(cls: type) -> Form | None:
    if cls in CONVERSIONS:
        return _custom_form(cls)
    if issubclass(cls, Enum):
        return _flag_form(cls) if issubclass(cls, Flag) else _enum_form(cls)
    if issubclass(cls, BaseException):
        return _exception_form(cls)
    if cls.__module__ == "numpy":
        return numpy_form(cls)
    if is_model(cls):
        return model_form(cls)
    if is_named_tuple(cls):
        return _named_tuple_form(cls)
    if issubclass(cls, BUILTINS):
        return _derived_form(cls) if cls in ADMITTED else None
    if dataclasses.is_dataclass(cls) or cls in ADMITTED:
        return _object_form(cls)
    return None


def read_object(code: int, content: Any, find: Find) -> Any:
    """Rebuild a value of a class-based code from its decoded payload."""
    return _READERS[code](content, find)


def is_class_based(code: int) -> bool:
    """Tell whether ``read_object`` is the reader of this code."""
    return code in _READERS


def is_named_tuple(cls: type) -> bool:
    """Tell whether the class was made by ``NamedTuple`` or ``namedtuple``, directly or through a base."""
    return issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)


# ── classes with conversions ──


def _custom_form(cls: type) -> Form:
    name, encode = name_of(cls), CONVERSIONS[cls].encode
    return Form(CUSTOM, lambda value, _pack: [name, encode(value)])


def _read_custom(content: Any, find: Find) -> Any:
    name, plain = content
    cls = find(name)
    conversion = CONVERSIONS.get(cls)
    if conversion is None:
        raise other_kind(cls, "a class with conversions")
    return conversion.decode(plain)


# ── enums ──


def _enum_form(cls: type[Enum]) -> Form:
    name = name_of(cls)
    return Form(ENUM, lambda value, _pack: [name, value._name_])


def _member(cls: Any, member: str) -> Any:
    try:
        return cls.__members__[member]
    except KeyError:
        raise UnknownType(
            f"the log holds the member {member!r} of {name_of(cls)}, which the class here does not have",
            hint="keep members as long as logs hold them; an alias under the old name is enough",
            name=name_of(cls),
        ) from None


def _read_enum(content: Any, find: Find) -> Any:
    name, member = content
    cls = find(name)
    if not issubclass(cls, Enum):
        raise other_kind(cls, "an enum")
    return _member(cls, member)


def _flag_form(cls: Any) -> Form:
    name = name_of(cls)

    def make(value: Any, _pack: Pack) -> list[Any]:
        names = [
            member._name_
            for member in cls
            if member._value_ & value._value_ == member._value_ and member._value_
        ]
        whole = 0
        for member in names:
            whole |= cls[member]._value_
        # What no member names (boundary KEEP, negative values) goes along as a number.
        return [name, names, None if whole == value._value_ else value._value_]

    return Form(FLAG, make)


def _read_flag(content: Any, find: Find) -> Any:
    name, members, whole = content
    cls: Any = find(name)
    if not issubclass(cls, Flag):
        raise other_kind(cls, "a flag")
    if whole is not None:
        return cls(whole)
    found = [_member(cls, member)._value_ for member in members]
    value = 0
    for bits in found:
        value |= bits
    return cls(value)


# ── exceptions ──


def _exception_form(cls: type[BaseException]) -> Form:
    name = name_of(cls)
    plain_attributes = tuple(
        attribute
        for attribute in ("name", "path")
        if isinstance(getattr(cls, attribute, None), MemberDescriptorType)
    )

    def make(value: BaseException, _pack: Pack) -> list[Any]:
        state = dict(value.__dict__)
        notes = list(state.pop("__notes__", ()))
        for attribute in plain_attributes:
            state[attribute] = getattr(value, attribute)
        if value.__traceback__ is not None or value.__cause__ is not None:
            lines = "".join(traceback.format_exception(value)).rstrip("\n")
            notes.append(f"recorded {lines}")
        # An OSError keeps its file names beside its args, and only its own __reduce__ puts them back.
        args = OSError.__reduce__(value)[1] if isinstance(value, OSError) else value.args
        return [name, list(args), state, notes]

    return Form(EXCEPTION, make)


def _read_exception(content: Any, find: Find) -> Any:
    name, args, state, notes = content
    cls: Any = find(name)
    if not issubclass(cls, BaseException):
        raise other_kind(cls, "an exception")
    # A builtin keeps facts of its arguments in C fields that only its own __init__ fills (StopIteration.value).
    value = cls(*args) if cls.__module__ == "builtins" else cls.__new__(cls, *args)
    if not issubclass(cls, OSError):
        value.args = tuple(args)
    elif value.errno is None:
        OSError.__init__(value, *args)
    for attribute, content_of in state.items():
        object.__setattr__(value, attribute, content_of)
    for note in notes:
        value.add_note(note)
    return value


# ── NamedTuples ──


def _named_tuple_form(cls: type) -> Form:
    name = name_of(cls)
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]

    def make(value: Any, _pack: Pack) -> list[Any]:
        return [name, dict(zip(fields, value, strict=True)), _attributes(value)]

    return Form(NAMED_TUPLE, make)


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return what an instance carries in its own dictionary, or None when that is nothing."""
    own = getattr(value, "__dict__", None)
    return dict(own) if own else None


def _read_named_tuple(content: Any, find: Find) -> Any:
    name, items, extra = content
    cls: Any = find(name)
    if not is_named_tuple(cls):
        raise other_kind(cls, "a NamedTuple")
    fields: tuple[str, ...] = cls._fields
    if items.keys() != set(fields):
        if lost := [field for field in items if field not in fields]:
            raise lost_field(cls, lost)
        items = {**cls._field_defaults, **items}
        if missing := [field for field in fields if field not in items]:
            raise no_default(cls, missing)
    value = tuple.__new__(cls, [items[field] for field in fields])
    return _with_attributes(value, extra)


def _with_attributes(value: Any, extra: dict[str, Any] | None) -> Any:
    if extra:
        for attribute, content in extra.items():
            object.__setattr__(value, attribute, content)
    return value


# ── dataclasses, and registered classes without conversions ──


def _slots_of(cls: type) -> list[str]:
    """Return the attributes that live in slots, base classes first, under the names that ``getattr`` takes."""
    found: list[str] = []
    for base in reversed(cls.__mro__):
        declared = base.__dict__.get("__slots__", ())
        for slot in (declared,) if isinstance(declared, str) else tuple(declared):
            if slot in ("__dict__", "__weakref__"):
                continue
            private = slot.startswith("__") and not slot.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{slot}" if private else slot)
    return found


def _field_names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()


def _object_form(cls: type) -> Form | None:
    if not _rebuilds_through_object(cls):
        return None
    name, fields = name_of(cls), _field_names(cls)
    others = [slot for slot in _slots_of(cls) if slot not in fields]

    def make(value: Any, _pack: Pack) -> list[Any]:
        extra = dict(getattr(value, "__dict__", ()))
        for slot in others:
            content = getattr(value, slot, _MISSING)
            if content is not _MISSING:
                extra[slot] = content
        try:
            items = {field: getattr(value, field) for field in fields}
        except AttributeError as error:
            raise Refused(value, f"its field {error.name!r} was never set") from None
        for field in fields:
            extra.pop(field, None)
        return [name, items, extra or None]

    return Form(OBJECT, make)


def _rebuilds_through_object(cls: type) -> bool:
    """Tell whether ``object.__new__(cls)`` makes a whole instance: no base keeps state of its own in C."""
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return True


def _read_object(content: Any, find: Find) -> Any:
    name, items, extra = content
    cls: Any = find(name)
    if not dataclasses.is_dataclass(cls) and cls not in ADMITTED:
        raise other_kind(cls, "a dataclass")
    fields = _field_names(cls)
    value = object.__new__(cls)
    place = object.__setattr__
    if len(items) != len(fields) or any(field not in items for field in fields):
        items = {**_defaults(cls, items), **items}
        if lost := [field for field in items if field not in fields]:
            raise lost_field(cls, lost)
    for field, content_of in items.items():
        place(value, field, content_of)
    return _with_attributes(value, extra)


def _defaults(cls: Any, present: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the fields that were added to a dataclass after the value was recorded."""
    made: dict[str, Any] = {}
    missing: list[str] = []
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        if field.name in present:
            continue
        if field.default is not dataclasses.MISSING:
            made[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory()
        else:
            missing.append(field.name)
    if missing:
        raise no_default(cls, missing)
    return made


# ── subclasses of builtins, if registered ──


def _derived_form(cls: Any) -> Form:
    name = name_of(cls)
    base = next(builtin for builtin in BUILTINS if issubclass(cls, builtin))
    others = _slots_of(cls)

    def make(value: Any, _pack: Pack) -> list[Any]:
        extra = _attributes(value) or {}
        for slot in others:
            content = getattr(value, slot, _MISSING)
            if content is not _MISSING:
                extra[slot] = content
        plain = _DOWNCAST[base](value) if base in _DOWNCAST else base(value)
        return [name, plain, extra or None]

    return Form(DERIVED, make)


_DOWNCAST: dict[type, Callable[[Any], Any]] = {
    # The class may override __str__, __iter__ or __int__; these read what the builtin itself holds.
    int: int.__int__,
    float: float.__float__,
    str: lambda value: str.__getitem__(value, slice(None)),
    list: lambda value: list.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
}


def _read_derived(content: Any, find: Find) -> Any:
    name, plain, extra = content
    cls: Any = find(name)
    if cls not in ADMITTED or not issubclass(cls, BUILTINS):
        raise other_kind(cls, "a subclass of a builtin")
    base: Any = type(plain)
    if not issubclass(cls, base):
        raise other_kind(cls, f"a subclass of {base.__name__}")
    if base in (list, dict, set, bytearray):
        value = base.__new__(cls)
        if base is list:
            list.extend(value, plain)
        elif base is bytearray:
            bytearray.extend(value, plain)
        else:
            base.update(value, plain)
    else:
        value = base.__new__(cls, plain)
    return _with_attributes(value, extra)


_READERS: dict[int, Callable[[Any, Find], Any]] = {
    CUSTOM: _read_custom,
    ENUM: _read_enum,
    FLAG: _read_flag,
    EXCEPTION: _read_exception,
    NAMED_TUPLE: _read_named_tuple,
    MODEL: read_model,
    OBJECT: _read_object,
    DERIVED: _read_derived,
    ARRAY: read_array,
    SCALAR: read_scalar,
}
