"""Graphs in graphs: as nodes, called in nodes, called in tasks; what they keep, and what is not repeated."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from helpers import THREAD, Trail, asks, chain, killed, leaves, on
from subgraph_helpers import (
    Child,
    inner_node,
    nested_in,
    parent_of,
    three_levels,
    twice_in_a_node,
)

from walgraph import (
    START,
    Command,
    GraphRecursionError,
    Log,
    MemoryLog,
    RetryPolicy,
    StateGraph,
    interrupt,
)


def test_a_subgraph_as_a_node_shares_the_keys_of_its_parent(way, maybe_log, ran) -> None:
    """It is given the parent's state and what it returns is an update of it, reduced like any other."""
    inner = chain(ran.node(way, "one"), ran.node(way, "two")).compile(name="inner")
    graph = chain(ran.node(way, "before")).add_node("sub", inner).add_edge("before", "sub").compile(maybe_log)
    # The subgraph returns the whole trail, which the parent adds to its own, as in LangGraph.
    assert way.invoke(graph, {"trail": []}) == {"trail": ["before", "before", "one", "two"]}
    assert ran.names == ["before", "one", "two"]


def test_a_subgraph_may_have_private_keys(way, maybe_log) -> None:
    """Keys that only the subgraph knows do not reach its parent, and begin empty in each call."""

    class Private(TypedDict, total=False):
        x: int
        secret: int

    def make(state):
        return {"secret": state["x"] + state.get("secret", 0)}

    def use(state):
        return {"x": 10 * state["secret"]}

    inner = chain(way.node(make), way.node(use), state=Private).compile()
    builder = StateGraph(Trail).add_node("first", inner).add_node("second", inner)
    graph = builder.add_edge(START, "first").add_edge("first", "second").compile(maybe_log)
    assert way.invoke(graph, {"x": 1}) == {"trail": [], "x": 100}


@pytest.mark.parametrize("checkpointer", [None, True])
def test_a_failure_inside_does_not_repeat_what_finished_inside(
    way, log, ran, kind, durability, checkpointer
) -> None:
    """The subgraph goes on where it failed, however it is run, and in each mode."""
    inner = chain(inner_node(way, ran, "one"), inner_node(way, ran, "two"), state=Child).compile(checkpointer)
    graph = parent_of(way, ran, log, nested_in(way, kind, inner))
    ran.failing = {"two"}
    with pytest.raises(ConnectionError, match="two"):
        way.invoke(graph, {"trail": []}, durability=durability)
    assert way.invoke(graph, None, durability=durability) == {"trail": ["before", "one", "two", "after"]}
    assert ran.names == ["before", "one", "two", "two", "after"]


def test_a_subgraph_without_persistence_starts_anew_when_answered(way, log, ran) -> None:
    """With ``checkpointer=False`` nothing of it is kept, so all of it runs again."""
    failing = inner_node(way, ran, "two")
    inner = chain(inner_node(way, ran, "one"), failing, state=Child).compile(False)
    graph = parent_of(way, ran, log, inner)
    ran.failing = {"two"}
    with pytest.raises(ConnectionError):
        way.invoke(graph, {"trail": []})
    assert way.invoke(graph, None) == {"trail": ["before", "one", "two", "after"]}
    assert ran.names == ["before", "one", "two", "one", "two", "after"]


def test_a_persistent_subgraph_remembers_its_earlier_calls(way, log, ran, kind) -> None:
    """With ``checkpointer=True`` its state goes on from run to run of the parent; without, each call is fresh."""
    for checkpointer, expected in ((True, ["one", "one", "one"]), (None, ["one", "one"])):
        config = {"configurable": {"thread_id": str(checkpointer)}}
        inner = chain(inner_node(way, ran, "one"), state=Child).compile(checkpointer)
        builder = StateGraph(Trail).add_node("sub", nested_in(way, kind, inner)).add_edge(START, "sub")
        graph = builder.compile(log)
        way.invoke(graph, {}, config)
        assert way.invoke(graph, {}, config)["trail"] == expected


def test_several_calls_in_one_node_have_states_of_their_own(way, log, ran) -> None:
    """They are told apart by their order; what finished in the first is not repeated when the second fails."""
    fail = [False, True]
    failing = inner_node(way, ran, "two", lambda _: 1 / 0 if fail.pop(0) else None)
    inner = chain(inner_node(way, ran, "one"), failing, state=Child).compile()
    builder = StateGraph(Trail).add_node("sub", twice_in_a_node(way, inner)).add_edge(START, "sub")
    graph = builder.compile(log)
    with pytest.raises(ZeroDivisionError):
        way.invoke(graph, {"trail": []})
    fail.append(False)
    assert way.invoke(graph, None)["trail"] == ["one", "two", "one", "two"]
    assert ran.names == ["one", "two", "one", "two", "two"]


def test_three_levels_fail_and_go_on_at_the_innermost(way, log, ran, durability) -> None:
    """Nothing that finished at any level is repeated."""
    graph = three_levels(way, ran, log, inner_node(way, ran, "bottom"))
    ran.failing = {"bottom"}
    with pytest.raises(ConnectionError):
        way.invoke(graph, {"trail": []}, durability=durability)
    found = way.invoke(graph, None, durability=durability)["trail"]
    assert found == ["before", "middle", "leaf", "bottom", "after"]
    assert ran.names == ["before", "middle", "leaf", "bottom", "bottom", "after"]


def test_a_finished_subgraph_is_not_repeated_when_its_node_fails(way, log, ran, durability) -> None:
    """What the node does after the call failed; the call is over, and only its result is taken."""
    inner = chain(inner_node(way, ran, "one"), state=Child).compile()

    def once(state):
        found = inner.invoke({})["trail"]
        ran.names.append("rest")
        if ran.names.count("rest") == 1:
            raise ConnectionError
        return {"trail": found}

    async def aonce(state):
        found = (await inner.ainvoke({}))["trail"]
        ran.names.append("rest")
        if ran.names.count("rest") == 1:
            raise ConnectionError
        return {"trail": found}

    graph = (
        StateGraph(Trail).add_node("sub", aonce if way.is_async else once).add_edge(START, "sub").compile(log)
    )
    with pytest.raises(ConnectionError):
        way.invoke(graph, {"trail": []}, durability=durability)
    assert way.invoke(graph, None, durability=durability) == {"trail": ["one"]}
    assert ran.names == ["one", "rest", "rest"]


def test_the_root_cannot_inherit_a_log(way) -> None:
    """``checkpointer=True`` is for subgraphs (SG-1)."""
    graph = chain(way.node(lambda_of("x"))).compile(True)
    with pytest.raises(RuntimeError, match="checkpointer=True cannot be used for root graphs"):
        way.invoke(graph, {"trail": []})


def lambda_of(name):
    """Return a node of that name."""

    def node(state):
        return {"trail": [name]}

    node.__name__ = name
    return node


def test_a_call_with_a_thread_of_its_own_is_no_subgraph(way, log, ran) -> None:
    """A graph with a log of its own, called with another thread id, is a run of its own (SG-4)."""
    inner = chain(ran.node(way, "one")).compile(log)
    config = {"configurable": {"thread_id": "own"}}

    def once(state):
        inner.invoke({"trail": []}, config)
        return {"trail": ["once"]}

    async def aonce(state):
        await inner.ainvoke({"trail": []}, config)
        return {"trail": ["once"]}

    graph = (
        StateGraph(Trail).add_node("sub", aonce if way.is_async else once).add_edge(START, "sub").compile(log)
    )
    way.invoke(graph, {"trail": []})
    assert inner.get_state(config).values == {"trail": ["one"]}
    assert graph.get_state(THREAD).values == {"trail": ["once"]}


def called_with(way, inner, config, **options):
    """Return a node that calls a graph with a config, and keeps what it returned."""

    def once(state):
        return {"x": inner.invoke({"trail": []}, config, **options)}

    async def aonce(state):
        return {"x": await inner.ainvoke({"trail": []}, config, **options)}

    return aonce if way.is_async else once


@pytest.mark.parametrize("checkpointer", [None, False])
def test_a_thread_of_its_own_without_a_log_is_a_run_of_its_own_too(way, log, checkpointer) -> None:
    """SG-4: nothing is kept of it, and what it asks is in what it returns, not in the parent."""
    inner = chain(way.node(asks("ask", "q"))).compile(checkpointer)
    node = called_with(way, inner, {"configurable": {"thread_id": "own"}})
    graph = StateGraph(Trail).add_node("sub", node).add_edge(START, "sub").compile(log)
    assert [item.value for item in way.invoke(graph, {})["x"]["__interrupt__"]] == ["q"]
    assert graph.get_state(THREAD).next == ()
    assert log.head("own") is None


def test_a_lasting_subgraph_has_no_thread_of_its_own(way, log) -> None:
    """SG-1, SG-4: a run of its own is a root, and ``checkpointer=True`` is for subgraphs."""
    inner = chain(way.node(leaves("i"))).compile(True)
    node = called_with(way, inner, {"configurable": {"thread_id": "own"}})
    graph = StateGraph(Trail).add_node("sub", node).add_edge(START, "sub").compile(log)
    with pytest.raises(RuntimeError, match="checkpointer=True cannot be used for root graphs"):
        way.invoke(graph, {})


def test_a_log_of_its_own_gives_way_to_the_parents(way, log, ran) -> None:
    """§2.11: nested, the parent's is used, so that both commit together."""
    with MemoryLog(strict=True) as other:
        inner = chain(inner_node(way, ran, "one"), asks_in("two"), state=Child).compile(other)
        graph = parent_of(way, ran, log, inner)
        way.invoke(graph, {"trail": []})
        assert way.invoke(graph, Command(resume="!"))["trail"] == ["before", "two=!", "after"]
        assert list(other.threads()) == []
    assert ran.names == ["before", "one", "after"]


def asks_in(name):
    """Return a node of a subgraph that asks."""

    def node(state):
        return {"trail": [f"{name}={interrupt('?')}"]}

    node.__name__ = name
    return node


def test_a_subgraph_that_keeps_nothing_runs_in_every_mode(way, log, durability) -> None:
    """SG-2: LangGraph crashes on it under sync."""
    inner = chain(way.node(leaves("i"))).compile(False)
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log)
    assert way.invoke(graph, {}, durability=durability) == {"trail": ["i"]}
    node = called_with(way, inner, None, durability="sync")
    graph = StateGraph(Trail).add_node("sub", node).add_edge(START, "sub").compile(log)
    assert way.invoke(graph, {}, on("u"), durability=durability)["x"] == {"trail": ["i"]}


def test_each_level_counts_its_own_steps(way, log, kind) -> None:
    """RL-2: the limit is inherited, the count is not; a call may have a limit of its own."""
    inner = chain(*(way.node(leaves(name)) for name in "abc")).compile()
    graph = chain(leaves("x"), leaves("y"))
    graph = graph.add_node("sub", nested_in(way, kind, inner)).add_edge("y", "sub").compile(log)
    found = way.invoke(graph, {}, {**on("three"), "recursion_limit": 3})
    assert found["trail"][-3:] == ["a", "b", "c"]
    assert graph.get_state(on("three")).next == ()
    chained = chain(leaves("x"), leaves("y"))
    node = called_with(way, inner, {"recursion_limit": 2})
    graph = chained.add_node("sub", node).add_edge("y", "sub").compile(log)
    with pytest.raises(GraphRecursionError, match="Recursion limit of 2 reached"):
        way.invoke(graph, {}, {**on("two"), "recursion_limit": 10})
    assert graph.get_state(on("two")).next == ("sub",)


def test_a_call_may_have_breakpoints_of_its_own(way, log) -> None:
    """I-15: the call stops the parent, and what is resumed passes them."""
    inner = chain(*(way.node(leaves(name)) for name in "ij")).compile()
    node = called_with(way, inner, None, interrupt_before=["j"])
    graph = StateGraph(Trail).add_node("sub", node).add_edge(START, "sub").compile(log)
    assert way.invoke(graph, {}) == {"trail": []}
    assert graph.get_state(THREAD).next == ("sub",)
    assert way.invoke(graph, None)["x"] == {"trail": ["i", "j"]}


def test_breakpoints_of_a_call_do_not_reach_into_subgraphs(way, log) -> None:
    """I-15: ``"*"`` means the nodes of the graph that is called."""
    inner = chain(*(way.node(leaves(name)) for name in "ij")).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log)
    way.invoke(graph, {}, interrupt_before="*")
    assert graph.get_state(THREAD).next == ("sub",)
    assert way.invoke(graph, None, interrupt_before="*") == {"trail": ["i", "j"]}


def test_the_parent_and_its_subgraphs_live_in_one_thread(way, log, ran, kind) -> None:
    """There is one thread in the log, and a snapshot's parents name the graph above."""
    inner = chain(inner_node(way, ran, "one"), state=Child).compile()
    way.invoke(parent_of(way, ran, log, nested_in(way, kind, inner)), {"trail": []})
    assert [head.thread_id for head in log.threads()] == ["t"]


def test_a_retried_node_goes_on_in_its_subgraph(way, maybe_log, ran) -> None:
    """A retry of the parent's node does not repeat what finished inside (SG-7)."""
    inner = chain(inner_node(way, ran, "one"), inner_node(way, ran, "two"), state=Child).compile()
    builder = StateGraph(Trail)
    builder.add_node(
        "sub", inner, retry_policy=RetryPolicy(0, 1, 0, 3, jitter=False, retry_on=ConnectionError)
    )
    graph = builder.add_edge(START, "sub").compile(maybe_log)
    ran.failing = {"two"}
    assert way.invoke(graph, {"trail": []}) == {"trail": ["one", "two"]}
    assert ran.names == ["one", "two", "two"]


def test_a_subgraph_inherits_the_store_and_the_context(way, log) -> None:
    """Where it has none of its own."""
    seen: list[Any] = []

    def look(state, *, runtime, store):
        seen.extend([runtime.context, runtime.store, store])

    inner = chain(way.node(look)).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log, store="a store")
    way.invoke(graph, {"trail": []}, context="a context")
    assert seen == ["a context", "a store", "a store"]


def test_a_killed_process_leaves_its_subgraph_to_the_next(tmp_path) -> None:
    """Killed inside of the second inner node under ``sync``: the first is not repeated by another process."""
    program = """
        import os, signal, sys
        from typing import TypedDict
        from walgraph import START, Log, StateGraph
        from helpers import THREAD, chain

        def one(state):
            return {"trail": ["one"]}

        def two(state):
            os.kill(os.getpid(), signal.SIGKILL)

        inner = chain(one, two).compile(name="inner")
        def before(state):
            return {"trail": ["before"]}
        graph = chain(before).add_node("sub", inner).add_edge("before", "sub").compile(Log.open(sys.argv[1]))
        graph.invoke({"trail": []}, THREAD, durability="sync")
        """
    killed(program, tmp_path / "log.wal")
    ran: list[str] = []

    def again(name):
        def node(state):
            ran.append(name)
            return {"trail": [name]}

        node.__name__ = name
        return node

    inner = chain(again("one"), again("two")).compile(name="inner")
    builder = chain(again("before")).add_node("sub", inner).add_edge("before", "sub")
    with Log.open(tmp_path / "log.wal") as log:
        graph = builder.compile(log)
        (held,) = graph.get_state(THREAD, subgraphs=True).tasks
        assert held.state.values["trail"] == ["before", "one"]
        assert graph.invoke(None, THREAD) == {"trail": ["before", "before", "one", "two"]}
    assert ran == ["two"]
