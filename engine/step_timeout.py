"""Tasks under a time limit, their superstep's or their run's: when it is over, and what is then said of those left.

    graph.step_timeout = 30          config["deadline"] = noon
    driver ── waits for tasks while there is time ``left()`` ──► gives up: coroutines are cancelled, threads run out
           ── ``outcomes`` ──► what ended all the same, and for every other task a ``StepTimeout``, or a
                               ``DeadlineExceeded``, without a record

A task without a record has simply not finished, so a resume runs it again.

Invariants:
1. What ended is recorded, also while the driver waited for threads that cannot be stopped.
2. Nothing is recorded of a task that was stopped: it has not failed.

3. A deadline is the wall clock's, which jumps, so whoever waits for it looks again after a ``nap``.

It is loaded by the first run that has a limit. It must not know how tasks are run or stopped.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ..wal.record import TaskFailed
from . import clock
from .effect import Done
from .errors import DeadlineExceeded, StepTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..wal.record import Path
    from .job import Job
    from .run import Run


NAP = 1.0
"""How long is waited for a deadline before somebody looks at the clock again, in seconds."""


class StepClock:
    """Says how much time the tasks of a run have left.

    Args:
        run: The run.
        seconds: What each of its supersteps may take; None for as long as it likes.
        until: The run's deadline in nanoseconds since 1970, if it is to be kept here.
    """

    def __init__(self, run: Run, seconds: float | None, until: int | None = None) -> None:
        self._run = run
        self._seconds = math.inf if seconds is None else seconds
        self._until = until
        self._step: int | None = None
        self._deadline = 0.0
        self._open: dict[Path, str] = {}

    def begins(self, jobs: Sequence[Job]) -> None:
        """Note which tasks begin; the first of a superstep begin its time."""
        if self._step != self._run.step:
            self._step = self._run.step
            self._deadline = time.monotonic() + self._seconds
            self._open = {}
        for job in jobs:
            self._open[job.path] = job.node.name

    def ended(self, ended: Iterable[Done]) -> None:
        """Note which tasks have ended in time."""
        for done in ended:
            self._open.pop(done.path, None)

    def left(self) -> float:
        """Return the seconds that are left; none or fewer when the time is over."""
        left = self._deadline - time.monotonic()
        return left if self._until is None else min(left, (self._until - clock.now()) / clock.SECOND)

    def nap(self) -> float:
        """Return the seconds to wait before somebody looks again."""
        left = self.left()
        return left if self._until is None else min(left, NAP)

    def outcomes(self, ended: Sequence[Done], *, were_cancelled: bool) -> list[Done]:
        """Return what is to be recorded and said of the tasks that had not ended in time.

        Args:
            ended: What those came to that ended while they were waited for.
            were_cancelled: Whether they had been told to stop, so that failing is no answer of theirs.
        """
        error = self._error(were_cancelled=were_cancelled)
        late = {path: Done(path, (), error) for path in self._open}
        for done in ended:
            if done.records and not (were_cancelled and isinstance(done.records[-1], TaskFailed)):
                late[done.path] = done._replace(error=error)
        return list(late.values())

    def _error(self, *, were_cancelled: bool) -> StepTimeout | DeadlineExceeded:
        run, names = self._run, sorted(set(self._open.values()))
        what = "was cancelled" if were_cancelled else "was waited for, since threads cannot be stopped"
        if self._until is not None and clock.now() >= self._until:
            return DeadlineExceeded.of(
                run.thread, self._until, f"What had not ended ({', '.join(names)}) {what}. "
            )
        way = (
            "outcomes that there are are recorded, and invoke(None, config) runs what is left, with as much time again"
            if run.recorder.writer is not None
            else "the graph has no log, so nothing is kept"
        )
        return StepTimeout(
            "Timed out",
            hint=f"Step {run.step} was to take {self._seconds:g} s (step_timeout); what had not ended "
            f"({', '.join(names)}) {what}; {way}.",
            step=run.step,
            nodes=names,
        )
