"""A store over ordered tables: everything that LMDB and memory have in common.

    commit   position and rows ─► verdicts ─► frames, rows, blobs, snapshots, position; one transaction
    frames   row ─► back along ``previous`` to where the reader stands ─► forward, checking the chain

Invariants:
1. Lsns, chain checksums and times are assigned inside the write transaction, since other processes append too.
2. ``Position.frames`` is the number of entries in LOG, so a lost frame is seen.
3. A thread's number is never given to another thread.
4. A snapshot lower than the newest is kept only if the thread's horizon leans on it (``Row.base``).

Lookups of thread numbers are remembered, but a number counts only if the row found under it names the thread.

This module must not know how tables are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .chain import Stretch, compacted, gone, no_anchor, read_frame, walk, walk_back
from .checked import name_key
from .due import check_due, move, rows_due
from .errors import LogCorrupt, ThreadBusy
from .frame import HEADER_BYTES, Header, first_seed, peek, seal, unseal
from .keyspace import (
    LAST_SEQ,
    POSITION_KEY,
    RESTORE,
    advance,
    key_number,
    new_row,
    newest_snapshot,
    not_found,
    number_key,
    pack_position,
    pack_row,
    pack_snapshot,
    pair_key,
    read_position,
    snapshot_seqs,
    unpack_row,
    unpack_snapshot,
)
from .named import new
from .shelf import Shelf, mark
from .shelves import Shelves
from .store import Committed, Conflict, Frame, Group, Mover, Position, Row, Snapshot, Store, Verdict
from .sweeping import Sweeping
from .tables import DUE, LOG, NAMES, SNAPS, THREADS, ReadTransaction, Tables, WriteTransaction
from .truncating import Truncating

PAGE = 512
"""How many entries one short read transaction hands out."""
_KNOWN_ROWS = 10_000
_KNOWN_NUMBERS = 100_000


class TableStore(Shelves, Sweeping, Truncating, Store):
    """The contract over ``Tables``."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._numbers: dict[str, bytes] = {}
        self._shelf = Shelf()
        # Position and rows as our last commit left them, with its transaction's number: the next transaction bears the
        # next number only if nobody has written in between, and then need not read them.
        self._cached: tuple[int, Position, dict[str, Row]] | None = None
        self._has_due = False

    # Writing

    def commit(self, group: Group) -> list[Verdict]:
        """Write a group durably and atomically; one verdict per frame, in order."""
        frames = group.frames
        if len(frames) == 1 and not (group.snapshots or group.blobs or frames[0].blobs or frames[0].received):
            verdict = self._commit_one(frames[0])
            if verdict is not None:
                return [verdict]
        if any(frame.received for frame in frames):
            self.mail.prepare()
        verdicts = self._commit_group(group)
        if verdicts is None:
            self._tables.prepare(DUE, create=True)
            self._has_due = True
            verdicts = self._commit_group(group)
            assert verdicts is not None, "the index of what is due is there now"
        return verdicts

    def _commit_group(self, group: Group) -> list[Verdict] | None:
        """Commit a group, or return None if the index of what is due has to be made first."""
        frames = group.frames
        with self._tables.write() as txn:
            number = txn.number()
            position, cached = self._standing(txn, number)
            rows = self._rows_of(txn, group, cached)
            timed = [frame for frame in frames if _is_timed(frame, rows.get(frame.thread))]
            times = {frame.thread: rows[frame.thread].due_at for frame in timed if frame.thread in rows}
            if timed and not self._has_due:
                txn.abandon()
                return None
            position, verdicts, sealed, begun = self._seal_frames(frames, position, rows)
            changed = {}
            blobs = list(group.blobs)
            for frame, verdict in zip(frames, verdicts, strict=True):
                if type(verdict) is Committed:
                    changed[frame.thread] = True
                    blobs += frame.blobs
                    if frame.received:
                        self.mail.take(txn, frame.thread, frame.received)
            for frame in timed:
                if frame.thread in changed:
                    row = rows[frame.thread]
                    move(txn, row.number, times.get(frame.thread), row.due_at)
            snapshots = self._put_snapshots(txn, group.snapshots, rows) if group.snapshots else []
            for snapshot in snapshots:
                changed[snapshot.thread] = True
                blobs += snapshot.blobs
            if not changed and not blobs:
                txn.abandon()
                return verdicts
            if sealed:
                txn.append(LOG, sealed)
            if blobs:
                self._shelf.put(txn, blobs)
            if position.sweep:
                bodies = [frame.body for frame in group.frames] + [snapshot.data for snapshot in snapshots]
                mark(txn, bodies, blobs)
            items = [(number_key(rows[thread].number), pack_row(rows[thread])) for thread in changed]
            items.append((POSITION_KEY, pack_position(position)))
            items.sort()
            txn.put_many(THREADS, items)
            for thread, key in begun:
                txn.put(NAMES, name_key(thread), key)
        self._numbers.update(begun)
        self._remember(number, position, rows)
        return verdicts

    def _commit_one(self, frame: Frame) -> Verdict | None:
        """Commit a group of one frame, as a step that waits for the disk does; None if a timer has to move."""
        thread, after, last, count, epoch, frame_id, body, summary, _, _ = frame
        with self._tables.write() as txn:
            number = txn.number()
            position, rows = self._standing(txn, number)
            row = rows.get(thread) or self._row(txn, thread)
            is_new = row is None
            if row is None and after == 0:
                row = new_row(position.threads + 1, thread, time.time_ns())
            elif row is None or row.seq != after or row.epoch > epoch:
                txn.abandon()
                return Conflict(0, 0) if row is None else Conflict(row.seq, row.epoch)
            if row.due_at != summary.due_at:
                txn.abandon()
                return None
            now = max(time.time_ns(), position.time)
            lsn, size = position.lsn + 1, len(body)
            header = new(
                Header, (count, lsn, row.number, after, last, row.lsn, epoch, frame_id, now, size, 0)
            )
            data, checksum = seal(header, body, row.checksum)
            row = advance(row, frame, header, checksum)
            threads = position.threads + is_new
            sweep = position.sweep
            position = new(Position, (lsn, position.frames + 1, position.size + size, threads, now, sweep))
            key = number_key(row.number)
            txn.append(LOG, ((number_key(lsn), data),))
            txn.put(THREADS, key, pack_row(row))
            txn.put(THREADS, POSITION_KEY, pack_position(position))
            if is_new:
                txn.put(NAMES, name_key(thread), key)
            if sweep:
                mark(txn, [body], ())
        self._numbers[thread] = key
        rows[thread] = row
        self._remember(number, position, rows)
        return new(Committed, (lsn,))

    def fence(self, thread: str) -> Row | None:
        """Raise a thread's epoch above that of any owner, durably; return the new row."""
        with self._tables.write() as txn:
            row = self._row(txn, thread)
            if row is None:
                txn.abandon()
                return None
            # An owner that has not appended yet stands one above the row, so the fence goes two up.
            row = row._replace(epoch=row.epoch + 2)
            txn.put(THREADS, number_key(row.number), pack_row(row))
            return row

    def delete(self, thread: str) -> bool:
        """Remove a thread with its frames, snapshots and mail; its blobs stay until they are swept."""
        self.mail.prepare()
        self._look_after_due(thread)
        with self._tables.write() as txn:
            row, had_mail = self._row(txn, thread), self.mail.drop(txn, thread)
            if row is None and not had_mail:
                txn.abandon()
                return False
            self.mail.bury(txn, thread)
            if row is None:
                return True
            lsn = row.lsn
            while lsn > row.anchor_lsn:
                data = read_frame(txn, lsn, thread)
                lsn, gone = peek(data, lsn).previous, lsn
                txn.delete(LOG, number_key(gone))
            for seq in snapshot_seqs(txn, row.number):
                txn.delete(SNAPS, pair_key(row.number, seq))
            txn.delete(NAMES, name_key(thread))
            txn.delete(THREADS, number_key(row.number))
            move(txn, row.number, row.due_at, None)
            position = read_position(txn)
            position = position._replace(frames=position.frames - row.frames, size=position.size - row.size)
            txn.put(THREADS, POSITION_KEY, pack_position(position))
        self._numbers.pop(thread, None)
        return True

    def copy(self, source: str, target: str, change: Mover | None = None) -> Row:
        """Write a thread's frames and snapshots again under a new id, chained anew."""
        self._look_after_due(source)
        with self._tables.write() as txn:
            row = self._there(txn, source)
            if self._row(txn, target) is not None:
                message = f"Thread {target!r} exists, so {source!r} was not copied to it."
                raise ThreadBusy(
                    message, hint="Choose another id, or delete the thread first.", thread=target
                )
            position = read_position(txn)
            number = position.threads + 1
            seed = row.anchor if row.anchor_lsn else first_seed(target)
            previous, lsn, size, sealed = row.anchor_lsn, position.lsn, row.size, []
            for header, body in walk(txn, row, 0, None):
                lsn += 1
                new_body = body if change is None else change(body, (header.after, header.last))
                size += len(new_body) - header.length
                moved = header._replace(lsn=lsn, thread=number, previous=previous)
                data, seed = seal(moved, new_body, seed)
                sealed.append((number_key(lsn), data))
                previous = lsn
            txn.append(LOG, sealed)
            copied = row._replace(
                number=number, thread=target, lsn=previous, checksum=seed, epoch=1, size=size
            )
            for seq in snapshot_seqs(txn, row.number):
                data = unpack_snapshot(txn.get(SNAPS, pair_key(row.number, seq)), row.number, seq)
                data = data if change is None else change(data, (seq,))
                txn.put(SNAPS, pair_key(number, seq), pack_snapshot(data, number, seq))
            txn.put(THREADS, number_key(number), pack_row(copied))
            txn.put(NAMES, name_key(target), number_key(number))
            move(txn, number, None, copied.due_at)
            position = position._replace(
                lsn=lsn, frames=position.frames + row.frames, size=position.size + size, threads=number
            )
            txn.put(THREADS, POSITION_KEY, pack_position(position))
        return copied

    # Reading

    def position(self) -> Position:
        """Return where the log stands."""
        with self._tables.read() as txn:
            return read_position(txn)

    def check_complete(self) -> None:
        """See that as many frames are there as the log's directory says, and that it ends where that says.

        Raises:
            LogCorrupt: A page is older than others, or of elsewhere, so that frames or rows are gone without a trace.
        """
        with self._tables.read() as txn:
            try:
                position = read_position(txn)
                there, last = txn.count(LOG), txn.at_or_before(LOG, number_key(LAST_SEQ))
            except LogCorrupt:
                # What is damaged is told to whoever reads it.
                return
        newest = key_number(last[0]) if last is not None else 0
        if there != position.frames or newest > position.lsn:
            message = (
                f"The log holds {there} frames up to lsn {newest}; its directory says {position.frames} up to "
                f"{position.lsn}. Pages of it are older than others, or of elsewhere."
            )
            raise LogCorrupt(message, hint="`wal repair` shows what can be kept; or restore from a backup.")

    def row(self, thread: str) -> Row | None:
        """Return the directory's row of a thread."""
        with self._tables.read() as txn:
            return self._row(txn, thread)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all threads in the order of their creation."""
        start = 1
        while True:
            with self._tables.read() as txn:
                found = txn.scan(THREADS, number_key(start), PAGE)
            for key, data in found:
                start = key_number(key) + 1
                yield unpack_row(data, start - 1)
            if len(found) < PAGE:
                return

    def due(self, before: int) -> Iterator[Row]:
        """Yield the rows of the threads that are due at or before a time, the longest overdue first."""
        return rows_due(self._tables, before)

    def check_due(self) -> list[str]:
        """Say where the index of what is due is not what the directory says."""
        return check_due(self._tables, self.rows())

    def frames(
        self, thread: str, after: int = 0, upto: int | None = None, *, whole: bool = False
    ) -> Iterator[tuple[Header, bytes]]:
        """Yield checked frames that hold records with after < seq ≤ upto, oldest first."""
        with self._tables.read() as txn:
            row = self._there(txn, thread)
            if whole and after < row.horizon:
                raise compacted(thread, row.horizon)
            stretch = walk_back(txn, row, after, upto)
        return self._forward(row, stretch)

    def since(
        self, thread: str, at: int | None = None, upto: int | None = None
    ) -> tuple[tuple[int, bytes] | None, Iterator[tuple[Header, bytes]]]:
        """Return the newest snapshot at or before ``at``, and the frames after it up to ``upto``, of one moment."""
        with self._tables.read() as txn:
            row = self._there(txn, thread)
            found = newest_snapshot(txn, row, at)
            begin = 0 if found is None else found[0]
            if begin < row.horizon:
                if at is not None and at < row.base:
                    raise compacted(thread, row.base)
                raise no_anchor(thread, row.base)
            stretch = walk_back(txn, row, begin, upto)
        return found, self._forward(row, stretch)

    def _there(self, txn: ReadTransaction, thread: str) -> Row:
        row = self._row(txn, thread)
        if row is None:
            raise not_found(thread)
        return row

    def _forward(self, row: Row, stretch: Stretch) -> Iterator[tuple[Header, bytes]]:
        """Yield a stretch, oldest first, checking each frame under its predecessor's checksum."""
        held, lsns, seed = stretch
        while lsns or held:
            if lsns:
                lsn = lsns.pop()
                with self._tables.read() as txn:
                    data = txn.get(LOG, number_key(lsn))
                    if data is None:
                        raise gone(self._row(txn, row.thread), row, lsn)
                header = peek(data, lsn)
            else:
                header, data = held.pop()
            body = unseal(data, header, seed)
            seed = header.checksum
            yield header, body

    def tail(self, after_lsn: int = 0) -> Iterator[tuple[Header, bytes]]:
        """Yield the frames of all threads with a greater lsn, in order, their chains unchecked."""
        while True:
            with self._tables.read() as txn:
                found = txn.scan(LOG, number_key(after_lsn + 1), 64)
            for key, data in found:
                after_lsn = key_number(key)
                yield peek(data, after_lsn), data[HEADER_BYTES:]
            if len(found) < 64:
                return

    def snapshot(self, thread: str, at: int | None = None) -> tuple[int, bytes] | None:
        """Return seq and encoded state of the newest snapshot at or before ``at``."""
        with self._tables.read() as txn:
            row = self._row(txn, thread)
            return None if row is None else newest_snapshot(txn, row, at)

    def snapshots(self, thread: str) -> list[int]:
        """Return the seqs of a thread's snapshots, oldest first."""
        with self._tables.read() as txn:
            row = self._row(txn, thread)
            return [] if row is None else snapshot_seqs(txn, row.number)

    def _look_after_due(self, thread: str) -> None:
        """See that the index of what is due can be changed, if a thread that the caller has claimed stands in it."""
        row = None if self._has_due else self.row(thread)
        if row is not None and row.due_at is not None:
            self._has_due = self._tables.prepare(DUE, create=True)

    # Inside a transaction

    def _standing(self, txn: WriteTransaction, number: int) -> tuple[Position, dict[str, Row]]:
        """Return the position and the rows that are known to be as they stand, if nobody has written since."""
        cached, self._cached = self._cached, None
        if cached is not None and cached[0] == number - 1:
            return cached[1], cached[2]
        return read_position(txn), {}

    def _remember(self, number: int, position: Position, rows: dict[str, Row]) -> None:
        """Keep what was just committed under the number of its transaction, for the next one."""
        self._cached = (number, position, rows if len(rows) < _KNOWN_ROWS else {})
        if len(self._numbers) > _KNOWN_NUMBERS:
            self._numbers.clear()

    def _rows_of(self, txn: ReadTransaction, group: Group, rows: dict[str, Row]) -> dict[str, Row]:
        """Add the rows of a group's threads, reading those whose numbers are known with one call."""
        wanted = [frame.thread for frame in group.frames] + [snapshot.thread for snapshot in group.snapshots]
        missing = [thread for thread in dict.fromkeys(wanted) if thread not in rows]
        numbers = {thread: self._numbers[thread] for thread in missing if thread in self._numbers}
        found = txn.get_many(THREADS, list(numbers.values())) if numbers else {}
        for thread in missing:
            data = found.get(numbers.get(thread, b""))
            row = None if data is None else unpack_row(data, key_number(numbers[thread]))
            if row is None or row.thread != thread:
                row = self._row(txn, thread)
            if row is not None:
                rows[thread] = row
        return rows

    def _seal_frames(
        self, frames: Sequence[Frame], position: Position, rows: dict[str, Row]
    ) -> tuple[Position, list[Verdict], list[tuple[bytes, bytes]], list[tuple[str, bytes]]]:
        """Judge each frame and make bytes of the good ones; ``rows`` is brought up to date."""
        lsn, threads, size = position.lsn, position.threads, position.size
        now = max(time.time_ns(), position.time)
        verdicts: list[Verdict] = []
        sealed: list[tuple[bytes, bytes]] = []
        begun: list[tuple[str, bytes]] = []
        for frame in frames:
            row = rows.get(frame.thread)
            if row is None and frame.after == 0:
                threads += 1
                row = new_row(threads, frame.thread, now)
                begun.append((frame.thread, number_key(threads)))
            elif row is None or row.seq != frame.after or row.epoch > frame.epoch:
                verdicts.append(Conflict(0, 0) if row is None else Conflict(row.seq, row.epoch))
                continue
            lsn += 1
            length = len(frame.body)
            _, after, last, count, epoch, frame_id, body, *_ = frame
            header = new(
                Header, (count, lsn, row.number, after, last, row.lsn, epoch, frame_id, now, length, 0)
            )
            data, checksum = seal(header, body, row.checksum)
            rows[frame.thread] = advance(row, frame, header, checksum)
            sealed.append((number_key(lsn), data))
            size += length
            verdicts.append(new(Committed, (lsn,)))
        frames_held = position.frames + len(sealed)
        return Position(lsn, frames_held, size, threads, now, position.sweep), verdicts, sealed, begun

    def _put_snapshots(
        self, txn: WriteTransaction, snapshots: Sequence[Snapshot], rows: dict[str, Row]
    ) -> list[Snapshot]:
        """Write the snapshots that their threads have reached, and drop those that they replace."""
        written = []
        for snapshot in snapshots:
            row = rows.get(snapshot.thread)
            if row is None or not max(row.horizon, row.base) <= snapshot.seq <= row.seq:
                continue
            # One that is older than the newest is made by a compaction, which is about to cut there.
            for seq in snapshot_seqs(txn, row.number):
                if seq < snapshot.seq and seq != row.base:
                    txn.delete(SNAPS, pair_key(row.number, seq))
            key = pair_key(row.number, snapshot.seq)
            txn.put(SNAPS, key, pack_snapshot(snapshot.data, row.number, snapshot.seq))
            if snapshot.seq >= row.snapshot_seq:
                since = row.since_bytes if snapshot.seq < row.seq else 0
                rows[snapshot.thread] = row._replace(snapshot_seq=snapshot.seq, since_bytes=since)
            written.append(snapshot)
        return written

    def _row(self, txn: ReadTransaction, thread: str) -> Row | None:
        """Look a thread up, by its remembered number first."""
        key = self._numbers.get(thread)
        if key is not None:
            data = txn.get(THREADS, key)
            if data is not None:
                row = unpack_row(data, key_number(key))
                if row.thread == thread:
                    return row
        key = txn.get(NAMES, name_key(thread))
        if key is None:
            self._numbers.pop(thread, None)
            return None
        data = txn.get(THREADS, key)
        found_row = None if data is None else unpack_row(data, key_number(key))
        if found_row is None or found_row.thread != thread:
            found = "nothing" if found_row is None else repr(found_row.thread)
            message = (
                f"The directory names number {key_number(key)} for thread {thread!r}, where {found} stands."
            )
            raise LogCorrupt(message, hint=RESTORE, thread=thread)
        self._numbers[thread] = key
        return found_row


def _is_timed(frame: Frame, row: Row | None) -> bool:
    """Return whether the index of what is due may have to change with a frame."""
    return frame.summary.due_at is not None or (row is not None and row.due_at is not None)
