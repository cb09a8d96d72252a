"""A log as lines of JSON: all that it holds, or some of its threads, so that nothing is lost.

    {"v": 1, "kind": "walgraph-export", "format", "lsn", "time", "threads"}     the first line; with "encrypted": true
                                        if whoever writes to the log must encrypt
    {"thread": {…}}                     a row of the directory: all its fields by their names
    {"frame": {…}, "records": […]}      a frame: its header's fields, and its records in order
    {"snapshot": {"thread", "seq"}, "value": …}
    {"blob": digest, "value": …}        a large value
    {"entry": table, "key", "value"}    an entry of what stores, caches and mailboxes keep; both base64
    {"end": {"lines", "sha256"}}        the last line: how many came before, and the hash of them all

A record is {"kind": its name, "fields": {…}} with the fields that ``wal.record`` declares, in their order; those that
were left off at the end have their defaults. One of a kind that is declared elsewhere is {"array": […]}, as it lies in
the log, and one that could not be written back so {"raw": base64};
an encrypted frame has one such, its whole body. Values are as ``wal.tagged`` writes them; bytes in
rows and headers are hexadecimal.

Invariants:
1. What ``wal.importing`` makes of the lines has the same rows, frames, checksums, snapshots, values and entries.
2. One moment is exported (``wal.still_tables``); memory does not grow with the log.
3. Values of classes that nobody knows here are exported like all others.

This module must not know what records mean.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Any

import msgpack

from .codec import references
from .compaction import follow
from .envelope import is_sealed
from .errors import LogCorrupt, ThreadNotFound
from .frame import Header
from .keyspace import read_blob
from .log import Log
from .progress import Progress, say_nothing
from .record import NUMBERS
from .store import Row
from .table_store import TableStore
from .tables import DUE, LATER_NAMES, TABLE_NAMES
from .tagged import tagged, untagged

VERSION = 1
KIND = "walgraph-export"
KINDS = {number: (kind.__name__, kind._fields) for kind, number in NUMBERS.items()}
TOLD = 1000
PAGE = 64


def export_lines(
    log: Log, threads: Collection[str] = (), *, progress: Progress = say_nothing
) -> Iterator[str]:
    """Yield the lines of an export, each with its end.

    Args:
        log: One moment of a log (``wal.still``).
        threads: Only these, and the large values that they name; the whole log, if left out.
        progress: Told how far it is.

    Raises:
        ThreadNotFound: There is no such thread.
        LogCorrupt: A frame that is exported is damaged.
    """
    count = 0
    digest = hashlib.sha256()
    for shape in _shapes(log, threads, progress):
        line = json.dumps(shape, ensure_ascii=True, separators=(",", ":")) + "\n"
        digest.update(line.encode())
        count += 1
        yield line
    yield json.dumps({"end": {"lines": count, "sha256": digest.hexdigest()}}) + "\n"


def _shapes(log: Log, threads: Collection[str], progress: Progress) -> Iterator[dict[str, Any]]:
    store = log.store
    assert isinstance(store, TableStore), "every store of ours is one over tables"
    position = store.position()
    begin = {
        "v": VERSION,
        "kind": KIND,
        "format": 1,
        "lsn": position.lsn,
        "time": position.time,
        "threads": position.threads,
    }
    yield begin | {"encrypted": True} if log.is_encrypted else begin
    chosen = _numbers(store, threads) if threads else None
    for row in store.rows():
        if chosen is None or row.number in chosen:
            yield {"thread": _plain(row)}
    named: set[bytes] = set()
    for done, (header, body) in enumerate(store.tail()):
        if chosen is None or header.thread in chosen:
            if chosen is not None:
                named |= references(body)
            yield {"frame": _plain(header), "records": [record_shape(data) for data in slices(body)]}
        if done % TOLD == 0:
            progress("frames", done, position.frames)
    for row in store.rows():
        if chosen is None or row.number in chosen:
            for seq in store.snapshots(row.thread):
                found = store.snapshot(row.thread, seq)
                assert found is not None, "it was listed"
                if chosen is not None:
                    named |= references(found[1])
                yield {"snapshot": {"thread": row.number, "seq": seq}, "value": tagged(found[1])}
    yield from _blobs(store, None if chosen is None else follow(named, store.blob, set()), progress)
    if chosen is None:
        yield from _entries(store)


def _numbers(store: TableStore, threads: Collection[str]) -> set[int]:
    numbers = set()
    for thread in threads:
        row = store.row(thread)
        if row is None:
            message = f"the log holds no thread {thread!r}"
            raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)
        numbers.add(row.number)
    return numbers


def _plain(fields: Row | Header) -> dict[str, Any]:
    shape: dict[str, Any] = fields._asdict()
    return {name: value.hex() if type(value) is bytes else value for name, value in shape.items()}


def slices(body: bytes) -> Iterator[bytes]:
    """Yield the encoded records that a body is a concatenation of; an encrypted one as it is."""
    if is_sealed(body):
        yield body
        return
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(body), 1))
    unpacker.feed(body)
    start = 0
    while start < len(body):
        try:
            unpacker.skip()
        except (ValueError, msgpack.UnpackException) as error:
            message = f"A frame of {len(body)} bytes holds no encoded records: {error!r}."
            raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.") from error
        end = unpacker.tell()
        yield body[start:end]
        start = end


def record_shape(data: bytes) -> dict[str, Any]:
    """Return a record by the names of its kind and fields, or as it is if it would come back otherwise."""
    if is_sealed(data):
        return {"raw": base64.b64encode(data).decode()}
    array = tagged(data)
    if type(array) is list and array and type(array[0]) is int and array[0] in KINDS:
        name, fields = KINDS[array[0]]
        if len(array) - 1 <= len(fields):
            return {"kind": name, "fields": dict(zip(fields, array[1:], strict=False))}
    if type(array) is list:
        return {"array": array}
    return {"raw": base64.b64encode(data).decode()}


def record_bytes(shape: dict[str, Any]) -> bytes:
    """Return the encoded record that ``record_shape`` made a shape of.

    Raises:
        KeyError: It is no such shape.
        ValueError: It is no such shape.
    """
    if "raw" in shape:
        return base64.b64decode(shape["raw"], validate=True)
    if "array" in shape:
        return untagged(shape["array"])
    return untagged([NAMES[shape["kind"]], *shape["fields"].values()])


NAMES = {name: number for number, (name, _) in KINDS.items()}


def _blobs(store: TableStore, chosen: set[bytes] | None, progress: Progress) -> Iterator[dict[str, Any]]:
    there = store.digests()
    for done, digest in enumerate(there):
        if chosen is None or digest in chosen:
            with store.all_tables.read() as txn:
                data = read_blob(txn, digest) or b""
            yield {"blob": digest.hex(), "value": tagged(data)}
        progress("large values", done, len(there))


def _entries(store: TableStore) -> Iterator[dict[str, Any]]:
    tables = store.all_tables
    for table, name in enumerate(TABLE_NAMES + LATER_NAMES):
        # The index of what is due follows from the rows.
        if table < len(TABLE_NAMES) or table == DUE or not tables.prepare(table, create=False):
            continue
        start = b"\x00"
        with tables.read() as txn:
            while found := txn.scan(table, start, PAGE):
                for key, value in found:
                    shape = {"key": base64.b64encode(key).decode(), "value": base64.b64encode(value).decode()}
                    yield {"entry": name.decode(), **shape}
                start = found[-1][0] + b"\x00"
