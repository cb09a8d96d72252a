"""Ways out of ``GraphChanged``: how a thread goes on whose graph lost what an unfinished step still needs.

    compile(on_change=old_graph)    pin: the run is carried on by the old graph, till it ends
    compile(on_change=migrate)      migrate(values, changed) → the values that change, or a Command with a goto
    compile(on_change="drop")       tasks of nodes that are gone are given up, all others go on

    the open step ──► StateEdited(clear): what its finished tasks wrote counts, nothing is due
                  ──► StateEdited(update): what the migration wrote, and where control goes
                  ──► RunResumed                                             all in one frame

Invariants:
1. Nothing is recorded unless the migration returned, so one that fails leaves the thread as it was.
2. A thread that the graph still fits is never touched.

It must not decide whether a graph fits: ``graph_check`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.errors import GraphChanged
from ..replay.fold import fold
from ..replay.state import CAUGHT, FINISHED
from ..wal.record import Edit, RunResumed, StateEdited
from .control import Command
from .opening import edit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..replay.state import GraphState, ThreadState
    from ..wal.record import Record, Target
    from .run import Run
    from .settings import Compiled


def pinned(graph: Compiled) -> Compiled | None:
    """Return the graph that threads go on with which this one does not fit any more, if there is one."""
    old = getattr(graph.settings.on_change, "parts", None)
    if old is None:
        return None
    found: Compiled = old
    return found._replace(settings=found.settings._replace(log=graph.settings.log))


def carried_over(
    run: Run, given: Any, records: Sequence[Record], changed: GraphChanged, how: Any
) -> list[Record]:
    """Return the records that open a run whose open step is settled first.

    Args:
        run: The run of the root graph that is about to resume.
        given: What the caller passed.
        records: The records that would have begun it.
        changed: What the graph lost.
        how: ``"drop"``, or the user's function.

    Raises:
        GraphChanged: Answers or edits were given, which belong to the step that is to be settled.
        InvalidUpdateError: The migration's result means nothing to the graph.
    """
    *before, resume = records
    if given is not None or not isinstance(resume, RunResumed):
        changed.add_note(
            "invoke(None, config) carries the thread over to the new graph first; then answer anew"
        )
        raise changed
    state = run.recorder.state
    for record in before:
        state = _folded(run, state, record)
    root = state.scopes[""]
    targets = _left(run, root)
    clear = StateEdited("", resume.at, "clear", ())
    values = dict(_folded(run, state, clear).scopes[""].values)
    command = None if how == "drop" else how(values, changed)
    edit = Edit(None, (), tuple(targets))
    if command is not None:
        is_whole = isinstance(command, Command)
        edit = edit_of(run, command if is_whole else Command(update=command))
        if not (is_whole and command.goto):
            edit = edit._replace(goto=tuple(targets))
    return [*before, clear, StateEdited("", resume.at, "update", (edit,)), resume]


def _folded(run: Run, state: ThreadState, record: Record) -> ThreadState:
    return fold(run.recorder.blueprints.get, state, state.seq + 1, record)


def _left(run: Run, graph: GraphState) -> list[Target]:
    """Return where control goes that the graph still has: on from what has finished, and again to what has not."""
    nodes = run.program.nodes
    targets: list[Target] = []
    for path in graph.paths():
        outcome = graph.standing(path)
        if outcome is not None and outcome.status in {FINISHED, CAUGHT}:
            targets += [target for target in outcome.goto if _names(target) <= nodes.keys()]
            continue
        head = path[0]
        if graph.node_of(path) in nodes:
            targets.append(("send", *graph.sends[head]) if isinstance(head, int) else head)
    return targets


def _names(target: Target) -> set[str]:
    """Return the nodes that a target leads to."""
    if isinstance(target, str):
        return {target}
    match target[0]:
        case "join":
            return {target[2]}
        case _:
            return {target[1]}
