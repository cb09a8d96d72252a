"""What asks a run, from anywhere, to stop: to go on later, or for good.

    control.request_drain(reason) ──► the loop, before its next step, and ``@task``, before its next call: they stop
    log.cancel(thread) ──► Attendance ──► the same; and coroutines that run are cancelled

Invariants:
1. Asking to drain only sets a value, so that it is safe from any thread and from signal handlers.
2. A control may serve many runs; cancelling one of them is no business of the others, so it gets a control of its own.

It must not stop anything: that is for those who ask it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from .errors import GraphCancelled, GraphDrained

if TYPE_CHECKING:
    import asyncio

    from ..wal.submission_layout import Wish
    from ..wal.watch import Watch
    from .errors import Parked
    from .recorder import Recorder


ENDS = frozenset({"cancelled", "done", "failed"})
"""How a run ends that nobody need cancel any more."""


class RunControl:
    """Asks a run, from anywhere, to stop: between two supersteps, or before the next ``@task`` call of one."""

    __slots__ = ("drain_reason",)

    def __init__(self) -> None:
        """Create a control that asks for nothing yet."""
        self.drain_reason: str | None = None

    @property
    def drain_requested(self) -> bool:
        """Whether the run is to stop."""
        return self.drain_reason is not None

    def request_drain(self, reason: str = "shutdown") -> None:
        """Let running tasks finish, then stop; safe from any thread and from signal handlers."""
        self.drain_reason = reason

    def stopped(self) -> Parked:
        """Return what stops a run that was asked to stop."""
        return GraphDrained(self.drain_reason or "shutdown")


class Cancelled(RunControl):
    """The control of a run that was cancelled."""

    __slots__ = ()

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.drain_reason = reason

    def stopped(self) -> Parked:
        """Return what stops a run that was cancelled."""
        return GraphCancelled(self.drain_reason or "")


class Controlled(Protocol):
    """A run, as far as it can be told to stop."""

    thread: str
    run_id: str
    recorder: Recorder
    control: RunControl | None


class Attendance:
    """One run of a thread, and its subgraphs', listening for being cancelled.

    Args:
        watch: Who tells.
        run: The run of the root graph.
        since: When the run began; 0 if it goes on with what was begun before.
    """

    __slots__ = ("_heard", "_loop", "_performing", "_runs", "_sent", "_watch", "cancelled")

    def __init__(self, watch: Watch, run: Controlled, since: int) -> None:
        self._watch = watch
        self._runs: list[Controlled] = [run]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._performing: asyncio.Task[Any] | None = None
        self._sent = False
        self._heard: Wish | None = None
        self.cancelled: Cancelled | None = None
        watch.attend(run.thread, self.told, run.run_id, since)

    def joins(self, run: Controlled) -> None:
        """Let the run of a subgraph be told, too."""
        self._runs.append(run)
        if self.cancelled is not None:
            run.control = self.cancelled

    def leave(self) -> None:
        """Listen no more."""
        self._heard = self._watch.leave(self._runs[0].thread, self.told) or self._heard

    def close(self) -> None:
        """Listen no more, and let nobody hear again what was wished if the run has come to an end that is on record."""
        run = self._runs[0]
        heard = self._watch.leave(run.thread, self.told) or self._heard
        if heard is not None:
            root = run.recorder.state.root()
            if root is not None and root.ended in ENDS:
                self._watch.drop(heard)

    def performs(self, task: asyncio.Task[Any] | None) -> None:
        """Let a coroutine be cancelled with the run, from now on: what performs its tasks; None: no longer."""
        if task is None and self._sent and self._performing is not None:
            # What was cancelled has come to an end of its own all the same.
            self._sent = False
            self._performing.uncancel()
        self._performing = task
        if task is not None:
            self._loop = task.get_loop()
            if self.cancelled is not None:
                self._cancel()

    def took(self) -> Cancelled | None:
        """Return the control of the cancelled run if it is for that alone that the coroutine was cancelled."""
        task, sent = self._performing, self._sent
        self._performing, self._sent = None, False
        return self.cancelled if sent and task is not None and not task.uncancel() else None

    def told(self, reason: str) -> None:
        """Take note that the run is to stop for good; from any thread."""
        if self.cancelled is not None:
            return
        self.cancelled = Cancelled(reason)
        for run in self._runs:
            run.control = self.cancelled
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed, so nothing of the run is on it
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._performing is not None and not self._sent:
            self._sent = True
            self._performing.cancel()
