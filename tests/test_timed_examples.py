"""The examples that wait: for real, killed again and again, and a whole week under a fake clock."""

from __future__ import annotations

import random
import runpy
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from timer_helpers import NOON, at_noon

from walgraph import Log, MemoryLog
from walgraph.wal.verify import verify

APPROVAL = Path(__file__).resolve().parent.parent / "examples" / "wait_for_approval.py"
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
    """Whenever its process is killed, the next one asks, reminds and receives what is left of it, once."""
    seed, said = random.Random(12), ""
    for life in range(30):
        process = subprocess.Popen(
            [sys.executable, str(APPROVAL), str(tmp_path / "log"), "1"], stdout=subprocess.PIPE, text=True
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
