"""Sleeping: in place, parked, after restarts, and beside everything else that stops a task."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from helpers import Way, killed
from timer_helpers import NOON, THREAD, State, at_noon, beside, in_turn, kinds, waits

from walgraph import (
    START,
    Command,
    GraphDrained,
    Log,
    MemoryLog,
    RetryPolicy,
    RunControl,
    StateGraph,
    Suspension,
    entrypoint,
    interrupt,
    sleep,
    sleep_until,
    task,
)
from walgraph.replay.errors import NonDeterminism

WEEK = timedelta(days=7)


def test_a_short_sleep_is_waited_for_in_place(way: Way, log: Log) -> None:
    """The run goes on by itself, and the log says what happened."""

    def a(_):
        yield lambda: sleep(30)
        yield lambda: sleep(timedelta(seconds=20))
        return {"a": 1}

    with at_noon() as clock:
        assert way.invoke(in_turn(way, log, a), {}) == {"a": 1}
        assert clock.now() == NOON + timedelta(seconds=50)
    assert kinds(log).count("TimerSet") == kinds(log).count("TimerFired") == 2
    assert log.head("t").status == "done"


@pytest.mark.parametrize(("seconds", "is_parked"), [(60, False), (60.5, True)])
def test_a_minute_is_the_longest_sleep_in_place(way: Way, log: Log, seconds: float, is_parked: bool) -> None:
    """Where nobody said ``park_after``."""

    def a(_):
        yield lambda: sleep(seconds)
        return {"a": 1}

    with at_noon():
        assert ("__suspended__" in way.invoke(in_turn(way, log, a), {})) == is_parked


def test_a_long_sleep_parks_the_run_until_it_is_due(way: Way, log: Log, durability: str) -> None:
    """It ends as sleeping, is found by its time, stays asleep before it, and goes on after it."""
    ran: list[str] = []

    def a(_):
        ran.append("before")
        yield lambda: sleep(WEEK)
        ran.append("after")
        return {"a": 1}

    graph = in_turn(way, log, a)
    with at_noon() as clock:
        asleep = {"__suspended__": [Suspension("sleep", "a", NOON + WEEK)]}
        assert way.invoke(graph, {"b": 2}, durability=durability) == {"b": 2, **asleep}
        head = log.head("t")
        assert (head.status, head.due_at, head.next) == ("sleeping", NOON + WEEK, ("a",))
        clock.advance(WEEK - timedelta(seconds=1))
        assert list(log.due(clock.now())) == []
        assert way.invoke(graph, None, durability=durability) == {"b": 2, **asleep}
        assert (log.head("t").seq, ran) == (head.seq, ["before"])
        clock.advance(1)
        assert [each.thread_id for each in log.due(clock.now())] == ["t"]
        assert way.invoke(graph, None, durability=durability) == {"a": 1, "b": 2}
    assert ran == ["before", "before", "after"]
    assert (log.head("t").status, log.head("t").due_at) == ("done", None)
    assert list(log.due(NOON + 2 * WEEK)) == []


def test_a_thread_is_due_at_the_very_time_that_it_names(way: Way, log: Log) -> None:
    """Times are shown to the microsecond, and wall clocks count nanoseconds: it was due some of these later."""

    def a(_):
        yield lambda: sleep(WEEK)
        return {"a": 1}

    with at_noon() as clock:
        clock.sleep(1.5e-7)
        graph = in_turn(way, log, a)
        until = way.invoke(graph, {})["__suspended__"][0].until
        clock.set(until)
        assert way.invoke(graph, None) == {"a": 1}


def test_only_the_rest_is_slept_when_parking_is_for_longer_sleeps(way: Way, log: Log) -> None:
    """``park_after`` says what is waited for in place, from call to call."""

    def a(_):
        yield lambda: sleep(3600)
        return {"a": 1}

    graph = in_turn(way, log, a)
    with at_noon() as clock:
        way.invoke(graph, {}, {**THREAD, "park_after": 0})
        clock.advance(3000)
        assert "__suspended__" in way.invoke(graph, None)
        clock.set(NOON + timedelta(seconds=3600))
        assert way.invoke(graph, None, {**THREAD, "park_after": timedelta(hours=2)}) == {"a": 1}
        assert clock.now() == NOON + timedelta(seconds=3600)
        assert way.invoke(graph, {}, {"configurable": {"thread_id": "u"}, "park_after": 3600}) == {"a": 1}
        assert clock.now() == NOON + timedelta(hours=2)


def test_a_sleep_until_a_moment_goes_by_the_clock(way: Way, log: Log) -> None:
    """A moment that has passed is over at once, and recorded nowhere."""

    def a(_):
        yield lambda: sleep_until(NOON - WEEK)
        yield lambda: sleep_until(NOON + WEEK)
        return {"a": 1}

    graph = in_turn(way, log, a)
    with at_noon() as clock:
        assert way.invoke(graph, {})["__suspended__"] == [Suspension("sleep", "a", NOON + WEEK)]
        clock.set(NOON + WEEK)
        assert way.invoke(graph, None) == {"a": 1}
    assert kinds(log).count("TimerSet") == 1


def test_siblings_finish_and_each_sleep_ends_by_itself(way: Way, log: Log) -> None:
    """Of several that sleep, those whose time has come go on, and no other is run again."""
    ran: list[str] = []

    def sleeper(name: str, days: int):
        def node(_):
            ran.append(name)
            if days:
                yield lambda: sleep(timedelta(days=days))
            return {name: days}

        node.__name__ = name
        return node

    graph = beside(way, log, sleeper("a", 7), sleeper("b", 0), sleeper("c", 3))
    with at_noon() as clock:
        first = way.invoke(graph, {})
        assert first["b"] == 0
        assert [each.name for each in first["__suspended__"]] == ["a", "c"]
        assert log.head("t").due_at == NOON + timedelta(days=3)
        clock.advance(timedelta(days=3))
        assert [each.name for each in way.invoke(graph, None)["__suspended__"]] == ["a"]
        assert log.head("t").due_at == NOON + WEEK
        clock.advance(timedelta(days=4))
        assert way.invoke(graph, None) == {"a": 7, "b": 0, "c": 3}
    assert sorted(ran) == ["a", "a", "b", "c", "c"]


def test_tasks_and_entrypoints_sleep(way: Way, log: Log) -> None:
    """A sleep within a call parks the call and its callers; what had finished is not called again."""
    ran: list[str] = []

    def quick():
        ran.append("quick")
        return 1

    def slow():
        ran.append("slow")
        yield lambda: sleep(WEEK)
        return 2

    quickly, slowly = task(way.node(quick)), task(waits(way, slow))

    def main(_):
        sleep(1)
        return [quickly().result(), slowly().result()]

    async def amain(_):
        await sleep(1)
        return [await quickly(), await slowly()]

    graph = entrypoint(checkpointer=log)(amain if way.is_async else main)
    with at_noon() as clock:
        (asleep,) = way.invoke(graph, 0).pop("__suspended__")
        assert asleep.until == NOON + timedelta(seconds=1) + WEEK
        assert way.invoke(graph, None)["__suspended__"]
        clock.advance(WEEK + timedelta(seconds=1))
        assert way.invoke(graph, None) == [1, 2]
    assert ran == ["quick", "slow", "slow"]


@pytest.mark.parametrize("kept", [None, True, False])
def test_subgraphs_sleep(way: Way, log: Log, kept: bool | None) -> None:
    """At any depth, whether the subgraph's history is kept, goes on, or is nobody's."""
    ran: list[str] = []

    def inner(_):
        ran.append("inner")
        yield lambda: sleep(1)
        yield lambda: sleep(WEEK)
        return {"a": 1}

    child = in_turn(way, kept, inner)
    graph = StateGraph(State).add_node("child", child).add_edge(START, "child").compile(checkpointer=log)
    with at_noon() as clock:
        assert way.invoke(graph, {"b": 0})["__suspended__"][0].until == NOON + timedelta(seconds=1) + WEEK
        assert log.head("t").status == "sleeping"
        seq = log.head("t").seq
        assert "__suspended__" in way.invoke(graph, None)
        assert log.head("t").seq == seq
        clock.advance(2 * WEEK)
        assert way.invoke(graph, None) == {"a": 1, "b": 0}
    assert ran == ["inner", "inner"]


def test_a_sleep_beside_a_question(way: Way, log: Log) -> None:
    """The run is interrupted, and due all the same; an answer wakes who asked, and the time who sleeps."""

    def a(_):
        yield lambda: sleep(WEEK)
        return {"a": 1}

    def b(_):
        answer = yield lambda: interrupt("sure?")
        return {"b": answer}

    graph = beside(way, log, a, b)
    with at_noon() as clock:
        first = way.invoke(graph, {})
        assert first["__interrupt__"][0].value == "sure?"
        assert first["__suspended__"] == [Suspension("sleep", "a", NOON + WEEK)]
        assert (log.head("t").status, log.head("t").due_at) == ("interrupted", NOON + WEEK)
        assert way.invoke(graph, Command(resume="yes")) == {
            "b": "yes",
            "__suspended__": first["__suspended__"],
        }
        assert log.head("t").status == "sleeping"
        clock.advance(WEEK)
        assert way.invoke(graph, None) == {"a": 1, "b": "yes"}


def test_a_sleep_is_shown_in_streams(way: Way, log: Log) -> None:
    """As an update, and by version 2 as a field of the output."""

    def a(_):
        yield lambda: sleep(WEEK)
        return {"a": 1}

    graph = in_turn(way, log, a)
    with at_noon():
        chunks = way.stream(graph, {}, stream_mode="updates")
        assert chunks[-1] == {"__suspended__": (Suspension("sleep", "a", NOON + WEEK),)}
        output = way.invoke(graph, None, version="v2")
        assert output.suspended == (Suspension("sleep", "a", NOON + WEEK),)
        assert graph.get_state(THREAD).next == ("a",)


def test_a_retry_does_not_sleep_again(way: Way, log: Log) -> None:
    """What an attempt slept is slept for the next one, also when that one runs in another process."""
    left = iter([1, 2])

    def a(_):
        yield lambda: sleep(50)
        if next(left, None):
            raise ConnectionError
        yield lambda: sleep(WEEK)
        return {"a": 1}

    graph = in_turn(way, log, a, retry_policy=RetryPolicy(initial_interval=1, backoff_factor=1, jitter=False))
    with at_noon() as clock:
        way.invoke(graph, {})
        assert clock.now() == NOON + timedelta(seconds=52)
        clock.advance(WEEK)
        assert way.invoke(graph, None) == {"a": 1}


def test_a_clock_that_is_put_back_neither_fires_early_nor_for_ever(way: Way, log: Log) -> None:
    """A sleep for a time begins anew, once; a sleep until a moment waits for that moment."""

    def a(_):
        yield lambda: sleep(WEEK)
        return {"a": 1}

    def b(_):
        yield lambda: sleep_until(NOON + WEEK)
        return {"b": 1}

    graph = beside(way, log, a, b)
    year = timedelta(days=365)
    with at_noon() as clock:
        way.invoke(graph, {})
        clock.set(NOON - year)
        again = way.invoke(graph, None)["__suspended__"]
        assert [each.until for each in again] == [NOON - year + WEEK, NOON + WEEK]
        clock.advance(WEEK)
        assert [each.name for each in way.invoke(graph, None)["__suspended__"]] == ["b"]
        clock.set(NOON + WEEK)
        assert way.invoke(graph, None) == {"a": 1, "b": 1}


def test_a_clock_that_is_put_back_during_a_nap_lengthens_it_by_itself_at_most(way: Way, log: Log) -> None:
    """Who waits in place looks at the clock again and again."""

    def a(_):
        yield lambda: sleep(10)
        return {"a": 1}

    with at_noon() as clock:
        before, naps = clock.sleep, iter(range(10_000))

        def sleep_and_jump(seconds: float) -> None:
            before(seconds)
            if next(naps) == 20:
                clock.advance(-3600)

        clock.sleep = sleep_and_jump  # type: ignore[method-assign]
        assert way.invoke(in_turn(way, log, a), {}) == {"a": 1}
        assert next(naps) < 450
    assert kinds(log).count("TimerSet") == 2


def test_a_drain_stops_who_waits_in_place(way: Way) -> None:
    """The run ends as drained within a moment, and sleeps only the rest when it is taken up again."""
    control, log = RunControl(), MemoryLog()

    def a(_):
        threading.Timer(0.05, control.request_drain).start()
        yield lambda: sleep(30)
        return {"a": 1}

    graph, began = in_turn(way, log, a), time.monotonic()
    with pytest.raises(GraphDrained):
        way.invoke(graph, {}, control=control)
    assert time.monotonic() - began < 20
    assert log.head("t").status == "drained"
    with at_noon() as clock:
        clock.set(log.head("t").updated_at + timedelta(seconds=40))
        assert way.invoke(graph, None) == {"a": 1}


def test_who_sleeps_in_place_can_be_cancelled() -> None:
    """A coroutine at once; the thread is free afterwards, and the sleep is not lost."""
    log = MemoryLog()

    begun = asyncio.Event()

    async def a(_):
        asyncio.get_running_loop().call_later(0.1, begun.set)
        await sleep(50)
        return {"a": 1}

    graph = StateGraph(State).add_node("a", a).add_edge(START, "a").compile(checkpointer=log)

    async def main() -> None:
        running = asyncio.create_task(graph.ainvoke({}, THREAD))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert log.head("t").status == "crashed"
    with at_noon() as clock:
        clock.set(log.head("t").updated_at + timedelta(seconds=60))
        assert asyncio.run(graph.ainvoke(None, THREAD)) == {"a": 1}


def test_sleepers_do_not_keep_others_from_running(way: Way) -> None:
    """Twenty calls that sleep at a limit of one take about as long as one, and a call that wakes them gets its turn."""
    log, order = MemoryLog(), []

    def nap(number):
        yield lambda: sleep(0.3)
        order.append(number)
        return number

    def quick():
        order.append("quick")

    napping, quickly = task(waits(way, nap)), task(way.node(quick))
    if way.is_async:

        async def main(_):
            calls = [napping(number) for number in range(20)]
            await quickly()
            return sum([await call for call in calls])
    else:

        def main(_):
            calls = [napping(number) for number in range(20)]
            quickly().result()
            return sum(call.result() for call in calls)

    graph, began = entrypoint(checkpointer=log)(main), time.monotonic()
    assert way.invoke(graph, 0, {**THREAD, "max_concurrency": 1}) == 190
    assert time.monotonic() - began < 5
    assert order[0] == "quick"


def test_another_wait_in_the_same_place_is_told(way: Way, log: Log) -> None:
    """The code has changed while it slept: both sides are shown, and nothing is waited for."""
    calls = iter([lambda: sleep(WEEK), lambda: sleep_until(NOON)])

    def a(_):
        call = next(calls)
        yield call
        return {"a": 1}

    graph = in_turn(way, log, a)
    with at_noon() as clock:
        way.invoke(graph, {})
        clock.advance(WEEK)
        with pytest.raises(NonDeterminism, match=r"the log holds sleep\(\) .* asks for sleep_until\(\)"):
            way.invoke(graph, None)


def test_a_new_input_and_an_edit_give_up_a_sleep(way: Way, log: Log) -> None:
    """What was asleep is due no more."""

    def a(given):
        if given.get("b"):
            return {"a": 1}
        yield lambda: sleep(WEEK)

    graph = in_turn(way, log, a)
    with at_noon():
        way.invoke(graph, {})
        assert way.invoke(graph, {"b": 1}) == {"a": 1, "b": 1}
        assert log.head("t").due_at is None
        way.invoke(graph, {"b": 0})
        assert log.head("t").status == "sleeping"
        graph.update_state(THREAD, {"a": 5}, as_node="a")
        assert (log.head("t").due_at, list(log.due(NOON + 2 * WEEK))) == (None, [])


def test_a_copy_sleeps_by_itself(way: Way, log: Log) -> None:
    """Both are due at the same time, and each goes on alone."""

    def a(_):
        yield lambda: sleep(WEEK)
        return {"a": 1}

    graph = in_turn(way, log, a)
    with at_noon() as clock:
        way.invoke(graph, {})
        log.copy_thread("t", "copy")
        assert [head.thread_id for head in log.due(NOON + WEEK)] == ["t", "copy"]
        clock.advance(WEEK)
        assert way.invoke(graph, None, {"configurable": {"thread_id": "copy"}}) == {"a": 1}
        assert [head.thread_id for head in log.due(NOON + WEEK)] == ["t"]


def test_a_killed_process_sleeps_only_the_rest(tmp_path: Path) -> None:
    """The next one finds the timer set, and does not set another."""
    program = """
    import os, sys, signal, threading
    from typing import TypedDict
    from walgraph import Log, START, StateGraph, sleep
    class State(TypedDict, total=False):
        a: int
    def a(_):
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        sleep(20)
    with Log.open(sys.argv[1]) as log:
        graph = StateGraph(State).add_node("a", a).add_edge(START, "a").compile(checkpointer=log)
        graph.invoke({}, {"configurable": {"thread_id": "t"}}, durability="sync")
    """
    killed(program, tmp_path / "log")
    with Log.open(tmp_path / "log") as log, at_noon() as clock:
        assert log.head("t").status == "crashed"

        def a(_):
            yield lambda: sleep(20)
            return {"a": 1}

        graph = in_turn(Way("sync"), log, a)
        clock.set(log.head("t").updated_at + timedelta(seconds=15))
        began = clock.now()
        assert graph.invoke(None, THREAD) == {"a": 1}
        assert timedelta(seconds=3) < clock.now() - began < timedelta(seconds=6)
        assert kinds(log).count("TimerSet") == kinds(log).count("TimerFired") == 1
