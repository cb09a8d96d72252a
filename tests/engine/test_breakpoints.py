"""Static breakpoints: before and after nodes, compiled or per call (I-15 to I-18)."""

from __future__ import annotations

import pytest
from helpers import THREAD, Trail, chain, drawn, leaves, on

from walgraph import START, Command, GraphDrained, InvalidGraph, RunControl, Send, StateGraph


def abc(way):
    """Return a builder of a chain of three."""
    return drawn(way, *map(leaves, "abc"), edges=">a a>b b>c")


def test_a_run_stops_before_and_after_a_node(way, log, durability) -> None:
    """I-15: and goes on with None."""
    graph = abc(way).compile(log, interrupt_before=["b"], interrupt_after=["b"])
    stops = []
    given = {}
    for _ in range(3):
        way.invoke(graph, given, durability=durability)
        stops.append((graph.get_state(THREAD).values["trail"], graph.get_state(THREAD).next))
        given = None
    assert stops == [(["a"], ("b",)), (["a", "b"], ("c",)), (["a", "b", "c"], ())]


def test_a_replay_does_not_stop_where_it_begins(way, log, durability) -> None:
    """TT-1, I-15: going back to a checkpoint that was stopped at goes on from it, and stops at the next."""
    graph = abc(way).compile(log, interrupt_before=["b", "c"])
    for given in ({}, None, None):
        way.invoke(graph, given, durability=durability)
    old = next(shown for shown in graph.get_state_history(THREAD) if shown.next == ("b",))
    assert way.invoke(graph, None, old.config, durability=durability) == {"trail": ["a", "b"]}
    assert graph.get_state(THREAD).next == ("c",)


def test_a_stop_is_shown_as_an_empty_interrupt(way, log) -> None:
    """§2.5: in updates; values show nothing new."""
    graph = abc(way).compile(log, interrupt_before=["b"])
    assert way.stream(graph, {}, stream_mode=["values", "updates"])[-2:] == [
        ("values", {"trail": ["a"]}),
        ("updates", {"__interrupt__": ()}),
    ]
    assert graph.get_state(THREAD).interrupts == ()
    assert log.head("t").status == "parked"


def test_breakpoints_of_a_call_hold_for_that_call(way, log) -> None:
    """I-15: they are not stored; a resume without them runs through."""
    graph = abc(way).compile(log)
    assert way.invoke(graph, {}, interrupt_before=["b"]) == {"trail": ["a"]}
    assert way.invoke(graph, None) == {"trail": ["a", "b", "c"]}


def test_a_star_stands_for_every_node(way, log) -> None:
    """I-15: but not for the hidden START."""
    graph = abc(way).compile(log)
    trails = [way.invoke(graph, {} if i == 0 else None, interrupt_before="*")["trail"] for i in range(4)]
    assert trails == [[], ["a"], ["a", "b"], ["a", "b", "c"]]
    trails = [
        way.invoke(graph, {} if i == 0 else None, on("u"), interrupt_after="*")["trail"] for i in range(3)
    ]
    assert trails == [["a"], ["a", "b"], ["a", "b", "c"]]


def test_no_breakpoints_of_a_call_leave_the_compiled_ones(way, log) -> None:
    """I-15, I-17: an empty list does not switch them off."""
    graph = abc(way).compile(log, interrupt_before=["b"])
    assert way.invoke(graph, {}, interrupt_before=[]) == {"trail": ["a"]}


def test_breakpoints_of_a_call_replace_the_compiled_ones(way, log) -> None:
    """I-15: those that are given count."""
    graph = abc(way).compile(log, interrupt_before=["b"])
    assert way.invoke(graph, {}, interrupt_before=["c"]) == {"trail": ["a", "b"]}


def test_an_answer_at_a_breakpoint_goes_on(way, log) -> None:
    """I-14: there is no question, so it only says to go on."""
    graph = abc(way).compile(log, interrupt_before=["b"])
    way.invoke(graph, {})
    assert way.invoke(graph, Command(resume="whatever")) == {"trail": ["a", "b", "c"]}


def test_a_loop_stops_each_time_it_comes_round(way, log) -> None:
    """I-15: what was stopped at before is one checkpoint, not the node for ever."""
    graph = drawn(way, leaves("a"), edges=">a a>a").compile(log, interrupt_before=["a"])
    trails = [way.invoke(graph, {} if i == 0 else None)["trail"] for i in range(3)]
    assert trails == [[], ["a"], ["a", "a"]]


def test_a_breakpoint_holds_the_whole_step(way, log) -> None:
    """I-15: siblings of the named node wait too."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a,b").compile(log, interrupt_before=["b"])
    assert way.invoke(graph, {}) == {"trail": []}
    assert graph.get_state(THREAD).next == ("a", "b")
    assert way.invoke(graph, None) == {"trail": ["a", "b"]}


def test_a_breakpoint_stops_before_a_send(way, log) -> None:
    """I-15: a pushed task is triggered too."""
    builder = StateGraph(Trail).add_node("w", way.node(leaves("w")))
    builder.add_conditional_edges(START, lambda _: [Send("w", 1), Send("w", 2)])
    graph = builder.compile(log, interrupt_before=["w"])
    assert way.invoke(graph, {}) == {"trail": []}
    assert graph.get_state(THREAD).next == ("w", "w")
    assert way.invoke(graph, None) == {"trail": ["w", "w"]}


def test_an_edit_at_a_breakpoint_is_seen_by_the_node(way, log) -> None:
    """U-9: the oldest use of breakpoints."""

    def b(state):
        return {"trail": [f"b saw {state['x']}"]}

    graph = drawn(way, leaves("a"), b, edges=">a a>b").compile(log, interrupt_before=["b"])
    way.invoke(graph, {"x": 1})
    graph.update_state(THREAD, {"x": 2})
    assert way.invoke(graph, None)["trail"] == ["a", "b saw 2"]


def test_without_a_log_a_breakpoint_ends_the_run(way) -> None:
    """I-15: there is nothing to go on from."""
    assert way.invoke(abc(way).compile(interrupt_before=["b"]), {}) == {"trail": ["a"]}


@pytest.mark.parametrize("option", ["interrupt_before", "interrupt_after"])
def test_a_breakpoint_at_no_node_is_refused(way, log, option) -> None:
    """§3.1: at compile time, and ours: per call, with the other one ``"*"`` too."""
    with pytest.raises(InvalidGraph, match="Interrupt node `zz` not found"):
        abc(way).compile(log, **{"interrupt_before": "*", "interrupt_after": "*", option: ["zz"]})
    with pytest.raises(ValueError, match="Interrupt node `zz` not found"):
        way.invoke(abc(way).compile(log), {}, **{option: "zz"})
    assert log.head("t") is None


def test_a_drained_run_stops_between_steps_and_goes_on(way, log, durability) -> None:
    """§2.16: the step under way is finished and kept."""
    control = RunControl()

    def a(state):
        control.request_drain("sigterm")
        return {"trail": ["a"]}

    graph = drawn(way, a, leaves("b"), edges=">a a>b").compile(log)
    with pytest.raises(GraphDrained, match="Graph drained: sigterm"):
        way.invoke(graph, {}, control=control, durability=durability)
    assert log.head("t").status == "drained"
    assert graph.get_state(THREAD).next == ("b",)
    assert way.invoke(graph, None, durability=durability) == {"trail": ["a", "b"]}


def test_a_chain_without_stops_is_not_parked(log) -> None:
    """I-15: no list, no stop."""
    graph = chain(leaves("a"), leaves("b")).compile(log)
    graph.invoke({}, THREAD)
    assert log.head("t").status == "done"
