"""Who still needs which key, and writing anew what lies under an old one.

    count    frames, snapshots, large values ─► the key's id in each envelope        takes no key
             items, signals, runs, schedules
    rewrite  snapshots: through a commit, which brings their large values along
             rows beside the records: 64 in one transaction, each opened and sealed again for its place
             cached results: removed, since they lie under names that depend on the key

FRAMES are never rewritten: each bears the checksum of its predecessor, and backups know them by theirs. They go when a
compaction cuts them off, and what stands for them then is a snapshot under the thread's present key.

Invariants:
1. What is written anew says the same as before, at the same place and with the same times.
2. A row is read again inside the transaction that changes it, so nothing that somebody wrote meanwhile is lost.
3. Killed at any instant, what is left is under the one key or the other; to begin again carries on.

This module must not know which threads may be cut, nor what records mean.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from .encoder import Packed
from .envelope import is_sealed, parse
from .errors import LogCorrupt
from .fault import reach
from .item_layout import ITEM, last_number, pack_item, space_key, times_of, unpack_item, unpack_space
from .items import Delete
from .mail_layout import MESSAGE, box_of, pack_message, unpack_message
from .schedule_layout import ROW as SCHEDULE
from .schedule_layout import pack_schedule, unpack_schedule
from .submission_layout import ROW as RUN
from .submission_layout import pack_fields
from .submission_rows import unpacked
from .table_store import TableStore
from .tables import CACHED, ITEMS, MAIL, SCHEDULED, SUBMITTED
from .vault import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .log import Log
    from .store import Store
    from .tables import ReadTransaction
    from .vault import Vault

BATCH = 64
"""How many rows one transaction rewrites at most."""
CLEAR = ""
"""Stands for the key of what is not encrypted."""
THREADED = ("frames", "snapshots")
KINDS = (*THREADED, "large_values", "items", "cached", "signals", "runs", "schedules")


class Uses(NamedTuple):
    """Key id → what lies under it, by its kind; and key id → thread → the same of threads."""

    counts: dict[str, Counter[str]]
    threads: dict[str, dict[str, Counter[str]]]


class Piece(NamedTuple):
    """One encrypted field of a row: its name, its bytes, and what it is (``wal.envelope``)."""

    field: str
    data: bytes
    what: tuple[Any, ...]


class Shelf(NamedTuple):
    """How the rows of a table are taken apart and put together.

    ``pieces`` returns the encrypted fields, and ``(kind, name)`` that says whose key they are written with;
    ``packed`` returns the row with other bytes in these fields.
    """

    table: int
    kind: str
    prefix: bytes
    pieces: Callable[[ReadTransaction, bytes, bytes], tuple[list[Piece], tuple[str, Any]]]
    packed: Callable[[bytes, bytes, dict[str, Any]], bytes]


def uses(log: Log) -> Uses:
    """Return who needs which key; takes no key.

    Raises:
        LogCorrupt: Something that is looked at is damaged.
    """
    found = Uses(defaultdict(Counter), defaultdict(lambda: defaultdict(Counter)))
    store = _tables(log.store)
    names = {}
    for row in store.rows():
        names[row.number] = row.thread
        for seq in store.snapshots(row.thread):
            snapshot = store.snapshot(row.thread, seq)
            if snapshot is not None:
                _count(found, snapshot[1], "snapshots", row.thread)
    for header, body in store.tail():
        if header.thread in names:
            _count(found, body, "frames", names[header.thread])
    for name in store.digests():
        _count(found, store.blob(name) or b"", "large_values")
    for shelf in SHELVES:
        if store.all_tables.prepare(shelf.table, create=False):
            for pieces, _ in _rows(store, shelf):
                for key in {key_of(piece.data) for piece in pieces if piece.data}:
                    found.counts[key][shelf.kind] += 1
    return found


def of_thread(store: Store, thread: str) -> dict[str, Counter[str]]:
    """Return which keys one thread needs, and for how many frames and snapshots."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for _, body in store.frames(thread):
        found[key_of(body)]["frames"] += 1
    for seq in store.snapshots(thread):
        snapshot = store.snapshot(thread, seq)
        if snapshot is not None:
            found[key_of(snapshot[1])]["snapshots"] += 1
    return found


def key_of(data: bytes) -> str:
    """Return the id of the key that data is encrypted with; ``CLEAR`` if it is not."""
    return parse(data).key if is_sealed(data) else CLEAR


def rewrite_snapshots(log: Log, thread: str, key: str) -> int:
    """Write a thread's snapshots under a key anew, with the thread's present key; return how many."""
    done = 0
    for seq in log.store.snapshots(thread):
        found = log.store.snapshot(thread, seq)
        if found is None or found[0] != seq or key_of(found[1]) != key:
            continue
        state = log.opened(found[1], "snapshot", thread, seq)
        if is_sealed(state):
            raise missing(key, ("snapshot", thread, seq))
        # The large values that it names are written again by the commit, from where they lie.
        log.put_snapshot(thread, seq, Packed(state, ()))
        done += 1
    if done:
        log.flush()
        reach("rekey: snapshots rewritten")
    return done


def rewrite_rows(log: Log, key: str) -> Counter[str]:
    """Write what lies beside the records under a key anew, and forget cached results; return how many of each kind.

    Raises:
        KeyMissing: The ring has not the old key, or not the one to write with.
        LogCorrupt: A row is damaged; what was rewritten until then stays so.
    """
    store, vault = _tables(log.store), log.core.vault
    assert vault is not None, "without a ring there is no key to write with"
    done: Counter[str] = Counter()
    for shelf in SHELVES:
        if not store.all_tables.prepare(shelf.table, create=False):
            continue
        if shelf.table == CACHED:
            done[shelf.kind] = _forget_cached(store, key)
        else:
            done[shelf.kind] = _rewrite(store, vault, shelf, key)
    return done


def _rewrite(store: TableStore, vault: Vault, shelf: Shelf, key: str) -> int:
    start, done = shelf.prefix, 0
    while True:
        with store.all_tables.read() as txn:
            page = [each for each in txn.scan(shelf.table, start, BATCH) if each[0].startswith(shelf.prefix)]
            old = [place for place, data in page if _is_under(key, shelf.pieces(txn, place, data)[0])]
        if old:
            with store.all_tables.write() as txn:
                for place in old:
                    data = txn.get(shelf.table, place)
                    fresh = None if data is None else _again(txn, vault, shelf, place, data, key)
                    if fresh is not None:
                        txn.put(shelf.table, place, fresh)
                        done += 1
            reach("rekey: rows rewritten")
        if len(page) < BATCH:
            return done
        start = page[-1][0] + b"\x00"


def _again(
    txn: ReadTransaction, vault: Vault, shelf: Shelf, place: bytes, data: bytes, key: str
) -> bytes | None:
    """Return a row with what is under a key encrypted anew; None if nothing is, or it is to stay under that."""
    pieces, (kind, whose) = shelf.pieces(txn, place, data)
    ring = vault.ring
    if kind == "namespace":
        target = ring.of_namespace(whose)
    else:
        target = ring.of_thread(whose) if kind == "thread" else ring.newest
    changed = {}
    for piece in pieces:
        if piece.data and key_of(piece.data) == key != target:
            plain = vault.open(piece.data, piece.what)
            if is_sealed(plain):
                raise missing(key, piece.what)
            changed[piece.field] = vault.seal(target, plain, piece.what)
    return shelf.packed(place, data, changed) if changed else None


def _forget_cached(store: TableStore, key: str) -> int:
    with store.cached.view() as view:
        gone = [
            Delete(item.namespace, item.key) for item in view.scan(expired=True) if key_of(item.value) == key
        ]
    for start in range(0, len(gone), BATCH):
        store.cached.change(gone[start : start + BATCH])
    return len(gone)


def _is_under(key: str, pieces: list[Piece]) -> bool:
    return any(piece.data and key_of(piece.data) == key for piece in pieces)


def _rows(store: TableStore, shelf: Shelf) -> Iterator[tuple[list[Piece], tuple[str, Any]]]:
    start = shelf.prefix
    while True:
        with store.all_tables.read() as txn:
            page = [each for each in txn.scan(shelf.table, start, BATCH) if each[0].startswith(shelf.prefix)]
            found = [shelf.pieces(txn, place, data) for place, data in page]
        yield from found
        if len(page) < BATCH:
            return
        start = page[-1][0] + b"\x00"


def _count(found: Uses, data: bytes, kind: str, thread: str | None = None) -> None:
    key = key_of(data)
    found.counts[key][kind] += 1
    if thread is not None:
        found.threads[key][thread][kind] += 1


def _tables(store: Store) -> TableStore:
    assert isinstance(store, TableStore), "every store of ours is one over tables"
    return store


# The tables


def _item_pieces(table: int, shelf: str) -> Callable[[ReadTransaction, bytes, bytes], Any]:
    def pieces(txn: ReadTransaction, place: bytes, data: bytes) -> tuple[list[Piece], tuple[str, Any]]:
        number = int.from_bytes(place[1:9])
        row = txn.get(table, space_key(number))
        if row is None:
            raise LogCorrupt(f"Item number {last_number(place)} lies in a namespace that is not there.")
        item = unpack_item(place, data, unpack_space(row, number).namespace)
        what = ("item", shelf, item.namespace, item.key)
        found = [Piece(name, getattr(item, name), (*what, name)) for name in ("value", "vectors")]
        return found, ("namespace", item.namespace)

    return pieces


def _item_packed(place: bytes, data: bytes, changed: dict[str, Any]) -> bytes:
    item = unpack_item(place, data, ())._replace(**changed)
    return pack_item(place, times_of(data), item.key, item.value, item.vectors)


def _signal_pieces(_: ReadTransaction, place: bytes, data: bytes) -> tuple[list[Piece], tuple[str, Any]]:
    found = unpack_message(place, data)
    what = ("signal", found.thread, found.name, found.id)
    return [Piece("payload", found.payload, what)], ("thread", found.thread)


def _signal_packed(place: bytes, data: bytes, changed: dict[str, Any]) -> bytes:
    message = unpack_message(place, data)._replace(**changed)
    return pack_message(message, box_of(message.thread))[1]


def _run_pieces(_: ReadTransaction, place: bytes, data: bytes) -> tuple[list[Piece], tuple[str, Any]]:
    found = unpacked(place, data)
    what = ("run", found.thread, found.run)
    pieces = [Piece(name, getattr(found, name), (*what, name)) for name in ("given", "digest")]
    if found.result or found.reason:
        # Encrypted, the result holds the reason too.
        result = found.result if is_sealed(found.result) else msgpack.packb((found.result, found.reason))
        pieces.append(Piece("result", result, (*what, "outcome")))
    return pieces, ("thread", found.thread)


def _run_packed(place: bytes, data: bytes, changed: dict[str, Any]) -> bytes:
    found = unpacked(place, data)._replace(**changed)
    return pack_fields(place, found._replace(reason="") if "result" in changed else found)


def _schedule_pieces(_: ReadTransaction, place: bytes, data: bytes) -> tuple[list[Piece], tuple[str, Any]]:
    found = unpack_schedule(place, data)
    pieces = [
        Piece(name, getattr(found, name), ("schedule", found.name, name)) for name in ("given", "digest")
    ]
    return pieces, ("thread", found.thread) if found.thread else ("newest", None)


def _schedule_packed(place: bytes, data: bytes, changed: dict[str, Any]) -> bytes:
    return pack_schedule(place, unpack_schedule(place, data)._replace(**changed))


SHELVES = (
    Shelf(ITEMS, "items", ITEM, _item_pieces(ITEMS, "store"), _item_packed),
    Shelf(CACHED, "cached", ITEM, _item_pieces(CACHED, "cache"), _item_packed),
    Shelf(MAIL, "signals", MESSAGE, _signal_pieces, _signal_packed),
    Shelf(SUBMITTED, "runs", RUN, _run_pieces, _run_packed),
    Shelf(SCHEDULED, "schedules", SCHEDULE, _schedule_pieces, _schedule_packed),
)
