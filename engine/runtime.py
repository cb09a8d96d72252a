"""What a run offers to the nodes that ask for it: its context, its store, its writer, and which task this is.

    def node(state, runtime: Runtime): runtime.context, runtime.store, runtime.execution_info.task_id, …

It must not know where any of it comes from; ``context`` fills it in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .run_control import RunControl

C = TypeVar("C")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionInfo:
    """Which task this is, for logs and idempotency keys."""

    checkpoint_id: str
    checkpoint_ns: str
    task_id: str
    thread_id: str | None = None
    run_id: str | None = None
    node_attempt: int = 1
    """The number of the attempt, from 1; it counts on after a crash."""
    node_first_attempt_time: float | None = None
    """When the first attempt began, in seconds since 1970; the same for all attempts, also after a crash."""

    def patch(self, **changes: Any) -> Self:
        """Return the same with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Runtime(Generic[C]):
    """What a run offers to its nodes."""

    context: C = None  # type: ignore[assignment]  # LangGraph's default for runs without a context
    store: Any = None
    stream_writer: Callable[[Any], None] = field(default=lambda _: None)
    previous: Any = None
    execution_info: ExecutionInfo | None = None
    control: RunControl | None = None
    heartbeat: Callable[[], None] = field(default=lambda: None)
    """Says that the node is alive, which an ``idle_timeout`` counts from; without one it does nothing."""

    @property
    def drain_requested(self) -> bool:
        """Whether the run is to stop between two supersteps."""
        return self.control is not None and self.control.drain_requested

    @property
    def drain_reason(self) -> str | None:
        """Why it is to stop; None if it is not."""
        return None if self.control is None else self.control.drain_reason

    def merge(self, other: Runtime[C]) -> Runtime[C]:
        """Return what ``other`` says, and what this says where the other says nothing."""
        said = {each.name: getattr(other, each.name) for each in fields(other)}
        silent = Runtime[Any]()
        return replace(
            self,
            **{
                name: value
                for name, value in said.items()
                if value is not None and value is not getattr(silent, name)
            },
        )

    def override(self, **changes: Any) -> Runtime[C]:
        """Return the same with some fields changed."""
        return replace(self, **changes)

    def patch_execution_info(self, **changes: Any) -> Runtime[C]:
        """Return the same with some fields of ``execution_info`` changed.

        Raises:
            RuntimeError: There is none, since no task is running.
        """
        if self.execution_info is None:
            message = "Cannot patch execution_info before it has been set"
            raise RuntimeError(message)
        return replace(self, execution_info=self.execution_info.patch(**changes))
