"""The searches of this folder take the time that was asked for, together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.shares import SHARES, seconds

HERE = Path(__file__).parent


def test_the_shares_make_one_whole() -> None:
    """No search is without one."""
    searching = [path for path in HERE.glob("test_*.py") if path != Path(__file__)]
    assert {path.stem.removeprefix("test_") for path in searching} == set(SHARES)
    assert sum(SHARES.values()) == 1


def test_what_was_asked_for_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there is no search."""
    monkeypatch.setenv("WALGRAPH_FUZZ_SECONDS", "200")
    assert sum(map(seconds, SHARES)) == pytest.approx(200)
    monkeypatch.delenv("WALGRAPH_FUZZ_SECONDS")
    assert not any(map(seconds, SHARES))


def test_each_search_takes_its_share_and_no_more() -> None:
    """The module of a search knows its time as soon as it is loaded."""
    program = (
        "import importlib, sys\n"
        "print(*(importlib.import_module('fuzz.test_' + name).SECONDS for name in sys.argv[1:]))"
    )
    environment = {**os.environ, "WALGRAPH_FUZZ_SECONDS": "20", "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program, *SHARES], env=environment, capture_output=True, text=True, check=True
    )
    assert [float(word) for word in done.stdout.split()] == [float(20 * share) for share in SHARES.values()]
