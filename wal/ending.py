"""Ending the run of a thread that nobody carries on: the one record that says so.

It must not know how the run stands, nor why it is to end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .frame import Summary
from .record import RunEnded

if TYPE_CHECKING:
    from .writer import Writer


def end_run(writer: Writer, how: str, reason: str, now: int) -> None:
    """Record, durably, that a thread's run has ended, by whoever has claimed the thread.

    Args:
        writer: The claim on a thread that has records.
        how: How the run ended.
        reason: Why.
        now: The time in nanoseconds since 1970.
    """
    head = writer.head
    assert head is not None, "a thread without records has no run"
    # A head tells its times to the microsecond, and time never runs backwards in a log.
    at = max(now, int(head.updated_at.timestamp() * 1e6) * 1000 + 1000)
    following = () if how == "cancelled" else head.next
    writer.append([RunEnded("", at, how, reason)], Summary(how, head.graph, head.step, following))
    writer.flush()
