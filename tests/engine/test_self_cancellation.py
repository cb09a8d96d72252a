"""Nodes and tasks that raise ``CancelledError`` though nobody cancelled them (CN-2)."""

from __future__ import annotations

import asyncio

import pytest
from helpers import THREAD, Trail, drawn

from walgraph import START, NodeCancelledError, NodeError, RetryPolicy, StateGraph, entrypoint, task


def test_a_node_that_cancels_itself_fails_and_can_be_resumed(way, log) -> None:
    """Nobody cancelled the run, so it is a failure of the node like others, and its siblings are kept (CN-2)."""
    ran: list[str] = []

    def node(state):
        ran.append("node")
        if ran.count("node") == 1:
            raise asyncio.CancelledError("mine")
        return {"trail": ["node"]}

    def other(state):
        ran.append("other")
        return {"trail": ["other"]}

    graph = drawn(way, node, other, edges=">node,other").compile(log)
    with pytest.raises(NodeCancelledError) as raised:
        way.invoke(graph, {"trail": []})
    assert raised.value.args[0] == "Node 'node' raised asyncio.CancelledError"
    assert (raised.value.node, str(raised.value.__cause__)) == ("node", "mine")
    assert log.head("t").status == "failed"
    assert graph.get_state(THREAD).next == ("node",)
    assert way.invoke(graph, None) == {"trail": ["node", "other"]}
    assert sorted(ran) == ["node", "node", "other"]


def test_a_node_that_cancels_itself_is_handled_and_not_retried(way, log) -> None:
    """A cancellation is never tried again, whatever the policy says (RT-4); an error handler takes over."""
    ran: list[str] = []

    def node(state):
        ran.append("node")
        raise asyncio.CancelledError

    def handler(state, error: NodeError):
        return {"trail": [type(error.error).__name__]}

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=lambda _: True)
    builder = StateGraph(Trail).add_node(
        "node", way.node(node), retry_policy=policy, error_handler=way.node(handler)
    )
    graph = builder.add_edge(START, "node").compile(log)
    assert way.invoke(graph, {"trail": []}) == {"trail": ["NodeCancelledError"]}
    assert ran == ["node"]


def test_a_task_that_cancels_itself_fails_for_its_caller(way, log) -> None:
    """The caller is told by the same error, and may go on."""

    @task
    @way.node
    def called():
        raise asyncio.CancelledError

    @entrypoint(log)
    @way.flow
    def flow(given):
        try:
            yield called()
        except NodeCancelledError as error:
            return error.node

    assert way.invoke(flow, 1) == "called"
