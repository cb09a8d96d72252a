"""The end of a run that was cancelled while it came to a pause of its own.

    a question, a sleep, a drain … and a cancellation that came meanwhile ──► RunEnded(cancelled): nobody goes on

It must not stop anything: the run has stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.record import RunEnded
from .loop import End

if TYPE_CHECKING:
    from .run import Run
    from .run_control import Cancelled

PAUSED = frozenset({"interrupted", "parked", "sleeping", "waiting", "drained"})
"""How a run may end that is to go on."""


def last_word(run: Run, end: End, cancelled: Cancelled) -> End:
    """Return how a cancelled run of a root graph ends.

    Args:
        run: The run, all of which is recorded.
        end: How it ended by itself.
        cancelled: Its control.
    """
    if end.how not in PAUSED:
        return end
    run.recorder.record([RunEnded("", run.now(), "cancelled", cancelled.drain_reason)])
    run.recorder.settle()
    return End("cancelled", cancelled.stopped())
