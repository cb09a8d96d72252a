"""What cannot be slept, or not there: refused before anything of it is recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from helpers import Way
from timer_helpers import NOON, THREAD, at_noon, in_turn, kinds

from walgraph import Log, sleep, sleep_until
from walgraph.engine.errors import NoLog, OutsideOfRun

WEEK = timedelta(days=7)


def test_without_a_log_a_short_sleep_is_a_pause_and_a_long_one_refused(way: Way) -> None:
    """What parks needs something that remembers it."""

    def a(_):
        yield lambda: sleep(50)
        return {"a": 1}

    def b(_):
        yield lambda: sleep(WEEK)

    def c(_):
        yield lambda: sleep(300)
        return {"c": 1}

    with at_noon() as clock:
        assert way.invoke(in_turn(way, None, a), {}) == {"a": 1}
        assert clock.now() == NOON + timedelta(seconds=50)
        with pytest.raises(NoLog, match="would park the task"):
            way.invoke(in_turn(way, None, b), {})
        assert way.invoke(in_turn(way, None, c), {}, {"park_after": float("inf")}) == {"c": 1}
        assert clock.now() == NOON + timedelta(seconds=350)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sleep("5"), TypeError, "seconds or a timedelta"),
        (lambda: sleep(True), TypeError, "seconds or a timedelta"),
        (lambda: sleep(float("nan")), ValueError, "finite"),
        (lambda: sleep(float("inf")), ValueError, "finite"),
        (lambda: sleep_until(NOON.replace(tzinfo=None)), ValueError, "no time zone"),
        (lambda: sleep_until(5), TypeError, "takes a datetime"),
    ],
    ids=["text", "bool", "nan", "infinite", "naive", "no moment"],
)
def test_what_is_no_time_is_refused(way: Way, log: Log, call, error, words) -> None:
    """Before anything of it is recorded."""

    def a(_):
        yield call

    with pytest.raises(error, match=words):
        way.invoke(in_turn(way, log, a), {})
    assert "TimerSet" not in kinds(log)


def test_a_park_after_that_is_no_number_is_refused(way: Way, log: Log) -> None:
    """It says what it must be."""

    def a(_):
        yield lambda: sleep(1)

    for given in ("5", -1, float("nan"), True):
        with pytest.raises(ValueError, match="park_after"):
            way.invoke(in_turn(way, log, a), {}, {**THREAD, "park_after": given})


def test_nobody_sleeps_outside_of_a_run() -> None:
    """There is no task whose sleep it would be."""
    for call in (lambda: sleep(1), lambda: sleep_until(NOON)):
        with pytest.raises(OutsideOfRun):
            call()
