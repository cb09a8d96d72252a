"""Under which keys results are cached (CA-1), and how they are forgotten (CA-2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from cache_helpers import POLICY, Counted, counted, on, one, way_of_clearing
from helpers import THREAD, Trail, leaves, steps_of

from walgraph import (
    START,
    CachePolicy,
    InMemoryCache,
    NotSerializable,
    Send,
    StateGraph,
)
from walgraph.engine.errors import InvalidCacheKey
from walgraph.engine.policy import default_cache_key
from walgraph.wal.record import TaskFailed


def test_the_key_is_made_of_what_the_node_is_given(way) -> None:
    """``key_func`` is called with it and may leave out what does not matter (CA-1)."""
    given: list[Any] = []

    def key(state):
        given.append(dict(state))
        return str(state["x"])

    node = counted(way)
    graph = one(node, cache=InMemoryCache(), cache_policy=CachePolicy(key_func=key))
    for trail in (["a"], ["b"]):
        way.invoke(graph, {"trail": trail, "x": 7})
    assert node.ran == 1
    assert given == [{"trail": ["a"], "x": 7}, {"trail": ["b"], "x": 7}]


def test_the_key_of_a_send_is_its_argument(way) -> None:
    """Equal packets in different runs are one call."""
    ran: list[int] = []

    def node(state):
        ran.append(state["x"])
        return {"trail": [str(state["x"])]}

    builder = StateGraph(Trail).add_node("n", way.node(node), cache_policy=POLICY)
    sends = [Send("n", {"x": 1}), Send("n", {"x": 2})]
    graph = builder.add_conditional_edges(START, lambda _: sends, ["n"]).compile(cache=InMemoryCache())
    for _ in range(2):
        assert way.invoke(graph, {"trail": []}, {**THREAD, "max_concurrency": 1}) == {"trail": ["1", "2"]}
    assert sorted(ran) == [1, 2]


@pytest.mark.parametrize("key", [3, None, ["a"]], ids=repr)
def test_a_key_is_text_or_bytes(way, log, key) -> None:
    """Anything else is an error of the task, before its body ran."""
    node = counted(way)
    graph = one(node, log, InMemoryCache(), cache_policy=CachePolicy(key_func=lambda _: key))
    with pytest.raises(InvalidCacheKey, match="neither text nor bytes") as caught:
        way.invoke(graph, {"trail": []})
    assert isinstance(caught.value, TypeError)
    assert node.ran == 0
    assert "TaskFailed" in steps_of(log)


def test_an_error_of_key_func_is_the_tasks(way) -> None:
    """It keeps its type and says where it was raised."""
    graph = one(
        counted(way), cache=InMemoryCache(), cache_policy=CachePolicy(key_func=lambda state: state["no"])
    )
    with pytest.raises(KeyError, match="no") as caught:
        way.invoke(graph, {"trail": []})
    assert any("During task with name 'n'" in note for note in caught.value.__notes__)


def test_an_input_that_cannot_be_told_apart_is_an_error_with_a_way_out(way) -> None:
    """Nothing is pickled; the note names ``key_func``."""
    node = counted(way)
    with pytest.raises(NotSerializable) as caught:
        way.invoke(one(node, cache=InMemoryCache()), {"trail": [], "x": object()})
    assert any("key_func" in note for note in caught.value.__notes__)
    assert node.ran == 0


@dataclass
class Order:
    """A value with a dict in it."""

    lines: dict[str, int]


def test_equal_input_has_an_equal_key() -> None:
    """In whatever order dicts and sets were filled, within lists, tuples and dataclasses too."""
    forth: dict[Any, Any] = {"a": 1, "b": [{"x": 1, "y": (2,)}], 3: {"p", "q", "r"}}
    back: dict[Any, Any] = {3: {"r", "q", "p"}, "b": [{"y": (2,), "x": 1}], "a": 1}
    assert default_cache_key(forth, k=1, m=2) == default_cache_key(back, m=2, k=1)
    assert default_cache_key(Order({"a": 1, "b": 2})) == default_cache_key(Order({"b": 2, "a": 1}))
    different = [
        1,
        1.0,
        True,
        "1",
        b"1",
        [1],
        (1,),
        {1},
        {"a": 1},
        {"a": 2},
        Order({"a": 1}),
        Order({"a": 2}),
        None,
    ]
    assert len({default_cache_key(value) for value in different}) == len(different)
    assert default_cache_key("x" * 100_000) != default_cache_key("x" * 99_999 + "y")


def test_equal_models_have_an_equal_key() -> None:
    """Fields that a model allows beside its own count."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        lines: dict[str, int]

    key = default_cache_key
    assert key(Model(lines={"a": 1, "b": 2})) == key(Model(lines={"b": 2, "a": 1}))
    assert key(Model(lines={}, more=1)) != key(Model(lines={}, more=2))


def test_what_nests_within_itself_is_refused() -> None:
    """With the codec's words, and not by running out of stack."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotSerializable):
        default_cache_key(value)


def test_nodes_do_not_find_each_others_results(way) -> None:
    """A result belongs to a function under a name; two lambdas of one place are two functions."""
    ran: list[str] = []

    def shared(state):
        ran.append("shared")
        return {"trail": ["shared"]}

    cache: InMemoryCache[Any] = InMemoryCache()
    builder = StateGraph(Trail)
    for name in ("a", "b"):
        builder.add_node(name, shared, cache_policy=POLICY).add_edge(START, name)
    way.invoke(builder.compile(cache=cache), {"trail": []})
    assert ran == ["shared", "shared"]
    first = lambda _: {"x": "first"}  # noqa: E731 - lambdas are what this is about
    second = lambda _: {"x": "second"}  # noqa: E731 - as above
    assert way.invoke(one(first, cache=cache), {"trail": []})["x"] == "first"
    assert way.invoke(one(second, cache=cache), {"trail": []})["x"] == "second"


def test_the_time_is_handed_to_the_cache() -> None:
    """In seconds; nonsense is refused at once."""
    cache = Counted()
    one(leaves("n"), cache=cache, cache_policy=CachePolicy(ttl=60)).invoke({"trail": []})
    assert [ttl for _, ttl in cache.was_set] == [60]
    with pytest.raises(ValueError, match="ttl must be greater than 0"):
        CachePolicy(ttl=0)


# ── clearing ──


def test_what_is_cleared_is_asked_for_again(way) -> None:
    """All nodes, or those that are named (CA-2)."""
    a, b = counted(way, "a"), counted(way, "b")
    builder = StateGraph(Trail)
    for name, node in (("a", a), ("b", b)):
        builder.add_node(name, node, cache_policy=CachePolicy(key_func=lambda _: "k"))
    graph = builder.add_edge(START, "a").add_edge("a", "b").compile(cache=InMemoryCache())
    way.invoke(graph, {"trail": []})
    for cleared, ran in ((["a"], (2, 1)), ([], (2, 1)), (None, (3, 2))):
        way_of_clearing(way, graph, cleared)
        way.invoke(graph, {"trail": []})
        assert (a.ran, b.ran) == ran


def test_there_must_be_something_to_clear(way) -> None:
    """LangGraph's words where there is no cache; a node that is not there is an error, too."""
    with pytest.raises(ValueError, match=r"No cache is set for this graph\. Cannot clear cache\."):
        way_of_clearing(way, one(leaves("n")))
    with pytest.raises(ValueError, match="there is no node 'm'"):
        way_of_clearing(way, one(leaves("n"), cache=InMemoryCache()), ["m"])


# ── subgraphs ──


def test_a_subgraph_uses_the_cache_of_the_graph_around_it(way, log) -> None:
    """Unless it has one of its own (in LangGraph it has none)."""
    node = counted(way)
    around: InMemoryCache[Any] = InMemoryCache()
    for own in (None, InMemoryCache()):
        graph = one(one(node, cache=own), log, around, cache_policy=None)
        before = node.ran
        for thread in ("1", "2"):
            way.invoke(graph, {"trail": []}, on(f"{thread}{own}"))
        assert node.ran == before + 1


def test_a_subgraph_as_a_node_is_found_as_a_whole(way, log) -> None:
    """Nothing of it is run then."""
    node = counted(way)
    graph = one(one(node, cache_policy=None), log, InMemoryCache())
    for thread in ("1", "2"):
        assert way.invoke(graph, {"trail": []}, on(thread)) == {"trail": ["n"], "x": 1}
    assert node.ran == 1


def test_a_failed_task_of_a_cached_node_is_recorded_once(way, log) -> None:
    """A key that cannot be made fails the task like its body would."""
    with pytest.raises(NotSerializable):
        way.invoke(
            one(counted(way), log, InMemoryCache(), cache_policy=CachePolicy(key_func=fails)), {"trail": []}
        )
    failed = [stored.record for stored in log.read("t") if isinstance(stored.record, TaskFailed)]
    assert len(failed) == 1


def fails(state: Any) -> str:
    """Be a ``key_func`` that cannot make a key."""
    message = "no key"
    raise NotSerializable(message)
