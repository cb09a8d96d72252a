"""``wal stats``: what takes how much room in a log, and how fast it grows.

    tables    entries, and pages as bytes          kinds     records by kind
    threads   the largest                          channels  what tasks wrote, by channel
    values    the largest, in line and out of it   growth    bytes and records by hour, or by day

One moment of the log is walked once, in its own order.

Invariants:
1. Nothing is changed, and no value is decoded: sizes are read off the bytes.
2. Memory grows with the number of large values and of hours, not with that of records.

It must not judge: that is ``wal doctor``'s business.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
import msgpack

from ..wal.codec import references
from ..wal.envelope import is_sealed
from ..wal.errors import LogCorrupt
from ..wal.frame import HEADER_BYTES, Header
from ..wal.log import Log
from ..wal.progress import Progress
from ..wal.record import NUMBERS, StateFolded, TaskFinished
from ..wal.saved_record import SAVED_KINDS
from ..wal.still import still
from .options import as_json, opened, placed, words
from .progress import progress
from .render import Column, Page

LARGEST = 10
NAMES = {
    **{number: kind.__name__ for kind, number in NUMBERS.items()},
    **{number: kind.__name__ for number, kind in SAVED_KINDS.items()},
    **{number: kind.__name__ for number, kind in SAVED_KINDS.items()},
}
FINISHED, FOLDED = NUMBERS[TaskFinished], NUMBERS[StateFolded]
HOUR = 3600 * 10**9
FEW_HOURS = 48
"""So many hours are shown one by one; more are added up to days."""
TOLD = 1000


@dataclass(frozen=True, slots=True)
class Sum:
    """How many, and how many bytes."""

    count: int = 0
    bytes: int = 0

    def plus(self, size: int) -> Sum:
        """Return the sum with one more of that size."""
        return Sum(self.count + 1, self.bytes + size)


class Large(NamedTuple):
    """A large value: where it is, and what it belongs to."""

    bytes: int
    thread: str
    seq: int
    what: str


class Count:
    """What is added up on the way along a log."""

    def __init__(self, log: Log, largest: int) -> None:
        self.log = log
        self.largest = largest
        self.kinds: defaultdict[int, Sum] = defaultdict(Sum)
        self.channels: defaultdict[str, Sum] = defaultdict(Sum)
        self.hours: defaultdict[int, Sum] = defaultdict(Sum)
        self.named: dict[bytes, tuple[int, int]] = {}
        self.found: list[tuple[int, int, int, str]] = []
        self.headers = Sum()
        # Only encrypted frames must be told whose they are.
        self.threads = {row.number: row.thread for row in log.store.rows()} if log.is_encrypted else {}

    def frame(self, header: Header, body: bytes) -> None:
        """Add up a frame."""
        self.headers = self.headers.plus(HEADER_BYTES)
        hour = header.time // HOUR
        held = self.hours[hour]
        self.hours[hour] = Sum(held.count + header.records, held.bytes + len(body) + HEADER_BYTES)
        for digest in references(body):
            self.named.setdefault(digest, (header.thread, header.last))
        thread = self.threads.get(header.thread, "")
        plain = self.log.opened(body, "frame", thread, header.after, header.last)
        if is_sealed(plain):
            # Without its key nobody knows what is in it.
            return
        try:
            self._records(header, plain)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            message = f"The frame at lsn {header.lsn} holds no encoded records: {error!r}."
            raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.") from error

    def _records(self, header: Header, body: bytes) -> None:
        """Add up the records of a frame by their kinds."""
        unpacker = msgpack.Unpacker(max_buffer_size=max(len(body), 1), strict_map_key=False)
        unpacker.feed(body)
        end, seq = 0, header.after
        while end < len(body):
            begin, seq = end, seq + 1
            fields = unpacker.read_array_header()
            kind = unpacker.unpack()
            skipped = 1
            if kind == FINISHED:
                self._writes(unpacker, header, seq)
                skipped = 4
            elif kind == FOLDED:
                seq = unpacker.unpack()
                skipped = 2
            for _ in range(fields - skipped):
                unpacker.skip()
            end = unpacker.tell()
            self.kinds[kind] = self.kinds[kind].plus(end - begin)

    def _writes(self, unpacker: Any, header: Header, seq: int) -> None:
        """Add up what a task wrote, channel by channel: scope, path, then pairs of channel and value."""
        unpacker.skip()
        unpacker.skip()
        for _ in range(unpacker.read_array_header()):
            unpacker.read_array_header()
            channel = unpacker.unpack()
            begin = unpacker.tell()
            unpacker.skip()
            size = unpacker.tell() - begin
            self.channels[channel] = self.channels[channel].plus(size)
            self.large(size, header.thread, seq, f"written to {channel}")

    def large(self, size: int, thread: int, seq: int, what: str) -> None:
        """Note a value if it is among the largest."""
        held = (size, thread, seq, what)
        if len(self.found) < self.largest:
            heapq.heappush(self.found, held)
        elif self.found and held > self.found[0]:
            heapq.heapreplace(self.found, held)


@click.command("stats")
@words("[LOG]")
@click.option("--limit", type=click.IntRange(min=1), default=LARGEST, help="How many of the largest; 10.")
@as_json
def command(words: tuple[str, ...], limit: int, *, as_json: bool) -> None:
    """Count what takes how much room: by table, thread, kind and channel; the largest values; growth."""
    path, _ = placed(words)
    page = Page(as_json=as_json)
    with opened(path) as log, still(log) as moment, progress(page) as tell:
        shape = gather(moment, limit, tell)
    if as_json:
        page.emit("stats", **shape)
    else:
        _show(page, shape)


def gather(log: Log, limit: int, tell: Progress) -> dict[str, Any]:
    """Return all that is counted, as JSON has it."""
    store = log.store
    facts: dict[str, Any] = dict(store.facts())
    position = store.position()
    count = Count(log, limit)
    for number, (header, body) in enumerate(store.tail()):
        count.frame(header, body)
        if number % TOLD == 0:
            tell("frames", number, position.frames)
    blobs = Sum()
    for digest in store.digests():
        size = len(store.blob(digest) or b"")
        blobs = blobs.plus(size)
        count.large(size, *count.named.get(digest, (0, 0)), f"large value {digest.hex()}")
    names: dict[int, str] = {}
    wanted = {thread for _, thread, _, _ in count.found}
    largest: list[tuple[int, str, int]] = []
    snapshots = Sum()
    for number, row in enumerate(store.rows()):
        if row.number in wanted:
            names[row.number] = row.thread
        held = (row.size, row.thread, row.records)
        (heapq.heappush if len(largest) < limit else heapq.heappushpop)(largest, held)
        for seq in store.snapshots(row.thread):
            found = store.snapshot(row.thread, seq)
            snapshots = snapshots if found is None else snapshots.plus(len(found[1]))
        if number % TOLD == 0:
            tell("threads", number, position.threads)
    values = [Large(size, names.get(thread, ""), seq, what) for size, thread, seq, what in count.found]
    return {
        "file": {"size": facts["size"], "live": facts.get("live"), "free": facts.get("free")},
        "tables": _tables(facts),
        "totals": {
            "threads": sum(1 for _ in store.rows()),
            "frames": count.headers.count,
            "records": sum(each.count for each in count.kinds.values()),
            "record_bytes": sum(each.bytes for each in count.kinds.values()),
            "header_bytes": count.headers.bytes,
            "snapshots": asdict(snapshots),
            "large_values": asdict(blobs),
        },
        "kinds": _ranked({NAMES.get(kind, str(kind)): held for kind, held in count.kinds.items()}, "kind"),
        "channels": _ranked(count.channels, "channel"),
        "threads": [
            {"thread": thread, "records": records, "bytes": size}
            for size, thread, records in sorted(largest, reverse=True)
        ],
        "values": [each._asdict() for each in sorted(values, reverse=True)],
        "growth": _growth(count.hours),
    }


def _tables(facts: dict[str, Any]) -> list[dict[str, Any]]:
    pages = facts.get("table_bytes", {})
    return [
        {"table": name, "entries": entries, "bytes": pages.get(name, 0)}
        for name, entries in facts.get("tables", {}).items()
    ]


def _ranked(sums: dict[str, Sum], name: str) -> list[dict[str, Any]]:
    ranked = sorted(sums.items(), key=lambda item: item[1].bytes, reverse=True)
    return [{name: key, **asdict(held)} for key, held in ranked]


def _growth(hours: dict[int, Sum]) -> list[dict[str, Any]]:
    """Return bytes and records by hour, or by day if there are many hours."""
    daily = bool(hours) and max(hours) - min(hours) >= FEW_HOURS
    added: Counter[int] = Counter()
    records: Counter[int] = Counter()
    for hour, held in hours.items():
        begin = hour // 24 * 24 if daily else hour
        added[begin] += held.bytes
        records[begin] += held.count
    return [
        {
            "from": datetime.fromtimestamp(begin * 3600, UTC).isoformat(),
            "hours": 24 if daily else 1,
            "records": records[begin],
            "bytes": added[begin],
        }
        for begin in sorted(added)
    ]


def _show(page: Page, shape: dict[str, Any]) -> None:
    totals, file = shape["totals"], shape["file"]
    page.line(
        f"{totals['threads']} threads, {totals['records']} records in {totals['frames']} frames; "
        f"the file is {page.size(file['size'])}"
    )
    for title, rows in (
        ("table", shape["tables"]),
        ("kind", shape["kinds"]),
        ("channel", shape["channels"]),
        ("thread", shape["threads"]),
    ):
        if rows:
            amount = next(name for name in rows[0] if name not in {title, "bytes"})
            page.line()
            columns = (Column(title), Column(amount, right=True), Column("bytes", right=True))
            page.table(columns, [(row[title], str(row[amount]), page.size(row["bytes"])) for row in rows])
    _show_values(page, shape["values"])
    _show_growth(page, shape["growth"])


def _show_values(page: Page, values: list[dict[str, Any]]) -> None:
    if values:
        page.line()
        names = ("large value", "thread", "seq", "bytes")
        cells = [
            (each["what"], each["thread"] or "-", str(each["seq"] or "-"), page.size(each["bytes"]))
            for each in values
        ]
        page.table([Column(name, right=name in {"seq", "bytes"}) for name in names], cells)


def _show_growth(page: Page, growth: list[dict[str, Any]]) -> None:
    if growth:
        page.line()
        names = ("from", "hours", "records", "bytes")
        cells = [
            (each["from"], str(each["hours"]), str(each["records"]), page.size(each["bytes"]))
            for each in growth
        ]
        page.table([Column(name, right=name != "from") for name in names], cells)
