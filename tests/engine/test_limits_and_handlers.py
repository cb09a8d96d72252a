"""Limits of time and cached results beside error handlers: what hands over, and what does not (EH-1, TO-2, TO-3)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from cache_helpers import POLICY, Counted, counted, on
from helpers import THREAD, Trail, steps_of
from timeout_helpers import AGAIN, LONG, SHORT, hangs, run

from walgraph import START, Command, NodeError, NodeTimeoutError, StateGraph, StepTimeout


def test_an_attempt_whose_time_is_over_is_handed_to_the_handler(log) -> None:
    """After the attempts that the retry policy allows; it is told which limit it was."""
    tries: list[int] = []

    async def node(state):
        tries.append(1)
        await hangs()

    async def handler(state, error: NodeError):
        assert isinstance(error.error, NodeTimeoutError)
        return {"trail": [f"{error.node}: {error.error.kind}"]}

    builder = StateGraph(Trail).add_edge(START, "n")
    builder.add_node("n", node, timeout=SHORT, retry_policy=AGAIN, error_handler=handler)
    assert run(builder.compile(log)) == {"trail": ["n: run"]}
    assert len(tries) == AGAIN.max_attempts


def test_a_handlers_time_is_limited_by_the_default(log) -> None:
    """``set_node_defaults(timeout=...)`` is for handlers too; when theirs is over the run has failed."""

    async def node(state):
        raise KeyError("mine")

    async def handler(state):
        await hangs()

    builder = StateGraph(Trail).set_node_defaults(timeout=SHORT).add_edge(START, "n")
    graph = builder.add_node("n", node, error_handler=handler).compile(log)
    with pytest.raises(NodeTimeoutError, match="__error_handler__n"):
        run(graph)


def test_a_step_that_takes_too_long_is_handed_to_nobody(way, log) -> None:
    """Its tasks have not failed, so no handler runs, and a resume runs the tasks."""
    handled: list[int] = []
    free = threading.Event()

    def slow(state):
        free.wait(4 * SHORT)
        return {"trail": ["slow"]}

    async def aslow(state):
        await asyncio.sleep(0 if free.is_set() else LONG)
        return {"trail": ["slow"]}

    def handler(state):
        handled.append(1)

    builder = StateGraph(Trail).add_edge(START, "n")
    builder.add_node("n", aslow if way.is_async else slow, error_handler=way.node(handler))
    graph = builder.compile(log)
    graph.step_timeout = SHORT
    with pytest.raises(StepTimeout):
        way.invoke(graph, {"trail": []})
    assert "TaskFailed" not in steps_of(log)
    free.set()
    assert way.invoke(graph, None) == {"trail": ["slow"]}
    assert handled == []


def test_a_handler_works_in_the_time_of_its_step(way, log) -> None:
    """It is part of the superstep, and is run again by a resume if it was stopped."""
    free = threading.Event()

    def node(state):
        raise KeyError("mine")

    def handler(state):
        free.wait(4 * SHORT)
        return {"trail": ["handled"]}

    async def ahandler(state):
        await asyncio.sleep(0 if free.is_set() else LONG)
        return {"trail": ["handled"]}

    builder = StateGraph(Trail).add_edge(START, "n")
    builder.add_node("n", way.node(node), error_handler=ahandler if way.is_async else handler)
    graph = builder.compile(log)
    graph.step_timeout = 2 * SHORT
    with pytest.raises(StepTimeout):
        way.invoke(graph, {"trail": []})
    free.set()
    assert way.invoke(graph, None) == {"trail": ["handled"]}


def test_what_a_handler_returns_is_not_cached(way, log) -> None:
    """It stands in for a result, and the node may do better next time."""
    cache = Counted()
    node = counted(way, failures=1)

    def handler(state):
        return Command(update={"trail": ["handled"]})

    builder = StateGraph(Trail).add_edge(START, "n")
    builder.add_node("n", node, cache_policy=POLICY, error_handler=way.node(handler))
    graph: Any = builder.compile(log, cache=cache)
    assert way.invoke(graph, {"trail": []}, on("1")) == {"trail": ["handled"]}
    assert cache.was_set == []
    assert way.invoke(graph, {"trail": []}, on("2"))["x"] == 2
    assert way.invoke(graph, {"trail": []}, THREAD)["x"] == 2
