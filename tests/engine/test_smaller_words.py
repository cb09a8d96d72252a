"""Small things that LangGraph's users may rely on: a tag, a variable, a dict as a node, what a builder shows."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from helpers import Trail, chain, leaves
from timeout_helpers import IDLE, MOMENT, MOMENTS, graph_of, run

from walgraph import END, START, TAG_HIDDEN, MemoryLog, NodeTimeoutError, StateGraph, TimeoutPolicy

HIDDEN = {"configurable": {"thread_id": "t"}, "tags": [TAG_HIDDEN]}


def test_a_hidden_run_shows_its_values_only(way) -> None:
    """The tag keeps updates and tasks back, in ``debug`` too; values and checkpoints are shown."""
    graph = chain(way.node(leaves("a"))).compile(MemoryLog(strict=True))
    modes = ["values", "updates", "tasks", "checkpoints", "debug"]
    chunks = way.stream(graph, {"trail": []}, HIDDEN, stream_mode=modes)
    assert {mode for mode, _ in chunks} == {"values", "checkpoints", "debug"}
    assert {chunk["type"] for mode, chunk in chunks if mode == "debug"} == {"checkpoint"}


def test_any_node_means_no_hidden_one(way) -> None:
    """``"*"`` stops before all nodes but hidden ones (I-15); a node that is named is stopped at."""
    for names, trail in (("*", ["a"]), (["a"], [])):
        graph = chain(way.node(leaves("a"))).compile(MemoryLog(strict=True), interrupt_before=names)
        assert way.invoke(graph, {"trail": []}, HIDDEN) == {"trail": trail}


def test_a_dict_is_a_node(way) -> None:
    """What is under its keys is called with the same state, by langchain's RunnableParallel."""
    builder = StateGraph(Trail).add_node("both", {"trail": lambda state: ["x", *state["trail"]]})
    assert way.invoke(builder.add_edge(START, "both").compile(), {"trail": ["in"]}) == {
        "trail": ["in", "x", "in"]
    }


def test_what_saves_nothing_is_no_subgraph_to_look_at() -> None:
    """``get_subgraphs`` and x-ray drawings leave out graphs that are compiled with ``checkpointer=False``."""
    kept, lost = chain(leaves("in")).compile(), chain(leaves("lost")).compile(checkpointer=False)
    builder = StateGraph(Trail).add_node("kept", kept).add_node("lost", lost)
    graph = builder.add_edge(START, "kept").add_edge(START, "lost").compile()
    assert [name for name, _ in graph.get_subgraphs()] == ["kept"]
    assert sorted(graph.get_graph(xray=True).nodes) == sorted([START, END, "kept:in", "lost"])


def test_a_builder_shows_what_was_drawn() -> None:
    """Its attributes have LangGraph's names, and a compiled graph still has its builder."""
    builder = StateGraph(Trail).add_node("a", leaves("a")).add_node("b", leaves("b"))
    builder.add_edge(START, "a").add_edge(["a"], "b").add_conditional_edges("b", lambda _: END, [END])
    assert set(builder.nodes) == {"a", "b"}
    assert builder.edges == {(START, "a")}
    assert builder.waiting_edges == {(("a",), "b")}
    assert list(builder.branches) == ["b"]
    assert list(builder.channels) == ["trail", "x"]
    assert (builder.managed, builder.context_schema) == ({}, None)
    assert builder.state_schema is builder.input_schema is builder.output_schema is Trail
    assert list(builder.schemas) == [Trail]
    assert not builder.compiled
    assert builder.compile().builder is builder
    assert builder.compiled


def test_the_default_limit_can_be_set_from_outside() -> None:
    """RL-1: the variable is LangGraph's, and is read when walgraph is imported."""
    program = (
        "from walgraph import START, GraphRecursionError, StateGraph\n"
        "builder = StateGraph(dict).add_node('a', lambda state: state).add_edge(START, 'a').add_edge('a', 'a')\n"
        "try:\n    builder.compile().invoke({})\n"
        "except GraphRecursionError as error:\n    print('limit of 4' in str(error))"
    )
    surroundings = {**os.environ, "LANGGRAPH_DEFAULT_RECURSION_LIMIT": "4"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=surroundings
    )
    assert done.stdout.strip() == "True"


def test_what_langchain_does_is_progress() -> None:
    """TO-2: a chain that answers now and then keeps an attempt alive, without callbacks or ``messages``."""
    from langchain_core.runnables import RunnableLambda

    step = RunnableLambda(lambda given: given)

    async def node(state):
        for _ in range(MOMENTS):
            await asyncio.sleep(MOMENT)
            await step.ainvoke(1)
        return {"trail": ["n"]}

    assert run(graph_of(node, timeout=TimeoutPolicy(idle_timeout=IDLE))) == {"trail": ["n"]}
    beats = TimeoutPolicy(idle_timeout=IDLE, refresh_on="heartbeat")
    with pytest.raises(NodeTimeoutError):
        run(graph_of(node, timeout=beats))
