"""``wal signals``: what waits in mailboxes, what was received by whom, and who waits for what.

    LOG            the signals that wait, of all threads
    LOG THREAD     those of one thread, what its tasks have received, and what they wait for

The user's code is not needed. It must not change anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ..replay.recover import recover
from ..replay.waits import open_waits
from ..wal.codec import GLOBAL
from ..wal.errors import ThreadNotFound, UnknownType
from ..wal.head import moment
from ..wal.log import Log
from ..wal.log_reading import Stored
from ..wal.record import SignalReceived
from ..wal.steady import steady
from .options import as_json, opened, placed, words
from .render import Column, Page
from .words import path_text, plain, preview

COLUMNS = (
    Column("thread"),
    Column("no.", right=True),
    Column("name"),
    Column("id"),
    Column("stands"),
    Column("since"),
    Column("task"),
    Column("payload"),
)
NOTHING = "-"


@click.command("signals")
@words("[LOG [THREAD]]")
@as_json
def command(words: tuple[str, ...], *, as_json: bool) -> None:
    """List signals: those that wait; of one thread also what was received, by which task, and what is waited for."""
    path, (thread,) = placed(words, ("THREAD",))
    page = Page(as_json=as_json)
    with opened(path) as log:
        threads = [thread] if thread is not None else [name for name, _ in log.signalled()]
        found = [each for name in threads for each in _waiting(log, name)]
        if thread is not None:
            known = log.head(thread)
            if known is None and not found:
                message = f"The log holds no thread {thread!r}, and no signal waits for one."
                raise ThreadNotFound(message, hint="List threads with `wal threads`.", thread=thread)
            if known is not None:
                found = [*_received(log, thread), *found, *_wanted(log, thread)]
    if as_json:
        page.emit("signals", signals=found)
        return
    page.table(COLUMNS, [_row(page, each) for each in found])


def _waiting(log: Log, thread: str) -> list[dict[str, Any]]:
    """Return the signals that wait for a thread."""
    return [
        _shown(thread, "waits", each.name, each.number, id=each.id, at=each.sent_at, payload=each.payload)
        for each in log.mailbox(thread, decoder=log.decoder(GLOBAL, lenient=True))
    ]


def _received(log: Log, thread: str) -> list[dict[str, Any]]:
    """Return the signals that a thread's tasks have received, as far as its records go back."""
    decoder = log.decoder(GLOBAL, lenient=True)
    records = steady(log, thread, lambda: list(_receipts(log.read(thread, decoder=decoder))))
    return [
        _shown(
            thread,
            "received",
            record.name,
            record.number,
            id=record.id,
            at=moment(record.at),
            payload=record.payload,
            seq=seq,
            scope=record.scope,
            path=record.path,
        )
        for seq, record in records
    ]


def _receipts(records: Iterator[Stored]) -> Iterator[tuple[int, SignalReceived]]:
    return ((seq, record) for seq, record in records if isinstance(record, SignalReceived))


def _wanted(log: Log, thread: str) -> list[dict[str, Any]]:
    """Return what the thread's tasks wait for."""
    try:
        # No graph is needed: the records of all graphs are looked through unread.
        state = recover(log, thread, lambda _: None, GLOBAL).state
    except UnknownType:
        return []
    return [
        _shown(thread, "is waited for", wait.name, None, at=moment(wait.at), scope=scope, path=path)
        for scope, path, wait in open_waits(state)
        if wait.name is not None
    ]


def _shown(thread: str, standing: str, name: str, number: int | None, **others: Any) -> dict[str, Any]:
    """Return a signal as JSON has it."""
    at, path = others.get("at"), others.get("path")
    return {
        "thread": thread,
        "number": number,
        "name": name,
        "id": others.get("id"),
        "standing": standing,
        "at": None if at is None else at.isoformat(),
        "scope": others.get("scope"),
        "path": None if path is None else list(path),
        "seq": others.get("seq"),
        "payload": plain(others.get("payload")),
        "preview": preview(others["payload"]) if "payload" in others else NOTHING,
    }


def _row(page: Page, each: dict[str, Any]) -> tuple[str, ...]:
    from datetime import datetime

    return (
        each["thread"],
        NOTHING if each["number"] is None else str(each["number"]),
        each["name"],
        each["id"] or NOTHING,
        each["standing"],
        page.moment(datetime.fromisoformat(each["at"])),
        NOTHING if each["path"] is None else path_text(tuple(each["path"])),
        each["preview"],
    )
