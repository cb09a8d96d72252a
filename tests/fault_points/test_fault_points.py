"""Every fault point: a process is killed there, or stopped there while others look, and nothing acknowledged is lost.

    make test    at each point, the first and the last time that a workload reaches it
    make fuzz    at each, each time

What a workload does, and what must hold, is said in ``workloads``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_points.arming import Fate, born, ended, lived, reached, strike
from fault_points.workloads import WORKLOADS, Running, Workload

from walgraph.wal.committer import Committer
from walgraph.wal.fault import FAULT_POINTS

ROOT = Path(__file__).parent.parent.parent
EACH_TIME = "WALGRAPH_FUZZ_SECONDS" in os.environ

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32",
    reason="lives are forked, killed and stopped by signals",
)
each_workload = pytest.mark.parametrize(
    "workload", [each.workload for each in WORKLOADS], ids=[each.name for each in WORKLOADS]
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory, if there is one: no power is lost here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def times_of(counts: Counter[str], number: signal.Signals) -> list[tuple[str, int]]:
    """Return where a workload is struck: the name of a point, and at which time."""
    if EACH_TIME:
        return [(name, time) for name, count in sorted(counts.items()) for time in range(1, count + 1)]
    last = number == signal.SIGKILL
    return sorted({(name, time) for name, count in counts.items() for time in (1, count if last else 1)})


def prepared(workload: Workload, folder: Path) -> Path:
    """Return a folder as it is before the first life; made in a child, since a log that was open is not forked well."""
    start = folder / "prepared"
    start.mkdir()
    assert lived(lambda: workload.prepare(start), None, folder / "errors") == 0
    return start


def struck(workload: Workload, folder: Path, fate: Fate) -> None:
    """Let a life meet its fate, look at what there is, and let the next one, or the same, come to the end."""
    errors = folder.with_suffix(".errors")
    child = born(lambda: workload.live(folder), strike(fate), errors)
    became = ended(child, errors, os.WUNTRACED)
    if fate.signal == signal.SIGKILL:
        assert became == signal.SIGKILL

        def next_life() -> None:
            workload.check(folder)
            workload.live(folder)
            workload.finish(folder)

        assert lived(next_life, None, errors) == 0
        return
    assert became == -child
    try:
        assert lived(lambda: workload.check(folder), None, errors) == 0
    finally:
        os.kill(child, signal.SIGCONT)
        assert ended(child, errors) == 0
    assert lived(lambda: workload.finish(folder), None, errors) == 0


def walk(workload: Workload, folder: Path, number: signal.Signals) -> int:
    """Strike a workload at each point that it reaches; return how often that was."""
    start = prepared(workload, folder)
    calm = folder / "calm"
    shutil.copytree(start, calm)
    times = times_of(reached(lambda: workload.live(calm), folder), number)
    for name, time in times:
        life = folder / f"{name} {time}".replace(": ", "-")
        shutil.copytree(start, life)
        try:
            struck(workload, life, Fate(name, time, number))
        except AssertionError as error:
            error.add_note(f"{number.name} at {name!r}, time {time}")
            raise
        shutil.rmtree(life)
    return len(times)


@each_workload
def test_what_was_acknowledged_outlives_a_kill_at_every_point(workload: Workload, place: Path) -> None:
    """The next life finds all of it, does nothing twice that was recorded, and comes to the same end."""
    assert walk(workload, place, signal.SIGKILL) > 3


@each_workload
def test_a_process_that_stands_still_at_a_point_keeps_nobody_from_looking(
    workload: Workload, place: Path
) -> None:
    """Others find all that was acknowledged; when it goes on it comes to its end."""
    assert walk(workload, place, signal.SIGSTOP) > 3


def test_every_point_is_reached(place: Path) -> None:
    """A point that no workload reaches would be one at which nothing is tried."""
    counts: Counter[str] = Counter()
    for number, (_, workload) in enumerate(WORKLOADS):
        folder = place / str(number)
        folder.mkdir()
        start = prepared(workload, folder)
        counts += reached(lambda start=start, workload=workload: workload.live(start), folder)
    assert set(counts) == set(FAULT_POINTS)


def test_every_point_stands_in_the_code_once() -> None:
    """Under its name; but for commits, which everything goes through, and which tests wrap."""
    found = Counter(
        name
        for folder in ("wal", "replay", "engine", "tools")
        for file in (ROOT / folder).glob("*.py")
        for name in re.findall(r'\breach\("(.+?)"\)', file.read_text())
        if file.name != "fault.py"
    )
    assert found == Counter(name for name in FAULT_POINTS if not name.startswith("commit: "))


def test_a_loss_is_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: who waits for the disk is told at once. Then something that was acknowledged is missing after a kill."""
    monkeypatch.setattr(Committer, "flush", lambda *_: None)
    with pytest.raises(AssertionError, match="of u is missing"):
        walk(Running(), place, signal.SIGKILL)
