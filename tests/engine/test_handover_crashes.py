"""Handing over, firing and carrying out, killed before and after every commit; and workers that come and go."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crowd import Crowd
from helpers import chain, steps_of
from timer_helpers import at_noon

from walgraph import (
    Log,
    Worker,
    define_queue,
    schedule,
    schedules,
    submit,
)
from walgraph.wal.lmdb_store import LmdbTransaction
from walgraph.wal.verify import verify

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32", reason="lives are forked and killed by signals"
)
RUNS = ("r1", "r2")


def graph_of(log: Log, outside: Path) -> Any:
    """Return a graph of two nodes that leave a line outside and one in the state."""

    def leaves(name: str) -> Any:
        def node(state: Any) -> dict[str, Any]:
            with outside.open("a") as file:
                file.write(f"{state['x']}:{name}\n")
            return {"trail": [f"{state['x']}:{name}"]}

        node.__name__ = name
        return node

    return chain(leaves("a"), leaves("b")).compile(log, name="graph")


def hand_over(path: Path, durability: str) -> None:
    """Hand two runs over, and carry out what there is, until all have ended."""
    with Log.open(path, fsync="off") as log:
        graph = graph_of(log, path.with_suffix(".txt"))
        define_queue(log, "narrow", concurrency=1, rate=(100, 0.01))
        handles = [
            submit(graph, {"x": run}, "t", run_id=run, queue="narrow", durability=durability) for run in RUNS
        ]
        work_until(log, graph, lambda: all(handle.status() == "done" for handle in handles))


def fire(path: Path, durability: str) -> None:
    """Make a schedule, and see it two minutes later, until what it fires has ended."""
    with at_noon() as fake, Log.open(path, fsync="off") as log:
        graph = graph_of(log, path.with_suffix(".txt"))
        given, how = {"x": "r"}, {"missed": "all", "overlap": "buffer_all", "durability": durability}
        handle = schedule("* * * * *", graph, given, thread_id="t", **how)
        fake.advance(120)
        work_until(
            log,
            graph,
            lambda: handle.info().fires == 2 and all(e.how == "done" for e in log.submissions().all()),
        )


def work_until(log: Log, graph: Any, is_over: Callable[[], bool]) -> None:
    """Let a worker carry out what there is, until it is over."""

    def noted(_: Any) -> None:
        if is_over():
            worker.stop()

    worker = Worker(log, graph, concurrency=1, attempts=100, on_end=noted)
    if not is_over():
        worker.run()


def lived(
    life: Callable[[Path, str], None], path: Path, fate: tuple[int, str] | None, durability: str
) -> int:
    """Live once in a child, which dies at a commit, and return how that ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code, commits, leave = 1, 0, LmdbTransaction.__exit__

    def fated(self: Any, *given: Any) -> None:
        nonlocal commits
        is_commit = given[0] is None and self._write and not self._abandoned
        commits += is_commit
        if is_commit and fate == (commits, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        leave(self, *given)
        if is_commit and fate == (commits, "after"):
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        # That the log is made is no commit of the life: it is killed in tests of its own.
        Log.open(path, fsync="off").close()
        LmdbTransaction.__exit__ = fated  # type: ignore[method-assign]
        life(path, durability)
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize(
    ("durability", "when"), [("sync", "before"), ("sync", "after"), ("async", "after"), ("exit", "after")]
)
def test_a_kill_at_any_commit_neither_loses_nor_doubles_a_run(
    tmp_path: Path, when: str, durability: str
) -> None:
    """Whoever hands over, starts, carries out and notes the end may die at each commit: the next life finishes.

    Each run ends once with its own result, in order; what was recorded is not done again.
    """
    for fate in range(1, 100):
        path = tmp_path / f"{fate}.wal"
        was_killed = lived(hand_over, path, (fate, when), durability)
        assert was_killed in {0, signal.SIGKILL}
        if not was_killed:
            break
        assert lived(hand_over, path, None, durability) == 0
        steps = Counter(path.with_suffix(".txt").read_text().split())
        assert set(steps) == {f"{run}:{name}" for run in RUNS for name in "ab"}
        # What one life may lose: the step under way, or what the mode leaves unwritten, which is one run at most.
        assert sum(steps.values()) <= len(steps) + (1 if durability == "sync" else 2)
        with Log.open(path) as log:
            trail = ["r1:a", "r1:b", "r2:a", "r2:b"]
            for run, length in zip(RUNS, (2, 4), strict=True):
                row = log.submissions().get(run)
                assert row is not None
                assert (row.how, log.decoder().value(row.result)) == (
                    "done",
                    {"x": run, "trail": trail[:length]},
                )
            if durability != "exit":
                assert steps_of(log, "t").count("RunStarted") == 2
    else:
        message = "it commits without end"
        raise AssertionError(message)
    assert fate >= 8


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_any_commit_neither_loses_nor_doubles_a_firing(tmp_path: Path, when: str) -> None:
    """Whoever makes the schedule, fires, starts, carries out and notes the end may die at each commit."""
    for fate in range(1, 100):
        path = tmp_path / f"{fate}.wal"
        was_killed = lived(fire, path, (fate, when), "sync")
        assert was_killed in {0, signal.SIGKILL}
        if not was_killed:
            break
        assert lived(fire, path, None, "sync") == 0
        with Log.open(path) as log:
            runs = [each.run for each in log.submissions().all()]
            assert runs == [f"graph@2026-03-01T12:0{minute}:00Z" for minute in (1, 2)]
            assert steps_of(log, "t").count("RunStarted") == 2
            assert [(info.fires, info.skips, info.waiting) for info in schedules(log)] == [(2, 0, ())]
            assert verify(log, structure=False).ok
    else:
        message = "it commits without end"
        raise AssertionError(message)
    assert fate >= 8


def test_workers_that_come_and_go_lose_and_double_nothing(tmp_path: Path) -> None:
    """Dozens of runs, a schedule, several processes, SIGKILL and SIGSTOP at random (more of it in ``make fuzz``)."""
    crowd = Crowd(tmp_path / "log.wal", seed=1)
    try:
        crowd.work(runs=30, seconds=2.5)
        crowd.settle()
        crowd.check()
        assert crowd.kills > 3
        assert crowd.ticks.info().fires >= 1
    finally:
        crowd.close()
