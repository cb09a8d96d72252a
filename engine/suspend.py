"""Runs that are suspended: what they sleep for or wait for, as users and callers are told.

    sleep, wait_for ── longer than a task waits in place ──► GraphSuspended parks the task, its siblings finish
    the run ends ``sleeping`` or ``waiting`` ──► {..., "__suspended__": [Suspension(kind, name, until)]}

It must not decide when a run goes on (``waking``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.waits import open_waits
from ..wal.codec import register_type
from ..wal.head import moment
from ..wal.named import NamedTuple
from .errors import GraphInterrupt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..replay.state import ThreadState
    from ..replay.waits import Waiting

SUSPENDED = "__suspended__"
"""The key under which ``invoke`` and streams show what a run is suspended for."""


class Suspension(NamedTuple):
    """What a task of a suspended run sleeps for or waits for.

    Args:
        kind: ``"sleep"`` or ``"wait"``.
        name: The signal that is waited for; of a sleep, the task's node.
        until: When it is over at the latest, in UTC; None for a wait without a time-out.
    """

    kind: str
    name: str
    until: datetime | None


# It is part of what a handed-over run came to, which other processes read.
register_type(Suspension, name="walgraph:Suspension")


class GraphSuspended(GraphInterrupt):
    """A task sleeps, or waits for a signal, longer than is waited for in place; it runs again when that is over."""


def suspensions(state: ThreadState, waits: Sequence[Waiting]) -> tuple[Suspension, ...]:
    """Return open waits as users see them."""
    shown = []
    for scope, path, wait in waits:
        graph = state.scopes.get(scope)
        node = str(path[0]) if graph is None else graph.node_of(path)
        until = None if wait.due_at is None else moment(wait.due_at)
        shown.append(Suspension("sleep" if wait.name is None else "wait", wait.name or node, until))
    return tuple(shown)


def suspended(state: ThreadState) -> tuple[Suspension, ...]:
    """Return what a thread is suspended for."""
    return suspensions(state, open_waits(state))


def how_parked(waits: Sequence[Waiting]) -> str:
    """Return how a run ends that stops for these, and for no question: it sleeps, unless all wait for signals."""
    if not waits:
        return "parked"
    return "waiting" if all(each.wait.name is not None for each in waits) else "sleeping"


def with_suspended(output: Any, shown: Sequence[Suspension]) -> Any:
    """Return an output together with what the run is suspended for; what is no dict gives way to one."""
    if not shown:
        return output
    return {**(output if isinstance(output, dict) else {}), SUSPENDED: list(shown)}
