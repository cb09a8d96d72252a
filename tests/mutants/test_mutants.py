"""A test of the tests: mistakes are made in the code that keeps the promises, and the tests of faults must find each.

    make test       every mistake can still be made: its text stands in the code, once
    make mutants    each is made in a copy of the tree, and the tests of faults run over it until one fails

``WALGRAPH_MUTANT=words`` makes only those whose name has the words.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent.parent
WANTED = os.environ.get("WALGRAPH_MUTANT", "")
MAKES = bool(os.environ.get("WALGRAPH_MUTANTS") or WANTED)
SUITE = ("tests/simulation", "tests/wal", "tests/powerloss", "tests/engine/test_durability.py", "tests/fuzz")
"""The tests of faults, those first that find most in the shortest time."""
LONGEST_SECONDS = 400.0


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_each_mistake_can_still_be_made(mutant: Mutant) -> None:
    """A text that is no longer in the code would be a mistake that nobody makes."""
    text = (ROOT / mutant.file).read_text()
    for old, new in mutant.edits:
        assert text.count(old) == 1
        assert new != old
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


@pytest.mark.skipif(not MAKES, reason="takes a while; make mutants does it")
@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    "mutant",
    [mutant for mutant in MUTANTS if WANTED in mutant.name],
    ids=[mutant.name for mutant in MUTANTS if WANTED in mutant.name],
)
def test_each_mistake_is_found(mutant: Mutant, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The tests of faults fail on a copy of the tree in which it was made."""
    tree = tmp_path / "walgraph"
    ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, tree, ignore=ignored)
    for old, new in mutant.edits:
        place = tree / mutant.file
        place.write_text(place.read_text().replace(old, new))
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:benchmark", "--timeout=60"]
    left = {key: value for key, value in os.environ.items() if not key.startswith(("WALGRAPH_", "PYTEST_"))}
    # The copy comes before the checkout that is installed, for the tests and for the processes that they start.
    surroundings = {**left, "PYTHONPATH": str(tmp_path)}
    with (tmp_path / "said").open("w+") as said:
        suite = subprocess.Popen(
            [*command, *SUITE],
            cwd=tree,
            env=surroundings,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            ended = suite.wait(LONGEST_SECONDS)
        finally:
            # What the tests started must not outlive them, whatever the mistake makes of it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(suite.pid, signal.SIGKILL)
            suite.wait()
    text = (tmp_path / "said").read_text()
    found = [line for line in text.splitlines() if line.startswith("FAILED")]
    with capfd.disabled():
        print(f"\n{mutant.name}: {time.monotonic() - began:.0f} s, {found[:1]}")
    assert ended == 1, text[-3000:]
    assert found, text[-3000:]
