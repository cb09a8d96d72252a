"""Making a whole log of what a repair keeps, beside the damaged one or in its place.

    salvage   X is damaged ─► Y is made; X is left untouched
    replace   X is damaged ─► X.new-… is made ─► X.damaged-N/data.mdb is linked to the old file
              ─► the new file is renamed over it

Invariants:
1. Nobody else has the log open meanwhile.
2. A crash at any instant leaves X as it was, or whole; the old file is never lost (``X.damaged-…``).
3. What is made was verified before it is anywhere (``wal.building``).

This module must not know what can be kept: ``wal.repair`` decides.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .blob import chunks
from .building import Builder, builder, verified
from .checked import name_key
from .core import is_open
from .creation import create_filled, make
from .directory import hold, sync_directory
from .envelope import is_sealed
from .errors import LogCorrupt, LogInUse, LogNotFound
from .fault import reach
from .frame import HEADER_BYTES, Header, Summary, peek
from .item_layout import (
    ITEM,
    SPACE,
    Space,
    is_whole,
    key_key,
    last_number,
    namespace_key,
    pack_number,
    pack_space,
    unpack_item,
    unpack_space,
)
from .items import Namespace
from .keyspace import POSITION_KEY, chunk_key, key_number, number_key, pack_position, pack_row, pair_key
from .log import Log
from .pages import Pages
from .progress import Progress, say_nothing
from .repair import Kept, Plan, blobs_of, frames_of, survey
from .store import Row
from .tables import BLOBS, DUE, ENCRYPTED, ITEMS, LATER_NAMES, LOG, META, NAMES, SNAPS, TABLE_NAMES, THREADS
from .verify import Report, verify

if TYPE_CHECKING:
    from .keys import KeyRing

Summarise = Callable[[Log, str], Summary]
SAID_AS = {b"item": "store", b"submit": "handed-over runs"}
"""What a problem that verify finds begins with, of the tables that are called otherwise there."""
GATHERED = 1000


@contextlib.contextmanager
def examined(path: str, progress: Progress = say_nothing) -> Iterator[tuple[Pages, Plan]]:
    """Look through a log that nobody has open; it stays locked until the block ends.

    Raises:
        LogNotFound: There is no log at the path.
        LogInUse: Somebody has it open.
        LogCorrupt: Nothing of it can be read.
    """
    place = os.path.realpath(path)
    with locked(place), Pages(place) as pages:
        if not {"log", "threads"} <= pages.tables.keys():
            message = f"Neither records nor threads can be found in {path}/data.mdb."
            raise LogCorrupt(message, hint="Restore it from a backup.", path=path)
        yield pages, survey(pages, progress)


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Keep everybody from opening a log until the block ends.

    Raises:
        LogNotFound: There is no log at the path.
        LogInUse: Somebody has it open.
    """
    if not Path(path, "data.mdb").is_file():
        raise LogNotFound(f"There is no log at {path}.", hint="Check the path.", path=path)
    if is_open(path):
        raise LogInUse(f"The log at {path} is open in this process.", hint="Close it first.", path=path)
    lock = hold(path, exclusive=True)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def salvage(
    pages: Pages,
    plan: Plan,
    path: str,
    *,
    summarise: Summarise | None = None,
    keys: KeyRing | None = None,
    progress: Progress = say_nothing,
) -> tuple[Report, list[str]]:
    """Make a new log of what is kept; return what it holds, and what else was lost.

    Args:
        pages: The damaged file.
        plan: What is kept.
        path: Where the new log is to be.
        summarise: Returns what the directory is to show of a thread that stands at another record than before.
        keys: The keys of an encrypted log, so that its records tell that.
        progress: Told how far it is.

    Raises:
        LogExists: Something is at the path.
        BackupDamaged: What was made does not verify.
    """
    work = _Mending(pages, plan, summarise, progress, store=os.urandom(16), keys=keys)
    create_filled(os.path.abspath(path), work.fill)  # noqa: PTH100 - links must not be resolved
    return work.done()


def replace(
    pages: Pages,
    plan: Plan,
    path: str,
    *,
    summarise: Summarise | None = None,
    keys: KeyRing | None = None,
    progress: Progress = say_nothing,
) -> tuple[Report, list[str], str]:
    """Put a log of what is kept in the place of the damaged one; also return where that is kept.

    Raises:
        BackupDamaged: What was made does not verify; the log is as it was.
    """
    place = Path(os.path.realpath(path))
    store = dict(pages.entries("meta")).get(b"store") or os.urandom(16)
    work = _Mending(pages, plan, summarise, progress, store=store, keys=keys)
    aside = put_in_place(place, work.fill, "damaged")
    return *work.done(), str(aside)


def put_in_place(place: Path, fill: Callable[[Path], None], word: str) -> Path:
    """Make a log's file anew and put it in the place of the old one; return where that is kept, named by ``word``."""
    aside = _free_name(place, word)

    def swap(fresh: Path, _: Path) -> None:
        aside.mkdir()
        (aside / "data.mdb").hardlink_to(place / "data.mdb")
        sync_directory(str(aside))
        sync_directory(str(place.parent))
        reach("repair: kept aside")
        (fresh / "data.mdb").replace(place / "data.mdb")
        reach("repair: replaced")
        sync_directory(str(place))

    make(str(place), fill, swap)
    return aside


def _free_name(place: Path, word: str) -> Path:
    """Return where an old log is to be kept: a name beside it that is not taken."""
    number = 1
    while (name := place.with_name(f"{place.name}.{word}-{number}")).exists():
        number += 1
    return name


class _Mending:
    """One log in the making."""

    def __init__(
        self,
        pages: Pages,
        plan: Plan,
        summarise: Summarise | None,
        progress: Progress,
        *,
        store: bytes,
        keys: KeyRing | None,
    ) -> None:
        self.pages = pages
        self.plan = plan
        self.summarise = summarise
        self.progress = progress
        self.store = store
        self.keys = keys
        pages.forget()
        self.is_encrypted = ENCRYPTED in dict(pages.entries("meta"))
        self.lost: list[str] = []
        self.report: Report | None = None

    def done(self) -> tuple[Report, list[str]]:
        """Return what was made, and what was lost besides the plan's losses."""
        assert self.report is not None, "it was filled"
        return self.report, self.lost

    def fill(self, fresh: Path) -> None:
        """Write what is kept into a directory, and verify it."""
        plan = self.plan
        rows = {number: _row(kept) for number, kept in plan.kept.items()}
        with builder(fresh) as tables:
            facts = {b"format": str(plan.format).encode(), b"store": self.store}
            tables.put(META, sorted(facts.items()))
            frames, size = self._frames(tables)
            tables.put(SNAPS, self._snapshots())
            self._blobs(tables)
            self._items(tables)
            self._others(tables)
            self._rows(tables, rows)
            if self.is_encrypted:
                tables.put(META, [(ENCRYPTED, b"1")])
            position = plan.position._replace(frames=frames, size=size)
            tables.put(THREADS, [(POSITION_KEY, pack_position(position))])
        self._summarise(fresh, rows)
        self._drop_unsound(fresh)
        self.report = verified(fresh, "what could be read", self.progress)

    def _frames(self, tables: Builder) -> tuple[int, int]:
        count = size = 0
        gathered: list[tuple[bytes, bytes]] = []
        for key, data in frames_of(self.pages, self.plan.strays):
            header = _header(data, key)
            kept = None if header is None else self.plan.kept.get(header.thread)
            if header is None or kept is None:
                continue
            if kept.stretch.anchor_lsn < header.lsn <= kept.stretch.lsn:
                gathered.append((key, data))
                # What says so for the whole log may be what was damaged.
                self.is_encrypted |= is_sealed(data[HEADER_BYTES:])
                count, size = count + 1, size + header.length
                if len(gathered) >= GATHERED:
                    tables.put(LOG, gathered)
                    gathered = []
                    self.progress("kept frames", count, self.plan.position.lsn)
        tables.put(LOG, gathered)
        return count, size

    def _snapshots(self) -> list[tuple[bytes, bytes]]:
        self.pages.forget()
        wanted = {pair_key(kept.number, seq) for kept in self.plan.kept.values() for seq in kept.snapshots}
        found = [entry for entry in self.pages.entries("snap") if entry[0] in wanted]
        # In front of the state stands its checksum.
        self.is_encrypted |= any(is_sealed(data[8:]) for _, data in found)
        return found

    def _blobs(self, tables: Builder) -> None:
        self.pages.forget()
        for digest, data in blobs_of(self.pages):
            if digest in self.plan.blobs:
                self.is_encrypted |= is_sealed(data)
                parts = enumerate(chunks(data))
                tables.put(BLOBS, [(chunk_key(digest, number), part) for number, part in parts])

    def _items(self, tables: Builder) -> None:
        """Keep the items of stores that are whole, and make what leads to them anew."""
        self.pages.forget()
        spaces: dict[int, Namespace] = {}
        held: dict[int, list[int]] = {}
        entries: list[tuple[bytes, bytes]] = []
        lost = 0
        for key, data in self.pages.entries("item"):
            with contextlib.suppress(LogCorrupt, ValueError, TypeError):
                if key.startswith(SPACE) and len(key) == 9:
                    space = unpack_space(data, last_number(key))
                    spaces[space.number] = space.namespace
                elif key.startswith(ITEM) and len(key) == 17:
                    lost += not self._item(key, data, spaces, held, entries)
                    if len(entries) >= GATHERED:
                        tables.put(ITEMS, sorted(entries))
                        entries = []
        for number, numbers in held.items():
            namespace = spaces[number]
            row = pack_space(Space(number, namespace, max(numbers), len(numbers)))
            entries += [(namespace_key(namespace), pack_number(number)), (SPACE + pack_number(number), row)]
        tables.put(ITEMS, sorted(entries))
        if lost or self.pages.lost.get("item"):
            self.lost.append(f"items of stores: {lost} are damaged, or their namespace is not known")

    def _item(
        self,
        key: bytes,
        data: bytes,
        spaces: dict[int, Namespace],
        held: dict[int, list[int]],
        entries: list[tuple[bytes, bytes]],
    ) -> bool:
        """Keep an item if it is whole and its namespace is known; tell whether it was kept."""
        number = int.from_bytes(key[1:9])
        if number not in spaces or not is_whole(key, data):
            return False
        item = unpack_item(key, data, spaces[number])
        held.setdefault(number, []).append(last_number(key))
        entries += [(key, data), (key_key(number, item.key), key[9:])]
        return True

    def _others(self, tables: Builder) -> None:
        """Copy the tables that are not understood here, those that are whole as far as it can be told."""
        self.pages.forget()
        for table, name in enumerate(TABLE_NAMES + LATER_NAMES):
            if table < len(TABLE_NAMES) or table in {ITEMS, DUE}:
                continue
            gathered: list[tuple[bytes, bytes]] = []
            for entry in self.pages.entries(name.decode()):
                gathered.append(entry)
                if len(gathered) >= GATHERED:
                    tables.put(table, gathered)
                    gathered = []
            tables.put(table, gathered)
            if self.pages.lost.get(name.decode()):
                tables.clear(table)
                self.lost.append(f"all of the table {name.decode()!r}, since pages of it cannot be read")

    def _rows(self, tables: Builder, rows: dict[int, Row]) -> None:
        for number in sorted(rows):
            key = number_key(number)
            tables.put(THREADS, [(key, pack_row(rows[number]))])
        tables.put(NAMES, sorted((name_key(row.thread), number_key(row.number)) for row in rows.values()))
        due = [(row.due_at, row.number) for row in rows.values() if row.due_at is not None]
        tables.put(DUE, [(pair_key(*each), b"") for each in sorted(due)])

    def _summarise(self, fresh: Path, rows: dict[int, Row]) -> None:
        """Let the directory show how the threads stand that stand at another record than before."""
        changed = [kept for kept in self.plan.kept.values() if not kept.is_whole]
        if self.summarise is None or not changed:
            return
        found: list[Row] = []
        with Log.open(fresh, create=False, readonly=True, force=True, keys=self.keys) as log:
            for kept in changed:
                status, graph, step, due, due_at = self.summarise(log, kept.thread)
                row = rows[kept.number]
                found.append(row._replace(status=status, graph=graph, step=step, next=due, due_at=due_at))
        with builder(fresh) as tables:
            for row in found:
                tables.put(THREADS, [(number_key(row.number), pack_row(row))])
                if row.due_at is not None:
                    tables.put(DUE, [(pair_key(row.due_at, row.number), b"")])

    def _drop_unsound(self, fresh: Path) -> None:
        """Empty the tables that are not understood here and do not verify."""
        with Log.open(fresh, create=False, readonly=True, force=True) as log:
            wrong = {problem.what.partition(":")[0] for problem in verify(log, structure=False).problems}
        names = [name for name in LATER_NAMES if SAID_AS.get(name, name.decode()) in wrong]
        with builder(fresh) as tables:
            for name in names:
                tables.clear((TABLE_NAMES + LATER_NAMES).index(name))
                self.lost.append(f"all of the table {name.decode()!r}, which does not verify")


def _row(kept: Kept) -> Row:
    """Return the row of a kept thread."""
    row, stretch = kept.row, kept.stretch
    if kept.is_whole and row is not None:
        return row
    newest = stretch.newest
    time = newest.time if newest is not None else 0 if row is None else row.updated_at
    return Row(
        number=kept.number,
        thread=kept.thread,
        status="running",
        graph="" if row is None else row.graph,
        step=-1 if row is None else row.step,
        next=(),
        due_at=None,
        seq=stretch.seq,
        lsn=stretch.lsn,
        checksum=stretch.checksum,
        # Whoever had the thread must not go on where it is no longer.
        epoch=max(newest.epoch if newest is not None else 0, 0 if row is None else row.epoch),
        frame=newest.id if newest is not None else b"",
        created_at=time if row is None else row.created_at,
        updated_at=time,
        size=stretch.size,
        frames=stretch.frames,
        records=stretch.records,
        snapshot_seq=max(kept.snapshots, default=0),
        since_bytes=stretch.size,
        horizon=stretch.horizon,
        anchor=stretch.anchor,
        anchor_lsn=stretch.anchor_lsn,
        base=kept.base,
    )


def _header(data: bytes, key: bytes) -> Header | None:
    try:
        return peek(data, key_number(key))
    except LogCorrupt:
        return None
