"""Supersteps whose time is limited: ``graph.step_timeout`` (TO-3)."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from helpers import THREAD, Trail, Way, chain, leaves, steps_of

from walgraph import START, Log, StateGraph, StepTimeout, entrypoint, task
from walgraph.wal.record import RunEnded

SHORT = 0.15
"""Seconds: a limit that is reached at once."""


class Slow:
    """A node that takes until it is let go; a thread is let go soon after the limit, since it cannot be stopped."""

    def __init__(self, way: Way, name: str = "slow") -> None:
        self.way = way
        self.ran = 0
        self.free = threading.Event()
        self.node = self._coroutine if way.is_async else self._thread
        self.__name__ = name

    def _thread(self, state: Any) -> dict[str, Any]:
        self.ran += 1
        if not self.free.is_set():
            assert self.free.wait(2 * SHORT) or self.ran == 1
        return {"trail": [self.__name__]}

    async def _coroutine(self, state: Any) -> dict[str, Any]:
        self.ran += 1
        if not self.free.is_set():
            await asyncio.sleep(60)
        return {"trail": [self.__name__]}


def beside(way: Way, slow: Any, log: Log | None = None, seconds: Any = SHORT) -> Any:
    """Return a graph of a quick node and a slow one in one step, and a node behind both."""
    builder = StateGraph(Trail).add_node("quick", way.node(leaves("quick"))).add_node("slow", slow)
    builder.add_node("last", way.node(leaves("last"))).add_edge(["quick", "slow"], "last")
    graph = builder.add_edge(START, "quick").add_edge(START, "slow").compile(log)
    graph.step_timeout = seconds
    return graph


def test_a_step_that_takes_too_long_ends_the_run(way, log, durability) -> None:
    """As a TimeoutError in LangGraph's words; what had finished is kept, and a resume does the rest (TO-3)."""
    slow = Slow(way)
    graph = beside(way, slow.node, log)
    with pytest.raises(TimeoutError, match="Timed out") as caught:
        way.invoke(graph, {"trail": []}, durability=durability)
    assert "slow" in str(caught.value)
    assert "invoke(None, config)" in str(caught.value)
    state = graph.get_state(THREAD)
    # A thread runs out and is recorded; a coroutine is cancelled and has simply not finished.
    assert sorted(state.values["trail"]) == (["quick"] if way.is_async else ["quick", "slow"])
    assert all(each.error is None for each in state.tasks)
    head = log.head("t")
    assert head is not None
    assert head.status == "failed"
    slow.free.set()
    assert sorted(way.invoke(graph, None, durability=durability)["trail"]) == ["last", "quick", "slow"]
    assert slow.ran == (2 if way.is_async else 1)


def test_a_step_that_takes_too_long_is_no_failure_of_its_tasks(way, log) -> None:
    """The end of the run is recorded, and nothing against those that were still running."""
    graph = beside(way, Slow(way).node, log)
    with pytest.raises(StepTimeout):
        way.invoke(graph, {"trail": []})
    assert "TaskFailed" not in steps_of(log)
    ends = [stored.record for stored in log.read("t") if isinstance(stored.record, RunEnded)]
    assert [(end.how, end.reason) for end in ends] == [("failed", "StepTimeout('Timed out')")]


def test_a_node_that_answers_its_cancellation_with_an_error_has_not_failed(log) -> None:
    """It was told to stop, and the error says no more than that."""

    async def slow(state):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("mine") from None

    way = Way("async")
    graph = beside(way, slow, log)
    with pytest.raises(StepTimeout):
        way.invoke(graph, {"trail": []})
    assert "TaskFailed" not in steps_of(log)
    assert graph.get_state(THREAD).next == ("slow",)


def test_a_thread_that_fails_too_late_is_recorded_as_it_failed(log) -> None:
    """The caller learns that the time was over; the failure stands in the log."""

    def slow(state):
        threading.Event().wait(2 * SHORT)
        raise KeyError("mine")

    way = Way("sync")
    graph = beside(way, slow, log)
    with pytest.raises(StepTimeout):
        way.invoke(graph, {"trail": []})
    assert [each.error for each in graph.get_state(THREAD).tasks if each.name == "slow"] == [
        "KeyError('mine')"
    ]


def test_a_synchronous_node_on_an_event_loop_runs_out_and_is_recorded(log, durability) -> None:
    """Its thread cannot be stopped, and what ended is not done again."""
    slow = Slow(Way("sync"))
    way = Way("async")
    graph = beside(way, slow._thread, log)
    with pytest.raises(StepTimeout):
        way.invoke(graph, {"trail": []}, durability=durability)
    assert sorted(way.invoke(graph, None, durability=durability)["trail"]) == ["last", "quick", "slow"]
    assert slow.ran == 1


def test_each_step_has_its_own_time(way, maybe_log) -> None:
    """Together they may take longer."""

    def waits(state):
        threading.Event().wait(SHORT)
        return {"trail": ["n"]}

    async def sleeps(state):
        await asyncio.sleep(SHORT)
        return {"trail": ["n"]}

    builder = StateGraph(Trail).add_sequence([(name, sleeps if way.is_async else waits) for name in "abcd"])
    graph = builder.add_edge(START, "a").compile(maybe_log)
    graph.step_timeout = 3 * SHORT
    assert way.invoke(graph, {"trail": []}) == {"trail": ["n"] * 4}


@pytest.mark.parametrize("mode", ["updates", "custom"])
def test_a_stream_ends_with_it_too(way, log, mode) -> None:
    """Whether or not the stream shows things while tasks run."""
    graph = beside(way, Slow(way).node, log)
    chunks: list[Any] = []
    with pytest.raises(StepTimeout):
        way.stream_to(chunks, graph, {"trail": []}, stream_mode=mode)
    # A thread that ran out is recorded, and what is recorded is shown.
    ended = ["quick"] if way.is_async else ["quick", "slow"]
    assert chunks == ([{name: {"trail": [name]}} for name in ended] if mode == "updates" else [])


def test_the_time_of_an_entrypoint_is_one_step(way, log) -> None:
    """Its tasks that returned are kept (T-8)."""
    made: list[int] = []

    @task
    def quick(x):
        made.append(x)
        return x

    slow = Slow(way)

    @task
    def slowly(x):
        return slow._thread(x)

    @task
    async def aslowly(x):
        return await slow._coroutine(x)

    def flow(x):
        first = yield quick(x)
        rest = yield (aslowly if way.is_async else slowly)(x)
        return [first, rest["trail"]]

    graph = entrypoint(log)(way.flow(flow))
    graph.step_timeout = SHORT
    with pytest.raises(StepTimeout):
        way.invoke(graph, 1)
    slow.free.set()
    assert way.invoke(graph, None) == [1, ["slow"]]
    assert made == [1]


def test_tasks_that_wait_for_their_turn_are_left_to_the_resume(way, log) -> None:
    """With ``max_concurrency`` they never begin."""
    slow = Slow(way)
    graph = beside(way, slow.node, log)
    ran: list[str] = []

    def quick(state):
        ran.append("quick")
        return {"trail": ["quick"]}

    builder = StateGraph(Trail).add_node("a", slow.node).add_node("b", way.node(quick))
    graph = builder.add_edge(START, "a").add_edge(START, "b").compile(log)
    graph.step_timeout = SHORT
    config = {**THREAD, "max_concurrency": 1}
    with pytest.raises(StepTimeout):
        way.invoke(graph, {"trail": []}, config)
    assert ran == []
    slow.free.set()
    assert way.invoke(graph, None, config) == {"trail": ["slow", "quick"]}


def test_a_subgraphs_limit_is_its_nodes_failure(way, log) -> None:
    """To the graph above it is an error like any other; what the subgraph did is kept."""
    slow = Slow(way)
    inner = beside(way, slow.node)
    graph = StateGraph(Trail).add_node("n", inner).add_edge(START, "n").compile(log)
    with pytest.raises(TimeoutError, match="Timed out"):
        way.invoke(graph, {"trail": []})
    assert "TaskFailed" in steps_of(log)
    slow.free.set()
    assert sorted(way.invoke(graph, None)["trail"]) == ["last", "quick", "slow"]
    assert slow.ran == (2 if way.is_async else 1)


def test_without_a_log_it_says_that_nothing_is_kept(way) -> None:
    """A resume is not to be had."""
    with pytest.raises(StepTimeout, match="nothing is kept"):
        way.invoke(beside(way, Slow(way).node), {"trail": []})


def test_the_limit_is_seconds_or_a_timedelta_or_none(way) -> None:
    """It may be set and taken back between runs; nonsense is refused at once."""
    graph = chain(way.node(leaves("a"))).compile()
    assert graph.step_timeout is None
    graph.step_timeout = timedelta(minutes=1)
    assert graph.step_timeout == 60.0
    assert way.invoke(graph, {"trail": []}) == {"trail": ["a"]}
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="step_timeout must be greater than 0"):
            graph.step_timeout = wrong
    graph.step_timeout = None
    assert graph.step_timeout is None
