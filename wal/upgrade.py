"""From an older format to the newest: step by step, into a new file, with the old one kept.

    format n ─► STEPS[n] ─► format n + 1 ─► … ─► FORMAT ─► verified ─► in the place of the old, which is kept beside

A STEP is a function of a table's name and its entries, which yields what the next format has in their place. New kinds
of records and new fields at the end of records and rows need none: they are read with their defaults, and no format is
raised for them. So far there is one format, and ``STEPS`` is empty; a step is added with each change that an older
walgraph must not meet, and stays for ever.

Invariants:
1. The old file is only read, and is kept.
2. A crash at any instant leaves the log as it was, or upgraded.

This module must not know what entries mean; the steps do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .building import builder, verified
from .creation import FORMAT
from .errors import FormatTooNew
from .mending import locked, put_in_place
from .pages import Entry, Pages
from .progress import Progress, say_nothing
from .tables import LATER_NAMES, META, TABLE_NAMES

Step = Callable[[str, Iterator[Entry]], Iterator[Entry]]
STEPS: Mapping[int, Step] = {}
"""Format → what makes the next one of it."""
GATHERED = 1000


class Upgraded(NamedTuple):
    """What an upgrade did. ``kept`` is where the old log is; empty if nothing had to be done."""

    before: int
    after: int
    kept: str


def format_of(pages: Pages) -> int:
    """Return the format that a log says to have."""
    text = dict(pages.entries("meta")).get(b"format", b"")
    return int(text) if text.isdigit() else -1


def upgrade(
    path: str | os.PathLike[str],
    *,
    apply: bool = True,
    steps: Mapping[int, Step] = STEPS,
    progress: Progress = say_nothing,
) -> Upgraded:
    """Bring a log that nobody has open to the newest format.

    Args:
        path: The log.
        apply: Do it; otherwise only tell what would be done.
        steps: Format → step.
        progress: Told how far it is.

    Raises:
        LogNotFound: There is no log.
        LogInUse: Somebody has it open.
        FormatTooNew: It is newer than this walgraph, or so old that there is no way from it.
        BackupDamaged: What was made does not verify; the log is as it was.
    """
    place = os.path.realpath(os.fspath(path))
    with locked(place), Pages(place) as pages:
        before = format_of(pages)
        if before > FORMAT or any(version not in steps for version in range(before, FORMAT)):
            message = f"There is no way from format {before} of the log at {path} to format {FORMAT}."
            raise FormatTooNew(message, hint="Upgrade walgraph.", path=place, format=before)
        if before == FORMAT or not apply:
            return Upgraded(before, FORMAT, "")

        def fill(fresh: Path) -> None:
            with builder(fresh) as tables:
                for table, name in enumerate(TABLE_NAMES + LATER_NAMES):
                    found = pages.entries(name.decode())
                    for version in range(before, FORMAT):
                        found = steps[version](name.decode(), found)
                    _put(tables.put, table, found)
                    progress("tables", table + 1, len(TABLE_NAMES + LATER_NAMES))
                tables.put(META, [(b"format", str(FORMAT).encode())])
            verified(fresh, f"format {before}", progress)

        return Upgraded(before, FORMAT, str(put_in_place(Path(place), fill, f"format-{before}")))


def _put(put: Callable[[int, list[Entry]], None], table: int, found: Iterator[Entry]) -> None:
    gathered: list[Entry] = []
    for entry in found:
        gathered.append(entry)
        if len(gathered) >= GATHERED:
            put(table, gathered)
            gathered = []
    put(table, gathered)
