"""The one owner of one thread: it numbers records, encodes them and queues them.

    append(records) ──► encode ──► seqs ──► queue          flush() ──► durable
                         │ NotSerializable: nothing queued

Invariants:
1. Records are encoded before anything is queued, so that a value that cannot be written leaves no trace.
2. Seqs are assigned and queued under one lock, so that the queue is in their order.
3. After a failure of any kind every call raises; nothing is appended behind a gap.
4. In a strict log the records handed back are decoded from the bytes that were queued.

This module must not know what the records mean.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .blob import Blob
from .codec import GLOBAL, Decoder, Registry
from .core import Core
from .errors import LogClosed, LogFailed, LogFull, WalgraphError
from .frame import Summary
from .head import ThreadHead
from .named import NamedTuple
from .promise import renewed
from .record import Record, RunResumed, RunStarted, SignalReceived, StateFolded

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future


_SPECIAL = frozenset({StateFolded, RunStarted, RunResumed, SignalReceived})
"""The kinds of record that mean something for the numbering, name a shared value, or take a message from its place."""


class Values(NamedTuple):
    """How a writer handles values: whether it decodes what it encoded, and where large ones are found."""

    strict: bool
    shared: Callable[[bytes], tuple[Blob, ...] | None]
    fetch: Callable[[bytes], bytes]


class Writer:
    """One owner of one thread; made by ``Log.writer``, safe to use from many workers."""

    def __init__(
        self,
        core: Core,
        thread_id: str,
        head: ThreadHead | None,
        *,
        claim: object,
        epoch: int,
        values: Values,
    ) -> None:
        self.thread_id = thread_id
        self.head = head
        """The thread as it was when it was claimed; None if it is new."""
        self.epoch = epoch
        self.seq = head.seq if head is not None else 0
        """Seq of the last record appended."""
        self.bytes_since_snapshot = head.since_snapshot if head is not None else 0
        self.records_since_snapshot = self.seq - head.snapshot_seq if head is not None else 0
        self.failure: WalgraphError | None = None
        self.lost = False
        self.ticket = 0
        self.received: list[tuple[str, int]] = []
        self._core = core
        self._claim = claim
        self._committer = core.committer
        self._strict = values.strict
        self._shared = values.shared
        self._fetch = values.fetch
        self._encode = core.encoder.records
        self._lock = threading.RLock()
        self._released = False
        self.claimed_at = core.watch.now()
        """When the thread was claimed, or the run that is gone on with was handed over; see ``Watch.attend``."""
        self._knows_why = False
        self._retry = core.claims.retry_lock if core.claims.is_unlocked(thread_id) else None
        core.writers.add(self)

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the writer."""
        self.close()

    def __repr__(self) -> str:
        """Return thread, seq and epoch."""
        return f"<Writer of thread {self.thread_id!r} at seq {self.seq}, epoch {self.epoch}>"

    def append(
        self,
        records: Sequence[Record],
        summary: Summary | Callable[[], Summary],
        *,
        registry: Registry = GLOBAL,
        awaited: bool = False,
    ) -> Sequence[Record]:
        """Number, encode and queue records for the next group commit.

        Args:
            records: What happened, in order; becomes visible together.
            summary: What the directory of threads shows from then on, or a function that says so when it is written.
            registry: The classes that a strict log may decode.
            awaited: The caller flushes right afterwards, so the flusher need not be bothered.

        Returns:
            The records to fold: the same objects, or decoded copies if the log is strict.

        Raises:
            NotSerializable: A value cannot be written; nothing was queued.
            StaleWriter: Another run took the thread over.
            LogFailed: An earlier commit failed.
            LogClosed: The writer or its log was closed.
        """
        with self._lock:
            if self.failure is not None:
                raise self.failure
            if not records:
                return records
            body, blobs = self._encode(records)
            after, count = self.seq, len(records)
            last = after + count
            if not _SPECIAL.isdisjoint(map(type, records)):
                last, named = self._looked_over(records)
                blobs += named
            if self._retry is not None:
                self._retry(self.thread_id)
            try:
                self._committer.append(self, body, blobs, (after, last, count), summary, awaited=awaited)
            except LogFailed as error:
                raise self._told(error) from None
            self.seq = last
            self.records_since_snapshot += count
            self.bytes_since_snapshot += len(body) + (sum([len(blob.data) for blob in blobs]) if blobs else 0)
        if self._strict:
            return self._decoded(body, blobs, registry)
        return records

    def flush(self) -> None:
        """Return when everything that this writer appended is durable.

        Raises:
            StaleWriter: Another run took the thread over; the unflushed records were not recorded.
            LogFailed: The commit failed.
            LogFull: The commit failed for lack of room.
        """
        # The ticket is compared first: a writer whose commit failed must hear of that, not that it is closed.
        if self.ticket:
            try:
                self._committer.flush(self.ticket)
            except LogFull:
                self._knows_why = True
                raise
            except LogFailed as error:
                raise self._told(error) from None
        if self.failure is not None:
            raise self.failure

    def _told(self, error: LogFailed) -> WalgraphError:
        """Return what a writer hears of a commit that failed behind its back: at first why, if room was lacking."""
        if self._knows_why or not self.ticket or not isinstance(error.__cause__, LogFull):
            return error
        self._knows_why = True
        return renewed(error.__cause__, own=True)

    def flush_soon(self) -> Future[None]:
        """Return a future that resolves when everything appended so far is durable; nobody blocks."""
        return self._committer.flush_soon(self.ticket, self)

    def flush_async(self) -> asyncio.Future[None]:
        """Return the same as a future of the running event loop, cheaper than wrapping the other."""
        import asyncio  # a program without an event loop need not load it

        return self._committer.promise(self.ticket, self, asyncio.get_running_loop())

    def close(self) -> None:
        """Flush, then release the claim; idempotent.

        Raises:
            StaleWriter: Another run took the thread over before the last records were written.
            LogFailed: They could not be written.
        """
        if self._released:
            return
        try:
            if self.ticket:
                self._committer.flush(self.ticket)
            if self.failure is not None and not isinstance(self.failure, LogClosed):
                raise self.failure
        finally:
            self._release("closed")

    def abandon(self) -> None:
        """Release the claim without flushing: what waits in the queue is forgotten, as if the process had died."""
        if not self._released:
            try:
                self._committer.drop(self)
            finally:
                self._release("abandoned")

    def expelled(self, failure: WalgraphError) -> None:
        """Learn that this process gave the thread to another writer."""
        with self._lock:
            self.failure = failure

    def note_snapshot(self, seq: int) -> None:
        """Begin to count anew: a snapshot stands for everything up to ``seq``."""
        with self._lock:
            since, left = self.records_since_snapshot, max(0, self.seq - seq)
            # What was appended beyond the snapshot counts on, by its share of the records.
            self.bytes_since_snapshot = self.bytes_since_snapshot * left // since if left < since else 0
            self.records_since_snapshot = left

    def receive(self, name: str, number: int) -> None:
        """Let a message wait no more once the next records are durable, which hold the signal though none names it."""
        with self._lock:
            self.received.append((name, number))

    def _release(self, how: str) -> None:
        self._released = True
        self._core.claims.give_back(self.thread_id, self._claim)
        if self.failure is None:
            self.failure = LogClosed(
                f"The writer of thread {self.thread_id!r} was {how}.", hint="Claim the thread again."
            )

    def _looked_over(self, records: Sequence[Record]) -> tuple[int, tuple[Blob, ...]]:
        """Return the last seq of records, and the blobs of the shared values that they name and this process has.

        Signals that they receive are noted, so that the messages go together with the records.
        """
        last = self.seq
        blobs: tuple[Blob, ...] = ()
        for record in records:
            # A folded state stands for everything up to its own seq, and counting goes on from there.
            last = record.seq if isinstance(record, StateFolded) else last + 1
            if isinstance(record, RunStarted | RunResumed) and record.graph is not None:
                blobs += self._shared(record.graph.digest) or ()
            elif type(record) is SignalReceived:
                self.received.append((record.name, record.number))
        return last, blobs

    def _decoded(self, body: bytes, blobs: tuple[Blob, ...], registry: Registry) -> Sequence[Record]:
        """Decode what was just encoded, taking its large values from where they wait."""
        waiting = {blob.digest: blob.data for blob in blobs}

        def fetch(digest: bytes) -> bytes:
            data = waiting.get(digest)
            return self._fetch(digest) if data is None else data

        return Decoder(registry, fetch).records(body)
