"""The directory of a log, seen from outside: whether it is one, whether it may be opened, who has it.

    X/data.mdb   the log               X/LOCK     flock, shared by every opener, exclusive for ``shrink``
    X/lock.mdb   LMDB's own locks      X/CLAIMS   byte-range locks, one per thread (``wal.claim``)

A DATA FILE is looked at before LMDB maps it: it begins with LMDB's magic in a version that we read, it is as long as
its newer meta page says, and pages on the way to its tables are not of the kind that LMDB dies of (``wal.glance``). One
that seems cut short is walked by ``lmdb.verify`` in a child process, since opening it can end a process by SIGBUS.

Invariants:
1. Nothing here changes what it looks at; ``LOCK`` alone may be made.
2. A file that LMDB could die of is not handed to it.

This module must not know what is in the tables.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path

from .errors import FormatTooNew, LogCorrupt, LogInUse, NotALog, RemoteDisk

if sys.platform != "win32":
    import fcntl

REMOTE = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre"),
        *("beegfs", "gpfs", "ocfs2", "gfs2", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"),
    )
)
"""Kinds of file systems, as Linux calls them, on which LMDB's locks and memory map are not safe."""
_MAGIC = 0xBEEFC0DE
_META = struct.Struct("<II")
_LAST_PAGE = struct.Struct("<QQ")
_FOUND = 3
_CHECK = """
import sys
from lmdb.verify import verify
problems = verify(sys.argv[1])
print("\\n".join(problems[:100]))
sys.exit(3 if problems else 0)
"""
SHARED_TRIES = 20
SHARED_PAUSE_SECONDS = 0.005


def hold(path: str, *, exclusive: bool, readonly: bool = False) -> int | None:
    """Take the lock that keeps a shrink and all other uses of a log apart; return its descriptor.

    Raises:
        LogInUse: The lock is held the other way.
    """
    try:
        descriptor = os.open(Path(path, "LOCK"), os.O_RDONLY if readonly else os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        # Without the file, or without the right to open it, a reader does without: it can do no harm.
        if readonly:
            return None
        raise
    if sys.platform == "win32":
        # Windows refuses to replace a file that is open, which keeps a shrink out by itself.
        return descriptor
    kind = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
    for left in reversed(range(1 if exclusive else SHARED_TRIES)):
        try:
            fcntl.flock(descriptor, kind)
        except OSError:
            # Whoever clears leftovers of a creation holds the lock for an instant, which is no shrink.
            if left:
                time.sleep(SHARED_PAUSE_SECONDS)
                continue
        else:
            return descriptor
        os.close(descriptor)
        who = "open elsewhere" if exclusive else "being shrunk"
        message = f"The log at {path} is {who}."
        raise LogInUse(message, hint="Wait until it is free; close it in other processes.", path=path)
    raise AssertionError("the last try returns or raises")


def check_file(path: str, *, readonly: bool = False) -> None:
    """Look at a data file before LMDB maps it; walk it in a child process if it looks cut short.

    Raises:
        NotALog: It is no LMDB file.
        FormatTooNew: It is one of a version that we do not read.
        LogCorrupt: It is damaged.
    """
    from .glance import glance  # whoever opens no log need not load it

    name = Path(path, "data.mdb")
    with name.open("rb") as file:
        head = file.read(8192 + 160)
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise not_a_log(path, "its data.mdb is empty")
        first, second, wrong = _meta(head, 0), None, ""
        page = 4096
        if first is not None:
            page = int.from_bytes(head[40:44], "little") or 4096
            file.seek(page)
            second = _meta(file.read(160), 0)
            wrong = glance(file.fileno(), page, readonly=readonly)
    metas = [meta for meta in (first, second) if meta is not None]
    if not metas and _META.unpack_from(head.ljust(32), 24)[0] == _MAGIC:
        # Later versions of LMDB have a longer page header, so that their magic stands further behind.
        metas = [(_META.unpack_from(head, 24)[1], 0, 0)]
    if not metas:
        raise not_a_log(path, "its data.mdb does not begin as an LMDB file does")
    if any(version != 1 for version, _, _ in metas):
        found = max(version for version, _, _ in metas)
        message = f"The log at {path} is an LMDB file of data format {found}; walgraph reads format 1."
        raise FormatTooNew(message, hint="Upgrade walgraph.", path=path, format=found)
    _, last_page, _ = max(metas, key=lambda meta: meta[2])
    if len(metas) == 2 and size >= (last_page + 1) * page:
        if wrong:
            message = (
                f"The file {name} is damaged: {wrong}, which could end the process that reads or writes it."
            )
            hint = (
                f"It was not opened. wal repair {path} shows what can be kept; or restore it from a backup."
            )
            raise LogCorrupt(message, hint=hint, path=path, report=[wrong])
        return
    problems = walk_pages(path)
    if problems or len(metas) < 2:
        message = f"The file {name} is damaged: {size} bytes long, {(last_page + 1) * page} were expected."
        raise LogCorrupt(
            message, hint="It was not opened. Restore it from a backup.", path=path, report=problems
        )


def walk_pages(path: str) -> list[str]:
    """Return what is structurally wrong with a data file, found by ``lmdb.verify`` in a child process."""
    import subprocess  # only a doubtful file needs it

    verdict = subprocess.run(  # noqa: S603 - this very interpreter runs a program of ours.
        [sys.executable, "-I", "-c", _CHECK, path], capture_output=True, text=True, check=False
    )
    if verdict.returncode == 0:
        return []
    lines = (verdict.stdout.strip() or verdict.stderr.strip()).splitlines()
    return lines if verdict.returncode == _FOUND else [lines[-1] if lines else "it cannot be read"]


def refuse_remote(path: str) -> None:
    """Raise ``RemoteDisk`` if the path lies on a network file system.

    Linux alone says so in a file; elsewhere nothing is refused.
    """
    kind = file_system(path)
    if kind in REMOTE:
        message = f"{path} lies on {kind}, a network file system, where LMDB loses data."
        raise RemoteDisk(message, hint="Put the log on a local disk; force=True overrides.", path=path)


def file_system(path: str) -> str | None:
    """Return the kind of file system that a path lies on, or will; None if this system does not tell."""
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    device = place.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
    try:
        with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                before, _, behind = line.partition(" - ")
                if before.split(" ", 3)[2] == number:
                    return behind.split(" ", 1)[0]
    except OSError:
        return None
    return None


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    if sys.platform == "win32":
        # Windows has no fsync of a directory; NTFS journals names by itself.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def not_a_log(path: str, why: str) -> NotALog:
    """Return the error for something else that lies at the path."""
    return NotALog(
        f"{path} is not a walgraph log: {why}. It was left untouched.", hint="Check the path.", path=path
    )


def is_there(path: str) -> bool:
    """Tell whether a log may be there: false if there is nothing, or an empty directory.

    Raises:
        NotALog: Something else is there.
    """
    if not os.path.lexists(path):
        return False
    if not Path(path).is_dir():
        raise not_a_log(path, "it is not a directory")
    names = [entry.name for entry in Path(path).iterdir()]
    if not names:
        return False
    if "data.mdb" not in names:
        raise not_a_log(path, "the directory holds other things")
    return True


def _meta(page: bytes, start: int) -> tuple[int, int, int] | None:
    """Return version, last page and transaction id of a meta page; None if it is none."""
    if len(page) < start + 152:
        return None
    magic, version = _META.unpack_from(page, start + 16)
    if magic != _MAGIC:
        return None
    last_page, transaction = _LAST_PAGE.unpack_from(page, start + 136)
    return version, last_page, transaction
