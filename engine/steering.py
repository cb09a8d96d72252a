"""Commands that a subgraph's task gives to a graph above it: whose they are, and how they are kept.

    node ─ Command(graph=PARENT) ─► the subgraph's task: TaskFinished with the command as its write (``keep_command``)
                                      └─ its step is over ─► ParentCommand out of the subgraph's run (``command_given``)
                                           └─► the task that runs it: meant for its graph (``is_meant``)? as if it had
                                               returned the command; otherwise kept there, and given on

Invariants:
1. A command is recorded where it was made, and so is given again after a crash, and not made again.

It must not apply commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..replay.identity import lasting_scope
from ..wal.record import TaskFinished
from .control import Command
from .effect import Done
from .errors import ParentCommand

if TYPE_CHECKING:
    from ..replay.state import GraphState
    from .job import Job

PARENT_WRITE = "__parent__"
"""The write under which a command for the graph above is kept with the outcome of the task that gave it."""


def is_meant(job: Job, steering: ParentCommand) -> bool:
    """Return whether a command that came up from below is meant for this task's graph.

    It may be named by itself, or by its task that the command came through: the node, or its namespace (G-4).
    """
    if steering.target is not None:
        return steering.target == job.run.scope
    graph, own = steering.command.graph, job.context.scope_of_task
    return graph in {own, lasting_scope(own), job.node.name} or job.run.program.is_called(graph)


def keep_command(job: Job, steering: ParentCommand) -> Done:
    """Keep a command for the graph above as this task's outcome, so that it is given again and not made again."""
    run = job.run
    if steering.target is None and steering.command.graph == Command.PARENT:
        steering.target = run.above if run.scope else None
    if not run.scope:
        # There is no graph above; the command goes to the caller, and nothing is recorded of its task.
        return Done(job.path, (), steering)
    record = TaskFinished(run.scope, job.path, ((PARENT_WRITE, steering.command),), ())
    return Done(job.path, (record,), steering)


def command_given(graph: GraphState, above: str) -> ParentCommand | None:
    """Return the command that a task of the open step gave for a graph above; the first in the order of tasks.

    Args:
        graph: The subgraph's state.
        above: The scope of the graph that runs it.
    """
    for path in graph.paths():
        outcome = graph.outcomes.get(graph.acting(path))
        if outcome is not None and outcome.writes and outcome.writes[0][0] == PARENT_WRITE:
            command = outcome.writes[0][1]
            return ParentCommand(command, above if command.graph == command.PARENT else None)
    return None
