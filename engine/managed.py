"""Values that a node reads like state, but that the run supplies: they are never written, logged or stored.

    IsLastStep       True in the last superstep from which ``recursion_limit`` lets the run end
    RemainingSteps   how many supersteps are left, this one included

A schema asks for one by annotating a key with it: ``remaining: RemainingSteps``.

Invariants:
1. The value follows from the run's ``step`` and ``stop`` alone.
2. A managed key is no channel: nothing can write it.

This module must not know schemas or channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, get_origin

if TYPE_CHECKING:
    from collections.abc import Callable


class Countdown(Protocol):
    """What a run tells managed values.

    ``step`` is the superstep under way; ``stop`` is the run's first superstep + ``recursion_limit`` + 1, where
    LangGraph has its limit too (P-2). The superstep before ``stop`` is the last from which a run can still end.
    """

    step: int
    stop: int


class ManagedValue:
    """Base of the managers: what an annotation names."""

    @staticmethod
    def get(run: Countdown) -> Any:
        """Return the value for the run's present superstep."""
        raise NotImplementedError


class IsLastStepManager(ManagedValue):
    """Supplies ``IsLastStep``."""

    @staticmethod
    def get(run: Countdown) -> bool:
        """Return whether this superstep is the last from which the run can still end."""
        return run.step == run.stop - 1


class RemainingStepsManager(ManagedValue):
    """Supplies ``RemainingSteps``."""

    @staticmethod
    def get(run: Countdown) -> int:
        """Return how many supersteps may still begin, this one included."""
        return run.stop - run.step


IsLastStep = Annotated[bool, IsLastStepManager]
RemainingSteps = Annotated[int, RemainingStepsManager]

MANAGED: Final[dict[type, Callable[[Any], Any]]] = {
    IsLastStepManager: IsLastStepManager.get,
    RemainingStepsManager: RemainingStepsManager.get,
}
"""Manager → from a run to the value."""


def manager_in(annotation: Any) -> type[ManagedValue] | None:
    """Return the manager that an annotation names last in its metadata, or None."""
    metadata = getattr(annotation, "__metadata__", None)
    if not metadata:
        return None
    last = get_origin(metadata[-1]) or metadata[-1]
    return last if isinstance(last, type) and issubclass(last, ManagedValue) else None
