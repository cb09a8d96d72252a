"""What can go wrong while building, calling and running graphs, and who must act.

    WalgraphError
    ├── InvalidGraph            WAL-E200  you: the graph cannot be compiled            (a ValueError)
    ├── MissingThreadId         WAL-E201  you: a graph with a log needs a thread_id    (a ValueError)
    ├── EmptyInputError         WAL-E202  you: there is nothing to do
    ├── GraphRecursionError     WAL-E205  you: the graph does not stop                 (a RecursionError)
    ├── AnswerError             WAL-E206  you: answers and open questions do not match (a RuntimeError)
    ├── NoLog                   WAL-E207  you: this needs a graph compiled with a log  (a ValueError)
    ├── OutsideOfRun            WAL-E208  you: called where no run is                  (a RuntimeError)
    └── NotAvailable            WAL-E220  you: this needs something that is not here   (an ImportError)
    Parked (BaseException): not errors; they travel through user code and stop a task or a run
    ├── GraphInterrupt          a task asks
    ├── ParentCommand           a task steers the graph above
    └── GraphDrained            the run was asked to stop between steps

Errors of user code are never wrapped: they keep their type and gain notes. What parks a run derives from
``BaseException``, so that ``except Exception`` in a node cannot swallow it.

The messages of graph building are those that LangGraph's users know (its rules are cited as §3.1 and so on).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.errors import (
    CheckpointNotFound,
    EmptyChannelError,
    GraphChanged,
    InvalidUpdateError,
    NonDeterminism,
)
from ..wal.errors import WalgraphError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .control import Command, Interrupt

__all__ = [
    "AnswerError",
    "CheckpointNotFound",
    "EmptyChannelError",
    "EmptyInputError",
    "GraphChanged",
    "GraphDrained",
    "GraphInterrupt",
    "GraphRecursionError",
    "InvalidGraph",
    "InvalidUpdateError",
    "MissingThreadId",
    "NoLog",
    "NonDeterminism",
    "NotAvailable",
    "OutsideOfRun",
    "ParentCommand",
    "Parked",
]


class InvalidGraph(WalgraphError, ValueError):
    """A graph cannot be compiled as it was drawn."""

    code = "WAL-E200"


class MissingThreadId(WalgraphError, ValueError):
    """A graph that has a log was called without a thread id."""

    code = "WAL-E201"


class EmptyInputError(WalgraphError):
    """A run was asked for, but there is neither an input nor anything unfinished."""

    code = "WAL-E202"


class GraphRecursionError(WalgraphError, RecursionError):
    """The run took as many supersteps as ``recursion_limit`` allows and is not done; its state is kept."""

    code = "WAL-E205"


class AnswerError(WalgraphError, RuntimeError):
    """``Command(resume=...)`` does not fit the questions that are open."""

    code = "WAL-E206"


class NoLog(WalgraphError, ValueError):
    """The operation needs a log, and the graph was compiled without one."""

    code = "WAL-E207"


class OutsideOfRun(WalgraphError, RuntimeError):
    """A function that works only inside of a run was called elsewhere."""

    code = "WAL-E208"


class NotAvailable(WalgraphError, ImportError):
    """What was asked for needs a package or a service that is not here; the hint says what to use instead."""

    code = "WAL-E220"


class Parked(BaseException):
    """Base of what stops a task or a run without being an error."""


class GraphInterrupt(Parked):
    """A task asked a question that has no answer yet.

    Args:
        interrupts: What was asked; empty when a static breakpoint parks the run.
    """

    def __init__(self, interrupts: Sequence[Interrupt] = ()) -> None:
        super().__init__(tuple(interrupts))
        self.interrupts = tuple(interrupts)


class ParentCommand(Parked):
    """A task of a subgraph steers the graph above it.

    Args:
        command: What it wants; ``graph`` says which graph above is meant.
        target: The scope of that graph, once it is known.
    """

    def __init__(self, command: Command[Any], target: str | None = None) -> None:
        super().__init__(command)
        self.command = command
        self.target = target


class GraphDrained(Parked):
    """The run was asked to stop and did so between two supersteps; it resumes with an input of None."""

    def __init__(self, reason: str = "shutdown") -> None:
        super().__init__(f"Graph drained: {reason}")
        self.reason = reason
