"""``wal restore``: make a log from a backup, as it was or as it was earlier; or list the backups; or check them.

    wal restore SOURCE                  the backups there are
    wal restore SOURCE LOG              the newest, as a new log
    wal restore SOURCE LOG --lsn 1200   without what came after a position; --at: after a time
    wal restore SOURCE --check          read everything and compare it with its hashes

It must not change the source, nor a log that is there.
"""

from __future__ import annotations

import click

from ..wal.backup import manifests
from ..wal.backup_target import open_target
from ..wal.errors import BackupNotFound
from ..wal.head import moment
from ..wal.restore import check
from .options import as_json, key_ring, named
from .progress import progress
from .render import Column, Page
from .restoring import moment_of, restore

COLUMNS = (
    Column("backup", right=True),
    Column("made at"),
    Column("lsn", right=True),
    Column("newest record"),
    Column("threads", right=True),
    Column("frames", right=True),
    Column("bytes", right=True),
)


@click.command("restore")
@click.argument("source")
@click.argument("log", required=False)
@click.option("--generation", type=click.IntRange(min=1), help="Which backup; the newest unless said.")
@click.option("--lsn", type=click.IntRange(min=1), help="Leave out what came after this position.")
@click.option("--at", metavar="TIME", help="Leave out what came after this time (ISO 8601; UTC unless said).")
@click.option(
    "--check", "as_check", is_flag=True, help="Read all backups and compare them with their hashes."
)
@as_json
def command(
    source: str,
    log: str | None,
    generation: int | None,
    lsn: int | None,
    at: str | None,
    *,
    as_check: bool,
    as_json: bool,
) -> None:
    """Make the new log LOG from the backups at SOURCE; without LOG, list them."""
    page = Page(as_json=as_json)
    chosen = generation is not None or lsn is not None or at is not None
    if as_check and (log is not None or chosen):
        raise click.UsageError("--check reads all backups and makes no log; give SOURCE alone.")
    if log is None and chosen:
        raise click.UsageError("Missing argument 'LOG': where the log is to be.")
    if as_check:
        _check(page, source)
    elif log is None:
        _list(page, source)
    else:
        _restore(page, source, named(log), generation, lsn, at)


def _restore(
    page: Page, source: str, path: str, generation: int | None, lsn: int | None, at: str | None
) -> None:
    try:
        when = None if at is None else moment_of(at)
    except ValueError:
        raise click.UsageError(f"--at {at!r}: write a time as 2026-11-20T12:00:00.") from None
    with progress(page) as tell:
        options = {"keys": key_ring(), "progress": tell}
        made = restore(source, path, generation=generation, lsn=lsn, at=when, **options)
    report = made.report
    if page.as_json:
        page.emit(
            "restore",
            source=source,
            path=path,
            generation=made.generation,
            lsn=made.lsn,
            time=made.time,
            threads=report.threads,
            frames=report.frames,
            records=report.records,
        )
        return
    page.line(f"restored {path} from backup {made.generation}: up to lsn {made.lsn}, {_when(made.time)}")
    page.line(f"verified: {report.threads} threads, {report.frames} frames, {report.records} records")


def _list(page: Page, source: str) -> None:
    there = manifests(open_target(source))
    if not there:
        raise BackupNotFound(f"There is no backup at {source}.", hint="Check the path.", source=source)
    if page.as_json:
        backups = [
            {"bytes": each.bytes, "chunks": len(each.chunks), **_facts(each._asdict())} for each in there
        ]
        page.emit("backups", source=source, backups=backups)
        return
    rows = [
        (
            str(each.generation),
            page.moment(moment(each.made_at)),
            str(each.lsn),
            _when(each.time),
            str(each.threads),
            str(each.frames),
            page.size(each.bytes),
        )
        for each in there
    ]
    page.table(COLUMNS, rows)


def _check(page: Page, source: str) -> None:
    with progress(page) as tell:
        backups, chunks = check(source, tell)
    if page.as_json:
        page.emit("backup-check", source=source, ok=True, backups=backups, chunks=chunks)
    else:
        page.line(f"ok: {chunks} chunks of {backups} backups are what was written")


def _facts(shape: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in shape.items() if name != "chunks"}


def _when(nanoseconds: int) -> str:
    return moment(nanoseconds).isoformat()
