"""Whose turn it is to write: LMDB's lock of writers, waited for with open eyes.

    wait_for_turn ──► free, or a thread of ours ──► begin
         └─ held by another process ──► look again and again ──► it is stopped, for too long ──► WriterStopped
                                                            └──► it runs, and takes long     ──► said in the log

LMDB waits for ever, and says nothing. The lock is a word in ``lock.mdb`` that names the thread that holds it, and the
kernel clears it when that thread dies, so nobody needs to wait for who is dead. Who is stopped is not dead.

Invariants:
1. ``lock.mdb`` is never opened here: closing a descriptor of it would drop LMDB's own locks. LMDB's own one is read.
2. A lock file that was deleted is noticed before anything is written under it: others may have another one by now.
3. What cannot be found out is taken for free, since LMDB's lock keeps writers apart by itself. Outside of Linux nothing
   can be: there, whoever waits for a stopped process waits.

This module must not know what is written.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

from .errors import LogFailed, WriterStopped

STOPPED_SECONDS = 5.0
"""How long a process that is stopped is waited for."""
SAID_SECONDS = 10.0
"""How long one that runs is waited for before that is said, and how often it is said again."""
_PAUSES = (0.00005, 0.0001, 0.0002, 0.0005, 0.001)
"""Between two looks; the last one stays. A commit takes about as long."""
_LOOKED_AT = 0.05
"""How often the state of the process is looked at."""
_HEAD = struct.Struct("<I60xI")
"""LMDB's magic, and the word of the writers' lock: glibc's robust mutex, whose first word is the kernel's."""
_MAGIC = 0xBEEFC0DE
_THREAD = 0x3FFFFFFF


class Process(NamedTuple):
    """What the system says of a process; ``command`` is empty if it says nothing."""

    pid: int
    command: str
    is_stopped: bool

    def __str__(self) -> str:
        """Return a few words that name it."""
        stopped = ", which is stopped" if self.is_stopped else ""
        return f"process {self.pid}" + (f" ({self.command})" if self.command else "") + stopped


def process_of(thread: int) -> Process:
    """Return the process that a thread belongs to, as far as the system tells."""
    place = Path(f"/proc/{thread}")
    try:
        status = (place / "status").read_text("utf-8", "replace")
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").split()
        command = " ".join(words) or fields["Name"].strip()
        is_stopped = fields["State"].strip()[:1] in {"T", "t"}
        return Process(int(fields["Tgid"]), command[:200], is_stopped)
    except (OSError, KeyError, ValueError):
        return Process(thread, "", is_stopped=False)


def lock_file(path: str) -> int:
    """Return the descriptor by which LMDB has the lock file of a log open, or -1."""
    if sys.platform != "linux":
        return -1
    name = os.path.realpath(path) + "/lock.mdb"
    try:
        for each in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a Path for each descriptor is not needed.
            try:
                if os.readlink(f"/proc/self/fd/{each}") == name:  # noqa: PTH115 - the same.
                    return int(each)
            except OSError:
                continue
    except OSError:
        pass
    return -1


def writer(descriptor: int) -> int:
    """Return the thread that holds the writers' lock, or 0."""
    try:
        magic, word = _HEAD.unpack(os.pread(descriptor, _HEAD.size, 0))
    except (OSError, struct.error):
        return 0
    thread: int = word & _THREAD
    return thread if magic == _MAGIC else 0


def wait_for_turn(descriptor: int, path: str) -> None:
    """Return when no other process writes.

    Args:
        descriptor: What ``lock_file`` returned.
        path: The log's directory.

    Raises:
        WriterStopped: The process that writes is stopped.
        LogFailed: The lock file was deleted.
    """
    if descriptor < 0:
        return
    # Every commit comes by here, so the usual answer is found without another call of ours.
    try:
        magic, word = _HEAD.unpack(os.pread(descriptor, _HEAD.size, 0))
        is_deleted = not os.fstat(descriptor).st_nlink
    except (OSError, struct.error):
        return
    if magic != _MAGIC:
        return
    if word & _THREAD and not _is_ours(word & _THREAD):
        _wait(descriptor, path)
    if is_deleted:
        message = (
            f"The file lock.mdb of the log at {path} was deleted while the log is open. Nothing was written."
        )
        hint = "Close the log in all processes, then open it again. Never delete that file."
        raise LogFailed(message, hint=hint, path=path)


def _wait(descriptor: int, path: str) -> None:
    began = time.monotonic()
    looked = said = began
    stopped_since: float | None = None
    tries = 0
    while (thread := writer(descriptor)) and not _is_ours(thread):
        time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1
        now = time.monotonic()
        if now - looked < _LOOKED_AT:
            continue
        looked = now
        process = process_of(thread)
        if not process.is_stopped:
            stopped_since = None
        elif stopped_since is None:
            stopped_since = now
        if stopped_since is not None and now - stopped_since >= STOPPED_SECONDS:
            raise stopped(process, path, now - began)
        if now - said >= SAID_SECONDS:
            said = now
            _say(now - began, path, process)


def _say(waited: float, path: str, process: Process) -> None:
    import logging  # whoever does not wait need not load it

    log = logging.getLogger("walgraph")
    log.warning("Waiting for %.0f s to write to the log at %s: %s is writing.", waited, path, process)


def stopped(process: Process, path: str, waited: float) -> WriterStopped:
    """Return the error for a process that is stopped while it writes."""
    since = last_write(path)
    message = (
        f"P{str(process)[1:]}, holds the lock of writers of the log at {path}. Nothing was written since {since}. "
        f"Waited for {waited:.1f} s. Nothing of this was recorded."
    )
    hint = (
        f"kill -CONT {process.pid} lets it go on; kill -KILL {process.pid} frees the lock at once, and what it had "
        "acknowledged stays. Then open the log again."
    )
    details = {"process": process.pid, "command": process.command, "since": since}
    return WriterStopped(message, hint=hint, path=path, **details)


def last_write(path: str) -> str:
    """Return when the log's file was last written, as ISO 8601 in UTC."""
    try:
        moment = Path(path, "data.mdb").stat().st_mtime
    except OSError:
        return "an unknown time"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _is_ours(thread: int) -> bool:
    """Tell whether a thread is one of this process; who that is goes on as long as we do."""
    return os.path.exists(f"/proc/self/task/{thread}")  # noqa: PTH110 - a Path costs more than the question.
