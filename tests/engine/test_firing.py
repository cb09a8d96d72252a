"""Which times of schedules are fired: late ones, overlapping ones, whoever looks, and whatever the clock does."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import Way
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_helpers import (
    DAY,
    HOUR,
    MINUTE,
    MINUTELY,
    anything,
    at,
    looked,
    made,
    naps,
    noting,
    only,
    runs_of,
)
from timer_helpers import NOON
from worker_helpers import until, working

from walgraph import (
    Log,
    RunHandle,
    interrupt,
    recover,
    schedule,
    schedules,
)
from walgraph.engine.clock import FakeClock
from walgraph.engine.cron import Times
from walgraph.engine.firing import Clockwork, begun, decide
from walgraph.engine.schedule import OVERLAP
from walgraph.wal.head import moment, nanoseconds
from walgraph.wal.schedule_layout import Schedule


@pytest.mark.parametrize(
    ("missed", "late", "expected"),
    [
        ("skip", 1.0, [5]),
        ("skip", 59.0, [5]),
        ("skip", 61.0, []),
        ("latest", 59.0, [5]),
        ("latest", 61.0, [5]),
        ("latest", 3700.0, [5]),
        ("latest", 7300.0, []),
        ("all", 59.0, [1, 2, 3, 4, 5]),
        ("all", 3700.0, [5]),
    ],
)
def test_missed_times(log: Log, clock: FakeClock, missed: str, late: float, expected: list[int]) -> None:
    """On time is who is seen a minute late at most; what is older is made up for as was said, if it is not too old."""
    made(log, missed=missed, overlap="allow_all", catch_up=HOUR + 2 * MINUTE, ends_at=NOON + 5 * MINUTE)
    clock.advance(5 * 60 + late)
    assert looked(log) == [at(n) for n in expected]
    assert looked(log) == []
    assert schedules(log)[0].skips == 5 - len(expected)


def test_of_a_long_absence_the_newest_thousand_are_made_up_for(log: Log, clock: FakeClock) -> None:
    """A schedule of every second, seen after ten years, is dealt with at once."""
    made(log, "* * * * * *", missed="all", overlap="buffer_all")
    clock.advance(3650 * DAY)
    assert len(looked(log)) == 1
    info = schedules(log)[0]
    assert (len(info.waiting), info.fires) == (999, 1)
    assert info.waiting[-1] == clock.now().replace(microsecond=0)


@pytest.mark.parametrize(
    ("overlap", "at_once", "waiting", "then"),
    [
        ("skip", [1], [], []),
        ("buffer_one", [1], [2], [2]),
        ("buffer_all", [1], [2, 3, 4], [2]),
        ("cancel_other", [1], [4], [4]),
        ("allow_all", [1, 2, 3, 4], [], []),
    ],
)
def test_overlapping_runs(
    log: Log, clock: FakeClock, overlap: str, at_once: list[int], waiting: list[int], then: list[int]
) -> None:
    """While the run before is not over, a time is skipped, kept, or handed over all the same, as was said."""
    handle = made(log, overlap=overlap)
    table = log.submissions(write=True)
    fired = []
    for _ in range(4):
        clock.advance(MINUTE)
        fired += looked(log)
        if len(fired) == 1 and overlap != "cancel_other":
            table.start(at(1), since=0, now=nanoseconds(clock.now()))
    if overlap != "cancel_other":
        assert fired == [at(n) for n in at_once]
        assert handle.info().waiting == tuple(NOON + n * MINUTE for n in waiting)
        table.end(at(1), "done", now=nanoseconds(clock.now()))
        assert looked(log) == [at(n) for n in then]
    assert handle.info().fires + handle.info().skips + len(handle.info().waiting) == 4


def test_the_run_before_is_cancelled_first(way: Way, log: Log, clock: FakeClock) -> None:
    """It is not over, so it is told to stop, and the newest time is fired when it has."""
    graph = noting(log, naps)
    handle = schedule("*/5 * * * *", graph, {"trail": []}, overlap="cancel_other")
    with working(way, log, graph):
        clock.advance(5 * MINUTE)
        until(lambda: runs_of(log) == [at(5)] and RunHandle(log, at(5)).status() == "sleeping")
        clock.advance(5 * MINUTE)
        until(lambda: runs_of(log) == [at(5), at(10)] and RunHandle(log, at(10)).status() == "sleeping")
        assert RunHandle(log, at(5)).status() == "cancelled"
    assert handle.info().fires == 2


def test_what_waits_is_fired_when_the_run_before_is_over(way: Way, log: Log, clock: FakeClock) -> None:
    """Runs that sleep are under way; nobody has to look at the right moment."""
    graph = noting(log, naps)
    handle = schedule("*/8 * * * *", graph, {"trail": []}, overlap="buffer_one")
    with working(way, log, graph):
        for minutes in (8, 8):
            clock.advance(minutes * MINUTE)
            until(lambda: schedules(log)[0].next_at > clock.now())
            until(lambda: RunHandle(log, at(8)).status() == "sleeping")
        assert handle.info().waiting == (NOON + 16 * MINUTE,)
        clock.advance(3 * MINUTE)
        until(lambda: RunHandle(log, at(8)).status() == "done" and at(16) in runs_of(log))


def test_a_run_that_asks_or_was_parked_does_not_hold_up_the_next(log: Log, clock: FakeClock) -> None:
    """A question may stay open for weeks, and what kills its process is looked at by a person."""

    def asks(state: Any) -> dict[str, Any]:
        return {"trail": [interrupt("really?")]}

    graph = noting(log, asks)
    handle = schedule(MINUTELY, graph, {"trail": []})
    clock.advance(MINUTE)
    assert [each.how for each in recover(log, graph)] == ["interrupted"]
    clock.advance(MINUTE)
    assert looked(log) == [at(2)]
    log.submissions(write=True).park(at(2), "it dies")
    clock.advance(MINUTE)
    assert looked(log) == [at(3)]
    assert handle.info().skips == 0


# Who looks


def test_who_lacks_the_graph_or_does_not_serve_the_queue_leaves_it(log: Log, clock: FakeClock) -> None:
    """The time waits for whoever serves it, and counts as late until then."""
    made(log, queue="mail")
    clock.advance(MINUTE)
    assert Clockwork(log, only(graph="other")).tick() == []
    assert Clockwork(log, only(queue="default")).tick() == []
    assert looked(log) == [at(1)]


def test_a_schedule_whose_zone_is_not_known_here_is_left_and_reported(
    way: Way, log: Log, clock: FakeClock
) -> None:
    """Another machine's zones may be missing; other schedules fire all the same."""
    graph = noting(log)
    schedule(MINUTELY, graph, {"trail": []}, name="strange")
    table = log.schedules(write=True)
    row = table.get("strange")
    assert row is not None
    table.change(row, row._replace(zone="Mars/Base"))
    schedule(MINUTELY, graph, {"trail": []}, name="fine")
    clock.advance(MINUTE)
    with working(way, log, graph) as worker:
        until(lambda: [(each.run, each.how) for each in log.submissions().all()] == [(at(1, "fine"), "done")])
        until(lambda: worker.left)
        assert "Mars/Base" in worker.left[0].reason
    found = recover(log, graph)
    assert [each.how for each in found] == ["left alone"]


def test_whoever_decided_on_an_old_row_is_refused(log: Log, clock: FakeClock) -> None:
    """Of two that look at the same time one hands over."""
    made(log)
    clock.advance(MINUTE)
    (row,) = log.schedules().due(nanoseconds(clock.now()))
    assert looked(log) == [at(1)]
    decision = decide(row, Times(row.cron, row.zone), nanoseconds(clock.now()), is_under_way=False)
    assert not log.schedules(write=True).change(row, decision.wanted)
    assert schedules(log)[0].fires == 1


def test_many_that_look_at_once_hand_over_each_time_once(log: Log, clock: FakeClock) -> None:
    """Threads here, processes in the tests of crashes."""
    made(log, "* * * * * *", missed="all", overlap="allow_all")
    fired: list[str] = []

    def look() -> None:
        mine = Clockwork(log, anything)
        for _ in range(40):
            fired.extend(mine.tick())
            clock.advance(0.1)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fired += looked(log)
    assert sorted(fired) == sorted(set(fired)) == sorted(runs_of(log))
    assert len(fired) == int((clock.now() - NOON).total_seconds())


def test_a_schedule_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    """Another process finds it, also who only reads, and its lateness counts from what was dealt with."""
    path = tmp_path / "log.wal"
    with Log.open(path) as log:
        made(log, "0 * * * *")
    clock.advance(HOUR)
    with Log.open(path, readonly=True) as log:
        assert [each.next_at for each in schedules(log)] == [NOON + HOUR]
    with Log.open(path) as log:
        assert looked(log) == [at(60)]


# The clock


def test_a_clock_that_is_set_back_a_little_makes_schedules_wait(log: Log, clock: FakeClock) -> None:
    """No time comes twice; it goes on where it was."""
    made(log, missed="all", overlap="allow_all")
    one = Clockwork(log, anything)
    clock.advance(2 * MINUTE)
    assert one.tick() == [at(1), at(2)]
    clock.advance(-HOUR)
    assert (one.tick(), looked(log)) == ([], [])
    clock.advance(HOUR + MINUTE)
    assert one.tick() == [at(3)]


@pytest.mark.parametrize("who", ["the one that saw it", "another one"])
def test_a_clock_that_is_set_back_far_is_believed(
    log: Log, clock: FakeClock, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong year is no reason to be silent until then; a time that comes again is not handed over again."""
    monkeypatch.setattr("walgraph.engine.firing.SWEEP", 0.0)
    made(log, "0 * * * *", overlap="allow_all")
    one = Clockwork(log, anything)
    clock.advance(HOUR)
    assert one.tick() == [at(60)]
    clock.advance(365 * DAY)
    assert len(one.tick()) == 1
    clock.set(NOON)
    looker = one if who == "the one that saw it" else Clockwork(log, anything)
    assert looker.tick() == []
    assert schedules(log)[0].next_at == NOON + HOUR
    clock.advance(HOUR)
    looker.tick()
    clock.advance(HOUR)
    looker.tick()
    assert [run for run in runs_of(log) if "2026" in run] == [at(60), at(120)]


def test_a_clock_that_jumps_ahead_makes_its_times_late(log: Log, clock: FakeClock) -> None:
    """They count as missed, as after an absence."""
    made(log, missed="latest")
    clock.advance(DAY + timedelta(seconds=30))
    assert looked(log) == [at(24 * 60)]


@settings(max_examples=150, deadline=None)
@given(
    overlap=st.sampled_from(OVERLAP),
    missed=st.sampled_from(["skip", "latest", "all"]),
    looks=st.lists(st.tuples(st.integers(-90, 4000), st.booleans()), min_size=1, max_size=12),
    grace=st.integers(0, 300),
)
def test_each_time_is_fired_skipped_or_kept(
    overlap: str, missed: str, looks: list[tuple[int, bool]], grace: int
) -> None:
    """Whenever it is looked at: in order, never twice, and the counts tell what became of all that has come."""
    second = 10**9
    start = nanoseconds(NOON)
    times = Times(MINUTELY, "UTC")
    blank = Schedule(
        *("s", MINUTELY, "UTC", "g", "", "q", 0, b"", b"", missed, overlap, grace * second, 10**18, 0, 0),
        *(start, start),
    )
    row, now, fired = begun(blank, start), start, []
    for seconds, is_under_way in looks:
        now += seconds * second
        wanted, fires, _ = decide(row, times, now, is_under_way=is_under_way)
        if is_under_way:
            assert not fires or overlap == "allow_all"
        fired += fires
        assert fired == sorted(set(fired))
        assert wanted.last >= row.last
        assert wanted.next == times.first_after(wanted.last)
        come = len(times.newest(start, wanted.last, 10**6))
        assert wanted.fires + wanted.skips + len(wanted.buffered) == come
        assert moment(wanted.next).second == 0
        row = wanted
