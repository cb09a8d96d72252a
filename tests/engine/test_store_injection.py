"""How nodes, tasks and routers get at the store: by parameter, by runtime, by ``get_store``, in subgraphs too.

Which store a subgraph sees was found by running LangGraph.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest
from helpers import THREAD, Way

from walgraph import (
    END,
    START,
    BaseStore,
    CompiledGraph,
    InMemoryStore,
    Log,
    LogStore,
    Runtime,
    StateGraph,
    entrypoint,
    get_store,
    task,
)

PLACE = ("names",)


class State(TypedDict):
    """A state of one text."""

    x: str


def a_store(name: str) -> InMemoryStore:
    """A store that knows its own name."""
    store = InMemoryStore()
    store.put(PLACE, "own", {"name": name})
    return store


def name_of(store: BaseStore | None) -> str:
    """The name of a store."""
    if store is None:
        return "none"
    item = store.get(PLACE, "own")
    assert item is not None
    return str(item.value["name"])


def by_function(state: State) -> dict[str, str]:
    """Ask for the store."""
    return {"x": name_of(get_store())}


def by_parameter(state: State, *, store: BaseStore) -> dict[str, str]:
    """Be given the store."""
    return {"x": name_of(store)}


def by_runtime(state: State, runtime: Runtime) -> dict[str, str]:
    """Find the store in the runtime."""
    return {"x": name_of(runtime.store)}


def graph_of(node: Any, **options: Any) -> CompiledGraph:
    """A graph of one node."""
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile(**options)


@pytest.mark.parametrize("node", [by_function, by_parameter, by_runtime])
def test_a_node_gets_the_store_that_its_graph_was_compiled_with(way: Way, node: Any) -> None:
    """In each of three ways; None if there is none."""
    assert way.invoke(graph_of(way.node(node), store=a_store("a")), {"x": ""}) == {"x": "a"}
    assert way.invoke(graph_of(way.node(node)), {"x": ""}) == {"x": "none"}


def test_a_router_gets_the_store(way: Way) -> None:
    """Where control goes may depend on what is remembered."""

    def route(state: State, store: BaseStore) -> str:
        return END if name_of(store) == "a" else "again"

    def one(state: State) -> dict[str, str]:
        return {"x": "one"}

    def again(state: State) -> dict[str, str]:
        return {"x": "again"}

    builder = StateGraph(State).add_node(one).add_node(again).add_edge(START, "one")
    builder.add_conditional_edges("one", route, ["again", END])
    assert way.invoke(builder.compile(store=a_store("a")), {"x": ""}) == {"x": "one"}
    assert way.invoke(builder.compile(store=a_store("b")), {"x": ""}) == {"x": "again"}


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize(
    ("outer", "inner", "seen"), [("a", None, "a"), ("a", "b", "a"), (None, "b", "b"), (None, None, "none")]
)
def test_a_subgraph_inherits_the_store(
    way: Way, outer: str | None, inner: str | None, seen: str, *, called: bool
) -> None:
    """The store of the graph above counts, as in LangGraph; a subgraph's own does if there is none above."""
    subgraph = graph_of(by_function, store=None if inner is None else a_store(inner))
    node = (lambda state: way.invoke(subgraph, state, None)) if called and not way.is_async else subgraph
    graph = graph_of(node, store=None if outer is None else a_store(outer))
    assert way.invoke(graph, {"x": ""}) == {"x": seen}


def test_entrypoints_and_tasks_get_the_store(way: Way) -> None:
    """The function by parameter, its tasks by ``get_store``."""

    @task
    @way.node
    def look(x: int) -> str:
        return name_of(get_store())

    @entrypoint(store=a_store("a"))
    @way.flow
    def workflow(x: int, *, store: BaseStore) -> Any:
        answer = yield look(x)
        return name_of(store), answer

    assert way.invoke(workflow, 1) == ("a", "a")


def test_what_a_run_stored_outlives_its_thread(way: Way, log: Log) -> None:
    """Another thread of the same log finds it, also after the first was deleted."""

    async def aremember(state: State, *, store: BaseStore) -> dict[str, str]:
        known = await store.aget(PLACE, "seen")
        await store.aput(PLACE, "seen", {"by": state["x"]})
        return {"x": known.value["by"] if known is not None else "nobody"}

    def remember(state: State, *, store: BaseStore) -> dict[str, str]:
        known = store.get(PLACE, "seen")
        store.put(PLACE, "seen", {"by": state["x"]})
        return {"x": known.value["by"] if known is not None else "nobody"}

    graph = graph_of(aremember if way.is_async else remember, checkpointer=log, store=LogStore(log))
    assert way.invoke(graph, {"x": "first"}, THREAD) == {"x": "nobody"}
    log.delete_thread("t")
    assert way.invoke(graph, {"x": "second"}, {"configurable": {"thread_id": "u"}}) == {"x": "first"}


def test_the_event_loop_goes_on_while_a_store_in_a_log_waits_for_the_disk(tmp_path: Path) -> None:
    """What waits is a thread: the loop goes on while another caller leads the commits."""

    async def use(log: Log) -> bool:
        store = LogStore(log)
        await store.aput(PLACE, "x", {})
        shelf: Any = log.store.items
        shelf._is_led = True
        waiting = asyncio.create_task(store.aput(PLACE, "y", {}))
        for _ in range(60_000):
            await asyncio.sleep(0.001)
            if shelf._waiting:
                break
        assert not waiting.done()
        with shelf._lock:
            shelf._pass_on()
        await waiting
        return await store.aget(PLACE, "y") is not None

    with Log.open(tmp_path / "log") as log:
        assert asyncio.run(use(log))


KNOWN_BY_THE_SCHEMA = """
import sys
from dataclasses import dataclass
from typing import TypedDict
from walgraph import START, CachePolicy, Log, LogCache, LogStore, StateGraph, get_store

@dataclass
class Order:
    number: int

class State(TypedDict, total=False):
    order: Order

def make(state):
    print("made")
    return {"order": Order(3)}

def keep(state):
    if sys.argv[2] == "first":
        get_store().put(("orders",), "one", {"order": state["order"]})
    print(get_store().get(("orders",), "one").value["order"])

with Log.open(sys.argv[1]) as log:
    builder = StateGraph(State).add_node(make, cache_policy=CachePolicy()).add_node(keep)
    graph = builder.add_edge(START, "make").add_edge("make", "keep").compile(store=LogStore(log), cache=LogCache(log))
    graph.invoke({})
"""


def test_another_process_knows_stored_classes_by_the_schemas_of_its_graphs(tmp_path: Path) -> None:
    """Nothing needs to be registered: items are read, and cached results found, as the state itself would be."""
    said = [
        subprocess.run(
            [sys.executable, "-c", KNOWN_BY_THE_SCHEMA, tmp_path / "log.wal", which],
            check=True, capture_output=True, text=True,
        ).stdout.splitlines()
        for which in ("first", "second")
    ]  # fmt: skip
    assert said == [["made", "Order(number=3)"], ["Order(number=3)"]]
