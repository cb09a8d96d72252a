"""Power is lost at any instant: what had been acknowledged is there, and the rest is whole.

    make test        a few crashes of each workload
    make powerloss   WALGRAPH_POWERLOSS_IMAGES (2000) of each, from new recordings

A workload runs once on a recorded disk (``workloads``, ``recording``). Then the disk as a crash may have left it is
laid out again and again (``disk``, ``crashes``), and recovered by the library (``examine``). A failure names its crash
and keeps the folder.

That the tests can fail is shown by faults that must be found: logs without flushes, logs made in place, renames whose
folder is not flushed, names that lead to files which were not.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from powerloss.crashes import Violation, crashes, images, marks, violations
from powerloss.disk import Before, write
from powerloss.recording import MARK, Entry, compiler, record, recorder
from powerloss.workloads import WORKLOADS

IMAGES = int(os.environ.get("WALGRAPH_POWERLOSS_IMAGES", "0"))
SEED = time.time_ns() % 2**32 if IMAGES else 1
SHORT = 30
"""Crashes of each workload when there is no time to search."""
SHORT_OF_COPIES = 12
"""The same where logs are made out of logs, each of which is examined."""
PER_RECORDING = 250
CONTROL = 300
"""Crashes among which a planted fault must show: of most one in three does, of a file that was not flushed few do."""

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the recorder is for Linux"),
    pytest.mark.skipif(compiler() is None, reason="there is no C compiler, and `make setup` could not install one"),
    pytest.mark.timeout(0 if IMAGES else 120),
]  # fmt: skip


class Recorded(NamedTuple):
    """A workload that ran: the folder before it, and what it asked of the disk."""

    before: Before
    entries: list[Entry]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory, if there is one: what is flushed there is only said to be."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def run(place: Path, name: str, fsync: str = "full", *faults: str) -> Recorded:
    """Run a workload and record its disk."""
    root = place / "root"
    root.mkdir(exist_ok=True)
    program = ["-m", "powerloss.workloads"]
    promised: list[Entry] = []
    if f"before {name}" in WORKLOADS:
        entries = record(recorder(place), root, [*program, f"before {name}", str(root), fsync])
        promised = [entry for entry in entries if entry.kind == MARK]
    before = Before.of(root)
    entries = record(recorder(place), root, [*program, name, str(root), fsync, *faults])
    shutil.rmtree(root)
    return Recorded(before, promised + entries)


def none_in(found: list[Violation], recorded: Recorded, tmp_path: Path, place: Path) -> None:
    """See that nothing was wrong; what was is kept."""
    if found:
        shutil.copytree(place, tmp_path / "kept")
    told = [f"{violation.crash}: {'; '.join(violation.wrong)}" for violation in found[:5]]
    assert not found, f"{len(found)} crashes of {len(recorded.entries)} entries, in {tmp_path}: {told}"


def lose_power(place: Path, tmp_path: Path, name: str, fsync: str = "full") -> tuple[int, int]:
    """Crash a workload, and return how many images there were, and acknowledgements in the recordings."""
    count = IMAGES or (SHORT_OF_COPIES if f"before {name}" in WORKLOADS else SHORT)
    left, seed, acknowledged = count, SEED, 0
    while left > 0:
        recorded = run(place, name, fsync)
        chosen = crashes(recorded.entries, seed, min(left, PER_RECORDING))
        found = violations(*recorded, place / "crashes", chosen, late=fsync == "data") if chosen else iter(())
        none_in(list(found), recorded, tmp_path, place)
        acknowledged += sum(entry.kind == MARK for entry in recorded.entries)
        left, seed = left - PER_RECORDING, seed + 1
    return count, acknowledged


@pytest.mark.parametrize(
    "name",
    [
        *("creation", "succession", "sync", "async", "exit", "group", "company", "compaction", "failing"),
        *("backup", "restore", "repair", "shrink"),
    ],
)
def test_what_was_acknowledged_is_there_after_a_loss_of_power(name, place, tmp_path, capfd, evidence) -> None:
    """With ``fsync="full"``: whatever was promised is found, all else is whole, and threads carry on to their ends."""
    count, acknowledged = lose_power(place, tmp_path, name)
    evidence(tried=count, lost=0, unit="images", acknowledgements=acknowledged)
    with capfd.disabled():
        if IMAGES:
            print(f"\n{name}: {count} images, {acknowledged} acknowledgements recorded, nothing lost")


@pytest.mark.parametrize("name", ["sync", "async", "group"])
def test_without_a_flush_of_the_meta_page_at_most_the_last_commit_is_lost(
    name, place, tmp_path, evidence
) -> None:
    """With ``fsync="data"``: what was acknowledged before the last flush is found, and the log is whole."""
    count, acknowledged = lose_power(place, tmp_path, name, "data")
    evidence(tried=count, lost=0, unit="images", acknowledgements=acknowledged)


@pytest.mark.parametrize(
    "name", ["company", "repair", *(("backup", "compaction", "shrink", "succession") if IMAGES else ())]
)
def test_power_may_be_lost_again_during_recovery(name, place, tmp_path, evidence) -> None:
    """What a crash left is carried on, and crashes again: what was acknowledged before either crash is there."""
    first = run(place, name)
    chosen = crashes(first.entries, SEED, max(2, IMAGES // PER_RECORDING) if IMAGES else 1)
    tried = 0
    for crash, image in images(*first, chosen):
        write(image, place / "root")
        again = run(place, "recovery")
        earlier = marks(first.entries, crash.position)
        acknowledged = [Entry(MARK, 0, 0, text.encode()) for text in earlier]
        later = again._replace(entries=acknowledged + again.entries)
        second = crashes(later.entries, crash.seed, PER_RECORDING if IMAGES else 15)
        none_in(
            list(violations(later.before, later.entries, place / "crashes", second)), later, tmp_path, place
        )
        tried += len(second)
    evidence(tried=tried, lost=0, unit="images")


@pytest.mark.parametrize(
    ("name", "fsync", "faults"),
    [
        ("sync", "off", []),
        ("group", "off", []),
        ("creation", "full", ["in place"]),
        ("creation", "full", ["unflushed folders"]),
        ("compaction", "full", ["unflushed folders"]),
        ("shrink", "full", ["unflushed folders"]),
        ("shrink", "full", ["unflushed files"]),
        ("backup", "full", ["unflushed folders"]),
        ("backup", "full", ["unflushed files"]),
        ("restore", "full", ["unflushed folders"]),
        ("repair", "full", ["unflushed folders"]),
    ],
)
def test_what_is_not_flushed_is_found_missing(name, fsync, faults, place, evidence) -> None:
    """The control: where a flush is left out, these tests find what is lost."""
    recorded = run(place, name, fsync, *faults)
    found = violations(*recorded, place / "crashes", crashes(recorded.entries, 1, CONTROL))
    lost = sum(1 for _ in found) if IMAGES else int(next(found, None) is not None)
    assert lost
    if IMAGES:
        evidence(tried=CONTROL, lost=lost, unit="images")
