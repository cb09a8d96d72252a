"""Workers and ``recover``: what was left unfinished goes on, once, and what keeps dying is parked."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import THREAD, Way, asks, chain, killed, leaves, on
from worker_helpers import (
    KILLS_ITSELF,
    PATIENCE,
    WORKER,
    elsewhere,
    life,
    long_here,
    named_dies,
    result,
    until,
    working,
)

from walgraph import (
    GraphDrained,
    Log,
    RunControl,
    RunHandle,
    Worker,
    arecover,
    entrypoint,
    recover,
    submit,
    wait_for,
)
from walgraph.engine.finding import Finder
from walgraph.engine.worker import served


def recovered(way: Way, log: Log, graphs: Any, **options: Any) -> list[Any]:
    """Return what ``recover`` or ``arecover`` says."""
    if way.is_async:
        return asyncio.run(arecover(log, graphs, **options))
    return recover(log, graphs, **options)


def test_recover_carries_on_what_was_killed(way: Way, tmp_path: Path) -> None:
    """A run of ``invoke`` whose process died goes on where it was; nothing recorded runs again."""
    path = tmp_path / "log.wal"
    killed(KILLS_ITSELF, path)
    ran: list[str] = []

    def never(state: Any) -> dict[str, Any]:
        raise AssertionError

    never.__name__ = "a"
    with Log.open(path) as log:
        mended = named_dies(lambda _: ran.append("mended") or {"trail": ["mended"]})
        graph = chain(never, mended, leaves("b")).compile(log, name="chain")
        (carried,) = recovered(way, log, [graph])
        assert (carried.thread_id, carried.how, carried.output) == (
            "t",
            "done",
            {"trail": ["a", "mended", "b"]},
        )
        assert ran == ["mended"]
        assert recovered(way, log, [graph]) == []


def test_recover_leaves_alone_what_it_has_no_program_for(way: Way, tmp_path: Path) -> None:
    """It says so, and the thread is as it was."""
    path = tmp_path / "log.wal"
    killed(KILLS_ITSELF, path)
    with Log.open(path) as log:
        other = chain(leaves("a")).compile(log, name="other")
        (carried,) = recovered(way, log, {"other": other})
        assert (carried.how, carried.thread_id, carried.graph) == ("left alone", "t", "chain")
        assert "no program" in carried.reason
        head = log.head("t")
        assert head is not None
        assert head.status == "crashed"


def test_recover_leaves_alone_what_the_code_does_not_fit(way: Way, tmp_path: Path) -> None:
    """A graph that has lost what is pending is reported with what is missing; other code can still go on."""
    path = tmp_path / "log.wal"
    killed(KILLS_ITSELF, path)
    with Log.open(path) as log:
        (carried,) = recovered(way, log, chain(leaves("a")).compile(log, name="chain"))
        assert carried.how == "left alone"
        assert "dies" in carried.reason
        whole = chain(leaves("a"), named_dies(leaves("x")), leaves("b")).compile(log, name="chain")
        assert [each.how for each in recovered(way, log, whole)] == ["done"]


def test_recover_tells_of_failures_and_questions(way: Way, log: Log) -> None:
    """A drained run that then fails, or asks, is told as such; a failed or asking one is not begun again."""

    def fails(state: Any) -> dict[str, Any]:
        raise ValueError("broken")

    graphs = [
        chain(leaves("a"), fails).compile(log, name="f"),
        chain(leaves("a"), asks("q", "?")).compile(log, name="q"),
    ]
    for graph in graphs:
        control = RunControl()
        control.request_drain()
        with pytest.raises(GraphDrained):
            graph.invoke({"trail": []}, on(graph.name), control=control)
    told = {each.thread_id: each for each in recovered(way, log, graphs)}
    assert {thread: each.how for thread, each in told.items()} == {"f": "failed", "q": "interrupted"}
    assert isinstance(told["f"].error, ValueError)
    assert told["q"].output["__interrupt__"][0].value == "?"
    assert recovered(way, log, graphs) == []


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped and killed"])
def test_a_killed_workers_run_is_taken_over(way: Way, tmp_path: Path, is_killed: bool) -> None:
    """Another process's run goes on here once the kernel has let go of its claim, behind what is recorded.

    A process that is only stopped keeps what it has: nobody takes that over before it is killed.
    """
    with Log.open(tmp_path / "log.wal") as log:
        called: list[int] = []
        long = long_here(log, called)
        handle = submit(long, 10, "t", durability="sync")
        with elsewhere(WORKER, log.path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"
            with working(way, log, long):
                if not is_killed:
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(0.1)
                    assert called == []
                process.kill()
                assert result(way, handle) == sum(range(10))
        assert 0 < len(called) <= 10


def test_a_worker_leaves_alone_what_it_has_no_program_for(way: Way, log: Log) -> None:
    """What was handed over waits, what crashed is listed; a worker that has the graph does both."""
    mine = chain(leaves("a")).compile(log, name="mine")
    control = RunControl()
    control.request_drain()
    with pytest.raises(GraphDrained):
        chain(leaves("a"), leaves("b")).compile(log, name="other").invoke(
            {"trail": []}, on("drained"), control=control
        )
    waits = submit("other", {"trail": []}, "waits", log=log)
    with working(way, log, mine) as worker:
        until(lambda: worker.left)
        assert result(way, submit(mine, {"trail": []})) == {"trail": ["a"]}
        assert [(each.thread_id, each.reason) for each in worker.left] == [
            ("drained", "no program here for graph 'other'")
        ]
        assert waits.status() == "queued"
    whole = chain(leaves("a"), leaves("b")).compile(log, name="other")
    with working(way, log, [mine, whole]):
        assert result(way, waits) == {"trail": ["a", "b"]}
        until(lambda: log.head("drained").status == "done")


def test_two_workers_that_race_for_a_thread_carry_it_on_once(way: Way, log: Log) -> None:
    """Each of many runs is carried out by one of them, and neither says a word about the others."""
    told: list[str] = []
    ran: list[str] = []
    graph = chain(named_dies(lambda state: ran.append(state["x"]) or {})).compile(log)
    handles = [submit(graph, {"x": str(n)}, f"t{n}") for n in range(20)]
    note = lambda carried: told.append(carried.how)  # noqa: E731 - a word for the two lines below
    with working(way, log, graph, on_end=note), working(way, log, graph, on_end=note):
        for handle in handles:
            result(way, handle)
    assert sorted(ran) == sorted(str(n) for n in range(20))
    assert told == ["done"] * 20


def test_a_thread_that_invoke_runs_keeps_what_was_handed_over_waiting(log: Log) -> None:
    """A submission to a thread that is busy with ``invoke`` has its turn when that is over."""
    begun, may_end = threading.Event(), threading.Event()

    def slow(state: Any) -> dict[str, Any]:
        begun.set()
        may_end.wait(PATIENCE)
        return {"trail": ["ran"]}

    graph = chain(slow).compile(log)
    caller = threading.Thread(target=graph.invoke, args=({"trail": ["first"]}, THREAD))
    with Worker(log, graph):
        caller.start()
        assert begun.wait(PATIENCE)
        handle = submit(graph, {"trail": ["second"]}, "t")
        time.sleep(0.05)
        assert handle.status() == "queued"
        may_end.set()
        assert handle.result(PATIENCE) == {"trail": ["first", "ran", "second", "ran"]}
        caller.join()


def test_a_run_whose_end_was_not_noted_is_not_run_again(way: Way, tmp_path: Path) -> None:
    """Killed between the end of a run and the note of it: the next worker only notes what the records say."""
    path = tmp_path / "log.wal"
    program = """
    import os, signal, sys
    from helpers import asks, chain, leaves
    from walgraph import Log, Worker
    from walgraph.wal.submissions import Submissions

    Submissions.end = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)

    def dies(state):
        raise ValueError("broken")

    with Log.open(sys.argv[1]) as log:
        ends = {"done": leaves("x"), "interrupted": asks("x", "sure?"), "failed": dies}
        graphs = [chain(leaves("a"), end).compile(log, name=how) for how, end in ends.items()]
        Worker(log, graphs).run()
    """

    def never(state: Any) -> dict[str, Any]:
        raise AssertionError

    for how, last in (("done", "x"), ("interrupted", "x"), ("failed", "dies")):
        with Log.open(path) as log:
            never.__name__ = last
            graph = chain(leaves("a"), never).compile(log, name=how)
            handle = submit(graph, {"trail": []}, how)
        assert life(program, path) == -signal.SIGKILL
        with Log.open(path) as log:
            handle = RunHandle(log, handle.run_id)
            graph = chain(leaves("a"), never).compile(log, name=how)
            with working(way, log, graph):
                if how == "failed":
                    with pytest.raises(Exception, match="broken"):
                        result(way, handle)
                else:
                    found = result(way, handle)
                    assert found["trail"] == (["a", "x"] if how == "done" else ["a"])
                    assert ("__interrupt__" in found) == (how == "interrupted")
            assert handle.status() == how


def test_a_run_that_gave_way_to_another_input_is_not_run_again(tmp_path: Path) -> None:
    """Whoever gives a crashed thread another input has the last word: the run is told as superseded."""
    path = tmp_path / "log.wal"
    program = """
    import os, signal, sys
    from helpers import chain, leaves
    from walgraph import Log, Worker

    def dies(state):
        os.kill(os.getpid(), signal.SIGKILL)

    with Log.open(sys.argv[1]) as log:
        Worker(log, chain(leaves("a"), dies).compile(log, name="chain"), durability="sync").run()
    """
    with Log.open(path) as log:
        graph = chain(leaves("a"), named_dies(leaves("x"))).compile(log, name="chain")
        handle = submit(graph, {"trail": ["first"]}, "t")
    assert life(program, path) == -signal.SIGKILL
    with Log.open(path) as log:
        graph = chain(leaves("a"), named_dies(leaves("x"))).compile(log, name="chain")
        handle = RunHandle(log, handle.run_id)
        assert handle.status() == "crashed"
        graph.invoke({"trail": ["second"]}, THREAD)
        with Worker(log, graph):
            until(lambda: handle.status() == "superseded")
        assert graph.get_state(THREAD).values == {"trail": ["first", "a", "second", "a", "x"]}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_worker_does_nothing_and_its_parent_goes_on(tmp_path: Path) -> None:
    """A child of a worker's process has no runs; it may leave the worker's block, and open the log for itself."""
    with Log.open(tmp_path / "log.wal") as log:
        graph = chain(leaves("a")).compile(log)
        with Worker(log, graph) as worker:
            assert submit(graph, {"trail": []}, "t").result(PATIENCE) == {"trail": ["a"]}
            child = os.fork()
            if not child:
                try:
                    worker.run()
                    worker.__exit__(None, None, None)
                    submit(graph, {"trail": []}, "u", run_id="child's")
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert RunHandle(log, "child's").result(PATIENCE) == {"trail": ["a"]}


def test_a_worker_whose_log_fails_says_so(log: Log) -> None:
    """What is wrong with the log ends the worker, and comes out of it."""
    from walgraph import LogClosed

    graph = chain(leaves("a")).compile(log)
    worker = Worker(log, graph)
    log.close()
    with pytest.raises(LogClosed):
        worker.run()


def test_what_on_end_raises_ends_the_worker(way: Way, log: Log) -> None:
    """Nothing that the user's function raises is swallowed; the run itself has ended well."""

    def on_end(carried: Any) -> None:
        raise ZeroDivisionError

    graph = chain(leaves("a")).compile(log)
    handle = submit(graph, {"trail": []}, "t")

    def work() -> None:
        with working(way, log, graph, on_end=on_end):
            result(way, handle)

    with pytest.raises(ZeroDivisionError):
        work()
    assert handle.status() == "done"


def test_a_signal_that_comes_between_a_wait_and_the_note_of_it_wakes(log: Log) -> None:
    """A worker that looked just then took the signal for one that it had dealt with, and nobody ever woke the run."""

    @entrypoint(log, name="waits")
    def waits(given: int) -> Any:
        return wait_for("go")

    submit(waits, 1, "t", run_id="r")
    with Worker(log, waits):
        until(lambda: (found := log.submissions().get("r")) is not None and found.state == "suspended")
    finder = Finder(log, served(log, waits, None, {}))
    # As it stands when the run has come to its wait, and whoever carried it out has not noted it yet.
    assert log.submissions(write=True).start("r", since=0, now=1) is not None
    log.signal("t", "go", "now")
    assert list(finder.due()) == []
    log.submissions(write=True).suspend("r")
    (found,) = finder.due()
    assert found.carry_out().how == "done"
