"""Every broken invariant of a log, found.

    structure   lmdb.verify walks the file's pages in a child process
    position    the number of frames, and the greatest lsn, are what the directory says
    threads     each checksum, chain, seq and count; the head is the last frame
    records     each body decodes, and has as many records as its header says
    snapshots   each checksum; each decodes; the horizon has its snapshot
    blobs       each one named is there; each one there is what its digest says
    items       each checksum, name and count of stores and caches; each value of a store decodes

What a snapshot should say is known only above: ``check`` is called with each and returns what is wrong with it.

Invariants:
1. Nothing is changed, and nothing is raised for damage: it is reported, and the walk goes on elsewhere.
2. Unknown classes are no problem: values are decoded leniently.

This module must not know what a state is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from .blob import digest as digest_of
from .codec import GLOBAL, Decoder, references
from .directory import walk_pages
from .errors import LogCorrupt, WalgraphError
from .frame import Header
from .items import Item
from .log import Log
from .record import StateFolded
from .store import Row, Store

Check: TypeAlias = Callable[[str, int, bytes], str | None]


class Problem(NamedTuple):
    """One broken invariant and where it is; ``thread`` is empty if it is the log's own."""

    what: str
    thread: str = ""
    seq: int | None = None
    lsn: int | None = None


class Report(NamedTuple):
    """What a verification found."""

    problems: tuple[Problem, ...]
    threads: int
    frames: int
    records: int
    snapshots: int
    blobs: int
    items: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class _Walk:
    """The state of one verification."""

    def __init__(self, log: Log, check: Check | None) -> None:
        self.log = log
        self.store: Store = log.store
        self.check = check
        self.problems: list[Problem] = []
        self.named: dict[bytes, tuple[str, int]] = {}
        self.lsns: set[int] = set()
        self.frames = self.records = self.snapshots = self.threads = self.blobs = self.items = 0
        self.decoder: Decoder = log.decoder(GLOBAL, lenient=True)

    def found(self, what: str, thread: str = "", seq: int | None = None, lsn: int | None = None) -> None:
        self.problems.append(Problem(what, thread, seq, lsn))

    def report(self) -> Report:
        counts = (self.threads, self.frames, self.records, self.snapshots, self.blobs, self.items)
        return Report(tuple(self.problems), *counts)


def verify(
    log: Log | str | os.PathLike[str], *, structure: bool = True, check: Check | None = None
) -> Report:
    """Walk a log and report every broken invariant.

    Args:
        log: The log, or its path; a path is opened for reading only.
        structure: Also walk the file's pages, in a child process.
        check: Called with thread, seq and encoded state of each snapshot; returns what is wrong with it, or None.

    Raises:
        LogNotFound: There is no log at the path.
        NotALog: Something else lies there.
        FormatTooNew: A newer walgraph wrote it.
    """
    if not isinstance(log, Log):
        place = os.fspath(log)
        found = walk_pages(place) if structure and Path(place, "data.mdb").exists() else []
        if found:
            # What is structurally broken must not be opened: it can end the process.
            return Report(tuple(Problem(text) for text in found), 0, 0, 0, 0, 0)
        try:
            with Log.open(place, create=False, readonly=True) as opened:
                return verify(opened, structure=False, check=check)
        except LogCorrupt as error:
            return Report((Problem(error.message),), 0, 0, 0, 0, 0)
    log.flush()
    walk = _Walk(log, check)
    if structure and log.path:
        for text in walk_pages(log.path):
            walk.found(text)
    _verify_threads(walk)
    _verify_position(walk)
    _verify_blobs(walk)
    _verify_items(walk)
    return walk.report()


def _verify_threads(walk: _Walk) -> None:
    rows = walk.store.rows()
    while True:
        try:
            row = next(rows, None)
        except WalgraphError as error:
            # The directory cannot be read beyond this entry, so what lies behind it is not known.
            walk.found(error.message)
            return
        if row is None:
            return
        walk.threads += 1
        try:
            _verify_frames(walk, row)
        except WalgraphError as error:
            walk.found(error.message, row.thread, lsn=error.details.get("lsn"))
        _verify_snapshots(walk, row)


def _verify_frames(walk: _Walk, row: Row) -> None:
    frames = records = size = 0
    expected = row.horizon
    header: Header | None = None
    for header, body in walk.store.frames(row.thread):
        if header.after != expected:
            walk.found(
                f"a frame follows seq {header.after} instead of {expected}", row.thread, expected, header.lsn
            )
        frames, records, size = frames + 1, records + header.records, size + header.length
        expected = header.last
        walk.lsns.add(header.lsn)
        _verify_body(walk, row, header, body)
    walk.frames += frames
    walk.records += records
    counted = (frames, records, size, expected)
    said = (row.frames, row.records, row.size, row.seq)
    if counted != said:
        walk.found(f"frames, records, bytes and seq are {counted}, the directory says {said}", row.thread)
    if header is not None and (header.lsn, header.checksum, header.id) != (row.lsn, row.checksum, row.frame):
        walk.found(
            f"the last frame is lsn {header.lsn}, the directory says {row.lsn}", row.thread, lsn=header.lsn
        )


def _verify_body(walk: _Walk, row: Row, header: Header, body: bytes) -> None:
    try:
        _name(walk, references(body), row.thread, header.last)
        records = walk.decoder.records(body)
    except WalgraphError as error:
        walk.found(error.message, row.thread, header.last, header.lsn)
        return
    seq = header.after
    for record in records:
        seq = record.seq if type(record) is StateFolded else seq + 1
    if len(records) != header.records or seq != header.last:
        found = f"{len(records)} records up to seq {seq}"
        said = f"{header.records} up to {header.last}"
        walk.found(f"a frame holds {found}, its header says {said}", row.thread, header.last, header.lsn)


def _verify_snapshots(walk: _Walk, row: Row) -> None:
    seqs = walk.store.snapshots(row.thread)
    if row.horizon and not any(row.horizon <= seq for seq in seqs[:1]):
        walk.found(f"the snapshot at the horizon {row.horizon} is missing", row.thread, row.horizon)
    if row.base and row.base not in seqs:
        walk.found(
            f"the snapshot that stands for what was cut, at {row.base}, is missing", row.thread, row.base
        )
    for seq in seqs:
        walk.snapshots += 1
        try:
            stored = walk.store.snapshot(row.thread, seq)
            assert stored is not None, "it was listed"
            _name(walk, references(stored[1]), row.thread, seq)
            walk.decoder.value(stored[1])
            wrong = walk.check(row.thread, seq, stored[1]) if walk.check is not None else None
        except WalgraphError as error:
            walk.found(error.message, row.thread, seq)
            continue
        if wrong:
            walk.found(wrong, row.thread, seq)
        if seq > row.seq:
            walk.found(f"a snapshot at seq {seq} lies beyond the head {row.seq}", row.thread, seq)


def _verify_position(walk: _Walk) -> None:
    try:
        position = walk.store.position()
        there = 0
        last = 0
        for header, _ in walk.store.tail():
            there += 1
            last = header.lsn
            if header.lsn not in walk.lsns and not walk.problems:
                walk.found("a frame belongs to no thread", lsn=header.lsn)
    except WalgraphError as error:
        walk.found(error.message)
        return
    if there != position.frames:
        walk.found(f"the log holds {there} frames, its directory says {position.frames}")
    if last > position.lsn:
        walk.found(f"the last frame is lsn {last}, the directory says {position.lsn}", lsn=last)


def _verify_blobs(walk: _Walk) -> None:
    there = walk.store.digests()
    walk.blobs = len(there)
    for digest in there:
        data = walk.store.blob(digest) or b""
        if digest_of(data) != digest:
            thread, seq = walk.named.get(digest, ("", None))
            walk.found(f"the large value {digest.hex()} is not what its digest says", thread, seq)


def _verify_items(walk: _Walk) -> None:
    def look(item: Item) -> str | None:
        try:
            walk.decoder.value(item.value)
        except WalgraphError as error:
            return error.message
        return None

    def pass_over(_: Item) -> None:
        """A cache may hold what a serialiser of the user's made."""

    for what, shelf, check in (("store", walk.store.items, look), ("cache", walk.store.cached, pass_over)):
        count, wrong = shelf.check(check)
        walk.items += count
        for problem in wrong:
            walk.found(f"{what}: {problem}")


def _name(walk: _Walk, digests: set[bytes], thread: str, seq: int) -> None:
    """Note who names which blobs, and report those that are not there; blobs may name further ones."""
    waiting: list[Any] = [digest for digest in digests if digest not in walk.named]
    while waiting:
        digest = waiting.pop()
        if digest in walk.named:
            continue
        walk.named[digest] = (thread, seq)
        data = walk.store.blob(digest)
        if data is None:
            walk.found(f"the large value {digest.hex()} is missing", thread, seq)
        elif digest_of(data) == digest:
            waiting += references(data)
