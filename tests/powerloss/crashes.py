"""Crashes of a recorded workload: where power is lost, what is on the disk then, and what is wrong with it.

    entries ──► to a position ──► Disk.image(seed) ──► a folder ──► Examiner ──► what is wrong

Positions are anywhere, and more often where it is hardest: just after an acknowledgement, and around flushes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from powerloss import disk as disks
from powerloss.recording import LANDED, LINK, MARK, RENAME, SYNC, UNLINK, Entry

TESTS = Path(__file__).parent.parent
HARD = {MARK, SYNC, LANDED, RENAME, LINK, UNLINK}
"""Kinds of entries around which it is hardest to lose power."""


class Crash(NamedTuple):
    """One loss of power, as its seed makes it: after how many entries, on which kind of disk."""

    seed: int
    position: int
    kind: str


class Violation(NamedTuple):
    """A crash after which something was wrong."""

    crash: Crash
    wrong: list[str]


class Examiner:
    """A process that examines folders; it stays, so that the library is imported once."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "powerloss.examine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> Self:
        """Return the examiner."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.communicate(timeout=60)

    def examine(self, folder: Path, marks: list[str], *, resume: bool) -> list[str]:
        """Return what is wrong with a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        task = {"folder": str(folder), "marks": marks, "resume": resume}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        found: list[str] = json.loads(self._process.stdout.readline())
        return found


def crashes(entries: list[Entry], seed: int, count: int) -> list[Crash]:
    """Choose where power is lost, in order of position; marks that come first were put before power could be lost."""
    chance = random.Random(seed)
    first = next((at for at, entry in enumerate(entries) if entry.kind != MARK), len(entries))
    hard = [max(first, at + chance.randint(0, 1)) for at, e in enumerate(entries) if e.kind in HARD]
    anywhere = range(first, len(entries) + 1)
    chosen = [chance.choice(hard) if chance.random() < 0.6 else chance.choice(anywhere) for _ in range(count)]
    return sorted(
        (Crash(seed * 1_000_000 + number, position, disks.KINDS[number % 2])
         for number, position in enumerate(chosen)),
        key=lambda crash: crash.position,
    )  # fmt: skip


def images(
    before: disks.Before, entries: list[Entry], chosen: list[Crash]
) -> Iterator[tuple[Crash, dict[str, bytes | None]]]:
    """Yield what is on the disk after each crash, given the folder as it was before the first entry."""
    for kind in disks.KINDS:
        disk = disks.Disk(before, kind)
        done = 0
        for crash in chosen:
            if crash.kind == kind:
                for entry in entries[done : crash.position]:
                    disk.do(entry)
                done = crash.position
                yield crash, disk.image(random.Random(crash.seed))


def marks(entries: list[Entry], position: int, *, late: bool = False) -> list[str]:
    """Return what had been acknowledged when power was lost.

    Args:
        entries: The trace.
        position: After how many entries power is lost.
        late: Whether an acknowledgement counts only once something was flushed after it, as ``fsync="data"`` says.
    """
    end = position
    if late:
        end = next((at for at in reversed(range(position)) if entries[at].kind == SYNC), 0)
    return [entry.payload.decode() for entry in entries[:end] if entry.kind == MARK]


def violations(
    before: disks.Before,
    entries: list[Entry],
    folder: Path,
    chosen: list[Crash],
    *,
    late: bool = False,
) -> Iterator[Violation]:
    """Lose power again and again, and yield what was wrong; a folder in which something was wrong is kept."""
    with Examiner() as examiner:
        for crash, image in images(before, entries, chosen):
            place = folder / f"crash-{crash.seed}"
            disks.write(image, place)
            acknowledged = marks(entries, crash.position, late=late)
            wrong = examiner.examine(place, acknowledged, resume=crash.seed % 4 == 0)
            if wrong:
                yield Violation(crash, wrong)
            else:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(place)
