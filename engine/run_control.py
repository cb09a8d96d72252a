"""What asks a run, from anywhere, to stop.

    control.request_drain(reason) ──► the loop, before its next step, and ``@task``, before its next call: they stop

Invariants:
1. Asking only sets a value, so that it is safe from any thread and from signal handlers.

It must not stop anything: that is for those who ask it.
"""

from __future__ import annotations


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
