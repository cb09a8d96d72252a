"""What tasks sleep for and wait for: what the records of it mean, and which waits of a thread are open.

    TimerSet ──► the task's outcome holds a Wait ──► TimerFired | SignalReceived end it, and wake the task if it parked
    open_waits(state) ──► what parks the thread, wherever in it: a node, a ``@task``, a subgraph's node, at any depth

A wait is known by its task and its position among the task's sleeps and waits, as a question is.

Invariants:
1. A wait that has ended stays ended, on every attempt of its task, until the task's outcome is final.
2. A wait is found whether or not its graph is known here: records that are kept unread are looked through.

It must not decide whether a wait is over: it reads neither clock nor mailbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.named import NamedTuple
from ..wal.record import (
    Forked,
    RunStarted,
    SignalReceived,
    StateEdited,
    StepCommitted,
    TaskAnswered,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TimerFired,
    TimerSet,
)
from .plain import graph_from_plain
from .questions import order, unread_records
from .scopes import around, is_current
from .state import DUE, FINISHED, NEW_GRAPH, OUTCOMES, WAITING, Outcome, Wait, with_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wal.record import Path, Record
    from .state import GraphState, ThreadState

NOTHING = Outcome(DUE)


class Waiting(NamedTuple):
    """An open wait, with the task that is parked for it."""

    scope: str
    path: Path
    wait: Wait


def waited(graph: GraphState, record: TimerSet | TimerFired | SignalReceived) -> GraphState:
    """Take note that a task began to wait, or that its wait is over; one that was parked for it is due then."""
    before = graph.outcomes.get(record.path) or NOTHING
    if before.status == FINISHED:
        return graph
    position, status = record.position, before.status
    kept = tuple(wait for wait in before.waits if wait.position != position)
    if isinstance(record, TimerSet):
        wait = Wait(position, record.kind, record.name, record.at, record.due_at)
    else:
        (wait,) = (wait for wait in before.waits if wait.position == position)
        status = DUE if status == WAITING else status
        if isinstance(record, TimerFired):
            wait = wait._replace(ended="fired")
        else:
            wait = wait._replace(ended="received", payload=record.payload)
    return _with(graph, record.path, before._replace(status=status, waits=(*kept, wait)))


def open_waits(state: ThreadState, top: str = "") -> list[Waiting]:
    """Return what tasks of a graph and of all below it are parked for, in the order in which tasks are listed.

    Args:
        state: The thread.
        top: The graph's scope; the root's for all of the thread.
    """
    found: list[Waiting] = []
    for scope in {*state.scopes, *state.unread}:
        graph = _outcomes_of(state, scope)
        if graph.outcomes and is_current(state, scope, top):
            found.extend(
                Waiting(scope, path, wait)
                for path, outcome in graph.outcomes.recent()
                if outcome.waits
                for wait in outcome.asleep()
                if not _is_abandoned(state, scope, path)
            )
    return sorted(found, key=lambda each: order(state, each.scope, each.path, each.wait.position))


def due_at(state: ThreadState) -> int | None:
    """Return when the first of a parked thread's waits is over at the latest; None if none has an end."""
    times = [each.wait.due_at for each in open_waits(state) if each.wait.due_at is not None]
    if state.deadline is not None:
        times.append(state.deadline)
    return min(times, default=None)


def waking(state: ThreadState, ended: TimerFired | SignalReceived) -> Iterator[Record]:
    """Yield the records of a wait that is over: its end, and what wakes all tasks around the one that waited."""
    yield ended
    for scope, path in around(state, ended.scope, ended.path):
        yield TaskAnswered(scope, path, ())


def _is_abandoned(state: ThreadState, scope: str, path: Path) -> bool:
    """Return whether a task around has finished without waiting for the one that waits."""
    for outer, place in around(state, scope, path):
        outcome = _outcomes_of(state, outer).outcomes.get(place)
        if outcome is not None and outcome.status == FINISHED:
            return True
    return False


def _outcomes_of(state: ThreadState, scope: str) -> GraphState:
    """Return what is known of a graph's waits: of a state with records that cannot be folded yet only the outcomes."""
    graph = state.scopes.get(scope, NEW_GRAPH)
    for record in unread_records(state.unread.get(scope)):
        match record:
            case TimerSet() | TimerFired() | SignalReceived():
                graph = waited(graph, record)
            case (
                TaskInterrupted(_, path) | TaskAnswered(_, path) | TaskFinished(_, path) | TaskFailed(_, path)
            ):
                status = {TaskInterrupted: WAITING, TaskAnswered: DUE}.get(type(record), FINISHED)
                graph = _with(graph, path, (graph.outcomes.get(path) or NOTHING)._replace(status=status))
            case StepCommitted() | RunStarted() | StateEdited(how="update" | "clear" | "input"):
                graph = NEW_GRAPH
            case Forked():
                graph = graph_from_plain(record.state)
    return graph


def _with(graph: GraphState, path: Path, outcome: Outcome) -> GraphState:
    return with_field(graph, OUTCOMES, graph.outcomes.put(path, outcome))
