"""``wal backup``: add a backup to a folder or an object store, beside whoever writes.

It must not decide what a backup consists of: ``wal.backup`` does.
"""

from __future__ import annotations

import click

from ..wal.backup import backup
from ..wal.head import moment
from .options import as_json, opened, placed, words
from .progress import progress
from .render import Page


@click.command("backup")
@words("[LOG] TARGET")
@click.option(
    "--keep", type=click.IntRange(min=1), help="How many of the newest backups stay; all unless said."
)
@as_json
def command(words: tuple[str, ...], keep: int | None, *, as_json: bool) -> None:
    """Add a backup to TARGET: a folder, or an address such as s3://bucket/orders.

    Only what is new is written. Works beside running graphs.
    """
    path, (target,) = placed(words, ("TARGET",), 1)
    assert target is not None, "it was asked for"
    page = Page(as_json=as_json)
    with opened(path) as log, progress(page) as tell:
        made = backup(log.store, target, keep=keep, progress=tell)
    if as_json:
        page.emit("backup", target=target, **made._asdict())
        return
    page.line(f"backup {made.generation} of {path}: up to lsn {made.lsn}, {moment(made.time).isoformat()}")
    page.line(
        f"{made.threads} threads, {made.frames} frames in {made.chunks} chunks, {page.size(made.bytes)}; "
        f"written: {made.new_chunks} chunks, {page.size(made.written)}"
    )
    if made.pruned:
        page.line(f"removed {made.pruned} older backups")
