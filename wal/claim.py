"""Who may write a thread.

SAFETY     is not here: it is the epoch, checked in the write transaction (``wal.store``).
LIVENESS   is the operating system's: an owner holds a lock on one byte of the file ``CLAIMS``, at an offset that is
           the hash of the thread's id. The kernel drops it when the process ends, however it ends, so that another
           one can take over at once, without time-outs.

POSIX byte-range locks belong to the process, so two writers of one process are kept apart by a table in memory. They
are lost when any descriptor of the file is closed, so there is one descriptor per process and log.

Windows has no byte-range locks of this kind in Python: there, the first claim locks the log as a whole, so that one
process at a time may write it, and ``is_alive`` cannot look into other processes.

Invariants:
1. At most one claim per thread among all live processes; a stolen claim takes the lock as soon as it is free.
2. Asking who is alive never takes a lock, so that a question cannot make another's claim fail.

This module must not know why a thread is claimed.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import threading
import time

import xxhash

from .errors import LogReadOnly, ThreadBusy

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LINUX_LOCK = struct.Struct("hhqqi4x")
_BSD_LOCK = struct.Struct("qqihh")
_POLL_SECONDS = 0.02


class Claims:
    """The claims of this process on one log.

    Args:
        path: The lock file; None for a log that lives in this process alone.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._changed = threading.Condition()
        self._held: dict[str, object] = {}
        self._unlocked: set[str] = set()

    def take(self, thread: str, owner: object, *, timeout: float | None = 0.0) -> None:
        """Claim a thread, waiting up to ``timeout`` seconds; None waits without end.

        Raises:
            ThreadBusy: Another owner lives.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                if thread not in self._held and self._lock(thread):
                    self._held[thread] = owner
                    return
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise self._busy(thread, timeout)
                # Owners of this process notify; those of others are asked again and again.
                self._changed.wait(_POLL_SECONDS if left is None else min(left, _POLL_SECONDS))

    def steal(self, thread: str, owner: object) -> object | None:
        """Claim a thread whoever has it; return this process's former owner, if it was one."""
        with self._changed:
            former = self._held.get(thread)
            self._held[thread] = owner
            if former is None and not self._lock(thread):
                self._unlocked.add(thread)
            return former

    def give_back(self, thread: str, owner: object) -> None:
        """Release a claim, unless somebody else has it by now."""
        with self._changed:
            if self._held.get(thread) is owner:
                del self._held[thread]
                if thread in self._unlocked:
                    self._unlocked.discard(thread)
                else:
                    self._unlock(thread)
                self._changed.notify_all()

    def holder(self, thread: str) -> object | None:
        """Return the owner in this process, if there is one."""
        return self._held.get(thread)

    def is_unlocked(self, thread: str) -> bool:
        """Tell whether the thread was stolen from a process that still holds its lock."""
        return thread in self._unlocked

    def is_alive(self, thread: str) -> bool:
        """Tell whether any live process has the thread."""
        return thread in self._held or self.owner(thread) is not None

    def owner(self, thread: str) -> int | None:
        """Return the process id of another process that has the thread; 0 if it cannot be told."""
        if self._path is None or sys.platform == "win32":
            return None
        descriptor = self._open(readonly=True)
        if descriptor is None:
            return None
        linux = sys.platform == "linux"
        place = _offset(thread)
        asked = (
            _LINUX_LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
            if linux
            else _BSD_LOCK.pack(place, 1, 0, fcntl.F_WRLCK, os.SEEK_SET)
        )
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
        except OSError:
            return None
        if linux:
            kind, _, _, _, process = _LINUX_LOCK.unpack(answer)
        else:
            _, _, process, kind, _ = _BSD_LOCK.unpack(answer)
        return None if kind == fcntl.F_UNLCK else int(process)

    def retry_lock(self, thread: str) -> None:
        """Take the lock of a stolen thread if its former owner has let go of it."""
        if thread in self._unlocked:
            with self._changed:
                if thread in self._unlocked and self._lock(thread):
                    self._unlocked.discard(thread)

    def forget(self) -> None:
        """In a forked child: drop what the parent holds; its locks stay, since they are not inherited."""
        self._changed = threading.Condition()
        self._held.clear()
        self._unlocked.clear()
        self.close()

    def close(self) -> None:
        """Let go of everything."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._held.clear()

    def _busy(self, thread: str, timeout: float | None) -> ThreadBusy:
        from .turn import process_of  # only a refusal needs it

        process = None if thread in self._held else self.owner(thread)
        who = "another run of this process" if process is None else str(process_of(process))
        waited = f", waited for {timeout} s" if timeout else ""
        return ThreadBusy(
            f"Thread {thread!r} is claimed by {who}{waited}. This run left no trace.",
            hint='Wait with if_busy="wait", or take it over with if_busy="steal" if its owner hangs.',
            thread=thread,
            process=process,
        )

    def _open(self, *, readonly: bool = False) -> int | None:
        if self._descriptor is None and self._path is not None:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                if readonly:
                    with contextlib.suppress(OSError):
                        self._descriptor = os.open(self._path, os.O_RDONLY)
                    return self._descriptor
                from .scarcity import lacking, out_of_resources

                if lacking(error):
                    raise out_of_resources(lacking(error), self._path) from error
                raise LogReadOnly(f"No thread can be claimed in {self._path}: {error.strerror}.") from error
        return self._descriptor

    def _lock(self, thread: str) -> bool:
        descriptor = self._open()
        if descriptor is None:
            return True
        try:
            if sys.platform == "win32":
                if not self._held:
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(thread))
        except OSError:
            return False
        return True

    def _unlock(self, thread: str) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            return
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                if not self._held:
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
            else:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _offset(thread))


def _offset(thread: str) -> int:
    """Return a thread's byte in the lock file; 62 bits, since offsets are signed and a range has an end."""
    return xxhash.xxh3_64_intdigest(thread.encode()) & ((1 << 62) - 1)
