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
    assert set(walgraph.__all__) == visible
    assert len(walgraph.__all__) == len(set(walgraph.__all__))
    constants = [name for name in walgraph.__all__ if name.isupper()]
    others = [name for name in walgraph.__all__ if not name.isupper()]
    classes = [name for name in others if name[0].isupper()]
    functions = [name for name in others if not name[0].isupper()]
    # The order is the linter's: constants, classes, functions.
    assert [*sorted(constants), *sorted(classes), *sorted(functions)] == walgraph.__all__


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
            assert codes.setdefault(kind.code, name) == name
    assert len(codes) > 20
