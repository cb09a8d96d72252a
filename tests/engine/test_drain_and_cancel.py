"""Stopping a run: by asking it to drain, by cancelling it, by an interrupt from the keyboard."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from helpers import THREAD, Trail, chain, steps_of

from walgraph import (
    START,
    GraphDrained,
    MemoryLog,
    RunControl,
    StateGraph,
    entrypoint,
    task,
)


def noting(ran, name, body=None):
    """Return a node that notes that it ran."""

    def node(state):
        ran.append(name)
        if body is not None:
            body()
        return {"trail": [name]}

    node.__name__ = name
    return node


def draining(control, reason="shutdown"):
    """Return a node that asks its run to stop."""

    def drain(state):
        control.request_drain(reason)
        return {"trail": ["drain"]}

    return drain


def test_a_drained_run_stops_between_two_steps(way, log, durability) -> None:
    """Running tasks finish and their step is closed; then the caller is told why, and can resume (DR-1)."""
    ran: list[str] = []
    control = RunControl()
    nodes = [noting(ran, "one"), draining(control, "sigterm"), noting(ran, "three")]
    graph = chain(*map(way.node, nodes)).compile(log)
    with pytest.raises(GraphDrained, match="Graph drained: sigterm") as caught:
        way.invoke(graph, {"trail": []}, control=control, durability=durability)
    assert caught.value.reason == "sigterm"
    assert ran == ["one"]
    state = graph.get_state(THREAD)
    assert (state.values, state.next) == ({"trail": ["one", "drain"]}, ("three",))
    head = log.head("t")
    assert head is not None
    assert head.status == "drained"
    assert way.invoke(graph, None, durability=durability) == {"trail": ["one", "drain", "three"]}
    assert ran == ["one", "three"]


def test_a_run_that_is_drained_in_its_last_step_ends(way, log) -> None:
    """There is nothing left to stop before (DR-2)."""
    control = RunControl()
    graph = chain(way.node(draining(control))).compile(log)
    assert way.invoke(graph, {"trail": []}, control=control) == {"trail": ["drain"]}
    assert graph.get_state(THREAD).next == ()


def test_a_node_can_drain_its_own_run(way, log) -> None:
    """The control is in its runtime, whether or not the caller brought one."""

    def one(state, *, runtime):
        assert not runtime.control.drain_requested
        runtime.control.request_drain("enough")
        assert (runtime.control.drain_requested, runtime.control.drain_reason) == (True, "enough")

    graph = chain(way.node(one), way.node(noting([], "two"))).compile(log)
    with pytest.raises(GraphDrained, match="enough"):
        way.invoke(graph, {"trail": []})
    assert way.invoke(graph, None) == {"trail": ["two"]}


def test_a_drain_is_asked_for_from_another_thread(way, log) -> None:
    """As a signal handler does."""
    running, asked = threading.Event(), threading.Event()
    control = RunControl()

    def ask():
        assert running.wait(20)
        control.request_drain()
        asked.set()

    def one(state):
        running.set()
        assert asked.wait(20)

    thread = threading.Thread(target=ask)
    thread.start()
    graph = chain(one, noting([], "two")).compile(log)
    with pytest.raises(GraphDrained, match="shutdown"):
        way.invoke(graph, {"trail": []}, control=control)
    thread.join()
    assert graph.get_state(THREAD).next == ("two",)


def test_a_drain_inside_of_a_subgraph_keeps_its_progress(way, log, durability) -> None:
    """The subgraph's finished nodes are not repeated, under exit neither, where LangGraph loses them (D-11)."""
    ran: list[str] = []
    control = RunControl()
    nodes = [noting(ran, "one"), draining(control), noting(ran, "three")]
    inner = chain(*map(way.node, nodes)).compile()
    builder = chain(way.node(noting(ran, "before"))).add_node("sub", inner).add_edge("before", "sub")
    graph = builder.compile(log)
    with pytest.raises(GraphDrained):
        way.invoke(graph, {"trail": []}, control=control, durability=durability)
    assert graph.get_state(THREAD).next == ("sub",)
    found = way.invoke(graph, None, durability=durability)
    assert found == {"trail": ["before", "before", "one", "drain", "three"]}
    assert ran == ["before", "one", "three"]


def test_a_drain_in_a_subgraph_lets_its_siblings_finish(way, log) -> None:
    """They are recorded, and not run again."""
    ran: list[str] = []
    control = RunControl()
    inner = chain(way.node(draining(control)), way.node(noting(ran, "inside"))).compile()
    builder = StateGraph(Trail).add_node("sub", inner).add_node("side", way.node(noting(ran, "side")))
    graph = builder.add_edge(START, "sub").add_edge(START, "side").compile(log)
    with pytest.raises(GraphDrained):
        way.invoke(graph, {"trail": []}, control=control)
    assert way.invoke(graph, None) == {"trail": ["side", "drain", "inside"]}
    assert sorted(ran) == ["inside", "side"]


def test_a_drained_stream_shows_what_was_done(way, log) -> None:
    """Then the exception ends it."""
    control = RunControl()
    graph = chain(way.node(draining(control)), way.node(noting([], "two"))).compile(log)
    chunks: list[Any] = []
    with pytest.raises(GraphDrained):
        way.stream_to(chunks, graph, {"trail": []}, control=control)
    assert chunks == [{"drain": {"trail": ["drain"]}}]


def test_a_drain_cannot_be_swallowed(way, log) -> None:
    """A node that catches every Exception around a subgraph does not keep the run from stopping."""
    control = RunControl()
    inner = chain(draining(control), noting([], "two")).compile()

    def careless(state):
        try:
            return inner.invoke({"trail": []})
        except Exception:
            return {"trail": ["swallowed"]}

    graph = chain(careless).compile(log)
    with pytest.raises(GraphDrained):
        way.invoke(graph, {"trail": []}, control=control)
    assert way.invoke(graph, None) == {"trail": ["drain", "two"]}


def cancelled_while_running(graph, running, **options) -> None:
    """Start the graph on an event loop, cancel it as soon as it says that it runs, and see that it was cancelled."""

    async def main() -> None:
        run = asyncio.create_task(graph.ainvoke({"trail": []}, THREAD, **options))
        await asyncio.to_thread(running.wait, 20)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())


def test_a_cancelled_run_can_be_resumed(log, durability) -> None:
    """What ended is kept, in every mode; the task that was cancelled runs again (CN-1)."""
    ran: list[str] = []
    running = threading.Event()

    async def one(state):
        ran.append("one")
        return {"trail": ["one"]}

    async def two(state):
        ran.append("two")
        if not running.is_set():
            running.set()
            await asyncio.Event().wait()
        return {"trail": ["two"]}

    graph = chain(one, two).compile(log)
    cancelled_while_running(graph, running, durability=durability)
    assert graph.get_state(THREAD).next == ("two",)
    assert asyncio.run(graph.ainvoke(None, THREAD, durability=durability)) == {"trail": ["one", "two"]}
    assert ran == ["one", "two", "two"]


def test_siblings_that_ended_before_the_cancellation_are_kept(log, durability) -> None:
    """They are not run again."""
    ran: list[str] = []
    running = threading.Event()

    async def fast(state):
        ran.append("fast")
        return {"trail": ["fast"]}

    async def slow(state):
        ran.append("slow")
        if not running.is_set():
            await asyncio.sleep(0)
            running.set()
            await asyncio.Event().wait()
        return {"trail": ["slow"]}

    builder = StateGraph(Trail).add_node(fast).add_node(slow).add_edge(START, "fast").add_edge(START, "slow")
    graph = builder.compile(log)
    cancelled_while_running(graph, running, durability=durability)
    assert asyncio.run(graph.ainvoke(None, THREAD, durability=durability)) == {"trail": ["fast", "slow"]}
    assert sorted(ran) == ["fast", "slow", "slow"]


def test_cancelling_reaches_the_tasks_and_subgraphs_that_run(log) -> None:
    """Each coroutine sees the cancellation, and nothing runs on behind the caller's back."""
    running = threading.Event()
    seen: list[str] = []

    async def wait(name):
        try:
            running.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(name)
            raise

    @task
    async def waiting():
        await wait("task")

    async def inside(state):
        await asyncio.gather(waiting(), wait("subgraph"))

    inner = chain(inside).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log)
    cancelled_while_running(graph, running)
    assert sorted(seen) == ["subgraph", "task"]
    head = log.head("t")
    assert head is not None
    assert head.next == ("sub",)


def test_a_cancelled_run_gives_its_thread_back(log) -> None:
    """At once: the next run on it is not refused."""
    running = threading.Event()

    async def one(state):
        if not running.is_set():
            running.set()
            await asyncio.Event().wait()
        return {"trail": ["one"]}

    graph = chain(one).compile(log)
    cancelled_while_running(graph, running)
    assert graph.get_state(THREAD).next == ("one",)
    assert asyncio.run(graph.ainvoke({"trail": []}, THREAD)) == {"trail": ["one"]}


def test_a_synchronous_node_is_waited_for_when_its_run_is_cancelled(log) -> None:
    """A thread cannot be stopped: what it does ends before the claim is given back, so two never run at once."""
    running, go, ended = threading.Event(), threading.Event(), threading.Event()

    def node(state):
        running.set()
        assert go.wait(20)
        ended.set()
        return {"trail": ["node"]}

    graph = chain(node).compile(log)

    async def main() -> bool:
        run = asyncio.create_task(graph.ainvoke({"trail": []}, THREAD))
        await asyncio.to_thread(running.wait, 20)
        run.cancel()
        asyncio.get_running_loop().call_later(0.05, go.set)
        with pytest.raises(asyncio.CancelledError):
            await run
        return ended.is_set()

    assert asyncio.run(main())


def test_an_interrupt_from_the_keyboard_leaves_a_thread_that_can_be_resumed(log, durability) -> None:
    """It passes through; nothing is recorded of its task, everything of those before it (CN-3)."""
    ran: list[str] = []

    def one(state):
        ran.append("one")
        return {"trail": ["one"]}

    def two(state):
        ran.append("two")
        if ran.count("two") == 1:
            raise KeyboardInterrupt
        return {"trail": ["two"]}

    graph = chain(one, two).compile(log)
    with pytest.raises(KeyboardInterrupt):
        graph.invoke({"trail": []}, THREAD, durability=durability)
    assert graph.get_state(THREAD).next == ("two",)
    assert graph.invoke(None, THREAD, durability=durability) == {"trail": ["one", "two"]}
    assert ran == ["one", "two", "two"]


def test_an_interrupt_from_the_keyboard_in_one_of_several_keeps_the_others(log) -> None:
    """A sibling that ended is not run again."""
    ran: list[str] = []

    def good(state):
        ran.append("good")
        return {"trail": ["good"]}

    def bad(state):
        ran.append("bad")
        if ran.count("bad") == 1:
            raise KeyboardInterrupt
        return {"trail": ["bad"]}

    builder = StateGraph(Trail).add_node(good).add_node(bad).add_edge(START, "good").add_edge(START, "bad")
    graph = builder.compile(log)
    with pytest.raises(KeyboardInterrupt):
        graph.invoke({"trail": []}, THREAD)
    assert graph.invoke(None, THREAD) == {"trail": ["bad", "good"]}
    assert sorted(ran) == ["bad", "bad", "good"]


def test_an_interrupt_from_the_keyboard_in_a_task_reaches_the_caller(log) -> None:
    """Through its future and its entrypoint; the finished task before it is kept."""
    ran: list[str] = []

    @task
    def one():
        ran.append("one")

    @task
    def two():
        ran.append("two")
        if ran.count("two") == 1:
            raise KeyboardInterrupt

    @entrypoint(log)
    def workflow(x):
        one().result()
        two().result()
        return "well"

    with pytest.raises(KeyboardInterrupt):
        workflow.invoke(0, THREAD)
    assert workflow.invoke(None, THREAD) == "well"
    assert ran == ["one", "two", "two"]


def test_a_drain_is_recorded_as_such() -> None:
    """The log says how the run ended, and why."""
    log = MemoryLog(strict=True)
    control = RunControl()
    graph = chain(draining(control, "why"), noting([], "two")).compile(log)
    with pytest.raises(GraphDrained):
        graph.invoke({"trail": []}, THREAD, control=control)
    ended = [stored.record for stored in log.read("t")][-1]
    assert steps_of(log)[-1] == "RunEnded"
    assert ended.how == "drained"
    assert "why" in ended.reason


@pytest.mark.parametrize("alone", [True, False])
def test_a_thread_that_outruns_a_cancellation_is_recorded(log, durability, alone) -> None:
    """What ended is never done again, and nothing that follows is begun: the run was cancelled."""
    ran: list[str] = []
    running, release = threading.Event(), threading.Event()

    def one(state):
        ran.append("one")
        running.set()
        assert release.wait(20)
        return {"trail": ["one"]}

    def two(state):
        ran.append("two")
        return {"trail": ["two"]}

    builder = chain(one, two)
    if not alone:
        builder.add_node("beside", noting([], "beside")).add_edge(START, "beside")
    graph = builder.compile(log)

    async def cancelled() -> None:
        call = asyncio.create_task(graph.ainvoke({"trail": []}, THREAD, durability=durability))
        await asyncio.to_thread(running.wait, 20)
        call.cancel()
        asyncio.get_running_loop().call_later(0.02, release.set)
        with pytest.raises(asyncio.CancelledError) as caught:
            await call
        assert type(caught.value) is asyncio.CancelledError

    asyncio.run(cancelled())
    assert ran == ["one"]
    assert "one" in graph.invoke(None, THREAD)["trail"]
    assert ran == ["one", "two"]


def test_a_router_is_not_asked_after_a_cancellation_that_its_body_outran(log) -> None:
    """The body's return is recorded; a resume asks the router alone (C-4)."""
    ran: list[str] = []
    running, release = threading.Event(), threading.Event()

    def one(state):
        ran.append("one")
        running.set()
        assert release.wait(20)
        return {"trail": ["one"]}

    def route(state):
        ran.append("route")
        return "two"

    builder = (
        StateGraph(Trail).add_node("one", one).add_node("two", noting(ran, "two")).add_edge(START, "one")
    )
    graph = builder.add_conditional_edges("one", route, ["two"]).compile(log)

    async def cancelled() -> None:
        call = asyncio.create_task(graph.ainvoke({"trail": []}, THREAD))
        await asyncio.to_thread(running.wait, 20)
        call.cancel()
        asyncio.get_running_loop().call_later(0.02, release.set)
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert ran == ["one"]
    assert graph.invoke(None, THREAD) == {"trail": ["one", "two"]}
    assert ran == ["one", "route", "two"]


def test_a_task_in_a_thread_that_outruns_a_cancellation_is_recorded(log) -> None:
    """Its call is found by the resume."""
    made: list[int] = []
    running, release = threading.Event(), threading.Event()

    @task
    def blocks(x):
        made.append(x)
        running.set()
        assert release.wait(20)
        return x

    @entrypoint(log)
    async def flow(x):
        return await blocks(x)

    async def cancelled() -> None:
        call = asyncio.create_task(flow.ainvoke(1, THREAD))
        await asyncio.to_thread(running.wait, 20)
        call.cancel()
        asyncio.get_running_loop().call_later(0.02, release.set)
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert asyncio.run(flow.ainvoke(None, THREAD)) == 1
    assert made == [1]
