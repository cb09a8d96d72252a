"""``wal export``: a log as lines of JSON, without loss; or as a SQLite file, for looking around.

    wal export LOG > log.jsonl               everything (``wal.exporting`` says what the lines are)
    wal export LOG -o t.jsonl --thread t     some threads, and the large values that they name
    wal export LOG --sqlite log.db           tables for SQL (``tools.sqlite_file``); no way back

Invariants:
1. A file appears under its name when it is whole, and never in the place of another.
2. A live writer is not held up: one moment of the log is exported.

It must not fold: only ``--sqlite`` does, to show what threads add up to.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from ..wal.creation import refuse_existing
from ..wal.directory import sync_directory
from ..wal.exporting import export_lines
from ..wal.still import still
from .options import app_option, as_json, graph_of, named, opened, placed, words
from .progress import progress
from .render import Page


@click.command("export")
@words("[LOG]")
@click.option("-o", "--output", metavar="FILE", help="Where to write the lines; stdout unless said.")
@click.option("--thread", "threads", multiple=True, metavar="T", help="Only this thread; may be given again.")
@click.option("--sqlite", metavar="FILE", help="Write a SQLite file instead, for looking around.")
@app_option
@as_json
def command(
    words: tuple[str, ...],
    output: str | None,
    threads: tuple[str, ...],
    sqlite: str | None,
    app: str | None,
    *,
    as_json: bool,
) -> None:
    """Write a log as lines of JSON, or as a SQLite file. wal import makes a log of the lines again."""
    path, _ = placed(words)
    if sqlite is not None and output is not None:
        raise click.UsageError("--sqlite names its own file; it takes no -o.")
    if app is not None and sqlite is None:
        raise click.UsageError("--app is for --sqlite; lines of JSON need no code.")
    if as_json and sqlite is None and output is None:
        raise click.UsageError("--json tells what was written, so the lines need a file: -o FILE.")
    page = Page(as_json=as_json)
    graph = graph_of(app)
    chosen = tuple(map(named, threads))
    with opened(path) as log, still(log) as moment, progress(page) as tell:
        if sqlite is not None:
            from .sqlite_file import write_sqlite

            with appearing(sqlite) as place:
                counts = write_sqlite(moment, str(place), chosen, graph, tell)
        elif output is not None:
            with appearing(output) as place, place.open("w", encoding="ascii") as file:
                counts = {"lines": _write(file, export_lines(moment, chosen, progress=tell))}
        else:
            _write(sys.stdout, export_lines(moment, chosen, progress=tell))
            return
    target = sqlite or output
    if as_json:
        page.emit("export", path=path, output=target, **counts)
    else:
        page.line(f"wrote {target}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def _write(file: IO[str], lines: Iterator[str]) -> int:
    count = 0
    for line in lines:
        file.write(line)
        count += 1
    return count


@contextlib.contextmanager
def appearing(path: str) -> Iterator[Path]:
    """Hand out a path beside the one given; what is written there appears under its name when the block ends.

    Raises:
        LogExists: Something is at the path.
    """
    refuse_existing(path)
    place = Path(path)
    partial = place.with_name(f"{place.name}.partial")
    try:
        # Made beforehand, so that nobody else can read it, whoever writes into it.
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        refuse_existing(path)
        partial.rename(place)
        sync_directory(str(place.absolute().parent))
    finally:
        partial.unlink(missing_ok=True)
