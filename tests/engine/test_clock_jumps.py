"""A worker whose clock jumps: sleepers, schedules, rates and claims, in the loop that runs in earnest."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from helpers import Way, chain, leaves
from schedule_helpers import DAY, HOUR, MINUTE, at, noting, runs_of
from timer_helpers import NOON
from worker_helpers import result, until, working

from walgraph import (
    DeadlineExceeded,
    Log,
    SignalTimeout,
    Worker,
    define_queue,
    schedule,
    schedules,
    sleep,
    submit,
    wait_for,
)
from walgraph.engine.clock import FakeClock
from walgraph.wal.head import nanoseconds


def an_hour(state: Any) -> dict[str, Any]:
    """Sleep for an hour."""
    sleep(HOUR)
    return {"trail": ["awake"]}


def answers(state: Any) -> dict[str, Any]:
    """Wait for an hour for a word."""
    try:
        return {"trail": [wait_for("word", timeout=HOUR)]}
    except SignalTimeout:
        return {"trail": ["too late"]}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers look through everything all the time, so that what is not to happen has every chance to."""
    for module in ("worker", "firing"):
        monkeypatch.setattr(f"walgraph.engine.{module}.SWEEP", 0.0)


@pytest.mark.parametrize(("node", "said"), [(an_hour, "awake"), (answers, "too late")])
def test_who_sleeps_wakes_when_the_clock_shows_the_time(
    way: Way, log: Log, clock: FakeClock, node: Any, said: str
) -> None:
    """Not before, though the clock was set back meanwhile; and at once when it jumps ahead."""
    graph = chain(node).compile(log, name="sleeper")
    with working(way, log, graph):
        run = submit(graph, {"trail": []}, "t")
        until(lambda: run.status() in {"sleeping", "waiting"})
        clock.advance(-DAY)
        other = submit(chain(leaves("a")).compile(log, name="sleeper"), {"trail": []}, "other")
        until(lambda: other.status() in {"sleeping", "waiting"})
        assert run.status() in {"sleeping", "waiting"}
        clock.set(NOON + HOUR)
        assert result(way, run) == {"trail": [said]}
        assert result(way, other) == {"trail": [said]}


def test_a_signal_reaches_who_waits_whatever_the_clock_shows(way: Way, log: Log, clock: FakeClock) -> None:
    """What was sent by an older clock than that of who waits counts as well."""
    graph = chain(answers).compile(log, name="waiter")
    with working(way, log, graph):
        run = submit(graph, {"trail": []}, "t")
        until(lambda: run.status() == "waiting")
        clock.advance(-DAY)
        log.signal("t", "word", "hello")
        assert result(way, run) == {"trail": ["hello"]}


def test_a_deadline_is_a_time_and_no_duration(way: Way, log: Log, clock: FakeClock) -> None:
    """A clock that is set back gives more of it, and one that jumps ahead ends it."""
    graph = chain(an_hour, an_hour_more).compile(log, name="late")
    config = {"deadline": NOON + timedelta(minutes=90)}
    with working(way, log, graph):
        run = submit(graph, {"trail": []}, "t", config=config)
        until(lambda: run.status() == "sleeping")
        clock.advance(-HOUR)
        clock.set(NOON + HOUR)
        until(lambda: log.head("t").due_at == NOON + timedelta(minutes=90))
        clock.set(NOON + timedelta(minutes=100))
        with pytest.raises(DeadlineExceeded):
            result(way, run)


def an_hour_more(state: Any) -> dict[str, Any]:
    """Sleep for another hour."""
    sleep(HOUR)
    return {"trail": ["awake again"]}


def test_the_rate_of_a_queue_is_held_up_for_one_period_at_most(way: Way, log: Log, clock: FakeClock) -> None:
    """Starts that lie in the future were now, as far as anybody can tell."""
    define_queue(log, "mail", rate=(1, 3600.0))
    graph = chain(leaves("a")).compile(log, name="mail")
    runs = [submit(graph, {"trail": []}, f"t{n}", run_id=f"r{n}", queue="mail") for n in range(3)]
    with working(way, log, graph):
        assert result(way, runs[0])
        clock.advance(-365 * DAY)
        table = log.submissions()
        until(lambda: not list(table.waiting(lambda *_: True, nanoseconds(clock.now()))))
        for run in runs[1:]:
            assert run.status() == "queued"
            clock.advance(HOUR + timedelta(seconds=1))
            assert result(way, run)
    started = sorted(each.started_at for each in log.submissions().all())
    assert started[1] - started[0] >= 3600 * 10**9


def test_who_has_claimed_a_thread_keeps_it_whatever_the_clock_shows(
    way: Way, log: Log, clock: FakeClock
) -> None:
    """No time passes for a claim: it falls with its owner, not with the clock."""
    go_on, ran = threading.Event(), []

    def works(state: Any) -> dict[str, Any]:
        ran.append(1)
        assert go_on.wait(20)
        return {"trail": ["done"]}

    graphs = [chain(works).compile(log, name="long"), chain(leaves("a")).compile(log, name="quick")]
    with working(way, log, graphs), Worker(log, graphs):
        run = submit(graphs[0], {"trail": []}, "t")
        until(lambda: ran)
        for jump in (365 * DAY, -2 * 365 * DAY, 365 * DAY):
            clock.advance(jump)
            # Both workers have looked by the time when another run is done.
            assert result(way, submit(graphs[1], {"trail": []})) == {"trail": ["a"]}
            assert run.status() == "running"
        go_on.set()
        assert result(way, run) == {"trail": ["done"]}
    assert ran == [1]


@pytest.mark.parametrize("back", [HOUR, 400 * DAY], ids=["a little", "far"])
def test_a_schedule_fires_each_time_once(way: Way, log: Log, clock: FakeClock, back: timedelta) -> None:
    """Set back a little, it waits until the clock is where it was; set back far, it goes by what is shown."""
    graph = noting(log)
    schedule("0 * * * *", graph, {"trail": []})
    with working(way, log, graph):
        clock.advance(HOUR)
        until(lambda: [(each.run, each.how) for each in log.submissions().all()] == [(at(60), "done")])
        clock.advance(-back)
        if back > DAY:
            until(lambda: schedules(log)[0].next_at == NOON + HOUR - back + HOUR)
        else:
            clock.advance(-MINUTE)
        clock.set(NOON + HOUR + MINUTE)
        clock.set(NOON + 2 * HOUR)
        until(lambda: at(120) in runs_of(log))
        until(lambda: all(each.how == "done" for each in log.submissions().all()))
    assert runs_of(log) == [at(60), at(120)]
