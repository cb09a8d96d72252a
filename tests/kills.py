"""A run that is killed at one append after another, each time in a process of its own, and then finished.

    outlived(PROGRAM, folder, "after")    for each append: [what the killed life said, what the lives after it said]

The program defines ``run(log)``; ``CALL`` is what it passes to ``invoke``: the input and the config in a life that
finds nothing, None and the config in one that finds the thread. ``State`` is a state with a trail.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LIFE = """
import operator, os, pathlib, signal, sys
from typing import Annotated, Any, TypedDict
from walgraph import Log
from walgraph.wal.writer import Writer

class State(TypedDict, total=False):
    trail: Annotated[list, operator.add]
    x: Any

PATH, FATE, WHEN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
CONFIG = {{"configurable": {{"thread_id": "t"}}}}
{setting}
{program}

append, appends = Writer.append, 0

def fated(self, *arguments, **options):
    global appends
    appends += 1
    if appends == FATE and WHEN == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    done = append(self, *arguments, **options)
    if appends == FATE:
        self.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return done

with Log.open(PATH, fsync='off') as log:
    is_new = log.head("t") is None
    CALL = ({{"trail": []}} if is_new else None, CONFIG)
    Writer.append = fated
    run(log)
"""


def outlived(
    program: str, folder: Path, when: str, *, first: str = "", second: str = "", third: str = ""
) -> Iterator[list[str]]:
    """Yield what three lives said, for each append at which the first of them can be killed.

    Args:
        program: Defines ``run(log)``.
        folder: Where logs may lie.
        when: Whether the kill comes ``before`` or ``after`` the append.
        first: Statements that only the life that is killed begins with.
        second: … only the life after it.
        third: … only the last one.
    """
    for fate in range(1, 100):
        path = folder / f"{fate}.wal"
        killed, said = _life(program, first, path, fate, when)
        if not killed:
            return
        told = [said]
        for setting in (second, third):
            was_killed, said = _life(program, setting, path, 0, when)
            assert not was_killed
            told.append(said)
        yield told
    message = "the program appends without end"
    raise AssertionError(message)


def _life(program: str, setting: str, path: Path, fate: int, when: str) -> tuple[bool, str]:
    """Run one life; return whether it was killed, and what it said."""
    source = LIFE.format(setting=setting, program=program)
    done = subprocess.run(
        [sys.executable, "-c", source, str(path), str(fate), when],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in {0, -9}, done.stderr
    return done.returncode == -9, done.stdout
