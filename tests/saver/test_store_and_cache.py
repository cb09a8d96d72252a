"""LangGraph's store and cache on our log, used by LangGraph itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.cache.base import BaseCache
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, Item, PutOp, SearchItem
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy

from walgraph import Log, LogStore, MemoryLog
from walgraph.engine import store as ours
from walgraph.tools.langgraph_saver import WalCache, WalSaver, WalStore


@pytest.fixture
def log() -> Iterator[Log]:
    """A log in memory."""
    with MemoryLog() as opened:
        yield opened


def vectors(texts: list[str]) -> list[list[float]]:
    """How often each vowel stands in a text."""
    return [[float(text.count(vowel)) + 0.1 for vowel in "aeiou"] for text in texts]


def work(store: BaseStore) -> list[Any]:
    """Do a bit of everything."""
    store.put(("users", "a"), "x", {"food": "banana", "n": 1})
    store.put(("users", "b"), "y", {"food": "onion", "n": 2})
    store.put(("users", "b"), "z", {"food": "fig", "n": 3}, index=False)
    store.put(("users", "b"), "gone", {"food": "pea"})
    store.delete(("users", "b"), "gone")
    found = [
        store.get(("users", "a"), "x"),
        store.get(("users", "a"), "nobody"),
        *store.search(("users",), filter={"n": {"$gte": 2}}),
        *store.search(("users",), query="aaa", limit=1),
        *store.list_namespaces(prefix=("users",), max_depth=2),
        *store.list_namespaces(suffix=("b",)),
    ]
    shown = []
    for each in found:
        if isinstance(each, Item):
            score = round(each.score, 6) if isinstance(each, SearchItem) and each.score else None
            shown.append((type(each).__name__, each.namespace, each.key, each.value, score))
        else:
            shown.append(each)
    return shown


@pytest.mark.parametrize("kind", [WalSaver, WalStore, WalCache])
def test_what_was_opened_is_closed_without_blocking_the_loop(kind: Any, tmp_path: Path) -> None:
    """``async with`` closes in a thread of its own, and what is on a log of others leaves that open."""
    closed = []

    class Closing(kind):  # type: ignore[misc]
        def close(self) -> None:
            closed.append(threading.current_thread() is threading.main_thread())
            super().close()

    async def life() -> None:
        async with Closing.from_conn_string(str(tmp_path / "log")) as opened:
            opened.setup()
        assert opened.log.closed

    asyncio.run(life())
    assert closed == [False]
    with Log.open(tmp_path / "log") as log:
        with Closing(log):
            pass
        assert not log.closed


def test_the_store_answers_as_the_one_in_memory(log: Log) -> None:
    """Puts, gets, filters, a search by meaning, and listings of namespaces, in LangGraph's own classes."""
    index: Any = {"dims": 5, "embed": vectors, "fields": ["food"]}
    assert work(WalStore(log, index=index)) == work(InMemoryStore(index=index))


def test_the_store_is_one_with_walgraphs_own(log: Log) -> None:
    """What LangGraph put, a graph of walgraph's reads, and the other way round; sync and async."""
    theirs, own = WalStore(log), LogStore(log)
    theirs.put(("a",), "k", {"x": 1})
    asyncio.run(theirs.aput(("a",), "m", {"x": 2}))
    assert own.get(("a",), "k").value == {"x": 1}
    own.put(("a",), "l", {"y": 3})
    assert [item.key for item in asyncio.run(theirs.asearch(("a",)))] == ["k", "m", "l"]
    with pytest.raises(TypeError, match="no operation str"):
        theirs.batch(["nonsense"])  # type: ignore[list-item]


def test_items_have_a_time_to_live(log: Log) -> None:
    """After it they are neither found nor kept."""
    store = WalStore(log, ttl={"default_ttl": 0.001 / 60, "refresh_on_read": False})
    store.put(("a",), "k", {"x": 1})
    store.put(("a",), "l", {"x": 1}, ttl=5)
    time.sleep(0.01)
    assert store.get(("a",), "k") is None
    assert [item.key for item in store.search(("a",))] == ["l"]
    assert store.sweep_ttl() == 1
    store.start_ttl_sweeper(1)
    assert store.stop_ttl_sweeper(5)


def test_operations_have_the_same_fields() -> None:
    """LangGraph's operations can be handed on field by field."""
    from langgraph.store import base

    for name in ("GetOp", "SearchOp", "PutOp", "ListNamespacesOp"):
        assert set(getattr(base, name)._fields) == set(getattr(ours, name)._fields), name
    assert PutOp(("a",), "k", None).ttl is None


class State(TypedDict, total=False):
    """What the graphs below hold."""

    n: int
    seen: Any


def test_langgraph_runs_with_saver_store_and_cache_in_one_log(tmp_path: Path) -> None:
    """A node reads the store; what it returned is cached for the next process."""
    runs: list[int] = []

    def node(state: State, *, store: BaseStore) -> State:
        runs.append(state["n"])
        store.put(("seen",), str(state["n"]), {"n": state["n"]})
        return {"seen": [item.key for item in store.search(("seen",))]}

    def run(thread: str) -> Any:
        with Log.open(tmp_path / "log", fsync="off") as log:
            builder = StateGraph(State)
            builder.add_node("node", node, cache_policy=CachePolicy(ttl=60))
            builder.add_edge(START, "node")
            cache: BaseCache[Any] = WalCache(log)
            graph = builder.compile(checkpointer=WalSaver(log), store=WalStore(log), cache=cache)
            first = graph.invoke({"n": 1}, {"configurable": {"thread_id": thread}})
            asyncio.run(graph.ainvoke({"n": 1}, {"configurable": {"thread_id": f"{thread} again"}}))
            return first

    assert run("t") == {"n": 1, "seen": ["1"]}
    assert run("u") == {"n": 1, "seen": ["1"]}
    assert runs == [1]
    with WalStore.from_conn_string(str(tmp_path / "log"), ttl=None) as store:
        assert store.get(("seen",), "1").value == {"n": 1}
    cache: WalCache[Any] = WalCache(tmp_path / "log")
    cache.clear()
    asyncio.run(cache.aset({(("a",), "k"): ("v", None)}))
    assert asyncio.run(cache.aget([(("a",), "k")])) == {(("a",), "k"): "v"}
    asyncio.run(cache.aclear([("a",)]))
    assert cache.get([(("a",), "k")]) == {}
    cache.close()
