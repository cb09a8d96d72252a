"""Attempts that may not idle: what counts as progress, and what does not (TO-2)."""

from __future__ import annotations

import asyncio

import pytest
from timeout_helpers import IDLE, LONG, MOMENT, MOMENTS, SHORT, graph_of, hangs, run, subgraph

from walgraph import (
    MemoryLog,
    NodeTimeoutError,
    Runtime,
    TimeoutPolicy,
    get_runtime,
    get_stream_writer,
    task,
)


@pytest.mark.parametrize("refresh_on", ["auto", "heartbeat"])
def test_heartbeats_keep_an_attempt_alive(refresh_on) -> None:
    """Whatever counts as progress, they do (TO-2)."""

    async def node(state, runtime: Runtime):
        for _ in range(MOMENTS):
            await asyncio.sleep(MOMENT)
            runtime.heartbeat()
        return {"trail": ["n"]}

    policy = TimeoutPolicy(idle_timeout=IDLE, refresh_on=refresh_on)
    assert run(graph_of(node, timeout=policy)) == {"trail": ["n"]}


def test_a_heartbeat_that_nobody_asked_for_does_nothing(way) -> None:
    """A node need not know whether its time is limited."""

    def node(state, runtime: Runtime):
        runtime.heartbeat()
        get_runtime().heartbeat()
        return {"trail": ["n"]}

    assert way.invoke(graph_of(way.node(node)), {"trail": []}) == {"trail": ["n"]}


@task
async def pauses(x):
    """Be a call that takes a small part of what its caller may idle."""
    await asyncio.sleep(MOMENT)


@task
async def beats(x):
    """Be a call that takes longer than its caller may idle, and says that it is alive."""
    for _ in range(MOMENTS):
        await asyncio.sleep(MOMENT)
        get_runtime().heartbeat()


async def writes(state):
    """Show a chunk now and then."""
    for _ in range(MOMENTS):
        await asyncio.sleep(MOMENT)
        get_stream_writer()("chunk")
    return {"trail": ["n"]}


async def calls(state):
    """Call a task now and then."""
    for x in range(MOMENTS):
        await pauses(x)
    return {"trail": ["n"]}


async def calls_what_beats(state):
    """Call a task that takes long."""
    await beats(1)
    return {"trail": ["n"]}


async def calls_a_subgraph(state):
    """Run a graph that takes long, step by step."""
    await subgraph.ainvoke(state)
    return {"trail": ["n"]}


@pytest.mark.parametrize(
    "node", [writes, calls, calls_what_beats, calls_a_subgraph], ids=lambda node: node.__name__
)
def test_what_gets_on_is_not_idle(node) -> None:
    """Chunks, calls, outcomes of calls and of a subgraph's nodes are progress, and so is a heartbeat below (TO-2)."""
    policy = TimeoutPolicy(idle_timeout=IDLE)
    assert run(graph_of(node, MemoryLog(), timeout=policy)) == {"trail": ["n"]}


def test_an_attempt_without_progress_is_stopped() -> None:
    """LangGraph's words for it (§3.3)."""

    async def node(state):
        get_stream_writer()("begun")
        await hangs()

    graph = graph_of(node, timeout=TimeoutPolicy(idle_timeout=SHORT, run_timeout=LONG))
    with pytest.raises(
        NodeTimeoutError,
        match=r"Node 'n' exceeded its idle timeout of 0\.050s without making progress \(elapsed: ",
    ) as caught:
        run(graph)
    assert (caught.value.kind, caught.value.timeout, caught.value.run_timeout) == ("idle", SHORT, LONG)


@pytest.mark.parametrize("node", [writes, calls], ids=lambda node: node.__name__)
def test_only_heartbeats_count_if_they_are_asked_for(node) -> None:
    """With ``refresh_on="heartbeat"`` nothing else is a sign of life (TO-2)."""
    policy = TimeoutPolicy(idle_timeout=IDLE, refresh_on="heartbeat")
    with pytest.raises(NodeTimeoutError, match="idle"):
        run(graph_of(node, timeout=policy))
