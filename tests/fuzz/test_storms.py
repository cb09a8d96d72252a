"""Random programs of tasks, effects, waits, questions and failures, some cancelled, some with too little time.

Workers that are killed and stopped carry them on.

    make test    a few storms of known seeds
    make fuzz    others, for its share of WALGRAPH_FUZZ_SECONDS; WALGRAPH_FUZZ_SEED=n lets one rage again

What must hold is said in ``storms``, how workers die in ``weather``.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

import pytest
from fuzz.shares import seconds
from fuzz.tally import tally
from fuzz.weather import Storm

from walgraph import RUN_AGAIN
from walgraph.engine import transactional
from walgraph.engine.finding import Finder
from walgraph.engine.once import Attempted
from walgraph.engine.run_control import Attendance

SECONDS = seconds("storms")
SEED = int(os.environ.get("WALGRAPH_FUZZ_SEED", "0"))
STORMS = 3
"""How many there are when there is no time to search."""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32", reason="workers are forked and killed by signals"
)


def weathered(folder, seed, programs=12, seconds=1.5, patience=60.0):
    """Let one storm rage, and return what was counted."""
    storm = Storm(folder / str(seed), seed=seed, workers=2 + seed % 3)
    try:
        storm.rage(programs, seconds)
        storm.settle(patience)
        storm.check()
    except BaseException as error:
        error.add_note(f"WALGRAPH_FUZZ_SEED={seed} replays it")
        raise
    finally:
        storm.close()
    return storm.counts + Counter(programs=programs)


@pytest.mark.timeout(0 if SECONDS else 180)
def test_no_storm_breaks_a_promise(tmp_path, capfd) -> None:
    """Transactional effects and those that can be looked for are done once, others as they said; no run vanishes."""
    end, counts = time.monotonic() + SECONDS, Counter()
    first = SEED or (time.time_ns() % 2**32 if SECONDS else 1)
    for seed in range(first, first + (1 if SEED else 10**9 if SECONDS else STORMS)):
        counts += weathered(tmp_path, seed)
        if SECONDS and time.monotonic() > end:
            break
    assert counts["died"]
    assert counts["SIGSTOP"]
    if SECONDS and not SEED:
        # The few storms of a short run need not meet each of these; which they meet depends on the clock.
        assert counts["failed"]
        assert counts["ended cancelled"]
        assert counts["ended expired"]
        assert counts["late"]
    tally(killed=counts["died"], stopped=counts["SIGSTOP"], acknowledged=counts["programs"])
    if SECONDS:
        with capfd.disabled():
            print(f"\n{dict(counts)}")


def blamed(folder, match, patience=60.0):
    """See that some storm finds a planted bug."""

    def rage():
        for seed in range(1, 20):
            weathered(folder, seed, seconds=1.0, patience=patience)

    with pytest.raises(AssertionError, match=match):
        rage()


def test_an_effect_that_is_begun_again_unasked_is_found_out(tmp_path, monkeypatch) -> None:
    """Planted: what is in doubt is taken for what did not happen."""

    def found_out(self, intent, cause):
        return RUN_AGAIN
        yield

    monkeypatch.setattr(Attempted, "_found_out", found_out)
    blamed(tmp_path, r"(blind|looked|judged) \S+: \d+ times")


def test_a_commit_that_is_not_remembered_is_found_out(tmp_path, monkeypatch) -> None:
    """Planted: each process keeps the outcomes of transactions under keys of its own."""
    row = transactional.Row
    monkeypatch.setattr(transactional, "Row", lambda key, *rest: row(f"{key} {os.getpid()}", *rest))
    blamed(tmp_path, r"sold \S+: \d+ times")


def test_a_run_that_nobody_takes_over_is_found_out(tmp_path, monkeypatch) -> None:
    """Planted: workers pass over the runs of those that died."""
    monkeypatch.setattr(Finder, "lost", lambda *_: iter(()))
    blamed(tmp_path, "vanished", patience=2.0)


@pytest.mark.skipif(not SECONDS, reason="a process dies at that instant once in many storms: make fuzz")
def test_a_cancellation_that_dies_with_its_process_is_found_out(tmp_path, monkeypatch) -> None:
    """Planted: whoever takes a run over takes its cancellation for one from before."""
    begin = Attendance.__init__
    monkeypatch.setattr(
        Attendance, "__init__", lambda self, watch, run, _: begin(self, watch, run, watch.now())
    )
    blamed(tmp_path, "vanished", patience=2.0)
