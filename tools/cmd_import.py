"""``wal import``: make a log of what ``wal export`` wrote.

It must not decide what a line means: ``wal.importing`` does.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from ..wal.importing import import_lines
from .options import as_json, named
from .progress import progress
from .render import Page


@click.command("import")
@click.argument("log")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    default="-",
    help="The lines that wal export wrote; stdin unless said.",
)
@as_json
def command(log: str, source: str, *, as_json: bool) -> None:
    """Make the new log LOG of what wal export wrote: the same threads, records, ids and positions."""
    page = Page(as_json=as_json)
    path = named(log)
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
