"""A writer that claims nothing: whoever comes first appends, and whoever comes second is told so.

    log.join(thread) ──put──► the log's committer ──► a frame that follows the head as it was seen
                                                                     │
                              StaleWriter ◄── the head is elsewhere ─┘   read what came, begin anew

LangGraph says neither when a run begins nor when it ends, and its runs of one thread move from process to process. So
its threads are not claimed. Safety is the same as everywhere: a frame names the seq that it follows, and the store
refuses it inside the transaction if the thread has moved on. A process has one such writer per thread at a time.

Invariants:
1. Blobs travel in the frame of the record that names them, so that no sweep can come between the two.
2. After a conflict nothing more is appended; what was refused left no trace.

This module must not know what the records mean, nor what to do after a conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .blob import Blob, digest
from .codec import Encoder
from .errors import ThreadBusy
from .frame import Summary
from .head import to_head
from .record import Reference
from .writer import Values, Writer

if TYPE_CHECKING:
    from .core import Core
    from .store import Row

_ENCODER = Encoder()


class SharedWriter(Writer):
    """A writer of a thread that others may write as well.

    Args:
        core: The log's core.
        thread: The thread's id.
        fetch: Returns the content of a blob.

    Raises:
        ThreadBusy: A run of walgraph owns the thread.
    """

    def __init__(self, core: Core, thread: str, fetch: Callable[[bytes], bytes]) -> None:
        if core.claims.is_alive(thread):
            message = f"Thread {thread!r} is claimed by a run of walgraph."
            raise ThreadBusy(message, hint="Choose another thread_id for LangGraph.", thread=thread)
        # What a predecessor has queued is written, or refused, before anything can be queued behind it.
        core.committer.flush_thread(thread)
        row = core.store.row(thread)
        head = None if row is None else to_head(row, row.status)
        epoch = 1 if row is None else row.epoch
        values = Values(strict=False, shared=_nothing_shared, fetch=fetch)
        super().__init__(core, thread, head, claim=object(), epoch=epoch, values=values)
        self.row: Row | None = row
        """The thread as it was when this writer joined it."""

    def put(self, records: Sequence[Any], blobs: tuple[Blob, ...], summary: Summary, *, awaited: bool) -> int:
        """Append records together with the blobs that they name; return the seq of the last one.

        Args:
            records: What happened, in order.
            blobs: Made by ``blob_of``.
            summary: What the directory of threads shows from then on.
            awaited: The caller flushes right afterwards.

        Raises:
            NotSerializable: A value cannot be written; nothing was queued.
            StaleWriter: Somebody else has written.
            LogFailed: An earlier commit failed.
        """
        with self._lock:
            if self.failure is not None:
                raise self.failure
            body, named = self._encode(records)
            after, count = self.seq, len(records)
            seqs = (after, after + count, count)
            self._committer.append(self, body, (*named, *blobs), seqs, summary, awaited=awaited)
            self.seq = after + count
            self.records_since_snapshot += count
            self.bytes_since_snapshot += len(body) + sum([len(blob.data) for blob in blobs])
            return self.seq


def _nothing_shared(_digest: bytes) -> None:
    return None


def blob_of(data: bytes) -> tuple[Reference, Blob]:
    """Return bytes as a blob, which is encoded data as all blobs are, and its address."""
    packed = _ENCODER.value(data, whole=True).data
    blob = Blob(digest(packed), packed)
    return Reference(blob.digest, len(packed)), blob


def bytes_of(blob: bytes) -> bytes:
    """Return the bytes that ``blob_of`` was given."""
    size = blob[0]
    # The three headers of binary data in msgpack: of one, two and four bytes of length.
    return blob[{0xC4: 2, 0xC5: 3, 0xC6: 5}[size] :]
