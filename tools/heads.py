"""Threads as the directory of a log shows them: as JSON, and as rows of a table.

It must not read records.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..wal.head import ThreadHead

NOTHING = "-"
"""What a cell says that has nothing to say."""


def head_to_plain(head: ThreadHead) -> dict[str, Any]:
    """Return a thread's head as JSON has it."""
    return {
        "thread": head.thread_id,
        "status": head.status,
        "graph": head.graph,
        "step": head.step,
        "next": list(head.next),
        "seq": head.seq,
        "records": head.records,
        "frames": head.frames,
        "bytes": head.bytes,
        "created_at": head.created_at.isoformat(),
        "updated_at": head.updated_at.isoformat(),
        "due_at": None if head.due_at is None else head.due_at.isoformat(),
        "epoch": head.epoch,
        "snapshot_seq": head.snapshot_seq,
        "horizon": head.horizon,
    }


def next_of(head: ThreadHead) -> str:
    """Return what comes next, in one cell."""
    counted = Counter(head.next)
    return ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in counted.items()) or NOTHING
