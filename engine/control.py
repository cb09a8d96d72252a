"""What nodes return to steer, what users pass to steer, and what users are shown.

    Send, Command, Overwrite    a node's way to say where to go and what to change
    Interrupt, interrupt ids    a question, as it is shown
    StateSnapshot, PregelTask   a checkpoint, as it is shown
    StateUpdate                 one item of ``bulk_update_state``

The names and shapes are LangGraph's (§1.4 of its interface), so that code ports by changing an import.

It must not run anything, and must not know graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from ..replay.channel import Overwrite
from ..replay.identity import namespace_id
from ..wal.codec import register_type
from .policy import Timeout, TimeoutPolicy

N = TypeVar("N", bound=str)
R = TypeVar("R")
S = TypeVar("S")

OnMismatch: TypeAlias = Literal["raise", "rerun", "accept"]
"""What is done about a ``@task`` call that is not the recorded one."""
Durability: TypeAlias = Literal["sync", "async", "exit"]
StreamMode: TypeAlias = Literal["values", "updates", "checkpoints", "tasks", "debug", "messages", "custom"]
Version: TypeAlias = Literal["v1", "v2"]
All: TypeAlias = Literal["*"]
StreamWriter: TypeAlias = Callable[[Any], None]

DURABILITIES = ("sync", "async", "exit")
TAG_NOSTREAM = "nostream"
"""A langchain model with this tag shows no tokens in the mode ``messages``."""
TAG_HIDDEN = "langsmith:hidden"
"""A run with this tag shows no updates and no tasks, and stops at no breakpoint that ``"*"`` stands for."""


class Send:
    """Run a node in the next superstep with an input of its own.

    Args:
        node: The node's name.
        arg: What the node is given, as it is, instead of the graph's state.
        timeout: Seconds or timedelta that an attempt may take, or a ``TimeoutPolicy``, in place of the node's own.

    Raises:
        InvalidGraph: The time-out makes no sense.
    """

    __slots__ = ("arg", "node", "timeout")

    def __init__(self, /, node: str, arg: Any, *, timeout: Timeout | TimeoutPolicy = None) -> None:
        self.node = node
        self.arg = arg
        self.timeout = TimeoutPolicy.coerce(timeout)

    def __repr__(self) -> str:
        """Return the call that makes an equal one."""
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"Send(node={self.node!r}, arg={self.arg!r}{timeout})"

    def __eq__(self, other: object) -> bool:
        """Compare by node, argument and time-out."""
        return isinstance(other, Send) and self._parts() == other._parts()

    def __hash__(self) -> int:
        """Hash by node, argument and time-out; the argument must be hashable for it."""
        return hash(self._parts())

    def _parts(self) -> tuple[str, Any, TimeoutPolicy | None]:
        return self.node, self.arg, self.timeout


class _NoAnswer:
    def __repr__(self) -> str:
        return "NO_ANSWER"


NO_ANSWER: Any = _NoAnswer()
"""Marks an answer that was not given, since None is a legal answer."""


@dataclass(frozen=True, kw_only=True)
class Command(Generic[N]):
    """Update state, choose where to go, or answer questions.

    Args:
        graph: None for the graph itself, ``Command.PARENT`` for the one above, or a graph's name.
        update: What to write: a dict, pairs, or an instance of the schema.
        resume: As input of a run: the answer to the open question, or a dict of question id to answer.
        goto: A node's name, a ``Send``, or a sequence of them.
    """

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"

    graph: str | None = None
    update: Any = None
    resume: Any = NO_ANSWER
    goto: Send | N | tuple[Send | N, ...] | list[Send | N] = ()

    def __repr__(self) -> str:
        """Return the call that makes an equal one, without what was not given."""
        given = [
            f"{name}={value!r}"
            for name, value, default in (
                ("graph", self.graph, None),
                ("update", self.update, None),
                ("resume", self.resume, NO_ANSWER),
                ("goto", self.goto, ()),
            )
            if value is not default and not (name == "goto" and not value)
        ]
        return f"Command({', '.join(given)})"


@dataclass(frozen=True)
class Interrupt:
    """A question that a task asked.

    Args:
        value: What the task passed to ``interrupt``.
        id: 32 hex digits; the same each time the same question is shown.
        response_schema: A JSON schema of the answer, if the task gave one.
    """

    value: Any
    id: str = "placeholder-id"
    response_schema: Any = field(default=None, kw_only=True)

    @classmethod
    def from_ns(cls, value: Any, ns: str, *, response_schema: Any = None) -> Interrupt:
        """Return a question whose id is made of a namespace.

        Args:
            value: What is asked.
            ns: The namespace of the task that asks.
            response_schema: A JSON schema of the answer.
        """
        return cls(value, namespace_id(ns), response_schema=response_schema)

    @property
    def interrupt_id(self) -> str:
        """The id, under the name that it once had in LangGraph."""
        return self.id


@dataclass(frozen=True, kw_only=True)
class Final(Generic[R, S]):
    """What an entrypoint returns to return one value and save another; use it as ``entrypoint.final``."""

    value: R
    save: S


class StateUpdate(NamedTuple):
    """One update of ``bulk_update_state``."""

    values: dict[str, Any] | None
    as_node: str | None = None
    task_id: str | None = None


class PregelTask(NamedTuple):
    """A task of a checkpoint, as users see it."""

    id: str
    name: str
    path: tuple[Any, ...]
    error: str | None = None
    interrupts: tuple[Interrupt, ...] = ()
    state: Any = None
    result: Any = None


class Verdict(Enum):
    """What can be said of an attempt of which nobody knows how it ended, besides the value that it came to."""

    RUN_AGAIN = "run again"

    def __repr__(self) -> str:
        """Return the name that users write."""
        return self.name


RUN_AGAIN = Verdict.RUN_AGAIN
"""What ``reconcile`` or a person answers if an attempt did not take effect, so that the task is to be done again."""


class StateSnapshot(NamedTuple):
    """A checkpoint, as users see it."""

    values: Any
    next: tuple[str, ...]
    config: dict[str, Any]
    metadata: dict[str, Any] | None
    created_at: str | None
    parent_config: dict[str, Any] | None
    tasks: tuple[PregelTask, ...]
    interrupts: tuple[Interrupt, ...]


def _given(answer: Any) -> list[Any]:
    return [] if answer is NO_ANSWER else [answer]


register_type(
    Send,
    name="walgraph:Send",
    encode=lambda send: [send.node, send.arg, *([] if send.timeout is None else [send.timeout.plain()])],
    decode=lambda plain: Send(
        plain[0], plain[1], timeout=TimeoutPolicy.of_plain(plain[2]) if len(plain) > 2 else None
    ),
)
register_type(
    Command,
    name="walgraph:Command",
    encode=lambda command: [command.graph, command.update, command.goto, *_given(command.resume)],
    decode=lambda plain: Command(
        graph=plain[0],
        update=plain[1],
        goto=plain[2],
        resume=plain[3] if len(plain) > 3 else NO_ANSWER,
    ),
)
register_type(
    Interrupt,
    name="walgraph:Interrupt",
    encode=lambda asked: [asked.value, asked.id, asked.response_schema],
    decode=lambda plain: Interrupt(plain[0], plain[1], response_schema=plain[2]),
)
register_type(Final, name="walgraph:Final")
register_type(Verdict, name="walgraph:Verdict")
register_type(Overwrite, name="walgraph:Overwrite")
