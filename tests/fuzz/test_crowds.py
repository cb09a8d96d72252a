"""Worker processes that come and go on one log, killed and stopped at random instants, for as long as there is time.

    make fuzz    new seeds for its share of WALGRAPH_FUZZ_SECONDS, in each mode of durability in turn

What must hold is said in ``crowd``. The short version is in ``tests/engine/test_handover_crashes.py``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from crowd import Crowd
from fuzz.shares import seconds
from fuzz.tally import tally

SECONDS = seconds("crowds")
MODES = ("async", "sync", "exit")


@pytest.mark.timeout(0)
@pytest.mark.skipif(not SECONDS, reason="only when there is time to search: make fuzz")
@pytest.mark.skipif(sys.platform == "win32", reason="workers are killed by signals")
def test_no_crowd_loses_or_doubles_a_run(tmp_path: Path) -> None:
    """Every run that was handed over ends once, with the right result, and its bodies ran at least once."""
    end, first = time.monotonic() + SECONDS, time.time_ns() % 2**40
    number = kills = 0
    while time.monotonic() < end:
        seed, mode = first + number, MODES[number % len(MODES)]
        crowd = Crowd(tmp_path / f"{seed}.wal", seed=seed, durability=mode, workers=2 + number % 3)
        try:
            crowd.work(runs=40, seconds=4)
            crowd.settle()
            crowd.check()
        except BaseException as error:
            error.add_note(f"seed {seed}, durability {mode!r}")
            raise
        finally:
            crowd.close()
        number, kills = number + 1, kills + crowd.kills
    assert kills
    tally(killed=kills, acknowledged=40 * number)
