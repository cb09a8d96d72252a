"""A log as a SQLite file, for looking around with SQL.

    threads(thread, status, graph, step, next, seq, records, bytes, created_at, updated_at)
    records(thread, seq, lsn, at, kind, scope, task, what, fields)
    state(thread, scope, channel, value)          what each thread adds up to, at its head
    items(namespace, key, value, created_at, updated_at)

Times are ISO 8601 in UTC. ``next``, ``fields``, ``value`` and ``namespace`` are JSON, for SQLite's own functions: what
JSON lacks is shown as ``wal inspect --json`` shows it.

It must not be read back: it is not without loss.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from ..wal.errors import LogCorrupt, ThreadNotFound, WalgraphError
from ..wal.head import moment
from ..wal.log import Log
from ..wal.progress import Progress
from .cmd_state import find_moment, graph_in, values_of
from .folding import Lens
from .timeline import entries, scope_of
from .words import line_of, plain

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph

TABLES = """
CREATE TABLE threads (thread TEXT PRIMARY KEY, status TEXT, graph TEXT, step INTEGER, next TEXT, seq INTEGER,
    records INTEGER, bytes INTEGER, created_at TEXT, updated_at TEXT);
CREATE TABLE records (thread TEXT, seq INTEGER, lsn INTEGER, at TEXT, kind TEXT, scope TEXT, task TEXT, what TEXT,
    fields TEXT, PRIMARY KEY (thread, seq)) WITHOUT ROWID;
CREATE TABLE state (thread TEXT, scope TEXT, channel TEXT, value TEXT, PRIMARY KEY (thread, scope, channel));
CREATE TABLE items (namespace TEXT, key TEXT, value TEXT, created_at TEXT, updated_at TEXT,
    PRIMARY KEY (namespace, key));
"""


def write_sqlite(
    log: Log, path: str, threads: Collection[str], graph: CompiledGraph | None, tell: Progress
) -> dict[str, int]:
    """Write a SQLite file; return how many rows each table got.

    Raises:
        ThreadNotFound: There is no such thread.
    """
    lens = Lens(log, graph)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.executescript(TABLES)
        heads = list(_heads(log, threads)) if threads else log.threads()
        whole = len(threads) or log.store.position().threads
        for count, head in enumerate(heads):
            facts = (
                head.status,
                head.graph,
                head.step,
                _json(list(head.next)),
                head.seq,
                head.records,
                head.bytes,
            )
            times = (head.created_at.isoformat(), head.updated_at.isoformat())
            _insert(file, "threads", [(_text(head.thread_id), *facts, *times)])
            _insert(file, "records", _records(log, lens, head.thread_id))
            _insert(file, "state", _state(lens, head.thread_id))
            tell("threads", count, whole)
        if not threads:
            _insert(file, "items", _items(log))
        file.commit()
        names = ("threads", "records", "state", "items")
        return {name: file.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}  # noqa: S608


def _heads(log: Log, threads: Collection[str]) -> Iterator[Any]:
    for thread in threads:
        head = log.head(thread)
        if head is None:
            message = f"the log holds no thread {thread!r}"
            raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)
        yield head


def _insert(file: sqlite3.Connection, table: str, rows: Any) -> None:
    rows = iter(rows)
    first = next(rows, None)
    if first is not None:
        places = ", ".join("?" * len(first))
        statement = f"INSERT INTO {table} VALUES ({places})"  # noqa: S608 - the names are ours
        file.execute(statement, first)
        file.executemany(statement, rows)


def _records(log: Log, lens: Lens, thread: str) -> Iterator[tuple[Any, ...]]:
    for entry in entries(log, thread, lens.decoder):
        record = entry.record
        task, what = line_of(record)
        fields = {name: plain(getattr(record, name)) for name in record._fields}
        place = (_text(thread), entry.seq, entry.header.lsn, moment(entry.header.time).isoformat())
        yield (*place, type(record).__name__, _text(scope_of(record)), task, what, _json(fields))


def _state(lens: Lens, thread: str) -> Iterator[tuple[Any, ...]]:
    try:
        state = find_moment(lens, thread, None).state
    except LogCorrupt:
        raise
    except WalgraphError:
        # Only the user's code can fold it, and is not here.
        return
    for scope in sorted({*state.scopes, *state.unread}):
        graph, blueprint = graph_in(lens, state, scope)
        if graph is not None:
            for key, value in values_of(blueprint, graph, live=True).items():
                yield _text(thread), _text(scope), _text(key), _json(plain(value))


def _items(log: Log) -> Iterator[tuple[Any, ...]]:
    decoder = log.decoder(lenient=True)
    with log.items().view() as view:
        for item in view.scan():
            times = (moment(item.created_at).isoformat(), moment(item.updated_at).isoformat())
            value = _json(plain(decoder.value(item.value)))
            yield (_json(list(item.namespace)), _text(item.key), value, *times)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


def _text(value: str) -> str:
    """Return a text as SQLite takes it, which knows no lone surrogates."""
    return value.encode("utf-8", "backslashreplace").decode()
