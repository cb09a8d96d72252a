"""Results that are used again: of nodes (CA-1), what is kept of them, and what a cache that fails costs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

import pytest
from cache_helpers import HIT, POLICY, Broken, Counted, counted, on, one, way_of_clearing
from helpers import Trail, chain, leaves
from kills import outlived
from timeout_helpers import AGAIN, LONG, SHORT

from walgraph import (
    START,
    BaseCache,
    CachePolicy,
    Command,
    InMemoryCache,
    Overwrite,
    RetryPolicy,
    Send,
    StateGraph,
    UntrackedValue,
    add_messages,
    interrupt,
)
from walgraph.wal.record import TaskFinished


def test_a_node_runs_once_for_equal_input(way, maybe_log) -> None:
    """The second time its result is found, and its update says so (CA-1)."""
    node = counted(way)
    graph = one(node, maybe_log, InMemoryCache())
    updates = {"n": {"x": 1, "trail": ["n"]}}
    assert way.stream(graph, {"trail": ["a"]}, on("1"), stream_mode="updates") == [updates]
    assert way.stream(graph, {"trail": ["a"]}, on("2"), stream_mode="updates") == [{**updates, **HIT}]
    assert way.invoke(graph, {"trail": ["a"]}, on("3")) == {"trail": ["a", "n"], "x": 1}
    assert way.invoke(graph, {"trail": ["b"]}, on("4")) == {"trail": ["b", "n"], "x": 2}
    assert node.ran == 2


def test_what_was_found_starts_and_has_no_result_of_its_own(way) -> None:
    """So it is in LangGraph's mode ``tasks``; the values and updates are as always."""
    graph = one(counted(way), cache=InMemoryCache())
    first = way.stream(graph, {"trail": []}, stream_mode=["tasks", "values"])
    second = way.stream(graph, {"trail": []}, stream_mode=["tasks", "values"])
    assert [mode for mode, _ in first] == ["values", "tasks", "tasks", "values"]
    assert [mode for mode, _ in second] == ["values", "tasks", "values"]
    assert first[-1] == second[-1]


@pytest.mark.parametrize("missing", ["policy", "cache"])
def test_it_takes_a_policy_and_a_cache(way, missing) -> None:
    """Either alone does nothing (CA-1)."""
    node = counted(way)
    cache = None if missing == "cache" else InMemoryCache()
    graph = one(node, cache=cache, cache_policy=None if missing == "policy" else POLICY)
    for _ in range(2):
        way.invoke(graph, {"trail": []})
    assert node.ran == 2


def test_a_node_without_a_policy_takes_the_short_way() -> None:
    """What nobody asked for costs nothing."""
    plain, cached = one(leaves("n"), cache_policy=None), one(leaves("n"))
    assert plain.nodes["n"].is_plain
    assert not cached.nodes["n"].is_plain


def test_a_default_holds_for_every_node(way) -> None:
    """``set_node_defaults`` says it for those that were told nothing."""
    node = counted(way)
    builder = StateGraph(Trail).set_node_defaults(cache_policy=POLICY)
    graph = builder.add_node("n", node).add_edge(START, "n").compile(cache=InMemoryCache())
    for _ in range(2):
        way.invoke(graph, {"trail": []})
    assert node.ran == 1


def test_what_was_found_is_recorded_like_any_outcome(way, log, durability) -> None:
    """So a resume needs no cache: the node after it failed, and the cache is gone."""
    cache: InMemoryCache[Any] = InMemoryCache()
    node = counted(way)
    way.invoke(one(node, cache=cache), {"trail": []})
    broken = [True]

    def last(state):
        if broken:
            raise KeyError("mine")
        return {"trail": ["last"]}

    def graph(cache: Any) -> Any:
        builder = StateGraph(Trail).add_node("n", node, cache_policy=POLICY).add_node("last", way.node(last))
        return builder.add_edge(START, "n").add_edge("n", "last").compile(log, cache=cache)

    with pytest.raises(KeyError):
        way.invoke(graph(cache), {"trail": []}, durability=durability)
    broken.clear()
    assert way.invoke(graph(None), None, durability=durability) == {"trail": ["n", "last"], "x": 1}
    assert node.ran == 1


def test_the_record_of_what_was_found_is_that_of_a_run(way, log) -> None:
    """Nothing in a log says where an outcome came from."""
    graph = one(counted(way), log, InMemoryCache())
    records = []
    for thread in ("1", "2"):
        way.invoke(graph, {"trail": []}, on(thread))
        records.append([s.record for s in log.read(thread) if isinstance(s.record, TaskFinished)])
    assert records[0] == records[1]


# ── what is kept ──


def test_routers_are_asked_each_time(way) -> None:
    """What is kept is what the function returned; a router sees the state of its run (LangGraph keeps its answer)."""
    node = counted(way)
    builder = StateGraph(Trail).add_node("n", node, cache_policy=CachePolicy(key_func=lambda _: "same"))
    for name in ("left", "right"):
        builder.add_node(name, way.node(leaves(name)))
    builder.add_conditional_edges("n", lambda state: state["trail"][0], ["left", "right"]).add_edge(
        START, "n"
    )
    graph = builder.compile(cache=InMemoryCache())
    assert way.invoke(graph, {"trail": ["left"]})["trail"] == ["left", "n", "left"]
    assert way.invoke(graph, {"trail": ["right"]})["trail"] == ["right", "n", "right"]
    assert node.ran == 1


def test_commands_and_sends_are_found_again(way, maybe_log) -> None:
    """With where they go and how long it may take there."""
    ran: list[str] = []

    def steers(state):
        ran.append("steers")
        return Command(update={"trail": ["steers"]}, goto=["b", Send("c", {"x": 5})])

    builder = StateGraph(Trail).add_node("n", way.node(steers), cache_policy=POLICY).add_edge(START, "n")
    builder.add_node("b", way.node(leaves("b"))).add_node("c", way.node(lambda state: {"x": state["x"]}))
    graph = builder.compile(maybe_log, cache=InMemoryCache())
    for thread in ("1", "2"):
        assert way.invoke(graph, {"trail": []}, on(thread)) == {"trail": ["steers", "b"], "x": 5}
    assert ran == ["steers"]


def test_a_result_that_fits_the_graph_no_longer_is_no_result(way) -> None:
    """Where it goes there is no node any more, so the body is asked again."""
    cache: InMemoryCache[Any] = InMemoryCache()
    goes = ["old"]

    def steers(state):
        return Command(goto=goes[0])

    def graph(name: str) -> Any:
        builder = StateGraph(Trail).add_node("n", way.node(steers), cache_policy=POLICY).add_edge(START, "n")
        return builder.add_node(name, way.node(leaves(name))).compile(cache=cache)

    assert way.invoke(graph("old"), {"trail": []}) == {"trail": ["old"]}
    goes[0] = "new"
    assert way.invoke(graph("new"), {"trail": []}) == {"trail": ["new"]}


class Chat(TypedDict):
    """Messages."""

    messages: Annotated[list[Any], add_messages]


def test_a_message_that_is_found_again_is_a_new_message(way) -> None:
    """It gets an id of its own, so that a chat gains it and does not replace the one from before."""

    def says(state):
        return {"messages": [{"role": "assistant", "content": "hello"}]}

    builder = StateGraph(Chat).add_node(
        "a", way.node(says), cache_policy=CachePolicy(key_func=lambda _: "same")
    )
    builder.add_edge(START, "a")
    builder.add_conditional_edges(
        "a", lambda state: "a" if len(state["messages"]) < 3 else "__end__", ["a", "__end__"]
    )
    graph = builder.compile(cache=InMemoryCache())
    assert len(way.invoke(graph, {"messages": []})["messages"]) == 3


def test_nobody_changes_what_others_find(way) -> None:
    """Each run has a copy of its own."""
    graph = one(way.node(lambda _: {"x": {"a": [1]}}), cache=InMemoryCache())
    way.invoke(graph, {"trail": []})["x"]["a"].append(2)
    found = way.invoke(graph, {"trail": []})
    assert found["x"] == {"a": [1]}
    found["x"]["a"].append(3)
    assert way.invoke(graph, {"trail": []})["x"] == {"a": [1]}


def test_values_of_ours_come_back_from_a_cache(way) -> None:
    """``Overwrite`` among them."""
    graph = one(way.node(lambda _: {"trail": Overwrite(["new"])}), cache=InMemoryCache())
    for _ in range(2):
        assert way.invoke(graph, {"trail": ["old"]}) == {"trail": ["new"]}


@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_an_attempt_that_fails_is_not_kept(way, log, durability) -> None:
    """And the one that succeeds is, after retries and after a resume (CA-1)."""
    cache = Counted()
    node = counted(way, failures=2)
    twice = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=2, retry_on=ValueError)
    graph = one(node, log, cache, retry_policy=twice)
    with pytest.raises(ValueError, match="not yet"):
        way.invoke(graph, {"trail": []}, durability=durability)
    assert cache.was_set == []
    assert way.invoke(graph, None, durability=durability) == {"trail": ["n"], "x": 3}
    assert way.invoke(graph, {"trail": []}, on("other"), durability=durability)["x"] == 3


def test_an_attempt_whose_time_is_over_is_not_kept() -> None:
    """The one after it is; looking for results costs no time of the attempt."""
    cache = Counted(pause=2 * SHORT)
    ran: list[int] = []

    async def node(state):
        ran.append(1)
        await asyncio.sleep(LONG if len(ran) == 1 else 0)
        return {"x": len(ran)}

    graph = one(node, cache=cache, timeout=SHORT, retry_policy=AGAIN)
    for _ in range(2):
        assert asyncio.run(graph.ainvoke({"trail": []})) == {"trail": [], "x": 2}


def test_a_node_whose_result_means_nothing_is_not_kept(way) -> None:
    """It has failed, though its body returned."""
    cache = Counted()
    with pytest.raises(Exception, match="Expected dict, got 5"):
        way.invoke(one(way.node(lambda _: 5), cache=cache), {"trail": []})
    assert cache.was_set == []


def test_an_answer_is_nobody_elses(way, log) -> None:
    """What depends on one is not kept, so another thread is asked too (LangGraph gives it the first one's answer)."""
    cache = Counted()
    graph = one(way.node(lambda _: {"x": interrupt("sure?")}), log, cache)
    for thread, answer in (("1", "yes"), ("2", "no")):
        assert "__interrupt__" in way.invoke(graph, {"trail": []}, on(thread))
        assert way.invoke(graph, Command(resume=answer), on(thread))["x"] == answer
    assert cache.was_set == []


def test_an_answer_in_a_subgraph_is_nobody_elses(way, log) -> None:
    """The node that runs the subgraph depends on it as well."""
    cache = Counted()

    def asks(state):
        return {"x": interrupt("sure?")}

    graph = one(chain(way.node(asks)).compile(), log, cache)
    assert "__interrupt__" in way.invoke(graph, {"trail": []}, on("1"))
    assert way.invoke(graph, Command(resume="yes"), on("1"))["x"] == "yes"
    assert cache.was_set == []


def test_a_result_is_not_looked_for_once_a_question_was_asked(way, log) -> None:
    """Else the answer that was given would be dropped for what somebody else's run came to."""
    cache = Counted()
    asking = [True]

    def node(state):
        return {"x": interrupt("sure?") if asking else "without"}

    graph = one(way.node(node), log, cache)
    assert "__interrupt__" in way.invoke(graph, {"trail": []}, on("1"))
    asking.clear()
    assert way.invoke(graph, {"trail": []}, on("2"))["x"] == "without"
    asking.append(True)
    assert way.invoke(graph, Command(resume="yes"), on("1"))["x"] == "yes"


# ── caches that fail ──


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_cache_that_fails_costs_no_run(way, log, durability, caplog) -> None:
    """The node is run, its outcome recorded, and what happened is said."""
    node = counted(way)
    graph = one(node, log, Broken())
    with caplog.at_level(logging.WARNING, "walgraph.cache"):
        assert way.invoke(graph, {"trail": []}, durability=durability) == {"trail": ["n"], "x": 1}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "cannot be read, so 'n' is called" in said[0]
    assert "ConnectionError('no cache today')" in said[0]
    assert "what 'n' returned cannot be cached" in said[1]
    assert log.head("t").status == "done"


class State(TypedDict, total=False):
    """A state with a value that is never recorded."""

    trail: list[str]
    socket: Annotated[Any, UntrackedValue]


def test_a_result_that_cannot_be_cached_is_a_result(way, log, caplog) -> None:
    """An untracked value may be something that no cache can hold."""
    sockets: list[Any] = []

    def node(state):
        sockets.append(object())
        return {"trail": ["n"], "socket": sockets[-1]}

    def uses(state):
        assert state["socket"] is sockets[-1]

    builder = (
        StateGraph(State).add_node("n", way.node(node), cache_policy=POLICY).add_node("uses", way.node(uses))
    )
    graph = builder.add_edge(START, "n").add_edge("n", "uses").compile(log, cache=InMemoryCache())
    for thread in ("1", "2"):
        way.invoke(graph, {"trail": []}, on(thread))
    assert len(sockets) == 2
    assert "cannot be cached" in caplog.text


def test_what_is_no_cache_is_refused() -> None:
    """When the graph is compiled, and not at the first call."""
    with pytest.raises(TypeError, match=r"Expected an instance of `BaseCache` or `None`. Received str"):
        one(leaves("n"), cache="redis://")


def test_a_cache_of_the_users_is_enough(way) -> None:
    """Three methods; on an event loop they are called in a thread."""

    class Own(BaseCache[Any]):
        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[Any, Any] = {}

        def get(self, keys: Sequence[Any]) -> dict[Any, Any]:
            return {key: self.kept[key] for key in keys if key in self.kept}

        def set(self, pairs: Mapping[Any, tuple[Any, int | None]]) -> None:
            self.kept.update({key: value for key, (value, _) in pairs.items()})

        def clear(self, namespaces: Sequence[Any] | None = None) -> None:
            self.kept.clear()

    node = counted(way)
    graph = one(node, cache=Own())
    for _ in range(2):
        assert way.invoke(graph, {"trail": []}) == {"trail": ["n"], "x": 1}
    way_of_clearing(way, graph)
    assert way.invoke(graph, {"trail": []})["x"] == 2


# ── killed ──

PROGRAM = """
import json
from walgraph import *

class FileCache(BaseCache):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def get(self, keys):
        kept = json.loads(self.path.read_text()) if self.path.exists() else {}
        return {key: kept[str(key)] for key in keys if str(key) in kept}

    def set(self, pairs):
        self.path.write_text(json.dumps({str(key): value for key, (value, _) in pairs.items()}))

    def clear(self, namespaces=None):
        self.path.unlink()

def node(state):
    print("ran", flush=True)
    return {"trail": ["n"]}

def last(state):
    return {"trail": ["last"]}

def run(log):
    builder = StateGraph(State).add_node("n", node, cache_policy=CachePolicy(key_func=lambda _: "k"))
    builder.add_node("last", last).add_edge(START, "n").add_edge("n", "last")
    cache = FileCache(pathlib.Path(PATH).with_suffix(".json"))
    if HAS_RUN:
        builder.compile(cache=cache).invoke({"trail": []})
    graph = builder.compile(log, cache=cache if IS_THERE else None)
    print(graph.invoke(*CALL, durability="sync"), flush=True)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_found_outlives_a_kill_at_each_append(tmp_path, when) -> None:
    """Once its outcome is recorded the cache is not needed; until then it is asked again, and the node is not run."""
    lives = outlived(
        PROGRAM,
        tmp_path,
        when,
        first="HAS_RUN = IS_THERE = True",
        second="HAS_RUN, IS_THERE = False, True",
        third="HAS_RUN = IS_THERE = False",
    )
    for life in lives:
        said = [line for each in life for line in each.splitlines()]
        assert said[-1] == "{'trail': ['n', 'last']}", life
        assert said.count("ran") == 1, life


OURS = """
from walgraph import *

def node(state):
    print("ran", flush=True)
    return Command(update={"trail": Overwrite(["n"])}, goto=Send("m", {"x": (1, 2)}))

def beside(state):
    return {"x": 0}

def run(log):
    builder = StateGraph(State).add_node("n", node, cache_policy=CachePolicy()).add_node("beside", beside)
    builder.add_node("m", lambda state: {"trail": [state["x"]]}).add_edge(START, "n").add_edge(START, "beside")
    graph = builder.compile(log, cache=LogCache(log))
    print(graph.invoke(*CALL, durability="sync"), flush=True)
"""


def test_what_nodes_return_is_read_by_the_next_process(tmp_path) -> None:
    """From the log and from a cache in it.

    ``Overwrite`` was known only in processes that had made one, so a thread that was killed before the barrier of a
    step in which a node returned one could not be opened any more.
    """
    for life in outlived(OURS, tmp_path, "after"):
        said = [line for each in life for line in each.splitlines()]
        assert said[-1] == "{'trail': ['n', (1, 2)], 'x': 0}", life
        # The node beside it may be recorded, and the process killed, while this one still runs.
        assert said.count("ran") <= 2, life


def test_what_an_entrypoint_saves_is_found_by_the_next_process(tmp_path) -> None:
    """``entrypoint.final`` in a cache that outlives the process."""
    program = """
from walgraph import *

def run(log):
    @entrypoint(log, cache=LogCache(log), cache_policy=CachePolicy())
    def flow(x):
        print("ran", flush=True)
        return entrypoint.final(value=x, save=x + 1)

    print(flow.invoke(1, CONFIG, durability="sync"), flush=True)
"""
    lives = list(outlived(program, tmp_path, "after"))
    assert lives
    for life in lives:
        said = [line for each in life for line in each.splitlines()]
        assert said.count("ran") == 1, life
        assert said[-1] == "1"
