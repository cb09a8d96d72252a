"""Group commit: what waits to be written, who writes it, and who is told.

    append ──► queue (one entry per thread, merged) ──take──► group ──► Store.commit ──► verdicts
                 ▲                                              │
    flush: whoever waits first is the leader and commits for everybody; the others follow
    flusher: commits what nobody waits for; futures hurry it

TICKETS   Every append gets a number. A group covers all tickets given out before it was taken, so "is mine durable"
          is one comparison, and the durable log is a prefix of what each thread appended.

COMPANY   Threads that were told together append again together. While one of them is missing, whoever comes waits for
          it, and the last of the crew to come leads: one group for all, nobody polls, and no lock is held. The first
          to come waits for a commit's time, again while more come, and then leads without the missing. A writer that
          had no company in the last group commits at once.

FAILURE   A conflict is one writer's own: it gets ``StaleWriter``, the others of the group are written. Any other
          failure poisons the committer, since nobody knows what reached the disk: all who wait fail, everything
          later raises ``LogFailed``, and opening the log again tells what is durable.

Invariants:
1. At most one group is being committed at a time, outside the lock.
2. A thread has at most one entry in the queue, of one writer; its bodies are in the order of their seqs.
3. A follower is woken exactly once: when its ticket is durable, when the log fails, or to lead the next group.
4. Whenever somebody waits, a group is being committed, a host's pause is running out, or one was woken to lead.
5. The queue is bounded: whoever appends beyond ``bound`` bytes commits, or waits for the group under way.

This module must not know what a record is, nor how a group is stored.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

from .blob import Blob
from .errors import LogClosed, LogCorrupt, LogFailed, LogFull, StaleWriter, WalgraphError
from .flush import Flusher
from .frame import Summary
from .named import new
from .promise import Owner, Promise, deliver, renewed, settle_all
from .store import Committed, Conflict, Durability, Frame, Group, Snapshot, Store, Verdict
from .waiting import Waiter, settle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Container
    from concurrent.futures import Future

    from .vault import Vault

GATHER_TRIES = 50
GATHER_SECONDS = 0.0002
"""A pause in which tasks of an event loop that were told together append again, and how many while more of them do."""
_U64 = (1 << 64) - 1
MAX_PAUSE_SECONDS = 0.0005
"""How long the first of a crew waits for the others at most, however slow the disk is."""
QUEUE_GROUPS = 4
"""The queue may hold this many times ``flush_bytes`` before an append has to wait."""


_NOTHING = Summary()


class _Entry:
    """What one writer has queued: the frame to be, and who owns it."""

    __slots__ = ("after", "blobs", "bodies", "count", "last", "owner", "received", "size", "summary")

    def __init__(self, owner: Owner, after: int) -> None:
        self.owner = owner
        self.after = after
        self.last = after
        self.count = 0
        self.size = 0
        self.bodies: list[bytes] = []
        self.blobs: list[Blob] = []
        self.received: tuple[tuple[str, int], ...] = ()
        self.summary: Summary | Callable[[], Summary] = _NOTHING

    def frame(self, frame_id: bytes) -> Frame:
        body = self.bodies[0] if len(self.bodies) == 1 else b"".join(self.bodies)
        owner, summary = self.owner, self.summary
        blobs = tuple({blob.digest: blob for blob in self.blobs}.values()) if self.blobs else ()
        shown = summary if isinstance(summary, Summary) else summary()
        return new(Frame, (
            owner.thread_id, self.after, self.last, self.count, owner.epoch, frame_id, body, shown, blobs,
            self.received,
        ))  # fmt: skip


class Committer:
    """The queue of one log and its group commits.

    Args:
        store: Where groups go.
        interval: Seconds that an append may wait for the flusher.
        flush_bytes: Queued bytes at which the flusher commits at once.
    """

    def __init__(self, store: Store, *, interval: float = 0.02, flush_bytes: int = 4 << 20) -> None:
        self.store = store
        self.vault: Vault | None = None  # what encrypts, if anything does
        self.failure: WalgraphError | None = None
        self.durable_lsn = store.position().lsn
        self.groups = 0
        self._flush_bytes = flush_bytes
        self._bound = flush_bytes * QUEUE_GROUPS
        self._interval = interval
        self.reset()

    def reset(self) -> None:
        """Begin anew with an empty queue; for a forked child, where locks and flusher are another process's."""
        self._lock = threading.Lock()
        # Ids count up from a random start, which costs no call to the system per frame.
        self._ids = itertools.count(int.from_bytes(os.urandom(8)))
        self._queue: dict[str, _Entry] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._blobs: dict[bytes, Blob] = {}
        self._bytes = 0
        self._ticket = 0
        self._durable = 0
        self._failed_ticket = 0
        self._company = 0
        self._committing = False
        self._flying: Container[str] = ()
        self._covered = 0
        # How many threads waited when the last group was done, and how long that took: who is to be waited for.
        self._crew = 0
        self._pause = 0.0
        self._host: Waiter | None = None
        self._waiters: list[Waiter] = []
        self._futures: list[Promise] = []
        self.flusher = Flusher(self.commit_queued, self._interval, "walgraph-flusher")

    # Queueing

    def append(
        self,
        owner: Owner,
        body: bytes,
        blobs: tuple[Blob, ...],
        seqs: tuple[int, int, int],
        summary: Summary | Callable[[], Summary],
        *,
        awaited: bool = False,
    ) -> None:
        """Queue encoded records; ``seqs`` are the seq that they follow, their last seq, and their number.

        A summary that is a function is asked when the frame is made, which happens once for many appends.

        Raises:
            LogFailed: An earlier commit failed.
            StaleWriter: The owner has lost its thread.
        """
        with self._lock:
            failure = owner.failure or self.failure
            if failure is not None:
                raise renewed(failure)
            after, last, count = seqs
            entry = self._queue.get(owner.thread_id)
            if entry is None:
                entry = self._queue[owner.thread_id] = _Entry(owner, after)
            entry.bodies.append(body)
            entry.last = last
            entry.count += count
            entry.summary = summary
            if owner.received:
                entry.received, owner.received = (*entry.received, *owner.received), []
            size = len(body)
            if blobs:
                entry.blobs += blobs
                size += sum([len(blob.data) for blob in blobs])
            entry.size += size
            self._bytes = queued = self._bytes + size
            self._ticket = owner.ticket = self._ticket + 1
            flusher = self.flusher
            if not awaited and flusher.asleep:
                flusher.wake()
            if queued < self._flush_bytes:
                return
            over = self._bytes > self._bound
            if not over and not awaited:
                flusher.hurry()
        if over:
            self.flush(owner.ticket)

    def put_snapshot(self, snapshot: Snapshot) -> None:
        """Queue a snapshot for the next group; of two for one thread the later stays."""
        with self._lock:
            replaced = self._snapshots.get(snapshot.thread)
            if replaced is not None:
                # The later one may name blobs that came with the earlier one and that nobody has stored yet.
                snapshot = snapshot._replace(blobs=(*replaced.blobs, *snapshot.blobs))
            self._snapshots[snapshot.thread] = snapshot
            self._count_in(len(snapshot.data))

    def queued_blob(self, digest: bytes) -> bytes | None:
        """Return what a blob holds that waits with a snapshot for the next group; None for any other."""
        with self._lock:
            for snapshot in self._snapshots.values():
                for blob in snapshot.blobs:
                    if blob.digest == digest:
                        return blob.data
        return None

    def put_blob(self, blob: Blob) -> None:
        """Queue a shared value for the next group."""
        with self._lock:
            if blob.digest not in self._blobs:
                self._blobs[blob.digest] = blob
                self._count_in(len(blob.data))

    def _count_in(self, size: int) -> None:
        if self.failure is not None:
            raise renewed(self.failure)
        self._bytes += size
        self._ticket += 1
        if self.flusher.asleep:
            self.flusher.wake()

    def drop(self, owner: Owner) -> None:
        """Forget what an owner has queued and wait for what of it is on its way."""
        with self._lock:
            entry = self._queue.get(owner.thread_id)
            if entry is not None and entry.owner is owner:
                del self._queue[owner.thread_id]
                self._bytes -= entry.size
            ticket = self._ticket if self._committing else 0
        if ticket and self.failure is None:
            self.flush(ticket)

    # Waiting

    def flush(self, ticket: int | None = None) -> None:
        """Return when the ticket, or everything queued, is durable; commit for everybody if nobody does.

        Raises:
            LogFailed: The commit failed, or an earlier one.
            LogFull: The commit failed for lack of room.
        """
        waiter: Waiter | None = None
        while True:
            with self._lock:
                if ticket is None:
                    ticket = self._ticket
                if self._durable >= ticket:
                    return
                if self.failure is not None:
                    # Whoever waited for the failed group gets its very error; later callers learn that it failed.
                    raise renewed(self.failure, own=ticket <= self._failed_ticket)
                if self._committing or len(self._waiters) + 1 < self._crew:
                    waiter = Waiter(ticket)
                    self._waiters.append(waiter)
                    if not self._committing and self._host is None:
                        self._host = waiter
                    work = None
                else:
                    work = self._take()
            if work is None:
                assert waiter is not None, "somebody who has no work waits"
                self._wait(waiter)
                if waiter.done:
                    return
                continue
            self._commit(*work, led=1)

    def flush_thread(self, thread: str) -> None:
        """Return when what is queued or on its way for one thread is durable; others need not be.

        Raises:
            LogFailed: A commit failed, this one or an earlier one.
        """
        with self._lock:
            if self.failure is not None:
                raise renewed(self.failure)
            if thread in self._queue or thread in self._snapshots:
                ticket = self._ticket
            elif thread in self._flying:
                ticket = self._covered
            else:
                return
        self.flush(ticket)

    def _wait(self, waiter: Waiter) -> None:
        """Wait to be woken; if Ctrl-C strikes, pass on a wake-up that may have come."""
        try:
            if self._host is not waiter or not self._entertain(waiter):
                waiter.signal.acquire()
        except BaseException:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    waiter.pass_on()
                if self._host is waiter:
                    self._host = None
                if not self._committing and self._host is None:
                    self._settle()
            raise
        waiter.pass_on()

    def _entertain(self, host: Waiter) -> bool:
        """Wait for the rest of the crew while more of it comes; tell whether the wait is over."""
        present = 1
        while not host.signal.acquire(timeout=self._pause):
            with self._lock:
                if self._host is not host:
                    # Somebody leads meanwhile, who will wake this one as well.
                    return False
                if len(self._waiters) > present:
                    present = len(self._waiters)
                    continue
                # The others are elsewhere: whoever is here is the crew, and the host leads it.
                self._host = None
                self._waiters.remove(host)
                self._crew = 0
                return True
        return True

    def flush_soon(self, ticket: int, owner: Owner | None = None) -> Future[None]:
        """Return a future that resolves when the ticket is durable; the flusher sees to it at once."""
        from concurrent.futures import Future  # it brings logging along, and most programs never ask

        future: Future[None] = Future()
        self._promise(new(Promise, (ticket, future, owner, None)))
        return future

    def promise(self, ticket: int, owner: Owner, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return the same as a future of an event loop; all that one commit makes true cost one wake-up of the loop."""
        future: asyncio.Future[None] = loop.create_future()
        self._promise(new(Promise, (ticket, future, owner, loop)))
        return future

    def _promise(self, promise: Promise) -> None:
        with self._lock:
            if self._durable < promise.ticket and self.failure is None:
                self._futures.append(promise)
                self.flusher.hurry()
                return
        # The caller is where the future belongs, so that it is settled at once.
        settle_all([promise], self._durable, self.failure)

    def commit_queued(self) -> bool:
        """Commit what is queued, if anything is and nobody is at it or about to be; the flusher's work."""
        if self._company > 1 and self._futures:
            self._gather()
        with self._lock:
            if self._durable >= self._ticket or self.failure is not None:
                return False
            if self._committing or self._host is not None:
                return True
            work = self._take()
        self._commit(*work)
        return True

    def _gather(self) -> None:
        """Give those who waited for the last group a moment to append again, so that they share the next one too."""
        before = 0
        for _ in range(GATHER_TRIES):
            waiting = len(self._futures)
            if waiting >= self._company or waiting == before:
                return
            before = waiting
            time.sleep(GATHER_SECONDS)

    def close(self) -> None:
        """Flush and stop the flusher."""
        try:
            if self.failure is None:
                self.flush()
        finally:
            self.flusher.stop()
            with self._lock:
                if self.failure is None:
                    self.failure = LogClosed("The log was closed.", hint="Open it again.")

    # Committing

    def _take(self) -> tuple[int, list[_Entry], Group]:
        """Take the whole queue; called with the lock held."""
        self._committing = True
        self._host = None
        queue, snapshots = self._queue, self._snapshots
        # A writer that lost its thread may have appended again before it was told: that is never written.
        entries = [entry for entry in queue.values() if not entry.owner.lost]
        frames = tuple([entry.frame((next(self._ids) & _U64).to_bytes(8)) for entry in entries])
        self._flying = queue
        self._queue = {}
        self._bytes = 0
        self._covered = self._ticket
        if not snapshots and not self._blobs:
            return self._covered, entries, new(Group, (frames, (), ()))
        group = Group(frames, tuple(snapshots.values()), tuple(self._blobs.values()))
        self._flying = {*queue, *snapshots}
        self._snapshots = {}
        self._blobs = {}
        return self._covered, entries, group

    def _commit(self, covered: int, entries: list[_Entry], group: Group, *, led: int = 0) -> None:
        """Commit a group outside the lock, then tell everybody whom it concerns; ``led``: its leader waits, too."""
        failure: WalgraphError | None = None
        verdicts: list[Verdict] = []
        interrupt: BaseException | None = None
        began = time.perf_counter()
        try:
            verdicts, interrupt = self._store_group(group)
        except WalgraphError as error:
            failure = error if isinstance(error, (LogFull, LogFailed, LogCorrupt)) else _failed(error)
        except BaseException as error:  # noqa: BLE001 - whatever stops a commit leaves it in doubt.
            failure = _failed(error)
        if failure is not None:
            failure.details["in_doubt"] = {frame.thread: frame.id.hex() for frame in group.frames}
        with self._lock:
            self._committing = False
            self._flying = ()
            self._pause = min(time.perf_counter() - began, MAX_PAUSE_SECONDS)
            self._crew = len(self._waiters) + led
            if failure is None:
                self.groups += 1
                self._durable = covered
                for entry, verdict in zip(entries, verdicts, strict=True):
                    if type(verdict) is Committed:
                        self.durable_lsn = verdict.lsn
                    else:
                        entry.owner.lost = True
                        entry.owner.failure = _stale(entry, verdict)
            else:
                self.failure = failure
                self._failed_ticket = covered
            promises = self._settle()
        deliver(promises, self._durable, self.failure)
        if interrupt is not None:
            raise interrupt

    def _store_group(self, group: Group) -> tuple[list[Verdict], BaseException | None]:
        """Commit a group; if Ctrl-C strikes meanwhile, find out what became of it and finish it first."""
        if self.vault is not None:
            group = self.vault.close(group, self.store)
        try:
            return self.store.commit(group), None
        except Exception:
            raise
        except BaseException as interrupt:  # noqa: BLE001 - raised again once the group is settled.
            # Without its traceback nothing holds on to the broken transaction, so that it is aborted now.
            kept = interrupt.with_traceback(None)
        rows = [self.store.row(frame.thread) for frame in group.frames]
        if not any(row and row.frame == frame.id for row, frame in zip(rows, group.frames, strict=True)):
            return self.store.commit(group), kept
        verdicts: list[Verdict] = []
        for row, frame in zip(rows, group.frames, strict=True):
            if row is not None and row.frame == frame.id:
                verdicts.append(Committed(row.lsn))
            else:
                verdicts.append(Conflict(row.seq, row.epoch) if row is not None else Conflict(0, 0))
        return verdicts, kept

    def _settle(self) -> list[Promise]:
        """Wake who is done and one who leads next; return the promises to keep outside the lock."""
        if self._waiters:
            self._waiters = settle(self._waiters, self._durable, has_failed=self.failure is not None)
        if not self._futures:
            return []
        durable = (1 << 64) if self.failure is not None else self._durable
        done = [promise for promise in self._futures if promise.ticket <= durable]
        pending = [promise for promise in self._futures if promise.ticket > durable]
        self._futures = pending
        self._company = len(done)
        if pending:
            self.flusher.hurry()
        return done

    @property
    def durability(self) -> Durability:
        """What an acknowledgement means."""
        return self.store.durability


def _failed(error: BaseException) -> LogFailed:
    message = f"A commit failed: {type(error).__name__}: {error}"
    failure = LogFailed(message, hint="Close the log and open it again; its head tells what is durable.")
    failure.__cause__ = error
    return failure


def _stale(entry: _Entry, verdict: Verdict) -> StaleWriter:
    assert isinstance(verdict, Conflict), "only a conflict makes a writer stale"
    return StaleWriter(
        f"Thread {entry.owner.thread_id!r} was taken over: the log holds seq {verdict.seq} of epoch {verdict.epoch}, "
        f"this writer of epoch {entry.owner.epoch} appended after seq {entry.after}. Nothing of it was recorded.",
        hint="Let the other run go on, or resume the thread from what it recorded.",
        thread=entry.owner.thread_id,
        recorded=verdict.seq,
        attempted=entry.after,
    )
