"""Cancelling what a thread does: at once where nobody runs it, by a wish where somebody does.

    waiting for its turn              it has ended, and was never begun
    interrupted, sleeping, crashed …  a record says that the run has ended
    running, in this process          its run is told
    running, in another process       its run finds the wish (``wal.watch``)

What was recorded stays. It must not know how a run stops.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .ending import end_run
from .errors import ThreadBusy
from .submission_layout import Wish

if TYPE_CHECKING:
    from .log import Log

IDLE = frozenset({"crashed", "interrupted", "sleeping", "waiting", "drained", "parked"})
"""How a thread stands whose run is not over, though nobody carries it on."""


def cancel(log: Log, thread: str, run: str, reason: str) -> bool:
    """Cancel what a thread does, or one handed-over run of it; see ``Log.cancel``.

    Args:
        log: The log.
        thread: The thread.
        run: The run, or empty for whatever the thread does and is to do.
        reason: Why.

    Returns:
        Whether there was anything to cancel.
    """
    now = time.time_ns()
    submissions = log.submissions(write=True)
    ended = submissions.cancel(thread, run, is_idle=False, reason=reason, now=now)
    try:
        writer = log.writer(thread)
    except ThreadBusy:
        first = submissions.first(thread)
        if run and (first is None or first.run != run or first.state != "started"):
            return bool(ended)
        if not log.watch.tell(thread, reason):
            submissions.wish(Wish(thread, run, reason, now))
        return True
    try:
        begun = submissions.cancel(thread, run, is_idle=True, reason=reason, now=now)
        head = writer.head
        is_meant = not run or any(each.started_at for each in begun)
        if head is None or head.status not in IDLE or not is_meant:
            return bool(ended or begun)
        end_run(writer, "cancelled", reason, now)
        return True
    finally:
        writer.close()
