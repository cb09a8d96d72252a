"""The types of what is streamed and returned, for annotations and type checkers.

    graph.stream(..., version="v2")    StreamPart: one of the …StreamPart, told apart by ["type"]
    graph.invoke(..., version="v2")    GraphOutput
    payloads                           TaskPayload, TaskResultPayload, CheckpointPayload, DebugPayload

They describe; nothing is checked against them. Loaded when a program asks for one of the names.

It must not make payloads (``show``) nor chunks (``stream``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Generic, Literal, NotRequired, TypeAlias, TypedDict, TypeVar

from .control import Interrupt
from .suspend import Suspension

Namespace: TypeAlias = tuple[str, ...]
"""Where a graph runs: ``node:task_id`` for each level below the root."""
OutputT = TypeVar("OutputT")


class TaskPayload(TypedDict):
    """A task starts (``tasks``)."""

    id: str
    name: str
    input: Any
    triggers: tuple[str, ...]
    metadata: NotRequired[dict[str, Any]]


class TaskResultPayload(TypedDict):
    """A task has ended (``tasks``); ``error`` is what it raised."""

    id: str
    name: str
    error: BaseException | None
    result: dict[str, Any]
    interrupts: list[dict[str, Any]]


class CheckpointTask(TypedDict):
    """A task of a checkpoint: with ``error`` if it failed, with ``result`` if it has one."""

    id: str
    name: str
    error: NotRequired[str]
    result: NotRequired[Any]
    interrupts: NotRequired[tuple[dict[str, Any], ...]]
    state: dict[str, Any] | None


class CheckpointPayload(TypedDict):
    """A checkpoint was taken (``checkpoints``)."""

    config: dict[str, Any]
    parent_config: dict[str, Any] | None
    values: Any
    metadata: dict[str, Any]
    next: list[str]
    tasks: list[CheckpointTask]


class DebugPayload(TypedDict):
    """One of the three above, with the step and the time (``debug``)."""

    step: int
    timestamp: str
    type: Literal["checkpoint", "task", "task_result"]
    payload: CheckpointPayload | TaskPayload | TaskResultPayload


class ValuesStreamPart(TypedDict):
    """The state after a step."""

    type: Literal["values"]
    ns: Namespace
    data: Any
    interrupts: tuple[Interrupt, ...]


class UpdatesStreamPart(TypedDict):
    """What a task wrote, by its node's name."""

    type: Literal["updates"]
    ns: Namespace
    data: dict[str, Any]


class MessagesStreamPart(TypedDict):
    """A message or a part of one, and what is known about it."""

    type: Literal["messages"]
    ns: Namespace
    data: tuple[Any, dict[str, Any]]


class CustomStreamPart(TypedDict):
    """What user code gave to the stream writer."""

    type: Literal["custom"]
    ns: Namespace
    data: Any


class CheckpointStreamPart(TypedDict):
    """A checkpoint."""

    type: Literal["checkpoints"]
    ns: Namespace
    data: CheckpointPayload


class TasksStreamPart(TypedDict):
    """The start or the end of a task."""

    type: Literal["tasks"]
    ns: Namespace
    data: TaskPayload | TaskResultPayload


class DebugStreamPart(TypedDict):
    """A checkpoint, or the start or the end of a task."""

    type: Literal["debug"]
    ns: Namespace
    data: DebugPayload


StreamPart: TypeAlias = (
    ValuesStreamPart
    | UpdatesStreamPart
    | MessagesStreamPart
    | CustomStreamPart
    | CheckpointStreamPart
    | TasksStreamPart
    | DebugStreamPart
)
"""A chunk of version 2."""


@dataclass(frozen=True)
class GraphOutput(Generic[OutputT]):
    """What ``invoke`` returns with ``version="v2"``.

    Args:
        value: The output: a dict, or an instance of the output schema if that is a dataclass or a pydantic model.
        interrupts: The questions that the run stopped to ask.
        suspended: What the run sleeps for and waits for.
    """

    value: OutputT
    interrupts: tuple[Interrupt, ...] = ()
    suspended: tuple[Suspension, ...] = ()

    def __getitem__(self, key: str) -> Any:
        """Return a value by its key, as if this were the dict of version 1; deprecated, as in LangGraph.

        Raises:
            KeyError: There is none.
        """
        _warn_of(f"result[{key!r}]")
        if key == "__interrupt__":
            return self.interrupts
        if isinstance(self.value, dict):
            return self.value[key]
        try:
            return getattr(self.value, key)
        except AttributeError:
            raise KeyError(key) from None

    def __contains__(self, key: object) -> bool:
        """Return whether there is a value of this key; deprecated, as in LangGraph."""
        _warn_of(f"{key!r} in result")
        if key == "__interrupt__":
            return bool(self.interrupts)
        if isinstance(self.value, dict):
            return key in self.value
        return isinstance(key, str) and hasattr(self.value, key)


def _warn_of(use: str) -> None:
    warnings.warn(
        f"{use} of a GraphOutput is deprecated: use result.value and result.interrupts",
        DeprecationWarning,
        stacklevel=3,
    )
