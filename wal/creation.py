"""Making a log, so that a crash at any instant leaves nothing or a whole one.

    X.new-… ─► NEW, tables and what they hold ─► sync ─► fsync directory ─► rename to X ─► fsync parent ─► remove X/NEW

LMDB fsyncs neither a new file nor a directory, so a log made in place could be found without its first pages.

NEW   A file in a log whose name may not last yet, because its maker is still at it, or was killed. Whoever opens the
      log for writing then flushes the parent before anything is acknowledged.

Invariants:
1. A directory named X holds a whole log from the first instant on.
2. A maker holds the lock of what it makes; what nobody holds is a killed maker's, and the next one removes it.
3. Of two makers one wins, and the other uses what it made.
4. What is acknowledged of a log is never lost with the log's name, whoever made it and was killed doing so.
5. The files can be read and written by their owner alone.

This module must not know how a log is opened, nor where from the contents of one that is not empty come.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb

from .directory import hold, is_there, sync_directory
from .errors import LogExists, LogFull, LogInUse, LogReadOnly
from .tables import META, TABLE_NAMES

FORMAT = 1
"""Version of the layout of tables; raised when an old walgraph must not touch the file."""
MAX_TABLES = 16
UNSETTLED = "NEW"
"""The file that says that the name of a log may not last yet."""
_FIRST_MAP = 1 << 20
_TRIES = 100
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)


def create(path: str) -> None:
    """Make an empty log at a path where nothing, or an empty directory, is.

    Raises:
        LogReadOnly: This process must not write there.
        LogFull: The disk is full.
    """
    make(path, _fill, _move)


def create_filled(path: str, fill: Callable[[Path], None]) -> None:
    """Make a log that ``fill`` writes into a new directory, durably; it appears at the path when it is whole.

    Raises:
        LogExists: Something is at the path.
        LogReadOnly: This process must not write there.
        LogFull: The disk is full.
    """
    refuse_existing(path)
    make(path, fill, _move_strictly)


def refuse_existing(path: str) -> None:
    """Raise ``LogExists`` if anything but an empty directory is at a path where a log is to be made."""
    if os.path.lexists(path) and not (Path(path).is_dir() and not any(Path(path).iterdir())):
        message = f"Something is at {path} already, and was left untouched."
        raise LogExists(message, hint="Choose a path where nothing is.", path=path)


def make(path: str, fill: Callable[[Path], None], move: Callable[[Path, Path], None]) -> None:
    """Fill a new directory beside the path, and move it to its place.

    Raises:
        LogReadOnly: This process must not write there.
        LogFull: The disk is full.
    """
    from .fault import reach  # most processes make no log

    place = Path(path)
    fresh = None
    try:
        _make_parents(place.parent)
        _remove_leftovers(place)
        fresh, lock = _fresh_directory(place)
        try:
            reach("creation: directory made")
            (fresh / UNSETTLED).touch(mode=0o600)
            fill(fresh)
            reach("creation: filled")
            move(fresh, place)
            reach("creation: renamed")
        finally:
            if lock is not None:
                os.close(lock)
        sync_directory(str(place.parent))
        reach("creation: name flushed")
        (place / UNSETTLED).unlink(missing_ok=True)
    except PermissionError as error:
        message = f"No log can be made at {path}: {error.strerror}."
        hint = "Choose a directory that this process may write to."
        raise LogReadOnly(message, hint=hint, path=path) from None
    except (lmdb.DiskError, OSError) as error:
        if isinstance(error, lmdb.DiskError) or error.errno in _NO_SPACE:
            message = f"No log can be made at {path}: {error}."
            raise LogFull(message, hint="Free space on the disk.", path=path) from error
        raise
    finally:
        if fresh is not None:
            _remove(fresh)


def settle(path: str) -> None:
    """Let a log's name last, if its maker did not come to it."""
    mark = Path(path, UNSETTLED)
    if mark.exists():
        sync_directory(str(Path(os.path.realpath(path)).parent))
        mark.unlink(missing_ok=True)


def _make_parents(folder: Path) -> None:
    """Make a directory and those above it, durably."""
    if not folder.is_dir():
        _make_parents(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_directory(str(folder.parent))


def _fresh_directory(place: Path) -> tuple[Path, int | None]:
    """Make a directory beside the path and lock it."""
    for _ in range(_TRIES):
        fresh = place.with_name(f"{place.name}.new-{os.urandom(6).hex()}")
        fresh.mkdir()
        # Until it is locked, another maker may take it for a leftover and remove it; then a new one is made.
        with contextlib.suppress(LogInUse, FileNotFoundError):
            lock = hold(str(fresh), exclusive=False)
            if (fresh / "LOCK").exists():
                return fresh, lock
            if lock is not None:
                os.close(lock)
    raise LogInUse(
        f"No log can be made at {place}: others keep removing it.", hint="Try again.", path=str(place)
    )


def _fill(fresh: Path) -> None:
    """Make the tables and the facts about the log, durably."""
    (fresh / "CLAIMS").touch(mode=0o600)
    environment = lmdb.open(
        str(fresh), map_size=_FIRST_MAP, max_dbs=MAX_TABLES, lib_version=0, writemap=False, mode=0o600
    )
    try:
        handles = [environment.open_db(name) for name in TABLE_NAMES]
        with environment.begin(write=True) as txn:
            txn.put(b"format", str(FORMAT).encode(), db=handles[META])
            txn.put(b"store", os.urandom(16), db=handles[META])
        environment.sync(True)  # noqa: FBT003 - the parameter has no name that LMDB would take.
    finally:
        environment.close()
    sync_directory(str(fresh))


def _move(fresh: Path, place: Path) -> None:
    """Rename the log to its place, unless another maker's is there by now."""
    if sys.platform == "win32" and place.is_dir():
        place.rmdir()
    try:
        fresh.rename(place)
    except OSError:
        if not is_there(str(place)):
            raise


def _move_strictly(fresh: Path, place: Path) -> None:
    """Rename the log to its place; what came there meanwhile stays."""
    refuse_existing(str(place))
    if sys.platform == "win32" and place.is_dir():
        place.rmdir()
    try:
        fresh.rename(place)
    except OSError:
        refuse_existing(str(place))
        raise


def _remove_leftovers(path: Path) -> None:
    """Remove what makers of the same log left behind when they were killed: nobody holds its lock."""
    for leftover in path.parent.iterdir():
        if not leftover.name.startswith(path.name + ".new-"):
            continue
        with contextlib.suppress(OSError, LogInUse):
            lock = hold(str(leftover), exclusive=True)
            _remove(leftover)
            if lock is not None:
                os.close(lock)


def _remove(directory: Path) -> None:
    """Remove a directory of plain files, as far as it is still there."""
    with contextlib.suppress(OSError):
        for file in directory.iterdir():
            file.unlink(missing_ok=True)
        directory.rmdir()
