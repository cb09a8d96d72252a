"""``wal inspect``: from the log as a whole to one thread to one record.

    wal inspect LOG                 what is in it, and which threads want something
    wal inspect LOG THREAD          its records in order
    wal inspect LOG THREAD SEQ      one record: where it lies, what it says, its bytes

It must not change anything, and must not fold more than the head of one thread.
"""

from __future__ import annotations

from typing import Any

import click

from ..replay.plan import unfinished
from ..wal.codec import references
from ..wal.errors import ThreadNotFound, WalgraphError
from ..wal.frame import FORMAT, HEADER_BYTES
from ..wal.head import ThreadHead, moment
from ..wal.log import Log
from ..wal.record import NUMBERS
from ..wal.saved_record import SAVED_KINDS
from ..wal.still import still
from .errors import RecordNotFound
from .folding import Lens
from .heads import NOTHING, head_to_plain, next_of
from .options import as_json, opened, placed, words
from .render import Column, Page
from .timeline import Entry, entries, scope_of
from .words import line_of, plain, preview, scope_text

OVERVIEW = (
    Column("thread"),
    Column("status"),
    Column("step", right=True),
    Column("next"),
    Column("records", right=True),
    Column("bytes", right=True),
    Column("snapshot", right=True),
    Column("tail", right=True),
    Column("last write"),
)
TIMELINE = (
    Column("seq", right=True),
    Column("+time", right=True),
    Column("kind"),
    Column("step", right=True),
    Column("node/task"),
    Column("what"),
    Column("bytes", right=True),
    Column("checksum"),
)
FACTS = (Column("field"), Column("value"))
VALUE = 2000
"""How long a value may be where it has a line of its own."""
UNFINISHED = {"crashed", "interrupted", "failed", "parked", "drained"}


@click.command("inspect")
@words("[LOG] [THREAD [SEQ]]")
@click.option("--hex", "as_hex", is_flag=True, help="With SEQ: the record's bytes.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="With THREAD: only about so many of its newest records."
)
@as_json
def command(words: tuple[str, ...], limit: int | None, *, as_hex: bool, as_json: bool) -> None:
    """Look at a log, at one thread, or at one record.

    With WALGRAPH_LOG set, LOG may be left out.
    """
    path, (thread, number) = placed(words, ("THREAD", "SEQ"))
    page = Page(as_json=as_json)
    if number is not None and not number.isdecimal():
        raise click.UsageError(f"SEQ must be a number, not {number!r}.")
    with opened(path) as held, still(held) as log:
        if thread is None:
            _overview(page, log)
        elif number is None:
            _thread(page, log, thread, limit)
        else:
            _record(page, log, thread, int(number), as_hex=as_hex)


def _overview(page: Page, log: Log) -> None:
    facts: dict[str, Any] = dict(log.store.facts())
    heads = list(log.threads())
    totals = {
        "threads": len(heads),
        "records": sum(head.records for head in heads),
        "frames": sum(head.frames for head in heads),
        "bytes": sum(head.bytes for head in heads),
    }
    if page.as_json:
        page.emit(
            "overview", log=plain(facts), threads=[head_to_plain(head) for head in heads], totals=totals
        )
        return
    page.line(f"log {log.path} · format {facts['format']} · {page.size(facts['size'])} on disk")
    page.table(OVERVIEW, [_overview_row(page, head) for head in heads])
    records, frames = totals["records"], totals["frames"]
    threads = "1 thread" if len(heads) == 1 else f"{len(heads)} threads"
    page.line(f"{threads} · {records} records in {frames} frames · {page.size(totals['bytes'])}")
    if facts["free"] > facts["size"] // 2:
        page.talk(
            f"{page.size(facts['free'])} inside the file are free: wal compact --shrink gives them back."
        )
    for status in sorted({head.status for head in heads} & {"crashed"}):
        count = sum(head.status == status for head in heads)
        page.talk(f"{count} crashed: invoke(None, config) carries each on.")


def _overview_row(page: Page, head: ThreadHead) -> tuple[str, ...]:
    return (
        head.thread_id,
        head.status,
        str(head.step),
        next_of(head),
        str(head.records),
        page.size(head.bytes),
        str(head.snapshot_seq or NOTHING),
        str(head.seq - head.snapshot_seq),
        page.moment(head.updated_at),
    )


def _thread(page: Page, log: Log, thread: str, limit: int | None) -> None:
    head = _head(log, thread)
    after = 0 if limit is None else max(0, head.seq - limit)
    started = head.created_at
    shown: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    damage: WalgraphError | None = None
    try:
        for entry in entries(log, thread, log.decoder(lenient=True), after):
            if page.as_json:
                shown.append(_entry_to_plain(entry))
            else:
                rows.append(_timeline_row(page, entry, (moment(entry.header.time) - started).total_seconds()))
    except WalgraphError as error:
        # What lies before the damage is shown all the same; then the error is told.
        damage = error
    if page.as_json:
        snapshots = log.store.snapshots(thread)
        page.emit(
            "thread", thread=head_to_plain(head), snapshots=snapshots, records=shown, whole=damage is None
        )
    else:
        graph = f" · graph {head.graph}" if head.graph else ""
        page.line(f"thread {thread}{graph} · {head.status} · epoch {head.epoch} · head seq {head.seq}")
        if head.horizon and after < head.horizon:
            page.line(f"compacted: begins with the state at seq {head.horizon}")
        page.table(TIMELINE, rows)
    if damage is not None:
        raise damage
    if head.status in UNFINISHED and not page.as_json:
        page.talk(_what_next(log, head))


def _what_next(log: Log, head: ThreadHead) -> str:
    """Say what a resume would do."""
    lens = Lens(log)
    try:
        root = lens.state_at(head.thread_id).root()
    except WalgraphError as error:
        return f"Its state cannot be folded here: {error.message}"
    if root is None:
        return "Nothing of its graph is recorded yet."
    open_ones = list(unfinished(root))
    done = [
        root.node_of(path)
        for path, outcome in root.outcomes.items()
        if outcome.status == "finished" and len(path) == 1
    ]
    recorded = f"; {', '.join(done)} recorded, not run again" if done else ""
    return f"{head.status} in step {root.step + 1}: {', '.join(open_ones) or 'nothing'} unfinished{recorded}."


def _timeline_row(page: Page, entry: Entry, seconds: float) -> tuple[str, ...]:
    record = entry.record
    task, what = line_of(record)
    scope = scope_of(record)
    where = f"{scope_text(scope)} {task}".strip() if scope else task
    step = "" if entry.step is None else str(entry.step)
    kind = type(record).__name__
    return (str(entry.seq), page.span(seconds), kind, step, where, what, page.size(len(entry.data)), "ok")


def _entry_to_plain(entry: Entry) -> dict[str, Any]:
    task, what = line_of(entry.record)
    return {
        "seq": entry.seq,
        "at": moment(entry.header.time).isoformat(),
        "kind": type(entry.record).__name__,
        "scope": scope_of(entry.record),
        "step": entry.step,
        "task": task,
        "what": what,
        "bytes": len(entry.data),
        "lsn": entry.header.lsn,
        "checksum": "ok",
    }


def _record(page: Page, log: Log, thread: str, seq: int, *, as_hex: bool) -> None:
    head = _head(log, thread)
    found = next(iter(entries(log, thread, log.decoder(lenient=True), seq - 1, seq)), None) if seq else None
    if found is None:
        raise _no_record(head, seq)
    record, header = found.record, found.header
    blobs = sorted(digest.hex() for digest in references(found.data))
    frame = {
        "lsn": header.lsn,
        "id": header.id.hex(),
        "at": moment(header.time).isoformat(),
        "epoch": header.epoch,
        "format": FORMAT,
        "after": header.after,
        "last": header.last,
        "previous": header.previous,
        "records": header.records,
        "bytes": HEADER_BYTES + header.length,
        "checksum": f"{header.checksum:016x}",
    }
    fields = dict(zip(record._fields, record, strict=True))
    if page.as_json:
        page.emit(
            "record",
            thread=thread,
            seq=seq,
            frame=frame,
            record={
                "kind": type(record).__name__,
                "number": number_of(type(record)),
                "fields": {name: plain(value) for name, value in fields.items()},
                "bytes": len(found.data),
                "blobs": blobs,
                **({"hex": found.data.hex()} if as_hex else {}),
            },
        )
        return
    number = number_of(type(record))
    page.line(
        f"seq {seq} of thread {thread} · {type(record).__name__} (kind {number}) · {len(found.data)} bytes"
    )
    rows = [
        (f"frame {name}", f"{value}{' ok' if name == 'checksum' else ''}") for name, value in frame.items()
    ]
    rows += [(name, preview(value, VALUE)) for name, value in fields.items()]
    rows += [("large value", digest) for digest in blobs]
    page.table(FACTS, rows)
    if as_hex:
        for start in range(0, len(found.data), 16):
            piece = found.data[start : start + 16]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
            page.line(f"{start:08x}  {piece.hex(' '):<47}  {text}")


def number_of(kind: type) -> int:
    """Return the number of a kind of record, of walgraph's or of LangGraph's threads."""
    numbers: dict[type, int] = {**NUMBERS, **{each: number for number, each in SAVED_KINDS.items()}}
    return numbers[kind]


def _head(log: Log, thread: str) -> ThreadHead:
    head = log.head(thread)
    if head is None:
        message = f"the log holds no thread {thread!r}"
        raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)
    return head


def _no_record(head: ThreadHead, seq: int) -> RecordNotFound:
    gone = " It was compacted, or is part of a folded state." if 0 < seq <= head.seq else ""
    message = f"thread {head.thread_id!r} has no record {seq}; its head is at seq {head.seq}.{gone}"
    return RecordNotFound(
        message, hint="wal inspect LOG THREAD lists those it has.", thread=head.thread_id, seq=seq
    )
