"""Deadlines of runs: recorded with the admission, kept across restarts, and found by whoever looks for what is due."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TypedDict

import pytest
from helpers import Way
from timer_helpers import NOON, THREAD, at_noon, in_turn, kinds
from worker_helpers import until

from walgraph import (
    START,
    DeadlineExceeded,
    Log,
    OutcomeUnknown,
    RecordedError,
    StateGraph,
    Worker,
    entrypoint,
    interrupt,
    recover,
    sleep,
    submit,
    task,
    wait_for,
)
from walgraph.wal.record import RunResumed, RunStarted

DAY = timedelta(days=1)


def test_a_run_that_is_not_done_in_time_fails_at_its_next_step(way: Way, log: Log) -> None:
    """What had finished is kept, and a later deadline goes on with it."""

    def a(_):
        yield lambda: sleep(40)
        return {"a": 1}

    def b(_):
        yield lambda: sleep(40)
        return {"b": 1}

    def c(_):
        return {"c": 1}
        yield

    graph = in_turn(way, log, a, b, c)
    with at_noon() as clock:
        with pytest.raises(DeadlineExceeded, match="2026-03-01 12:01:00") as caught:
            way.invoke(graph, {}, {**THREAD, "deadline": 60})
        assert caught.value.details["deadline"] == NOON + timedelta(minutes=1)
        assert clock.now() - NOON < timedelta(seconds=62)
        assert (log.head("t").status, graph.get_state(THREAD).values) == ("failed", {"a": 1})
        with pytest.raises(DeadlineExceeded):
            way.invoke(graph, None)
        later = {**THREAD, "deadline": NOON + DAY}
        assert way.invoke(graph, None, later) == {"a": 1, "b": 1, "c": 1}
    records = [stored.record for stored in log.read("t")]
    noted = [r.deadline for r in records if isinstance(r, RunStarted | RunResumed) and not r.scope]
    assert [each is None for each in noted] == [False, True, False]


def test_a_parked_run_is_due_at_its_deadline(way: Way, log: Log, durability: str) -> None:
    """Whether it sleeps, waits for a signal or for an answer; who takes it up ends it."""

    def naps(_):
        yield lambda: sleep(7 * DAY)

    def waits(_):
        yield lambda: wait_for("word")

    def asks(_):
        yield lambda: interrupt("sure?")

    for number, node in enumerate((naps, waits, asks)):
        graph = in_turn(way, log, node)
        config = {"configurable": {"thread_id": str(number)}}
        with at_noon() as clock:
            way.invoke(graph, {}, {**config, "deadline": DAY}, durability=durability)
            assert log.head(str(number)).due_at == NOON + DAY
            clock.advance(DAY)
            assert str(number) in [head.thread_id for head in log.due(clock.now())]
            with pytest.raises(DeadlineExceeded):
                way.invoke(graph, None, config, durability=durability)
            assert (log.head(str(number)).status, log.head(str(number)).due_at) == ("failed", None)


def test_a_run_taken_up_after_its_deadline_fails_though_its_sleep_is_over(
    way: Way, log: Log, durability: str
) -> None:
    """Its last sleep was over in time, and nobody took it up before the deadline; it ended as if it had been done.

    What it came to is not lost: a later deadline goes on with it, and what has been slept is not slept again.
    """

    def naps(_):
        yield lambda: sleep(2 * DAY)
        return {"a": 1}

    graph = in_turn(way, log, naps)
    with at_noon() as clock:
        way.invoke(graph, {}, {**THREAD, "deadline": 3 * DAY}, durability=durability)
        clock.advance(4 * DAY)
        with pytest.raises(DeadlineExceeded):
            way.invoke(graph, None, durability=durability)
        assert (log.head("t").status, graph.get_state(THREAD).values) == ("failed", {})
        later = {**THREAD, "deadline": NOON + 5 * DAY}
        assert way.invoke(graph, None, later, durability=durability) == {"a": 1}
        assert clock.now() == NOON + 4 * DAY


def test_a_new_input_has_a_deadline_of_its_own(way: Way, log: Log) -> None:
    """Or none."""

    def a(_):
        yield lambda: sleep(30)
        return {"a": 1}

    graph = in_turn(way, log, a)
    with at_noon():
        with pytest.raises(DeadlineExceeded):
            way.invoke(graph, {}, {**THREAD, "deadline": 10})
        assert way.invoke(graph, {}) == {"a": 1}


def test_what_is_no_deadline_is_refused(way: Way, log: Log) -> None:
    """Before anything is recorded."""
    graph = in_turn(way, log, lambda _: (yield))
    for given in (0, -5, "soon", True, float("nan"), NOON.replace(tzinfo=None)):
        with pytest.raises((ValueError, TypeError)):
            way.invoke(graph, {}, {**THREAD, "deadline": given})
    assert log.head("t") is None


def test_recovery_wakes_what_is_due_signalled_or_too_late(log: Log) -> None:
    """And leaves alone what sleeps on, and what waits for another signal."""

    def a(given):
        if given["b"] == "sleep":
            yield lambda: sleep(DAY)
            return {"a": "slept"}
        word = yield lambda: wait_for("word")
        return {"a": word}

    graph = in_turn(Way("sync"), log, a)
    with at_noon() as clock:
        for thread, kind in (("due", "sleep"), ("signalled", "wait"), ("other", "wait"), ("late", "wait")):
            config = {"configurable": {"thread_id": thread}}
            graph.invoke({"b": kind}, {**config, "deadline": DAY} if thread == "late" else config)
        log.signal("signalled", "word", 1)
        log.signal("other", "other", 1)
        assert {each.thread_id for each in recover(log, graph)} == {"signalled"}
        clock.advance(DAY)
        ended = {each.thread_id: each.how for each in recover(log, graph)}
        assert ended == {"due": "done", "late": "failed"}
        assert recover(log, graph) == []
    assert [log.head(thread).status for thread in ("due", "signalled", "other", "late")] == [
        "done",
        "done",
        "waiting",
        "failed",
    ]
    assert kinds(log, "other").count("RunResumed") == 0


class Numbers(TypedDict, total=False):
    """Two channels."""

    a: int
    b: int


class Late:
    """A function whose calls take longer than its run has.

    Args:
        way: How it is called.
        log: The log.
    """

    def __init__(self, way: Way, log: Log) -> None:
        self.ran: list[int] = []
        self.cancelled = 0

        async def nap(number):
            self.ran.append(number)
            try:
                await asyncio.sleep(0 if number < 3 else 60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return number

        def rest(number):
            self.ran.append(number)
            time.sleep(0 if number < 3 else 0.4)
            return number

        step = task(name="step")(nap if way.is_async else rest)

        @entrypoint(log)
        @way.flow
        def flow(count):
            found = []
            for number in range(count):
                found += yield [step(number)]
            return found

        self.flow = flow


def test_what_runs_at_the_deadline_is_stopped(way: Way, log: Log, durability: str) -> None:
    """Coroutines are cancelled; a thread gets no further than its next call. What had ended is not done again."""
    late = Late(way, log)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        way.invoke(late.flow, 6, {**THREAD, "deadline": 0.3}, durability=durability)
    assert time.monotonic() - began < 30
    assert "flow" in caught.value.hint
    assert ("was cancelled" if way.is_async else "was waited for") in caught.value.hint
    assert (late.ran, late.cancelled) == ([0, 1, 2, 3], int(way.is_async))
    assert log.head("t").status == "failed"
    again = Late(way, log)
    with pytest.raises(DeadlineExceeded):
        way.invoke(again.flow, None)
    assert again.ran == []
    if not way.is_async:
        later = {**THREAD, "deadline": DAY}
        assert way.invoke(again.flow, None, later) == [0, 1, 2, 3, 4, 5]
        assert again.ran == [4, 5]


def test_a_node_that_runs_too_long_ends_its_run(way: Way, log: Log) -> None:
    """Its siblings' outcomes are kept."""
    ran = []

    @way.node
    def quick(_):
        ran.append("quick")
        return {"a": 1}

    async def endless(_):
        await asyncio.sleep(60)

    def slow(_):
        ran.append("slow")
        time.sleep(0.5)
        return {"b": 1}

    builder = StateGraph(Numbers).add_node("quick", quick).add_edge(START, "quick").add_edge(START, "late")
    graph = builder.add_node("late", endless if way.is_async else slow).compile(log)
    with pytest.raises(DeadlineExceeded, match="was to have ended"):
        way.invoke(graph, {}, {**THREAD, "deadline": 0.2})
    if way.is_async:
        assert graph.get_state(THREAD).next == ("late",)
    else:
        # A thread that came to something, though late, is not run again.
        assert way.invoke(graph, None, {**THREAD, "deadline": DAY}) == {"a": 1, "b": 1}
        assert sorted(ran) == ["quick", "slow"]


def test_a_step_that_was_killed_is_not_begun_again_after_the_deadline(way: Way, log: Log) -> None:
    """Only a run that began another step used to look at the clock; one in the midst of a step performed it first."""
    ran = []

    def dies(_):
        ran.append(1)
        raise KeyboardInterrupt
        yield

    graph = in_turn(way, log, dies)
    with at_noon() as clock:
        with pytest.raises(KeyboardInterrupt):
            way.invoke(graph, {}, {**THREAD, "deadline": 60})
        clock.advance(DAY)
        with pytest.raises(DeadlineExceeded):
            way.invoke(graph, None)
    assert (ran, log.head("t").status) == ([1], "failed")


def test_what_is_done_at_most_once_is_in_doubt_when_the_deadline_cancels_it(tmp_path) -> None:
    """Nobody knows how far it came; so it is not begun again unasked."""
    with Log.open(tmp_path / "log", strict=True) as log:

        @task(effect="at_most_once")
        async def pay():
            await asyncio.sleep(60)

        @entrypoint(log)
        async def flow(_):
            await pay()

        with pytest.raises(DeadlineExceeded):
            asyncio.run(flow.ainvoke(1, {**THREAD, "deadline": 0.2}))
        with pytest.raises(OutcomeUnknown):
            asyncio.run(flow.ainvoke(None, {**THREAD, "deadline": 60}))


def test_a_worker_that_goes_on_with_a_run_gives_it_no_more_time(log: Log) -> None:
    """Seconds count from the admission; each who took the run up used to count them anew, so it never ran out."""

    def waits(_):
        yield lambda: wait_for("word")

    graph = in_turn(Way("sync"), log, waits)
    with at_noon() as clock:
        handle = submit(graph, {}, "t", config={"deadline": 60})
        with Worker(log, graph):
            until(lambda: handle.status() == "waiting")
            clock.advance(timedelta(seconds=61))
            with pytest.raises(DeadlineExceeded, match="2026-03-01 12:01:00"):
                handle.result(10)
        assert log.head("t").status == "failed"


@pytest.mark.parametrize("is_late", [True, False], ids=["deadline", "failure"])
def test_what_a_dead_worker_s_run_failed_of_is_told_by_who_finds_it(log: Log, *, is_late: bool) -> None:
    """The process died after the run's end and before the note of it.

    Of a deadline that had passed the handle used to tell nothing, and of other failures a text about a text.
    """

    def fails(_):
        yield lambda: sleep(50)
        raise ConnectionError("no line")

    graph = in_turn(Way("sync"), log, fails)
    with at_noon():
        handle = submit(graph, {}, "t", run_id="r")
        log.submissions(write=True).start("r", since=0, now=1)
        config = {**THREAD, "run_id": "r", "deadline": 40 if is_late else 60}
        with pytest.raises(DeadlineExceeded if is_late else ConnectionError):
            graph.invoke({}, config)
        with Worker(log, graph), pytest.raises(Exception, match=r"was to have ended|no line") as caught:
            handle.result(10)
    assert type(caught.value) is (DeadlineExceeded if is_late else RecordedError)
    assert is_late or str(caught.value) == "ConnectionError('no line')"
