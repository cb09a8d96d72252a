"""Classes of users: how they are registered, converted, and changed between writing and reading."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

import pytest

from walgraph.wal.codec import Decoder, Encoder, Registry, register_type
from walgraph.wal.errors import UnknownType


class Order(TypedDict):
    """A plain dict in the end."""

    number: int


def there_and_back(value: Any) -> Any:
    """Encode and decode a value."""
    return Decoder().value(Encoder().value(value).data)


def test_the_newest_registration_wins_and_parents_are_asked_last() -> None:
    """A graph's own classes go before those of the process."""

    class One:
        pass

    class Two:
        pass

    parent = Registry()
    child = Registry(parent)
    parent.register(One, "thing")
    assert child.find("thing") is One
    child.register(Two, "thing")
    assert (child.find("thing"), parent.find("thing")) == (Two, One)
    child.register(Order)
    assert child.find(f"{__name__}:Order") is None


def test_conversions_of_the_user_are_used_in_both_directions() -> None:
    """A class that only the user understands, with a stable name."""

    @register_type(
        name="test.celsius", encode=lambda value: (value.degrees,), decode=lambda plain: Celsius(plain[0])
    )
    class Celsius:
        def __init__(self, degrees: float) -> None:
            self.degrees = degrees

    packed = Encoder().value(Celsius(1.5))
    assert b"test.celsius" in packed.data
    assert Decoder().value(packed.data).degrees == 1.5


def test_registered_subclasses_of_builtins_and_plain_classes_come_back() -> None:
    """Registering says that the attributes are everything there is."""

    @register_type
    class Tag(str):
        __slots__ = ("color",)

    @register_type
    class Bag(dict):
        def __setitem__(self, key: Any, value: Any) -> None:
            raise AssertionError("no code of the user runs on reading")

    @register_type
    class Plain:
        __slots__ = ("__dict__", "_slot")

    tag = Tag("x")
    tag.color = "red"
    back = there_and_back(tag)
    assert (type(back), back, back.color) == (Tag, "x", "red")
    bag = there_and_back(Bag({"a": (1,)}))
    assert (type(bag), bag) == (Bag, {"a": (1,)})
    plain = Plain()
    plain._slot, plain.other = 1, [2]
    back = there_and_back(plain)
    assert (back._slot, back.other) == (1, [2])


def test_a_class_may_gain_fields_with_defaults_but_not_lose_recorded_ones() -> None:
    """Old records are read by newer classes; nothing recorded is dropped without a word."""

    @dataclass
    class Old:
        a: int
        b: int = 2

    @dataclass
    class Wider:
        b: int
        a: int
        c: list[int] = field(default_factory=list)

    @dataclass
    class Narrower:
        a: int

    packed = Encoder().value(Old(1))
    name = f"{Old.__module__}:{Old.__qualname__}"
    registry = Registry()
    registry.register(Wider, name)
    assert Decoder(registry).value(packed.data) == Wider(2, 1, [])
    registry.register(Narrower, name)
    with pytest.raises(UnknownType, match="b"):
        Decoder(registry).value(packed.data)
