"""What ``import walgraph`` offers is what it lists, and what it lists has a docstring."""

from __future__ import annotations

import types
import typing

import pytest

import walgraph


def test_all_names_are_the_visible_names_sorted() -> None:
    """Nothing is exported by accident, and nothing is forgotten."""
    visible = {
        name
        for name, value in vars(walgraph).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert set(walgraph.__all__) == visible | set(walgraph._ON_DEMAND)
    assert len(walgraph.__all__) == len(set(walgraph.__all__))
    constants = [name for name in walgraph.__all__ if name.isupper()]
    others = [name for name in walgraph.__all__ if not name.isupper()]
    classes = [name for name in others if name[0].isupper()]
    functions = [name for name in others if not name[0].isupper()]
    # The order is the linter's: constants, classes, functions.
    assert [*sorted(constants), *sorted(classes), *sorted(functions)] == walgraph.__all__


def test_names_that_are_loaded_on_demand_are_there() -> None:
    """A name that is loaded at its first use is listed, found and the one of its module."""
    assert set(walgraph._ON_DEMAND) <= set(dir(walgraph))
    for name, module in walgraph._ON_DEMAND.items():
        found = getattr(walgraph, name)
        if isinstance(found, types.UnionType | str):
            # A union of types and a text have no names of their own.
            continue
        assert found.__name__ == name
        assert found.__module__ == f"walgraph{module}"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """What loads names on demand does not hide that one is misspelt."""
    with pytest.raises(AttributeError, match=r"module 'walgraph' has no attribute 'Stategraph'"):
        walgraph.Stategraph  # noqa: B018 - asking is the point


DESCRIBED = [
    name
    for name in walgraph.__all__
    if isinstance(value := getattr(walgraph, name), type | types.FunctionType)
    and not typing.get_origin(value)
]


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_public_class_or_function_is_described(name: str) -> None:
    """Help is there wherever an editor asks for it."""
    assert (getattr(walgraph, name).__doc__ or "").strip()


def test_no_two_errors_share_a_code() -> None:
    """A code is what programs and people look an error up by."""
    codes: dict[str, str] = {}
    for name in walgraph.__all__:
        kind = getattr(walgraph, name)
        if isinstance(kind, type) and issubclass(kind, walgraph.WalgraphError) and "code" in vars(kind):
            # LangGraph's name of an error is another name of the same class.
            assert codes.setdefault(kind.code, kind.__name__) == kind.__name__
    assert len(codes) > 20
