"""Checkpoints as users see them: views of the fold, made when asked for.

    live (no checkpoint id)     values with the writes of finished siblings, next = what is unfinished (GS-1)
    record (a checkpoint id)    values at the start of the step, all its tasks, questions even if answered (GS-2)

Invariants:
1. A view never fails because a step's writes conflict: such a channel is shown as it was before.
2. Nothing is written, and no user code but reducers runs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..replay.identity import (
    LEVEL_SEPARATOR,
    TASK_SEPARATOR,
    checkpoint_id,
    child_scope,
    lives_one_step,
    task_id,
)
from ..replay.live import live_values
from ..replay.plan import unfinished_paths
from ..replay.questions import open_questions
from ..replay.scopes import above, base_of, runs_in
from ..replay.state import FINISHED
from .control import PregelTask, StateSnapshot
from .interrupt import shown
from .metadata import public_path
from .nested import subgraph_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..replay.history import Checkpoint
    from ..replay.state import GraphState, Outcome, ThreadState
    from ..wal.record import Path, Question
    from .control import Interrupt
    from .program import Program


def empty(config: dict[str, Any]) -> StateSnapshot:
    """Return the view of a thread that has no checkpoint."""
    return StateSnapshot({}, (), config, None, None, None, (), ())


def config_of(thread: str, scope: str, seq: int, parents: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the config that addresses a checkpoint; for a subgraph's, with the checkpoints around it (GS-4)."""
    text = checkpoint_id(seq)
    configurable: dict[str, Any] = {"thread_id": thread, "checkpoint_ns": scope, "checkpoint_id": text}
    if scope:
        configurable["checkpoint_map"] = {**(parents or {}), scope: text}
    return {"configurable": configurable}


def parents_of(state: ThreadState, scope: str) -> dict[str, str]:
    """Return the checkpoints of the graphs around a subgraph, outermost first (K-6); none for the root."""
    around: list[str] = []
    while scope:
        scope = above(state, scope)
        around.append(scope)
    return {name: checkpoint_id(base_of(state, name)) for name in reversed(around)}


def metadata_of(state: ThreadState, scope: str, graph: GraphState) -> dict[str, Any]:
    """Return the metadata of a checkpoint (K-5); ``state`` is the thread's when it was made."""
    parents = parents_of(state, scope)
    return {**graph.metadata, "source": graph.source, "step": graph.step, "parents": parents}


def snapshot(
    program: Program, thread: str, scope: str, found: Checkpoint, *, live: bool, by_name: bool = False
) -> StateSnapshot:
    """Return the view of one checkpoint.

    Args:
        program: The graph.
        thread: The thread's id.
        scope: The graph's namespace.
        found: The checkpoint, with what its step's tasks came to and the state of the thread around it.
        live: Whether this is the head, or a checkpoint addressed by its id.
        by_name: Whether nodes are listed by name, as where they run, instead of as they were added (P-3).
    """
    graph = found.graph
    paths = graph.paths()
    if not by_name and len(graph.due) > 1:
        places = {name: place for place, name in enumerate(program.nodes)}
        paths.sort(key=lambda path: -1 if isinstance(path[0], int) else places.get(path[0], len(places)))
    tasks = tuple(_task(program, thread, scope, found, path, live=live) for path in paths)
    interrupts: dict[str, Interrupt] = {}
    for task in tasks:
        for asked in task.interrupts:
            interrupts.setdefault(asked.id, asked)
    left = unfinished_paths(graph) if live else paths
    metadata = metadata_of(found.begun, scope, graph)
    # What a renamed subgraph follows on its branch is a checkpoint of another namespace.
    parent = None if graph.source == "fork" and lives_one_step(scope) else graph.parent
    return StateSnapshot(
        values=_values(program, graph, live=live),
        next=tuple(graph.node_of(path) for path in paths if path in left),
        config=config_of(thread, scope, graph.base, metadata["parents"]),
        metadata=metadata,
        created_at=datetime.fromtimestamp(graph.at / 1e9, UTC).isoformat(),
        parent_config=config_of(thread, scope, parent, metadata["parents"]) if parent else None,
        tasks=tasks,
        interrupts=tuple(interrupts.values()),
    )


def _values(program: Program, graph: GraphState, *, live: bool) -> Any:
    values = live_values(program.blueprint, graph) if live else graph.values
    if program.is_entrypoint:
        return values.get("__end__")
    read = program.reader.values(values)
    return read.get("__root__") if program.root else read


def _task(
    program: Program, thread: str, scope: str, found: Checkpoint, path: Path, *, live: bool
) -> PregelTask:
    graph = found.graph
    outcome = graph.outcomes.get(path)
    name = graph.node_of(path)
    asked: list[Question] = []
    for held, nested in graph.outcomes.recent():
        if held[: len(path)] == path:
            asked += nested.pending() if live else nested.questions
    # In a copy that nobody wrote to yet, tasks have the names that they had in the other thread.
    task = task_id(found.thread.thread or thread, scope, graph.base, path)
    within = [
        held
        for held in (*found.thread.scopes, *found.thread.unread)
        if runs_in(found.thread, held, scope, graph.acting(path))
    ]
    if live and within:
        asked += [item.question for item in open_questions(found.thread) if item.scope in within]
    elif not live:
        asked += [question for around, question in found.asked if around == path]
    # Two tasks around a question may both show it.
    once = {question.id: question for question in asked}
    return PregelTask(
        id=task,
        name=name,
        path=public_path(path),
        error=_error(outcome),
        interrupts=shown(tuple(once.values())),
        state=_where(program, thread, child_scope(scope, f"{name}{TASK_SEPARATOR}{task}"), name, within),
        result=_result(program, outcome),
    )


def _error(outcome: Outcome | None) -> str | None:
    """Return the text of the error by which a task failed, or an answer to it was refused (I-12)."""
    if outcome is None:
        return None
    return outcome.refused if outcome.failure is None else outcome.failure.text


def _where(
    program: Program, thread: str, scope: str, name: str, within: Sequence[str]
) -> dict[str, Any] | None:
    """Return the config of a task's subgraph, whether or not it has begun; None if it runs none that is kept (GS-3)."""
    inner = subgraph_of(program, name)
    if inner is None or inner.settings.log is False:
        if not within:
            return None
        scope = min(within, key=lambda held: (held.count(LEVEL_SEPARATOR), len(held)))
    return {"configurable": {"thread_id": thread, "checkpoint_ns": scope}}


def _result(program: Program, outcome: Outcome | None) -> Any:
    if outcome is None or outcome.status != FINISHED:
        return None
    if program.is_entrypoint:
        return next((value for key, value in outcome.writes if key == "__end__"), None)
    written: dict[str, list[Any]] = {}
    for key, value in outcome.writes:
        if not key.startswith("__") or key == "__root__":
            written.setdefault(key, []).append(value)
    return {key: held[0] if len(held) == 1 else {"$writes": held} for key, held in written.items()}
