"""What a command shows: tables for people, aligned text for pipes, JSON for programs.

    stdout   data: a table, lines, or one JSON object       stderr   talk: hints and errors
    terminal rich table, sizes and times in human units     pipe     aligned text, exact numbers, no colour

Invariants:
1. Every text is made visible before it is shown, and is never read as markup.
2. rich is imported only when a table goes to a terminal.
3. NO_COLOR, COLUMNS and TERM=dumb are heeded (by rich).
4. JSON is one object on one line, in ASCII, with ``v``, the version of its shape, and ``kind``.

This module must not know logs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from .words import visible

SHAPE = 1
"""The version of the JSON shapes; fields are added without raising it, never removed or given another meaning."""

STYLES = {
    "running": "cyan",
    "done": "green",
    "ok": "green",
    "interrupted": "yellow",
    "parked": "yellow",
    "sleeping": "yellow",
    "waiting": "yellow",
    "drained": "yellow",
    "queued": "cyan",
    "paused": "yellow",
    "cancelled": "yellow",
    "crashed": "bold red",
    "failed": "bold red",
    "damaged": "bold red",
}
"""How words that tell how something stands are coloured, wherever they are a whole cell."""


class Column(NamedTuple):
    """One column of a table."""

    name: str
    right: bool = False


Columns: TypeAlias = Sequence[Column]
Rows: TypeAlias = Iterable[Sequence[str]]


class Page:
    """Where one command shows things.

    Args:
        as_json: Whether a program reads along, so that only ``emit`` may write.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.terminal = not as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def emit(self, kind: str, **fields: Any) -> None:
        """Write one JSON object."""
        shape = {"v": SHAPE, "kind": kind, **fields}
        sys.stdout.write(json.dumps(shape, ensure_ascii=True, allow_nan=False) + "\n")

    def flush(self) -> None:
        """Hand on what was written, for whoever reads along."""
        sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """Write a line of data."""
        sys.stdout.write(visible(text) + "\n")

    def talk(self, text: str) -> None:
        """Write a line for whoever watches; it is not part of the data."""
        if not self.as_json:
            sys.stdout.flush()
            sys.stderr.write(visible(text) + "\n")

    def table(self, columns: Columns, rows: Rows) -> None:
        """Write a table."""
        held = [[visible(cell) for cell in row] for row in rows]
        if self.terminal:
            _draw(columns, held)
        else:
            _align(columns, held)

    def size(self, count: int) -> str:
        """Return a number of bytes."""
        if not self.terminal:
            return str(count)
        amount = float(count)
        for unit in ("B", "KiB", "MiB", "GiB"):
            if amount < 1024 or unit == "GiB":
                return f"{count} B" if unit == "B" else f"{amount:,.1f} {unit}"
            amount /= 1024
        raise AssertionError("the last unit takes all")

    def span(self, seconds: float) -> str:
        """Return how long something took."""
        if not self.terminal:
            return f"{seconds:.6f}"
        if seconds < 1:
            return f"{seconds * 1000:.3g} ms"
        if seconds < 120:
            return f"{seconds:.1f} s"
        for name, length in (("min", 60), ("h", 3600)):
            if seconds < 120 * length:
                return f"{seconds / length:.0f} {name}"
        return f"{seconds / 86400:.0f} d"

    def moment(self, at: datetime | None) -> str:
        """Return a point in time: how long ago for people, exactly for programs."""
        if at is None:
            return "-"
        if not self.terminal:
            return at.isoformat()
        return f"{self.span(max(0.0, (datetime.now(UTC) - at).total_seconds()))} ago"


def _align(columns: Columns, rows: list[list[str]]) -> None:
    """Write columns padded to their widest cell, two spaces apart, nothing cut off."""
    names = [column.name for column in columns]
    widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
    for row in [names, *rows]:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _draw(columns: Columns, rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(Text(column.name), justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell, style=STYLES.get(cell, "")) for cell in row])
    Console(file=sys.stdout, markup=False, emoji=False, highlight=False).print(table)
