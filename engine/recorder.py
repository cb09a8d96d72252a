"""The one way from a run to its log: append first, fold after.

    loop, nested tasks, subgraphs ──records──► Recorder ──► Writer (wal)     the log
                                                  └───────► fold ──► state   what the log holds, never more

Many hands record at once: the loop, ``@task`` calls in worker threads, subgraphs, coroutines. Where an append waits for
the disk, whoever comes meanwhile leaves its records in a queue, and the one who appends takes them all along in one
batch, so that a wide fan-out costs few flushes. Where it does not wait, they take turns.

    durability   an append is answered …                             the log then holds
    sync         once it is durable                                  every record
    async        once it is queued; the flusher writes it soon       every record, soon
    exit         once it is known to be serializable                 nothing, until ``settle`` or ``harden`` writes one
                                                                     StateFolded for all since the last
    none         at once (no log, or a subgraph that wants none)     nothing

Invariants:
1. ``state`` is the fold of what was appended. A failed append leaves it as it was (laws 1 to 3).
2. Records are folded in the order of their seqs.
3. Under ``sync`` nobody sees the effect of a record before it is durable.

It must not know graphs' meaning, nor decide what is recorded.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from ..replay.fold import attach, fold
from ..replay.identity import lives_one_step
from ..replay.plain import thread_to_plain
from ..replay.plan import unfinished
from ..replay.waits import due_at
from ..wal.codec import Decoder, Encoder, Packed
from ..wal.frame import Summary
from ..wal.named import new
from ..wal.record import (
    Forked,
    RunEnded,
    SignalReceived,
    StateEdited,
    StateFolded,
    TaskStarted,
    ThreadCreated,
)
from . import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..replay.blueprint import Blueprint
    from ..replay.state import ThreadState
    from ..wal.codec import Registry
    from ..wal.log import Log
    from ..wal.record import Record
    from ..wal.writer import Writer
    from .as_state import ToldEffects
    from .mailroom import Mailroom

SNAPSHOT_RECORDS = 512
"""A snapshot is not worth taking before this many records were folded since the last."""
PAGED_FROM = 512
"""So many outcomes of an open step are worth a look whether they fill a page of ``replay.paging``."""
SNAPSHOT_GROWTH = 3
"""… nor before the bytes folded since are this many times the last snapshot's, so that both stay proportional."""
SUMMARY_NAMES = 8
"""How many of the nodes that come next the directory of threads shows."""


_EDITS = (StateEdited, Forked)
"""The kinds of record that are no run's, if they are the last."""

PARKED = frozenset({"interrupted", "sleeping", "waiting"})
"""How a run ends that goes on when something comes, or when its time has come."""


class Batch:
    """Records that wait for the append under way, and whoever waits for them."""

    __slots__ = ("base", "draft", "future", "records")

    def __init__(
        self, records: Sequence[Record], base: ThreadState | None, draft: ThreadState | None
    ) -> None:
        self.records = records
        self.base = base
        self.draft = draft
        self.future: Future[None] = Future()


class Recorder:
    """Appends what happens to one thread, and holds the state that follows from it.

    Args:
        thread: The thread's id.
        state: The state recovered from the log.
        registry: The classes that the graph's schemas name.
        durability: ``sync``, ``async``, ``exit``, or ``none``.
        log: The log, or None.
        writer: The claim on the thread, or None.
        snapshot_bytes: The size of the thread's newest snapshot.
    """

    def __init__(
        self,
        thread: str,
        state: ThreadState,
        registry: Registry,
        durability: str,
        log: Log | None = None,
        writer: Writer | None = None,
        snapshot_bytes: int = 0,
    ) -> None:
        self.thread = thread
        self.state = state
        self.registry = registry
        self.durability = durability if writer is not None else "none"
        self.log = log
        self.writer = writer
        self.is_strict = log is not None and log.strict
        """Whether what is folded is decoded from what was written."""
        self._waits = writer if self.durability == "sync" else None
        """The writer, where an append waits until it is durable."""
        self._appends = writer if self.durability in {"sync", "async"} else None
        """The writer, where every record goes into the log at once."""
        self.blueprints: dict[str, Blueprint] = {}
        self.name = ""
        self.running: set[str] = set()
        """The scopes of the subgraphs that run right now."""
        self._stored_base = {scope: graph.base for scope, graph in state.scopes.items()}
        self._created_at: int | None = None
        self._unsaved = False
        self._snapshot_bytes = snapshot_bytes
        self._is_saving = False
        self._lock = threading.Lock()
        self._busy = False
        self._queue: list[Batch] = []
        self._mailroom: Mailroom | None = None
        self._encoder = Encoder() if self.durability == "exit" else None
        self._told: ToldEffects | None = None
        if self._encoder is not None and any(graph.has_intents() for graph in state.scopes.values()):
            self._begin_telling()

    def now(self) -> int:
        """Return the time in nanoseconds, never earlier than the thread's last barrier."""
        return max(clock.current.time_ns(), self.state.at)

    def attach(self, scope: str, blueprint: Blueprint) -> None:
        """Make the graph of a scope known, and fold what the log holds of it."""
        with self._lock:
            self.blueprints[scope] = blueprint
            self.state = attach(self.blueprints.get, self.state, scope)

    def mailroom(self) -> Mailroom:
        """Return what this run takes from the thread's mailbox."""
        from .mailroom import Mailroom

        assert self.log is not None, "only what is kept can be sent signals"
        with self._lock:
            if self._mailroom is None:
                self._mailroom = Mailroom(self.log, self.thread)
            return self._mailroom

    def record(
        self, records: Sequence[Record], base: ThreadState | None = None, draft: ThreadState | None = None
    ) -> None:
        """Append records and fold them; returns when they are as durable as the mode promises.

        Args:
            records: What happened.
            base: The state that ``draft`` was folded from.
            draft: The state after the records, if the caller has folded them on trial.

        Raises:
            NotSerializable: A value cannot be written; nothing was recorded.
            LogError: The log cannot take them; nothing was folded.
        """
        if self._waits is None:
            with self._lock:
                folded = self._append(records, draft)
                self._fold(folded, base if folded is records else None, draft)
            return
        batch = self._lead_or_join(records, base, draft)
        if batch is not None:
            batch.future.result()
            return
        try:
            folded = self._append(records, draft)
            self._flush()
            with self._lock:
                self._fold(folded, base if folded is records else None, draft)
        finally:
            # Nobody can have queued up unseen: whoever is to queue looks at ``_busy`` under the lock.
            while batches := self._next():
                self._take_along(batches)

    async def arecord(
        self, records: Sequence[Record], base: ThreadState | None = None, draft: ThreadState | None = None
    ) -> None:
        """Do what ``record`` does, without blocking the event loop while the log flushes."""
        if self._waits is None:
            self.record(records, base, draft)
            return
        batch = self._lead_or_join(records, base, draft)
        if batch is not None:
            # A cancelled caller must not cancel what others wait for as well.
            await asyncio.shield(asyncio.wrap_future(batch.future))
            return
        try:
            folded = self._append(records, draft)
            await self._waits.flush_async()
            with self._lock:
                self._fold(folded, base if folded is records else None, draft)
        except asyncio.CancelledError:
            # The records are queued and cannot be taken back, so they are folded when they are durable.
            self._fold_later(folded)
            raise
        except BaseException:
            self._continue()
            raise
        self._continue()

    async def caught_up(self) -> None:
        """Return when the state knows of all that was handed over before, also by callers that were cancelled."""
        with self._lock:
            if not self._busy:
                return
            batch = Batch((), None, None)
            self._queue.append(batch)
        await asyncio.shield(asyncio.wrap_future(batch.future))

    def _fold_later(self, folded: Sequence[Record]) -> None:
        assert self.writer is not None

        def flushed(flush: Future[None]) -> None:
            if flush.exception() is None:
                with self._lock:
                    self._fold(folded, None, None)
            self._continue()

        self.writer.flush_soon().add_done_callback(flushed)

    def harden(self) -> None:
        """Return when everything recorded so far is durable, whatever the mode.

        Under ``sync`` it is. Under ``exit``, where nothing is written yet, the state is: what happened since the last
        time, the run's admission included, as one folded state.

        Raises:
            LogError: The log cannot take it.
        """
        if self.writer is None or self._waits is not None:
            return
        self._save()
        self.writer.flush()

    async def aharden(self) -> None:
        """Do what ``harden`` does, without blocking the event loop while the log flushes."""
        if self.writer is None or self._waits is not None:
            return
        self._save()
        await self.writer.flush_async()

    def settle(self) -> None:
        """Write what only the end of the run writes, and wait until all of it is durable."""
        if self.writer is not None:
            self._save()
            self.writer.flush()

    async def asettle(self) -> None:
        """Do what ``settle`` does, without blocking the event loop while the log flushes."""
        if self.writer is not None:
            self._save()
            await asyncio.shield(self.writer.flush_async())

    def _lead_or_join(
        self, records: Sequence[Record], base: ThreadState | None, draft: ThreadState | None
    ) -> Batch | None:
        """Return None when the caller is to append, else the batch that somebody else takes along."""
        with self._lock:
            if not self._busy:
                self._busy = True
                return None
            batch = Batch(records, base, draft)
            self._queue.append(batch)
            return batch

    def _flush(self) -> None:
        assert self._waits is not None, "only who waits for the disk flushes"
        self._waits.flush()

    def _begin_telling(self) -> None:
        """Follow what is done at most once, which most programs have none of."""
        from .as_state import ToldEffects

        self._told = ToldEffects(self.state)

    def _take_along(self, batches: list[Batch]) -> None:
        """Append and flush what others queued while we did."""
        try:
            folded = self._append_all(batches)
            self._flush()
        except BaseException as error:
            self._refuse(batches, error)
        else:
            self._adopt(batches, folded)

    def _lead_in_background(self, batches: list[Batch]) -> None:
        """Append in this thread, and let the flusher say when it is durable."""
        try:
            folded = self._append_all(batches)
        except BaseException as error:
            self._refuse(batches, error)
            self._continue()
            return

        def flushed(flush: Future[None]) -> None:
            error = flush.exception()
            if error is None:
                self._adopt(batches, folded)
            else:
                self._refuse(batches, error)
            self._continue()

        assert self._waits is not None, "only who waits for the disk queues"
        self._waits.flush_soon().add_done_callback(flushed)

    def _continue(self) -> None:
        if batches := self._next():
            self._lead_in_background(batches)

    def _next(self) -> list[Batch]:
        """Take what queued up meanwhile; with nothing there, step down."""
        with self._lock:
            batches, self._queue = self._queue, []
            if not batches:
                self._busy = False
            return batches

    def _append_all(self, batches: list[Batch]) -> Sequence[Record]:
        if len(batches) > 1:
            records: Sequence[Record] = [record for batch in batches for record in batch.records]
            draft = None
        else:
            records, draft = batches[0].records, batches[0].draft
        # Who only waits until the state has caught up brings nothing.
        return self._append(records, draft) if records else ()

    def _append(self, records: Sequence[Record], draft: ThreadState | None) -> Sequence[Record]:
        """Hand the records to the log, and return those to fold: decoded copies where the log is strict."""
        writer = self._appends
        if writer is not None:
            summary = partial(self._summary, draft or self.state, records[-1])
            return writer.append(records, summary, registry=self.registry, awaited=self._waits is not None)
        if self._encoder is not None:
            packed = self._encoder.records(records)
            self._unsaved = True
            for record in records:
                if record.__class__ is TaskStarted and self._told is None:
                    self._begin_telling()
                if self._told is not None:
                    self._told.note(record)
                if record.__class__ is SignalReceived and self.writer is not None:
                    self.writer.receive(record.name, record.number)
                # What is stored of a branch follows the checkpoint that it begins at.
                if record.__class__ is Forked and not lives_one_step(record.scope):
                    self._stored_base[record.scope] = record.origin
            if self.log is not None and self.is_strict:
                blobs = {blob.digest: blob.data for blob in packed.blobs}
                fetch = self.log.fetch
                return Decoder(self.registry, lambda digest: blobs.get(digest) or fetch(digest)).records(
                    packed.data
                )
        return records

    def _summary(self, state: ThreadState, last: Record) -> Summary:
        """Say what the directory of threads is to show after these records, of which ``last`` is the last."""
        status = "running"
        root = state.scopes.get("")
        if isinstance(last, RunEnded) and not last.scope:
            status = last.how
        elif isinstance(last, _EDITS) and root is not None:
            # An edit from outside leaves no run behind that could have crashed.
            status = "parked" if root.due or root.sends else "done"
        if root is None:
            return Summary(status, self.name)
        due = due_at(state) if status in PARKED else None
        # While a run is on its way, only a finished step changes what is next; a fan-out of thousands must not
        # look at thousands of outcomes each time one of them ends.
        if status != "running":
            following = unfinished(root)
        elif root.sends:
            following = (*root.due[:SUMMARY_NAMES], *(send[0] for send in root.sends[:SUMMARY_NAMES]))
        else:
            following = root.due
        return new(Summary, (status, self.name, root.step, following[:SUMMARY_NAMES], due))

    def _adopt(self, batches: list[Batch], folded: Sequence[Record]) -> None:
        """Fold what is in the log now, and wake those who waited."""
        first = batches[0]
        if folded:
            with self._lock:
                self._fold(folded, first.base if folded is first.records else None, first.draft)
        for batch in batches:
            batch.future.set_result(None)

    def _fold(self, folded: Sequence[Record], base: ThreadState | None, draft: ThreadState | None) -> None:
        """Let the state follow the log, with the lock held; a draft from this very state is the fold, made before."""
        if draft is not None and base is self.state:
            self.state = draft
        else:
            state = self.state
            for record in folded:
                seq = record.seq if isinstance(record, StateFolded) else state.seq + 1
                state = fold(self.blueprints.get, state, seq, record)
            self.state = state
        if self._created_at is None and isinstance(folded[0], ThreadCreated):
            self._created_at = folded[0].at

    def _refuse(self, batches: list[Batch], error: BaseException) -> None:
        """Tell each who waited. One bad value must not cost the others their records, so they are tried alone."""
        if len(batches) == 1:
            batches[0].future.set_exception(error)
            return
        for batch in batches:
            try:
                folded = self._append_all([batch])
                self._flush()
            except BaseException as alone:
                batch.future.set_exception(alone)
            else:
                self._adopt([batch], folded)

    def _save(self) -> None:
        """Write the run as one folded state: what durability ``exit`` keeps of it."""
        if self.writer is None or not self._unsaved:
            return
        with self._lock:
            self._save_state(self.writer)

    def _save_state(self, writer: Writer) -> None:
        from .as_state import as_stored, folded

        state = as_stored(self.state, self._stored_base, writer.seq)
        root = state.scopes[""]
        records: list[Record] = []
        if self._created_at is not None:
            records.append(ThreadCreated(self._created_at, self.thread, None))
        records.append(folded(state, self._told))
        due = due_at(state) if root.ended in PARKED else None
        summary = Summary(
            root.ended or "running", self.name, root.step, unfinished(root)[:SUMMARY_NAMES], due
        )
        writer.append(records, summary, registry=self.registry)
        self._created_at = None
        self._stored_base = {scope: graph.base for scope, graph in state.scopes.items()}
        self.state = state
        self._unsaved = False

    def snapshot_if_due(self) -> None:
        """Cache the state when what was folded since the last snapshot outweighs it."""
        writer = self.writer
        if writer is None or self.log is None or self.durability not in {"sync", "async"}:
            return
        if writer.records_since_snapshot < SNAPSHOT_RECORDS:
            return
        if writer.bytes_since_snapshot < SNAPSHOT_GROWTH * self._snapshot_bytes:
            return
        with self._lock:
            state = self.state
            if self._is_saving or not state.scopes:
                return
            self._is_saving = True
        try:
            self._snapshot(self.log, state)
        finally:
            self._is_saving = False

    def _snapshot(self, log: Log, state: ThreadState) -> None:
        """Cache a state, and forget what of its open step's outcomes fills pages, which are stored with it."""
        moved = None
        if any(graph.outcomes.recency >= PAGED_FROM for graph in state.scopes.values()):
            from ..replay.paging import paged

            moved = paged(state, log.decoder(self.registry))
            state = moved.state
        packed = Encoder().value(thread_to_plain(state, in_pages=True))
        # Pages are written once, so they are nothing that the budget would have to bound.
        self._snapshot_bytes = len(packed.data) + sum(len(blob.data) for blob in packed.blobs)
        blobs = packed.blobs if moved is None else (*packed.blobs, *moved.blobs)
        log.put_snapshot(self.thread, state.seq, Packed(packed.data, blobs))
        if moved is not None and moved.blobs:
            from ..replay.paging import adopted

            with self._lock:
                self.state = adopted(self.state, moved)
