"""The examples that wait: for real, killed again and again, and a whole week under a fake clock."""

from __future__ import annotations

import importlib.util
import random
import runpy
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from timer_helpers import NOON, at_noon

from walgraph import Log, MemoryLog, recover
from walgraph.wal.verify import verify

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
APPROVAL, NIGHTLY = EXAMPLES / "wait_for_approval.py", EXAMPLES / "nightly_report.py"
WEEK = timedelta(days=7)


def test_an_approval_waits_for_a_week() -> None:
    """It asks at once, reminds after a week, and ends when the answer comes three days later."""
    example = runpy.run_path(str(APPROVAL))
    log = MemoryLog(strict=True)
    with at_noon() as clock:
        graph, config = example["made"](log, WEEK), example["CONFIG"]
        (asleep,) = graph.invoke(14, config)["__suspended__"]
        assert (asleep.kind, asleep.name, asleep.until) == ("wait", "answer", NOON + WEEK)
        clock.advance(WEEK)
        (asleep,) = graph.invoke(None, config)["__suspended__"]
        assert asleep.until == NOON + 2 * WEEK
        clock.advance(timedelta(days=3))
        log.signal("holiday-12", "answer", "approved")
        assert graph.invoke(None, config) == "approved after 1 reminder"


def test_an_approval_survives_being_killed(tmp_path: Path) -> None:
    """It waits five seconds for real; whenever its process is killed, the next one asks and reminds, once."""
    seed, said = random.Random(12), ""
    for life in range(30):
        process = subprocess.Popen(
            [sys.executable, str(APPROVAL), str(tmp_path / "log"), "5"], stdout=subprocess.PIPE, text=True
        )
        if life < 6:
            time.sleep(seed.uniform(0.3, 1.2))
            process.kill()
        said = process.communicate(timeout=60)[0]
        if "result:" in said:
            break
    assert said.splitlines()[-1] == "result: approved after 1 reminder"
    with Log.open(tmp_path / "log") as log:
        assert verify(log, structure=False).ok
        assert log.mailbox("holiday-12") == []


def test_a_report_is_made_each_night_for_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a fake clock, through the end of winter time: one each night, also of a week when nobody was there."""
    spec = importlib.util.spec_from_file_location("nightly_report", NIGHTLY)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nightly_report", example)
    spec.loader.exec_module(example)
    log = MemoryLog(strict=True)
    with at_noon() as clock:
        graph = example.made(log)
        nightly = example.scheduled(log, graph, "30 2 * * *", NOON + timedelta(days=30))
        made: list[str] = []
        for days in (*[1] * 7, 7, *[1] * 20):
            clock.advance(timedelta(days=days))
            made += [each.output["lines"][0] for each in recover(log, graph)]
        assert (nightly.info().fires, nightly.info().next_at) == (30, None)
    nights = [datetime.fromisoformat(line.removeprefix("figures of ")) for line in made]
    assert [night.date() for night in nights] == [(NOON + timedelta(days=n + 1)).date() for n in range(30)]
    # On 29 March there was no half past two.
    assert {night.isoformat()[11:] for night in nights} == {
        "02:30:00+01:00",
        "03:00:00+02:00",
        "02:30:00+02:00",
    }


def test_a_nightly_report_survives_being_killed(tmp_path: Path) -> None:
    """Whenever its process is killed, in the end each night has one report, and no body ran twice once recorded."""
    seed, said, bodies = random.Random(5), "", []
    for life in range(10):
        command = [sys.executable, "-u", str(NIGHTLY), str(tmp_path / "log")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if life < 3:
            time.sleep(seed.uniform(0.4, 1.3))
            process.kill()
        said = process.communicate(timeout=60)[0]
        bodies += [line for line in said.splitlines() if line.startswith("·")]
        if "result:" in said:
            break
    assert said.splitlines()[-2:] == [
        "result: 3 nights, each with a report of its own",
        "3 figures, published",
    ]
    # A body that was under way at a kill runs again, and each life could be killed in one.
    assert len(set(bodies)) == 6
    assert len(bodies) <= 6 + life
    with Log.open(tmp_path / "log") as log:
        assert verify(log, structure=False).ok
        assert [(each.how, each.thread) for each in log.submissions().all()] == [
            ("done", head.thread_id) for head in log.threads()
        ]
