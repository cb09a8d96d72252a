"""One of LangGraph's threads in this process: its index, and the one way in which it is changed.

    change(make) ──► make(state) ──► append ──► fold ──► flush ──► durable
                       ▲  (a Draft)                        │
                       └─ read what came, once more ◄── refused: another process was faster

All savers of one log in a process share the lanes of its threads, so that what several tasks put at once is one group,
and what one has put the next one sees. Other processes are seen by a look into the directory before each reading; a
change that others were faster than is found out by the store, which refuses our frame.

Invariants:
1. What is appended was made from the state that it follows: numbers and bases fit.
2. A draft that was refused is made anew, or its maker hears why it cannot be.
3. What is read is durable.
4. Snapshots are of durable states only, and of those that this process knows to be the log's.

This module must not know LangGraph.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ..replay.saved import SavedThread
from ..wal.codec import Decoder
from ..wal.errors import LogCorrupt, RecordsCompacted, StaleWriter, ThreadNotFound, WalgraphError
from ..wal.frame import Summary
from ..wal.log import Log
from ..wal.saved_thread import GRAPH
from ..wal.shared import SharedWriter, bytes_of
from ..wal.steady import steady
from .errors import CheckpointSuperseded
from .saved_draft import AT_ONCE, Draft

if TYPE_CHECKING:
    from ..wal.store import Row

TRIES = 100
"""How often a change is made anew because others were faster. Each time somebody got on, so it ends."""
READ_BYTES = 16 << 20
"""How many bytes of values a lane remembers."""
SNAPSHOT_RECORDS = 512
SNAPSHOT_SHARE = 2
"""A snapshot is taken after so many records, once they weigh this part of the last one. What did not change of it lies
among the blobs and is not written again, so it may come sooner than a snapshot of walgraph's own threads."""
HANDED = 1024
"""How many handed out checkpoints a lane remembers."""
STRAGGLER_SECONDS = 0.25
"""How long a checkpoint waits for writes that its step must have made and that are on their way."""

GRACE_SECONDS = 0.005
"""How long a checkpoint that its run goes on from waits for the next step, to share a commit with it. A run that stops
there without a word, before a node that it is to stop before, ends so much later."""

T = TypeVar("T")
Make: TypeAlias = Callable[["Lane"], Draft]
Goer: TypeAlias = tuple[str, str]
"""Namespace and id of a checkpoint."""


class _Asked:
    """Somebody who waits until a run has gone on from a checkpoint."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self.has_gone_on = False
        self._tell = tell

    def hear(self, *, well: bool) -> None:
        """Wake whoever waits. With a question or an error the run may have ended there: then it has not gone on."""
        self.has_gone_on = well
        self._tell()


class Lane:
    """One thread, as this process knows it.

    Args:
        log: The log.
        thread: The thread's id.
        lenient: Whether metadata of unknown classes is shown as such, instead of refused; for tools.
    """

    def __init__(self, log: Log, thread: str, *, lenient: bool = False) -> None:
        self.log = log
        self.thread = thread
        self.lock = threading.RLock()
        self.arrived = threading.Condition(self.lock)
        self.state = SavedThread(log.decoder())
        self.summary = Summary("done", GRAPH)
        self.handed: OrderedDict[tuple[str, str | None], bool] = OrderedDict()
        """Namespace and checkpoint → whether it was last handed out as the newest, or because it was asked for."""
        self.empty: set[tuple[str, str, str]] = set()
        """Namespace, checkpoint and path of tasks that wrote nothing that is kept."""
        self.sends: dict[Goer, int] = {}
        """How many Sends a checkpoint holds that was put or read here."""
        self._lenient = lenient
        self._writer: SharedWriter | None = None
        self._number = 0
        self._pending: list[Make] = []
        self._goers: dict[Goer, list[_Asked]] = {}
        self.lost: dict[Goer, WalgraphError] = {}
        """Checkpoints that were refused after their run had gone on from them, and why."""
        self._read: OrderedDict[int, bytes] = OrderedDict()
        self._read_bytes = 0
        self._snapshot_bytes = 0

    # Reading

    def current(self) -> SavedThread:
        """Return the thread as the log holds it now; called with the lock held.

        Raises:
            OtherThread: Walgraph runs the thread.
            LogCorrupt: The log is damaged.
        """
        if self._pending:
            self.settle()
        self.catch_up()
        return self.state

    def looked(self, look: Callable[[], T]) -> T:
        """Return what ``look`` returns, called with the lock held; again, where a compaction overtook it."""
        with self.lock:
            return steady(self.log, self.thread, look)

    def read(self, number: int) -> bytes:
        """Return the bytes of a payload; called with the lock held."""
        known = self._read.get(number)
        if known is not None:
            self._read.move_to_end(number)
            return known
        payload = self.state.payloads.get(number)
        if len(payload.pieces) == 1 and type(payload.pieces[0]) is bytes:
            return payload.pieces[0]
        data = self.state.payloads.read(number, self._fetch)
        self.remember(number, data)
        return data

    def remember(self, number: int, data: bytes) -> None:
        """Keep the bytes of a payload at hand; called with the lock held."""
        if number not in self._read:
            self._read[number] = data
            self._read_bytes += len(data)
            while self._read_bytes > READ_BYTES and len(self._read) > 1:
                self._read_bytes -= len(self._read.popitem(last=False)[1])

    def _fetch(self, digest: bytes) -> bytes:
        return bytes_of(self.log.fetch(digest))

    # Keeping up

    def catch_up(self) -> None:
        """Fold what other processes have appended; called with the lock held."""
        writer = self._writer
        if writer is not None and writer.failure is not None:
            self._recover()
        row = self.log.store.row(self.thread)
        if row is None:
            if self._number:
                # Somebody has deleted the thread.
                self.begin_anew(None)
        elif not self._number:
            if self.state.seq:
                # The thread is new, and its first frame was written: ours, or our writer is about to hear of another.
                self._number = row.number
            else:
                self.begin_anew(row)
        elif row.number != self._number:
            self.begin_anew(row)
        elif row.seq > self.state.seq:
            self._follow(row)

    def _follow(self, row: Row) -> None:
        """Fold what others appended behind all that we did."""
        if self._writer is not None:
            try:
                self._writer.flush()
            except StaleWriter:
                self._recover()
                return
            self._writer = None
        if row.base > self.state.seq:
            self.begin_anew(row)
            return
        try:
            for seq, record in self.log.read(
                self.thread, self.state.seq, decoder=self._decoder(), whole=True
            ):
                self.state.apply(seq, record)
        except (RecordsCompacted, LogCorrupt):
            # It was cut while we read: the newest snapshot stands for that. Damage is met there as well.
            self.begin_anew(self.log.store.row(self.thread))
            return
        self._said(row)

    def begin_anew(self, row: Row | None) -> None:
        """Read the thread from its newest snapshot on; called with the lock held."""
        self._writer = None
        self._read.clear()
        self._read_bytes = 0
        self._number = 0
        decoder = self._decoder()
        self.state = SavedThread(decoder)
        self.summary = Summary("done", GRAPH)
        while row is not None:
            try:
                state = steady(self.log, self.thread, partial(self._read_whole, decoder))
            except ThreadNotFound:
                state = SavedThread(decoder)
            after = self.log.store.row(self.thread)
            if after is not None and after.number == row.number and after.base <= state.seq:
                self.state, self._number = state, row.number
                self._said(row)
                return
            # It was cut or deleted while we read.
            row = after

    def _read_whole(self, decoder: Decoder) -> SavedThread:
        """Return the thread from its newest snapshot on."""
        found, records = self.log.since(self.thread, decoder=decoder)
        state = SavedThread(decoder)
        if found is not None:
            self._snapshot_bytes = len(found[1])
            state = SavedThread.from_plain(decoder.value(found[1]), found[0], decoder)
        for seq, record in records:
            state.apply(seq, record)
        return state

    def _said(self, row: Row) -> None:
        self.summary = Summary(row.status, row.graph, row.step, tuple(row.next))
        self.arrived.notify_all()

    def _recover(self) -> None:
        """After a conflict: read what others wrote, and append again what nobody waits for."""
        pending, self._pending = self._pending, []
        self.begin_anew(self.log.store.row(self.thread))
        for make in pending:
            try:
                self.append(make, awaited=False)
            except CheckpointSuperseded as error:
                # Nobody waits for this one; whoever builds on it is told.
                self.lost[error.details["ns"], error.details["ours"]] = error

    def settle(self) -> None:
        """Return when all that was appended here is durable; called with the lock held."""
        for _ in range(TRIES):
            if self._writer is None:
                break
            try:
                self._writer.flush()
                break
            except StaleWriter:
                self._recover()
        self._pending.clear()

    def _decoder(self) -> Decoder:
        return self.log.decoder(lenient=self._lenient)

    # Changing

    def append(self, make: Make, *, awaited: bool) -> SharedWriter | None:
        """Make a draft and append it; return the writer that must be flushed, or None if nothing is to be waited for.

        Raises:
            StaleWriter: Others have written since; try again.
        """
        with self.lock:
            writer = self._writer
            if writer is None or writer.failure is not None:
                # Otherwise others are found out by the store, which costs nothing while there are none.
                self.catch_up()
            draft = make(self)
            writer = self._writer
            if not draft.records:
                return writer
            if writer is None:
                writer = self.log.join(self.thread)
                if writer.seq != self.state.seq:
                    raise _beaten(self.thread)
                self._writer = writer
            last = writer.put(draft.records, draft.blobs, draft.summary, awaited=awaited)
            seq = last - len(draft.records)
            for record in draft.records:
                seq += 1
                self.state.apply(seq, record)
            for number, data in draft.fresh:
                self.remember(number, data)
            self.summary = draft.summary
            if not awaited:
                self._pending.append(make)
            self.arrived.notify_all()
            return writer

    def change(self, make: Make, *, durable: bool = True, goes_on: Goer | None = None) -> None:
        """Make a draft, append it, and return when it is durable.

        Args:
            make: Makes the draft; again, if others were faster.
            durable: Otherwise return when it is queued.
            goes_on: Namespace and id of the checkpoint that is put, if its run goes on from it, and it is enough that
                it has: what comes next is durable no sooner, and somebody waits for that.
        """
        for _ in range(TRIES):
            try:
                writer = self.append(make, awaited=durable and goes_on is None)
                if writer is not None and durable:
                    if goes_on is None:
                        writer.flush()
                    elif not self._has_gone_on(writer, goes_on):
                        return
            except StaleWriter:
                with self.lock:
                    self.catch_up()
                continue
            self.flushed(writer, durable=durable)
            return
        raise _beaten(self.thread)

    def _has_gone_on(self, writer: SharedWriter, place: Goer) -> bool:
        """Wait until the run has gone on from a checkpoint, or all is durable; tell whether all is durable."""
        told = threading.Event()
        with self._asking(place, told.set) as goer:
            told.wait(GRACE_SECONDS)
        if goer.has_gone_on:
            return False
        writer.flush()
        return True

    async def achange(self, make: Make, *, durable: bool = True, goes_on: Goer | None = None) -> None:
        """Do the same without blocking the event loop on the disk."""
        for _ in range(TRIES):
            try:
                writer = self.append(make, awaited=durable and goes_on is None)
                if writer is not None and durable:
                    if goes_on is None:
                        await writer.flush_async()
                    elif not await self._ahas_gone_on(writer, goes_on):
                        return
            except StaleWriter:
                with self.lock:
                    self.catch_up()
                continue
            self.flushed(writer, durable=durable)
            return
        raise _beaten(self.thread)

    async def _ahas_gone_on(self, writer: SharedWriter, place: Goer) -> bool:
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        timer = loop.call_later(GRACE_SECONDS, told.set)
        try:
            with self._asking(place, lambda: loop.call_soon_threadsafe(told.set)) as goer:
                await told.wait()
        finally:
            timer.cancel()
        if goer.has_gone_on:
            return False
        await writer.flush_async()
        return True

    @contextmanager
    def _asking(self, place: Goer, tell: Callable[[], object]) -> Iterator[_Asked]:
        """Have ``tell`` called when a task of the step after a checkpoint has ended; at once if one has."""
        asked = _Asked(tell)
        with self.lock:
            channels = {write.channel for write in self.state.writes(*place).values()}
            if channels or any(each[:2] == place for each in self.empty):
                asked.hear(well=channels.isdisjoint(AT_ONCE))
            else:
                self._goers.setdefault(place, []).append(asked)
        try:
            yield asked
        finally:
            with self.lock:
                self._goers.pop(place, None)

    def gone_on(self, place: Goer, *, well: bool) -> None:
        """Note that a task of the step after a checkpoint has ended, well or not; called with the lock held."""
        for asked in self._goers.pop(place, ()):
            asked.hear(well=well)

    def flushed(self, writer: SharedWriter | None, *, durable: bool) -> None:
        """Note that all that was appended before is durable, and take a snapshot if it is time."""
        if writer is None or not durable:
            return
        with self.lock:
            if self._writer is not writer:
                return
            self._pending.clear()
            self.snapshot_if_due()

    def snapshot_if_due(self) -> None:
        """Take a snapshot if the newest one has fallen behind; called with the lock held, when all is durable."""
        writer = self._writer
        if (
            writer is not None
            and writer.records_since_snapshot >= SNAPSHOT_RECORDS
            and writer.bytes_since_snapshot >= self._snapshot_bytes // SNAPSHOT_SHARE
        ):
            writer.flush()
            self.snapshot()

    def snapshot(self) -> None:
        """Queue a snapshot of the thread, which is durable as it stands; called with the lock held."""
        packed = self.state.packed()
        size = len(packed.data) + sum([len(blob.data) for blob in packed.blobs])
        self._snapshot_bytes = size
        self.log.put_snapshot(self.thread, self.state.seq, packed)
        if self._writer is not None:
            self._writer.note_snapshot(self.state.seq)

    def cut(self) -> int:
        """Make a snapshot durable, and cut off the frames that it stands for; return how many went."""
        with self.lock:
            self.current()
            self.snapshot()
            self.log.flush()
            return self.log.truncate(self.thread, self.state.seq)

    @property
    def is_at_hand(self) -> bool:
        """Whether reading needs no disk: the index is in memory, and nothing waits to be written."""
        return self._number > 0 and not self._pending

    def note_sends(self, ns: str, checkpoint: str, count: int) -> None:
        """Remember how many ``Send``s a checkpoint holds."""
        if count:
            if len(self.sends) > HANDED:
                self.sends.clear()
            self.sends[ns, checkpoint] = count

    def note_empty(self, ns: str, checkpoint: str, path: str) -> None:
        """Remember that a task has written nothing that is kept; called with the lock held."""
        if len(self.empty) > HANDED:
            self.empty.clear()
        self.empty.add((ns, checkpoint, path))
        self.arrived.notify_all()

    def has_arrived(self, ns: str, checkpoint: str, pulled: Sequence[str], pushed: int) -> bool:
        """Return whether the writes of these tasks are here, and those of so many ``Send``s."""
        paths = {write.path for write in self.state.writes(ns, checkpoint).values()}
        if self.empty:
            paths |= {path for space, own, path in self.empty if (space, own) == (ns, checkpoint)}
        if not paths.issuperset(pulled):
            return False
        return all(
            any(path.startswith(f"~__pregel_push, {index:010}") for path in paths) for index in range(pushed)
        )

    def wait_for(self, ready: Callable[[], bool]) -> bool:
        """Wait until writes have arrived that are on their way; tell whether they have."""
        until = time.monotonic() + STRAGGLER_SECONDS
        with self.lock:
            while not ready():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self.arrived.wait(left)
        return True

    def hand_out(self, ns: str, id: str | None, *, as_newest: bool) -> None:
        """Remember how a checkpoint was handed out."""
        with self.lock:
            self.handed[ns, id] = as_newest
            self.handed.move_to_end((ns, id))
            while len(self.handed) > HANDED:
                self.handed.popitem(last=False)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way to the log, and nobody waits here."""
        return not self._pending and not self._goers


def _beaten(thread: str) -> StaleWriter:
    return StaleWriter(f"Others keep writing thread {thread!r}.", hint="Try again.", thread=thread)
