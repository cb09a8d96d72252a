"""From cron expressions to times: summer time and its ends, what cannot be read, what never comes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walgraph import NotAvailable, ScheduleProblem
from walgraph.engine.cron import Times, zone_name
from walgraph.wal.head import nanoseconds

SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)
"""The noon before Oslo's clocks go from 2:00 to 3:00."""
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)
"""The noon before Oslo's clocks go from 3:00 back to 2:00."""


def shown(cron: str, start: datetime, count: int, zone: str = "Europe/Oslo") -> list[str]:
    """Return the next times as the zone's clocks show them, without the year."""
    times, at, found = Times(cron, zone), nanoseconds(start), []
    for _ in range(count):
        following = times.first_after(at)
        assert following is not None
        at = following
        found.append(times.local(at).isoformat()[5:])
    return found


@pytest.mark.parametrize(
    ("cron", "start", "expected"),
    [
        ("30 2 * * *", SPRING, ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]),
        ("15 30 2 * * *", SPRING, ["03-29T03:00:00+02:00", "03-30T02:30:15+02:00"]),
        ("0,30 2-3 * * *", SPRING, ["03-29T03:00:00+02:00", "03-29T03:30:00+02:00", "03-30T02:00:00+02:00"]),
        ("*/30 2 * * *", SPRING, ["03-30T02:00:00+02:00", "03-30T02:30:00+02:00"]),
        ("30 2 * * *", AUTUMN, ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]),
        ("15 30 2 * * *", AUTUMN, ["10-25T02:30:15+02:00", "10-26T02:30:15+01:00"]),
        ("*/30 2 * * *", AUTUMN, [f"10-25T02:{m}:00+0{z}:00" for z in "21" for m in ("00", "30")]),
    ],
)
def test_where_the_clock_skips_or_repeats_an_hour(cron: str, start: datetime, expected: list[str]) -> None:
    """A fixed time comes once a day, after the gap or in the first of two hours; a ``*`` goes by time as it passes."""
    assert shown(cron, start, len(expected)) == expected


@pytest.mark.parametrize("minutes", [10, 40])
def test_what_came_in_the_first_of_two_hours_does_not_come_in_the_second(minutes: int) -> None:
    """Also for whoever begins to look in the second one."""
    second = datetime(2026, 10, 25, 1, minutes, tzinfo=UTC)
    assert shown("30 2 * * *", second, 1) == ["10-26T02:30:00+01:00"]


def test_a_day_that_a_zone_skipped_comes_when_it_is_over() -> None:
    """Samoa had no 30 December 2011."""
    assert shown("0 12 30 12 *", datetime(2011, 6, 1, tzinfo=UTC), 2, "Pacific/Apia") == [
        "12-31T00:00:00+14:00",
        "12-30T12:00:00+14:00",
    ]


@pytest.mark.parametrize(
    ("cron", "word"),
    [
        ("0 0 30 2 *", "never comes true"),
        ("0 0 31 4,6,9,11 *", "never comes true"),
        ("x", "cannot be read"),
        ("", "cannot be read"),
        ("* * * *", "cannot be read"),
        ("61 * * * *", "Bad minute"),
        ("0 0 * * MOO", "Bad day-of-week"),
        ("0 0 30 2 x", "cannot be read"),
        ("@reboot", "cannot be read"),
    ],
)
def test_an_expression_that_is_none_or_never_comes_true_is_refused(cron: str, word: str) -> None:
    """It is said which of the two it is."""
    with pytest.raises(ScheduleProblem, match=word) as caught:
        Times(cron, "UTC")
    assert caught.value.code == "WAL-E414"
    assert caught.value.hint


@pytest.mark.parametrize(
    "cron", ["@daily", "@HOURLY", " @weekly ", "0 0 * 2 MON#5", "0 0 29 2 *", "0 0 L * *"]
)
def test_what_comes_seldom_comes(cron: str) -> None:
    """Names of whole expressions are known, and leap days of a certain name are waited for."""
    assert Times(cron, "UTC").first_after(nanoseconds(SPRING)) is not None


@pytest.mark.parametrize("zone", ["Mars/Base", "Europe", "../etc", "", None, 3, UTC.__class__])
def test_a_zone_that_is_not_known_is_refused(zone: object) -> None:
    """As text, and as anything else."""
    with pytest.raises(ScheduleProblem, match="time zone"):
        zone_name(zone)


def test_zones_are_given_by_name_or_as_objects_that_have_one() -> None:
    """What is kept is the name."""
    assert [zone_name(each) for each in ("Europe/Oslo", ZoneInfo("Europe/Oslo"), UTC, "UTC")] == [
        "Europe/Oslo",
        "Europe/Oslo",
        "UTC",
        "UTC",
    ]


def test_without_cronsim_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is an extra."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(NotAvailable, match="cronsim") as caught:
        Times("@daily", "UTC")
    assert "walgraph[cron]" in caught.value.hint


@settings(max_examples=60, deadline=None)
@given(
    cron=st.sampled_from(["30 2 * * *", "*/20 1-3 * * *", "0 * * * *", "0 30 1,2 * * *", "0 0 * * SUN"]),
    minutes=st.integers(0, 334 * 24 * 60),
    days=st.integers(0, 60),
    most=st.integers(1, 40),
)
def test_times_are_the_same_from_wherever_they_are_counted(
    cron: str, minutes: int, days: int, most: int
) -> None:
    """The newest ones of a span are the last ones of those that come one after another, and they increase."""
    times = Times(cron, "America/New_York")
    after = nanoseconds(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))
    upto = after + int(timedelta(days=days).total_seconds()) * 10**9
    one_by_one = []
    at = times.first_after(after)
    while at is not None and at <= upto:
        assert not one_by_one or at > one_by_one[-1]
        one_by_one.append(at)
        at = times.first_after(at)
    assert times.newest(after, upto, most) == one_by_one[-most:]
