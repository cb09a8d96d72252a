"""When streams show it: while nodes run, after it is durable, at the pace of the consumer, and when he tells."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest
from helpers import THREAD, Trail, chain, silent, steps_of

from walgraph import (
    START,
    MemoryLog,
    StateGraph,
    ThreadBusy,
    entrypoint,
    get_stream_writer,
    interrupt,
    task,
)

ALL = ["values", "updates", "custom"]


def test_an_update_is_shown_when_its_task_ended_not_when_the_step_did(log) -> None:
    """A consumer sees the fast sibling while the slow one still runs, and in the mode updates alone."""
    seen = threading.Event()

    def slow(state):
        assert seen.wait(20)
        return {"trail": ["slow"]}

    def fast(state):
        return {"trail": ["fast"]}

    builder = StateGraph(Trail).add_node(slow).add_node(fast).add_edge(START, "slow").add_edge(START, "fast")
    order = []
    for chunk in builder.compile(log).stream({"trail": []}, THREAD, stream_mode="updates"):
        order.extend(chunk)
        seen.set()
    assert order == ["fast", "slow"]


def test_an_update_is_shown_before_its_siblings_end_on_an_event_loop_too(log) -> None:
    """The twin of the test above."""

    async def main() -> list[str]:
        seen = asyncio.Event()

        async def slow(state):
            await asyncio.wait_for(seen.wait(), 20)
            return {"trail": ["slow"]}

        async def fast(state):
            return {"trail": ["fast"]}

        builder = StateGraph(Trail).add_node(slow).add_node(fast)
        graph = builder.add_edge(START, "slow").add_edge(START, "fast").compile(log)
        order: list[str] = []
        async for chunk in graph.astream({"trail": []}, THREAD, stream_mode="updates"):
            order.extend(chunk)
            seen.set()
        return order

    assert asyncio.run(main()) == ["fast", "slow"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_question_is_shown_when_its_task_ended_not_when_the_step_did(log, durability) -> None:
    """Whoever answers can begin to while a slow sibling still runs, also in a subgraph; each is shown once, as there.

    All questions of a step were once shown after its last task had ended.
    """
    seen, shown = threading.Event(), []

    def slow(state):
        assert seen.wait(20), "the question was not shown in time"
        return {"trail": ["slow"]}

    def ask(state):
        return {"trail": [interrupt("?")]}

    inner = StateGraph(Trail).add_node(ask).add_edge(START, "ask").compile()
    builder = StateGraph(Trail).add_node(slow).add_node("inner", inner)
    graph = builder.add_edge(START, "slow").add_edge(START, "inner").compile(log)
    options = {"stream_mode": ["updates", "values", "tasks"], "subgraphs": True, "durability": durability}
    for space, mode, payload in graph.stream({"trail": []}, THREAD, **options):
        asks = "__interrupt__" in payload or bool(payload.get("interrupts"))
        shown += [(len(space), mode)] * asks
        if shown[-1:] == [(0, "tasks")]:
            seen.set()
    assert shown == [(depth, mode) for depth in (1, 0) for mode in ("updates", "values", "tasks")]


def test_custom_is_shown_while_the_node_still_runs(maybe_log) -> None:
    """A node waits until the consumer has seen what it wrote, from itself, a task, a thread and a subgraph."""
    seen = {name: threading.Event() for name in ("node", "task", "thread", "subgraph")}

    def say(name):
        get_stream_writer()(name)
        assert seen[name].wait(20), f"{name} was not shown in time"

    @task
    def saying(name):
        say(name)

    def inside(state):
        say("subgraph")

    inner = chain(inside).compile()

    def node(state):
        say("node")
        saying("task").result()
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(say, "thread"))
        thread.start()
        thread.join()
        inner.invoke({"trail": []})

    graph = chain(node).compile(maybe_log)
    order = []
    for _, name in graph.stream({"trail": []}, THREAD, stream_mode="custom", subgraphs=True):
        order.append(name)
        seen[name].set()
    assert order == ["node", "task", "thread", "subgraph"]


def test_custom_is_shown_while_the_node_still_runs_on_an_event_loop(maybe_log) -> None:
    """The same for coroutines, one of which is called from a thread's synchronous node."""

    async def main() -> list[str]:
        seen = {name: threading.Event() for name in ("node", "task", "sync node")}

        async def say(name):
            get_stream_writer()(name)
            assert await asyncio.to_thread(seen[name].wait, 20), f"{name} was not shown in time"

        @task
        async def saying(name):
            await say(name)

        async def node(state):
            await say("node")
            await saying("task")

        def plain(state):
            get_stream_writer()("sync node")
            assert seen["sync node"].wait(20)

        graph = chain(node, plain).compile(maybe_log)
        order: list[str] = []
        async for name in graph.astream({"trail": []}, THREAD, stream_mode="custom"):
            order.append(name)
            seen[name].set()
        return order

    assert asyncio.run(main()) == ["node", "task", "sync node"]


def test_the_next_step_waits_for_the_consumer(log) -> None:
    """A generator that is not asked for the next chunk does not run ahead (ST-3)."""
    ran: list[str] = []

    def node(name):
        def run(state):
            ran.append(name)

        run.__name__ = name
        return run

    chunks = chain(node("one"), node("two"), node("three")).compile(log).stream({"trail": []}, THREAD)
    assert ran == []
    next(chunks)
    assert ran == ["one"]
    next(chunks)
    assert ran == ["one", "two"]
    assert list(chunks) == [{"three": None}]


def test_nothing_is_claimed_before_the_first_chunk_is_asked_for(log) -> None:
    """A stream that nobody reads has not begun: the thread is free, and the log empty."""
    graph = chain(silent("one")).compile(log)
    chunks = graph.stream({"trail": []}, THREAD)
    assert log.head("t") is None
    assert graph.invoke({"trail": []}, THREAD) == {"trail": ["one"]}
    chunks.close()


@pytest.mark.parametrize("mode", ["updates", "custom"])
def test_an_abandoned_stream_leaves_a_thread_that_can_be_resumed(log, durability, mode) -> None:
    """Closing the generator gives the thread back with all that ended; the rest is there to be resumed."""
    ran: list[str] = []

    def node(name):
        def run(state):
            ran.append(name)
            get_stream_writer()(name)
            return {"trail": [name]}

        run.__name__ = name
        return run

    graph = chain(node("one"), node("two"), node("three")).compile(log)
    chunks = graph.stream({"trail": []}, THREAD, stream_mode=mode, durability=durability)
    next(chunks)
    with pytest.raises(ThreadBusy):
        graph.invoke(None, THREAD)
    chunks.close()
    assert graph.invoke(None, THREAD) == {"trail": ["one", "two", "three"]}
    assert sorted(ran) == ["one", "three", "two"]


def test_an_abandoned_async_stream_leaves_a_thread_that_can_be_resumed(log, durability) -> None:
    """Closing the asynchronous generator does the same; a task that still ran is cancelled and runs again."""
    ran: list[str] = []

    async def one(state):
        ran.append("one")
        return {"trail": ["one"]}

    async def two(state):
        ran.append("two")
        get_stream_writer()("two")
        if ran.count("two") == 1:
            await asyncio.Event().wait()
        return {"trail": ["two"]}

    graph = chain(one, two).compile(log)

    async def main() -> Any:
        chunks = graph.astream({"trail": []}, THREAD, stream_mode="custom", durability=durability)
        async for _ in chunks:
            break
        with pytest.raises(ThreadBusy):
            await graph.ainvoke(None, THREAD)
        await chunks.aclose()
        return await graph.ainvoke(None, THREAD)

    assert asyncio.run(main()) == {"trail": ["one", "two"]}
    assert ran == ["one", "two", "two"]


def test_an_error_ends_the_stream_after_what_came_before_it(way, log) -> None:
    """The consumer has seen the steps that were recorded, then the exception."""

    def fail(state):
        get_stream_writer()("about to fail")
        raise ConnectionError

    graph = chain(way.node(silent("one")), way.node(fail)).compile(log)
    chunks: list[Any] = []
    with pytest.raises(ConnectionError):
        way.stream_to(chunks, graph, {"trail": []}, stream_mode=["updates", "custom"])
    assert chunks == [("updates", {"one": {"trail": ["one"]}}), ("custom", "about to fail")]


@pytest.mark.parametrize("mode", ["updates", "values"])
def test_under_sync_nothing_is_shown_before_it_is_durable(log, mode) -> None:
    """When a chunk is handed over, the store holds what it tells: LangGraph yields before it writes (ST-2)."""

    def kinds() -> list[str]:
        frames = log.store.frames("t")
        return [type(record).__name__ for _, body in frames for record in log.decoder().records(body)]

    graph = chain(silent("one"), silent("two")).compile(log)
    for number, _ in enumerate(graph.stream({"trail": []}, THREAD, stream_mode=mode, durability="sync")):
        steps = number + 1 if mode == "values" else number + 2
        assert kinds().count("TaskFinished") >= steps
        if mode == "values":
            assert kinds().count("StepCommitted") >= steps


def test_a_chunk_belongs_to_the_consumer(way, log) -> None:
    """Changing what was streamed does not change the state."""
    graph = chain(way.node(silent("one")), way.node(silent("two"))).compile(log)
    if way.is_async:

        async def main() -> None:
            async for chunk in graph.astream({"trail": []}, THREAD, stream_mode="values"):
                chunk["x"] = "changed"

        asyncio.run(main())
    else:
        for chunk in graph.stream({"trail": []}, THREAD, stream_mode="values"):
            chunk["x"] = "changed"
    assert graph.get_state(THREAD).values == {"trail": ["one", "two"]}


def test_streams_are_recorded_like_invocations() -> None:
    """Watching a run does not change what the log holds of it."""
    kinds = []
    for mode in (None, "values", "updates", "custom", ALL):
        log = MemoryLog(strict=True)
        graph = chain(silent("one"), silent("two")).compile(log)
        if mode is None:
            graph.invoke({"trail": []}, THREAD)
        else:
            list(graph.stream({"trail": []}, THREAD, stream_mode=mode, subgraphs=True))
        kinds.append(steps_of(log))
    assert all(found == kinds[0] for found in kinds)


def test_an_update_of_a_task_is_shown_while_its_entrypoint_runs(log) -> None:
    """They were once held back until a synchronous entrypoint returned, since it ran in the consumer's thread."""
    seen = threading.Event()

    @task
    def first():
        return "done"

    @entrypoint(log)
    def workflow(given):
        result = first().result()
        assert seen.wait(20), "nobody was shown what the task returned"
        return result

    chunks = []
    for chunk in workflow.stream("go", THREAD, stream_mode="updates"):
        chunks.append(chunk)
        seen.set()
    assert chunks == [{"first": "done"}, {"workflow": "done"}]
