"""Threads for which handed-over runs wait, as the directory of threads shows them.

It must not change anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .head import ThreadHead, moment, to_head

if TYPE_CHECKING:
    from .store import Store

QUEUED = "queued"


def queued_heads(store: Store) -> Iterator[ThreadHead]:
    """Yield the threads whose next run waits for its turn, in the order in which those were handed over.

    Args:
        store: Where they lie.
    """
    seen: set[str] = set()
    for submission in store.submissions.unfinished():
        if submission.thread in seen:
            continue
        seen.add(submission.thread)
        if submission.state != "waiting":
            continue
        row = store.row(submission.thread)
        if row is not None:
            yield to_head(row, QUEUED)
            continue
        at = moment(submission.submitted_at)
        yield ThreadHead(
            submission.thread, QUEUED, submission.graph, -1, (), 0, 0, at, at, None, 0, 0, 0, 0, 0, 0, ""
        )
