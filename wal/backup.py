"""Backups: beside live writers, incremental, and whole or not there.

    one moment of the log ─► table by table: entries ─► chunks, those that are there already left out ─► manifest

    log      frames never change: a stretch of lsns whose frames are all still there is named again, unread
    blob     contents never change: a chunk whose blobs are all still there is named again, unread
    others   read whole; cut where keys say so, so that what did not change gives the same chunk again

Only what is in LMDB's tables is backed up, which is everything: records, the directory of threads, snapshots, large
values, and what stores, caches and mailboxes hold. Locks are not.

Invariants:
1. A backup killed at any instant leaves every former one as it was: nothing is changed, and the manifest comes last.
2. All of a backup is of one moment (``wal.still_tables``).
3. Every chunk that was written is read back and compared before the manifest names it.
4. Memory holds one chunk, and the names of the others.

This module must not know what records mean.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import xxhash

from .backup_format import (
    CHUNKS,
    MANIFESTS,
    Chunk,
    Entries,
    Manifest,
    generation_of,
    hash_keys,
    is_whole,
    manifest_name,
    name_chunk,
    pack_chunk,
    pack_manifest,
    unpack_manifest,
)
from .backup_target import Target, open_target
from .errors import BackupDamaged, BackupMismatch
from .fault import reach
from .frame import FIELD_BYTES, HEADER_BYTES
from .keyspace import chunk_key, number_key, read_position
from .progress import Progress, say_nothing
from .scarcity import plenty
from .still_tables import held
from .store import Store
from .table_store import TableStore
from .tables import BLOBS, LATER_NAMES, LOG, MARKS, META, TABLE_NAMES, ReadTransaction

CHUNK_BYTES = 8 << 20
"""A chunk is ended when it has so many bytes."""
SMALL_BYTES = 1 << 20
"""The last stretch of the log is written again together with what is new, as long as it has fewer bytes than this."""
CUT_ONE_IN = 256
"""Beyond ``SMALL_BYTES``, one in so many keys ends a chunk of a table that changes, by its hash."""
PAGE = 64
KEYS = 4096
NAMES = TABLE_NAMES + LATER_NAMES
END = b"\xff" * 600
"""Greater than every key."""


class Backup(NamedTuple):
    """What a backup did. ``written`` bytes in ``new_chunks`` chunks were added to what was there."""

    generation: int
    lsn: int
    time: int
    threads: int
    frames: int
    chunks: int
    bytes: int
    new_chunks: int
    written: int
    pruned: int = 0


def backup(
    store: Store,
    target: str | os.PathLike[str] | Target,
    *,
    keep: int | None = None,
    progress: Progress = say_nothing,
) -> Backup:
    """Add a backup of this moment to a target.

    Args:
        store: The log's store; writers may go on.
        target: A folder, or the address of an object store.
        keep: How many of the newest backups stay; all, if left out.
        progress: Told how far it is.

    Raises:
        BackupMismatch: The target holds backups of another log, or of a later state of this one; or another backup
            to it has ended meanwhile.
        BackupDamaged: What was written cannot be read back.
        NotAvailable: The target needs a package that is not installed.
        OutOfResources: There are no file descriptors left.
    """
    assert isinstance(store, TableStore), "every store of ours is one over tables"
    place = open_target(target)
    with plenty(str(place)):
        return _backup(store, place, keep, progress)


def _backup(store: TableStore, place: Target, keep: int | None, progress: Progress) -> Backup:
    there = manifests(place)
    former = there[-1] if there else None
    with held(store) as tables, tables.read() as txn:
        names = [
            table for table in range(len(NAMES)) if table != MARKS and tables.prepare(table, create=False)
        ]
        work = _Work(txn, place, former, 1 if former is None else former.generation + 1, progress)
        manifest = work.manifest()
        chunks = [chunk for table in names for chunk in work.table(table)]
    manifest = manifest._replace(chunks=tuple(chunks))
    reach("backup: before the manifest")
    try:
        place.write(manifest_name(manifest.generation), pack_manifest(manifest), new=True)
    except FileExistsError:
        message = f"Another backup to {place} ended while this one was made, which was given up."
        raise BackupMismatch(message, hint="Let one backup at a time write to a target.") from None
    reach("backup: manifest written")
    pruned = 0 if keep is None else prune(place, keep)
    return Backup(
        manifest.generation,
        manifest.lsn,
        manifest.time,
        manifest.threads,
        manifest.frames,
        len(chunks),
        manifest.bytes,
        work.new,
        work.written,
        pruned,
    )


def manifests(target: Target) -> list[Manifest]:
    """Return the backups that a target holds, oldest first.

    Raises:
        BackupDamaged: The manifest of one is damaged.
    """
    names = [name for name in target.names(MANIFESTS) if generation_of(name) is not None]
    return [unpack_manifest(target.read(name), name) for name in names]


def prune(target: Target, keep: int) -> int:
    """Remove all but the newest ``keep`` backups, and chunks that no backup names; return how many backups went."""
    there = manifests(target)
    gone, kept = there[:-keep], there[-keep:]
    for manifest in gone:
        target.delete(manifest_name(manifest.generation))
        reach("backup: manifest removed")
    named = {chunk.name for manifest in kept for chunk in manifest.chunks}
    newest = name_chunk(kept[-1].generation + 1, b"").rpartition("/")[0] if kept else ""
    for name in target.names(CHUNKS):
        # What belongs to a generation that is yet to come is somebody's who is making it.
        if name not in named and name < newest:
            target.delete(name)
    return len(gone)


class _Work:
    """One backup in the making."""

    def __init__(
        self,
        txn: ReadTransaction,
        target: Target,
        former: Manifest | None,
        generation: int,
        progress: Progress,
    ) -> None:
        self.txn = txn
        self.target = target
        self.former = former
        self.generation = generation
        self.progress = progress
        self.new = self.written = self.done = 0
        self._known = {} if former is None else {_hash_of(chunk): chunk for chunk in former.chunks}

    def manifest(self) -> Manifest:
        """Return what is known before the first chunk, after a look at whether the target is this log's."""
        position = read_position(self.txn)
        store = (self.txn.get(META, b"store") or b"").hex()
        layout = int(self.txn.get(META, b"format") or b"1")
        former = self.former
        if former is not None and former.store != store:
            message = f"{self.target} holds backups of another log."
            raise BackupMismatch(message, hint="Choose a target of its own for each log.", store=former.store)
        if former is not None and former.lsn > position.lsn:
            message = (
                f"{self.target} holds a backup up to lsn {former.lsn}; the log stands at {position.lsn}."
            )
            hint = "The log was put back to an earlier state; choose another target for what comes now."
            raise BackupMismatch(message, hint=hint)
        return Manifest(
            self.generation,
            store,
            layout,
            time.time_ns(),
            position.lsn,
            position.time,
            position.threads,
            position.frames,
            position.size,
            (),
        )

    def table(self, table: int) -> Iterator[Chunk]:
        """Yield the chunks that a table consists of, writing those that are new."""
        former = () if self.former is None else self.former.chunks
        mine = [chunk for chunk in former if chunk.table == NAMES[table].decode()]
        whole = self.txn.count(table)
        self.done = 0
        if table == LOG:
            found = self._log(mine)
        elif table == BLOBS:
            found = self._blobs(mine)
        else:
            found = self._changing(table)
        for chunk in found:
            self.done += chunk.entries
            self.progress(f"backup of {chunk.table}", self.done, whole)
            yield chunk

    def _log(self, former: list[Chunk]) -> Iterator[Chunk]:
        """Name stretches of lsns again as long as their frames are all there, and write the others."""
        start = number_key(0)
        for chunk in former:
            first, last = bytes.fromhex(chunk.first), bytes.fromhex(chunk.last)
            tip = self.txn.get(LOG, last)
            if tip is not None and _tip(tip) != chunk.tip:
                message = f"{self.target} holds another frame than the log at lsn {int.from_bytes(last)}."
                hint = "The log was put back to an earlier state; choose another target for what came since."
                raise BackupMismatch(message, hint=hint)
            is_last = chunk is former[-1]
            if is_last and chunk.bytes < SMALL_BYTES:
                break
            if tip is not None and hash_keys(self._keys(first, last)) == chunk.keys:
                yield chunk
            else:
                yield from self._write(LOG, self._entries(LOG, first, last))
            start = last + b"\x00"
        yield from self._write(LOG, self._entries(LOG, start, END))

    def _keys(self, first: bytes, last: bytes) -> Iterator[bytes]:
        while True:
            found = self.txn.keys(LOG, first, KEYS)
            for key in found:
                if key > last:
                    return
                yield key
            if len(found) < KEYS:
                return
            first = found[-1] + b"\x00"

    def _blobs(self, former: list[Chunk]) -> Iterator[Chunk]:
        """Name chunks again whose blobs are all there, and write the others' blobs."""
        covered: set[bytes] = set()
        for chunk in former:
            data = bytes.fromhex(chunk.digests)
            digests = [data[place : place + 16] for place in range(0, len(data), 16)]
            if all(self.txn.get(BLOBS, chunk_key(digest, 0)) is not None for digest in digests):
                covered.update(digests)
                yield chunk
        entries: list[tuple[bytes, bytes]] = []
        size = 0
        for digest in self._digests():
            if digest in covered:
                continue
            number = 0
            while (part := self.txn.get(BLOBS, chunk_key(digest, number))) is not None:
                entries.append((chunk_key(digest, number), part))
                size += len(part)
                number += 1
            if size >= CHUNK_BYTES:
                yield self._put(BLOBS, entries)
                entries, size = [], 0
        if entries:
            yield self._put(BLOBS, entries)

    def _digests(self) -> Iterator[bytes]:
        start = b"\x00"
        while keys := self.txn.keys(BLOBS, start, 1):
            yield keys[0][:16]
            start = keys[0][:16] + b"\xff" * 5

    def _changing(self, table: int) -> Iterator[Chunk]:
        """Write a table that may have changed anywhere; keys say where chunks end, so most come out as before."""
        entries: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in self._entries(table, b"\x00", END):
            entries.append((key, value))
            size += len(key) + len(value)
            is_cut = size >= SMALL_BYTES and xxhash.xxh3_64_intdigest(key) % CUT_ONE_IN == 0
            if is_cut or size >= CHUNK_BYTES:
                yield self._put(table, entries)
                entries, size = [], 0
        if entries:
            yield self._put(table, entries)

    def _write(self, table: int, found: Iterator[tuple[bytes, bytes]]) -> Iterator[Chunk]:
        entries: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in found:
            entries.append((key, value))
            size += len(value)
            if size >= CHUNK_BYTES:
                yield self._put(table, entries)
                entries, size = [], 0
        if entries:
            yield self._put(table, entries)

    def _entries(self, table: int, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        while True:
            found = self.txn.scan(table, first, PAGE)
            for key, value in found:
                if key > last:
                    return
                yield key, value
            if len(found) < PAGE:
                return
            first = found[-1][0] + b"\x00"

    def _put(self, table: int, entries: Entries) -> Chunk:
        """Write a chunk, unless the former backup has the same, and read it back."""
        data = pack_chunk(entries)
        name = name_chunk(self.generation, data)
        keys = [key for key, _ in entries]
        digests = b"".join(dict.fromkeys(key[:16] for key in keys)).hex() if table == BLOBS else ""
        chunk = Chunk(
            NAMES[table].decode(),
            name,
            len(entries),
            len(data),
            keys[0].hex(),
            keys[-1].hex(),
            hash_keys(keys),
            _tip(entries[-1][1]) if table == LOG else "",
            digests,
        )
        same = self._known.get(_hash_of(chunk))
        if same is not None and same.table == chunk.table:
            return same
        self.target.write(name, data)
        reach("backup: chunk written")
        if not is_whole(self.target.read(name), chunk):
            message = f"{self.target} gave back other bytes than were written as {name}."
            raise BackupDamaged(
                message, hint="Examine the disk or the network; former backups are untouched."
            )
        self.new += 1
        self.written += len(data)
        return chunk


def _hash_of(chunk: Chunk) -> str:
    return chunk.name.rpartition("/")[2]


def _tip(frame: bytes) -> str:
    return frame[FIELD_BYTES:HEADER_BYTES].hex()
