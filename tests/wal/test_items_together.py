"""Many callers at once: who leads, who is told, and what happens when one fails or is interrupted."""

from __future__ import annotations

import threading
import time

import pytest
from item_helpers import Damaged, names, put

from walgraph.wal.environment import open_environment
from walgraph.wal.errors import LogCorrupt
from walgraph.wal.item_layout import SPACE
from walgraph.wal.items import Change
from walgraph.wal.lmdb_store import LmdbStore
from walgraph.wal.memory_store import MemoryStore
from walgraph.wal.table_items import TableItems


def waiting_for(shelf: TableItems, count: int) -> None:
    """Wait until so many callers wait."""
    while len(shelf._waiting) < count:
        time.sleep(0.001)


def test_a_leader_that_is_interrupted_leaves_the_others_to_the_next(
    tables_store: MemoryStore | LmdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C strikes during a commit for three: the two others are served by one of them."""
    shelf = tables_store.items
    commit = shelf._commit
    struck: list[int] = []

    def interrupted(turns: list[object]) -> None:
        if not struck:
            struck.append(len(turns))
            raise KeyboardInterrupt
        commit(turns)  # type: ignore[arg-type]

    monkeypatch.setattr(shelf, "_commit", interrupted)
    outcomes: list[object] = []

    def work(name: str) -> None:
        try:
            outcomes.append(shelf.change([put("a", name)]))
        except KeyboardInterrupt:
            outcomes.append(name)

    shelf._is_led = True
    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(3)]
    for count, thread in enumerate(threads, 1):
        thread.start()
        waiting_for(shelf, count)
    with shelf._lock:
        shelf._pass_on()
    for thread in threads:
        thread.join()
    assert struck == [3]
    assert sorted(map(str, outcomes)) == ["0", "0", "0"]
    assert names(shelf) == [("a", "1"), ("a", "2")], "the first led, and was interrupted"
    assert not shelf._is_led


def test_those_who_wait_together_share_a_commit(tmp_path: object) -> None:
    """One flush for all of them."""
    store = LmdbStore(open_environment(f"{tmp_path}/log"))
    store.items.change([put("a", "first")])
    before = store.environment.lmdb.info()["last_txnid"]
    store.items._is_led = True
    threads = [
        threading.Thread(target=store.items.change, args=([put("a", str(number))],)) for number in range(5)
    ]
    for thread in threads:
        thread.start()
    waiting_for(store.items, 5)
    with store.items._lock:
        store.items._pass_on()
    for thread in threads:
        thread.join()
    assert store.environment.lmdb.info()["last_txnid"] == before + 1
    assert len(names(store.items)) == 6
    store.close()


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
    shelf._is_led = True
    for thread in threads:
        thread.start()
    gate.set()
    while len(shelf._waiting) < 4:
        time.sleep(0.001)
    with shelf._lock:
        shelf._pass_on()
    for thread in threads:
        thread.join()
    assert isinstance(outcomes.pop("bad"), LogCorrupt)
    assert outcomes == {"0": 0, "1": 0, "2": 0}
    assert len(names(shelf, "ok")) == 3
