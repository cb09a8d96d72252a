"""Filling the tables of a log that nobody has yet: for restoring, importing and repairing.

    create_filled(path, fill)        fill(directory): with builder(directory) as tables: tables.put(LOG, entries)

The directory is renamed to its place only after everything was flushed (``wal.creation``), so nothing is flushed on the
way.

Invariants:
1. When ``builder`` ends without an error, all that was put is durable.
2. Memory does not grow with what is put: a transaction is ended whenever ``COMMIT_BYTES`` were put.

This module must not know what the tables mean.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb

from .creation import MAX_TABLES
from .directory import sync_directory, walk_pages
from .errors import BackupDamaged, LogCorrupt, OutOfResources
from .lmdb_store import translate
from .log import Log
from .progress import Progress
from .tables import LATER_NAMES, TABLE_NAMES
from .verify import Report, verify

COMMIT_BYTES = 64 << 20
MAP_SIZE = 64 << 30
SMALLEST_MAP = 1 << 30

Entries = Sequence[tuple[bytes, bytes]]


class Builder:
    """The tables of a log in the making. Made by ``builder``."""

    def __init__(self, environment: lmdb.Environment, path: str) -> None:
        self._environment = environment
        self._path = path
        self._handles: dict[int, Any] = {table: self._open(table) for table in range(len(TABLE_NAMES))}
        self._txn: Any = None
        self._pending = 0

    def put(self, table: int, entries: Entries) -> None:
        """Add entries; keys that are there already get the new value."""
        if not entries:
            return
        handle = self._handle(table)
        with self._open_txn().cursor(handle) as cursor:
            is_behind = not cursor.last() or cursor.key() < entries[0][0]
            # Appending fills pages to the brim, which ordinary puts in order leave half empty.
            _, added = cursor.putmulti(entries, append=is_behind)
            if is_behind and added != len(entries):
                raise LogCorrupt("Entries came out of order.", hint="The source is damaged.")
        self._count(sum([len(key) + len(value) for key, value in entries]))

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return the value of a key."""
        handle = self._handle(table)
        value: bytes | None = self._open_txn().get(key, db=handle)
        return value

    def delete(self, table: int, key: bytes) -> None:
        """Remove an entry."""
        handle = self._handle(table)
        self._open_txn().delete(key, db=handle)
        self._count(len(key))

    def clear(self, table: int) -> None:
        """Remove all entries of a table."""
        handle = self._handle(table)
        self._open_txn().drop(handle, delete=False)

    def commit(self) -> None:
        """End the transaction."""
        if self._txn is not None:
            txn, self._txn = self._txn, None
            self._pending = 0
            txn.commit()

    def abort(self) -> None:
        """Give up what was not committed."""
        if self._txn is not None:
            txn, self._txn = self._txn, None
            txn.abort()

    def _count(self, size: int) -> None:
        self._pending += size
        if self._pending >= COMMIT_BYTES:
            self.commit()

    def _open_txn(self) -> Any:
        if self._txn is None:
            self._txn = self._environment.begin(write=True)
        return self._txn

    def _handle(self, table: int) -> Any:
        if table not in self._handles:
            # A table cannot be made within a transaction of this thread.
            self.commit()
            self._handles[table] = self._open(table)
        return self._handles[table]

    def _open(self, table: int) -> Any:
        name = (TABLE_NAMES + LATER_NAMES)[table]
        return self._environment.open_db(name)


@contextlib.contextmanager
def builder(directory: Path) -> Iterator[Builder]:
    """Make a log's files in a directory and hand out its empty tables.

    Raises:
        LogFull: The disk is full.
        OutOfResources: No addresses are free.
    """
    (directory / "CLAIMS").touch(mode=0o600)
    environment = _open(str(directory))
    try:
        tables = Builder(environment, str(directory))
        try:
            yield tables
            tables.commit()
        finally:
            tables.abort()
        environment.sync(True)  # noqa: FBT003 - the parameter has no name that LMDB would take.
    except lmdb.Error as error:
        raise translate(error, str(directory)) from error
    finally:
        environment.close()
    sync_directory(str(directory))


def _open(path: str) -> lmdb.Environment:
    size = MAP_SIZE
    while True:
        try:
            return lmdb.open(
                path,
                map_size=size,
                max_dbs=MAX_TABLES,
                lib_version=0,
                writemap=False,
                sync=False,
                metasync=False,
                mode=0o600,
            )
        except lmdb.MemoryError:
            size //= 2
            if size < SMALLEST_MAP:
                message = f"No {size} bytes of addresses are free for a log at {path}."
                raise OutOfResources(message, hint="Raise `ulimit -v`.") from None


def verified(fresh: Path, source: str, progress: Progress) -> Report:
    """Verify the new log before anybody can find it.

    Raises:
        BackupDamaged: It is not whole.
    """
    problems = walk_pages(str(fresh))
    report = Report((), 0, 0, 0, 0, 0)
    if not problems:
        try:
            with Log.open(fresh, create=False, readonly=True, force=True) as log:
                report = verify(log, structure=False, progress=progress)
            problems = [f"{problem.thread} {problem.what}".strip() for problem in report.problems]
        except LogCorrupt as error:
            problems = [error.message]
    if problems:
        message = f"The log made from {source} is damaged, and was given up: {problems[0]}."
        hint = "What it was made from was damaged already: use an earlier backup."
        raise BackupDamaged(message, hint=hint, report=problems)
    return report
