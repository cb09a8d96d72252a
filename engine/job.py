"""A node's task, ready to be performed: everything that is known before its body is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .metadata import public_path
from .node import not_stoppable
from .policy import TimeoutPolicy

if TYPE_CHECKING:
    from ..replay.state import GraphState, Outcome
    from ..wal.record import Path, Write
    from .context import TaskContext
    from .node import Node
    from .run import Run


class Job:
    """A task to perform: everything that is known before its body is called."""

    returned: list[Write] | None = None
    """What the body is taken to have written, so that only its routers are asked (for edits from outside)."""

    def __init__(
        self, run: Run, node: Node, context: TaskContext[Run], graph: GraphState, outcome: Outcome | None
    ) -> None:
        self.run = run
        self.node = node
        self.context = context
        self.path: Path = context.path
        self.graph = graph
        self.outcome = outcome

    @property
    def timeout(self) -> TimeoutPolicy | None:
        """How long an attempt may take: what the Send says, or else the node."""
        head = self.path[0]
        if isinstance(head, int) and len(self.path) == 1 and len(send := self.graph.sends[head]) > 2:
            return TimeoutPolicy.of_plain(send[2])
        return self.node.timeout

    def input(self) -> Any:
        """Return what the body is given."""
        node, path = self.node, self.path
        head = path[0]
        if isinstance(head, int) and node.is_plain and len(path) == 1 and len(self.graph.sends[head]) > 2:
            # The node was a coroutine function when the Send was recorded.
            raise not_stoppable("Node", node.name)
        try:
            return input_of(self.run, node, self.graph, path)
        except Exception as error:
            error.add_note(before(node.name, path))
            raise


def before(name: str, path: Path) -> str:
    """Return the note on an exception that was raised while a task's input was made, in LangGraph's words."""
    return f"Before task with name '{name}' and path '{public_path(path)}'"


def input_of(run: Run, node: Node, graph: GraphState, path: Path) -> Any:
    """Return what the task at a path is given: the Send's argument, or the state as the node's schema reads it."""
    head = path[0]
    if isinstance(head, int):
        return graph.sends[head][1]
    if node.name == run.program.entry:
        return graph.input
    values = graph.values
    return node.reader.read({**values, **run.untracked} if run.untracked else values, run)
