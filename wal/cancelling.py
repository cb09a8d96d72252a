"""Cancelling what a thread does: at once where nobody runs it, by a wish where somebody does.

    waiting for its turn              it has ended, and was never begun
    interrupted, sleeping, crashed …  a record says that the run has ended
    running, in this process          its run is told, and a wish kept: whoever takes over from it finds that
    running, in another process       its run finds the wish (``wal.watch``), or whoever takes over from it

What was recorded stays. It must not know how a run stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .ending import end_run
from .errors import ThreadBusy

if TYPE_CHECKING:
    from .submission_layout import Wish
    from .submissions import Submissions
    from .watch import Watch
    from .writer import Writer

IDLE = frozenset({"crashed", "interrupted", "sleeping", "waiting", "drained", "parked"})
"""How a thread stands whose run is not over, though nobody carries it on."""


TRIES, PAUSE = 20, 0.005
"""How often, and after how many seconds each time, a thread is tried to be claimed whose owner is letting go."""


def cancel(
    submissions: Submissions,
    wish: Wish,
    claim: Callable[[], Writer],
    watch: Watch,
    *,
    is_saved: bool,
) -> bool:
    """Cancel what a thread does, or one handed-over run of it; see ``Log.cancel``.

    Args:
        submissions: The runs that were handed over.
        wish: What is to be cancelled, and why.
        claim: Claims the thread.
        watch: Tells whoever runs the thread in this process why it is to stop.
        is_saved: Whether LangGraph runs the thread, so that only what was handed over can be cancelled.

    Returns:
        Whether there was anything to cancel.
    """
    thread, run, reason, now = wish
    ended = submissions.cancel(thread, run, is_idle=False, reason=reason, now=now)
    writer = _claimed(claim)
    was_told = writer is None
    if writer is None:
        first = submissions.first(thread)
        if run and (first is None or first.run != run):
            return bool(ended)
        # It is as old as it is kept: whoever has claimed the thread meanwhile is meant.
        wish = wish._replace(at=watch.now())
        submissions.wish(wish)
        if watch.tell(wish):
            return True
        # An owner that is just letting go listens no more, and is gone in a moment.
        for _ in range(TRIES):
            time.sleep(PAUSE)
            if (writer := _claimed(claim)) is not None:
                break
        else:
            return True
        submissions.fulfil(thread)
    with writer:
        begun = submissions.cancel(thread, run, is_idle=True, reason=reason, now=now)
        head = writer.head
        is_meant = not run or any(each.started_at for each in begun)
        if head is not None and head.status == "cancelled" and was_told:
            return True
        if head is None or head.status not in IDLE or not is_meant or is_saved:
            return bool(ended or begun)
        end_run(writer, "cancelled", reason, now)
        return True


def _claimed(claim: Callable[[], Writer]) -> Writer | None:
    try:
        return claim()
    except ThreadBusy:
        return None
