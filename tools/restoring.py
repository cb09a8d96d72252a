"""Restoring to an earlier moment: how a thread then stands, which only its records tell.

It must not know how backups are kept.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from ..engine.recorder import PARKED
from ..replay.plan import unfinished
from ..replay.waits import due_at
from ..wal.backup_target import Target
from ..wal.errors import WalgraphError
from ..wal.frame import Summary
from ..wal.log import Log
from ..wal.record import Forked, Record, RunEnded, StateEdited, StateFolded
from ..wal.restore import Moment, Restored
from ..wal.restore import restore as restore_log
from .folding import Lens

SHOWN = 8
"""How many names of due nodes the directory shows."""


def restore(
    source: str | os.PathLike[str] | Target,
    path: str | os.PathLike[str],
    *,
    generation: int | None = None,
    lsn: int | None = None,
    at: datetime | None = None,
    **options: Any,
) -> Restored:
    """Make a log from a backup, as it was when that was made, or earlier.

    Args:
        source: Where the backups are: a folder, or the address of an object store.
        path: Where the log is to be; nothing may be there.
        generation: Which backup; the newest, if left out.
        lsn: Leave out what came after this position.
        at: Leave out what was committed after this time.
        options: ``keys`` of an encrypted log, so that its records tell how threads stood then; ``progress``, called
            with what is being done, how much of it is done and how much there is.

    Raises:
        LogExists: Something is at the path.
        BackupNotFound: There is no such backup, or none that reaches to that moment.
        BackupDamaged: A part is missing or damaged, or the log that it gives is.
        NotAvailable: The source needs a package that is not installed.
    """
    upto = Moment(lsn, None if at is None else int(at.timestamp() * 1_000_000) * 1000 + 999)
    return restore_log(source, path, generation=generation, upto=upto, summarise=summary_of, **options)


def summary_of(log: Log, thread: str) -> Summary:
    """Return what the directory is to show of a thread, from its records alone."""
    row = log.store.row(thread)
    assert row is not None, "it was listed"
    lens = Lens(log)
    last: Record | None = None
    try:
        state, following = lens.since(thread)
        for _, record, folded in following:
            state, last = folded, record
    except WalgraphError:
        # What cannot be folded here stands as if its run had crashed: whoever has the code will carry it on.
        return Summary("running", row.graph)
    root = state.root()
    status = "running"
    if isinstance(last, RunEnded) and not last.scope:
        status = last.how
    elif isinstance(last, StateFolded) and root is not None:
        status = root.ended or "running"
    elif isinstance(last, StateEdited | Forked) and root is not None:
        status = "parked" if root.due or root.sends else "done"
    elif last is None and root is not None:
        status = root.ended or row.status
    if root is None:
        return Summary(status, row.graph)
    due = due_at(state) if status in PARKED else None
    return Summary(status, row.graph, root.step, unfinished(root)[:SHOWN], due)


def moment_of(text: str) -> datetime:
    """Return the time that a text names; without a zone it is UTC.

    Raises:
        ValueError: It is none.
    """
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
