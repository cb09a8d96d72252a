"""What can go wrong while building, calling and running graphs, and who must act.

    WalgraphError
    ├── InvalidGraph            WAL-E200  you: the graph cannot be compiled            (a ValueError)
    ├── MissingThreadId         WAL-E201  you: a graph with a log needs a thread_id    (a ValueError)
    ├── EmptyInputError         WAL-E202  you: there is nothing to do
    ├── GraphRecursionError     WAL-E205  you: the graph does not stop                 (a RecursionError)
    ├── AnswerError             WAL-E206  you: answers and open questions do not match (a RuntimeError)
    ├── NoLog                   WAL-E207  you: this needs a graph compiled with a log  (a ValueError)
    ├── OutsideOfRun            WAL-E208  you: called where no run is                  (a RuntimeError)
    ├── NodeCancelledError      WAL-E209  you: a node cancelled itself
    ├── NodeTimeoutError        WAL-E230  it: an attempt took longer than it may
    ├── StepTimeout             WAL-E231  it: a superstep took longer than it may      (a TimeoutError)
    ├── InvalidCacheKey         WAL-E232  you: a key_func returned no key              (a TypeError)
    ├── SignalTimeout           WAL-E235  it: no signal was sent in time               (a TimeoutError)
    ├── DeadlineExceeded        WAL-E236  it: a run was not done by its deadline       (a TimeoutError)
    ├── InvalidNamespaceError   WAL-E240  you: a store cannot have such a namespace    (a ValueError)
    ├── InvalidCallKey          WAL-E245  you: a call's key is none, or was used before (a ValueError)
    ├── OutcomeUnknown          WAL-E250  you: find out whether an effect took place
    ├── AttemptsLost            WAL-E251  you: a task kills its process each time      (a RuntimeError)
    ├── CannotPark              WAL-E252  you: an at-most-once task cannot wait        (a RuntimeError)
    ├── TransactionEnded        WAL-E253  you: a function ended the transaction it is in
    ├── OutcomeTableError       WAL-E254  you: a database cannot keep outcomes
    ├── RunCancelled            WAL-E260  you: somebody cancelled the run
    └── RunParked               WAL-E261  it: the run keeps killing its process
    Parked (BaseException): not errors; they travel through user code and stop a task or a run
    ├── GraphInterrupt          a task asks
    │   └── GraphSuspended      a task sleeps, or waits for a signal (``engine.suspend``)
    ├── ParentCommand           a task steers the graph above
    ├── GraphDrained            the run was asked to stop between steps
    └── GraphCancelled          the run was cancelled

    NodeError                   what an error handler is told; RecordedError is in it when only text is left

Errors of user code are never wrapped: they keep their type and gain notes. What parks a run derives from
``BaseException``, so that ``except Exception`` in a node cannot swallow it.

The messages of graph building are those that LangGraph's users know (its rules are cited as §3.1 and so on).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..replay.errors import (
    CheckpointNotFound,
    EmptyChannelError,
    GraphChanged,
    InvalidUpdateError,
    NonDeterminism,
)
from ..wal.errors import NotAvailable, WalgraphError
from ..wal.head import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..wal.record import Failure
__all__ = [
    "AnswerError",
    "AttemptsLost",
    "CannotPark",
    "CheckpointNotFound",
    "DeadlineExceeded",
    "EmptyChannelError",
    "EmptyInputError",
    "GraphBubbleUp",
    "GraphCancelled",
    "GraphChanged",
    "GraphDrained",
    "GraphInterrupt",
    "GraphRecursionError",
    "InvalidCacheKey",
    "InvalidCallKey",
    "InvalidGraph",
    "InvalidNamespaceError",
    "InvalidUpdateError",
    "MissingThreadId",
    "NoLog",
    "NodeCancelledError",
    "NodeError",
    "NodeTimeoutError",
    "NonDeterminism",
    "NotAvailable",
    "OutcomeTableError",
    "OutcomeUnknown",
    "OutsideOfRun",
    "ParentCommand",
    "Parked",
    "RecordedError",
    "RunCancelled",
    "RunParked",
    "SignalTimeout",
    "StepTimeout",
    "TransactionEnded",
    "UnknownInterruptError",
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
    """``Command(resume=...)`` does not fit the questions that are open; nothing was recorded.

    Args:
        message: What happened and where.
        hint: What to do next.
        reason: ``"not_pending"`` if what is answered is not open, ``"empty_map"`` if the answers are an empty dict,
            ``"ambiguous"`` if one answer was given and several questions are open.
        interrupt_ids: The ids that were given and are not open.
        pending_ids: The ids of the questions that are open.
        details: The facts of the message as data.
    """

    code = "WAL-E206"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        reason: Literal["not_pending", "empty_map", "ambiguous"] = "not_pending",
        interrupt_ids: Sequence[str] = (),
        pending_ids: Sequence[str] = (),
        **details: Any,
    ) -> None:
        super().__init__(
            message, hint=hint, reason=reason, interrupt_ids=interrupt_ids, pending_ids=pending_ids, **details
        )
        self.reason = reason
        self.interrupt_ids = tuple(interrupt_ids)
        self.pending_ids = tuple(pending_ids)


UnknownInterruptError = AnswerError
"""LangGraph's name of it."""


class NoLog(WalgraphError, ValueError):
    """The operation needs a log, and the graph was compiled without one."""

    code = "WAL-E207"


class OutsideOfRun(WalgraphError, RuntimeError):
    """A function that works only inside of a run was called elsewhere."""

    code = "WAL-E208"


class NodeTimeoutError(WalgraphError):
    """An attempt at a node or task took longer than its time-out allows, and was stopped.

    It is no ``TimeoutError``, so that a ``RetryPolicy`` tries again by default.

    Args:
        node: The name of the node or task.
        elapsed: The seconds that the attempt had taken.
        kind: Which limit it was: ``"run"`` or ``"idle"``.
        idle_timeout: The seconds that it may go without progress, if that is limited.
        run_timeout: The seconds that it may take, if that is limited.
    """

    code = "WAL-E230"

    def __init__(
        self,
        node: str,
        elapsed: float,
        *,
        kind: Literal["run", "idle"],
        idle_timeout: float | None = None,
        run_timeout: float | None = None,
    ) -> None:
        self.timeout = (idle_timeout if kind == "idle" else run_timeout) or 0.0
        what = "without making progress " if kind == "idle" else ""
        super().__init__(
            f"Node {node!r} exceeded its {kind} timeout of {self.timeout:.3f}s {what}(elapsed: {elapsed:.3f}s).",
            hint="Give it more time, let it report progress with runtime.heartbeat(), or give it a RetryPolicy.",
            node=node,
            kind=kind,
        )
        self.node = node
        self.elapsed = elapsed
        self.kind = kind
        self.idle_timeout = idle_timeout
        self.run_timeout = run_timeout


class StepTimeout(WalgraphError, TimeoutError):
    """A superstep took longer than the graph's ``step_timeout``; what had finished is recorded."""

    code = "WAL-E231"


class SignalTimeout(WalgraphError, TimeoutError):
    """``wait_for`` waited as long as it was told to, and no signal of that name was sent; it stays so on replay."""

    code = "WAL-E235"


class DeadlineExceeded(WalgraphError, TimeoutError):
    """A run was not done when its deadline passed; what had finished is recorded."""

    code = "WAL-E236"

    @classmethod
    def of(cls, thread: str, deadline: int, left: str = "") -> DeadlineExceeded:
        """Return the error of a thread whose run's deadline, in nanoseconds since 1970, has passed.

        Args:
            thread: The thread.
            deadline: The deadline.
            left: What became of the tasks that were running, as a sentence.
        """
        when = moment(deadline)
        return cls(
            f"The run of thread {thread!r} was to have ended by {when:%Y-%m-%d %H:%M:%S} UTC (deadline).",
            hint=left + 'invoke(None, {..., "deadline": later}) goes on with what is recorded.',
            thread=thread,
            deadline=when,
        )


class InvalidNamespaceError(WalgraphError, ValueError):
    """A namespace of a store is empty, reserved, or has a label that is none; nothing was read or put."""

    code = "WAL-E240"


class OutcomeUnknown(WalgraphError):
    """An at-most-once task began, and nobody can say whether it took effect; it was not begun again.

    A body raises it where its own exception leaves that open, and ``reconcile`` where it cannot tell either.
    ``details`` are those of the attempt: ``key``, ``task``, ``call``, ``attempt``, ``since``, ``thread``.
    """

    code = "WAL-E250"


class AttemptsLost(WalgraphError, RuntimeError):
    """Every attempt that an at-most-once task's retry policy allows began, and its process died."""

    code = "WAL-E251"


class CannotPark(WalgraphError, RuntimeError):
    """The body of an at-most-once task is to wait for an answer, for which it would have to begin again."""

    code = "WAL-E252"


class TransactionEnded(WalgraphError, RuntimeError):
    """A transactional task is to end its transaction itself, so that effect and outcome would not be one commit."""

    code = "WAL-E253"


class OutcomeTableError(WalgraphError, RuntimeError):
    """A database cannot keep the outcomes of transactional tasks: its table of that name is another, or unreadable."""

    code = "WAL-E254"


class InvalidCallKey(WalgraphError, ValueError):
    """The key of a ``@task`` call is no key, or its caller used it before; nothing was executed."""

    code = "WAL-E245"


class NodeCancelledError(WalgraphError):
    """A node raised ``asyncio.CancelledError`` though nobody cancelled the run.

    Args:
        node: The node's name.
        message: What to say instead of that.
    """

    code = "WAL-E209"

    def __init__(self, node: str, message: str | None = None) -> None:
        super().__init__(
            message or f"Node {node!r} raised asyncio.CancelledError",
            hint="Catch asyncio.CancelledError in the node where work of its own is cancelled.",
            node=node,
        )
        self.node = node


class RecordedError(Exception):
    """An exception of an earlier process whose class is not known in this one, or that could not be written: its text.

    ``register_type`` makes a class known. ``failure`` has type, text, traceback and notes.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class NodeError:
    """What an error handler is told of the failure: the node that failed, and the exception.

    After a crash ``error`` is made anew from the log; a ``RecordedError`` if its class is not known in this process.
    """

    node: str
    error: BaseException


class InvalidCacheKey(WalgraphError, TypeError):
    """The ``key_func`` of a ``CachePolicy`` returned something that is neither text nor bytes."""

    code = "WAL-E232"


class Parked(BaseException):
    """Base of what stops a task or a run without being an error."""


GraphBubbleUp = Parked
"""LangGraph's name of it."""


class GraphInterrupt(Parked):
    """A task asked a question that has no answer yet.

    Args:
        interrupts: What was asked, each an ``Interrupt``; empty when a static breakpoint parks the run.
    """

    # Its class, like that of a command below, is made of parts that raise these errors, so it is not named here.
    def __init__(self, interrupts: Sequence[Any] = ()) -> None:
        super().__init__(tuple(interrupts))
        self.interrupts = tuple(interrupts)


class ParentCommand(Parked):
    """A task of a subgraph steers the graph above it.

    Args:
        command: The ``Command``; its ``graph`` says which graph above is meant.
        target: The scope of that graph, once it is known.
    """

    def __init__(self, command: Any, target: str | None = None) -> None:
        super().__init__(command)
        self.command = command
        self.target = target


class GraphDrained(Parked):
    """The run was asked to stop and did so between two supersteps; it resumes with an input of None."""

    def __init__(self, reason: str = "shutdown") -> None:
        super().__init__(f"Graph drained: {reason}")
        self.reason = reason


class GraphCancelled(Parked):
    """The run was cancelled; whoever called it is told by ``RunCancelled``."""

    def __init__(self, reason: str = "cancelled") -> None:
        super().__init__(reason)
        self.reason = reason


class RunCancelled(WalgraphError):
    """The run was cancelled, or gave way to another input; what was recorded of it stays."""

    code = "WAL-E260"


class RunParked(WalgraphError):
    """The run ended its process again and again without getting on, so nobody takes it over any more."""

    code = "WAL-E261"
