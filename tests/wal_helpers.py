"""Words for the tests of the log: steps, writers, and processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from walgraph.wal import Summary, Writer
from walgraph.wal.record import Record, StepCommitted, StepStarted, TaskFinished, ThreadCreated


def a_step(number: int, value: object = None) -> list[Record]:
    """The three records of a step that one node finished."""
    return [
        TaskFinished("", ("node",), (("channel", number if value is None else value),), ("node",)),
        StepCommitted("", number, number),
        StepStarted("", number + 1, ("node",), 0),
    ]


def created(thread: str = "t") -> list[Record]:
    """The first record of a thread."""
    return [ThreadCreated(1, thread, None)]


def write_steps(writer: Writer, first: int, end: int) -> None:
    """Append steps, one batch each."""
    for number in range(first, end):
        writer.append(a_step(number), Summary(graph="g", step=number, next=("node",)))


PRELUDE = """
import os, sys, time
sys.path.insert(0, {tests!r})
from wal_helpers import a_step, created, write_steps
from walgraph.wal import *
path = {path!r}
def say(*words):
    print(*words, flush=True)
def listen():
    return sys.stdin.readline().strip()
"""


def start(body: str, path: object) -> subprocess.Popen[str]:
    """Run a program in another process; it can ``say`` lines, and ``listen`` to lines."""
    prelude = PRELUDE.format(tests=str(Path(__file__).parent), path=str(path))
    return subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(body)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def heard(process: subprocess.Popen[str]) -> str:
    """The next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str = "") -> None:
    """Say a line to a process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> int:
    """Wait for a process, and close what leads to it."""
    process.communicate(timeout=60)
    return process.returncode


DOOMED = """
import os, signal, sys, traceback
from pathlib import Path
fate = 0
def fated(function):
    def called(*arguments, **options):
        global fate
        fate -= 1
        if fate == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return called
{imports}
os.fsync = fated(os.fsync)
for name in ("replace", "hardlink_to", "unlink", "mkdir", "rename", "rmdir"):
    setattr(Path, name, fated(getattr(Path, name)))
def life(*words):
{body}
for line in sys.stdin:
    fate, child = int(line), os.fork()
    if child == 0:
        try:
            life(*sys.argv[1:])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def doomed(imports: str, body: str, *words: object) -> Iterator[Callable[[int], bool]]:
    """Yield what lives a program, killed at one of its flushes, links and renames, and tells whether it was.

    It is called with the number of the one before which the program dies.

    Args:
        imports: What the program imports; it may let more functions kill it, with ``fated``.
        body: What it does, given ``words``.
        words: What it is told.
    """
    program = DOOMED.format(imports=imports, body=textwrap.indent(body, "    "))
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def is_killed(fate: int) -> bool:
        tell(process, str(fate))
        ended = int(heard(process))
        assert ended in {0, -signal.SIGKILL}
        return ended != 0

    try:
        yield is_killed
    finally:
        end(process)
