"""The store over LMDB.

    read    one short read transaction per call; none is open between two values handed out
    write   begin ─► few calls ─► commit, in one function on one thread

The flags are those of the chosen ``fsync`` (``wal.flush``); the file is created and checked by ``wal.environment``.

Invariants:
1. The result of every ``append=True`` is looked at: LMDB refuses a key out of order without an exception.
2. A write transaction begins and ends in one ``with`` block, so that it never changes thread nor outlives one.
3. Errors of LMDB leave this module as ``LogFull``, ``LogFailed``, ``LogClosed`` or ``LogCorrupt``.

This module must not know what the tables mean to the log.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb

from .environment import Environment
from .errors import LogClosed, LogCorrupt, LogFailed, LogFull, LogReadOnly, WalgraphError
from .forking import enter, inside
from .store import Durability
from .table_store import TableStore
from .tables import LATER_NAMES, LOG, TABLE_NAMES, Tables

_FULL = (lmdb.MapFullError, lmdb.DiskError)
NO_ROOM = 64 * 1024
"""A disk with fewer free bytes than this counts as full when a write fails."""
_DAMAGED = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.BadChecksumError, lmdb.InvalidError)


def translate(error: Exception, path: str) -> WalgraphError:
    """Return our error for one of LMDB or of the operating system."""
    if isinstance(error, _FULL) or (isinstance(error, lmdb.Error) and _has_no_room(path)):
        limit = "map" if isinstance(error, lmdb.MapFullError) else "disk"
        message = (
            f"The {limit} of the log at {path} is full ({error}). Everything recorded before is still there."
        )
        hint = (
            "Open the log with a larger map_size."
            if limit == "map"
            else "Free space on the disk, or run `wal compact`; then open the log again."
        )
        return LogFull(message, hint=hint, path=path)
    if isinstance(error, _DAMAGED):
        message = f"LMDB found the log at {path} damaged: {error}."
        return LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", path=path)
    if isinstance(error, lmdb.ReadonlyError):
        return LogReadOnly(
            f"The log at {path} was opened for reading only.", hint="Open it without readonly."
        )
    message = f"The log at {path} could not be read or written: {type(error).__name__}: {error}."
    return LogFailed(
        message, hint="Close this log and open it again; its head tells what is durable.", path=path
    )


def _has_no_room(path: str) -> bool:
    """Return whether the disk is full: of a write that found room for a part only, LMDB says "Input/output error"."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < NO_ROOM


class LmdbTransaction:
    """One LMDB transaction; begins and ends in a ``with`` block."""

    __slots__ = ("_abandoned", "_environment", "_handles", "_txn", "_write")

    def __init__(self, environment: Environment, write: bool) -> None:  # noqa: FBT001
        self._environment = environment
        self._write = write
        self._abandoned = False
        self._handles = environment.handles

    def __enter__(self) -> Self:
        """Begin; a writer waits for the one that is writing."""
        environment = self._environment
        if environment.closed:
            raise LogClosed(f"The log at {environment.path} was closed.", hint="Open it again.")
        if self._write:
            environment.wait_for_turn()
        enter(id(self))
        try:
            self._txn = environment.lmdb.begin(write=self._write)
        except lmdb.MapResizedError:
            # Another process opened the log with a larger map: take over its size, and try once more.
            environment.lmdb.set_mapsize(0)
            self._txn = environment.lmdb.begin(write=self._write)
        except (lmdb.Error, OSError) as error:
            del inside[id(self)]
            raise translate(error, environment.path) from error
        except BaseException:
            del inside[id(self)]
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End: commit, or abort after an error."""
        try:
            self._end(kind, error)
        finally:
            inside.pop(id(self), None)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        txn = self._txn
        if kind is None and self._write and not self._abandoned:
            try:
                txn.commit()
            except (lmdb.Error, OSError) as failure:
                raise translate(failure, self._environment.path) from failure
            return
        with contextlib.suppress(lmdb.Error):
            txn.abort()
        if isinstance(error, (lmdb.Error, OSError)) and not isinstance(error, WalgraphError):
            raise translate(error, self._environment.path) from error

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return the value of a key."""
        value: bytes | None = self._txn.get(key, db=self._handles[table])
        return value

    def get_many(self, table: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of those keys that are there."""
        with self._txn.cursor(self._handles[table]) as cursor:
            return dict(cursor.getmulti(keys))

    def scan(self, table: int, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to ``limit`` entries with key ≥ ``start``, in order."""
        with self._txn.cursor(self._handles[table]) as cursor:
            if not cursor.set_range(start):
                return []
            return [entry for _, entry in zip(range(limit), cursor.iternext(), strict=False)]

    def keys(self, table: int, start: bytes, limit: int) -> list[bytes]:
        """Return up to ``limit`` keys ≥ ``start``, in order."""
        with self._txn.cursor(self._handles[table]) as cursor:
            if not cursor.set_range(start):
                return []
            return [key for _, key in zip(range(limit), cursor.iternext(values=False), strict=False)]

    def at_or_before(self, table: int, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key ≤ ``key``."""
        with self._txn.cursor(self._handles[table]) as cursor:
            found = cursor.set_range(key)
            if found and cursor.key() == key:
                return cursor.item()
            return cursor.item() if (cursor.prev() if found else cursor.last()) else None

    def count(self, table: int) -> int:
        """Return the number of entries."""
        entries: int = self._txn.stat(self._handles[table])["entries"]
        return entries

    def number(self) -> int:
        """Return this transaction's number; of a reader, that of the last one that it sees."""
        number: int = self._txn.id()
        return number

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self._txn.put(key, value, db=self._handles[table])

    def put_many(self, table: int, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values; fastest when sorted by key."""
        with self._txn.cursor(self._handles[table]) as cursor:
            cursor.putmulti(items)

    def append(self, table: int, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Add entries that are greater than all that are there; an error otherwise."""
        if len(items) == 1:
            added = int(self._txn.put(items[0][0], items[0][1], append=True, db=self._handles[table]))
        else:
            with self._txn.cursor(self._handles[table]) as cursor:
                added = cursor.putmulti(items, append=True)[1]
        if added != len(items):
            message = (
                f"The log at {self._environment.path} holds entries beyond the end that its directory knows."
            )
            raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.")

    def delete(self, table: int, key: bytes) -> bool:
        """Remove an entry; tell whether it was there."""
        return bool(self._txn.delete(key, db=self._handles[table]))

    def abandon(self) -> None:
        """Make the end undo everything, without an error."""
        self._abandoned = True


class LmdbTables(Tables):
    """The named databases of one environment."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def read(self) -> LmdbTransaction:
        """Return a transaction to read in."""
        return LmdbTransaction(self.environment, write=False)

    def write(self) -> LmdbTransaction:
        """Return a transaction to write in."""
        if self.environment.readonly:
            message = f"The log at {self.environment.path} was opened for reading only."
            raise LogReadOnly(message, hint="Open it without readonly.")
        return LmdbTransaction(self.environment, write=True)

    def last(self) -> int:
        """Return the number of the last transaction that any process has committed."""
        # LMDB's own report of it runs ahead of what a reader sees, so a reader is asked.
        with self.read() as txn:
            return txn.number()

    def prepare(self, table: int, *, create: bool) -> bool:
        """Open a table that not every log has, making it if it is not there."""
        environment = self.environment
        if environment.closed:
            raise LogClosed(f"The log at {environment.path} was closed.", hint="Open it again.")
        if table in environment.later:
            return True
        if environment.readonly and create:
            raise LogReadOnly(
                f"The log at {environment.path} was opened for reading only.",
                hint="Open it without readonly.",
            )
        try:
            return environment.open_later(table, create=create)
        except WalgraphError:
            raise
        except (lmdb.Error, OSError) as error:
            raise translate(error, environment.path) from error


class LmdbStore(TableStore):
    """The contract over an LMDB environment."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(LmdbTables(environment))
        self.environment = environment
        self.readonly = environment.readonly
        self.durability = Durability.OS if environment.fsync == "off" else Durability.DISK

    def facts(self) -> Mapping[str, Any]:
        """Return sizes, format and free space."""
        environment = self.environment
        info, stat = environment.lmdb.info(), environment.lmdb.stat()
        page = stat["psize"]
        names = dict(enumerate(TABLE_NAMES + LATER_NAMES))
        there = [
            table for table in names if table < len(TABLE_NAMES) or self._tables.prepare(table, create=False)
        ]
        with self._tables.read() as txn:
            entries = {names[table].decode(): txn.count(table) for table in there}
            held = {names[table].decode(): _pages(environment, table) for table in there}
        size = Path(environment.path, "data.mdb").stat().st_size
        pages = sum(held.values())
        return {
            "storage": "lmdb",
            "path": environment.path,
            "store": environment.store.hex(),
            "format": environment.format,
            "fsync": environment.fsync,
            "size": size,
            "live": pages * page,
            "free": max(0, (info["last_pgno"] + 1 - pages) * page),
            "map_size": info["map_size"],
            "readers": info["num_readers"],
            "entries": entries[TABLE_NAMES[LOG].decode()],
            "tables": entries,
            "table_bytes": {name: count * page for name, count in held.items()},
        }

    def close(self) -> None:
        """Close the environment; idempotent."""
        self.environment.close()


def _pages(environment: Environment, table: int) -> int:
    with environment.lmdb.begin() as txn:
        stat = txn.stat(environment.handles[table])
    total: int = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return total
