"""How far a long verb is: a bar on a terminal, and nothing anywhere else.

    with progress(page) as tell:
        tell("frames", 12_000, 40_000)        what is being done, how much of it is done, and how much there is

Invariants:
1. The bar goes to stderr, and only to a terminal: what is piped or logged never holds it.
2. Nothing is drawn, and rich is not imported, before something took longer than ``PATIENCE_SECONDS``.

It must not know what takes so long.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from ..wal.progress import Progress, say_nothing
from .render import Page

PATIENCE_SECONDS = 0.5


class _Bars:
    """One bar for each thing that is done."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown: Any = None
        self._tasks: dict[str, Any] = {}

    def tell(self, what: str, done: int, whole: int) -> None:
        """Show how far it is."""
        if self._shown is None:
            if time.monotonic() - self._began < PATIENCE_SECONDS:
                return
            self._shown = _bars()
            self._shown.start()
        if what not in self._tasks:
            for task in self._tasks.values():
                self._shown.update(task, visible=False)
            self._tasks[what] = self._shown.add_task(what, total=whole)
        self._shown.update(self._tasks[what], completed=done, total=max(done, whole))

    def end(self) -> None:
        """Take the bars away."""
        if self._shown is not None:
            self._shown.stop()


@contextlib.contextmanager
def progress(page: Page) -> Iterator[Progress]:
    """Hand out what is told how far something is."""
    if page.as_json or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield say_nothing
        return
    bars = _Bars()
    try:
        yield bars.tell
    finally:
        bars.end()


def _bars() -> Any:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    return rich_progress.Progress(*columns, console=Console(stderr=True), transient=True)
