"""The records of a thread, one by one, with where each of them lies.

    frames ──► bodies ──► records, each with its own bytes, its frame, and the step that it belongs to

Invariants:
1. A frame whose checksum is wrong is never shown as if it were right: reading it raises.
2. Only as much is decoded as is asked for.

It must not fold: what a record leads to is not its business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..wal.codec import Decoder
from ..wal.exporting import slices
from ..wal.frame import Header
from ..wal.log import Log
from ..wal.record import (
    Forked,
    Record,
    RunStarted,
    StateEdited,
    StateFolded,
    StepCommitted,
    StepStarted,
    ThreadCreated,
)


class Entry(NamedTuple):
    """One record in its place.

    ``step`` is None where only the state before the first record shown would tell; ``data`` are the record's own bytes.
    """

    seq: int
    record: Record
    header: Header
    data: bytes
    step: int | None


def entries(
    log: Log, thread: str, decoder: Decoder, after: int = 0, upto: int | None = None
) -> Iterator[Entry]:
    """Yield a thread's records with after < seq ≤ upto, oldest first.

    Raises:
        ThreadNotFound: There is no such thread.
        LogCorrupt: A frame is missing or damaged.
    """
    steps: dict[str, int | None] = {}
    for header, body in log.frames(thread, after, upto):
        seq = header.after
        for record, data in zip(decoder.records(body), slices(body), strict=True):
            seq = record.seq if isinstance(record, StateFolded) else seq + 1
            _follow(steps, record)
            if seq > after and (upto is None or seq <= upto):
                yield Entry(seq, record, header, data, steps.get(scope_of(record)))


def scope_of(record: Record) -> str:
    """Return the graph that a record is about; the root's for those about the whole thread."""
    if isinstance(record, ThreadCreated | StateFolded):
        return ""
    # The records of LangGraph's threads have a namespace.
    return str(getattr(record, "ns", "") or getattr(record, "scope", ""))


def _follow(steps: dict[str, int | None], record: Record) -> None:
    """Keep count of the steps of each graph."""
    match record:
        case ThreadCreated():
            steps.setdefault("", -2)
        case StepStarted(scope, step) | StepCommitted(scope, _, step):
            steps[scope] = step
        case RunStarted(scope):
            before = steps.get(scope, -2 if scope else None)
            steps[scope] = None if before is None else before + 1
        case StateEdited(scope, _, "update" | "clear" | "input"):
            before = steps.get(scope)
            steps[scope] = None if before is None else before + 1
        case Forked(scope, _, _, how, state):
            steps[scope] = state["step"] + (how != "branch")
        case StateFolded(_, state):
            for scope, graph in state["scopes"].items():
                steps[scope] = graph["step"]
        case _:
            pass
