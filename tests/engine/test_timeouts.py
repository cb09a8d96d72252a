"""Attempts whose time is limited: what is stopped, what comes too late, and what is tried again (TO-1, TO-2)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from helpers import THREAD, Trail, steps_of
from kills import outlived
from timeout_helpers import AGAIN, LONG, MOMENT, SHORT, failing_then, graph_of, hangs, run

from walgraph import (
    START,
    NodeTimeoutError,
    StateGraph,
    entrypoint,
    get_stream_writer,
    interrupt,
    task,
)
from walgraph.wal.record import TaskFailed


def shown(graph: Any, *modes: str) -> list[Any]:
    """Return what a run streams until it ends or fails."""
    chunks: list[Any] = []

    async def collect() -> None:
        async for chunk in graph.astream({"trail": []}, THREAD, stream_mode=list(modes)):
            chunks.append(chunk)  # noqa: PERF401 - what came before an error is wanted too

    with pytest.raises(NodeTimeoutError):
        asyncio.run(collect())
    return chunks


def test_an_attempt_that_takes_too_long_is_stopped(log) -> None:
    """Its error says which limit it was, in LangGraph's words, and is recorded as its failure (TO-2, §3.3)."""

    async def node(state):
        await hangs()

    graph = graph_of(node, log, timeout=SHORT)
    with pytest.raises(
        NodeTimeoutError, match=r"Node 'n' exceeded its run timeout of 0\.050s \(elapsed: "
    ) as caught:
        run(graph)
    error = caught.value
    assert (error.node, error.kind, error.timeout, error.run_timeout, error.idle_timeout) == (
        "n",
        "run",
        0.05,
        0.05,
        None,
    )
    assert error.elapsed >= SHORT
    assert not isinstance(error, TimeoutError)
    assert any("invoke(None, config) runs this task again" in note for note in error.__notes__)
    failed = [stored.record for stored in log.read("t") if isinstance(stored.record, TaskFailed)]
    assert [record.failure.type for record in failed] == ["walgraph.engine.errors.NodeTimeoutError"]
    assert graph.get_state(THREAD).next == ("n",)


def test_a_resume_runs_what_was_stopped(log) -> None:
    """With as much time again."""
    node = failing_then({"trail": ["n"]})
    graph = graph_of(node, log, timeout=SHORT)
    with pytest.raises(NodeTimeoutError):
        run(graph)
    assert run(graph, None) == {"trail": ["n"]}


def test_each_attempt_has_its_own_time(maybe_log) -> None:
    """And a time-out is tried again by default (RT-1, TO-2)."""
    node = failing_then({"trail": ["n"]})
    graph = graph_of(node, maybe_log, timeout=SHORT, retry_policy=AGAIN)
    assert run(graph) == {"trail": ["n"]}
    assert len(node.attempts) == 2


def test_attempts_that_all_take_too_long_fail_the_task() -> None:
    """After as many as the policy allows."""
    attempts: list[int] = []

    async def node(state):
        attempts.append(1)
        await hangs()

    with pytest.raises(NodeTimeoutError):
        run(graph_of(node, timeout=SHORT / 5, retry_policy=AGAIN))
    assert len(attempts) == AGAIN.max_attempts


def test_a_task_has_a_time_of_its_own(log) -> None:
    """Its error goes to its caller, as any error of a task."""

    @task(timeout=SHORT)
    async def slow(x):
        await hangs()

    @entrypoint(log)
    async def flow(x):
        try:
            await slow(x)
        except NodeTimeoutError as error:
            return error.node
        return None

    assert run(flow, 1) == "slow"


def test_an_entrypoints_time_is_not_its_tasks(log) -> None:
    """What it called and did not wait for is waited for after its own attempt has ended (T-7)."""
    done: list[int] = []

    @task
    async def slow(x):
        await asyncio.sleep(3 * SHORT)
        done.append(x)

    @entrypoint(log, timeout=2 * SHORT)
    async def flow(x):
        slow(x)
        return "returned"

    assert run(flow, 1) == "returned"
    assert done == [1]


def test_nothing_is_shown_of_an_attempt_whose_time_is_over() -> None:
    """Neither what its clean-up writes, nor what a thread of it writes (TO-2)."""
    over = threading.Event()

    def straggler(write):
        assert over.wait(20)
        write("from a thread")

    async def node(state):
        write = get_stream_writer()
        write("before")
        thread = threading.Thread(target=straggler, args=(write,))
        thread.start()
        try:
            await hangs()
        finally:
            write("late")
            get_stream_writer()("later")
            over.set()
            thread.join()

    assert shown(graph_of(node, timeout=SHORT), "custom", "updates") == [("custom", "before")]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_what_comes_too_late_is_dropped(log, durability) -> None:
    """A value, an error of its own or a question in answer to the cancellation does not undo the time-out (TO-2)."""

    async def returns(state):
        try:
            await hangs()
        except asyncio.CancelledError:
            return {"trail": ["late"]}

    async def raises(state):
        try:
            await hangs()
        except asyncio.CancelledError:
            raise KeyError("mine") from None

    async def asks(state):
        try:
            await hangs()
        except asyncio.CancelledError:
            return {"trail": [interrupt("late?")]}

    for node in (returns, raises, asks):
        config = {"configurable": {"thread_id": node.__name__}}
        graph = graph_of(node, log, timeout=SHORT)
        with pytest.raises(NodeTimeoutError) as caught:
            run(graph, config=config, durability=durability)
        state = graph.get_state(config)
        assert (state.values, state.next, state.interrupts) == ({"trail": []}, ("n",), ())
        assert isinstance(caught.value.__cause__, KeyError) == (node is raises)


def test_an_attempt_has_ended_when_the_next_begins(log) -> None:
    """Two never run at once, where LangGraph leaves the first to itself."""
    now: list[str] = []

    async def node(state):
        now.append("in")
        try:
            if len(now) == 1:
                await hangs()
        finally:
            await asyncio.sleep(SHORT)
            now.append("out")
        return {"trail": ["n"]}

    assert run(graph_of(node, log, timeout=6 * SHORT, retry_policy=AGAIN)) == {"trail": ["n"]}
    assert now == ["in", "out", "in", "out"]


def test_an_attempt_whose_time_is_over_calls_nothing_more(log) -> None:
    """A call in its clean-up would stand in the place of the next attempt's calls, so it is refused."""
    called: list[str] = []
    attempts: list[int] = []

    @task
    async def step(name):
        called.append(name)
        return name

    async def node(state):
        first = await step("first")
        attempts.append(1)
        try:
            if len(attempts) == 1:
                await hangs()
        except asyncio.CancelledError:
            await step("clean-up")
        return {"trail": [first, await step("second")]}

    assert run(graph_of(node, log, timeout=SHORT, retry_policy=AGAIN)) == {"trail": ["first", "second"]}
    assert called == ["first", "second"]


def test_a_subgraph_is_not_begun_by_an_attempt_whose_time_is_over(log) -> None:
    """Neither: it would be another than the next attempt's."""
    ran: list[str] = []

    def inner(state):
        ran.append("inner")

    sub = StateGraph(Trail).add_node(inner).add_edge(START, "inner").compile()

    async def node(state):
        try:
            await hangs()
        except asyncio.CancelledError:
            await sub.ainvoke(state)

    with pytest.raises(NodeTimeoutError):
        run(graph_of(node, log, timeout=SHORT))
    assert ran == []


def test_a_cancellation_from_elsewhere_stays_one(log) -> None:
    """Nothing is recorded of the task, and a resume runs it (CN-1)."""
    node = failing_then({"trail": ["n"]})
    graph = graph_of(node, log, timeout=LONG, retry_policy=AGAIN)

    async def cancelled() -> None:
        running = asyncio.create_task(graph.ainvoke({"trail": []}, THREAD))
        for _ in range(1000):
            await asyncio.sleep(MOMENT)
            if node.attempts:
                break
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert not {"TaskFailed", "RunEnded"} & set(steps_of(log))
    assert run(graph, None) == {"trail": ["n"]}


def test_a_bodys_own_timeout_error_is_its_own() -> None:
    """It is not taken for a limit of ours."""

    async def node(state):
        raise TimeoutError("the server's")

    with pytest.raises(TimeoutError, match="the server's"):
        run(graph_of(node, timeout=LONG))


# ── killed ──

PROGRAM = """
import asyncio, sys
from walgraph import *

TIMES = {"hung": 0}

@task
async def quick(x):
    print("quick", flush=True)
    return x

async def hangs(state):
    await quick(1)
    print("hangs", flush=True)
    if TIMES["hung"] < HANGS:
        TIMES["hung"] += 1
        await asyncio.sleep(60)
    return {"trail": ["done"]}

def run(log):
    sends = [Send("n", {}, timeout=0.3)]
    builder = StateGraph(State).add_node("n", hangs).add_conditional_edges(START, lambda _: sends)
    graph = builder.compile(log)
    try:
        print(asyncio.run(graph.ainvoke(*CALL, durability="sync")), flush=True)
    except NodeTimeoutError as error:
        print("stopped", flush=True)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_time_out_outlives_a_kill_at_each_append(tmp_path, when) -> None:
    """Whatever was appended of it: calls before it are kept, the limit holds again, and the thread can be finished."""
    for life in outlived(PROGRAM, tmp_path, when, first="HANGS = 1", second="HANGS = 1", third="HANGS = 0"):
        said = [line for each in life for line in each.splitlines()]
        assert said[-1] == "{'trail': ['done']}", life
        # What was recorded is not done again: at most the kill itself cost one repetition.
        assert said.count("quick") <= 2, life
        assert "stopped" in said, life
