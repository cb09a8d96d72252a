"""What a task wishes for while it runs: the effects of its generator, carried out by threads or on an event loop.

    Call(callee, argument)   that user code is called       → what it returned, or raised
    Sleep(seconds)           some rest                      → nothing
    Note(records)            that these are in the log      → nothing, or why they cannot be; durable if it says so
    Ask(ask, aask)           what a cache says              → its answer
    Join(children)           that these calls have ended    → nothing

It must not carry anything out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ..wal.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..wal.record import Record
    from .node import Callee
    from .policy import TimeoutPolicy


class Call(NamedTuple):
    """Wanted: the callable's answer to this argument."""

    callee: Callee
    argument: Any
    timeout: TimeoutPolicy | None = None


class Sleep(NamedTuple):
    """Wanted: some seconds of rest."""

    seconds: float


class Note(NamedTuple):
    """Wanted: that these records are in the log, as the run's mode asks; or durable, with all before them."""

    records: tuple[Record, ...]
    is_durable: bool = False


class Join(NamedTuple):
    """Wanted: that these tasks, called by the body, have ended."""

    children: list[Any]


class Ask(NamedTuple):
    """Wanted: what a cache says, asked in a thread or on an event loop."""

    ask: Callable[[], Any]
    aask: Callable[[], Awaitable[Any]]


Wish: TypeAlias = Call | Sleep | Note | Ask | Join
