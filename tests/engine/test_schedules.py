"""Schedules as users make, change and stop them; each time is handed over once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from helpers import Way
from schedule_helpers import (
    DAY,
    HOUR,
    MINUTE,
    MINUTELY,
    at,
    looked,
    made,
    noting,
    runs_of,
)
from timer_helpers import NOON
from worker_helpers import result, until, working

from walgraph import (
    Log,
    NoLog,
    NotSerializable,
    RunHandle,
    ScheduleConflict,
    ScheduleHandle,
    ScheduleNotFound,
    ScheduleProblem,
    aschedule,
    recover,
    schedule,
    schedules,
)
from walgraph.engine.clock import FakeClock


def test_a_worker_hands_over_each_time_once(way: Way, log: Log, clock: FakeClock) -> None:
    """A run and a thread of its own for each, both called by schedule and time; the run knows its nominal time."""
    graph = noting(log)
    handle = schedule("0 2 * * *", graph, {"trail": []}, zone="Europe/Oslo")
    assert [each.isoformat() for each in handle.upcoming(2)] == [
        "2026-03-02T02:00:00+01:00",
        "2026-03-03T02:00:00+01:00",
    ]
    with working(way, log, graph):
        for night in ("2026-03-02T01:00:00", "2026-03-03T01:00:00"):
            clock.set(datetime.fromisoformat(f"{night}+00:00"))
            run = f"nightly@{night}Z"
            until(lambda run=run: run in runs_of(log))
            done = RunHandle(log, run)
            local = datetime.fromisoformat(f"{night}+00:00").astimezone(ZoneInfo("Europe/Oslo"))
            assert result(way, done) == {"trail": [local.isoformat()]}
            assert done.thread_id == run
    info = handle.info()
    assert (info.fires, info.skips, info.last_run) == (2, 0, run)
    assert info.next_at == datetime(2026, 3, 4, 1, tzinfo=UTC)
    state = graph.get_state({"configurable": {"thread_id": run}})
    assert state.metadata["schedule"] == "nightly"


def test_all_runs_may_have_one_thread(way: Way, log: Log, clock: FakeClock) -> None:
    """They follow one another there, as messages of a chat do."""
    graph = noting(log)
    schedule(MINUTELY, graph, {"trail": []}, thread_id="diary", missed="all", overlap="allow_all")
    clock.advance(2 * MINUTE)
    with working(way, log, graph):
        until(lambda: [each.how for each in log.submissions().all()] == ["done", "done"])
    trail = graph.get_state({"configurable": {"thread_id": "diary"}}).values["trail"]
    assert trail == [(NOON + n * MINUTE).isoformat() for n in (1, 2)]


def test_recover_fires_what_is_due_and_carries_it_out(way: Way, log: Log, clock: FakeClock) -> None:
    """For those who have no worker: what a schedule hands over, and what waits behind it, is done when it returns."""
    graph = noting(log)
    schedule(MINUTELY, graph, {"trail": []}, missed="all", overlap="buffer_all")
    clock.advance(3 * MINUTE)
    assert [(each.run_id, each.how) for each in recover(log, graph)] == [(at(n), "done") for n in (1, 2, 3)]
    assert recover(log, graph) == []


def test_recover_carries_out_what_a_killed_one_has_fired(log: Log, clock: FakeClock) -> None:
    """A run that was handed over by a schedule is not left to a worker that may never come."""
    graph = noting(log)
    schedule(MINUTELY, graph, {"trail": []})
    clock.advance(MINUTE)
    assert looked(log) == [at(1)]
    assert [each.run_id for each in recover(log, graph)] == [at(1)]


# What there is


def test_the_same_schedule_again_changes_nothing(log: Log, clock: FakeClock) -> None:
    """So it may stand where a program begins; paused it stays."""
    made(log).pause("holidays")
    clock.advance(DAY)
    before = schedules(log)
    assert made(log).info() == before[0]
    assert schedules(log) == before
    assert before[0].paused == "holidays"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cron": "0 3 * * *"}, "cron"),
        ({"zone": "Europe/Oslo"}, "zone"),
        ({"missed": "all"}, "missed"),
        ({"grace": 5}, "grace"),
        ({"thread_id": "t"}, "thread"),
        ({"config": {"tags": ["x"]}}, "config"),
    ],
)
def test_another_schedule_of_that_name_is_refused(
    log: Log, clock: FakeClock, options: dict[str, Any], word: str
) -> None:
    """It is said what differs; with ``replace`` it is changed, and what was done stays known."""
    made(log)
    clock.advance(MINUTE)
    looked(log)
    with pytest.raises(ScheduleConflict, match=word) as caught:
        made(log, **options)
    assert caught.value.code == "WAL-E415"
    assert schedules(log)[0].cron == MINUTELY
    changed = made(log, **options, replace=True).info()
    assert (changed.fires, changed.last_run) == (1, at(1))
    assert made(log, **options).info() == changed


@pytest.mark.parametrize(
    "options",
    [
        {"cron": "0 0 30 2 *"},
        {"cron": "every day"},
        {"cron": None},
        {"cron": 5},
        {"zone": "Mars/Base"},
        {"missed": "some"},
        {"overlap": "queue"},
        {"overlap": ["skip"]},
        {"grace": -1},
        {"grace": "1 minute"},
        {"catch_up": float("nan")},
        {"starts_at": datetime(2027, 1, 1)},  # noqa: DTZ001  # that is what is refused
        {"ends_at": "2027-01-01"},
        {"ends_at": NOON},
        {"name": ""},
        {"name": 5},
    ],
)
def test_what_makes_no_sense_is_refused(log: Log, clock: FakeClock, options: dict[str, Any]) -> None:
    """Before anything is kept."""
    with pytest.raises(ScheduleProblem):
        made(log, **options)
    assert schedules(log) == []


@pytest.mark.parametrize(
    ("input", "options", "error"),
    [
        (lambda at: {"x": at}, {}, ScheduleProblem),
        ({"x": object()}, {}, NotSerializable),
        ({}, {"config": {"configurable": {"x": object()}}}, NotSerializable),
        ({}, {"queue": ""}, ValueError),
        ({}, {"priority": 1 << 40}, ValueError),
        ({}, {"durability": "never"}, ValueError),
        ({}, {"timezone": "Europe/Oslo"}, TypeError),
    ],
)
def test_what_cannot_be_kept_is_refused(
    log: Log, clock: FakeClock, input: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    """A function of the time cannot be kept in a log; the run has its nominal time instead."""
    with pytest.raises(error):
        schedule(MINUTELY, "nightly", input, log=log, **options)
    assert schedules(log) == []


def test_a_graph_without_a_log_cannot_be_scheduled() -> None:
    """There is nowhere to keep it."""
    with pytest.raises(NoLog):
        schedule(MINUTELY, noting(None), {})


async def test_a_schedule_is_made_from_a_loop(log: Log, clock: FakeClock) -> None:
    """The twin for event loops."""
    handle = await aschedule(MINUTELY, noting(log), {"trail": []})
    assert handle.info().next_at == NOON + MINUTE


def test_a_schedule_begins_and_ends(log: Log, clock: FakeClock) -> None:
    """Both ends belong to it; after the end there is no next time."""
    handle = made(
        log, starts_at=NOON + 5 * MINUTE, ends_at=NOON + 6 * MINUTE, missed="all", overlap="allow_all"
    )
    assert handle.upcoming() == [NOON + 5 * MINUTE, NOON + 6 * MINUTE]
    clock.advance(HOUR)
    assert looked(log) == [at(5), at(6)]
    assert (handle.info().next_at, handle.upcoming()) == (None, [])
    clock.advance(HOUR)
    assert looked(log) == []


# By hand


def test_a_paused_schedule_does_not_fire(log: Log, clock: FakeClock) -> None:
    """What passes meanwhile is not made up for; it goes on with the next time."""
    handle = made(log, missed="all")
    handle.pause()
    clock.advance(10 * MINUTE)
    assert looked(log) == []
    assert (handle.info().paused, handle.info().next_at) == ("paused", None)
    handle.resume()
    handle.resume()
    assert handle.info().next_at == NOON + 11 * MINUTE
    clock.advance(MINUTE)
    assert looked(log) == [at(11)]


@pytest.mark.parametrize("what", ["paused", "set back"])
def test_nothing_before_its_start_is_made_up_for(
    log: Log, clock: FakeClock, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule that was paused before it began, or whose clock was set back, begins when it was to begin.

    It was resumed as of now, and so the times from then to its start were taken for missed ones.
    """
    monkeypatch.setattr("walgraph.engine.firing.SWEEP", 0.0)
    handle = made(log, missed="all", overlap="allow_all", starts_at=NOON + 5 * MINUTE)
    if what == "paused":
        handle.pause()
        handle.resume()
    else:
        clock.advance(-DAY)
        assert looked(log) == []
    assert handle.info().next_at == handle.upcoming(1)[0] == NOON + 5 * MINUTE
    clock.set(NOON + 6 * MINUTE)
    assert looked(log) == [at(5), at(6)]


def test_a_deleted_schedule_is_gone(log: Log, clock: FakeClock) -> None:
    """What it handed over stays; who still holds its handle is told."""
    handle = made(log)
    clock.advance(MINUTE)
    looked(log)
    assert handle.delete()
    assert not handle.delete()
    for call in (handle.info, handle.pause, handle.resume, handle.trigger, handle.upcoming):
        with pytest.raises(ScheduleNotFound):
            call()
    with pytest.raises(ScheduleNotFound):
        ScheduleHandle(log, "nightly")
    clock.advance(HOUR)
    assert (looked(log), runs_of(log)) == ([], [at(1)])


def test_a_schedule_can_be_fired_by_hand(way: Way, log: Log, clock: FakeClock) -> None:
    """Besides its times, also while it is paused."""
    graph = noting(log)
    handle = schedule("@yearly", graph, {"trail": []})
    handle.pause()
    clock.advance(1.5)
    run = handle.trigger()
    assert run.run_id == "nightly@2026-03-01T12:00:01.500000Z"
    with working(way, log, graph):
        assert result(way, run) == {"trail": ["2026-03-01T12:00:01.500000+00:00"]}
    assert handle.info().fires == 1
