"""``wal threads``: the threads of a log, one line each.

It must not read records: the directory of threads says it all.
"""

from __future__ import annotations

from itertools import chain, islice

import click

from ..wal.head import ThreadHead
from ..wal.log import Log
from .heads import head_to_plain, next_of
from .options import as_json, opened, placed, words
from .render import Column, Page

STATUSES = (
    "running",
    "crashed",
    "queued",
    "interrupted",
    "sleeping",
    "waiting",
    "failed",
    "drained",
    "parked",
    "cancelled",
    "done",
)
COLUMNS = (
    Column("thread"),
    Column("status"),
    Column("graph"),
    Column("step", right=True),
    Column("next"),
    Column("seq", right=True),
    Column("records", right=True),
    Column("bytes", right=True),
    Column("last write"),
    Column("due"),
)


@click.command("threads")
@words("[LOG]")
@click.option("--status", type=click.Choice(STATUSES), help="Only threads that stand so.")
@click.option("--prefix", help="Only threads whose id begins so.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many.")
@as_json
def command(
    words: tuple[str, ...], status: str | None, prefix: str | None, limit: int | None, *, as_json: bool
) -> None:
    """List the threads of a log in the order of their creation."""
    path, _ = placed(words)
    page = Page(as_json=as_json)
    with opened(path) as log:
        heads = log.threads(status=status, prefix=prefix)
        if status is None:
            # Of these nothing is recorded yet.
            new = (head for head in log.threads(status="queued", prefix=prefix) if not head.seq)
            heads = chain(heads, new)
        heads = islice(heads, limit)
        if as_json:
            page.emit("threads", threads=[head_to_plain(head) | _key(log, head) for head in heads])
            return
        rows = [
            (
                head.thread_id,
                _standing(log, head),
                head.graph or "-",
                str(head.step),
                next_of(head),
                str(head.seq),
                str(head.records),
                page.size(head.bytes),
                page.moment(head.updated_at),
                page.moment(head.due_at),
            )
            for head in heads
        ]
    page.table(COLUMNS, rows)


def _key(log: Log, head: ThreadHead) -> dict[str, object]:
    """Return with which key an encrypted thread can be read, and whether it is here."""
    if not log.is_encrypted or not head.frames:
        return {}
    found = log.key_of(head.thread_id)
    return {} if found is None else {"key": found[0], "readable": found[1]}


def _standing(log: Log, head: ThreadHead) -> str:
    key = _key(log, head)
    return head.status if key.get("readable", True) else f"{head.status}, no key {key['key']}"
