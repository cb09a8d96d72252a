"""What can go wrong when records are given their meaning, and who must act.

    WalgraphError
    ├── InvalidUpdateError     WAL-E203  you: writes that a channel cannot take, named by its key
    ├── EmptyChannelError      WAL-E204  you: a channel was read that holds nothing
    └── ReplayProblem                    the log and the graph tell different stories
        ├── NonDeterminism     WAL-E501  your code: it asks for another call than the log holds
        ├── GraphChanged       WAL-E502  you: the graph lost what an unfinished run still needs
        ├── CheckpointNotFound WAL-E503  you: no checkpoint of that id in the thread
        └── OtherThread        WAL-E530  you: LangGraph runs the thread, or walgraph does, and the other one was asked

Invariants:
1. ``message`` of the two channel errors is the text that LangGraph users know, without its link.
2. ``details`` name the channel (``channel``), so that a caller who knows the tasks can name them as well.

This module must not know how channels fold nor how runs are carried; it only names what went wrong.
"""

from __future__ import annotations

from ..wal.errors import WalgraphError

SAVED_FORM = "langgraph"
"""The key by which a snapshot says that LangGraph runs its thread."""


class InvalidUpdateError(WalgraphError):
    """A channel cannot take the writes of a step; nothing of the step became state."""

    code = "WAL-E203"


class EmptyChannelError(WalgraphError):
    """A channel was read before anything was written to it, or after it was emptied."""

    code = "WAL-E204"


class ReplayProblem(WalgraphError):
    """What the log holds does not fit what is asked of it."""


class NonDeterminism(ReplayProblem):
    """Replayed code asks for another call than the log holds at that place; nothing was executed."""

    code = "WAL-E501"


class GraphChanged(ReplayProblem):
    """The thread waits for parts that the graph of this process does not have any more."""

    code = "WAL-E502"


class CheckpointNotFound(ReplayProblem, LookupError):
    """The thread has no checkpoint of that id, or it lies below the horizon of a compaction."""

    code = "WAL-E503"


class OtherThread(ReplayProblem):
    """LangGraph itself runs the thread, and walgraph was asked to, or the other way round; nothing was changed."""

    code = "WAL-E530"


def run_by_langgraph(what: str) -> OtherThread:
    """Return the error for a thread that LangGraph runs, met where one of walgraph's is due."""
    return OtherThread(
        f"This thread is run by LangGraph, not by walgraph: it holds {what}.",
        hint="Choose another thread_id; one thread is run by one of the two.",
    )
