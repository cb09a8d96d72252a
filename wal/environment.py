"""One LMDB environment: opened once per process, with the flags that the durability proofs hold for.

    is it there? ─► check_file ─► LOCK ─► lmdb.open ─► tables and format ─► clear stale readers
         └─ no ─► create

Invariants:
1. Nothing that is not a log is ever changed, and none is made unless asked for.
2. One LMDB environment per file and process: the registry in ``wal.core`` shares it.
3. lib_version is always 0 and writemap always off: the durability proofs hold for these alone.

This module must not know what is in the tables.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import lmdb

from .creation import FORMAT, settle
from .creation import create as create_log
from .directory import check_file, hold, is_there, not_a_log, refuse_remote
from .errors import FormatTooNew, FormatTooOld, LogCorrupt, LogInUse, LogNotFound, LogReadOnly, OutOfResources
from .flush import LMDB_FLAGS
from .forking import enter, inside
from .tables import ENCRYPTED, LATER_NAMES, LOG, META, TABLE_NAMES

SMALLEST_MAP = 1 << 30


class Environment:
    """One open LMDB environment with its tables. Made by ``open_environment``."""

    def __init__(
        self, path: str, environment: lmdb.Environment, *, fsync: str, readonly: bool, lock: int | None
    ) -> None:
        self.path = path
        self.lmdb = environment
        self.fsync = fsync
        self.readonly = readonly
        self.closed = False
        self._lock = lock
        self.handles: tuple[Any, ...] = ()
        self.later: set[int] = set()
        """Which of the tables that not every log has are open."""
        self._opening = threading.Lock()
        self.wait_for_turn: Callable[[], None] = self._wait_first
        """Return when no other process writes; called before each write transaction (``wal.turn``)."""
        self.format = 0
        self.store = b""
        self.encrypted = False
        """Whether what is written there must be encrypted."""

    def mark_encrypted(self) -> None:
        """Note, for everybody who opens the log later, that what is written must be encrypted."""
        if not self.encrypted:
            self.wait_for_turn()
            with self.lmdb.begin(write=True) as txn:
                txn.put(ENCRYPTED, b"1", db=self.handles[META])
            self.encrypted = True

    def close(self) -> None:
        """Close the file and give up the shared lock; idempotent."""
        if not self.closed:
            self.closed = True
            self.lmdb.close()
            if self._lock is not None:
                os.close(self._lock)

    def _wait_first(self) -> None:
        """Wait for the first time: find LMDB's lock file, and be asked no more."""
        from .turn import lock_file, wait_for_turn  # only writers need it

        self.wait_for_turn = partial(wait_for_turn, lock_file(self.path), self.path)
        self.wait_for_turn()

    def load(self) -> None:
        """Open the tables and check that this is a log which we can read."""
        if not self.readonly:
            # LMDB takes the lock of writers to open a table, and waits for it with the interpreter's lock held.
            self.wait_for_turn()
        try:
            handles = [self.lmdb.open_db(name, create=False) for name in TABLE_NAMES]
        except (lmdb.NotFoundError, lmdb.ReadonlyError, lmdb.IncompatibleError):
            raise not_a_log(self.path, "it is an LMDB file without a log's tables") from None
        except lmdb.Error as error:
            raise self._damaged(error) from None
        self.handles = (*handles, *[None] * len(LATER_NAMES))
        try:
            with self.lmdb.begin() as txn:
                version = txn.get(b"format", db=handles[META])
                self.store = txn.get(b"store", db=handles[META]) or b""
                self.encrypted = txn.get(ENCRYPTED, db=handles[META]) is not None
                # One that an earlier version imported or repaired says so by its newest frame alone.
                with txn.cursor(handles[LOG]) as cursor:
                    self.encrypted |= cursor.last() and bool(cursor.value()[3:4] == b"\x01")
        except lmdb.Error as error:
            raise self._damaged(error) from None
        if version is None:
            raise not_a_log(self.path, "its table of facts names no format")
        if not version.isdigit() or len(version) > 9:
            raise not_a_log(self.path, f"its table of facts says that its format is {version[:32]!r}")
        self.format = int(version)
        if self.format > FORMAT:
            message = f"The log at {self.path} has format {self.format}; this walgraph reads format {FORMAT}."
            raise FormatTooNew(message, hint="Upgrade walgraph.", path=self.path, format=self.format)
        if self.format < FORMAT:
            message = (
                f"The log at {self.path} has format {self.format}; this walgraph works with format {FORMAT}."
            )
            hint = f"wal upgrade {self.path} --apply, while nobody has it open; the old one is kept."
            raise FormatTooOld(message, hint=hint, path=self.path, format=self.format)

    def _damaged(self, error: lmdb.Error) -> LogCorrupt:
        message = f"LMDB found the tables of the log at {self.path} damaged: {error}."
        hint = f"wal repair {self.path} shows what can be kept; or restore it from a backup."
        return LogCorrupt(message, hint=hint, path=self.path)

    def open_later(self, table: int, *, create: bool) -> bool:
        """Open a table that not every log has, and tell whether it is there."""
        name = LATER_NAMES[table - len(TABLE_NAMES)]
        with self._opening:
            if table in self.later:
                return True
            if create:
                self.wait_for_turn()
            # A child that is forked meanwhile would wait for this call of a thread that only its parent has.
            enter(id(self))
            try:
                if not create:
                    # Opening a table takes the lock of writers, so it is looked for in LMDB's own list of tables first.
                    with self.lmdb.begin() as txn:
                        if txn.get(name) is None:
                            return False
                if self.readonly:
                    handle = self.lmdb.open_db(name, create=False)
                else:
                    # Within a transaction of ours, since ``open_db`` waits for its own with the interpreter's lock
                    # held: whoever is writing could then not go on, and this would wait for ever.
                    self.wait_for_turn()
                    with self.lmdb.begin(write=True) as txn:
                        handle = self.lmdb.open_db(name, txn=txn, create=create)
            finally:
                inside.pop(id(self), None)
            self.handles = (*self.handles[:table], handle, *self.handles[table + 1 :])
            self.later.add(table)
        return True


def open_environment(
    path: str,
    *,
    create: bool = True,
    fsync: str = "full",
    map_size: int = 64 << 30,
    readonly: bool = False,
    force: bool = False,
    locked: bool = False,
) -> Environment:
    """Open the log at ``path``, making it first where asked; ``locked``: the caller holds its lock.

    Raises:
        LogNotFound: There is nothing, and ``create`` is false.
        NotALog: Something else lies there.
        FormatTooNew: A newer walgraph wrote it.
        LogCorrupt: The file is damaged so badly that it must not be opened.
        LogReadOnly: The directory cannot be written, and ``readonly`` is false.
        RemoteDisk: The directory lies on a network file system, and ``force`` is false.
        LogInUse: The log is being shrunk.
        WriterStopped: Another process was stopped while it wrote, and this one is to write.
    """
    if not force:
        refuse_remote(path)
    if not is_there(path):
        if not create or readonly:
            raise LogNotFound(
                f"There is no log at {path}.", hint="Check the path; create it with Log.open(path)."
            )
        create_log(path)
    check_file(path, readonly=readonly)
    if not readonly and not os.access(path, os.W_OK):
        message = f"This process must not write to the log at {path}."
        raise LogReadOnly(message, hint="Change the permissions, or open it with readonly=True.", path=path)
    lock = None if locked else hold(path, exclusive=False, readonly=readonly)
    try:
        opened = _open(path, map_size, fsync=fsync, readonly=readonly)
        environment = Environment(path, opened, fsync=fsync, readonly=readonly, lock=lock)
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise
    try:
        environment.load()
        if not readonly:
            settle(path)
            opened.reader_check()
    except BaseException:
        environment.close()
        raise
    return environment


def _open(path: str, map_size: int, *, fsync: str, readonly: bool, lock: bool = True) -> lmdb.Environment:
    """Open LMDB's environment, with half the map as long as the addresses do not suffice."""
    flags = LMDB_FLAGS[fsync]
    while True:
        try:
            return lmdb.open(
                path,
                map_size=map_size,
                max_dbs=16,
                max_readers=1024,
                readonly=readonly,
                create=False,
                writemap=False,
                readahead=True,
                lib_version=0,
                lock=lock,
                mode=0o600,
                **flags,
            )
        except lmdb.MemoryError:
            map_size //= 2
            if map_size < SMALLEST_MAP:
                raise OutOfResources(
                    f"No {map_size} bytes of addresses are free for the log at {path}. Nothing was changed.",
                    hint="Raise `ulimit -v`, or pass a smaller map_size.",
                ) from None
        except lmdb.VersionMismatchError as error:
            raise FormatTooNew(f"LMDB cannot read {path}: {error}.", hint="Upgrade walgraph.") from None
        except (lmdb.ReadonlyError, lmdb.LockError, PermissionError) as error:
            if readonly and lock:
                # A reader may lack the right to write its place into lock.mdb; alone, it can read without.
                lock = False
                continue
            hint = "Change the permissions, or open it with readonly=True."
            raise LogReadOnly(
                f"The log at {path} cannot be written: {error}.", hint=hint, path=path
            ) from None
        except lmdb.Error as error:
            if "Permission denied" in str(error) or "Read-only" in str(error):
                if readonly and lock:
                    lock = False
                    continue
                hint = "Change the permissions, or open it with readonly=True."
                raise LogReadOnly(f"The log at {path} cannot be written: {error}.", hint=hint) from None
            if "already open" in str(error):
                message = f"The log at {path} is already open in this process, outside of walgraph."
                raise LogInUse(message, hint="Close the other environment first.", path=path) from None
            from .scarcity import lacking

            if lacking(error):
                raise
            raise LogCorrupt(
                f"LMDB refuses the log at {path}: {error}.", hint="Restore from a backup."
            ) from None
