"""``wal tail``: the newest records of a log, and those that come.

    wal tail LOG               the newest records of all threads, in the order of the log
    wal tail LOG THREAD -f     go on: show each record of a thread as it is committed

With ``--json`` each record is an object on a line of its own.

Invariants:
1. A live writer is never waited for nor held up: the log is asked for what is new in short transactions.
2. Records come in the order of the log, each once.

It must not fold, and does not check chains: that is ``wal verify``'s business.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import click

from ..wal.codec import Decoder
from ..wal.errors import ThreadNotFound, WalgraphError
from ..wal.frame import Header
from ..wal.head import moment
from ..wal.keyspace import number_key, unpack_row
from ..wal.log import Log
from ..wal.record import Record, StateFolded
from ..wal.still import still
from ..wal.table_store import TableStore
from ..wal.tables import THREADS
from .options import as_json, opened, placed, words
from .render import Page
from .timeline import scope_of
from .words import line_of, plain, scope_text, visible

NEWEST = 10
PAUSE_SECONDS = 0.2
"""How long to wait before the log is asked again."""
KNOWN = 10_000
AT_ONCE = 64
"""How many frames one look reads, before any of them is shown."""


class Come(NamedTuple):
    """One record, and where it lies."""

    thread: str
    seq: int
    header: Header
    record: Record


@click.command("tail")
@words("[LOG] [THREAD]")
@click.option("-n", "newest", type=click.IntRange(min=0), default=NEWEST, help="How many of the newest; 10.")
@click.option("-f", "--follow", is_flag=True, help="Go on: show what comes, until interrupted.")
@as_json
def command(words: tuple[str, ...], newest: int, *, follow: bool, as_json: bool) -> None:
    """Show the newest records, and with -f those that come. With --json: one object for each record."""
    path, (thread,) = placed(words, ("THREAD",))
    page = Page(as_json=as_json)
    with opened(path) as log:
        if thread is not None and log.head(thread) is None and not follow:
            message = f"the log holds no thread {thread!r}"
            raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)
        reader = Tail(log, thread)
        for come in reader.newest(newest):
            _show(page, come)
        while follow:
            came = False
            for come in reader.more():
                _show(page, come)
                came = True
            if not came:
                time.sleep(PAUSE_SECONDS)


class Tail:
    """Reads a log in its own order.

    Args:
        log: The log.
        thread: Only this thread's records.
    """

    def __init__(self, log: Log, thread: str | None = None) -> None:
        store = log.store
        assert isinstance(store, TableStore), "every store of ours is one over tables"
        self._store = store
        self._log = log
        self._thread = thread
        self._names: dict[int, str] = {}
        self._seen = store.position().lsn

    def newest(self, count: int) -> Iterator[Come]:
        """Yield the newest records, oldest first."""
        upto, span = self._seen, max(count, 1)
        while True:
            after = max(0, upto - span)
            held = deque(self._records(after, upto), maxlen=count)
            # Frames that were cut off leave holes in the order of the log, and others' records stand between.
            if len(held) == count or after == 0:
                yield from held
                return
            span *= 4

    def more(self) -> Iterator[Come]:
        """Yield what was committed since the last look."""
        upto = self._store.position().lsn
        if upto > self._seen:
            after, self._seen = self._seen, upto
            yield from self._records(after, upto)

    def _records(self, after: int, upto: int) -> Iterator[Come]:
        while after < upto:
            # Frames and the large values that they name are read in one moment: both may be compacted away later.
            with still(self._log) as moment:
                frames = list(islice(moment.store.tail(after), AT_ONCE))
                decoder = moment.decoder(lenient=True)
                found = [
                    come for frame in frames if frame[0].lsn <= upto for come in self._come(*frame, decoder)
                ]
            yield from found
            after = frames[-1][0].lsn if len(frames) == AT_ONCE else upto

    def _come(self, header: Header, body: bytes, decoder: Decoder) -> Iterator[Come]:
        name = self._name(header.thread)
        if self._thread is not None and name != self._thread:
            return
        seq = header.after
        for record in decoder.records(self._log.opened(body, "frame", name, header.after, header.last)):
            seq = record.seq if isinstance(record, StateFolded) else seq + 1
            yield Come(name, seq, header, record)

    def _name(self, number: int) -> str:
        found = self._names.get(number)
        if found is None:
            with self._store.all_tables.read() as txn:
                data = txn.get(THREADS, number_key(number))
            try:
                # A thread that is deleted while its last records are shown has no name any more.
                found = f"#{number}" if data is None else unpack_row(data, number).thread
            except WalgraphError:
                found = f"#{number}"
            if len(self._names) > KNOWN:
                self._names.clear()
            self._names[number] = found
        return found


def _show(page: Page, come: Come) -> None:
    kind = type(come.record).__name__
    at = moment(come.header.time)
    if page.as_json:
        shape = _fields(come.record)
        page.emit(
            "record",
            thread=come.thread,
            seq=come.seq,
            lsn=come.header.lsn,
            at=at.isoformat(),
            epoch=come.header.epoch,
            record={"kind": kind, "fields": shape},
        )
    else:
        said = line_of(come.record)
        when = at.strftime("%H:%M:%S.%f")[:-3] if page.terminal else at.isoformat()
        scope = scope_text(scope_of(come.record))
        task = f"{scope}/{said.task}" if scope else said.task
        parts = [when, visible(come.thread), str(come.seq), kind, task, said.what]
        page.line("  ".join(part for part in parts if part))
    page.flush()


def _fields(record: Record) -> dict[str, Any]:
    return {name: plain(getattr(record, name)) for name in record._fields}
