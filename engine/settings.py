"""What ``compile`` and ``@entrypoint`` were told, besides the graph itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..wal.log import Log
from .control import DURABILITIES
from .errors import InvalidGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .program import Program


class Settings(NamedTuple):
    """How a graph runs unless a call says otherwise.

    ``log`` is a ``Log``; None for none, or, in a subgraph, for the log of the graph above; True, in a subgraph, for a
    history that goes on from run to run; False, in a subgraph, for no record at all.
    """

    log: Log | bool | None = None
    store: Any = None
    interrupt_before: Sequence[str] | str = ()
    interrupt_after: Sequence[str] | str = ()
    durability: str | None = None
    stream_mode: str = "updates"
    context_schema: type | None = None
    step_timeout: float | None = None


class Compiled(NamedTuple):
    """A compiled graph without its public face: what runs and readings need of it."""

    program: Program
    settings: Settings


def checked_log(log: Any) -> Log | bool | None:
    """Return what may stand as ``checkpointer``.

    Raises:
        TypeError: It is neither a log nor one of None, True and False.
    """
    if log is None or isinstance(log, bool | Log):
        return log
    message = (
        "Invalid checkpointer provided. Expected an instance of `Log`, `True`, `False`, or `None`. "
        f"Received {type(log).__name__}. Pass a proper log (e.g., Log.open(path), MemoryLog())."
    )
    raise TypeError(message)


def checked_durability(durability: str | None) -> str | None:
    """Return a durability mode that exists, or None.

    Raises:
        ValueError: There is no such mode.
    """
    if durability is not None and durability not in DURABILITIES:
        message = f"unknown durability {durability!r}; there are {', '.join(DURABILITIES)}"
        raise ValueError(message)
    return durability


def checked_breakpoints(names: Sequence[str] | str | None, nodes: Sequence[str]) -> Sequence[str] | str:
    """Return the names of nodes to stop at.

    Raises:
        InvalidGraph: One of them is no node.
    """
    if names is None:
        return ()
    if names == "*":
        return "*"
    listed = (names,) if isinstance(names, str) else tuple(names)
    for name in listed:
        if name not in nodes:
            message = f"Interrupt node `{name}` not found"
            raise InvalidGraph(message, hint=f"The graph's nodes are {', '.join(map(repr, nodes))}.")
    return listed
