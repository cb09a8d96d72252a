"""What every shelf of items promises: the same tests over memory and over LMDB, for stores and for caches."""

from __future__ import annotations

import threading
import time

import pytest
from item_helpers import fine, names, one, problems, put, spaces

from walgraph.wal.environment import open_environment
from walgraph.wal.errors import LogClosed, LogFull, LogReadOnly
from walgraph.wal.items import Clear, Delete, Expire, Items, Put, Touch
from walgraph.wal.lmdb_store import LmdbStore
from walgraph.wal.memory_store import MemoryStore

SECOND = 1_000_000_000
LONG = "ä" * 1000


def test_nothing_is_there_before_anything_was_put(items: Items) -> None:
    """Reading, deleting and sweeping where nothing is finds nothing, and makes no table."""
    assert one(items, ("a",), "x") is None
    assert names(items) == []
    assert spaces(items) == []
    assert items.change([Delete(("a",), "x"), Touch(("a",), "x"), Expire(("a",), "x"), Clear(None)]) == 0
    assert items.sweep() == 0
    assert items.check(fine) == (0, [])


def test_what_was_put_is_found_by_namespace_and_key(items: Items) -> None:
    """All of an item comes back, with the times of its put."""
    before = time.time_ns()
    items.change([Put(("a", "b"), "x", b"value", b"vectors")])
    item = one(items, ("a", "b"), "x")
    assert item is not None
    assert item[:4] == (("a", "b"), "x", b"value", b"vectors")
    assert before <= item.created_at == item.updated_at <= time.time_ns()
    assert (item.ttl, item.expires_at) == (0, 0)
    assert one(items, ("a",), "x") is None
    assert one(items, ("a", "b"), "y") is None
    assert problems(items) == []


def test_putting_again_replaces_the_value_and_keeps_when_it_was_made(items: Items) -> None:
    """``created_at`` and the place in the order stay; ``updated_at`` goes on."""
    items.change([put("a", "x", value=b"1"), put("a", "y")])
    first = one(items, ("a",), "x")
    items.change([put("a", "x", value=b"2")])
    second = one(items, ("a",), "x")
    assert first is not None
    assert second is not None
    assert (second.value, second.created_at) == (b"2", first.created_at)
    assert second.updated_at > first.updated_at
    assert names(items) == [("a", "x"), ("a", "y")]


def test_items_come_in_the_order_in_which_namespaces_and_keys_came(items: Items) -> None:
    """Namespaces first, then keys, as they were put first, whatever they are called."""
    for path in (("z", "2"), ("a", "9"), ("z", "1"), ("z", "y", "0"), ("a", "1")):
        items.change([put(*path)])
    assert names(items) == [("z", "2"), ("z", "1"), ("a", "9"), ("a", "1"), ("z", "y", "0")]
    assert names(items, "z") == [("z", "2"), ("z", "1"), ("z", "y", "0")]
    assert names(items, "z", "y") == [("z", "y", "0")]
    assert names(items, "y") == []
    assert spaces(items) == [("z",), ("a",), ("z", "y")]


def test_a_namespace_is_no_prefix_of_another_that_only_begins_with_its_letters(items: Items) -> None:
    """Labels are compared whole."""
    items.change([put("user", "1"), put("users", "1"), put("user", "s", "1"), put("us\x00er", "1")])
    assert names(items, "user") == [("user", "1"), ("user", "s", "1")]
    assert names(items, "us") == []
    assert names(items, "us\x00er") == [("us\x00er", "1")]


def test_names_may_be_empty_long_and_foreign(items: Items) -> None:
    """No length of a name, and no character of Unicode, is too much."""
    paths = [("", ""), (LONG, LONG), (LONG, f"{LONG}2"), (f"{LONG}2", "x"), ("日本", "語"), (LONG, LONG, "x")]
    items.change([put(*path) for path in paths] + [Put((), "alone", b"v")])
    with items.view() as view:
        for path in paths:
            assert view.get(path[:-1], path[-1]) is not None
        assert view.get((), "alone") is not None
    assert names(items, LONG) == [(LONG, LONG), (LONG, f"{LONG}2"), (LONG, LONG, "x")]
    assert names(items, LONG, LONG) == [(LONG, LONG, "x")]
    assert problems(items) == []


def test_names_that_are_no_unicode_are_refused_before_anything_is_changed(items: Items) -> None:
    """A lone surrogate cannot be written as UTF-8."""
    for bad in (put("a", "\ud800"), put("\ud800", "x"), Clear(("\ud800",))):
        with pytest.raises(ValueError, match="surrogates"):
            items.change([put("a", "x"), bad])
    assert names(items) == []


def test_large_values_are_kept(items: Items) -> None:
    """A value of megabytes lies with its item."""
    value = bytes(range(256)) * 20_000
    items.change([put("a", "x", value=value), put("a", "y")])
    found = one(items, ("a",), "x")
    assert found is not None
    assert found.value == value


def test_a_scan_crosses_pages(items: Items) -> None:
    """Thousands of items and namespaces are all found."""
    items.change([put("many", str(number)) for number in range(1000)])
    items.change([put("each", str(number), "x") for number in range(600)])
    assert names(items, "many") == [("many", str(number)) for number in range(1000)]
    assert names(items, "each") == [("each", str(number), "x") for number in range(600)]
    assert len(spaces(items)) == 601
    assert problems(items) == []


def test_what_was_deleted_is_gone_and_its_namespace_with_the_last(items: Items) -> None:
    """Deleting tells how many went; what comes again comes last."""
    items.change([put("a", "x"), put("a", "y"), put("b", "x")])
    assert items.change([Delete(("a",), "x"), Delete(("a",), "nothing"), Delete(("c",), "x")]) == 1
    assert spaces(items) == [("a",), ("b",)]
    assert items.change([Delete(("a",), "y")]) == 1
    assert spaces(items) == [("b",)]
    items.change([put("a", "y")])
    assert names(items) == [("b", "x"), ("a", "y")]
    assert problems(items) == []


def test_changes_are_carried_out_in_order(items: Items) -> None:
    """Of two changes to one item the later stands, within one call as well."""
    items.change([put("a", "x", value=b"1"), put("a", "x", value=b"2")])
    items.change([Delete(("a",), "x"), put("a", "x", value=b"3"), put("b", "x"), Delete(("b",), "x")])
    found = one(items, ("a",), "x")
    assert found is not None
    assert found.value == b"3"
    assert names(items) == [("a", "x")]
    items.change([put("c", "x"), Clear(None), put("d", "x")])
    assert names(items) == [("d", "x")]
    items.change([put("d", "y"), Clear(("d",)), put("d", "z"), put("e", "x"), Clear(("e",))])
    assert names(items) == [("d", "z")]
    assert problems(items) == []


def test_clear_removes_exactly_one_namespace_or_all(items: Items) -> None:
    """A namespace below another stays."""
    items.change([put("a", "x"), put("a", "y"), put("a", "b", "x"), put("c", "x")])
    assert items.change([Clear(("a",)), Clear(("unknown",))]) == 2
    assert names(items) == [("a", "b", "x"), ("c", "x")]
    assert items.change([Clear(None)]) == 2
    assert names(items) == spaces(items) == []
    assert problems(items) == []


def test_an_item_whose_time_is_over_is_not_handed_out(items: Items) -> None:
    """It is there until it is swept, for those who ask for such items."""
    items.change([put("a", "x", ttl=1), put("a", "y", ttl=60 * SECOND), put("b", "x", ttl=1)])
    assert one(items, ("a",), "x") is None
    assert one(items, ("a",), "x", expired=True) is not None
    assert names(items) == [("a", "y")]
    assert names(items, expired=True) == [("a", "x"), ("a", "y"), ("b", "x")]
    assert spaces(items) == [("a",)]
    assert items.sweep() == 2
    assert names(items, expired=True) == [("a", "y")]
    assert items.sweep() == 0
    assert problems(items) == []


def test_an_item_whose_time_is_over_begins_anew_when_it_is_put(items: Items) -> None:
    """It is another item, with another beginning."""
    items.change([put("a", "x", ttl=1)])
    first = one(items, ("a",), "x", expired=True)
    items.change([put("a", "x")])
    second = one(items, ("a",), "x")
    assert first is not None
    assert second is not None
    assert second.created_at > first.created_at


def test_a_touch_begins_the_time_anew(items: Items) -> None:
    """Value and times of change stay; what has no time, or whose time is over, stays as it is."""
    items.change([put("a", "x", ttl=5 * SECOND), put("a", "ever"), put("a", "over", ttl=1)])
    before = one(items, ("a",), "x")
    time.sleep(0.06)
    items.change([Touch(("a",), name) for name in ("x", "ever", "over", "unknown")])
    after = one(items, ("a",), "x")
    assert before is not None
    assert after is not None
    assert after.expires_at > before.expires_at
    assert after._replace(expires_at=before.expires_at) == before
    ever = one(items, ("a",), "ever")
    assert ever is not None
    assert ever.expires_at == 0
    assert names(items) == [("a", "x"), ("a", "ever")]


def test_a_touch_within_a_hundredth_of_the_time_writes_nothing(items: Items) -> None:
    """So that reading often costs nothing."""
    items.change([put("a", "x", ttl=36_000 * SECOND)])
    before = one(items, ("a",), "x")
    assert before is not None
    with items.view() as view:
        assert not view.is_worn(before)
        assert view.is_worn(before._replace(expires_at=before.expires_at - 400 * SECOND))
        assert not view.is_worn(before._replace(ttl=0, expires_at=0))
    items.change([Touch(("a",), "x")])
    assert one(items, ("a",), "x") == before


def test_only_what_is_over_expires(items: Items) -> None:
    """A sweep that saw an item before it was touched leaves it alone."""
    items.change([put("a", "x", ttl=60 * SECOND), put("a", "ever"), put("a", "over", ttl=1)])
    assert items.change([Expire(("a",), name) for name in ("x", "ever", "over", "unknown")]) == 1
    assert names(items, expired=True) == [("a", "x"), ("a", "ever")]


def test_a_sweep_removes_thousands(items: Items) -> None:
    """More than one transaction's worth."""
    items.change([put("a", str(number), ttl=1 if number % 2 else 0) for number in range(4100)])
    assert items.sweep() == 2050
    assert names(items, expired=True) == [("a", str(number)) for number in range(0, 4100, 2)]


def test_the_shelves_do_not_know_each_other(tables_store: MemoryStore | LmdbStore) -> None:
    """What a cache keeps is nothing to a store."""
    tables_store.items.change([put("a", "x", value=b"store")])
    tables_store.cached.change([put("a", "x", value=b"cache")])
    tables_store.cached.change([Clear(None)])
    assert names(tables_store.items) == [("a", "x")]
    assert names(tables_store.cached) == []


def test_what_many_threads_put_at_once_is_all_there(items: Items) -> None:
    """Those who wait together are committed together, and everybody is told of their own changes."""
    removed: list[int] = []

    def work(number: int) -> None:
        for turn in range(10):
            items.change([put("t", str(number), str(turn)), put("all", f"{number}-{turn}")])
            removed.append(items.change([Delete(("t", str(number)), str(turn))]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert removed == [1] * 80
    assert len(names(items, "all")) == 80
    assert spaces(items) == [("all",)]
    assert problems(items) == []


def test_a_view_does_not_see_half_of_a_change(items: Items) -> None:
    """All changes of one call become visible together."""
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            items.change([put("a", "x"), Delete(("b",), "x")])
            items.change([put("b", "x"), Delete(("a",), "x")])

    items.change([put("b", "x")])
    writer = threading.Thread(target=swap)
    writer.start()
    try:
        for _ in range(200):
            assert len(names(items)) == 1
    finally:
        stop.set()
        writer.join()


# LMDB


def test_items_are_found_by_another_environment(tmp_path: object) -> None:
    """What was put is in the file, and a reader that came before the first put finds it too."""
    path = f"{tmp_path}/log"
    LmdbStore(open_environment(path)).close()
    reading = LmdbStore(open_environment(path, readonly=True))
    assert names(reading.items) == []
    reading.close()
    writing = LmdbStore(open_environment(path))
    writing.items.change([put("a", "x")])
    writing.close()
    reading = LmdbStore(open_environment(path, readonly=True))
    assert names(reading.items) == [("a", "x")]
    with pytest.raises(LogReadOnly):
        reading.items.change([put("a", "y")])
    with pytest.raises(LogReadOnly):
        reading.cached.change([put("a", "y")])
    assert names(reading.cached) == []
    reading.close()
    with pytest.raises(LogClosed):
        names(reading.items)


def test_a_full_map_is_told_and_what_was_there_stays(tmp_path: object) -> None:
    """Nothing of the batch is kept, and smaller ones go on."""
    store = LmdbStore(open_environment(f"{tmp_path}/log", map_size=1 << 20))
    store.items.change([put("a", "x")])
    with pytest.raises(LogFull):
        store.items.change([put("a", "small"), put("a", "large", value=bytes(2 << 20))])
    store.items.change([put("a", "y")])
    assert names(store.items) == [("a", "x"), ("a", "y")]
    assert problems(store.items) == []
    store.close()
