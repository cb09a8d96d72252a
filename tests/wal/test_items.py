"""What every shelf of items promises: the same tests over memory and over LMDB, for stores and for caches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from walgraph.wal.environment import open_environment
from walgraph.wal.errors import LogClosed, LogCorrupt, LogReadOnly
from walgraph.wal.item_layout import BY_KEY, BY_NAME, ITEM, SPACE
from walgraph.wal.items import Change, Clear, Delete, Expire, Item, Items, Put, Touch
from walgraph.wal.lmdb_store import LmdbStore
from walgraph.wal.memory_store import MemoryStore
from walgraph.wal.table_items import TableItems
from walgraph.wal.tables import ITEMS, Tables

SECOND = 1_000_000_000
LONG = "ä" * 1000


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[MemoryStore | LmdbStore]:
    """A new store of each kind."""
    made = MemoryStore() if request.param == "memory" else LmdbStore(open_environment(f"{tmp_path}/log"))
    yield made
    made.close()


@pytest.fixture(params=["items", "cached"])
def items(request: pytest.FixtureRequest, store: MemoryStore | LmdbStore) -> Items:
    """One of its shelves."""
    shelf: Items = getattr(store, request.param)
    return shelf


def names(items: Items, *prefix: str, expired: bool = False) -> list[tuple[str, ...]]:
    """Namespace and key of what a scan finds, in order."""
    with items.view() as view:
        return [(*item.namespace, item.key) for item in view.scan(prefix, expired=expired)]


def one(items: Items, namespace: tuple[str, ...], key: str, *, expired: bool = False) -> Item | None:
    """One item."""
    with items.view() as view:
        return view.get(namespace, key, expired=expired)


def spaces(items: Items) -> list[tuple[str, ...]]:
    """The namespaces."""
    with items.view() as view:
        return view.spaces()


def fine(item: Item) -> None:
    """Find nothing wrong with a value."""


def problems(items: Items) -> list[str]:
    """What a check finds."""
    return items.check(fine)[1]


def put(*path: str, value: bytes = b"v", ttl: int = 0) -> Put:
    """A put at a namespace and key."""
    return Put(path[:-1], path[-1], value, b"", ttl)


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


def test_the_shelves_do_not_know_each_other(store: MemoryStore | LmdbStore) -> None:
    """What a cache keeps is nothing to a store."""
    store.items.change([put("a", "x", value=b"store")])
    store.cached.change([put("a", "x", value=b"cache")])
    store.cached.change([Clear(None)])
    assert names(store.items) == [("a", "x")]
    assert names(store.cached) == []


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


# Damage


class Damaged:
    """A shelf whose bytes can be changed from below."""

    def __init__(self, store: MemoryStore | LmdbStore) -> None:
        self.items = store.items
        self.tables: Tables = store._tables

    def change(self, kind: bytes, old: bytes = b"", new: bytes | None = None) -> None:
        """Replace bytes in the last entry of a kind; without any, remove it."""
        with self.tables.write() as txn:
            key, value = txn.at_or_before(ITEMS, bytes([kind[0] + 1])) or (b"", b"")
            assert key.startswith(kind)
            if new is None:
                txn.delete(ITEMS, key)
            else:
                assert old in value
                txn.put(ITEMS, key, value.replace(old, new))


@pytest.fixture
def damaged(store: MemoryStore | LmdbStore) -> Damaged:
    """A shelf with two items, the second about to be damaged."""
    store.items.change([put("a", "x", value=b"good"), put("a", "y", value=b"fine")])
    return Damaged(store)


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


def test_one_who_cannot_be_served_does_not_keep_others_from_it(damaged: Damaged) -> None:
    """If what one wants to change is damaged, those who wait with it are served all the same."""
    damaged.items.change([put("b", "x")])
    damaged.change(SPACE, b"b", b"c")
    gate = threading.Event()
    shelf = damaged.items
    assert isinstance(shelf, TableItems)
    outcomes: dict[str, object] = {}

    def work(name: str, changes: list[Change]) -> None:
        gate.wait()
        try:
            outcomes[name] = shelf.change(changes)
        except LogCorrupt as error:
            outcomes[name] = error

    threads = [threading.Thread(target=work, args=(str(n), [put("ok", str(n))])) for n in range(3)]
    threads.append(threading.Thread(target=work, args=("bad", [put("b", "x")])))
    with shelf._turn_lock:
        for thread in threads:
            thread.start()
        gate.set()
        while len(shelf._waiting) < 4:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert isinstance(outcomes.pop("bad"), LogCorrupt)
    assert outcomes == {"0": 0, "1": 0, "2": 0}
    assert len(names(shelf, "ok")) == 3


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
