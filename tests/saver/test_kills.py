"""Programs of LangGraph on WalSaver, killed again and again: nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from walgraph import Log
from walgraph.tools.langgraph_saver import WalSaver
from walgraph.wal.verify import verify

NURSERY = Path(__file__).with_name("nursery.py")
LIVES = int(os.environ.get("WALGRAPH_SAVER_LIVES", "12" if "WALGRAPH_FUZZ_SECONDS" in os.environ else "3"))
"""How many lives a program has; more of them in ``make fuzz``."""


def outlived(path: Path, program: str, durability: str, seed: int) -> list[list[Any]]:
    """Return what all lives said, in order; the last one came to the end."""
    command = [sys.executable, str(NURSERY), str(path), program, durability, str(LIVES), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    found = json.loads(done.stdout)
    assert found["status"] == 0, found["said"][-1]
    assert [line for line in found["said"] if line[0] == "failed"] == []
    with Log.open(path, create=False) as log:
        assert verify(log).ok
        saver = WalSaver(log)
        assert saver.get_tuple({"configurable": {"thread_id": "t"}}) is not None
        lane = saver._lane("t")
        again = type(lane.state)(log.decoder())
        for seq, record in log.read("t"):
            again.apply(seq, record)
        assert again.to_plain() == lane.state.to_plain()
    said: list[list[Any]] = found["said"]
    return said


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_no_turn_that_was_acknowledged_is_lost(durability: str, tmp_path: Path) -> None:
    """After each death the next life finds at least what the last one had been told, and what it held before."""
    known: list[str] = []
    for word, held in outlived(tmp_path / "log", "turns", durability, 1):
        assert word in {"holds", "acknowledged"}
        assert held[: len(known)] == known
        known = held
    assert len(known) == 36
    for turn in range(12):
        start = 3 * turn
        assert known[start : start + 3] == [f"turn {start}", f"draft {start + 1}", f"yes {start + 2}"]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_no_task_runs_again_once_its_question_was_acknowledged(durability: str, tmp_path: Path) -> None:
    """What a question followed is in the log with the question, so a later life does not do it again."""
    said = outlived(tmp_path / "log", "tasks", durability, 2)
    settled = -1
    for word, value in said:
        if word == "acknowledged":
            settled = 99 if value == "end" else value
        elif word == "ran":
            assert value > settled, "it was recorded"
        elif word == "holds":
            assert value == [item for n in range(12) for item in ([n, f"yes {n}"] if n % 3 == 2 else [n])]
    assert settled == 99 or said[-1][0] == "holds"
