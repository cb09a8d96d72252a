"""Deadlines of runs: recorded with the admission, kept across restarts, and found by whoever looks for what is due."""

from __future__ import annotations

from datetime import timedelta

import pytest
from helpers import Way
from timer_helpers import NOON, THREAD, at_noon, in_turn, kinds

from walgraph import DeadlineExceeded, Log, interrupt, recover, sleep, wait_for
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
