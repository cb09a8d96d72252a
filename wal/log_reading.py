"""The half of a log that reads: anybody, at any time, beside whoever writes.

    LogReading ──► read, frames, head, threads, snapshot          of one thread, or of all
               ──► since                                          a snapshot and what follows it, of one moment
               ──► due, signalled, mailbox                        what is to be woken, and by what
               ──► fetch, shared, decoder                         values, and the large ones among them

Objects of one path share everything but their own options within a process (``wal.core``).

Invariants:
1. What this process has appended is written before it is read: every read flushes first.
2. Values are decoded only through ``decoder``, which fetches large ones and checks their hashes.
3. In a forked child a log object opens itself again at its first use.

This module must not know what records mean, nor change anything in the log.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .blob import Blob, digest
from .chain import compacted
from .codec import GLOBAL, Decoder, Registry
from .core import Core, Keeper, Options, open_core
from .errors import LogClosed, LogCorrupt, LogReadOnly
from .frame import Header
from .head import ThreadHead, moment, nanoseconds, to_head
from .keyspace import RESTORE
from .named import NamedTuple
from .record import Record, Reference, StateFolded
from .store import Durability, Row, Store

if TYPE_CHECKING:
    from .mail import Message
    from .vault import Vault

ThreadId = str | int | UUID


class Stored(NamedTuple):
    """A record and its seq."""

    seq: int
    record: Record


class Since(NamedTuple):
    """A snapshot, if there is one, as its seq and its encoded state, and what is recorded after it; of one moment."""

    snapshot: tuple[int, bytes] | None
    records: Iterator[Stored]


class Signal(NamedTuple):
    """A signal that waits: its number among all that were sent to the thread, and what it was sent with."""

    number: int
    name: str
    id: str | None
    sent_at: datetime
    payload: Any


class LogReading:
    """What can be asked of a log. Not made by itself: a ``Log`` is one."""

    def __init__(self, core: Core, *, path: str = "", options: Options) -> None:
        self._core = core
        self._options = options
        self.path = path
        """The directory; empty for a log in memory."""
        self.strict = options.strict
        self.closed = False
        self.keeper: Keeper | None = None
        """What looks after the log in the background, if anything was told to."""
        # Shared values that this process encoded: sent along again with each record that names one, so that it is
        # there even if a compaction has removed it meanwhile.
        self._shared: OrderedDict[bytes, tuple[Blob, ...]] = OrderedDict()
        self._lock = threading.Lock()

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
    def core(self) -> Core:
        """What all log objects of one path share; for tools."""
        return self._live()

    @property
    def options(self) -> Options:
        """How this object was opened."""
        return self._options

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

    def read(
        self,
        thread_id: ThreadId,
        after: int = 0,
        upto: int | None = None,
        *,
        decoder: Decoder | None = None,
        whole: bool = False,
    ) -> Iterator[Stored]:
        """Yield a thread's records with after < seq ≤ upto, oldest first.

        Args:
            thread_id: The thread.
            after: The last seq that is not wanted.
            upto: The last seq that is wanted; None for all.
            decoder: Decodes values.
            whole: None of these may have been cut off, as for a fold that goes on from ``after``; otherwise what a
                compaction has left of them is read.

        Raises:
            ThreadNotFound: There is no such thread.
            RecordsCompacted: They were cut off while they were read, or before, if ``whole``.
            LogCorrupt: A frame is missing or damaged.
            UnknownType: A value's class is not known to the decoder.
        """
        frames = self.frames(thread_id, after, upto, whole=whole)
        return self._numbered(as_thread_id(thread_id), frames, decoder or self.decoder(), after, upto)

    def since(
        self,
        thread_id: ThreadId,
        at: int | None = None,
        upto: int | None = None,
        *,
        decoder: Decoder | None = None,
    ) -> Since:
        """Return a thread's newest snapshot at or before ``at``, and the records after it up to ``upto``.

        The two are of one moment, so no compaction cuts between them. Every fold that begins with a snapshot is to
        read it so, within ``wal.steady.steady``: what is large is fetched later, and may be gone by then.

        Raises:
            ThreadNotFound: There is no such thread.
            RecordsCompacted: What lies there was cut off.
            LogCorrupt: A frame is missing or damaged, or the snapshot is that stands for what was cut off.
        """
        core, thread = self._flushed(thread_id)
        found, frames = core.store.since(thread, at, upto)
        begin = 0 if found is None else found[0]
        vault = core.vault
        if vault is not None:
            frames = _opened(vault, thread, frames)
            found = None if found is None else (begin, vault.open(found[1], ("snapshot", thread, begin)))
        return Since(found, self._numbered(thread, frames, decoder or self.decoder(), begin, upto))

    def frames(
        self, thread_id: ThreadId, after: int = 0, upto: int | None = None, *, whole: bool = False
    ) -> Iterator[tuple[Header, bytes]]:
        """Yield header and body of the frames that hold records with after < seq ≤ upto; for tools."""
        core, thread = self._flushed(thread_id)
        frames = core.store.frames(thread, after, upto, whole=whole)
        return frames if core.vault is None else _opened(core.vault, thread, frames)

    def _numbered(
        self,
        thread: str,
        frames: Iterator[tuple[Header, bytes]],
        decoder: Decoder,
        after: int,
        upto: int | None,
    ) -> Iterator[Stored]:
        for header, body in frames:
            try:
                records = decoder.records(body)
            except LogCorrupt as error:
                row = self.store.row(thread)
                if row is None or row.number != header.thread or row.horizon < header.last:
                    raise
                # Its large values went with it, since it was read.
                raise compacted(thread, row.base) from error
            yield from _checked(header, records, after, upto)

    def opened(self, data: bytes, *what: Any) -> bytes:
        """Return what was read from the store in the clear, if it is encrypted and its key is here; for tools.

        Args:
            data: The data.
            what: What it is: the array of ``wal.envelope``.

        Raises:
            WrongKey: The key of that id is not the one which wrote.
            Tampered: The data was changed, or belongs elsewhere.
        """
        vault = self._live().vault
        return data if vault is None else vault.open(data, what)

    def stored_name(self, thread_id: ThreadId, digest: bytes) -> bytes:
        """Return the name under which a thread's large value lies in the store; for tools."""
        vault = self._live().vault
        return digest if vault is None else vault.name(vault.key_of(as_thread_id(thread_id)), digest)

    def key_of(self, thread_id: ThreadId) -> tuple[str, bool] | None:
        """Return the id of the key that a thread's newest frame is encrypted with, and whether that key is here.

        None if it is not encrypted, or there is no frame.
        """
        from .vault import newest_key

        core, thread = self._flushed(thread_id)
        key = newest_key(core.store, thread)
        if key is None:
            return None
        return key, core.vault is not None and core.vault.ring.get(key) is not None

    @property
    def is_encrypted(self) -> bool:
        """Whether what is written to the log must be encrypted."""
        return self._live().is_encrypted

    def head(self, thread_id: ThreadId) -> ThreadHead | None:
        """Return what the directory says about a thread; None if there is none."""
        core, thread = self._flushed(thread_id)
        row = core.store.row(thread)
        return None if row is None else to_head(row, _status(core, row))

    def threads(
        self, *, status: str | None = None, prefix: str | None = None, limit: int | None = None
    ) -> Iterator[ThreadHead]:
        """Yield the threads in the order of their creation.

        Args:
            status: Only those that stand so; ``queued`` for all threads whose next handed-over run waits for
                its turn, also if nothing is recorded of them yet.
            prefix: Only those whose id begins so.
            limit: At most so many.
        """
        heads = self._heads(status)
        if prefix is not None:
            heads = (head for head in heads if head.thread_id.startswith(prefix))
        return heads if limit is None else islice(heads, limit)

    def _heads(self, status: str | None) -> Iterator[ThreadHead]:
        core = self._live()
        core.committer.flush()
        if status != "queued":
            for row in core.store.rows():
                found = _status(core, row)
                if status is None or status == found:
                    yield to_head(row, found)
        elif core.store.has_submissions():
            from .queued import queued_heads

            yield from queued_heads(core.store)

    def records(
        self, thread_id: ThreadId, *, after: int = 0, upto: int | None = None, registry: Registry = GLOBAL
    ) -> Iterator[Stored]:
        """Yield what is recorded of a thread: pairs of ``seq`` and ``record``, oldest first.

        Records are the named tuples of ``walgraph.wal.record``. A value of a class that is not known here comes as a
        stand-in, which shows its class and its parts.

        Args:
            thread_id: The thread.
            after: The last seq that is not wanted.
            upto: The last seq that is wanted; None for all.
            registry: The classes that values are rebuilt as: ``graph.program.registry``, for a graph's own.

        Raises:
            ThreadNotFound: There is no such thread.
            RecordsCompacted: They were cut off while they were read.
            LogCorrupt: A frame is missing or damaged.
        """
        return self.read(thread_id, after, upto, decoder=self.decoder(registry, lenient=True))

    def is_claimed(self, thread_id: ThreadId) -> bool:
        """Tell whether a live process, this one or another, owns a thread."""
        return self._live().claims.is_alive(as_thread_id(thread_id))

    def due(self, before: datetime) -> Iterator[ThreadHead]:
        """Yield the threads that sleep or wait until ``before`` at the latest, the longest overdue first.

        Args:
            before: A time with its zone.
        """
        core = self._live()
        core.committer.flush()
        for row in core.store.due(nanoseconds(before)):
            yield to_head(row, _status(core, row))

    def mailbox(self, thread_id: ThreadId, *, decoder: Decoder | None = None) -> list[Signal]:
        """Return the signals that wait for a thread, in the order in which they were sent.

        Raises:
            UnknownType: The class of a payload is not known to the decoder.
        """
        core, thread = self._flushed(thread_id)
        decoder = decoder or self.decoder()
        return [
            Signal(
                message.number,
                message.name,
                message.id,
                moment(message.sent_at),
                decoder.value(self.payload(message)),
            )
            for message in core.store.mail.waiting(thread)
        ]

    def first_message(self, thread_id: ThreadId, name: str, after: int = 0) -> Message | None:
        """Return the oldest signal of a name that waits and was sent after number ``after``, its payload encoded."""
        core = self._live()
        message = core.store.mail.first(as_thread_id(thread_id), name, after)
        return None if message is None else message._replace(payload=self.payload(message))

    def payload(self, message: Message) -> bytes:
        """Return what a message brings, in the clear if its key is here."""
        return self.opened(message.payload, "signal", message.thread, message.name, message.id)

    def signalled(self) -> list[tuple[str, int]]:
        """Return the threads for which signals wait, each with the number of the last that was sent to it.

        Who has seen that a thread waits for none of them need not look again before the number has grown.
        """
        return self._live().store.mail.full()

    def snapshot(self, thread_id: ThreadId, at: int | None = None) -> tuple[int, bytes] | None:
        """Return seq and encoded state of the newest snapshot at or before ``at``."""
        core, thread = self._flushed(thread_id)
        found = core.store.snapshot(thread, at)
        if found is None or core.vault is None:
            return found
        return found[0], core.vault.open(found[1], ("snapshot", thread, found[0]))

    def fetch(self, digest: bytes) -> bytes:
        """Return the content of a blob.

        Raises:
            LogCorrupt: It is missing, or not what its digest says.
        """
        core = self._live()
        vault, store = core.vault, core.store
        data = store.blob(digest) if vault is None else vault.blob(store, digest)
        if data is None:
            data = core.committer.queued_blob(digest)
        if data is None:
            core.committer.flush()
            data = store.blob(digest) if vault is None else vault.blob(store, digest)
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


def as_thread_id(thread_id: ThreadId) -> str:
    """Return a thread's id as the text that the log keeps; ``42`` and ``"42"`` are one thread."""
    text = thread_id if isinstance(thread_id, str) else str(thread_id)
    if not text:
        raise ValueError("A thread's id must not be empty.")
    text.encode()
    return text


def checked_name(name: Any, what: str = "name") -> str:
    """Return the name, or the id, of a signal.

    Raises:
        ValueError: It is empty, or no text.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"A signal's {what} is text that is not empty, not {name!r}.")
    name.encode()
    return name


_digest = digest


def _status(core: Core, row: Row) -> str:
    """Return the status of a thread, looking for a live owner if it says that it runs."""
    if row.status != "running" or core.claims.is_alive(row.thread):
        return row.status
    return "crashed"


def _opened(
    vault: Vault, thread: str, frames: Iterator[tuple[Header, bytes]]
) -> Iterator[tuple[Header, bytes]]:
    for header, body in frames:
        yield header, vault.open(body, ("frame", thread, header.after, header.last))


def _checked(header: Header, records: list[Record], after: int, upto: int | None) -> Iterator[Stored]:
    seq = header.after
    if len(records) != header.records:
        message = (
            f"The frame at lsn {header.lsn} holds {len(records)} records, its header says {header.records}."
        )
        raise LogCorrupt(message, hint=RESTORE, lsn=header.lsn)
    for record in records:
        seq = record.seq if type(record) is StateFolded else seq + 1
        if seq > after and (upto is None or seq <= upto):
            yield Stored(seq, record)
    if seq != header.last:
        message = f"The frame at lsn {header.lsn} ends at seq {seq}, its header says {header.last}."
        raise LogCorrupt(message, hint=RESTORE, lsn=header.lsn)
