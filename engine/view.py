"""Checkpoints as users see them: views of the fold, made when asked for.

    live (no checkpoint id)     values with the writes of finished siblings, next = what is unfinished (GS-1)
    record (a checkpoint id)    values at the start of the step, all its tasks, questions even if answered (GS-2)

Invariants:
1. A view never fails because a step's writes conflict: such a channel is shown as it was before.
2. Nothing is written, and no user code but reducers runs.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..replay.fold import apply_writes
from ..replay.identity import LEVEL_SEPARATOR, checkpoint_id, task_id
from ..replay.plan import unfinished
from ..replay.questions import open_questions
from ..replay.scopes import runs_in
from ..replay.state import FINISHED
from .control import PregelTask, StateSnapshot
from .interrupt import shown
from .metadata import public_path

if TYPE_CHECKING:
    from ..replay.state import GraphState, Outcome, ThreadState
    from ..wal.record import Path, Question, Write
    from .control import Interrupt
    from .program import Program


def empty(config: dict[str, Any]) -> StateSnapshot:
    """Return the view of a thread that has no checkpoint."""
    return StateSnapshot({}, (), config, None, None, None, (), ())


def config_of(thread: str, scope: str, seq: int) -> dict[str, Any]:
    """Return the config that addresses a checkpoint."""
    return {
        "configurable": {"thread_id": thread, "checkpoint_ns": scope, "checkpoint_id": checkpoint_id(seq)}
    }


def snapshot(
    program: Program,
    thread: str,
    scope: str,
    graph: GraphState,
    *,
    live: bool,
    state: ThreadState | None = None,
) -> StateSnapshot:
    """Return the view of one checkpoint.

    Args:
        program: The graph.
        thread: The thread's id.
        scope: The graph's namespace.
        graph: Its state, with the outcomes of the step after the checkpoint.
        live: Whether this is the head, or a checkpoint addressed by its id.
        state: The thread's state, to find the questions of subgraphs.
    """
    tasks = tuple(_task(program, thread, scope, graph, path, live=live) for path in graph.paths())
    if state is not None:
        places = zip(tasks, graph.paths(), strict=True)
        tasks = tuple(_with_nested(task, state, scope, path, live=live) for task, path in places)
    interrupts: dict[str, Interrupt] = {}
    for task in tasks:
        for asked in task.interrupts:
            interrupts.setdefault(asked.id, asked)
    following = unfinished(graph) if live else tuple(graph.node_of(path) for path in graph.paths())
    return StateSnapshot(
        values=_values(program, graph, live=live),
        next=following,
        config=config_of(thread, scope, graph.base),
        metadata={**graph.metadata, "source": graph.source, "step": graph.step, "parents": {}},
        created_at=datetime.fromtimestamp(graph.at / 1e9, UTC).isoformat(),
        parent_config=None if not graph.parent else config_of(thread, scope, graph.parent),
        tasks=tasks,
        interrupts=tuple(interrupts.values()),
    )


def _values(program: Program, graph: GraphState, *, live: bool) -> Any:
    values = graph.values
    if live:
        written: dict[str, list[tuple[str, Write]]] = {}
        for path in sorted(graph.paths(), key=lambda p: (isinstance(p[0], int), p[0])):
            outcome = graph.outcomes.get(path)
            if outcome is not None and outcome.status == FINISHED:
                for write in outcome.writes:
                    if write[0][:2] != "__" or program.root:
                        written.setdefault(write[0], []).append((graph.node_of(path), write))
        for writes in written.values():
            # If the step cannot be closed over these writes, the channel is shown as it was before.
            with suppress(Exception):
                values = apply_writes(program.blueprint, values, writes, bump=False)
    if program.is_entrypoint:
        return values.get("__end__")
    read = program.reader.values(values)
    return read.get("__root__") if program.root else read


def _task(
    program: Program, thread: str, scope: str, graph: GraphState, path: Path, *, live: bool
) -> PregelTask:
    outcome = graph.outcomes.get(path)
    name = graph.node_of(path)
    asked: tuple[Question, ...] = ()
    for held, nested in graph.outcomes.items():
        if held[: len(path)] == path:
            asked += nested.pending() if live else nested.questions
    return PregelTask(
        id=task_id(thread, scope, graph.base, path),
        name=name,
        path=public_path(path),
        error=outcome.failure.text if outcome is not None and outcome.failure is not None else None,
        interrupts=shown(asked),
        state=None,
        result=_result(program, outcome),
    )


def _with_nested(task: PregelTask, state: ThreadState, scope: str, path: Path, *, live: bool) -> PregelTask:
    """Add the questions of the subgraphs that a task runs, and where their state is."""
    within = [name for name in (*state.scopes, *state.unread) if runs_in(state, name, scope, path)]
    if not within:
        return task
    if live:
        asked = [item.question for item in open_questions(state) if item.scope in within]
    else:
        folded = [state.scopes[name] for name in within if name in state.scopes]
        asked = [
            question for graph in folded for _, held in graph.outcomes.items() for question in held.questions
        ]
    known = {item.id for item in task.interrupts}
    more = tuple(item for item in shown(asked) if item.id not in known)
    first = min(within, key=lambda name: (name.count(LEVEL_SEPARATOR), len(name)))
    return task._replace(interrupts=task.interrupts + more, state={"configurable": {"checkpoint_ns": first}})


def _result(program: Program, outcome: Outcome | None) -> Any:
    if outcome is None or outcome.status != FINISHED:
        return None
    if program.is_entrypoint:
        return next((value for key, value in outcome.writes if key == "__end__"), None)
    return {key: value for key, value in outcome.writes if not key.startswith("__") or key == "__root__"}
