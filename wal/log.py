"""The log: what the engine and the user hold.

    Log.open(path) ──► writer(thread) ──► append ──► flush          one owner per thread
                   ──► read, snapshot, head, threads                anybody, at any time (``wal.log_reading``)

One object serves workers and asyncio, many graphs and many threads. Objects of one path share everything but their own
options within a process (``wal.core``). Nothing here waits except ``flush``, ``close`` and a claim that was told to.

Invariants:
1. A thread's records are changed by the one who has claimed it, and by nobody else.
2. In a forked child a log object opens itself again at its first use; writers do not.

This module must not know what records mean.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack

from .blob import Blob, digest
from .codec import Encoder, Packed
from .core import Core, Keeper, Options, Policy, memory_core, open_core
from .errors import StaleWriter
from .flush import LMDB_FLAGS, Fsync
from .head import to_head
from .keyspace import not_found
from .log_reading import LogReading, ThreadId, as_thread_id, checked_name
from .promise import renewed
from .record import Reference
from .store import Row, Snapshot, Store
from .writer import Values, Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backup import Backup
    from .backup_target import Target
    from .items import Items
    from .keys import KeyRing
    from .schedules import Schedules
    from .sealed_shelves import SealedShelves
    from .shared import SharedWriter
    from .submissions import Submissions
    from .watch import Watch

IfBusy = Literal["raise", "wait", "steal"]
_SHARED_KEPT = 256


class OpenOptions(TypedDict, total=False):
    """The options of ``Log.open``, by name."""

    create: bool
    fsync: Fsync
    map_size: int
    strict: bool
    force: bool
    flush_interval: float
    flush_bytes: int
    readonly: bool
    keys: KeyRing | None


class Log(LogReading):
    """An ordered, append-only log of records, many threads in one directory. Made by ``Log.open``."""

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, retention: Policy | None = None, **options: Unpack[OpenOptions]
    ) -> Log:
        """Open the log in a directory, making it if it is not there.

        Args:
            path: The directory.
            retention: What the log keeps of old history: a ``Retention``, carried out until the log is closed.
            create: Make the log if there is none.
            fsync: What a commit asks of the disk: ``full``, ``data`` or ``off`` (see ``wal.flush``).
            map_size: How large the log may become; only addresses are reserved.
            strict: Hand decoded copies to the engine, to catch values that do not come back as they were.
            force: Allow a network file system.
            flush_interval: How long an append may wait for the flusher, at most 0.05 seconds.
            flush_bytes: How much may gather before the flusher commits at once.
            readonly: Never create or change anything; for tools beside a live writer.
            keys: Encrypt what users give with these; what is encrypted can be read with them only.

        Raises:
            LogNotFound: There is no log, and none was to be made.
            NotALog: Something else lies at the path.
            FormatTooNew: A newer walgraph wrote the log.
            LogCorrupt: The file is damaged.
            LogReadOnly: This process must not write there.
            RemoteDisk: The path lies on a network file system.
            LogInUse: The log is being shrunk, or open here with other options.
            KeyMissing: The log is encrypted, and no keys were given, though it is opened for writing.
            NotAvailable: Keys were given, and the package ``cryptography`` is not installed.
        """
        chosen = Options(**options)
        if chosen.fsync not in LMDB_FLAGS:
            raise ValueError(f"fsync must be 'full', 'data' or 'off', not {chosen.fsync!r}.")
        # Not resolved: a link that is pointed elsewhere later must not move the log that is open.
        place = str(Path(path).absolute())
        log = cls(open_core(place, chosen), path=place, options=chosen)
        if retention is not None:
            try:
                log.keep(retention)
            except BaseException:
                log.close()
                raise
        return log

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the log."""
        self.close()

    # Writing

    def writer(
        self, thread_id: ThreadId, *, if_busy: IfBusy = "raise", timeout: float | None = None
    ) -> Writer:
        """Claim a thread and return its one owner.

        Args:
            thread_id: The thread; a new one comes into being with its first append.
            if_busy: What to do while another run owns the thread: ``raise``, ``wait``, or ``steal`` it.
            timeout: How many seconds to wait at most; None waits without end.

        Raises:
            ThreadBusy: Another run owns the thread.
            LogReadOnly: The log was opened for reading only.
        """
        core = self._live(write=True)
        thread = as_thread_id(thread_id)
        if if_busy not in ("raise", "wait", "steal"):
            raise ValueError(f"if_busy must be 'raise', 'wait' or 'steal', not {if_busy!r}.")
        if core.vault is not None:
            core.vault.check(thread)
        claim = _Claim()
        if if_busy == "steal":
            former = core.claims.steal(thread, claim)
            if former is not None or core.claims.is_unlocked(thread):
                return self._take_over(core, thread, claim, former)
        else:
            core.claims.take(thread, claim, timeout=0.0 if if_busy == "raise" else timeout)
        try:
            core.committer.flush_thread(thread)
            row = core.store.row(thread)
        except BaseException:
            core.claims.give_back(thread, claim)
            raise
        return self._writer(core, thread, row, claim, epoch=1 if row is None else row.epoch + 1)

    def join(self, thread_id: ThreadId) -> SharedWriter:
        """Return a writer of a thread that others may write as well: the first to append goes on, others are told.

        Raises:
            ThreadBusy: A run owns the thread.
            LogReadOnly: The log was opened for reading only.
        """
        from .shared import SharedWriter  # only the threads that LangGraph runs are written so

        core, thread = self._live(write=True), as_thread_id(thread_id)
        if core.vault is not None:
            core.vault.check(thread)
        return SharedWriter(core, thread, self.fetch)

    def put_snapshot(self, thread_id: ThreadId, seq: int, packed: Packed) -> None:
        """Queue a snapshot for the next group commit; it replaces older ones but for the one at the horizon."""
        from .fault import reach  # most processes take no snapshot

        core = self._live(write=True)
        thread = as_thread_id(thread_id)
        core.committer.put_snapshot(Snapshot(thread, seq, packed.data, tuple(packed.blobs)))
        reach("snapshot: queued")
        owner = core.claims.holder(thread)
        if isinstance(owner, _Claim) and owner.writer is not None:
            owner.writer.note_snapshot(seq)

    def put_shared(self, value: Any) -> Reference:
        """Encode a value once for many records; it travels with the next commit, and is stored once."""
        core = self._live(write=True)
        packed = Encoder().value(value, whole=True)
        blob = Blob(digest(packed.data), packed.data)
        with self._lock:
            known = blob.digest in self._shared
            self._shared[blob.digest] = (blob,)
            if len(self._shared) > _SHARED_KEPT:
                self._shared.popitem(last=False)
        if not known:
            core.committer.put_blob(blob)
        return Reference(blob.digest, len(blob.data))

    def signal(self, thread_id: ThreadId, name: str, payload: Any = None, *, id: str | None = None) -> bool:
        """Send a signal to a thread: it waits, durably, until the thread receives it by ``wait_for(name)``.

        The thread need not exist yet, nor wait already, and another process may own it. Signals of one name are
        received in the order in which they were sent, each once.

        Args:
            thread_id: The thread.
            name: What ``wait_for`` is told.
            payload: What ``wait_for`` returns; None like anything else.
            id: Names this very signal, so that sending it again changes nothing; the thread's 10,000 newest are known.

        Returns:
            Whether it was sent; False if a signal with this id was sent before.

        Raises:
            ThreadDeleted: The thread was deleted.
            NotSerializable: The payload cannot be written.
            LogReadOnly: The log was opened for reading only.
        """
        core = self._live(write=True)
        if core.committer.failure is not None:
            raise renewed(core.committer.failure)
        thread, name = as_thread_id(thread_id), checked_name(name)
        if id is not None:
            checked_name(id, "id")
        data = Encoder().value(payload, whole=True).data
        if core.vault is not None:
            data = core.vault.seal_for(thread, data, ("signal", thread, name, id))
        return core.store.mail.post(thread, name, data, id)

    def delete_thread(self, thread_id: ThreadId) -> None:
        """Remove a thread and all that the log holds of it, its mailbox too; one that is not there is no error.

        Raises:
            ThreadBusy: A run owns the thread.
        """
        with self._claimed(thread_id) as (core, thread):
            # The thread is what a deletion that was cut short leaves, so that it can be repeated.
            core.store.submissions.drop(thread)
            core.store.delete(thread)

    def copy_thread(self, source: ThreadId, target: ThreadId) -> None:
        """Copy a thread's records and snapshots to a new thread, whose mailbox is empty.

        Raises:
            ThreadNotFound: There is no such source.
            ThreadBusy: The target exists, or a run owns one of the two.
        """
        with (
            self._claimed(source) as (core, first),
            self._claimed(target) as (_, second),
        ):
            core.store.copy(
                first, second, None if core.vault is None else core.vault.moved(first, second, core.store)
            )

    def backup(self, target: str | os.PathLike[str] | Target, *, keep: int | None = None) -> Backup:
        """Add a backup of this moment to a folder or an object store, beside whoever writes.

        Args:
            target: A folder, or an address such as ``s3://bucket/orders`` (needs the extra ``objectstore``).
            keep: How many of the newest backups stay there; all, if left out.

        Raises:
            BackupMismatch: The target holds backups of another log, or of a later state of this one.
            BackupDamaged: What was written cannot be read back.
            NotAvailable: The target needs a package that is not installed.
        """
        from .backup import backup

        self.flush()
        return backup(self.store, target, keep=keep)

    def truncate(
        self,
        thread_id: ThreadId,
        upto: int,
        *,
        batch: int | None = None,
        pace: Callable[[int], None] | None = None,
    ) -> int:
        """Cut off the records that a snapshot at or before ``upto`` stands for; return how many frames went.

        Args:
            thread_id: The thread.
            upto: The greatest seq that may go.
            batch: How many frames one transaction removes at most, while which writers wait.
            pace: Called with that number between two transactions; may wait there.
        """
        core, thread = self._flushed(thread_id, write=True)
        return core.store.truncate(thread, upto, batch=batch, pace=pace)

    def keep(self, retention: Policy) -> Keeper:
        """Let a policy look after this log in the background, in the place of one that does, until it is closed.

        Raises:
            LogReadOnly: The log was opened for reading only.
        """
        self._live(write=True)
        if self.keeper is not None:
            self.keeper.close()
        self.keeper = retention.begin(self)
        return self.keeper

    def items(self, *, cached: bool = False, write: bool = False) -> Items:
        """Return what stores, or caches, keep beside the records; ``write``: to change it."""
        store = self._beside(write=write)
        return store.cached if cached else store.items

    def submissions(self, *, write: bool = False) -> Submissions:
        """Return the runs that were handed over; ``write``: to change what becomes of them."""
        return self._beside(write=write).submissions

    def schedules(self, *, write: bool = False) -> Schedules:
        """Return the schedules; ``write``: to change them, or to hand over what is due."""
        return self._beside(write=write).schedules

    @property
    def watch(self) -> Watch:
        """Who tells the runs of this process that they are to stop; for the engine."""
        return self._live().watch

    def cancel(self, thread_id: ThreadId, *, run_id: str | None = None, reason: str = "cancelled") -> bool:
        """Cancel what a thread does, whether it runs, in whatever process, or waits for something.

        A run that is under way stops before its next step or task call, and its coroutines at once. What was recorded
        stays; the thread is listed as ``cancelled``, and takes a new input.

        Args:
            thread_id: The thread.
            run_id: The one handed-over run that is meant; None for what the thread does and all that was handed over.
            reason: Why, for those who look.

        Returns:
            Whether there was anything to cancel; of a run that is under way, whether it was told. False for a thread
            that LangGraph itself runs: it says neither when a run begins nor when it ends.

        Raises:
            ThreadNotFound: There is no such thread, and nothing was handed over for it.
            LogReadOnly: The log was opened for reading only.
        """
        from .cancelling import cancel
        from .saved_thread import is_saved
        from .submission_layout import Wish

        thread = as_thread_id(thread_id)
        head = self.head(thread)
        if head is None and self.submissions().first(thread) is None and not self.is_claimed(thread):
            raise not_found(thread)
        watch = self.watch
        wish = Wish(thread, run_id or "", reason, watch.now())
        return cancel(
            self.submissions(write=True),
            wish,
            claim=lambda: self.writer(thread),
            watch=watch,
            is_saved=is_saved(self, head),
        )

    def flush(self, thread_id: ThreadId | None = None) -> None:
        """Return when everything that this process appended is durable; groups are shared by all threads."""
        self._live().committer.flush()
        if thread_id is not None:
            owner = self._core.claims.holder(as_thread_id(thread_id))
            if isinstance(owner, _Claim) and owner.writer is not None and owner.writer.failure is not None:
                raise owner.writer.failure

    def close(self) -> None:
        """Flush and close; the last log object of a path closes the file. Idempotent.

        Raises:
            LogFailed: What was queued could not be written.
        """
        if not self.closed:
            if self.keeper is not None:
                self.keeper.close()
            self.closed = True
            core = self._core
            if not core.forked and not core.closed:
                try:
                    if core.committer.failure is None:
                        core.committer.flush()
                finally:
                    core.release()

    def _beside(self, *, write: bool) -> Store | SealedShelves:
        """Return what keeps tables beside the records; to change them, only while commits succeed."""
        core = self._live(write=write)
        if write and core.committer.failure is not None:
            raise renewed(core.committer.failure)
        if core.vault is None:
            return core.store
        from .sealed_shelves import SealedShelves

        return SealedShelves(core.store, core.vault)

    def _claimed(self, thread_id: ThreadId) -> _Held:
        return _Held(self._live(write=True), as_thread_id(thread_id))

    def _take_over(self, core: Core, thread: str, claim: _Claim, former: object | None) -> Writer:
        """Fence the former owner off, wherever it is, and return the new one."""
        from .fault import reach  # most processes take nothing over

        message = f"Thread {thread!r} was taken over by another run of this process."
        if isinstance(former, _Claim) and former.writer is not None:
            former.writer.expelled(StaleWriter(message, hint="Let the other run go on.", thread=thread))

        reach("claim: taken")
        try:
            core.committer.flush_thread(thread)
            row = core.store.fence(thread)
            reach("claim: fenced off")
        except BaseException:
            core.claims.give_back(thread, claim)
            raise
        return self._writer(core, thread, row, claim, epoch=2 if row is None else row.epoch)

    def _writer(self, core: Core, thread: str, row: Row | None, claim: _Claim, *, epoch: int) -> Writer:
        head = None if row is None else to_head(row, _status_found(row))
        writer = Writer(
            core,
            thread,
            head,
            claim=claim,
            epoch=epoch,
            values=Values(self.strict, self._shared.get, self.fetch),
        )
        claim.writer = writer
        return writer


class MemoryLog(Log):
    """A log in this process's memory, for tests and throwaway runs; the same in every other respect."""

    def __init__(self, *, strict: bool = False) -> None:
        super().__init__(memory_core(), options=Options(strict=strict))


def open_log(
    path: str | os.PathLike[str], *, retention: Policy | None = None, **options: Unpack[OpenOptions]
) -> Log:
    """Open the log in a directory; the options are those of ``Log.open``."""
    return Log.open(path, retention=retention, **options)


class _Claim:
    """The token of one claim; knows its writer once there is one."""

    __slots__ = ("writer",)

    def __init__(self) -> None:
        self.writer: Writer | None = None


class _Held:
    """A claim held for one operation."""

    def __init__(self, core: Core, thread: str) -> None:
        self._core = core
        self._thread = thread

    def __enter__(self) -> tuple[Core, str]:
        self._core.claims.take(self._thread, self)
        try:
            self._core.committer.flush_thread(self._thread)
        except BaseException:
            self._core.claims.give_back(self._thread, self)
            raise
        return self._core, self._thread

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._core.claims.give_back(self._thread, self)


def _status_found(row: Row) -> str:
    """Return the status that a new owner finds: whoever ran before does so no more."""
    return "crashed" if row.status == "running" else row.status
