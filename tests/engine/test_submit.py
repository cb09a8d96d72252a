"""Handing runs over: once, durably, in order, and what their handles tell."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import Trail, Way, asks, chain, killed, leaves
from worker_helpers import PATIENCE, life, result, until, working

from walgraph import (
    Command,
    EmptyInputError,
    InvalidGraph,
    Log,
    NoLog,
    NotSerializable,
    QueueProblem,
    RunConflict,
    RunHandle,
    RunNotFound,
    Worker,
    arecover,
    asubmit,
    define_queue,
    entrypoint,
    recover,
    submit,
    task,
)


def test_a_run_that_is_handed_over_comes_to_what_invoke_would_return(way: Way, log: Log) -> None:
    """The result is that of the run; the thread has its records as after ``invoke``."""
    graph = chain(leaves("a"), leaves("b")).compile(log)
    with working(way, log, graph):
        handle = submit(graph, {"trail": ["given"]}, "t")
        assert result(way, handle) == {"trail": ["given", "a", "b"]}
    assert handle.status() == "done"
    assert graph.get_state({"configurable": {"thread_id": "t"}}).values == {"trail": ["given", "a", "b"]}


def test_a_run_waits_for_a_worker_and_says_so(log: Log) -> None:
    """Without a worker it is queued, and waiting for it ends in time."""
    graph = chain(leaves("a")).compile(log)
    handle = submit(graph, {"trail": []}, "t")
    assert handle.status() == "queued"
    with pytest.raises(TimeoutError, match="queued"):
        handle.result(0.01)


def test_coroutines_hand_over_and_await(log: Log) -> None:
    """``asubmit`` and ``await`` do the same on the event loop, with a worker as a context manager."""
    graph = chain(leaves("a")).compile(log)

    async def main() -> Any:
        async with Worker(log, graph), asyncio.timeout(PATIENCE):
            return await (await asubmit(graph, {"trail": []}, "t"))

    assert asyncio.run(main()) == {"trail": ["a"]}


def test_the_same_run_handed_over_again_is_the_same_run(way: Way, log: Log) -> None:
    """Before, while and after it runs: the body ran once, and each handle finds the one result."""
    graph = chain(leaves("a")).compile(log)
    first = submit(graph, {"trail": []}, "t", run_id="r")
    submit(graph, {"trail": []}, "t", run_id="r")
    with working(way, log, graph):
        assert result(way, first) == {"trail": ["a"]}
        assert result(way, submit(graph, {"trail": []}, "t", run_id="r")) == {"trail": ["a"]}
    assert RunHandle(log, "r").result(0) == {"trail": ["a"]}


@pytest.mark.parametrize(
    "other",
    [{"input": {"trail": ["else"]}}, {"thread": "u"}, {"context": {"user": "me"}}, {"durability": "sync"}],
    ids=lambda other: next(iter(other)),
)
def test_something_else_under_the_same_run_id_is_refused(log: Log, other: dict[str, Any]) -> None:
    """Another input, thread, context or mode under a known id is an error, and nothing changes."""
    graph = chain(leaves("a")).compile(log)
    submit(graph, {"trail": []}, "t", run_id="r")
    options = {key: value for key, value in other.items() if key not in {"input", "thread"}}
    with pytest.raises(RunConflict):
        submit(graph, other.get("input", {"trail": []}), other.get("thread", "t"), run_id="r", **options)
    assert len(list(log.submissions().all())) == 1


def test_runs_of_one_thread_follow_each_other_in_order(way: Way, log: Log) -> None:
    """A thread that is busy takes what comes one after another, whatever the number of workers."""
    graph = chain(leaves("a")).compile(log)
    handles = [submit(graph, {"trail": [str(n)]}, "t") for n in range(6)]
    with working(way, log, graph, concurrency=4):
        results = [result(way, handle)["trail"] for handle in handles]
    assert results[-1] == [each for n in range(6) for each in (str(n), "a")]
    assert [len(trail) for trail in results] == [2, 4, 6, 8, 10, 12]


def test_threads_take_turns(log: Log) -> None:
    """A thread with many runs does not keep another one, which came later, from having its turn."""
    order: list[str] = []
    graph = chain(leaves("a")).compile(log)
    for n in range(4):
        submit(graph, {"trail": []}, "greedy", run_id=f"greedy{n}")
    submit(graph, {"trail": []}, "modest", run_id="modest")
    with Worker(log, graph, concurrency=1, on_end=lambda carried: order.append(carried.run_id)):
        until(lambda: len(order) == 5)
    assert order.index("modest") == 1


def test_smaller_priorities_come_first(log: Log) -> None:
    """Whoever waits with the smallest number starts first; equals start in the order of their coming."""
    order: list[str] = []
    graph = chain(leaves("a")).compile(log)
    for run, priority in (("c", 5), ("a", -1), ("b", 0), ("d", 5)):
        submit(graph, {"trail": []}, run, run_id=run, priority=priority)
    with Worker(log, graph, concurrency=1, on_end=lambda carried: order.append(carried.run_id)):
        until(lambda: len(order) == 4)
    assert order == ["a", "b", "c", "d"]


def test_a_queue_runs_as_many_at_once_as_it_allows(way: Way, log: Log) -> None:
    """With a concurrency of two, no third run begins before one has ended, over all workers."""
    running, most = 0, 0
    lock = threading.Lock()
    pair = threading.Barrier(2)

    def crowded(state: Any) -> dict[str, Any]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(PATIENCE)
        with lock:
            running -= 1
        return {}

    graph = chain(crowded).compile(log)
    define_queue(log, "narrow", concurrency=2)
    handles = [submit(graph, {"trail": []}, f"t{n}", queue="narrow") for n in range(6)]
    with working(way, log, graph, concurrency=4), working(way, log, graph, concurrency=4):
        for handle in handles:
            result(way, handle)
    assert most == 2


def test_a_queue_starts_as_many_in_a_while_as_it_allows(log: Log) -> None:
    """With a rate of three in a fifth of a second, the fourth begins when the first has become old enough."""
    began: list[int] = []
    graph = chain(leaves("a")).compile(log)
    define_queue(log, "slow", rate=(3, 0.2))
    handles = [submit(graph, {"trail": []}, f"t{n}", queue="slow") for n in range(7)]
    with Worker(log, graph):
        for handle in handles:
            handle.result(PATIENCE)
            row = log.submissions().get(handle.run_id)
            assert row is not None
            began.append(row.started_at)
    began.sort()
    assert all(after - before >= 0.2e9 for before, after in zip(began, began[3:], strict=False))


def test_a_worker_serves_the_queues_that_it_is_told(log: Log) -> None:
    """A run of another queue waits for another worker."""
    graph = chain(leaves("a")).compile(log)
    elsewhere = submit(graph, {"trail": []}, "e", queue="elsewhere")
    with Worker(log, graph, queues=["default"]):
        assert submit(graph, {"trail": []}, "t").result(PATIENCE) == {"trail": ["a"]}
    assert elsewhere.status() == "queued"


def test_a_run_that_stops_to_ask_is_over_and_its_answer_is_another(way: Way, log: Log) -> None:
    """The result holds the question; the answer can be handed over too, and so can a wrong one, which is refused."""
    graph = chain(asks("ask", "sure?")).compile(log)
    with working(way, log, graph):
        first = submit(graph, {"trail": []}, "t")
        assert result(way, first)["__interrupt__"][0].value == "sure?"
        assert first.status() == "interrupted"
        second = submit(graph, Command(resume="yes"), "t")
        assert result(way, second) == {"trail": ["yes"]}
        third = submit(graph, Command(resume={"0" * 32: "?"}), "t")
        with pytest.raises(Exception, match="interrupt"):
            result(way, third)
    assert third.status() == "failed"


CARRIES_OUT = """
import sys
from walgraph import Log, Worker, entrypoint, interrupt, sleep, submit, task

@task
def naps():
    sleep(3600)

@task
def asks():
    return interrupt("sure?")

with Log.open(sys.argv[1]) as log:

    @entrypoint(log)
    def flow(given):
        both = [naps(), asks()]
        return [each.result() for each in both]

    submit(flow, 1, "t", run_id="r")
    worker = Worker(log, flow, on_end=lambda carried: worker.stop())
    worker.run()
"""
READS = """
import sys
from walgraph import Log, RunHandle
with Log.open(sys.argv[1]) as log:
    found = RunHandle(log, "r").result(0)
assert [each.value for each in found["__interrupt__"]] == ["sure?"]
assert [each.kind for each in found["__suspended__"]] == ["sleep"]
"""


def test_what_a_run_is_suspended_for_is_read_in_every_process(tmp_path: Path) -> None:
    """Who did not carry a run out itself can read that it sleeps beside its question.

    ``Suspension`` was known by its name only in a process that had written one, so that the result of a run which both
    slept and asked could not be read by the process that had handed it over.
    """
    path = tmp_path / "log.wal"
    assert [life(program, path) for program in (CARRIES_OUT, READS)] == [0, 0]


class Broken(Exception):
    """What a node of a test raises."""


def test_a_failed_run_raises_what_it_raised_and_can_be_retried(way: Way, log: Log) -> None:
    """``result`` raises the exception; handing over None retries the failed task."""
    fails = [True]

    def fragile(state: Any) -> dict[str, Any]:
        if fails.pop() if fails else False:
            raise ValueError("broken")
        return {"trail": ["mended"]}

    graph = chain(fragile).compile(log)
    with working(way, log, graph):
        failed = submit(graph, {"trail": []}, "t")
        with pytest.raises(ValueError, match="broken"):
            result(way, failed)
        assert failed.status() == "failed"
        assert result(way, submit(graph, None, "t")) == {"trail": ["mended"]}


def test_a_run_takes_config_context_and_durability_along(way: Way, log: Log) -> None:
    """They are kept with the run, and given to it when it is carried out."""
    seen: list[Any] = []

    def node(state: Any, config: Any, runtime: Any) -> dict[str, Any]:
        seen.append((config["configurable"]["user"], config["metadata"]["note"], runtime.context))
        return {}

    from walgraph import StateGraph

    builder = StateGraph(Trail, context_schema=dict).add_node("node", node).add_edge("__start__", "node")
    graph = builder.compile(log)
    config = {"configurable": {"thread_id": "t", "user": "me"}, "metadata": {"note": 1}}
    with working(way, log, graph):
        handle = submit(graph, {"trail": []}, config=config, context={"key": 2}, durability="exit")
        assert handle.thread_id == "t"
        result(way, handle)
    assert seen == [("me", 1, {"key": 2})]
    assert [type(stored.record).__name__ for stored in log.read("t")] == ["ThreadCreated", "StateFolded"]


def test_entrypoints_are_handed_over_like_graphs(way: Way, log: Log) -> None:
    """An entrypoint's result is what it returned."""

    @task
    def double(x: int) -> int:
        return 2 * x

    @entrypoint(log)
    def total(numbers: list[int]) -> int:
        return sum(future.result() for future in [double(n) for n in numbers])

    with Worker(log, total):
        assert submit(total, [1, 2, 3], "t").result(PATIENCE) == 12


def test_coroutine_nodes_run_under_a_worker_of_threads_too(log: Log) -> None:
    """A worker that works in threads gives graphs of coroutine functions an event loop."""

    async def node(state: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"trail": ["async"]}

    graph = chain(node).compile(log)
    with Worker(log, graph):
        assert submit(graph, {"trail": []}, "t").result(PATIENCE) == {"trail": ["async"]}


def test_a_run_can_be_handed_over_by_the_name_of_its_graph(way: Way, log: Log) -> None:
    """Whoever hands over need not have the graph's code."""
    graph = chain(leaves("a")).compile(log, name="worker's")
    handle = submit("worker's", {"trail": []}, "t", log=log)
    with working(way, log, {"worker's": graph}):
        assert result(way, handle) == {"trail": ["a"]}


def test_what_cannot_be_handed_over_is_refused_before_anything_is_kept(log: Log) -> None:
    """Bad input is told with its reason, and leaves no trace."""
    graph = chain(leaves("a")).compile(log)
    with pytest.raises(NotSerializable):
        submit(graph, {"trail": [object()]}, "t")
    with pytest.raises(EmptyInputError):
        submit(graph, None, "nobody")
    with pytest.raises(NoLog):
        submit(chain(leaves("a")).compile(), {}, "t")
    with pytest.raises(NoLog):
        submit("graph", {}, "t")
    for wrong in (
        {"queue": ""},
        {"priority": 1 << 40},
        {"priority": True},
        {"durability": "never"},
        {"run_id": ""},
    ):
        with pytest.raises(ValueError, match=r"must|unknown"):
            submit(graph, {}, "t", **wrong)
    with pytest.raises(
        TypeError, match=r"submit got an unexpected option 'piority'; there are config, .*priority"
    ):
        submit(graph, {}, "t", piority=1)
    assert list(log.submissions().all()) == []
    assert list(log.threads()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"concurrency": 0}, {"concurrency": True}, {"rate": (0, 1.0)}, {"rate": 5}, {"rate": (1, 0)}],
    ids=str,
)
def test_a_queue_that_makes_no_sense_is_refused(log: Log, wrong: dict[str, Any]) -> None:
    """A queue's limits are checked when they are said."""
    with pytest.raises(QueueProblem):
        define_queue(log, "q", **wrong)
    assert log.submissions().queues() == []


def test_workers_refuse_what_makes_no_sense(log: Log) -> None:
    """Two graphs of one name, something that is no graph, numbers below one, and options of unknown names."""
    graph = chain(leaves("a")).compile(log)
    with pytest.raises(ValueError, match="two graphs"):
        Worker(log, [graph, chain(leaves("b")).compile(log)])
    with pytest.raises(TypeError, match="no compiled graph"):
        Worker(log, [chain(leaves("a"))])
    with pytest.raises(ValueError, match="concurrency"):
        Worker(log, graph, concurrency=0)
    with pytest.raises(ValueError, match="attempts"):
        Worker(log, graph, attempts=0)
    for refused in (Worker, recover):
        with pytest.raises(
            TypeError, match="a worker got an unexpected option 'atempts'; there are attempts, "
        ):
            refused(log, graph, atempts=3)
    with pytest.raises(TypeError, match="unexpected option"):
        asyncio.run(arecover(log, graph, atempts=3))
    assert issubclass(InvalidGraph, ValueError)


def test_a_handle_of_nothing_is_refused(log: Log) -> None:
    """A run that nobody handed over has no handle."""
    with pytest.raises(RunNotFound):
        RunHandle(log, "nobody")


def test_deleting_a_thread_takes_its_runs_along(log: Log) -> None:
    """What waited for its turn on a deleted thread is gone with it."""
    graph = chain(leaves("a")).compile(log)
    handle = submit(graph, {"trail": []}, "t")
    log.delete_thread("t")
    with pytest.raises(RunNotFound):
        handle.status()
    assert list(log.submissions().all()) == []


def test_a_run_survives_the_death_of_whoever_handed_it_over(tmp_path: Path) -> None:
    """Killed right after ``submit`` returned, in the least durable mode: the run is there, once (guarantee G4)."""
    path = tmp_path / "log.wal"
    killed(
        """
        import os, signal, sys
        from helpers import chain, leaves
        from walgraph import Log, submit
        log = Log.open(sys.argv[1])
        submit(chain(leaves("a")).compile(log), {"trail": []}, "t", run_id="r", durability="exit")
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
    )
    with Log.open(path) as log:
        graph = chain(leaves("a")).compile(log)
        assert RunHandle(log, "r").status() == "queued"
        with Worker(log, graph):
            assert submit(graph, {"trail": []}, "t", run_id="r", durability="exit").result(PATIENCE) == {
                "trail": ["a"]
            }
