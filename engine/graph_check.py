"""Whether the graph of this process still has what an unfinished thread waits for.

    the thread, as the run will take it up ──► each graph that goes on: the root, and subgraphs of tasks that are due
                                                 ├─ has every node that is due and every channel that was written
                                                 └─ has not ──► GraphChanged, before anything is recorded

A subgraph is looked at here if it can be told without running anything which graph that is: the node is one, or its
function names just one. Others are looked at when they are called, before anything of theirs runs.

Invariants:
1. Nothing is recorded, and no user code runs.
2. What nobody will take up is not looked at: a subgraph of a task that has ended may have lost anything.

It must not append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.blueprint import differences
from ..replay.errors import GraphChanged
from ..replay.fold import attach, fold
from ..replay.identity import LEVEL_SEPARATOR, START
from ..replay.plan import Finish, plan
from ..replay.scopes import around, is_current
from ..replay.state import CAUGHT, FINISHED
from .nested import sure_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..replay.state import GraphState, ThreadState
    from ..wal.record import Record
    from .program import Program
    from .run import Run

HINT = (
    "Bring back what is due under its old name, let it finish with the old code, or start the thread anew with an "
    "input; update_state(config, values, as_node=...) also settles the open step, and compile(on_change=...) does so "
    "for all threads."
)


def check_thread(run: Run, opening: Sequence[Record], recorded: Mapping[str, Any] | None) -> None:
    """See that everything that a run takes up still exists, in its graph and in those below it.

    Args:
        run: The run of the root graph that is about to resume.
        opening: The records that are to begin it.
        recorded: The description of the graph that wrote the thread last, if the log has one.

    Raises:
        GraphChanged: A node that is due, or a channel that an unfinished step wrote, is gone.
    """
    state = run.recorder.state
    for record in opening:
        state = fold(run.recorder.blueprints.get, state, state.seq + 1, record)
    root = state.root()
    if root is None:
        return
    changed = differences(recorded, run.program.description) if recorded is not None else []
    try:
        check_graph(run, run.program, root, f" Changes since: {'; '.join(changed) or 'unknown'}")
    except GraphChanged as error:
        error.details["changes"] = changed
        raise
    programs: dict[str, Program | None] = {}
    scopes = (scope for scope in (*state.scopes, *state.unread) if scope)
    # A graph's namespace has fewer parts than those of the graphs that its tasks run.
    for scope in sorted(scopes, key=lambda text: text.count(LEVEL_SEPARATOR)):
        if not is_current(state, scope):
            continue
        program = programs[scope] = sure_program(run.program, scope)
        if program is None:
            continue
        state = attach(lambda held: _blueprint(programs, held), state, scope)
        graph = state.scopes[scope]
        if _is_taken_up(state, scope, graph):
            check_graph(run, program, graph, scope=scope)


def _blueprint(programs: Mapping[str, Program | None], scope: str) -> Any:
    program = programs.get(scope)
    return None if program is None else program.blueprint


def _is_taken_up(state: ThreadState, scope: str, graph: GraphState) -> bool:
    """Return whether a subgraph has something left to do, and every task around it runs again."""
    if isinstance(plan(graph), Finish):
        return False
    for outer, path in around(state, scope, ()):
        above = state.scopes.get(outer)
        if above is None:
            return False
        outcome = above.outcomes.get(path)
        if outcome is not None and (outcome.returned or outcome.status in {FINISHED, CAUGHT}):
            return False
    return True


def check_graph(run: Run, program: Program, graph: GraphState, told: str = "", *, scope: str = "") -> None:
    """See that everything that is due in one graph still exists in it.

    Args:
        run: The run.
        program: The graph.
        graph: Its state.
        told: What else is known, for the message.
        scope: The graph's namespace.

    Raises:
        GraphChanged: A node that is due, or a channel that an unfinished step wrote, is gone.
    """
    paths = graph.paths()
    nodes = (
        {graph.node_of(graph.acting(path)) for path in paths}
        | graph.deferred
        | {key[1] for key in graph.joins}
    )
    lost_nodes = sorted(name for name in nodes if name not in program.nodes and name != START)
    standing = (graph.standing(path) for path in paths)
    written = {key for outcome in standing if outcome is not None for key, _ in outcome.writes}
    lost_channels = sorted(
        key for key in written if not key.startswith("__") and key not in program.blueprint.channels
    )
    if not lost_nodes and not lost_channels:
        return
    what = [f"node {name!r} is due" for name in lost_nodes] + [
        f"channel {key!r} was written" for key in lost_channels
    ]
    place = f" in namespace {scope!r}" if scope else ""
    message = (
        f"thread {run.thread!r} at seq {run.recorder.state.seq}: {', '.join(what)}{place}, but graph {program.name!r} "
        f"no longer has it.{told}"
    )
    raise GraphChanged(message, hint=HINT, nodes=lost_nodes, channels=lost_channels, namespace=scope)
