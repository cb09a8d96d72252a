"""From lines of JSON to a log: the same threads, records, ids, positions and large values (``wal.exporting``).

    lines ─► tables of a new log, each frame sealed again under its thread's chain ─► verified ─► renamed to its place

Invariants:
1. Nothing is at the path before the log is whole, flushed and verified.
2. Each frame has the checksum that the export says: an export that was edited, cut short or damaged is refused.
3. Memory grows with the number of threads, not with that of lines.
4. Where the log was encrypted, or anything in the lines is, nobody can write to the new one in the clear.

This module must not know what records mean.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .blob import chunks
from .blob import digest as digest_of
from .building import Builder, builder, verified
from .checked import name_key
from .creation import FORMAT, create_filled, refuse_existing
from .envelope import is_blob, is_sealed
from .errors import BackupDamaged, FormatTooNew
from .exporting import KIND, VERSION, record_bytes
from .frame import Header, first_seed, seal
from .keyspace import (
    POSITION_KEY,
    chunk_key,
    number_key,
    pack_position,
    pack_row,
    pack_snapshot,
    pair_key,
)
from .progress import Progress, say_nothing
from .store import Position, Row
from .tables import BLOBS, DUE, ENCRYPTED, LATER_NAMES, LOG, META, NAMES, SNAPS, TABLE_NAMES, THREADS
from .tagged import untagged
from .verify import Report

HINT = "Export the log again; an export cannot be edited."
TABLES = {name.decode(): table for table, name in enumerate(TABLE_NAMES + LATER_NAMES)}
TOLD = 1000
GATHERED_BYTES = 4 << 20
"""Frames are put into their table so many bytes at a time."""


class Imported(NamedTuple):
    """What an import made."""

    path: str
    lines: int
    report: Report


def import_lines(
    lines: Iterable[str], path: str | os.PathLike[str], *, progress: Progress = say_nothing
) -> Imported:
    """Make a log of an export.

    Args:
        lines: What ``export_lines`` yielded.
        path: Where the log is to be; nothing may be there.
        progress: Told how many lines were read.

    Raises:
        LogExists: Something is at the path.
        BackupDamaged: The export was cut short, edited or damaged.
        FormatTooNew: A newer walgraph made it.
    """
    place = os.path.abspath(os.fspath(path))  # noqa: PTH100 - links must not be resolved
    refuse_existing(place)
    made: list[Imported] = []

    def fill(fresh: Path) -> None:
        with builder(fresh) as tables:
            work = _Import(tables)
            for count, shape in enumerate(_shapes(lines)):
                work.take(shape)
                if count % TOLD == 0:
                    progress("lines", count, 0)
            work.end()
        made.append(Imported(place, count + 2, verified(fresh, "the export", progress)))

    create_filled(place, fill)
    return made[0]


def _shapes(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the shapes of all lines but the last, which must fit to what came before it."""
    digest = hashlib.sha256()
    for count, line in enumerate(lines):
        try:
            shape = json.loads(line)
        except ValueError:
            raise _damaged(f"line {count + 1} is not JSON") from None
        if type(shape) is not dict:
            raise _damaged(f"line {count + 1} is no object")
        if "end" in shape:
            if shape["end"] != {"lines": count, "sha256": digest.hexdigest()}:
                raise _damaged("its last line does not fit to those before it")
            return
        digest.update(line.encode())
        yield shape
    raise _damaged("it has no end")


class _Import:
    """One import on its way."""

    def __init__(self, tables: Builder) -> None:
        self.tables = tables
        self.position: Position | None = None
        self.chains: dict[int, list[Any]] = {}
        self.frames: list[tuple[bytes, bytes]] = []
        self.gathered = self.count = self.size = 0
        self.is_encrypted = False

    def take(self, shape: dict[str, Any]) -> None:
        """Take over one line."""
        try:
            if self.position is None:
                self._begin(shape)
            elif "thread" in shape:
                self._thread(shape["thread"])
            elif "frame" in shape:
                self._frame(shape["frame"], shape["records"])
            elif "snapshot" in shape:
                number, seq = shape["snapshot"]["thread"], shape["snapshot"]["seq"]
                data = untagged(shape["value"])
                self.is_encrypted |= is_sealed(data)
                self.tables.put(SNAPS, [(pair_key(number, seq), pack_snapshot(data, number, seq))])
            elif "blob" in shape:
                self._blob(shape["blob"], untagged(shape["value"]))
            else:
                key, value = (base64.b64decode(shape[part], validate=True) for part in ("key", "value"))
                self.tables.put(TABLES[shape["entry"]], [(key, value)])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise _damaged(f"a line is not as an export has it ({type(error).__name__}: {error})") from error

    def end(self) -> None:
        """Put what is left, and what is known only now."""
        if self.position is None:
            raise _damaged("it is empty")
        self._flush()
        position = self.position._replace(frames=self.count, size=self.size)
        self.tables.put(THREADS, [(POSITION_KEY, pack_position(position))])
        facts = {b"format": str(FORMAT).encode(), b"store": os.urandom(16)}
        if self.is_encrypted:
            facts[ENCRYPTED] = b"1"
        self.tables.put(META, sorted(facts.items()))

    def _begin(self, shape: dict[str, Any]) -> None:
        if shape.get("kind") != KIND:
            raise _damaged("its first line does not say that it is an export of walgraph's")
        if shape["v"] > VERSION or shape["format"] > FORMAT:
            message = f"The export has version {shape['v']}, format {shape['format']}; this walgraph reads {VERSION}."
            raise FormatTooNew(message, hint="Upgrade walgraph.")
        self.position = Position(shape["lsn"], 0, 0, shape["threads"], shape["time"])
        # Exports of earlier versions do not say it, but their frames and snapshots do.
        self.is_encrypted = shape.get("encrypted", False) is True

    def _thread(self, shape: dict[str, Any]) -> None:
        frame = bytes.fromhex(shape["frame"])
        row = Row(**{**shape, "next": tuple(shape["next"]), "frame": frame})
        key = number_key(row.number)
        self.tables.put(THREADS, [(key, pack_row(row))])
        self.tables.put(NAMES, [(name_key(row.thread), key)])
        if row.due_at is not None:
            self.tables.put(DUE, [(pair_key(row.due_at, row.number), b"")])
        self.chains[row.number] = [row.anchor if row.anchor_lsn else first_seed(row.thread)]

    def _frame(self, fields: dict[str, Any], records: list[dict[str, Any]]) -> None:
        header = Header(**{**fields, "id": bytes.fromhex(fields["id"])})
        body = b"".join([record_bytes(record) for record in records])
        self.is_encrypted |= is_sealed(body)
        chain = self.chains[header.thread]
        data, checksum = seal(header, body, chain[0])
        if checksum != header.checksum:
            raise _damaged(f"the frame at lsn {header.lsn} was changed: its checksum is another one")
        chain[0] = checksum
        self.frames.append((number_key(header.lsn), data))
        self.count += 1
        self.size += len(body)
        self.gathered += len(data)
        if self.gathered >= GATHERED_BYTES:
            self._flush()

    def _blob(self, name: str, data: bytes) -> None:
        digest = bytes.fromhex(name)
        if not is_blob(digest, data, digest_of(data)):
            raise _damaged(f"the large value {name} was changed")
        self.tables.put(
            BLOBS, [(chunk_key(digest, number), part) for number, part in enumerate(chunks(data))]
        )

    def _flush(self) -> None:
        self.tables.put(LOG, self.frames)
        self.frames, self.gathered = [], 0


def _damaged(why: str) -> BackupDamaged:
    return BackupDamaged(f"The export cannot be imported: {why}.", hint=HINT)
