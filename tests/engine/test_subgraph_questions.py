"""Questions, breakpoints and states inside of subgraphs, seen and answered from outside."""

from __future__ import annotations

import pytest
from helpers import THREAD, Trail, chain
from subgraph_helpers import (
    Asking,
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
    Send,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)


def test_a_subgraph_runs_alike_as_a_node_in_a_function_and_in_a_task(way, maybe_log, ran, kind) -> None:
    """The three ways to run it give the same."""
    inner = chain(inner_node(way, ran, "one"), inner_node(way, ran, "two"), state=Child).compile()
    graph = parent_of(way, ran, maybe_log, nested_in(way, kind, inner))
    assert way.invoke(graph, {"trail": []}) == {"trail": ["before", "one", "two", "after"]}


@pytest.mark.parametrize("checkpointer", [None, True])
def test_an_interrupt_inside_asks_through_the_parent(way, log, ran, kind, durability, checkpointer) -> None:
    """The question comes up, is shown by ``get_state``, and the answer goes down to the node that asked."""
    asking = inner_node(way, ran, "two", lambda _: interrupt("two?"))
    inner = chain(inner_node(way, ran, "one"), asking, state=Child).compile(checkpointer)
    graph = parent_of(way, ran, log, nested_in(way, kind, inner))
    asked = way.invoke(graph, {"trail": []}, durability=durability)["__interrupt__"]
    assert [item.value for item in asked] == ["two?"]
    state = graph.get_state(THREAD)
    assert state.next == ("sub",)
    assert state.interrupts == tuple(asked)
    found = way.invoke(graph, Command(resume="yes"), durability=durability)
    assert found == {"trail": ["before", "one", "two=yes", "after"]}
    assert ran.names == ["before", "one", "two", "two", "after"]


def test_a_subgraph_without_persistence_can_ask(way, log, ran) -> None:
    """An interrupt restarts the whole of it on resume, and the answer is found (LangGraph §2.11)."""
    asking = inner_node(way, ran, "two", lambda _: interrupt("two?"))
    inner = chain(inner_node(way, ran, "one"), asking, state=Child).compile(False)
    graph = parent_of(way, ran, log, inner)
    asked = way.invoke(graph, {"trail": []})["__interrupt__"]
    assert [item.value for item in asked] == ["two?"]
    assert way.invoke(graph, Command(resume="yes")) == {"trail": ["before", "one", "two=yes", "after"]}


def test_questions_of_several_calls_are_asked_in_turn(way, log, ran) -> None:
    """The n-th call's question is answered by the n-th answer."""
    inner = chain(inner_node(way, ran, "ask", lambda _: interrupt("?")), state=Child).compile()

    builder = StateGraph(Trail).add_node("sub", twice_in_a_node(way, inner)).add_edge(START, "sub")
    graph = builder.compile(log)
    first = way.invoke(graph, {"trail": []})["__interrupt__"][0]
    second = way.invoke(graph, Command(resume="a"))["__interrupt__"][0]
    assert first.id != second.id
    assert way.invoke(graph, Command(resume="b")) == {"trail": ["ask=a", "ask=b"]}


def test_parallel_subgraphs_ask_side_by_side(way, log, ran) -> None:
    """All questions are shown at once, and one map of answers reaches them all."""
    inner = chain(inner_node(way, ran, "ask", lambda state: interrupt(state["what"])), state=Asking).compile()
    builder = StateGraph(Trail).add_node("sub", inner)
    builder.add_conditional_edges(START, lambda _: [Send("sub", {"what": n}) for n in range(3)], ["sub"])
    graph = builder.compile(log)
    asked = way.invoke(graph, {"trail": []})["__interrupt__"]
    assert sorted(item.value for item in asked) == [0, 1, 2]
    answers = {item.id: 10 * item.value for item in asked}
    assert way.invoke(graph, Command(resume=answers)) == {"trail": ["ask=0", "ask=10", "ask=20"]}


def test_three_levels_ask_and_are_answered(way, log, ran, durability) -> None:
    """A question from the innermost graph goes all the way up, and its answer all the way down."""
    asking = inner_node(way, ran, "bottom", lambda _: interrupt("deep?"))
    graph = three_levels(way, ran, log, asking)
    asked = way.invoke(graph, {"trail": []}, durability=durability)["__interrupt__"]
    assert [item.value for item in asked] == ["deep?"]
    assert graph.get_state(THREAD).interrupts == tuple(asked)
    found = way.invoke(graph, Command(resume={asked[0].id: "yes"}), durability=durability)["trail"]
    assert found == ["before", "middle", "leaf", "bottom=yes", "after"]
    assert ran.names == ["before", "middle", "leaf", "bottom", "bottom", "after"]


def test_get_state_shows_the_states_of_subgraphs(way, log, ran) -> None:
    """Each unfinished task carries where its subgraph is, or with ``subgraphs=True`` its snapshot, at every level."""
    asking = inner_node(way, ran, "bottom", lambda _: interrupt("deep?"))
    graph = three_levels(way, ran, log, asking)
    way.invoke(graph, {"trail": []})
    (held,) = graph.get_state(THREAD).tasks
    assert held.state == {"configurable": {"thread_id": "t", "checkpoint_ns": f"sub:{held.id}"}}
    (held,) = graph.get_state(THREAD, subgraphs=True).tasks
    assert held.state.next == ("leaf",)
    assert held.state.values["inner"] == ["middle"]
    (below,) = held.state.tasks
    assert below.state.next == ("bottom",)
    assert below.state.values["inner"] == ["middle", "leaf"]
    assert [item.value for item in below.state.interrupts] == ["deep?"]


def test_a_namespaced_config_addresses_a_subgraph(way, log, ran) -> None:
    """What a task's state names can be asked for by itself, with its history."""
    asking = inner_node(way, ran, "two", lambda _: interrupt("?"))
    inner = chain(inner_node(way, ran, "one"), asking, state=Child).compile()
    graph = parent_of(way, ran, log, inner)
    way.invoke(graph, {"trail": []})
    config = graph.get_state(THREAD).tasks[0].state
    state = graph.get_state(config)
    assert state.next == ("two",)
    assert state.values == {"trail": ["one"], "inner": ["one"]}
    assert state.config["configurable"]["checkpoint_ns"] == config["configurable"]["checkpoint_ns"]
    steps = [(held.metadata["step"], held.next) for held in graph.get_state_history(config)]
    assert steps == [(1, ("two",)), (0, ("one",)), (-1, ("__start__",))]


def test_update_state_reaches_into_a_subgraph(way, log, ran) -> None:
    """With its namespaced config, a subgraph that waits is changed from outside (U-8)."""
    asking = inner_node(way, ran, "two", lambda _: interrupt("?"))
    inner = chain(inner_node(way, ran, "one"), asking, state=Child).compile()
    graph = parent_of(way, ran, log, inner)
    way.invoke(graph, {"trail": []})
    config = graph.get_state(THREAD).tasks[0].state
    graph.update_state(config, {"inner": ["edited"]}, as_node="one")
    asked = way.invoke(graph, None)["__interrupt__"]
    assert [item.value for item in asked] == ["?"]
    assert way.invoke(graph, Command(resume="!"))["trail"] == ["before", "one", "edited", "two=!", "after"]


def test_breakpoints_inside_stop_the_parent(way, log, ran, kind) -> None:
    """A breakpoint that a subgraph was compiled with stops the whole run; a resume goes on behind it."""
    builder = chain(inner_node(way, ran, "one"), inner_node(way, ran, "two"), state=Child)
    inner = builder.compile(interrupt_before=["two"], interrupt_after=["two"])
    graph = parent_of(way, ran, log, nested_in(way, kind, inner))
    way.invoke(graph, {"trail": []})
    assert ran.names == ["before", "one"]
    assert graph.get_state(THREAD).next == ("sub",)
    way.invoke(graph, None)
    assert ran.names == ["before", "one", "two"]
    assert way.invoke(graph, None) == {"trail": ["before", "one", "two", "after"]}
    assert ran.names == ["before", "one", "two", "after"]


def test_an_entrypoint_may_call_graphs_in_parallel_tasks(way, log, ran) -> None:
    """Each task's graph has a scope of its own, and each question its own answer."""
    inner = chain(inner_node(way, ran, "ask", lambda state: interrupt(state["what"])), state=Asking).compile()

    def run(x):
        return inner.invoke({"what": x})["trail"]

    async def arun(x):
        return (await inner.ainvoke({"what": x}))["trail"]

    called = task(arun if way.is_async else run)

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return (yield [called(1), called(2)])

    asked = way.invoke(workflow, 0)["__interrupt__"]
    assert sorted(item.value for item in asked) == [1, 2]
    answers = {item.id: f"<{item.value}>" for item in asked}
    assert way.invoke(workflow, Command(resume=answers)) == [["ask=<1>"], ["ask=<2>"]]
