"""Crash loops: real processes over real LMDB logs, killed at random instants, and started again until they are done.

    make test    a fixed number of seeds, some seconds
    make fuzz    new seeds for its share of WALGRAPH_FUZZ_SECONDS, on all processors

``WALGRAPH_FUZZ_SEED=n`` tells the one story of a seed again. What a story is, and what must hold: ``stories``.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.shares import seconds
from fuzz.stories import forked, tell_stories
from fuzz.tally import tally
from simulation import test_planted_bugs as planted

SECONDS = seconds("crash_loops")
SEED = int(os.environ.get("WALGRAPH_FUZZ_SEED", "0"))
STORIES = 24
"""How many stories each teller tells when there is no time to search."""
TELLERS = 2 if not SECONDS else max(2, os.cpu_count() or 2)

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32", reason="lives are forked and killed by signals"
)


def seeds_of(number: int) -> Iterator[int]:
    """The seeds of one of the tellers."""
    if SEED:
        return iter([SEED] if number == 0 else [])
    if not SECONDS:
        return iter(range(1 + number, 1 + STORIES * TELLERS, TELLERS))
    end, first = time.monotonic() + SECONDS, time.time_ns() % 2**40
    return itertools.takewhile(lambda _: time.monotonic() < end, itertools.count(first + number, TELLERS))


def teller(number: int, seeds: Iterator[int], folder: Path) -> None:
    """Tell stories in a process of its own, and write down how they ended."""
    report = folder / f"report-{number}"
    try:
        stories, lives, deaths = tell_stories(lambda: next(seeds, None), folder)
        report.write_text(json.dumps([stories, lives, deaths]))
    except BaseException as error:
        report.write_text("".join(traceback.format_exception(error)))
    os._exit(0)


@pytest.mark.timeout(0 if SECONDS else 300)
def test_no_promise_is_broken_by_killing_processes(tmp_path, capfd) -> None:
    """Thousands of lives end anywhere; what was recorded stays, is not done again, and the end is the same."""
    tellers = [forked(teller, number, seeds_of(number), tmp_path) for number in range(TELLERS)]
    for child in tellers:
        os.waitpid(child, 0)
    totals: Counter[str] = Counter()
    for number in range(TELLERS):
        text = (tmp_path / f"report-{number}").read_text()
        if not text.startswith("["):
            pytest.fail(text, pytrace=False)
        stories, lives, deaths = json.loads(text)
        totals.update({"stories": stories, "lives": lives, **deaths})
    tally(
        lives=totals["lives"],
        killed=totals["killed"],
        stopped=totals["stopped"],
        faults=totals["faults"],
        acknowledged=totals["acknowledged"],
    )
    with capfd.disabled():
        if SECONDS:
            print(f"\n{dict(totals)}")
    assert SEED or totals["killed"] > totals["stories"] / 2


@pytest.mark.skipif(bool(SEED), reason="one story is told again")
@pytest.mark.parametrize(
    "bug",
    [
        planted.acknowledging_before_the_commit,
        planted.folding_before_appending,
        planted.folding_in_arrival_order,
        planted.not_logging_an_answer,
        planted.rerunning_a_finished_task,
    ],
)
def test_a_planted_bug_is_found_by_killing_processes(tmp_path, bug) -> None:
    """Crash loops that find nothing would prove nothing: each of the five bugs breaks a promise within some stories."""
    with bug():
        child = forked(teller, 0, iter(range(1, 240)), tmp_path)
    os.waitpid(child, 0)
    report = (tmp_path / "report-0").read_text()
    assert "WALGRAPH_FUZZ_SEED=" in report, f"nothing was found: {report}"
