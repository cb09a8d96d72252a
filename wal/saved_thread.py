"""Which threads of a log LangGraph runs, and walgraph does not.

    directory   the graph of such a thread is called "langgraph", for LangGraph does not tell its name
    records     the first that is there is one of ``wal.saved_record``; where all were cut, the snapshot says so

It must not know what these records mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .saved_record import SAVED

if TYPE_CHECKING:
    from .head import ThreadHead
    from .log_reading import LogReading

GRAPH = "langgraph"
"""What the directory of threads calls the graph of a thread that LangGraph runs."""


def is_saved(log: LogReading, head: ThreadHead | None) -> bool:
    """Return whether LangGraph runs a thread."""
    if head is None or head.graph != GRAPH:
        return False
    # A graph of walgraph's may have that name, so the records decide.
    for _, body in log.frames(head.thread_id, head.horizon):
        return type(log.decoder(lenient=True).records(body)[0]) in SAVED
    found = log.snapshot(head.thread_id)
    return found is not None and GRAPH.encode() in found[1][:32]
