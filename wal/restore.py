"""From a backup to a log, as it was or as it was earlier.

    manifest ─► chunks, each checked against its hash ─► tables of a new log ─► verified ─► renamed to its place

EARLIER   With ``upto``, frames beyond it are left out, and what follows from that is mended: each thread's row stands
          at its last frame that is left; snapshots beyond are left out, threads that came later too. What a row says of
          a thread's status is computed from its records by ``summarise``. Stores, caches and mailboxes are as they were
          when the backup was made, since what they hold has no place in the order of the log.

GAP       What was compacted away before the backup was made is not in it. A thread that was compacted beyond ``upto``
          cannot be restored to there, and the restoring is refused, with the moments that can be had.

Invariants:
1. The source is only read. At the path is nothing before it is whole, flushed and verified.
2. A restored log has an id of its own, so that it cannot be backed up over what it came from.

This module must not know what records mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .backup import NAMES, manifests
from .backup_format import Chunk, Manifest, unpack_chunk
from .backup_target import Target, open_target
from .building import Builder, builder, verified
from .creation import create_filled, refuse_existing
from .errors import BackupDamaged, BackupNotFound
from .fault import reach
from .frame import Header, Summary, peek
from .keyspace import (
    POSITION_KEY,
    key_number,
    key_pair,
    number_key,
    pack_position,
    pack_row,
    pair_key,
    unpack_position,
    unpack_row,
)
from .log import Log
from .progress import Progress, say_nothing
from .store import Position, Row
from .tables import DUE, LOG, META, SNAPS, THREADS
from .tables import NAMES as NAME_TABLE
from .verify import Report

if TYPE_CHECKING:
    from .keys import KeyRing

Summarise = Callable[[Log, str], Summary]
TABLES = {name.decode(): table for table, name in enumerate(NAMES)}
ORIGIN = b"origin"
"""Key in the table meta: the id of the log that a restored one came from, its generation and its lsn, as text."""


class Moment(NamedTuple):
    """Up to where to restore: an lsn, or a time in nanoseconds; the whole backup if both are None."""

    lsn: int | None = None
    time: int | None = None

    def holds(self, header: Header) -> bool:
        """Tell whether a frame was there by then."""
        return not (
            (self.lsn is not None and header.lsn > self.lsn)
            or (self.time is not None and header.time > self.time)
        )

    def covers(self, manifest: Manifest) -> bool:
        """Tell whether a backup was made then or later."""
        return not (
            (self.lsn is not None and manifest.lsn < self.lsn)
            or (self.time is not None and manifest.time < self.time)
        )


class Restored(NamedTuple):
    """What a restoring made."""

    path: str
    generation: int
    lsn: int
    time: int
    report: Report


def restore(
    source: str | os.PathLike[str] | Target,
    path: str | os.PathLike[str],
    *,
    generation: int | None = None,
    upto: Moment | None = None,
    summarise: Summarise | None = None,
    keys: KeyRing | None = None,
    progress: Progress = say_nothing,
) -> Restored:
    """Make a log from a backup.

    Args:
        source: Where the backups are.
        path: Where the log is to be; nothing may be there.
        generation: Which backup; the newest, or with ``upto`` the first that covers it, if left out.
        upto: An earlier moment.
        summarise: Called with the log and a thread that stands at another record than in the backup; returns what the
            directory is to show. Without it, such threads are shown as crashed.
        keys: The keys of an encrypted log, so that the records of such threads tell how they stand.
        progress: Told how far it is.

    Raises:
        LogExists: Something is at the path.
        BackupNotFound: There is no such backup, or none that reaches to that moment.
        BackupDamaged: A part is missing or damaged, or the log that it gives is.
        NotAvailable: The source needs a package that is not installed.
    """
    place = os.path.abspath(os.fspath(path))  # noqa: PTH100 - links must not be resolved
    refuse_existing(place)
    target = open_target(source)
    moment = None if upto is None or upto == Moment() else upto
    manifest = choose(manifests(target), generation, moment, str(target))
    made: list[Restored] = []

    def fill(fresh: Path) -> None:
        with builder(fresh) as tables:
            cut = None if moment is None else _Cut(moment, manifest, str(target))
            _put_chunks(target, manifest, tables, cut, progress)
            position = _mend_position(tables, cut)
            origin = f"{manifest.store} {manifest.generation} {position.lsn}"
            facts = {
                b"format": str(manifest.format).encode(),
                ORIGIN: origin.encode(),
                b"store": os.urandom(16),
            }
            tables.put(META, sorted(facts.items()))
        if cut is not None:
            _summarise(fresh, cut, summarise, keys)
        reach("restore: filled")
        report = verified(fresh, str(target), progress)
        reach("restore: verified")
        made.append(Restored(place, manifest.generation, position.lsn, position.time, report))

    create_filled(place, fill)
    return made[0]


def choose(there: list[Manifest], generation: int | None, moment: Moment | None, source: str) -> Manifest:
    """Return the backup to restore from.

    Raises:
        BackupNotFound: There is none.
    """
    if not there:
        raise BackupNotFound(f"There is no backup at {source}.", hint="Check the path.", source=source)
    if generation is not None:
        there = [manifest for manifest in there if manifest.generation == generation]
        if not there:
            message = f"There is no backup {generation} at {source}."
            raise BackupNotFound(message, hint="wal restore SOURCE lists those there are.", source=source)
    if moment is None:
        return there[-1]
    found = next((manifest for manifest in there if moment.covers(manifest)), None)
    if found is None and moment.lsn is None:
        # Nothing that was backed up is younger than the newest backup, so all of that is what there was.
        return there[-1]
    if found is None:
        message = f"The newest backup at {source} ends at lsn {there[-1].lsn}, before {moment.lsn}."
        raise BackupNotFound(message, hint="wal restore SOURCE lists what there is.", source=source)
    return found


def check(source: str | os.PathLike[str] | Target, progress: Progress = say_nothing) -> tuple[int, int]:
    """Read all chunks of all backups and compare their hashes; return how many backups and chunks there are.

    Raises:
        BackupNotFound: There is no backup.
        BackupDamaged: A manifest or a chunk is missing or damaged.
    """
    target = open_target(source)
    there = manifests(target)
    if not there:
        raise BackupNotFound(f"There is no backup at {target}.", hint="Check the path.")
    chunks = {chunk.name: chunk for manifest in there for chunk in manifest.chunks}
    for done, chunk in enumerate(chunks.values()):
        unpack_chunk(target.read(chunk.name), chunk)
        progress("chunks", done, len(chunks))
    return len(there), len(chunks)


class _Cut:
    """What is left out, and where each thread then stands."""

    def __init__(self, moment: Moment, manifest: Manifest, source: str) -> None:
        self.moment = moment
        self.manifest = manifest
        self.source = source
        self.ends: dict[int, _End] = {}
        self.dropped: set[int] = set()
        self.seqs: dict[int, int] = {}
        self.moved: list[str] = []
        self.due: list[tuple[int, int]] = []
        self.last = _End()

    def frames(self, entries: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the frames that were there by then, and note them."""
        left = []
        for key, data in entries:
            header = peek(data, key_number(key))
            if self.moment.holds(header):
                self.ends.setdefault(header.thread, _End()).add(header)
                self.last.add(header)
                left.append((key, data))
        return left

    def rows(self, entries: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the rows as they were by then."""
        left = []
        for key, data in entries:
            number = key_number(key)
            if not number:
                left.append((key, data))
                continue
            row = self._row(unpack_row(data, number))
            if row is None:
                self.dropped.add(number)
            else:
                self.seqs[number] = row.seq
                if row.due_at is not None:
                    self.due.append((row.due_at, number))
                left.append((key, pack_row(row)))
        return left

    def _row(self, row: Row) -> Row | None:
        end = self.ends.get(row.number)
        header = None if end is None else end.header
        if row.anchor_lsn and (self._is_beyond(row) or (header is not None and header.last < row.base)):
            made = f"before backup {self.manifest.generation} was made"
            message = f"Thread {row.thread!r} was compacted beyond that moment {made}."
            hint = f"wal restore {self.source} lists moments that can be had whole: those of the backups."
            raise BackupNotFound(message, hint=hint, thread=row.thread)
        if end is None or header is None:
            # All frames that are left of a compacted thread may be gone, with its head where they ended.
            return row if row.anchor_lsn == row.lsn and row.anchor_lsn else None
        if header.lsn == row.lsn:
            return row
        self.moved.append(row.thread)
        return row._replace(
            status="running",
            next=(),
            due_at=None,
            seq=header.last,
            lsn=header.lsn,
            checksum=header.checksum,
            epoch=header.epoch,
            frame=header.id,
            updated_at=header.time,
            size=end.size,
            frames=end.frames,
            records=end.records,
            snapshot_seq=0,
            since_bytes=end.size,
        )

    def _is_beyond(self, row: Row) -> bool:
        """Tell whether the last frame that was cut off came after the moment."""
        if self.moment.lsn is not None:
            return row.anchor_lsn > self.moment.lsn
        # The time of that frame went with it; frames behind it are later, and those before it earlier.
        if self.moment.time is not None and row.updated_at <= self.moment.time:
            return False
        return row.anchor_lsn > self.last.header.lsn if self.last.header is not None else True

    def snapshots(self, entries: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the snapshots of what was there by then."""
        return [
            entry for entry in entries if key_pair(entry[0])[1] <= self.seqs.get(key_pair(entry[0])[0], -1)
        ]

    def names(self, entries: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the names of threads that were there by then."""
        return [entry for entry in entries if key_number(entry[1]) not in self.dropped]


class _End:
    """The last frame of a thread that is left, and what is left of it."""

    __slots__ = ("frames", "header", "records", "size")

    def __init__(self) -> None:
        self.header: Header | None = None
        self.frames = self.records = self.size = 0

    def add(self, header: Header) -> None:
        self.header = header
        self.frames += 1
        self.records += header.records
        self.size += header.length


ORDER = (LOG, THREADS)
"""Which tables are put first: where threads end is known from the log, and what else is left from the threads."""


def _put_chunks(
    target: Target, manifest: Manifest, tables: Builder, cut: _Cut | None, progress: Progress
) -> None:
    whole = len(manifest.chunks)

    def rank(chunk: Chunk) -> int:
        table = _table(chunk)
        return ORDER.index(table) if table in ORDER else len(ORDER)

    for done, chunk in enumerate(sorted(manifest.chunks, key=rank)):
        entries = unpack_chunk(target.read(chunk.name), chunk)
        table = _table(chunk)
        if cut is not None:
            if table == DUE:
                # It is derived from the rows, and made again when they are known.
                continue
            choose_left = {LOG: cut.frames, THREADS: cut.rows, SNAPS: cut.snapshots, NAME_TABLE: cut.names}
            if table in choose_left:
                entries = choose_left[table](entries)
        tables.put(table, entries)
        progress("chunks", done + 1, whole)


def _table(chunk: Chunk) -> int:
    found = TABLES.get(chunk.table)
    if found is None:
        message = f"The backup holds a table {chunk.table!r}, which this walgraph does not know."
        raise BackupDamaged(message, hint="Upgrade walgraph.", table=chunk.table)
    return found


def _mend_position(tables: Builder, cut: _Cut | None) -> Position:
    """Let the log's own row say what is there."""
    position = unpack_position(tables.get(THREADS, POSITION_KEY))._replace(sweep=b"")
    if cut is not None:
        end = cut.last
        header = end.header
        lsn, time = (0, 0) if header is None else (header.lsn, header.time)
        position = position._replace(lsn=lsn, time=time, frames=end.frames, size=end.size)
    tables.put(THREADS, [(POSITION_KEY, pack_position(position))])
    return position


def _summarise(fresh: Path, cut: _Cut, summarise: Summarise | None, keys: KeyRing | None) -> None:
    """Let the directory show how the threads that stand at another record stand, and when they are due."""
    rows = []
    if summarise is not None:
        with Log.open(fresh, create=False, readonly=True, force=True, keys=keys) as log:
            rows = [_summarised(log, thread, summarise) for thread in cut.moved]
    due = [(row.due_at, row.number) for row in rows if row.due_at is not None]
    with builder(fresh) as tables:
        for row in rows:
            tables.put(THREADS, [(number_key(row.number), pack_row(row))])
        tables.put(DUE, [(pair_key(*each), b"") for each in sorted([*cut.due, *due])])


def _summarised(log: Log, thread: str, summarise: Summarise) -> Row:
    row = log.store.row(thread)
    assert row is not None, "its row was written"
    status, graph, step, due, due_at = summarise(log, thread)
    seqs = log.store.snapshots(thread)
    newest = seqs[-1] if seqs else 0
    return row._replace(status=status, graph=graph, step=step, next=due, due_at=due_at, snapshot_seq=newest)
