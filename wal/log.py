"""The log: what the engine and the user hold.

    Log.open(path) ──► writer(thread) ──► append ──► flush          one owner per thread
                   ──► read, snapshot, head, threads                anybody, at any time

One object serves workers and asyncio, many graphs and many threads. Objects of one path share everything but their own
options within a process (``wal.core``). Nothing here waits except ``flush``, ``close`` and a claim that was told to.

Invariants:
1. What this process has appended is written before it is read: every read flushes first.
2. Values are decoded only through ``decoder``, which fetches large ones and checks their hashes.
3. In a forked child a log object opens itself again at its first use; writers do not.

This module must not know what records mean.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypedDict, Unpack
from uuid import UUID

from .blob import Blob, digest
from .codec import GLOBAL, Decoder, Encoder, Packed, Registry
from .core import Core, Options, memory_core, open_core
from .errors import LogClosed, LogCorrupt, LogReadOnly, StaleWriter
from .flush import LMDB_FLAGS, Fsync
from .frame import Header
from .head import ThreadHead, to_head
from .keyspace import RESTORE
from .promise import renewed
from .record import Record, Reference, StateFolded
from .store import Durability, Row, Snapshot, Store
from .writer import Values, Writer

if TYPE_CHECKING:
    from .items import Items

IfBusy = Literal["raise", "wait", "steal"]
ThreadId = str | int | UUID
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


class Stored(NamedTuple):
    """A record and its seq."""

    seq: int
    record: Record


class Log:
    """An ordered, append-only log of records, many threads in one directory. Made by ``Log.open``."""

    def __init__(self, core: Core, *, path: str = "", options: Options) -> None:
        self._core = core
        self._options = options
        self.path = path
        """The directory; empty for a log in memory."""
        self.strict = options.strict
        self.closed = False
        # Shared values that this process encoded: sent along again with each record that names one, so that it is
        # there even if a compaction has removed it meanwhile.
        self._shared: OrderedDict[bytes, tuple[Blob, ...]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | os.PathLike[str], **options: Unpack[OpenOptions]) -> Log:
        """Open the log in a directory, making it if it is not there.

        Args:
            path: The directory.
            create: Make the log if there is none.
            fsync: What a commit asks of the disk: ``full``, ``data`` or ``off`` (see ``wal.flush``).
            map_size: How large the log may become; only addresses are reserved.
            strict: Hand decoded copies to the engine, to catch values that do not come back as they were.
            force: Allow a network file system.
            flush_interval: How long an append may wait for the flusher, at most 0.05 seconds.
            flush_bytes: How much may gather before the flusher commits at once.
            readonly: Never create or change anything; for tools beside a live writer.

        Raises:
            LogNotFound: There is no log, and none was to be made.
            NotALog: Something else lies at the path.
            FormatTooNew: A newer walgraph wrote the log.
            LogCorrupt: The file is damaged.
            LogReadOnly: This process must not write there.
            RemoteDisk: The path lies on a network file system.
            LogInUse: The log is being shrunk, or open here with other options.
        """
        chosen = Options(**options)
        if chosen.fsync not in LMDB_FLAGS:
            raise ValueError(f"fsync must be 'full', 'data' or 'off', not {chosen.fsync!r}.")
        # Not resolved: a link that is pointed elsewhere later must not move the log that is open.
        place = str(Path(path).absolute())
        return cls(open_core(place, chosen), path=place, options=chosen)

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the log."""
        self.close()

    def __repr__(self) -> str:
        """Return the path and whether it is open."""
        return f"<{type(self).__name__} {self.path or 'in memory'}{', closed' if self.closed else ''}>"

    @property
    def fsync(self) -> str:
        """What a commit asks of the disk."""
        return self._core.fsync

    @property
    def readonly(self) -> bool:
        """Whether this object refuses to write."""
        return self._options.readonly

    @property
    def durability(self) -> Durability:
        """What a flush survives."""
        return self._live().store.durability

    @property
    def durable_lsn(self) -> int:
        """The position of the last frame that this process knows to be durable."""
        return self._live().committer.durable_lsn

    @property
    def store(self) -> Store:
        """What keeps the bytes; for tools."""
        return self._live().store

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

    def put_snapshot(self, thread_id: ThreadId, seq: int, packed: Packed) -> None:
        """Queue a snapshot for the next group commit; it replaces older ones but for the one at the horizon."""
        core = self._live(write=True)
        thread = as_thread_id(thread_id)
        core.committer.put_snapshot(Snapshot(thread, seq, packed.data, tuple(packed.blobs)))
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

    def delete_thread(self, thread_id: ThreadId) -> None:
        """Remove a thread and all that the log holds of it; a thread that is not there is no error.

        Raises:
            ThreadBusy: A run owns the thread.
        """
        with self._claimed(thread_id) as (core, thread):
            core.store.delete(thread)

    def copy_thread(self, source: ThreadId, target: ThreadId) -> None:
        """Copy a thread's records and snapshots to a new thread.

        Raises:
            ThreadNotFound: There is no such source.
            ThreadBusy: The target exists, or a run owns one of the two.
        """
        with (
            self._claimed(source) as (core, first),
            self._claimed(target) as (_, second),
        ):
            core.store.copy(first, second)

    def truncate(self, thread_id: ThreadId, upto: int) -> int:
        """Cut off the records that a snapshot at or before ``upto`` stands for; return how many frames went."""
        core, thread = self._flushed(thread_id, write=True)
        return core.store.truncate(thread, upto)

    def items(self, *, cached: bool = False, write: bool = False) -> Items:
        """Return what stores, or caches, keep beside the records; ``write``: to change it."""
        core = self._live(write=write)
        if write and core.committer.failure is not None:
            raise renewed(core.committer.failure)
        return core.store.cached if cached else core.store.items

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
            self.closed = True
            core = self._core
            if not core.forked and not core.closed:
                try:
                    if core.committer.failure is None:
                        core.committer.flush()
                finally:
                    core.release()

    # Reading

    def read(
        self, thread_id: ThreadId, after: int = 0, upto: int | None = None, *, decoder: Decoder | None = None
    ) -> Iterator[Stored]:
        """Yield a thread's records with after < seq ≤ upto, oldest first.

        Raises:
            ThreadNotFound: There is no such thread.
            LogCorrupt: A frame is missing or damaged.
            UnknownType: A value's class is not known to the decoder.
        """
        frames = self.frames(thread_id, after, upto)
        return _numbered(frames, decoder or self.decoder(), after, upto)

    def frames(
        self, thread_id: ThreadId, after: int = 0, upto: int | None = None
    ) -> Iterator[tuple[Header, bytes]]:
        """Yield header and body of the frames that hold records with after < seq ≤ upto; for tools."""
        core, thread = self._flushed(thread_id)
        return core.store.frames(thread, after, upto)

    def head(self, thread_id: ThreadId) -> ThreadHead | None:
        """Return what the directory says about a thread; None if there is none."""
        core, thread = self._flushed(thread_id)
        row = core.store.row(thread)
        return None if row is None else to_head(row, _status(core, row))

    def threads(
        self, *, status: str | None = None, prefix: str | None = None, limit: int | None = None
    ) -> Iterator[ThreadHead]:
        """Yield the threads in the order of their creation."""
        core = self._live()
        core.committer.flush()
        count = 0
        for row in core.store.rows():
            if limit is not None and count >= limit:
                return
            if prefix is not None and not row.thread.startswith(prefix):
                continue
            found = _status(core, row)
            if status is None or status == found:
                count += 1
                yield to_head(row, found)

    def snapshot(self, thread_id: ThreadId, at: int | None = None) -> tuple[int, bytes] | None:
        """Return seq and encoded state of the newest snapshot at or before ``at``."""
        core, thread = self._flushed(thread_id)
        return core.store.snapshot(thread, at)

    def fetch(self, digest: bytes) -> bytes:
        """Return the content of a blob.

        Raises:
            LogCorrupt: It is missing, or not what its digest says.
        """
        core = self._live()
        data = core.store.blob(digest)
        if data is None:
            core.committer.flush()
            data = core.store.blob(digest)
        found = None if data is None else _digest(data)
        if data is None or found != digest:
            what = "missing" if found is None else f"damaged: its bytes hash to {found.hex()}"
            message = f"The large value {digest.hex()} is {what}."
            raise LogCorrupt(message, hint=RESTORE, digest=digest.hex())
        return data

    def decoder(self, registry: Registry = GLOBAL, *, lenient: bool = False) -> Decoder:
        """Return a decoder that fetches large values from this log."""
        return Decoder(registry, self.fetch, lenient=lenient)

    def shared(self, ref: Reference, *, lenient: bool = False) -> Any:
        """Return the value that ``put_shared`` stored."""
        blobs = self._shared.get(ref.digest)
        data = blobs[0].data if blobs else self.fetch(ref.digest)
        return self.decoder(lenient=lenient).value(data)

    # Within

    def _live(self, *, write: bool = False) -> Core:
        """Return the core, opening it again after a fork.

        Raises:
            LogClosed: The log was closed.
            LogReadOnly: The caller wants to write, and must not.
        """
        core = self._core
        if self.closed or core.closed or core.forked:
            core = self._reopened(core)
        if write and self.readonly:
            raise LogReadOnly(
                f"The log at {self.path} was opened for reading only.", hint="Open it without readonly."
            )
        return core

    def _reopened(self, core: Core) -> Core:
        if self.closed or not core.forked:
            raise LogClosed(f"The log {self.path or 'in memory'} was closed.", hint="Open it again.")
        # Another thread of the parent may have held it at the fork.
        self._lock = threading.Lock()
        if self.path:
            self._core = open_core(self.path, self._options._replace(create=False))
        else:
            core.forked = False
        return self._core

    def _flushed(self, thread_id: ThreadId, *, write: bool = False) -> tuple[Core, str]:
        """Return the core, and the thread after what this process has queued for it was written."""
        core, thread = self._live(write=write), as_thread_id(thread_id)
        core.committer.flush_thread(thread)
        return core, thread

    def _claimed(self, thread_id: ThreadId) -> _Held:
        return _Held(self._live(write=True), as_thread_id(thread_id))

    def _take_over(self, core: Core, thread: str, claim: _Claim, former: object | None) -> Writer:
        """Fence the former owner off, wherever it is, and return the new one."""
        message = f"Thread {thread!r} was taken over by another run of this process."
        if isinstance(former, _Claim) and former.writer is not None:
            former.writer.expelled(StaleWriter(message, hint="Let the other run go on.", thread=thread))
        try:
            core.committer.flush_thread(thread)
            row = core.store.fence(thread)
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


def open_log(path: str | os.PathLike[str], **options: Unpack[OpenOptions]) -> Log:
    """Open the log in a directory; the options are those of ``Log.open``."""
    return Log.open(path, **options)


def as_thread_id(thread_id: ThreadId) -> str:
    """Return a thread's id as the text that the log keeps; ``42`` and ``"42"`` are one thread."""
    text = thread_id if isinstance(thread_id, str) else str(thread_id)
    if not text:
        raise ValueError("A thread's id must not be empty.")
    text.encode()
    return text


_digest = digest


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


def _status(core: Core, row: Row) -> str:
    """Return the status of a thread, looking for a live owner if it says that it runs."""
    if row.status != "running" or core.claims.is_alive(row.thread):
        return row.status
    return "crashed"


def _status_found(row: Row) -> str:
    """Return the status that a new owner finds: whoever ran before does so no more."""
    return "crashed" if row.status == "running" else row.status


def _numbered(
    frames: Iterator[tuple[Header, bytes]], decoder: Decoder, after: int, upto: int | None
) -> Iterator[Stored]:
    for header, body in frames:
        seq = header.after
        records = decoder.records(body)
        if len(records) != header.records:
            message = f"The frame at lsn {header.lsn} holds {len(records)} records, its header says {header.records}."
            raise LogCorrupt(message, hint=RESTORE, lsn=header.lsn)
        for record in records:
            seq = record.seq if type(record) is StateFolded else seq + 1
            if seq > after and (upto is None or seq <= upto):
                yield Stored(seq, record)
        if seq != header.last:
            message = f"The frame at lsn {header.lsn} ends at seq {seq}, its header says {header.last}."
            raise LogCorrupt(message, hint=RESTORE, lsn=header.lsn)
