"""Shutting down: runs and workers stop at the next boundary of a task, and go on later."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import Trail, Way, chain, leaves, steps_of
from worker_helpers import (
    PATIENCE,
    WORKER,
    elsewhere,
    long_here,
    result,
    until,
    working,
)

from walgraph import (
    START,
    GraphDrained,
    Log,
    RetryPolicy,
    RunControl,
    StateGraph,
    Worker,
    entrypoint,
    submit,
    task,
)


def test_a_drained_run_goes_on_under_the_next_worker(way: Way, log: Log) -> None:
    """A worker that is told to stop drains its runs, which wait for the next worker."""
    begun = threading.Event()
    may_end = threading.Event()

    def slow(state: Any) -> dict[str, Any]:
        begun.set()
        may_end.wait(PATIENCE)
        return {"trail": ["slow"]}

    graph = chain(slow, leaves("after")).compile(log)
    handle = submit(graph, {"trail": []}, "t")
    with working(way, log, graph) as worker:
        assert begun.wait(PATIENCE)
        assert (handle.status(), worker.active) == ("running", ["t"])
        worker.stop("deploy")
        may_end.set()
    assert handle.status() == "queued"
    head = log.head("t")
    assert head is not None
    assert head.status == "drained"
    with working(way, log, graph):
        assert result(way, handle) == {"trail": ["slow", "after"]}


def test_a_task_call_in_an_entrypoint_that_is_to_stop_parks_the_run(
    way: Way, log: Log, durability: str
) -> None:
    """After a drain was asked for no further call begins; what was called is recorded and not called again."""
    control = RunControl()
    called: list[int] = []

    @task
    def step(n: int) -> int:
        called.append(n)
        if len(called) == 3:
            control.request_drain("sigterm")
        return n

    def long(total: int) -> Any:
        found = 0
        for n in range(total):
            found += yield step(n)
        return found

    made = way.flow(long)
    made.__name__ = "long"
    graph = entrypoint(log)(made)
    with pytest.raises(GraphDrained, match="sigterm"):
        way.invoke(graph, 6, control=control, durability=durability)
    assert called == [0, 1, 2]
    head = log.head("t")
    assert head is not None
    assert head.status == "drained"
    assert way.invoke(graph, None, durability=durability) == 15
    assert called == [0, 1, 2, 3, 4, 5]


def test_a_pause_before_a_retry_does_not_hold_a_drain_up(way: Way, log: Log) -> None:
    """A failed attempt of a run that is to stop is recorded, and the pause before the next one is not waited for."""
    control = RunControl()
    attempts: list[int] = []

    def flaky(state: Any) -> dict[str, Any]:
        attempts.append(1)
        control.request_drain()
        raise ConnectionError

    builder = StateGraph(Trail).add_edge(START, "flaky")
    builder.add_node("flaky", way.node(flaky), retry_policy=RetryPolicy(initial_interval=1000.0))
    graph = builder.compile(log)
    with pytest.raises(GraphDrained):
        way.invoke(graph, {"trail": []}, control=control)
    assert len(attempts) == 1
    assert "AttemptFailed" in steps_of(log)


def test_sigterm_drains_a_worker_within_a_long_entrypoint(tmp_path: Path) -> None:
    """It ends at the next call with exit code 0; the next worker goes on behind what was called."""
    with Log.open(tmp_path / "log.wal") as log:
        called: list[int] = []
        long = long_here(log, called)
        handle = submit(long, 100_000, "t")
        with elsewhere(WORKER, log.path) as process:
            assert process.stdout is not None
            for n in range(3):
                assert process.stdout.readline() == f"{n}\n"
            process.send_signal(signal.SIGTERM)
            said = process.stdout.read().split()
            assert process.wait(PATIENCE) == 0
        assert said[-1] == "stopped"
        assert handle.status() == "queued"
        done = 3 + len(said) - 1
        with Worker(log, long):
            until(lambda: len(called) > 2)
        assert called[0] == done
