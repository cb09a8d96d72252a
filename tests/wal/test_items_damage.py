"""Damaged items: reported, never handed out, and mended by being put again."""

from __future__ import annotations

import pytest
from item_helpers import Damaged, names, one, problems, put

from walgraph.wal.errors import LogCorrupt
from walgraph.wal.item_layout import BY_KEY, BY_NAME, ITEM, SPACE
from walgraph.wal.items import Delete, Expire, Items, Touch


@pytest.mark.parametrize("new", [b"wine", b"", b"fine\x00"])
def test_a_damaged_item_is_reported_and_never_handed_out(damaged: Damaged, new: bytes) -> None:
    """A changed, a missing and an additional byte: each read says which item it is; the others are read."""
    damaged.change(ITEM, b"fine", new)
    with pytest.raises(LogCorrupt, match=r"Item number 2 of namespace \('a',\) is damaged"):
        one(damaged.items, ("a",), "y")
    with pytest.raises(LogCorrupt):
        names(damaged.items)
    assert one(damaged.items, ("a",), "x") is not None
    assert len(problems(damaged.items)) == 1


def test_a_damaged_item_can_be_put_again_or_deleted(damaged: Damaged) -> None:
    """That is how it is mended."""
    damaged.change(ITEM, b"fine", b"wine")
    damaged.items.change([Touch(("a",), "y"), Expire(("a",), "y")])
    assert len(problems(damaged.items)) == 1
    damaged.items.change([put("a", "y", value=b"new")])
    found = one(damaged.items, ("a",), "y")
    assert found is not None
    assert found.value == b"new"
    damaged.change(ITEM, b"new", b"old")
    damaged.items.change([Delete(("a",), "y")])
    assert problems(damaged.items) == []


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (ITEM, b"", None),
        (BY_KEY, b"", None),
        (BY_KEY, b"\x02", b"\x01"),
        (BY_NAME, b"", None),
        (BY_NAME, b"\x01", b"\x02"),
        (SPACE, b"", None),
        (SPACE, b"a", b"b"),
    ],
)
def test_damage_of_an_index_is_found(damaged: Damaged, kind: bytes, old: bytes, new: bytes | None) -> None:
    """A lost or changed entry of each kind is noticed by a check, and leads to no other item."""
    damaged.change(kind, old, new)
    assert problems(damaged.items)
    try:
        found = one(damaged.items, ("a",), "y")
    except LogCorrupt:
        return
    assert found is None


def test_a_check_passes_on_what_is_wrong_with_a_value(items: Items) -> None:
    """What values mean is asked of the caller."""
    items.change([put("a", "x"), put("a", "y")])
    count, wrong = items.check(lambda item: "it is no value" if item.key == "y" else None)
    assert (count, wrong) == (2, ["item 'y' of namespace ('a',): it is no value"])
