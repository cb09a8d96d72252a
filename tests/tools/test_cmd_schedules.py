"""``wal schedules``: what fires when, and pausing, firing and deleting it from a shell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from timer_helpers import at_noon
from tools_helpers import told, wal

from walgraph import Log, recover, schedule
from walgraph.engine.clock import FakeClock
from walgraph.engine.firing import Clockwork


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """A clock that shows noon."""
    with at_noon() as made:
        yield made


@pytest.fixture
def path(tmp_path: Path, clock: FakeClock) -> Path:
    """A log with two schedules, one of which has fired."""
    place = tmp_path / "log.wal"
    with Log.open(place) as log:
        schedule("0 2 * * *", "report", {"x": 1}, log=log, name="nightly", zone="Europe/Oslo")
        schedule("* * * * *", "ping", {}, log=log, thread_id="t")
        clock.advance(60)
        Clockwork(log, lambda *_: True).tick()
    return place


def test_schedules_are_listed(path: Path) -> None:
    """With their next time, what they handed over last, and how often."""
    nightly, ping = [line.split() for line in wal("schedules", path).stdout.splitlines()][1:][::-1]
    assert nightly[:1] + nightly[-5:] == [
        "ping",
        "ready",
        "2026-03-01T12:02:00+00:00",
        "2026-03-01T12:01:00+00:00",
        "1",
        "0",
    ]
    assert ping[-5:] == ["ready", "2026-03-02T01:00:00+00:00", "-", "0", "0"]
    shape = told("schedules", path)["schedules"][1]
    assert (shape["name"], shape["last_run"], shape["thread_id"]) == (
        "ping",
        "ping@2026-03-01T12:01:00Z",
        "t",
    )


def test_one_schedule_is_shown_with_its_next_times(path: Path) -> None:
    """In its own zone, summer time included; a paused one says what they would be."""
    lines = wal("schedules", path, "nightly").stdout.splitlines()
    assert lines[3] == "next 2026-03-02T02:00:00+01:00"
    assert len(told("schedules", path, "nightly")["schedules"][0]["upcoming"]) == 5
    wal("schedules", path, "nightly", "--pause")
    assert "would be 2026-03-02T02:00:00+01:00" in wal("schedules", path, "nightly").stdout


def test_a_person_pauses_resumes_fires_and_deletes(path: Path, clock: FakeClock) -> None:
    """Deleting is a dry run until it is meant."""
    assert (
        wal("schedules", path, "ping", "--pause", "--reason", "too loud").stdout == "paused schedule ping\n"
    )
    assert "paused: too loud" in wal("schedules", path).stdout
    assert wal("schedules", path, "ping", "--resume").stdout == "resumed schedule ping\n"
    clock.advance(timedelta(seconds=5))
    fired = told("schedules", path, "ping", "--trigger")
    assert (fired["applied"], fired["run"]) == (True, "ping@2026-03-01T12:01:05Z")
    assert wal("schedules", path, "ping", "--delete").stdout == "would delete schedule ping\n"
    assert not told("schedules", path, "ping", "--delete")["applied"]
    assert wal("schedules", path, "ping", "--delete", "--apply").stdout == "deleted schedule ping\n"
    assert [each["name"] for each in told("schedules", path)["schedules"]] == ["nightly"]
    gone = wal("schedules", path, "ping")
    assert gone.exit_code == 3
    assert "WAL-E416" in gone.stderr


@pytest.mark.parametrize(
    "words", [("--pause",), ("nightly", "--reason", "x"), ("nightly", "--apply"), ("nightly", "more")]
)
def test_words_that_do_not_go_together_are_refused(path: Path, words: tuple[str, ...]) -> None:
    """Wrong usage."""
    assert wal("schedules", path, *words).exit_code == 2


def test_a_log_without_schedules_says_so(tmp_path: Path) -> None:
    """Nothing is made for looking."""
    Log.open(tmp_path / "log.wal").close()
    assert wal("schedules", tmp_path / "log.wal").stderr == "There are no schedules.\n"
    assert told("schedules", tmp_path / "log.wal")["schedules"] == []


def test_what_is_due_is_what_recover_would_carry_on(path: Path, clock: FakeClock) -> None:
    """``wal recover`` lists the runs that schedules have handed over, and those that are due."""
    clock.advance(timedelta(days=1))
    shapes = told("recover", path)["threads"]
    assert [(each["thread"], each["status"], each["run"]) for each in shapes] == [
        ("t", "queued", "ping@2026-03-01T12:01:00Z"),
        ("nightly@2026-03-02T01:00:00Z", "due", "nightly@2026-03-02T01:00:00Z"),
    ]
    with Log.open(path) as log:
        assert recover(log, []) == []
        table = log.schedules(write=True)
        row = table.get("nightly")
        assert row is not None
        table.change(row, row._replace(zone="Mars/Base"))
    assert "no time zone 'Mars/Base'" in told("recover", path)["threads"][-1]["why"]
