"""Graphs that changed between two runs of a thread: what is due and gone is reported, at every depth (R-8)."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

import pytest
from helpers import THREAD, Trail, chain, drawn, leaves
from subgraph_helpers import nested_in, parent_of

from walgraph import (
    START,
    Command,
    GraphChanged,
    NodeError,
    StateGraph,
    interrupt,
)


class Rest(TypedDict):
    """A state that lost its other channel."""

    left: int


class Both(Rest):
    """A state of two channels."""

    said: Annotated[list[str], operator.add]


def around_inner(way, ran, log, kind, name, body=None):
    """Return a graph that runs a graph of one node."""
    inner = chain(ran.node(way, name, body)).compile()
    return parent_of(way, ran, log, nested_in(way, kind, inner))


def asks(_state):
    """Ask."""
    return interrupt("sure?")


def test_a_lost_node_of_a_subgraph_is_reported(way, log, ran, kind) -> None:
    """Which node, where, and the ways out, before anything is done; with the old code the thread goes on (R-8)."""
    way.invoke(around_inner(way, ran, log, kind, "old", asks), {"trail": []})
    head, ran.names = log.head("t").seq, []
    with pytest.raises(GraphChanged, match=r"node 'old' is due in namespace 'sub:\S+', but graph") as caught:
        way.invoke(around_inner(way, ran, log, kind, "new", asks), Command(resume="yes"))
    assert "update_state" in caught.value.hint
    assert caught.value.details["nodes"] == ["old"]
    assert caught.value.details["namespace"].startswith("sub:")
    assert ran.names == []
    assert log.head("t").seq == head
    done = way.invoke(around_inner(way, ran, log, kind, "old", asks), Command(resume="yes"))
    assert done["trail"][-2:] == ["old=yes", "after"]


def test_a_lost_node_of_a_subgraph_that_failed_is_reported(way, log, ran, kind) -> None:
    """It is due again like any other; an input of its own begins the thread anew (R-8, N-2)."""
    ran.failing.add("old")
    with pytest.raises(ConnectionError):
        way.invoke(around_inner(way, ran, log, kind, "old"), {"trail": []})
    changed = around_inner(way, ran, log, kind, "new")
    with pytest.raises(GraphChanged, match="node 'old' is due in namespace 'sub:"):
        way.invoke(changed, None)
    assert way.invoke(changed, {"trail": []})["trail"][-2:] == ["new", "after"]


def test_an_edit_settles_the_step_of_a_lost_subgraph_node(way, log, ran, kind) -> None:
    """The way out that the hint names leads out (R-8, U-4)."""
    way.invoke(around_inner(way, ran, log, kind, "old", asks), {"trail": []})
    changed = around_inner(way, ran, log, kind, "new", asks)
    changed.update_state(THREAD, {"trail": ["settled"]}, as_node="sub")
    assert way.invoke(changed, None)["trail"][-2:] == ["settled", "after"]


def test_a_lost_node_is_reported_three_levels_down(way, log, ran) -> None:
    """The namespace says where (R-8)."""

    def whole(name):
        leaf = chain(ran.node(way, name, asks)).compile()
        middle = StateGraph(Trail).add_node("leaf", leaf).add_edge(START, "leaf").compile()
        return parent_of(way, ran, log, middle)

    way.invoke(whole("old"), {"trail": []})
    with pytest.raises(GraphChanged, match=r"node 'old' is due in namespace 'sub:[^|']+\|leaf:"):
        way.invoke(whole("new"), Command(resume="yes"))


def test_a_lost_error_handler_of_a_subgraph_is_reported(way, log, ran) -> None:
    """It is due in the place of the node that failed for good (R-8, EH-1)."""

    def fails(_state):
        raise ConnectionError("down")

    def handles(_state, error: NodeError):
        return {"trail": [interrupt(f"{error.node} failed")]}

    def whole(**options):
        builder = StateGraph(Trail).add_node("inner", way.node(fails), **options).add_edge(START, "inner")
        return parent_of(way, ran, log, builder.compile())

    way.invoke(whole(error_handler=way.node(handles)), {"trail": []})
    ran.names.clear()
    with pytest.raises(GraphChanged, match="node '__error_handler__inner' is due in namespace 'sub:"):
        way.invoke(whole(), Command(resume="yes"))
    assert ran.names == []


def test_a_lost_channel_of_a_subgraph_is_reported(way, log, ran) -> None:
    """What a finished task of the open step wrote is not dropped (R-8)."""

    def says(_state):
        return {"said": ["yes"]}

    def fails(_state):
        raise ConnectionError("down")

    def whole(state):
        inner = StateGraph(state).add_node("says", way.node(says)).add_node("fails", way.node(fails))
        inner.add_edge(START, "says").add_edge(START, "fails")
        builder = StateGraph(Both).add_node("sub", inner.compile()).add_edge(START, "sub")
        return builder.compile(log)

    with pytest.raises(ConnectionError):
        way.invoke(whole(Both), {"left": 1})
    with pytest.raises(GraphChanged, match="channel 'said' was written in namespace 'sub:"):
        way.invoke(whole(Rest), None)


def counting(way, log, state, *, nested):
    """Return a graph that counts, and says so where its state has a key for that."""

    def counts(given):
        return {"left": given["left"] + 1, "said": ["counted"]}

    inner = StateGraph(state).add_node("counts", way.node(counts)).add_edge(START, "counts")
    if not nested:
        return inner.compile(log)
    return StateGraph(state).add_node("sub", inner.compile(True)).add_edge(START, "sub").compile(log)


@pytest.mark.parametrize("nested", [False, True])
def test_a_state_may_lose_a_key_between_two_runs(way, log, nested) -> None:
    """What was written to it in steps that are over is nobody's concern, and is there again when the key is (R-8)."""
    before = way.invoke(counting(way, log, Both, nested=nested), {"left": 1, "said": ["given"]})
    assert before["left"] == 2
    changed = counting(way, log, Rest, nested=nested)
    assert changed.get_state(THREAD).values == {"left": 2}
    assert [found.values.get("left") for found in changed.get_state_history(THREAD)] == [2, 1, None]
    assert way.invoke(changed, {"left": 5}) == {"left": 6}
    assert counting(way, log, Both, nested=nested).get_state(THREAD).values["said"] == before["said"]


def test_a_subgraph_whose_task_has_ended_may_lose_anything(way, log, ran, kind) -> None:
    """Its caller caught its failure and returned; only a sibling is run again, so nothing is missed (R-8)."""
    ran.failing |= {"old", "sibling"}

    def whole(name):
        inner = chain(ran.node(way, name)).compile()
        once = nested_in(way, "task" if kind == "task" else "function", inner)

        def forgives(state):
            try:
                return once(state)
            except ConnectionError:
                return {"trail": ["forgiven"]}

        async def aforgives(state):
            try:
                return await once(state)
            except ConnectionError:
                return {"trail": ["forgiven"]}

        builder = StateGraph(Trail).add_node("sub", aforgives if way.is_async else forgives)
        builder.add_node("sibling", ran.node(way, "sibling"))
        return builder.add_edge(START, "sub").add_edge(START, "sibling").compile(log)

    with pytest.raises(ConnectionError, match="sibling"):
        way.invoke(whole("old"), {"trail": []})
    assert sorted(way.invoke(whole("new"), None)["trail"]) == ["forgiven", "sibling"]


def either(way, ran, log, second):
    """Return a graph whose function calls one graph, then another, whose only node has the given name."""
    first = chain(ran.node(way, "first")).compile()
    other = chain(ran.node(way, second, asks)).compile()

    def both(state):
        return {"trail": first.invoke(state)["trail"] + other.invoke(state)["trail"]}

    async def aboth(state):
        return {"trail": (await first.ainvoke(state))["trail"] + (await other.ainvoke(state))["trail"]}

    builder = StateGraph(Trail).add_node("sub", aboth if way.is_async else both).add_edge(START, "sub")
    return builder.compile(log)


def test_a_function_that_calls_two_graphs_goes_on_where_it_was(way, log, ran) -> None:
    """The node that is due belongs to the second, and is not missed in the first."""
    way.invoke(either(way, ran, log, "second"), {"trail": []})
    done = way.invoke(either(way, ran, log, "second"), Command(resume="yes"))
    assert done["trail"] == ["first", "second=yes"]


def test_which_graph_a_function_calls_may_show_when_it_is_called(way, log, ran) -> None:
    """Nothing of the subgraph is run, and with the old code the thread goes on (R-8)."""
    way.invoke(either(way, ran, log, "second"), {"trail": []})
    ran.names.clear()
    with pytest.raises(GraphChanged, match="node 'second' is due in namespace 'sub:"):
        way.invoke(either(way, ran, log, "new"), Command(resume="yes"))
    assert ran.names == []
    assert way.invoke(either(way, ran, log, "second"), None)["trail"] == ["first", "second=yes"]


def two_steps(way, log, last):
    """Return a graph of a node and one after it."""
    return drawn(way, leaves("a"), leaves(last), edges=f">a a>{last}").compile(log)


def test_a_branch_from_a_checkpoint_whose_node_is_gone_is_refused(way, log) -> None:
    """What the branch would wait for counts, whatever the head waits for (R-8, TT-1)."""
    graph = two_steps(way, log, "old")
    way.invoke(graph, {"trail": []})
    [before] = [found for found in graph.get_state_history(THREAD) if found.next == ("old",)]
    head = log.head("t").seq
    changed = two_steps(way, log, "new")
    with pytest.raises(GraphChanged, match="node 'old' is due"):
        way.invoke(changed, None, before.config)
    assert log.head("t").seq == head


def test_a_branch_from_before_the_node_that_is_gone_goes_on(way, log) -> None:
    """The head waits for a node that is gone, and an older checkpoint leads around it (R-8, TT-1)."""
    graph = two_steps(way, log, "old")
    way.invoke(graph, {"trail": []}, interrupt_before=["old"])
    [first] = [found for found in graph.get_state_history(THREAD) if found.next == ("a",)]
    changed = two_steps(way, log, "new")
    assert way.invoke(changed, None, first.config) == {"trail": ["a", "new"]}
