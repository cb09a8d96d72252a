"""``wal import``: make a log of what ``wal export`` wrote, or bring in the threads of LangGraph's other savers.

    wal import LOG --from FILE                     lines of JSON, into a new log
    wal import LOG --from sqlite:PATH              a database of SqliteSaver, into a new log or one that is there
    wal import LOG --from postgres:DSN             one of PostgresSaver
    wal import LOG --from langgraph:MODULE:NAME    any saver, asked through LangGraph's interface

It must not decide what a line means, nor what a table means: ``wal.importing`` and ``moving_sources`` do.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from ..wal.importing import import_lines
from ..wal.log import Log
from .options import as_json, named
from .progress import progress
from .render import Page

SCHEMES = ("sqlite", "postgres", "postgresql", "langgraph")
"""What ``--from`` begins with if it names a database of LangGraph's."""


@click.command("import")
@click.argument("log")
@click.option(
    "--from",
    "source",
    metavar="FILE|SOURCE",
    default="-",
    help="The lines that wal export wrote, stdin unless said; or sqlite:PATH, postgres:DSN, langgraph:MODULE:NAME.",
)
@as_json
def command(log: str, source: str, *, as_json: bool) -> None:
    """Make the new log LOG of what wal export wrote: the same threads, records, ids and positions.

    With a database of LangGraph's, bring its threads into LOG, which may be there: run again, it carries on.
    """
    page = Page(as_json=as_json)
    path = named(log)
    if source.partition(":")[0] in SCHEMES:
        _from_langgraph(page, path, source)
        return
    with contextlib.ExitStack() as stack:
        tell = stack.enter_context(progress(page))
        if source == "-":
            lines = sys.stdin
        elif Path(source).is_file():
            lines = stack.enter_context(Path(source).open(encoding="utf-8"))
        else:
            raise click.UsageError(f"--from {source!r}: there is no such file.")
        made = import_lines(lines, path, progress=tell)
    report = made.report
    if as_json:
        counts = {"threads": report.threads, "frames": report.frames, "records": report.records}
        page.emit("import", path=path, lines=made.lines, **counts)
        return
    page.line(f"imported {made.lines} lines to {path}")
    page.line(f"verified: {report.threads} threads, {report.frames} frames, {report.records} records")


def _from_langgraph(page: Page, path: str, text: str) -> None:
    from .moving import move
    from .moving_sources import source_of

    source = source_of(text)
    if source is None:
        message = f"--from {text!r}: write sqlite:PATH, postgres:DSN or langgraph:MODULE:NAME."
        raise click.UsageError(message)
    with contextlib.closing(source), Log.open(path) as log, progress(page) as tell:
        moved = move(source, log, tell)
    if page.as_json:
        page.emit("import", path=path, **moved._asdict())
        return
    page.line(
        f"imported {moved.added} of {moved.checkpoints} checkpoints in {moved.threads} threads to {path}"
    )
    page.line(
        f"verified: {moved.checkpoints} checkpoints, {moved.writes} writes are as they are in the source"
    )
