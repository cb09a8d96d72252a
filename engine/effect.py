"""What the loop asks the world for. The loop yields one of these; a driver carries it out and sends the answer.

    Append(records, base, draft)   see that they are in the log as the run's mode asks    → None
    Perform(jobs)                  see that these tasks are running                        → the [Done] that ended first
    Publish(events)                show them to whoever streams                            → None

A driver holds no opinion about graphs. There are three: worker threads, asyncio, and the by-hand driver of the tests,
which checks the laws after every effect.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from ..wal.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..replay.state import ThreadState
    from ..wal.record import Path, Record, Write
    from .job import Job
    from .stream import Event


class Append(NamedTuple):
    """Append these records.

    ``draft`` is ``base`` with the records folded in; it becomes the state if ``base`` still is the state when the
    records are in the log, else they are folded anew.
    """

    records: Sequence[Record]
    base: ThreadState
    draft: ThreadState


class Done(NamedTuple):
    """How one task ended: the records that say so, and what cannot be recorded."""

    path: Path
    records: tuple[Record, ...]
    error: BaseException | None = None
    untracked: tuple[Write, ...] = ()
    is_cached: bool = False
    """Whether it was found in a cache, so that nothing was run."""


class Overrun(asyncio.CancelledError):
    """A cancellation that a thread outran: ``value`` is what it returned, or what that made of its task.

    What ended is recorded, so this carries it there; user code only ever sees a plain cancellation.
    """

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class Perform(NamedTuple):
    """See that these tasks are running, and answer with those that ended first; with () just wait for some."""

    jobs: Sequence[Job]


class Publish(NamedTuple):
    """Show these events."""

    events: Iterable[Event]


Effect: TypeAlias = Append | Perform | Publish
