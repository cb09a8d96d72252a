"""Everything at once, on one log: see ``sieges``.

make test    one short siege for each setting of ``fsync``
make fuzz    others, of many rounds; WALGRAPH_FUZZ_SEED=n lays one again
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter

import pytest
from fuzz.shares import seconds
from fuzz.sieges import Siege
from fuzz.tally import tally

from walgraph.wal.committer import Committer

SECONDS = seconds("sieges")
SEED = int(os.environ.get("WALGRAPH_FUZZ_SEED", "0"))
ROUNDS, ROUND_SECONDS = (4, 4.0) if SECONDS else (1, 0.8)
ACKNOWLEDGED = ("back", "saw", "sent", "backed", "cut")

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32", reason="lives are forked and killed by signals"
)


def laid(folder, seed, rounds=ROUNDS, length=ROUND_SECONDS):
    """Lay one siege, and return what was counted."""
    place = folder / f"siege-{seed}"
    siege = Siege(place, seed)
    try:
        for _ in range(rounds):
            siege.round(length)
            siege.check()
        siege.settle()
    except BaseException as error:
        error.add_note(f"WALGRAPH_FUZZ_SEED={seed} lays it again: fsync {siege.fsync}; {place}")
        raise
    shutil.rmtree(place)
    return siege.counts


@pytest.mark.timeout(0 if SECONDS else 180)
def test_no_siege_takes_what_was_acknowledged(tmp_path, capfd) -> None:
    """Killed and stopped at random instants and at fault points, beside compaction, backups and signals."""
    end, counts = time.monotonic() + SECONDS, Counter()
    first = SEED or (time.time_ns() % 2**32 if SECONDS else 1)
    for seed in range(first, first + (1 if SEED else 10**9 if SECONDS else 3)):
        counts += laid(tmp_path, seed)
        if SECONDS and time.monotonic() > end:
            break
    assert counts["killed"]
    assert counts["back"] or not SECONDS
    tally(
        lives=counts["lives"],
        killed=counts["killed"],
        stopped=counts["stopped"],
        faults=counts["struck"],
        acknowledged=sum(counts[word] for word in ACKNOWLEDGED),
    )
    if SECONDS:
        with capfd.disabled():
            print(f"\nsieges: {dict(counts)}")


def test_a_loss_is_found_by_a_siege(tmp_path, monkeypatch) -> None:
    """Planted: whoever waits for the disk is told at once that all is safe."""
    monkeypatch.setattr(Committer, "flush", lambda *_: None)

    def lay():
        for seed in range(1, 20):
            laid(tmp_path, seed, rounds=4, length=0.5)

    with pytest.raises(AssertionError):
        lay()
