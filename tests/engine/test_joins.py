"""Joins and deferred nodes: what waits, for what, and that waiting survives a failure (A-5 to A-9)."""

from __future__ import annotations

import pytest
from helpers import THREAD, Trail, drawn, leaves, on, past

from walgraph import END, START, Command, Send, StateGraph


def late(builder, way, name):
    """Add a deferred node that leaves its name."""
    return builder.add_node(name, way.node(leaves(name)), defer=True)


def test_a_join_waits_for_all_its_members(way, maybe_log, durability) -> None:
    """A-5: branches of unequal length meet once."""
    graph = drawn(way, *map(leaves, ["a", "b", "b2", "c"]), edges=">a,b b>b2 a+b2>c").compile(maybe_log)
    assert way.invoke(graph, {}, durability=durability) == {"trail": ["a", "b", "b2", "c"]}


def test_the_order_of_a_joins_members_does_not_matter(way) -> None:
    """Ours: LangGraph makes a barrier for each order in which the members are listed."""
    graph = drawn(way, *map(leaves, ["a", "b", "c"]), edges=">a,b a+b>c b+a>c").compile()
    assert way.invoke(graph, {}) == {"trail": ["a", "b", "c"]}


def test_a_join_in_a_loop_fills_anew(way, log) -> None:
    """A-5: what was consumed is empty again."""
    builder = drawn(way, *map(leaves, ["a", "b", "c"]), edges=">a,b a+b>c")
    builder.add_conditional_edges("c", lambda s: ["a", "b"] if s["trail"].count("c") < 2 else END)
    assert way.invoke(builder.compile(log), {}) == {"trail": ["a", "b", "c"] * 2}


def test_a_member_that_arrives_twice_in_a_step_fills_a_join_once(way, log, durability) -> None:
    """A-5: a node that runs by an edge and by a Send in one step must not begin the join's next filling."""
    builder = drawn(way, *map(leaves, ["a", "b", "c"]), edges=">a a>b a+b>c")
    builder.add_conditional_edges("a", lambda _: [Send("b", {})], ["b"])
    graph = builder.compile(log)
    assert way.invoke(graph, {}, durability=durability) == {"trail": ["a", "b", "b", "c"]}
    again = way.invoke(graph, {}, durability=durability, interrupt_after=["a"])
    assert again == {"trail": ["a", "b", "b", "c", "a"]}
    assert graph.get_state(THREAD).next == ("b", "b")


def test_a_half_seen_join_survives_the_failure_of_its_other_branch(way, log, durability) -> None:
    """A-9: the branch that arrived stays arrived."""
    fails = [True]

    def b2(state):
        if fails.pop():
            raise ValueError("not yet")
        return {"trail": ["b2"]}

    graph = drawn(way, leaves("a"), leaves("b"), b2, leaves("c"), edges=">a,b b>b2 a+b2>c").compile(log)
    with pytest.raises(ValueError, match="not yet"):
        way.invoke(graph, {}, durability=durability)
    fails.append(False)
    assert way.invoke(graph, None, durability=durability) == {"trail": ["a", "b", "b2", "c"]}


def test_a_deferred_node_waits_until_nothing_else_is_due(way, maybe_log) -> None:
    """A-6: without a join, and once however many edges lead to it."""
    builder = late(drawn(way, *map(leaves, ["a", "b", "b2"]), edges=">a,b b>b2"), way, "d")
    builder.add_edge("a", "d").add_edge("b2", "d")
    assert way.invoke(builder.compile(maybe_log), {}) == {"trail": ["a", "b", "b2", "d"]}


def test_all_deferred_nodes_run_in_one_step(way, log) -> None:
    """A-7: they become due together."""
    builder = late(late(drawn(way, *map(leaves, ["a", "b"]), edges=">a a>b"), way, "d"), way, "e")
    graph = builder.add_edge("a", "d").add_edge("b", "e").compile(log)
    assert way.invoke(graph, {}) == {"trail": ["a", "b", "d", "e"]}
    assert past(graph)[-2][2] == ("d", "e")


def test_a_deferred_node_runs_once_a_quiescence(way) -> None:
    """A-7: a later arrival makes it wait, and run, again."""
    builder = late(drawn(way, leaves("a"), edges=">a"), way, "d").add_edge("a", "d")
    builder.add_conditional_edges("d", lambda s: "a" if s["trail"].count("d") < 2 else END)
    assert way.invoke(builder.compile(), {}) == {"trail": ["a", "d"] * 2}


def test_sends_do_not_hold_a_deferred_node_back(way) -> None:
    """A-6: it runs beside the sends of its step, as in LangGraph, and before what follows them."""

    def w(state):
        return {"trail": ["w"]}

    builder = late(drawn(way, leaves("a"), w, leaves("w2"), edges=">a w>w2"), way, "d").add_edge("a", "d")
    builder.add_conditional_edges("a", lambda _: [Send("w", 1), Send("w", 2)])
    assert way.invoke(builder.compile(), {})["trail"] == ["a", "d", "w", "w", "w2"]


def test_a_join_can_be_deferred(way, log) -> None:
    """A-6, A-7: full, it still waits until nothing else is due."""
    builder = drawn(way, *map(leaves, ["a", "b", "c", "c2"]), edges=">a,b,c c>c2")
    late(builder, way, "d").add_edge(["a", "b"], "d")
    assert way.invoke(builder.compile(log), {}) == {"trail": ["a", "b", "c", "c2", "d"]}


def test_a_deferred_node_waits_through_an_interruption(way, log, durability) -> None:
    """A-9: that it waits is state like any other."""
    builder = late(drawn(way, *map(leaves, ["a", "b", "b2"]), edges=">a,b b>b2"), way, "d").add_edge("a", "d")
    graph = builder.compile(log, interrupt_before=["b2"])
    way.invoke(graph, {}, durability=durability)
    assert graph.get_state(THREAD).next == ("b2",)
    assert way.invoke(graph, None, durability=durability) == {"trail": ["a", "b", "b2", "d"]}


def test_a_command_can_send_to_a_deferred_node(way) -> None:
    """A-6: goto waits as an edge does."""
    builder = drawn(way, *map(leaves, ["a", "b", "b2"]), edges=">a,b b>b2")
    late(builder, way, "d").add_conditional_edges("a", lambda _: "d")
    assert way.invoke(builder.compile(), {}) == {"trail": ["a", "b", "b2", "d"]}


def test_a_goto_does_not_put_off_a_deferred_node_that_is_due(way, log) -> None:
    """A-7: in LangGraph the new trigger unsettles the node, and the run ends without it though it is due."""
    builder = late(drawn(way, leaves("a"), edges=">a"), way, "d").add_edge("a", "d")
    graph = builder.compile(log, interrupt_before=["d"])
    way.invoke(graph, {})
    assert graph.get_state(THREAD).next == ("d",)
    assert way.invoke(graph, Command(goto="d")) == {"trail": ["a", "d"]}


def test_a_join_that_never_fills_does_not_keep_the_graph_alive(way, log) -> None:
    """A-5: the run ends, and the half stays for the next input."""
    builder = drawn(way, *map(leaves, ["a", "b", "c"]), edges="a+b>c")
    builder.add_conditional_edges(START, lambda state: state["x"])
    graph = builder.compile(log)
    assert way.invoke(graph, {"x": "a"}) == {"trail": ["a"], "x": "a"}
    assert way.invoke(graph, {"x": "b"})["trail"] == ["a", "b", "c"]


def test_a_join_to_the_end_waits_for_nobody(way) -> None:
    """§1.1: END is no node, so such an edge says nothing."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a,b a+b>").compile()
    assert way.invoke(graph, {}, on("t")) == {"trail": ["a", "b"]}


def test_a_join_of_one_is_an_edge(way) -> None:
    """§1.1: a list may hold one."""
    graph = StateGraph(Trail).add_node("a", way.node(leaves("a"))).add_node("b", way.node(leaves("b")))
    graph.add_edge(START, "a").add_edge(["a"], "b")
    assert way.invoke(graph.compile(), {}) == {"trail": ["a", "b"]}
