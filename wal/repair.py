"""What can be kept of a damaged log, and what is lost: found, told, and made into a log that is whole.

    pages ─► large values: which are whole ─► frames: which follow one another ─► what to keep of each thread
          ─► a new log of it ─► verified ─► beside the damaged one, or in its place, which is kept

A THREAD is kept from a state that can be rebuilt up to its last sound frame. A frame is sound if its checksum is right
under its predecessor's and the large values that it names are whole. Where frames in the middle are damaged, and a
snapshot behind them is not, what comes from that snapshot on is kept, and the history before it is lost; without one,
what comes before the damage is kept, and the rest is lost.

A FRAME that no page leads to any more is looked for in all pages of the file, and taken if it fits a thread that the
directory knows. What a thread's lost row said is found in its records.

BESIDES   Items of stores are kept one by one; what caches, mailboxes and handed-over runs hold is kept if their table
          is whole, and lost otherwise, as it is for all tables that are not understood here.

Invariants:
1. The damaged file is only read, and never opened by LMDB.
2. Everything that is lost is told: threads with the seqs, large values, items, tables.
3. What is made verifies, or is given up.

This module must not know what records mean, but for ``ThreadCreated``, which names a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .blob import digest as digest_of
from .codec import GLOBAL, Decoder, references
from .envelope import is_blob
from .errors import WalgraphError
from .frame import MAGIC, Header, first_seed, peek, unseal
from .keyspace import key_number, key_pair, unpack_position, unpack_row, unpack_snapshot
from .pages import Entry, Pages
from .progress import Progress, say_nothing
from .record import ThreadCreated
from .store import Position, Row

TOLD = 1000


class Loss(NamedTuple):
    """What is lost of one thread: the records with ``first`` ≤ seq ≤ ``last``; with ``history`` its state is kept."""

    thread: str
    first: int
    last: int
    history: bool
    why: str


class Stretch:
    """Sound frames of one thread that follow one another."""

    __slots__ = (
        "anchor", "anchor_lsn", "checksum", "first_lsn", "frames", "horizon", "lsn", "newest", "records", "seq", "size",
    )  # fmt: skip

    def __init__(self, horizon: int, anchor: int, anchor_lsn: int) -> None:
        self.horizon = self.seq = horizon
        self.anchor = self.checksum = anchor
        self.anchor_lsn = self.lsn = self.first_lsn = anchor_lsn
        self.newest: Header | None = None
        self.frames = self.records = self.size = 0

    def add(self, header: Header) -> None:
        """Go on with the next frame."""
        self.seq, self.lsn, self.checksum, self.newest = header.last, header.lsn, header.checksum, header
        self.frames += 1
        self.records += header.records
        self.size += header.length


class Found:
    """What was found of one thread."""

    def __init__(self, number: int, name: str, row: Row | None) -> None:
        self.number = number
        self.name = name
        self.row = row
        if row is None:
            first = Stretch(0, first_seed(name), 0)
        else:
            first = Stretch(row.horizon, row.anchor if row.anchor_lsn else first_seed(name), row.anchor_lsn)
        self.stretches = [first]
        self.snapshots: list[int] = []
        self.last = 0 if row is None else row.seq
        self.why = ""

    def broke(self, why: str, header: Header | None) -> None:
        """Note damage; what comes behind may go on from a frame whose checksum its successor vouches for."""
        self.why = self.why or why
        if header is not None:
            self.last = max(self.last, header.last)
            self.stretches.append(Stretch(header.last, header.checksum, header.lsn))


class Kept(NamedTuple):
    """What is kept of one thread: the stretch, the seq of the snapshot that it begins with, and the row it had."""

    number: int
    thread: str
    stretch: Stretch
    base: int
    snapshots: tuple[int, ...]
    row: Row | None
    is_whole: bool


class Plan(NamedTuple):
    """What a repair keeps, and what it cannot."""

    kept: dict[int, Kept]
    losses: tuple[Loss, ...]
    blobs: frozenset[bytes]
    lost_blobs: tuple[str, ...]
    pages: dict[str, int]
    notes: tuple[str, ...]
    position: Position
    format: int
    strays: dict[bytes, bytes]

    @property
    def is_damaged(self) -> bool:
        """Whether anything is wrong that a repair would mend."""
        return bool(self.losses or self.lost_blobs or any(self.pages.values()) or self.notes)


def survey(pages: Pages, progress: Progress = say_nothing) -> Plan:
    """Look through a data file and decide what can be kept."""
    return _Survey(pages, progress).plan()


def frames_of(pages: Pages, strays: dict[bytes, bytes]) -> Iterator[Entry]:
    """Yield the frames of a file in the order of the log, with those that no page leads to any more in their places."""
    pages.forget()
    waiting = sorted(strays, reverse=True)
    for key, data in pages.entries("log"):
        while waiting and waiting[-1] < key:
            stray = waiting.pop()
            yield stray, strays[stray]
        yield key, data
    for stray in reversed(waiting):
        yield stray, strays[stray]


class _Survey:
    """One look through a file."""

    def __init__(self, pages: Pages, progress: Progress) -> None:
        self.pages = pages
        self.progress = progress
        self.notes: list[str] = []
        self.unread: list[int] = []
        self.rows: dict[int, Row] = {}
        self.position = Position()
        self.found: dict[int, Found] = {}
        self.strangers = 0
        self.strays: dict[bytes, bytes] = {}
        self.highest = Position()

    def plan(self) -> Plan:
        facts = dict(self.pages.entries("meta"))
        self._read_rows()
        whole, broken = self._read_blobs()
        self._read_frames(whole)
        if self.pages.lost.get("log"):
            self.strays = self._find_strays()
            self._start_anew()
            self._read_frames(whole)
        self._read_snapshots(whole)
        kept, losses = {}, []
        for found in self.found.values():
            held, lost = _choose(found)
            if held is not None:
                kept[found.number] = held
            losses += lost
        self.notes += [f"the frame at lsn {lsn} cannot be read" for lsn in self.unread]
        if self.strangers:
            self.notes.append(f"{self.strangers} frames belong to no thread that is known")
        layout = facts.get(b"format", b"1")
        return Plan(
            kept,
            tuple(losses),
            frozenset(whole),
            tuple(sorted(broken)),
            dict(self.pages.lost),
            tuple(self.notes),
            self._whole_position(),
            int(layout) if layout.isdigit() else 1,
            self.strays,
        )

    def _find_strays(self) -> dict[bytes, bytes]:
        """Return frames of threads that the directory knows, from pages that nothing leads to any more."""
        self.pages.forget()
        there = {key for key, _ in self.pages.entries("log")}
        strays = {}
        for key, data in self.pages.strays(8, MAGIC):
            header = _peek(data, key_number(key))
            row = None if header is None else self.rows.get(header.thread)
            # Pages that are free by now hold frames of threads that were deleted, and frames that were cut off.
            if header is None or row is None or key in there:
                continue
            if row.anchor_lsn < header.lsn <= row.lsn:
                strays[key] = data
        return strays

    def _start_anew(self) -> None:
        self.found = {number: Found(number, row.thread, row) for number, row in self.rows.items()}
        self.strangers = 0
        self.unread = []

    def _read_rows(self) -> None:
        for key, data in self.pages.entries("threads"):
            number = key_number(key) if len(key) == 8 else -1
            try:
                if number == 0:
                    self.position = unpack_position(data)
                elif number > 0:
                    row = unpack_row(data, number)
                    self.rows[number] = row
                    self.found[number] = Found(number, row.thread, row)
            except (WalgraphError, ValueError, TypeError) as error:
                self.notes.append(getattr(error, "message", str(error)))

    def _read_blobs(self) -> tuple[set[bytes], set[str]]:
        """Return the digests of large values that are whole, with all that they name, and of those that are not."""
        whole: set[bytes] = set()
        broken: set[str] = set()
        named: dict[bytes, set[bytes]] = {}
        for digest, data in blobs_of(self.pages):
            if not is_blob(digest, data, digest_of(data)):
                broken.add(digest.hex())
                continue
            whole.add(digest)
            below = _references(data)
            if below:
                named[digest] = below
        # What names something that is not whole is not whole either, and so on upwards.
        while gone := [digest for digest, below in named.items() if not below <= whole]:
            for digest in gone:
                del named[digest]
                whole.discard(digest)
                broken.add(digest.hex())
        return whole, broken

    def _read_frames(self, whole: set[bytes]) -> None:
        count = 0
        for key, data in frames_of(self.pages, self.strays):
            count += 1
            lsn = key_number(key)
            header = _peek(data, lsn)
            if header is None:
                # Whose it was is not known; its successor will miss it.
                self.unread.append(lsn)
                continue
            self._note_highest(header)
            found = self.found.get(header.thread) or self._stranger(header, data)
            if found is None:
                self.strangers += 1
                continue
            self._frame(found, header, data, whole)
            if count % TOLD == 0:
                self.progress("frames", count, self.position.frames)

    def _frame(self, found: Found, header: Header, data: bytes, whole: set[bytes]) -> None:
        stretch = found.stretches[-1]
        if header.lsn <= stretch.anchor_lsn:
            return
        if header.previous != stretch.lsn or header.after != stretch.seq:
            found.broke(f"what came before lsn {header.lsn} is missing", header)
            return
        try:
            body = unseal(data, header, stretch.checksum)
            missing = _references(body) - whole
        except WalgraphError as error:
            found.broke(error.message, header)
            return
        if missing:
            name = min(missing).hex()
            found.broke(
                f"the large value {name}, which lsn {header.lsn} names, is missing or damaged", header
            )
            return
        stretch.add(header)
        found.last = max(found.last, header.last)

    def _stranger(self, header: Header, data: bytes) -> Found | None:
        """Return a thread whose row is lost, if this is its first frame, which names it."""
        if header.after or not self._lost_rows():
            return None
        try:
            first = Decoder(GLOBAL, _no_blob, lenient=True).records(data[-header.length :])[0]
        except (WalgraphError, IndexError, _Missing):
            return None
        if not isinstance(first, ThreadCreated):
            return None
        found = self.found[header.thread] = Found(header.thread, first.thread, None)
        found.why = "its entry in the directory was lost"
        return found

    def _lost_rows(self) -> bool:
        return bool(self.notes or self.pages.lost.get("threads") or not self.rows)

    def _read_snapshots(self, whole: set[bytes]) -> None:
        for key, data in self.pages.entries("snap"):
            number, seq = key_pair(key) if len(key) == 16 else (0, 0)
            found = self.found.get(number)
            if found is None:
                continue
            try:
                state = unpack_snapshot(data, number, seq)
                if _references(state) <= whole:
                    found.snapshots.append(seq)
                    continue
                why = "a large value that it names is missing or damaged"
            except WalgraphError:
                why = "its checksum does not match"
            self.notes.append(f"the snapshot of thread {found.name!r} at seq {seq} is dropped: {why}")

    def _note_highest(self, header: Header) -> None:
        held = self.highest
        self.highest = held._replace(
            lsn=max(held.lsn, header.lsn),
            time=max(held.time, header.time),
            threads=max(held.threads, header.thread),
        )

    def _whole_position(self) -> Position:
        """Return a position under which no lsn, number or time is given again."""
        one, other = self.position, self.highest
        threads = max([one.threads, other.threads, *self.rows])
        return Position(max(one.lsn, other.lsn), 0, 0, threads, max(one.time, other.time))


def _choose(found: Found) -> tuple[Kept | None, list[Loss]]:
    """Return what is kept of a thread: its newest stretch that begins with a state; and what is lost."""
    first = found.stretches[0]
    for stretch in reversed(found.stretches):
        is_first = stretch is first
        least = max(stretch.horizon, found.row.base if is_first and found.row is not None else 0)
        usable = [seq for seq in found.snapshots if least <= seq <= stretch.seq]
        if is_first and not stretch.horizon:
            base = 0
        elif usable:
            base = usable[0]
        else:
            continue
        if not stretch.frames and not base:
            continue
        later = tuple(seq for seq in usable if seq >= base)
        row = found.row
        reaches = row is not None and (stretch.lsn, stretch.seq) == (row.lsn, row.seq)
        is_whole = is_first and reaches and row is not None and base == row.base
        kept = Kept(found.number, found.name, stretch, base, later, row, is_whole)
        losses = []
        begin = found.row.horizon if found.row is not None else 0
        if not is_first:
            losses.append(Loss(found.name, begin + 1, base, history=True, why=found.why))
        if found.last > stretch.seq:
            why = found.why or "its newest frames are missing"
            losses.append(Loss(found.name, stretch.seq + 1, found.last, history=False, why=why))
        elif found.row is None:
            losses.append(Loss(found.name, stretch.seq, stretch.seq, history=True, why=found.why))
        return kept, losses
    why = found.why or "the snapshot that it begins with is missing or damaged"
    return None, [Loss(found.name, 1, found.last, history=False, why=why)]


def blobs_of(pages: Pages) -> Iterator[tuple[bytes, bytes]]:
    """Yield digests and the bytes that lie under them, chunk after chunk as far as they are there."""
    digest = b""
    parts: list[bytes] = []
    for key, part in pages.entries("blob"):
        if len(key) != 20:
            continue
        if key[:16] != digest:
            if parts:
                yield digest, b"".join(parts)
            digest, parts = key[:16], []
        parts.append(part)
    if parts:
        yield digest, b"".join(parts)


def _peek(data: bytes, lsn: int) -> Header | None:
    try:
        return peek(data, lsn)
    except WalgraphError:
        return None


def _references(data: bytes) -> set[bytes]:
    try:
        return references(data)
    except WalgraphError:
        # Whole bytes that are no encoded data name nothing; verifying says what is wrong with them.
        return set()


class _Missing(Exception):
    """A large value was asked for where none is needed."""


def _no_blob(_digest: bytes) -> bytes:
    raise _Missing
