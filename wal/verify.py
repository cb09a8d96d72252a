"""Every broken invariant of a log, found.

    structure   lmdb.verify walks the file's pages in a child process
    frames      in the order of the log: each checksum, and each follows the one before it in its thread
    records     each body decodes, and has as many records as its header says
    threads     the head is the last frame; frames, records, bytes and seq are what the directory says
    position    the number of frames, and the greatest lsn, are what the directory says
    snapshots   each checksum; each decodes; the horizon has its snapshot
    blobs       each one named is there; each one there is what its digest says
    items       each checksum, name and count of stores and caches; each value of a store decodes
    mail        each checksum, name and count of mailboxes; each payload decodes
    runs        each checksum, and each index, of the runs that were handed over; each input and result decodes
    due         the index of what is due says what the directory says

What a snapshot should say is known only above: ``check`` is called with each and returns what is wrong with it.

Invariants:
1. Nothing is changed, and nothing is raised for damage: it is reported, and the walk goes on elsewhere.
2. Unknown classes are no problem: values are decoded leniently.
3. One moment of the log is looked at (``wal.still``), so nothing that is written meanwhile is taken for damage.
4. Memory grows with the number of threads and of large values, not with that of frames.

This module must not know what a state is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from .blob import digest as digest_of
from .codec import GLOBAL, Decoder, references
from .directory import walk_pages
from .envelope import is_blob, is_sealed, parse, without_checksum
from .errors import LogCorrupt, WalgraphError
from .frame import Header, first_seed, peek, unseal
from .items import Item
from .keyspace import broken_chain, key_number, missing_frame, number_key
from .log import Log
from .progress import Progress, say_nothing
from .record import StateFolded
from .still import still
from .store import Row, Store
from .table_store import TableStore
from .tables import LOG, ReadTransaction

Check: TypeAlias = Callable[[str, int, bytes], str | None]
TOLD = 1000
"""After how many frames progress is told."""
PAGE = 64
"""How many frames are read at once."""


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
    signals: int = 0
    closed: int = 0
    """How many frames, states and values are encrypted with keys that are not here: their checksums were checked."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class _Chain:
    """One thread on the way along the log: where its next frame must go on, and what was counted so far."""

    __slots__ = ("broken", "checksum", "frame", "frames", "lsn", "records", "seq", "size", "thread")

    def __init__(self, row: Row) -> None:
        self.thread = row.thread
        self.seq = row.horizon
        self.lsn = row.anchor_lsn
        self.checksum = row.anchor if row.anchor_lsn else first_seed(row.thread)
        self.frame = b""
        self.frames = self.records = self.size = 0
        self.broken = False

    def follow(self, header: Header) -> None:
        self.seq, self.lsn, self.checksum, self.frame = header.last, header.lsn, header.checksum, header.id
        self.frames += 1
        self.records += header.records
        self.size += header.length


class _Walk:
    """The state of one verification."""

    def __init__(self, log: Log, check: Check | None, progress: Progress | None) -> None:
        self.log = log
        self.store: Store = log.store
        self.check = check
        self.progress = progress or say_nothing
        self.problems: list[Problem] = []
        self.named: dict[bytes, tuple[str, int]] = {}
        self.frames = self.records = self.snapshots = self.blobs = self.items = self.signals = self.closed = 0
        self.chains: dict[int, _Chain] = {}
        self.decoder: Decoder = log.decoder(GLOBAL, lenient=True)

    def opened(self, data: bytes, *what: Any) -> bytes | None:
        """Return data in the clear, or None if its key is not here."""
        data = self.log.opened(data, *what)
        if is_sealed(data):
            # What can be seen without the key must be there.
            parse(data)
            self.closed += 1
            return None
        return data

    def look(self, value: bytes) -> str | None:
        """Return what is wrong with an encoded value, or None."""
        try:
            if is_sealed(value):
                parse(value)
                self.closed += 1
                return None
            self.decoder.value(value)
        except WalgraphError as error:
            return error.message
        return None

    def look_if_open(self, value: bytes) -> str | None:
        """Return the same of a value that is not encrypted; of an encrypted one the caller knows whose it is."""
        if not is_sealed(value):
            return self.look(value)
        try:
            parse(value)
        except WalgraphError as error:
            return error.message
        return None

    def found(self, what: str, thread: str = "", seq: int | None = None, lsn: int | None = None) -> None:
        self.problems.append(Problem(what, thread, seq, lsn))

    def report(self) -> Report:
        held = (self.blobs, self.items, self.signals, self.closed)
        counts = (len(self.chains), self.frames, self.records, self.snapshots, *held)
        return Report(tuple(self.problems), *counts)


def verify(
    log: Log | str | os.PathLike[str],
    *,
    structure: bool = True,
    check: Check | None = None,
    progress: Progress | None = None,
) -> Report:
    """Walk a log and report every broken invariant.

    Args:
        log: The log, or its path; a path is opened for reading only.
        structure: Also walk the file's pages, in a child process.
        check: Called with thread, seq and encoded state of each snapshot; returns what is wrong with it, or None.
        progress: Told how far the walk is.

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
                return verify(opened, structure=False, check=check, progress=progress)
        except LogCorrupt as error:
            return Report((Problem(error.message),), 0, 0, 0, 0, 0)
    problems = walk_pages(log.path) if structure and log.path else []
    with still(log) as moment:
        walk = _Walk(moment, check, progress)
        for text in problems:
            walk.found(text)
        rows = _verify_rows(walk)
        _verify_frames(walk)
        if rows:
            _verify_threads(walk)
        _verify_blobs(walk)
        _verify_items(walk)
        _verify_mail(walk)
        _verify_submissions(walk)
        _verify_schedules(walk)
        if rows:
            _verify_due(walk)
    return walk.report()


def _verify_rows(walk: _Walk) -> bool:
    """Note where each thread begins; tell whether the directory can be read to its end."""
    try:
        for row in walk.store.rows():
            walk.chains[row.number] = _Chain(row)
    except WalgraphError as error:
        # The directory cannot be read beyond this entry, so what lies behind it is not known.
        walk.found(error.message)
        return False
    return True


def _verify_frames(walk: _Walk) -> None:
    """Go along the log once, following all threads at the same time."""
    store = walk.store
    assert isinstance(store, TableStore), "every store of ours is one over tables"
    there = last = strangers = 0
    with store.all_tables.read() as txn:
        whole = txn.count(LOG)
        for lsn, data in _entries(txn):
            there, last = there + 1, lsn
            try:
                header = peek(data, lsn)
            except WalgraphError as error:
                walk.found(error.message, lsn=lsn)
                continue
            chain = walk.chains.get(header.thread)
            if chain is None:
                strangers += 1
            else:
                _verify_frame(walk, chain, header, data)
            if there % TOLD == 0:
                walk.progress("frames", there, whole)
    walk.frames = there
    if strangers and not walk.problems:
        walk.found(f"{strangers} frames belong to no thread")
    try:
        position = store.position()
    except WalgraphError as error:
        walk.found(error.message)
        return
    if there != position.frames:
        walk.found(f"the log holds {there} frames, its directory says {position.frames}")
    if last > position.lsn:
        walk.found(f"the last frame is lsn {last}, the directory says {position.lsn}", lsn=last)


def _entries(txn: ReadTransaction) -> Iterator[tuple[int, bytes]]:
    lsn = 0
    while True:
        found = txn.scan(LOG, number_key(lsn + 1), PAGE)
        for key, data in found:
            lsn = key_number(key)
            yield lsn, data
        if len(found) < PAGE:
            return


def _verify_frame(walk: _Walk, chain: _Chain, header: Header, data: bytes) -> None:
    """Check that a frame is whole, and is the next one of its thread; the walk goes on behind it in any case."""
    thread = chain.thread
    try:
        if header.previous > chain.lsn:
            raise missing_frame(thread, header.previous)
        if header.previous < chain.lsn or header.after != chain.seq:
            raise broken_chain(thread, header, chain.seq)
        body = unseal(data, header, chain.checksum)
    except WalgraphError as error:
        walk.found(error.message, thread, header.after, header.lsn)
        chain.broken = True
    else:
        walk.records += header.records
        _verify_body(walk, thread, header, body)
    chain.follow(header)


def _verify_threads(walk: _Walk) -> None:
    for count, row in enumerate(walk.store.rows()):
        chain = walk.chains[row.number]
        if chain.lsn < row.lsn:
            walk.found(missing_frame(row.thread, row.lsn).message, row.thread, lsn=row.lsn)
        elif not chain.broken:
            _verify_head(walk, row, chain)
        try:
            _verify_snapshots(walk, row)
        except WalgraphError as error:
            walk.found(error.message, row.thread)
        if count % TOLD == 0:
            walk.progress("threads", count, len(walk.chains))


def _verify_head(walk: _Walk, row: Row, chain: _Chain) -> None:
    counted = (chain.frames, chain.records, chain.size, chain.seq)
    said = (row.frames, row.records, row.size, row.seq)
    if counted != said:
        walk.found(f"frames, records, bytes and seq are {counted}, the directory says {said}", row.thread)
    if chain.frames and (chain.lsn, chain.checksum, chain.frame) != (row.lsn, row.checksum, row.frame):
        walk.found(
            f"the last frame is lsn {chain.lsn}, the directory says {row.lsn}", row.thread, lsn=chain.lsn
        )


def _verify_body(walk: _Walk, thread: str, header: Header, body: bytes) -> None:
    try:
        _name(walk, references(body), thread, header.last)
        plain = walk.opened(body, "frame", thread, header.after, header.last)
        if plain is None:
            return
        records = walk.decoder.records(plain)
    except WalgraphError as error:
        walk.found(error.message, thread, header.last, header.lsn)
        return
    seq = header.after
    for record in records:
        seq = record.seq if type(record) is StateFolded else seq + 1
    if len(records) != header.records or seq != header.last:
        found = f"{len(records)} records up to seq {seq}"
        said = f"{header.records} up to {header.last}"
        walk.found(f"a frame holds {found}, its header says {said}", thread, header.last, header.lsn)


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
            plain = walk.opened(stored[1], "snapshot", row.thread, seq)
            wrong = None
            if plain is not None:
                walk.decoder.value(plain)
                wrong = walk.check(row.thread, seq, plain) if walk.check is not None else None
        except WalgraphError as error:
            walk.found(error.message, row.thread, seq)
            continue
        if wrong:
            walk.found(wrong, row.thread, seq)
        if seq > row.seq:
            walk.found(f"a snapshot at seq {seq} lies beyond the head {row.seq}", row.thread, seq)


def _verify_blobs(walk: _Walk) -> None:
    there = walk.store.digests()
    walk.blobs = len(there)
    for digest in there:
        data = walk.store.blob(digest) or b""
        wrong = not is_blob(digest, data, digest_of(data))
        if not wrong and is_sealed(data):
            try:
                walk.opened(without_checksum(digest, data), "blob", digest)
            except WalgraphError as error:
                walk.found(error.message, *walk.named.get(digest, ("", None)))
        if wrong:
            thread, seq = walk.named.get(digest, ("", None))
            walk.found(f"the large value {digest.hex()} is not what its digest says", thread, seq)


def _verify_items(walk: _Walk) -> None:
    def look(item: Item) -> str | None:
        return walk.look(item.value)

    def pass_over(_: Item) -> None:
        """A cache may hold what a serialiser of the user's made."""

    for what, shelf, check in (
        ("store", walk.log.items(), look),
        ("cache", walk.log.items(cached=True), pass_over),
    ):
        count, wrong = shelf.check(check)
        walk.items += count
        for problem in wrong:
            walk.found(f"{what}: {problem}")


def _verify_mail(walk: _Walk) -> None:
    walk.signals, wrong = walk.store.mail.check(lambda message: walk.look(walk.log.payload(message)))
    for problem in wrong:
        walk.found(f"mail: {problem}")


def _verify_submissions(walk: _Walk) -> None:
    if walk.store.has_submissions():
        for problem in walk.store.submissions.check(walk.look_if_open)[1]:
            walk.found(f"handed-over runs: {problem}")
        if not walk.log.is_encrypted:
            return
        try:
            # Those that are encrypted are opened on the way.
            for each in walk.log.submissions().all():
                walk.closed += is_sealed(each.given) or is_sealed(each.result)
        except WalgraphError as error:
            walk.found(f"handed-over runs: {error.message}")


def _verify_schedules(walk: _Walk) -> None:
    for problem in walk.store.schedules.check(walk.look_if_open):
        walk.found(f"schedule: {problem}")
    if not walk.log.is_encrypted:
        return
    try:
        # Those that are encrypted are opened on the way.
        walk.closed += sum(is_sealed(each.given) for each in walk.log.schedules().all())
    except WalgraphError as error:
        walk.found(f"schedule: {error.message}")


def _verify_due(walk: _Walk) -> None:
    try:
        wrong = walk.store.check_due()
    except WalgraphError:
        # The directory cannot be read, which is reported where the threads are.
        return
    for problem in wrong:
        walk.found(problem)


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
        elif is_blob(digest, data, digest_of(data)):
            waiting += references(data)
