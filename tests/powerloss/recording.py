"""Runs a program and records, in order, what it asks of its disk.

    record(program, folder) ──► recorder.so below libc ──► trace ──► [Entry, …]

The recorder is a small C library (``recorder.c``), compiled once with the machine's C compiler, or with the one that
``make setup`` installs where there is none. An entry says what a call did; ``disk`` says what that means when power
is lost.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent.parent
SOURCE = Path(__file__).with_name("recorder.c")
WRITE, SYNC, TRUNCATE, CREATE, MKDIR, RENAME, UNLINK, MARK, LANDED, FAILED, LINK = range(1, 12)
_HEADER = struct.Struct("<IIQQ")


class Entry(NamedTuple):
    """One call: its kind, two numbers whose meaning ``recorder.c`` gives for each kind, and data or names."""

    kind: int
    first: int
    second: int
    payload: bytes


def compiler() -> list[str] | None:
    """Return the command of a C compiler, or None."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    try:
        import ziglang  # noqa: F401 - asked for, and run as a program
    except ImportError:
        return None
    return [sys.executable, "-m", "ziglang", "cc"]


def recorder(folder: Path) -> Path:
    """Compile the recorder into a folder, once."""
    library = folder / "recorder.so"
    if not library.exists():
        command = compiler()
        assert command is not None, "there is no C compiler"
        fresh = folder / f"recorder-{os.getpid()}.so"
        subprocess.run(
            [*command, "-shared", "-fPIC", "-O2", "-o", str(fresh), str(SOURCE), "-ldl", "-lpthread"],
            check=True,
        )
        fresh.replace(library)
    return library


def surroundings(library: Path, root: Path, trace: Path) -> dict[str, str]:
    """Return the environment in which a program is recorded, and finds the tests' modules."""
    # Where link numbers are kept from being used again; it has to be on the disk of the root.
    Path(f"{trace}.graves").mkdir(exist_ok=True)
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    changed = {"LD_PRELOAD": str(library), "POWERLOSS_ROOT": str(root), "POWERLOSS_TRACE": str(trace)}
    return {**os.environ, **changed, "PYTHONPATH": path}


def record(library: Path, root: Path, program: Sequence[str], timeout: float = 120) -> list[Entry]:
    """Run a program on the files below ``root``, and return what it asked of the disk.

    Raises:
        subprocess.CalledProcessError: The program failed.
    """
    with tempfile.TemporaryDirectory(dir=root.parent) as beside:
        trace = Path(beside, "trace")
        command = [sys.executable, *program]
        subprocess.run(command, check=True, timeout=timeout, env=surroundings(library, root, trace))
        return list(read(trace))


def read(trace: Path) -> Iterator[Entry]:
    """Yield the entries of a trace."""
    data = memoryview(trace.read_bytes())
    at = 0
    while at < len(data):
        kind, length, first, second = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        yield Entry(kind, first, second, bytes(data[at : at + length]))
        at += length
