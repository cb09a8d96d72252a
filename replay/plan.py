"""What is due: ``GraphState → Move``.

    no step open   something due          → Begin      record that the step starts, then execute
                   nothing due            → Finish     the run is done
    step open      tasks without outcome  → Execute    see that they run
                   a task failed          → Fail       the run ends, siblings' outcomes are safe
                   a task waits           → Suspend    the run ends, its questions are open
                   all finished           → Commit     close the step

    A task that failed into an error handler is as far as its handler is: the handler is what is executed, what fails
    and what waits in its place.

Plan never asks whether it is recovering. An unfinished step simply plans to finish; that is all the resume code
there is.

Invariants:
1. A task whose outcome is finished is never in an Execute (guarantee G2).
2. Equal states give equal moves: no clock, no randomness, no user code.
3. Failures and questions are looked at only when nothing is left to execute, so siblings always end.

It must not change state, and must not know how tasks are run.
"""

from typing import TypeAlias

from ..wal.named import NamedTuple, new
from ..wal.record import Path, Question
from .state import DUE, FAILED, FINISHED, UNROUTED, WAITING, GraphState


class Begin(NamedTuple):
    """Start the superstep, which consists of what the state says is due: record that, and see that its tasks run."""

    paths: list[Path]


class Execute(NamedTuple):
    """See that the tasks at these paths run."""

    paths: list[Path]


class Commit(NamedTuple):
    """Close the superstep."""


class Suspend(NamedTuple):
    """Stop until the questions are answered."""

    questions: list[tuple[Path, Question]]


class Fail(NamedTuple):
    """Stop: these tasks failed."""

    paths: list[Path]


class Finish(NamedTuple):
    """Nothing is left to do."""


Move: TypeAlias = Begin | Execute | Commit | Suspend | Fail | Finish

COMMIT, FINISH = Commit(), Finish()


def plan(graph: GraphState) -> Move:
    """Return what to do next."""
    if not graph.opened:
        paths = graph.paths()
        return new(Begin, (paths,)) if paths else FINISH
    due = graph.due
    if len(due) == 1 and not graph.sends:
        # What most steps are: the names of the nodes that are due are the path of the one task.
        outcome = graph.outcomes.get(due)
        if outcome is None:
            return new(Execute, ([due],))
        if outcome.status == FINISHED:
            return COMMIT
    execute: list[Path] = []
    failed: list[Path] = []
    waiting = False
    for each in graph.paths():
        outcome = graph.outcomes.get(each)
        if outcome is not None and outcome.caught is not None:
            each = graph.acting(each)  # noqa: PLW2901 - what is to be done for the task, its handler does
            outcome = graph.outcomes.get(each)
        if outcome is None or outcome.status in {DUE, UNROUTED}:
            execute.append(each)
        elif outcome.status == FAILED:
            failed.append(each)
        elif outcome.status == WAITING:
            waiting = True
    if execute:
        return Execute(execute)
    if failed:
        return Fail(failed)
    if waiting:
        return Suspend(graph.questions())
    return COMMIT


def unfinished(graph: GraphState) -> tuple[str, ...]:
    """Return the names of the nodes that are due or not finished: what users see as ``next``."""
    return tuple(graph.node_of(path) for path in unfinished_paths(graph))


def unfinished_paths(graph: GraphState) -> list[Path]:
    """Return the paths of the tasks that are due or not finished."""
    paths = graph.paths()
    left: list[Path] = []
    for path in paths:
        outcome = graph.standing(path)
        if outcome is None or outcome.status in {DUE, UNROUTED, FAILED, WAITING}:
            left.append(path)
    # If all have ended, yet the step is open, its outcomes conflict, or the process died before it was closed.
    return left if left or not graph.opened else paths
