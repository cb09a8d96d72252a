"""Our quickly made named tuples do what the standard ones do."""

from __future__ import annotations

import copy
import typing
from typing import Any

import pytest

from walgraph.wal import named


class Ours(named.NamedTuple):
    """A point with a colour."""

    x: int
    y: int = 2
    colour: str = "red"

    def total(self) -> int:
        """Return x + y."""
        return self.x + self.y


class Theirs(typing.NamedTuple):
    """The same."""

    x: int
    y: int = 2
    colour: str = "red"


class Nothing(named.NamedTuple):
    """No fields at all."""


@pytest.mark.parametrize(
    ("given", "named_fields"),
    [
        ((1,), {}),
        ((1, 3), {}),
        ((1, 3, "blue"), {}),
        ((), {"x": 1}),
        ((1,), {"colour": "blue"}),
        ((), {"y": 0, "x": 1}),
    ],
)
def test_an_instance_is_the_standard_one(given: tuple[Any, ...], named_fields: dict[str, Any]) -> None:
    """Values, text, order, dict and copies are the same, however the fields are given."""
    ours, theirs = Ours(*given, **named_fields), Theirs(*given, **named_fields)
    assert tuple(ours) == tuple(theirs)
    assert ours == theirs
    assert repr(ours).replace("Ours", "Theirs") == repr(theirs)
    assert ours._asdict() == theirs._asdict()
    assert ours._replace(y=9) == theirs._replace(y=9)
    assert type(ours._replace(y=9)) is Ours
    assert (ours.x, ours.y, ours.colour) == tuple(theirs)
    assert hash(ours) == hash(theirs)
    assert copy.deepcopy(ours) == copy.copy(ours) == ours
    assert type(copy.deepcopy(ours)) is Ours
    assert ours.__getnewargs__() == tuple(ours)
    assert Ours._make(theirs) == ours


def test_a_class_is_the_standard_one() -> None:
    """Fields, defaults and patterns are those that the standard library makes, and there is no dict."""
    assert Ours._fields == Theirs._fields == Ours.__match_args__
    assert Ours._field_defaults == Theirs._field_defaults
    assert not hasattr(Ours(1), "__dict__")
    assert Ours(1, 2).total() == 3
    assert Nothing() == ()
    match Ours(5, 6):
        case Ours(x, y):
            assert (x, y) == (5, 6)
    with pytest.raises(AttributeError):
        Ours(1).x = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "named_fields", "says"),
    [
        ((), {}, "lacks x"),
        ((), {"y": 1}, "lacks x"),
        ((1, 2, "red", 4), {}, "takes 3 fields"),
        ((1,), {"z": 1}, "no field left for z"),
        ((1,), {"x": 1}, "no field left for x"),
    ],
)
def test_wrong_arguments_are_refused(given: tuple[Any, ...], named_fields: dict[str, Any], says: str) -> None:
    """What is missing, surplus or unknown is a TypeError that names it."""
    with pytest.raises(TypeError, match=says):
        Ours(*given, **named_fields)
    with pytest.raises(ValueError, match="no field z"):
        Ours(1)._replace(z=1)  # type: ignore[call-arg]
