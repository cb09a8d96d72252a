"""Which questions of a thread are open, and what an answer must wake.

A question may have been asked anywhere: by a node, by a ``@task`` in it, by a subgraph's node, at any depth. The task
that asked has to run again with the answer, and so do all the tasks around it: the callers of a ``@task``, and the
task of the graph above that runs the subgraph.

Invariants:
1. A question is found whether or not its graph is known here: records that are kept unread are looked through.
2. ``answering`` wakes each task around the question once, outermost last.

It must not decide which answer belongs to which question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..wal.record import (
    Forked,
    RunStarted,
    StateEdited,
    StepCommitted,
    TaskAnswered,
    TaskFinished,
    TaskInterrupted,
)
from .identity import is_within, parent_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wal.record import Path, Question
    from .state import ThreadState, Unread


class Asked(NamedTuple):
    """An open question, with the task that asked it."""

    scope: str
    path: Path
    question: Question


def open_questions(state: ThreadState) -> list[Asked]:
    """Return the thread's open questions, those of the outer graphs first."""
    asked: list[Asked] = []
    for scope in sorted({*state.scopes, *state.unread}):
        if not is_current(state, scope):
            # A persistent subgraph whose caller has gone on since; nobody waits for its answer.
            continue
        held: dict[Path, dict[str, Question]] = {}
        graph = state.scopes.get(scope)
        if graph is not None:
            for path, question in graph.questions():
                held.setdefault(path, {})[question.id] = question
        for record in _unread(state.unread.get(scope)):
            match record:
                case TaskInterrupted(_, path, questions):
                    held.setdefault(path, {}).update({question.id: question for question in questions})
                case TaskAnswered(_, path, answers):
                    for key, _ in answers:
                        held.get(path, {}).pop(key, None)
                case TaskFinished():
                    held.pop(record.path, None)
                case StepCommitted() | RunStarted() | Forked() | StateEdited(how="update" | "clear"):
                    held.clear()
        asked.extend(
            Asked(scope, path, question)
            for path, questions in held.items()
            for question in questions.values()
        )
    return asked


def answering(state: ThreadState, asked: Asked, answer: Any) -> list[TaskAnswered]:
    """Return the records of one answer: to the task that asked, and to wake all tasks around it."""
    records = [TaskAnswered(asked.scope, asked.path, ((asked.question.id, answer),))]
    records.extend(TaskAnswered(scope, path, ()) for scope, path in around(state, asked.scope, asked.path))
    return records


def around(state: ThreadState, scope: str, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield scope and path of the tasks around a task, innermost first."""
    while True:
        while len(path) > 1:
            path = path[:-1]
            yield scope, path
        caller = _caller(state, scope)
        if caller is None:
            return
        scope, path = parent_scope(scope), caller
        yield scope, path


def is_current(state: ThreadState, scope: str) -> bool:
    """Return whether a scope's run was called in the present step of the graph above it, at every level."""
    while scope:
        above = parent_scope(scope)
        if _base(state, scope) <= _base(state, above):
            return False
        scope = above
    return True


def runs_in(state: ThreadState, below: str, scope: str, path: Path) -> bool:
    """Return whether the task at ``path`` in ``scope`` runs the subgraph ``below``, directly or deeper down."""
    return is_within(below, scope) and is_current(state, below) and (scope, path) in around(state, below, ())


def _base(state: ThreadState, scope: str) -> int:
    """Return the seq of a scope's newest barrier."""
    graph = state.scopes.get(scope)
    if graph is not None:
        return graph.base
    unread = state.unread.get(scope)
    while unread is not None:
        match unread.record:
            case RunStarted() | StepCommitted() | Forked() | StateEdited(how="update" | "clear"):
                return unread.seq
        unread = unread.older
    return 0


def _caller(state: ThreadState, scope: str) -> Path | None:
    if not scope:
        return None
    graph = state.scopes.get(scope)
    if graph is not None:
        return graph.caller
    for record in _unread(state.unread.get(scope)):
        if isinstance(record, RunStarted):
            return record.caller
    return None


def _unread(unread: Unread | None) -> list[Any]:
    records: list[Any] = []
    while unread is not None:
        records.append(unread.record)
        unread = unread.older
    records.reverse()
    return records
