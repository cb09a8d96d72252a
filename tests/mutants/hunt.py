"""A test of the tests: mistakes are made in the code that keeps the promises, and the tests of faults must find each.

    make mutants                      all of them, in a few minutes
    make mutants MUTANT="the folder"  those whose name has the words

    a copy of the tree ──► one mistake ──► the tests that should find it ──► all others ──► it lives

The tree itself is never touched. What finds a mistake is a test that fails, or one that hangs until its own time limit
ends it, which the table says; a suite that ends in any other way, or does not end, has found nothing. In the end each
test that found something must pass on the tree as it is: one that always fails finds nothing.

The exit code is 1 if a mistake lives.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent.parent
SUITE = (
    "tests/wal",
    "tests/replay",
    "tests/simulation",
    "tests/fault_points",
    "tests/powerloss",
    "tests/engine/test_durability.py",
    "tests/engine/test_recorder.py",
    "tests/engine/test_crashes_in_functions.py",
    "tests/engine/test_crashes_while_asking.py",
    "tests/engine/test_effect_crashes.py",
    "tests/engine/test_handover_crashes.py",
    "tests/fuzz",
)
"""The tests of faults, those first that find most in the shortest time."""
TEST_SECONDS = 30
"""A test that takes longer hangs, unless it says itself how long it takes."""
FIRST_SECONDS, REST_SECONDS = 120.0, 600.0
"""How long the tests that should find a mistake may take together, and all the others."""


class Verdict(NamedTuple):
    """What became of a mistake."""

    name: str
    test: str
    """The test that found it, or none."""
    how: str
    """How it was found, or why it was not."""
    seconds: float


def copied(place: Path) -> Path:
    """Copy what the tests need into a folder, and return where the copy of the tree is."""
    tree = place / "walgraph"
    # What was compiled comes along: the time of each file is kept, and what is changed is newer.
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    return tree


def made(mutant: Mutant, tree: Path) -> None:
    """Make a mistake in a copy of the tree.

    Raises:
        ValueError: Its text does not stand in the code exactly once.
    """
    place = tree / mutant.file
    text = place.read_text()
    for old, new in mutant.edits:
        if text.count(old) != 1 or new == old:
            message = f"{mutant.name}: {old!r} stands in {mutant.file} {text.count(old)} times, not once"
            raise ValueError(message)
        text = text.replace(old, new)
    place.write_text(text)


def tried(tree: Path, tests: Sequence[str], limit: float) -> tuple[str, str]:
    """Run tests in a copy of the tree until one fails; return which one, or none, and how that was seen."""
    said = tree.parent / "said"
    command = [sys.executable, "-m", "pytest", "-v", "-x", "-p", "no:benchmark"]
    command += [f"--timeout={TEST_SECONDS}", "--timeout-method=thread", f"--basetemp={tree.parent / 'tmp'}"]
    left = {key: value for key, value in os.environ.items() if not key.startswith(("WALGRAPH_", "PYTEST_"))}
    # The copy comes before the checkout that is installed, for the tests and for the processes that they start.
    surroundings = {**left, "PYTHONPATH": str(tree.parent)}
    with said.open("w") as file:
        suite = subprocess.Popen(
            [*command, *tests], cwd=tree, env=surroundings, stdout=file, stderr=file, start_new_session=True
        )
        try:
            code: int | None = suite.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # What the tests started must not outlive them, whatever the mistake makes of it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(suite.pid, signal.SIGKILL)
            suite.wait()
    text = said.read_text(errors="replace")
    begun = re.findall(r"^(tests/\S+\.py::.+?)(?: (PASSED|FAILED|ERROR|SKIPPED)\b.*)?$", text, re.MULTILINE)
    last = begun[-1][0].strip() if begun else ""
    if code is None:
        return "", f"the tests do not end, at {last or 'none'}"
    failed = re.search(r"^(?:FAILED|ERROR) (tests/\S+\.py::.+?)(?: - .*)?$", text, re.MULTILINE)
    if code == 1 and failed:
        return failed[1], "failed"
    if code == 1 and "+ Timeout +" in text:
        return last, f"hung {TEST_SECONDS} s"
    if code == 0:
        return "", "every test passed"
    return "", f"pytest ended with {code}: {text[-1500:]}"


def judged(mutant: Mutant, suite: Sequence[str] = SUITE) -> Verdict:
    """Make one mistake in a copy of the tree, and see which test finds it."""
    with tempfile.TemporaryDirectory(prefix="walgraph-mutant-") as folder:
        tree = copied(Path(folder))
        began = time.monotonic()
        try:
            made(mutant, tree)
        except ValueError as error:
            return Verdict(mutant.name, "", f"it cannot be made: {error}", 0.0)
        test, how = tried(tree, mutant.found_by, FIRST_SECONDS) if mutant.found_by else ("", "")
        if not test and suite:
            test, how = tried(tree, suite, REST_SECONDS)
        return Verdict(mutant.name, test, how, time.monotonic() - began)


def failing(tests: Iterable[str]) -> str:
    """Return which of these tests fails on the tree as it is, or none."""
    with tempfile.TemporaryDirectory(prefix="walgraph-mutant-") as folder:
        test, how = tried(copied(Path(folder)), sorted(set(tests)), REST_SECONDS)
    return test or how.removeprefix("every test passed")


def main() -> int:
    """Hunt, print the table, and return the exit code."""
    options = argparse.ArgumentParser(description="Make mistakes on purpose, and see which test finds each.")
    options.add_argument("words", nargs="?", default="", help="only mistakes whose name has these words")
    options.add_argument("--at-once", type=int, default=2, help="how many are tried at a time (2)")
    options.add_argument("--only-first", action="store_true", help="only the tests that should find it")
    given = options.parse_args()
    chosen = [mutant for mutant in MUTANTS if given.words in mutant.name]
    suite = () if given.only_first else SUITE
    width = max((len(mutant.name) for mutant in chosen), default=0)
    began = time.monotonic()
    print(f"{'mistake':{width}}  {'seconds':>7}  found by", flush=True)
    verdicts = []
    with ThreadPoolExecutor(given.at_once) as pool:
        for verdict in pool.map(lambda mutant: judged(mutant, suite), chosen):
            verdicts.append(verdict)
            found = verdict.test.removeprefix("tests/")
            told = found if verdict.how == "failed" else f"{found or 'NOBODY'} ({verdict.how})"
            print(f"{verdict.name:{width}}  {verdict.seconds:7.0f}  {told}", flush=True)
    living = [verdict for verdict in verdicts if not verdict.test]
    always = (
        failing(verdict.test for verdict in verdicts if verdict.test) if len(living) < len(verdicts) else ""
    )
    seconds = time.monotonic() - began
    print(f"\n{len(verdicts) - len(living)} of {len(verdicts)} mistakes were found in {seconds:.0f} s")
    if always:
        print(f"But without any mistake, too: {always}")
    return 1 if living or always or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
