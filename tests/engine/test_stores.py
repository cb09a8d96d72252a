"""What every store promises: the same tests over memory and over logs, synchronous and on an event loop.

What LangGraph's own ``InMemoryStore`` answers to the same calls was found by calling it; where it is quoted, it stands
as a literal. ``tests/engine/test_store_search.py`` has what searches by meaning find.
"""

from __future__ import annotations

import datetime
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import Way
from store_helpers import Called, Shop, found

from walgraph import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    Log,
    LogCorrupt,
    LogReadOnly,
    LogStore,
    MatchCondition,
    MemoryLog,
    NotSerializable,
    PutOp,
    SearchItem,
    SearchOp,
)
from walgraph.wal.tables import ITEMS

A = ("a",)


# Getting and putting


def test_what_was_put_is_got(store: Called) -> None:
    """An item has its value, its place, and when it was put."""
    before = datetime.datetime.now(datetime.UTC)
    store.put(("users", "1"), "name", {"first": "Ada"})
    item = store.get(("users", "1"), "name")
    assert isinstance(item, Item)
    assert (item.namespace, item.key, item.value) == (("users", "1"), "name", {"first": "Ada"})
    assert before - datetime.timedelta(milliseconds=1) <= item.created_at
    assert item.created_at == item.updated_at
    assert item.created_at.tzinfo is datetime.UTC
    assert store.get(("users", "1"), "age") is None
    assert store.get(("users",), "name") is None


def test_putting_again_keeps_when_an_item_was_made(store: Called) -> None:
    """``created_at`` is of the first put, as in LangGraph's stores on Postgres, and ``updated_at`` of the last."""
    store.put(A, "x", {"n": 1})
    first = store.get(A, "x")
    store.put(A, "x", {"n": 2})
    second = store.get(A, "x")
    assert second.value == {"n": 2}
    assert second.created_at == first.created_at < second.updated_at


def test_a_deleted_item_is_gone(store: Called) -> None:
    """Deleting what is not there is no error."""
    store.put(A, "x", {})
    store.delete(A, "x")
    store.delete(A, "x")
    store.delete(("never",), "x")
    assert store.get(A, "x") is None
    assert store.list_namespaces() == []


def test_a_key_may_be_given_as_a_number(store: Called) -> None:
    """Keys are texts; what is given as something else becomes one."""
    store.put(A, 7, {"n": 7})
    assert store.get(A, 7).key == "7"
    store.delete(A, 7)
    assert store.get(A, "7") is None


def test_values_come_back_as_they_were(store: Called) -> None:
    """All that the log can hold can be stored, classes that JSON does not know included."""
    value = {
        "at": datetime.date(2024, 2, 29),
        "seen": {1, 2},
        "pair": (1, "x"),
        "none": None,
        "big": "x" * 100_000,
    }
    store.put(A, "x", value)
    assert store.get(A, "x").value == value
    assert type(store.get(A, "x").value["pair"]) is tuple


def test_nobody_shares_what_is_stored(store: Called) -> None:
    """Neither what was put nor what was got changes the store when it is changed (LangGraph shares both)."""
    value: dict[str, Any] = {"list": [1]}
    store.put(A, "x", value)
    value["list"].append(2)
    store.get(A, "x").value["list"].append(3)
    store.search(A)[0].value["list"].append(4)
    assert store.get(A, "x").value == {"list": [1]}


def test_what_cannot_be_written_is_refused_and_nothing_of_its_batch_is_kept(store: Called) -> None:
    """A batch is all or nothing."""
    with pytest.raises(NotSerializable):
        store.batch([PutOp(A, "x", {}), PutOp(A, "y", {"lock": threading.Lock()})])
    with pytest.raises(TypeError, match="keeps mappings; the value for 'y' is a int"):
        store.batch([PutOp(A, "x", {}), PutOp(A, "y", 5)])  # type: ignore[arg-type]
    assert store.search(()) == []


# Namespaces


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        ((), "Namespace cannot be empty."),
        (("langgraph", "x"), "Root label for namespace cannot be \"langgraph\". Got: ('langgraph', 'x')"),
    ],
)
def test_nothing_is_put_to_the_root_or_to_the_reserved_label(
    store: Called, namespace: Any, message: str
) -> None:
    """Both can be read and deleted from, in LangGraph's words (§1.12)."""
    with pytest.raises(InvalidNamespaceError) as caught:
        store.put(namespace, "x", {})
    assert caught.value.message == message
    assert store.get(namespace, "x") is None
    assert store.search(namespace) == []
    store.delete(namespace, "x")


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        (
            ("a.b",),
            "Invalid namespace label 'a.b' found in ('a.b',). Namespace labels cannot contain periods ('.').",
        ),
        (
            ("a\x00",),
            (
                "Invalid namespace label 'a\x00' found in ('a\\x00',). "
                "Namespace labels cannot contain NUL bytes ('\\x00')."
            ),
        ),
        (("a", ""), "Namespace labels cannot be empty strings. Got  in ('a', '')"),
        (
            ("a", 1),
            "Invalid namespace label '1' found in ('a', 1). Namespace labels must be strings, but got int.",
        ),
        ("users", "Namespace must be a tuple of strings, but got the string 'users'."),
    ],
)
def test_labels_that_are_none_are_refused_everywhere(store: Called, namespace: Any, message: str) -> None:
    """Labels are texts that are not empty and hold no period and no NUL, in LangGraph's words (§1.12)."""
    calls = [
        lambda: store.put(namespace, "x", {}),
        lambda: store.get(namespace, "x"),
        lambda: store.delete(namespace, "x"),
        lambda: store.search(namespace),
        lambda: store.list_namespaces(prefix=namespace),
        lambda: store.list_namespaces(suffix=namespace),
        lambda: store.batch([GetOp(namespace, "x")]),
        lambda: store.batch([PutOp(namespace, "x", {})]),
        lambda: store.batch([SearchOp(namespace)]),
    ]
    for call in calls:
        with pytest.raises(InvalidNamespaceError) as caught:
            call()
        assert caught.value.message == message
    assert isinstance(caught.value, ValueError)


def test_a_namespace_may_come_as_a_list(store: Called) -> None:
    """It is kept as a tuple."""
    store.put(["a", "b"], "x", {})
    assert store.get(["a", "b"], "x").namespace == ("a", "b")
    assert found(store.search(["a"])) == ["x"]


@pytest.fixture
def mixed(store: Called) -> Called:
    """A store with six items in three namespaces."""
    for namespace, key, value in (
        (("z",), "2", {"n": 1, "t": "x"}),
        (("a",), "9", {"n": 2, "l": [1, {"q": 2}]}),
        (("z",), "1", {"n": 3, "d": {"e": {"f": 1}, "g": 2}}),
        (("z", "y"), "0", {"n": 4, "t": None}),
        (("a",), "1", {"n": "5"}),
        (("a",), "7", {"n": 2.5}),
    ):
        store.put(namespace, key, value)
    return store


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [("a",), ("z",), ("z", "y")]),
        ({"prefix": ("z",)}, [("z",), ("z", "y")]),
        ({"suffix": ("y",)}, [("z", "y")]),
        ({"prefix": ("*",)}, [("a",), ("z",), ("z", "y")]),
        ({"prefix": ("*", "y")}, [("z", "y")]),
        ({"suffix": ("z", "*")}, [("z", "y")]),
        ({"prefix": ("z",), "suffix": ("z",)}, [("z",)]),
        ({"prefix": ("z", "y", "x")}, []),
        ({"max_depth": 1}, [("a",), ("z",)]),
        ({"max_depth": 2}, [("a",), ("z",), ("z", "y")]),
        ({"limit": 1}, [("a",)]),
        ({"limit": 5, "offset": 1}, [("z",), ("z", "y")]),
        ({"max_depth": 1, "offset": 1}, [("z",)]),
        ({"limit": 0}, []),
    ],
)
def test_namespaces_are_listed_sorted(mixed: Called, options: Any, expected: list[Any]) -> None:
    """By prefix, suffix, wildcard and depth, page by page, as LangGraph lists them."""
    assert mixed.list_namespaces(**options) == expected


def test_a_namespace_without_items_is_not_listed(mixed: Called) -> None:
    """LangGraph's store in memory lists what was emptied or only asked for; those in databases do not."""
    mixed.delete(("z", "y"), "0")
    mixed.get(("asked",), "x")
    assert mixed.list_namespaces() == [("a",), ("z",)]


# Searching


def test_a_search_finds_what_lies_below_a_prefix_in_the_order_in_which_it_came(mixed: Called) -> None:
    """Namespaces in their order first, as in LangGraph; ten at most, unless more is asked for."""
    assert found(mixed.search(())) == ["2", "1", "9", "1", "7", "0"]
    assert found(mixed.search(("z",))) == ["2", "1", "0"]
    assert found(mixed.search(("z", "y"))) == ["0"]
    assert mixed.search(("y",)) == []
    item = mixed.search(("z", "y"))[0]
    assert isinstance(item, SearchItem)
    assert (item.namespace, item.key, item.value, item.score) == (("z", "y"), "0", {"n": 4, "t": None}, None)
    for number in range(10):
        mixed.put(("more",), str(number), {})
    assert len(mixed.search(())) == 10
    assert len(mixed.search((), limit=100)) == 16


def test_a_search_is_paged(mixed: Called) -> None:
    """``limit`` and ``offset`` count what matches."""
    assert found(mixed.search((), limit=2, offset=1)) == ["1", "9"]
    assert found(mixed.search((), limit=2, offset=5)) == ["0"]
    assert mixed.search((), offset=6) == mixed.search((), limit=0) == []
    assert found(mixed.search((), filter={"n": {"$ne": 1}}, limit=2, offset=1)) == ["9", "1"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [1, 3, 2, "5", 2.5, 4]),
        ({"n": 1}, [1]),
        ({"n": {"$eq": 4}}, [4]),
        ({"n": {"$ne": 2}}, [1, 3, "5", 2.5, 4]),
        ({"n": {"$gt": 2}}, [3, "5", 2.5, 4]),
        ({"n": {"$gt": "2"}}, [3, "5", 2.5, 4]),
        ({"n": {"$gte": 2, "$lt": 4}}, [3, 2, 2.5]),
        ({"n": {"$lte": 2.5}}, [1, 2, 2.5]),
        ({"t": "x"}, [1]),
        ({"t": None}, [3, 2, "5", 2.5, 4]),
        ({"t": "x", "n": 2}, []),
        ({"l": [1, {"q": 2}]}, [2]),
        ({"l": (1, {"q": {"$gt": 1}})}, [2]),
        ({"l": [1]}, []),
        ({"d": {"g": 2}}, [3]),
        ({"d": {"e": {"f": {"$gt": 0}}}}, [3]),
        ({"d": {"g": 3}}, []),
    ],
)
def test_a_filter_finds_what_langgraphs_finds(mixed: Called, wanted: Any, expected: list[Any]) -> None:
    """Equality, operators, nested fields and lists; fields that are missing count as None (§1.12)."""
    assert [item.value["n"] for item in mixed.search((), filter=wanted)] == expected


def test_what_cannot_be_compared_does_not_match(mixed: Called) -> None:
    """An item without the field is left out, where LangGraph's store in memory raises TypeError."""
    assert found(mixed.search((), filter={"d": {"$gt": 1}})) == []
    assert found(mixed.search((), filter={"t": {"$gte": "w"}})) == ["2"]
    mixed.put(A, "date", {"n": datetime.date(2024, 5, 1)})
    wanted = {"n": {"$gt": datetime.date(2024, 4, 1)}}
    assert found(mixed.search((), filter=wanted)) == ["date"]
    assert found(mixed.search((), filter={"n": {"$gt": 10**400}})) == []


def test_a_search_that_cannot_be_meant_is_refused_where_nothing_is_stored(store: Called) -> None:
    """LangGraph notices an unknown operator only at an item."""
    with pytest.raises(ValueError, match=r"Unsupported operator: \$like"):
        store.search((), filter={"a": {"b": [{"$like": "x"}]}})
    for options in ({"limit": -1}, {"offset": -1}, {"limit": "5"}):
        with pytest.raises(ValueError, match="must be a whole number, zero or more"):
            store.search((), **options)
    with pytest.raises(ValueError, match="Unsupported match type: middle"):
        store.batch([ListNamespacesOp((MatchCondition("middle", ("a",)),))])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Unknown operation type: <class 'int'>"):
        store.batch([5])


# Batches


def test_a_batch_reads_what_was_there_before_it(store: Called) -> None:
    """Its puts become visible after its reads, and of two for one key the later stands, as in LangGraph."""
    store.put(A, "9", {"n": 9})
    results = store.batch(
        [
            PutOp(A, "x", {"n": 1}),
            GetOp(A, "x"),
            PutOp(A, "x", {"n": 2}),
            SearchOp(A, limit=1),
            ListNamespacesOp(),
            PutOp(A, "9", None),
            GetOp(A, "9"),
        ]
    )
    assert [results[0], results[1], results[2], results[5]] == [None] * 4
    assert found(results[3]) == ["9"]
    assert results[4] == [A]
    assert results[6].value == {"n": 9}
    assert [(item.key, item.value) for item in store.search(A)] == [("x", {"n": 2})]
    assert store.batch([]) == []


def test_many_threads_use_one_store(shop: Shop) -> None:
    """Nothing is lost, and no batch is seen in halves."""
    store = shop.make()
    halves: list[Any] = []

    def work(name: str) -> None:
        for number in range(15):
            store.batch([PutOp(("left",), name, {"n": number}), PutOp(("right",), name, {"n": number})])
            left, right = store.batch([GetOp(("left",), name), GetOp(("right",), name)])
            pairs = zip(
                *store.batch([SearchOp(("left",), limit=99), SearchOp(("right",), limit=99)]), strict=True
            )
            halves.extend(pair for pair in pairs if pair[0].value != pair[1].value)
            if left.value != right.value:
                halves.append((left, right))

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert halves == []
    assert len(store.search((), limit=99)) == 8


# Items


def test_an_item_is_shown_as_plain_data() -> None:
    """``dict`` gives the namespace as a list and times as texts; equality is of all parts but the score."""
    moment = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    item = Item(
        value={"a": 1}, key="k", namespace=["n"], created_at="2024-01-01T00:00:00+00:00", updated_at=moment
    )
    plain = {
        "namespace": ["n"],
        "key": "k",
        "value": {"a": 1},
        "created_at": "2024-01-01T00:00:00+00:00",
        "updated_at": "2024-01-01T00:00:00+00:00",
    }
    assert item.dict() == plain
    scored = SearchItem(("n",), "k", {"a": 1}, moment, moment, 0.5)
    assert scored.dict() == {**plain, "score": 0.5}
    assert item == scored
    assert hash(item) == hash(scored)
    assert item != Item(value={}, key="k", namespace=("n",), created_at=moment, updated_at=moment)
    assert item != "k"
    assert repr(scored).startswith("SearchItem(namespace=['n'], key='k', value={'a': 1}, created_at='2024")


class Narrow(BaseStore):
    """A user's store that knows no times to live."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def batch(self, ops: Any) -> list[Any]:
        """Note the operations."""
        self.seen += ops
        return [None for _ in self.seen]

    async def abatch(self, ops: Any) -> list[Any]:
        """Note the operations."""
        return self.batch(ops)


def test_a_users_store_needs_only_two_methods(way: Way) -> None:
    """The others are made of ``batch`` and ``abatch``, with the same checks; a time to live is refused (§1.12)."""
    narrow = Narrow()
    store = Called(narrow, way)
    store.put(A, "x", {"n": 1}, index=["n"])
    store.get(A, "x")
    store.search(A, query="q", filter={"n": 1}, limit=5, offset=2)
    store.list_namespaces(prefix=("a", "*"), suffix=("z",), max_depth=3)
    store.delete(A, 5)
    with pytest.raises(NotImplementedError, match="TTL is not supported by Narrow"):
        store.put(A, "x", {}, ttl=5)
    conditions = (MatchCondition("prefix", ("a", "*")), MatchCondition("suffix", ("z",)))
    assert narrow.seen == [
        PutOp(A, "x", {"n": 1}, ["n"]),
        GetOp(A, "x"),
        SearchOp(A, {"n": 1}, 5, 2, "q"),
        ListNamespacesOp(conditions, 3),
        PutOp(A, "5", None),
    ]


# Logs


def test_a_store_in_a_log_is_there_when_it_is_opened_again(tmp_path: Path, way: Way) -> None:
    """Values, times and times to live, in the same order."""
    with Log.open(tmp_path / "log") as log:
        store = Called(LogStore(log), way)
        store.put(("b",), "x", {"n": 1})
        store.put(A, "x", {"n": 2}, ttl=60)
        before = store.search(())
    with Log.open(tmp_path / "log", readonly=True) as log:
        store = Called(LogStore(log), way)
        assert store.search(()) == before, "reading what has a time to live needs no right to write"
        with pytest.raises(LogReadOnly):
            store.put(A, "y", {})
        with pytest.raises(LogReadOnly):
            store.target.sweep_ttl()


def test_a_damaged_item_is_reported_and_never_handed_out(way: Way) -> None:
    """Whoever reads it is told which it is, and it can be put again."""
    log = MemoryLog()
    store = Called(LogStore(log), way)
    store.put(A, "x", {"n": 1})
    store.put(A, "y", {"n": 2})
    with log.store._tables.write() as txn:
        key, value = txn.at_or_before(ITEMS, b"\xff")
        txn.put(ITEMS, key, value.replace(b"\xa1n\x02", b"\xa1n\x03"))
    with pytest.raises(LogCorrupt, match=r"Item number 2 of namespace \('a',\) is damaged"):
        store.get(A, "y")
    with pytest.raises(LogCorrupt):
        store.search(())
    assert store.get(A, "x").value == {"n": 1}
    store.put(A, "y", {"n": 4})
    assert store.get(A, "y").value == {"n": 4}


def test_a_log_store_takes_logs_only() -> None:
    """A path is not opened behind one's back."""
    with pytest.raises(TypeError, match="LogStore needs a Log, not a str"):
        LogStore("some.wal")  # type: ignore[arg-type]
