"""Attempts whose time is limited, and what they call: tasks, subgraphs, threads (TO-2)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from helpers import THREAD, Trail
from timeout_helpers import AGAIN, LONG, SHORT, graph_of, hangs, run, subgraph

from walgraph import (
    START,
    Log,
    NodeTimeoutError,
    StateGraph,
    entrypoint,
    task,
)


def test_what_an_attempt_called_is_kept_and_stopped(log) -> None:
    """Calls that returned are never made again (G2); those on their way are stopped, awaited or not, and theirs too."""
    made: list[str] = []
    stopped: list[str] = []

    @task
    async def quick(x):
        made.append("quick")
        return "quick"

    @task
    async def below(x):
        try:
            await hangs()
        finally:
            stopped.append("below")

    @task
    async def slow(x):
        below(x)
        try:
            await hangs()
        finally:
            stopped.append("slow")

    async def node(state):
        got = await quick(1)
        if not stopped:
            slow(2)
            await asyncio.sleep(SHORT / 2)
            slow(3)
            await hangs()
        return {"trail": [got]}

    assert run(graph_of(node, log, timeout=6 * SHORT, retry_policy=AGAIN)) == {"trail": ["quick"]}
    assert made == ["quick"]
    assert sorted(stopped) == ["below", "below", "slow", "slow"]


def test_threads_of_an_attempt_run_out_and_those_not_begun_never_begin(log) -> None:
    """A synchronous task cannot be stopped: it is waited for and recorded. One that waits for its turn is dropped."""
    begun: list[int] = []
    release = threading.Event()

    @task
    def blocks(x):
        begun.append(x)
        assert release.wait(20)
        return x

    async def node(state):
        first = blocks(1)
        others = [blocks(x) for x in (2, 3)]
        if not release.is_set():
            asyncio.get_running_loop().call_later(8 * SHORT, release.set)
            await hangs()
        return {"trail": [str(await future) for future in (first, *others)]}

    graph = graph_of(node, log, timeout=6 * SHORT, retry_policy=AGAIN)
    config = {**THREAD, "max_concurrency": 1}

    async def bounded() -> Any:
        return await graph.ainvoke({"trail": []}, config)

    assert asyncio.run(bounded()) == {"trail": ["1", "2", "3"]}
    assert sorted(begun) == [1, 2, 3]


def test_an_attempt_within_another_tells_which_time_is_over(log) -> None:
    """The outer limit stops the inner attempt, and is not taken for the inner one's."""

    @task(timeout=LONG)
    async def inner(x):
        await hangs()

    async def node(state):
        await inner(1)

    with pytest.raises(NodeTimeoutError, match="Node 'n' exceeded"):
        run(graph_of(node, log, timeout=SHORT))


def test_a_limited_call_takes_one_place_and_gives_it_back(log) -> None:
    """``max_concurrency=1`` does not deadlock on attempts that are stopped, and waiting for a turn costs no time."""
    hung: set[int] = set()

    @task(timeout=6 * SHORT, retry_policy=AGAIN)
    async def slow(x):
        if x not in hung:
            hung.add(x)
            await hangs()
        return x

    @entrypoint(log)
    async def flow(x):
        return await asyncio.gather(*(slow(n) for n in range(3)))

    assert run(flow, 1, {**THREAD, "max_concurrency": 1}) == [0, 1, 2]


def test_a_time_out_around_a_subgraph_stops_it_and_the_next_attempt_resumes_it(log, durability) -> None:
    """Its finished nodes are not run again, in this process or after a resume (G2)."""
    ran: list[str] = []

    async def first(state):
        ran.append("first")
        return {"trail": ["first"]}

    async def second(state):
        ran.append("second")
        if ran.count("second") < 3:
            await hangs()
        return {"trail": ["second"]}

    inner = StateGraph(Trail).add_sequence([first, second]).add_edge(START, "first").compile()
    twice = AGAIN._replace(max_attempts=2)
    graph = graph_of(inner, log, timeout=6 * SHORT, retry_policy=twice)
    with pytest.raises(NodeTimeoutError, match="Node 'n' exceeded"):
        run(graph, durability=durability)
    assert ran == ["first", "second", "second"]
    assert run(graph, None, durability=durability) == {"trail": ["first", "second"]}
    assert ran == ["first", "second", "second", "second"]


def test_a_subgraph_with_a_time_out_is_refused_in_a_synchronous_run(maybe_log) -> None:
    """A thread cannot be stopped (TO-1)."""
    graph = graph_of(subgraph, maybe_log, timeout=SHORT)
    with pytest.raises(
        ValueError, match=r"Node timeouts are only supported for async nodes .* Node 'n' is sync"
    ):
        graph.invoke({"trail": []}, THREAD)


def test_no_call_is_made_twice_wherever_the_limit_falls(tmp_path) -> None:
    """Also when it falls between a call's return and the moment at which its record is durable."""
    made: list[int] = []

    @task
    async def count(n):
        made.append(n)

    with Log.open(tmp_path / "log.wal") as log:

        @entrypoint(log, timeout=0.004, retry_policy=AGAIN._replace(max_attempts=1000))
        async def flow(n):
            for each in range(n):
                await count(each)
            return len(made)

        assert run(flow, 40, durability="sync") == 40
    assert made == list(range(40))
