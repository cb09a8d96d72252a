"""Cancelling: what waits, what is parked, and what runs, in this process or another one."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import THREAD, Way, asks, chain, killed, leaves, on, steps_of
from subgraph_helpers import Ran
from worker_helpers import KILLS_ITSELF, PATIENCE, elsewhere, named_dies, result, until, working

from walgraph import (
    Command,
    GraphDrained,
    Log,
    RunCancelled,
    RunControl,
    StateUpdate,
    ThreadBusy,
    ThreadNotFound,
    entrypoint,
    interrupt,
    recover,
    submit,
    task,
)
from walgraph.tools.mortal import deaths


def status(log: Log, thread: str = "t") -> str | None:
    """Return how a thread stands."""
    head = log.head(thread)
    return None if head is None else head.status


def test_a_question_that_is_cancelled_cannot_be_answered(way: Way, log: Log, durability: str) -> None:
    """The run is listed as cancelled with the reason; neither an answer nor None takes it up, a new input does."""
    graph = chain(leaves("a"), asks("ask", "sure?")).compile(log)
    way.invoke(graph, {"trail": []}, durability=durability)
    assert log.cancel("t", reason="too late") is True
    assert [head.thread_id for head in log.threads(status="cancelled")] == ["t"]
    before = steps_of(log)
    for given in (None, Command(resume="yes"), Command(goto="a")):
        with pytest.raises(RunCancelled, match="too late"):
            way.invoke(graph, given)
    assert steps_of(log) == before
    assert log.cancel("t") is False
    assert way.invoke(graph, {"trail": ["new"]}, durability=durability)["trail"] == ["a", "new", "a"]


def test_what_a_cancelled_run_recorded_stays_and_can_be_edited_or_branched_off(log: Log) -> None:
    """State and history are there; ``update_state`` and a checkpoint's id lead on from them."""
    graph = chain(leaves("a"), asks("ask", "sure?")).compile(log)
    graph.invoke({"trail": []}, THREAD)
    log.cancel("t")
    history = list(graph.get_state_history(THREAD))
    assert history[0].values == {"trail": ["a"]}
    branch = graph.invoke(None, history[1].config)
    assert branch["__interrupt__"][0].value == "sure?"
    log.cancel("t")
    graph.bulk_update_state(THREAD, [[StateUpdate({"trail": ["edited"]}, "ask")]])
    assert graph.invoke(None, THREAD) == {"trail": ["a", "edited"]}


def test_a_crashed_and_a_drained_run_can_be_cancelled(tmp_path: Path) -> None:
    """Neither is recovered after that."""
    path = tmp_path / "log.wal"
    killed(KILLS_ITSELF, path)
    with Log.open(path) as log:
        graph = chain(leaves("a"), named_dies(leaves("x")), leaves("b")).compile(log, name="chain")
        control = RunControl()
        control.request_drain()
        with pytest.raises(GraphDrained):
            graph.invoke({"trail": []}, on("drained"), control=control)
        assert log.cancel("t")
        assert log.cancel("drained")
        assert recover(log, graph) == []
        assert [head.status for head in log.threads()] == ["cancelled", "cancelled"]


def test_runs_that_wait_are_cancelled_all_or_one_by_one(way: Way, log: Log) -> None:
    """By its handle one run, by the thread all that was handed over for it; the others go on."""
    graph = chain(leaves("a")).compile(log)
    handles = [submit(graph, {"trail": [str(n)]}, "t") for n in range(3)]
    other = [submit(graph, {"trail": []}, "u") for _ in range(2)]
    assert [head.thread_id for head in log.threads(status="queued")] == ["t", "u"]
    assert list(log.threads()) == []
    assert handles[1].cancel("not this one") is True
    assert log.cancel("u") is True
    assert [head.thread_id for head in log.threads(status="queued")] == ["t"]
    with working(way, log, graph):
        assert result(way, handles[2]) == {"trail": ["0", "a", "2", "a"]}
        for each in (handles[1], *other):
            with pytest.raises(RunCancelled):
                result(way, each)
    assert (handles[1].status(), handles[1].cancel()) == ("cancelled", False)
    assert list(log.threads(status="queued")) == []


def test_a_run_of_this_process_stops_before_its_next_step(way: Way, log: Log, durability: str) -> None:
    """What runs ends and is recorded; then the caller is told, and other runs of the same control go on."""
    ran: list[str] = []

    def cancels(state: Any) -> dict[str, Any]:
        ran.append("cancels")
        assert log.cancel("t", reason="changed my mind") is True
        return {"trail": ["cancels"]}

    graph = chain(cancels, leaves("never")).compile(log)
    control = RunControl()
    with pytest.raises(RunCancelled, match="changed my mind"):
        way.invoke(graph, {"trail": []}, durability=durability, control=control)
    assert control.drain_requested is False
    assert status(log) == "cancelled"
    assert graph.get_state(THREAD).values == {"trail": ["cancels"]}


def test_a_long_entrypoint_stops_before_its_next_call(way: Way, log: Log) -> None:
    """So does one within a subgraph, which is told with the run around it."""
    called: list[int] = []

    @task
    def step(n: int) -> int:
        called.append(n)
        if n == 2:
            log.cancel("t")
        return n

    def inner(total: int) -> Any:
        for n in range(total):
            yield step(n)
        return total

    inside = entrypoint()(way.flow(inner))

    def outer(total: int) -> Any:
        return inside.invoke(total)

    async def aouter(total: int) -> Any:
        return await inside.ainvoke(total)

    graph = entrypoint(log)(aouter if way.is_async else outer)
    with pytest.raises(RunCancelled):
        way.invoke(graph, 10)
    assert called == [0, 1, 2]
    assert status(log) == "cancelled"


@pytest.mark.parametrize("is_wide", [False, True], ids=["one", "several"])
def test_a_coroutine_that_waits_is_cancelled_at_once(log: Log, is_wide: bool) -> None:
    """It need not come to its end; what beside it has ended is recorded."""
    stopped: list[str] = []
    begun = threading.Event()

    async def waits(state: Any) -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            stopped.append("waits")
            raise
        return {}

    from helpers import Trail

    from walgraph import START, StateGraph

    builder = StateGraph(Trail).add_node("waits", waits).add_edge(START, "waits")
    if is_wide:
        builder.add_node("quick", leaves("quick")).add_edge(START, "quick")
    graph = builder.compile(log)

    def cancel() -> None:
        begun.wait(PATIENCE)
        until(lambda: not is_wide or "TaskFinished" in steps_of(log)[3:])
        log.cancel("t")

    caller = threading.Thread(target=cancel)
    caller.start()

    async def main() -> None:
        with pytest.raises(RunCancelled):
            await asyncio.wait_for(graph.ainvoke({"trail": []}, THREAD), PATIENCE)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())
    caller.join()
    assert stopped == ["waits"]
    assert status(log) == "cancelled"
    assert graph.get_state(THREAD).values == {"trail": ["quick"] if is_wide else []}


def test_a_run_of_a_worker_is_cancelled_by_its_handle(way: Way, log: Log) -> None:
    """The handle says so, and the thread's next run has its turn."""
    begun, may_end = threading.Event(), threading.Event()

    def slow(state: Any) -> dict[str, Any]:
        begun.set()
        may_end.wait(PATIENCE)
        return {"trail": ["slow"]}

    graph = chain(slow, leaves("after")).compile(log)
    with working(way, log, graph):
        first = submit(graph, {"trail": []}, "t")
        second = submit(graph, {"trail": ["second"]}, "t")
        assert begun.wait(PATIENCE)
        assert first.cancel() is True
        may_end.set()
        with pytest.raises(RunCancelled):
            result(way, first)
        assert result(way, second) == {"trail": ["slow", "second", "slow", "after"]}


WAITS = """
import asyncio, sys, time
from helpers import chain, leaves
from walgraph import Log, RunCancelled

log = Log.open(sys.argv[1])

def slow(state):
    time.sleep(0.01)
    return {"trail": ["slow"]} if len(state["trail"]) < 3000 else {}

async def waits(state):
    await asyncio.sleep(1000)

def again(state):
    return "slow"

graph = chain(slow, leaves("b"))
graph.add_conditional_edges("b", again)
graph = (graph if sys.argv[2] == "sync" else chain(waits)).compile(log, name="g")
print("ready", flush=True)
config = {"configurable": {"thread_id": "t"}}
options = {"durability": sys.argv[3]}
try:
    if sys.argv[2] == "sync":
        graph.invoke({"trail": []}, config, **options)
    else:
        asyncio.run(graph.ainvoke({"trail": []}, config, **options))
except RunCancelled as error:
    print(error.message, flush=True)
"""


def test_a_run_of_another_process_is_cancelled(way: Way, tmp_path: Path, durability: str) -> None:
    """A wish reaches it between two steps, or while its coroutines wait; deleting the thread meanwhile is refused."""
    with Log.open(tmp_path / "log.wal") as log, elsewhere(WAITS, log.path, way.name, durability) as process:
        assert process.stdout is not None
        until(lambda: log.is_claimed("t"))
        with pytest.raises(ThreadBusy):
            log.delete_thread("t")
        # A run that has only just claimed its thread does not listen yet, and drops what it takes for older than it.
        time.sleep(0.2)
        assert log.cancel("t", reason="from afar") is True
        assert "from afar" in process.stdout.readline()
        assert process.wait(PATIENCE) == 0
        until(lambda: status(log) == "cancelled")
        assert log.submissions().wishes() == []


def test_a_wish_from_before_cancels_no_later_run(tmp_path: Path) -> None:
    """A wish that came when its run had just ended is dropped by the next one."""
    from walgraph.wal.submission_layout import Wish

    with Log.open(tmp_path / "log.wal") as log:
        graph = chain(leaves("a"), named_dies(lambda _: time.sleep(0.2) or {})).compile(log)
        log.submissions(write=True).wish(Wish("t", "", "old", 1))
        assert graph.invoke({"trail": []}, THREAD)["trail"] == ["a"]
        assert log.submissions().wishes() == []


def test_a_thread_that_is_not_there_cannot_be_cancelled(log: Log, ran: Ran) -> None:
    """A wrong name is told; a thread that is done has nothing to cancel."""
    with pytest.raises(ThreadNotFound):
        log.cancel("nobody")
    graph = chain(leaves("a")).compile(log)
    graph.invoke({"trail": []}, THREAD)
    assert log.cancel("t") is False
    assert status(log) == "done"


def test_what_is_recorded_can_be_read(log: Log) -> None:
    """``records`` yields each record with its seq, from where one likes."""
    graph = chain(leaves("a")).compile(log)
    graph.invoke({"trail": []}, THREAD)
    stored = list(log.records("t"))
    assert [each.seq for each in stored] == list(range(1, len(stored) + 1))
    assert [type(each.record).__name__ for each in stored][:2] == ["ThreadCreated", "RunStarted"]
    assert [each.seq for each in log.records("t", after=2, upto=4)] == [3, 4]
    with pytest.raises(ThreadNotFound):
        next(log.records("nobody"))


def test_a_kill_while_cancelling_leaves_all_or_nothing() -> None:
    """Killed before or after each commit of a cancellation: it can be repeated, and nobody goes on."""

    def prepare(log: Log) -> Any:
        graph = chain(leaves("a"), asks("ask", "sure?")).compile(log)
        graph.invoke({"trail": []}, THREAD, durability="sync")
        return None

    fates = 0
    for disk, _, (_, when) in deaths(prepare, lambda log, _: log.cancel("t", reason="why")):
        with disk.process() as log:
            head = log.head("t")
            assert head is not None
            assert head.status == ("interrupted" if when == "before" else "cancelled")
            assert log.cancel("t") is (when == "before")
            graph = chain(leaves("a"), asks("ask", "sure?")).compile(log)
            with pytest.raises(RunCancelled):
                graph.invoke(Command(resume="yes"), THREAD)
            assert steps_of(log).count("RunEnded") == 2
            fates += 1
    assert fates == 2


def test_a_run_that_pauses_while_it_is_cancelled_is_cancelled(way: Way, log: Log, durability: str) -> None:
    """A question that is asked when the cancellation has come already is asked of nobody."""

    def asks_too_late(state: Any) -> dict[str, Any]:
        log.cancel("t", reason="enough")
        return {"trail": [interrupt("sure?")]}

    graph = chain(leaves("a"), asks_too_late).compile(log)
    with pytest.raises(RunCancelled, match="enough"):
        way.invoke(graph, {"trail": []}, durability=durability)
    assert status(log) == "cancelled"
    with pytest.raises(RunCancelled):
        way.invoke(graph, Command(resume="yes"))
    assert graph.get_state(THREAD).values == {"trail": ["a"]}


DIES = """
import os, sys, time
from helpers import chain, leaves
from walgraph import Log

log = Log.open(sys.argv[1])
hears = sys.argv[2] == "heard"
if not hears:
    log.watch._look = lambda: None

def dies(state):
    print("ready", flush=True)
    while not (hears and log.watch._heard):
        time.sleep(0.001)
    time.sleep(0.3)
    os.kill(os.getpid(), 9)

graph = chain(leaves("a"), dies).compile(log, name="chain")
graph.invoke({"trail": []}, {"configurable": {"thread_id": "t"}})
"""


@pytest.mark.parametrize("how", ["unheard", "heard"])
def test_a_cancellation_outlives_the_process_that_was_to_hear_it(tmp_path: Path, how: str) -> None:
    """A process that dies before it has recorded the end leaves the wish to whoever takes its run over.

    The wish used to count as one from before the run, since whoever takes it over listens only then.
    """
    with Log.open(tmp_path / "log.wal") as log:
        with elsewhere(DIES, log.path, how) as process:
            assert log.cancel("t", reason="from afar") is True
            if how == "unheard":
                process.kill()
            process.wait(PATIENCE)
        assert status(log) == "crashed"
        ran: list[str] = []
        graph = chain(leaves("a"), named_dies(lambda _: ran.append("dies") or {})).compile(log, name="chain")
        assert [each.how for each in recover(log, graph)] == ["cancelled"]
        assert (status(log), ran, log.submissions().wishes()) == ("cancelled", [], [])
        assert graph.invoke({"trail": ["new"]}, THREAD)["trail"] == ["a", "new", "a"]


def test_a_call_that_is_only_waited_for_to_end_is_cancelled_too(log: Log) -> None:
    """Its caller has stopped to ask; what it still runs used to go on, and wrote behind the end of the run."""
    stopped: list[str] = []

    @task
    async def slow() -> None:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            stopped.append("slow")
            raise

    @task
    async def asks_you() -> Any:
        return interrupt("sure?")

    @entrypoint(log)
    async def flow(_: Any) -> None:
        await asyncio.gather(slow(), asks_you())

    async def main() -> None:
        running = asyncio.ensure_future(flow.ainvoke(1, THREAD))
        await asyncio.to_thread(until, lambda: log.head("t") and "TaskInterrupted" in steps_of(log))
        await asyncio.to_thread(log.cancel, "t")
        with pytest.raises(RunCancelled):
            await running
        await asyncio.sleep(0.3)

    asyncio.run(main())
    assert (stopped, status(log), steps_of(log)[-1]) == (["slow"], "cancelled", "RunEnded")
