"""``wal store``: namespaces and items, read without changing anything."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from tools_helpers import FORBIDDEN, HOSTILE, steady, told, wal

from walgraph import Log, LogStore, MemoryLog, register_type
from walgraph.wal.tables import ITEMS
from walgraph.wal.verify import verify


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a store of four items, one of them over."""
    place = tmp_path_factory.mktemp("store") / "log.wal"
    with Log.open(place) as log:
        store = LogStore(log, index={"dims": 1, "embed": lambda texts: [[1.0] for _ in texts]})
        store.put(("users", "ada"), "name", {"first": "Ada", "born": datetime.date(1815, 12, 10)})
        store.put(("users", "ada"), "food", {"likes": ["rice"] * 50}, index=False)
        store.put(("users", "bob"), "name", {"first": "Bob"}, ttl=1e6)
        store.put(("over",), "x", {}, ttl=0)
    return place


def test_namespaces_are_listed(path: Path) -> None:
    """With how many items, how many bytes, and when something was written last."""
    result = wal("store", path)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["namespace", "items", "bytes", "last", "write"]
    assert [line.split()[:2] for line in lines[1:]] == [["users.ada", "2"], ["users.bob", "1"]]
    spaces = told("store", path)["namespaces"]
    assert [(space["namespace"], space["items"]) for space in spaces] == [
        (["users", "ada"], 2),
        (["users", "bob"], 1),
    ]
    assert all(space["bytes"] > 0 and space["updated_at"] for space in spaces)
    assert len(told("store", path, "--limit", "1")["namespaces"]) == 1


@pytest.mark.parametrize("labels", [["users"], ["users", "ada"], ["users.ada"]])
def test_items_below_a_namespace_are_listed(path: Path, labels: list[str]) -> None:
    """In the order in which they came, with their values on one line."""
    keys = ["name", "food", "name"][: 3 if labels == ["users"] else 2]
    result = wal("store", path, *labels)
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == keys
    assert "{'first': 'Ada', 'born': " in result.stdout
    assert "…" in result.stdout
    items = told("store", path, *labels)["items"]
    assert [item["key"] for item in items] == keys
    assert items[0]["value"]["first"] == "Ada"
    assert items[0]["until"] is None
    assert len(told("store", path, *labels, "--limit", "1")["items"]) == 1


def test_one_item_is_shown_whole(path: Path) -> None:
    """Nothing is cut off."""
    result = wal("store", path, "users", "ada", "--key", "food")
    assert steady(result.stdout).splitlines()[:2] == [
        "item food · namespace users.ada",
        "created TIME · updated TIME · until -",
    ]
    assert repr(["rice"] * 50) in result.stdout
    bob = told("store", path, "users.bob", "--key", "name")["items"]
    assert bob[0]["value"] == {"first": "Bob"}
    assert bob[0]["until"] > bob[0]["updated_at"]


def test_what_is_over_is_shown_on_request(path: Path) -> None:
    """It is there until it is swept."""
    assert told("store", path, "over") == {"v": 1, "kind": "store", "items": []}
    assert [item["key"] for item in told("store", path, "over", "--expired")["items"]] == ["x"]
    assert len(told("store", path, "--expired")["namespaces"]) == 3


def test_an_item_that_is_not_there_is_not_found(path: Path) -> None:
    """The exit code is 3, as for a thread; a namespace without items is no error."""
    result = wal("store", path, "users", "--key", "name")
    assert result.exit_code == 3
    assert "error[WAL-E407]: The store holds no item 'name' in namespace users." in result.stderr
    assert wal("store", path, "nobody").exit_code == 0


def test_a_log_without_a_store_has_no_namespaces(tmp_path: Path) -> None:
    """Looking makes no table."""
    Log.open(tmp_path / "log").close()
    size = (tmp_path / "log" / "data.mdb").stat().st_size
    assert told("store", tmp_path / "log")["namespaces"] == []
    assert told("store", tmp_path / "log", "a")["items"] == []
    assert (tmp_path / "log" / "data.mdb").stat().st_size == size
    assert wal("store", tmp_path / "nothing").exit_code == 3


def test_the_log_may_be_named_by_the_environment(path: Path) -> None:
    """Then all words are labels."""
    result = wal("store", "users", "bob", env={"WALGRAPH_LOG": str(path)})
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == ["name"]


@register_type
class Known:
    """A class of the user's."""

    def __init__(self, x: int) -> None:
        self.x = x


def test_nothing_that_is_stored_steers_a_terminal(tmp_path: Path) -> None:
    """Namespaces, keys and values are shown by their codes; objects by their parts."""
    hostile = HOSTILE.replace("\udc80", "").replace(".", "")
    with Log.open(tmp_path / "log") as log:
        LogStore(log).put((hostile,), hostile, {hostile: hostile, "known": Known(5)})
    for words in ([], [hostile], [hostile, "--key", hostile]):
        result = wal("store", tmp_path / "log", *words)
        assert result.exit_code == 0, result.output
        assert not FORBIDDEN.search(result.stdout.replace("\n", ""))
        assert "bold" in result.stdout


def test_damage_ends_with_its_code(tmp_path: Path) -> None:
    """Unreadable is 5, and the message says which item it is."""
    with Log.open(tmp_path / "log") as log:
        LogStore(log).put(("a",), "x", {"n": 1})
        with log.store._tables.write() as txn:
            key, value = txn.at_or_before(ITEMS, b"\xff")
            txn.put(ITEMS, key, value[:-1])
    result = wal("store", tmp_path / "log", "a")
    assert result.exit_code == 5
    assert "Item number 1 of namespace ('a',) is damaged" in result.stderr
    report = told("verify", tmp_path / "log", code=1)
    assert (
        "store: Item number 1 of namespace ('a',) is damaged"
        in report["problems"][0]["problem" if "problem" in report["problems"][0] else "what"]
    )


def test_a_verification_counts_items() -> None:
    """They are part of the log."""
    log = MemoryLog()
    LogStore(log).put(("a",), "x", {})
    assert verify(log).items == 1
