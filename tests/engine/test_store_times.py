"""How long items live in stores: minutes, anew at each reading, until a sweep removes what is over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from helpers import Way
from store_helpers import Called, Shop, found

from walgraph import Log, LogClosed, LogStore, TTLConfig

A = ("a",)
SECOND = 1 / 60
"""A second, in the minutes in which times to live are given."""


def until(store: Called, key: str) -> int:
    """When an item's time is over, in nanoseconds; 0 for never."""
    with store.target.items(write=False).view() as view:
        item = view.get(A, key)
    assert item is not None
    ends: int = item.expires_at
    return ends


def test_an_item_whose_time_is_over_is_gone(store: Called) -> None:
    """Times are in minutes; None and nothing are for ever; what lives for no time is over at once."""
    store.put(A, "soon", {}, ttl=0.02 * SECOND)
    store.put(A, "now", {}, ttl=0)
    before = time.time_ns()
    store.put(A, "late", {}, ttl=60)
    store.put(A, "ever", {}, ttl=None)
    store.put(A, "huge", {}, ttl=1e300)
    assert 3600 <= (until(store, "late") - before) / 1e9 < 3660
    assert until(store, "ever") == 0
    time.sleep(0.03)
    assert store.get(A, "soon") is None
    assert store.get(A, "now") is None
    assert found(store.search(A)) == ["late", "ever", "huge"]
    store.put(("b",), "now", {}, ttl=0)
    assert store.list_namespaces() == [A]


@pytest.mark.parametrize("ttl", ["5", float("nan")])
def test_a_time_that_is_no_number_is_refused(store: Called, ttl: Any) -> None:
    """Nothing is put."""
    with pytest.raises(ValueError, match="ttl must be a number of minutes"):
        store.put(A, "x", {}, ttl=ttl)
    assert store.search(()) == []


def test_reading_begins_the_time_anew_unless_told_not_to(store: Called) -> None:
    """``get`` and ``search`` keep alive what they find, and only that."""
    keys = ("got", "found", "seen", "left")
    for key in keys:
        store.put(A, key, {"key": key}, ttl=5 * SECOND)
    before = {key: until(store, key) for key in keys}
    # Less than a hundredth of the time is not worth a write.
    time.sleep(0.06)
    store.get(A, "got")
    store.search(A, filter={"key": "found"})
    store.get(A, "seen", refresh_ttl=False)
    store.search(A, filter={"key": "seen"}, refresh_ttl=False)
    assert {key for key in keys if until(store, key) > before[key]} == {"got", "found"}


def test_a_store_may_be_told_how_long_items_live(shop: Shop, way: Way) -> None:
    """``default_ttl`` counts where a put says nothing, ``refresh_on_read`` where a read says nothing."""
    store = Called(shop.make(ttl=TTLConfig(default_ttl=5 * SECOND, refresh_on_read=False)), way)
    store.put(A, "x", {})
    store.put(A, "ever", {}, ttl=None)
    before = until(store, "x")
    assert before > 0
    assert until(store, "ever") == 0
    time.sleep(0.06)
    store.get(A, "x")
    store.search(A)
    assert until(store, "x") == before
    store.get(A, "x", refresh_ttl=True)
    assert until(store, "x") > before


def test_a_sweep_removes_what_is_over(shop: Shop) -> None:
    """With ``omit_expired`` false, items are handed out until then, as by LangGraph's stores in databases."""
    store = shop.make(ttl=TTLConfig(omit_expired=False))
    store.put(A, "x", {}, ttl=0)
    store.put(A, "y", {}, ttl=60)
    assert store.get(A, "x") is not None
    assert found(store.search(A)) == ["x", "y"]
    assert store.sweep_ttl() == 1
    assert found(store.search(A)) == ["y"]


def test_a_sweeper_sweeps_now_and_then(shop: Shop) -> None:
    """Until it is stopped; starting it twice starts one."""
    store = shop.make(ttl=TTLConfig(omit_expired=False, sweep_interval_minutes=5))
    assert store.stop_ttl_sweeper()
    future = store.start_ttl_sweeper(0.01 * SECOND)
    assert store.start_ttl_sweeper() is future
    store.put(A, "x", {}, ttl=0)
    deadline = time.monotonic() + 60
    while store.get(A, "x") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert store.stop_ttl_sweeper(60)
    assert future.result(0) is None


def test_a_sweeper_that_fails_says_so(tmp_path: Path) -> None:
    """The error that ended it is in its future."""
    log = Log.open(tmp_path / "log")
    future = LogStore(log).start_ttl_sweeper(0.001 * SECOND)
    log.close()
    assert isinstance(future.exception(60), LogClosed)
