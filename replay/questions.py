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

from typing import TYPE_CHECKING, Any

from ..wal.named import NamedTuple
from ..wal.record import (
    Forked,
    RunStarted,
    StateEdited,
    StepCommitted,
    TaskAnswered,
    TaskFinished,
    TaskInterrupted,
)
from .plain import graph_from_plain
from .scopes import around, is_current

if TYPE_CHECKING:
    from ..wal.record import Path, Question
    from .state import ThreadState, Unread


class Asked(NamedTuple):
    """An open question, with the task that asked it."""

    scope: str
    path: Path
    question: Question


def open_questions(state: ThreadState, top: str = "", *, answered: bool = False) -> list[Asked]:
    """Return the open questions of a graph and of all below it, in the order in which tasks are listed.

    Args:
        state: The thread.
        top: The graph's scope; the root's for all of the thread's questions.
        answered: Whether questions count that were answered while the task that asked has not ended.
    """
    asked: list[Asked] = []
    for scope in {*state.scopes, *state.unread}:
        if not is_current(state, scope, top):
            # A persistent subgraph whose caller has gone on since; nobody waits for its answer.
            continue
        held: dict[Path, dict[str, Question]] = {}
        graph = state.scopes.get(scope)
        if graph is not None:
            for path, question in graph.questions(answered=answered):
                held.setdefault(path, {})[question.id] = question
        for record in unread_records(state.unread.get(scope)):
            match record:
                case TaskInterrupted(_, path, questions):
                    held.setdefault(path, {}).update({question.id: question for question in questions})
                case TaskAnswered(_, path, answers) if not answered:
                    for key, _ in answers:
                        held.get(path, {}).pop(key, None)
                case TaskFinished():
                    held.pop(record.path, None)
                case StepCommitted() | RunStarted() | StateEdited(how="update" | "clear" | "input"):
                    held.clear()
                case Forked():
                    held.clear()
                    for path, question in graph_from_plain(record.state).questions(answered=answered):
                        held.setdefault(path, {})[question.id] = question
        asked.extend(
            Asked(scope, path, question)
            for path, questions in held.items()
            for question in questions.values()
        )
    if len(asked) < 2:
        return asked
    return sorted(asked, key=lambda item: order(state, item.scope, item.path, item.question.position))


def answering(state: ThreadState, asked: Asked, answer: Any) -> list[TaskAnswered]:
    """Return the records of one answer: to the task that asked, and to wake all tasks around it."""
    records = [TaskAnswered(asked.scope, asked.path, ((asked.question.id, answer),))]
    records.extend(TaskAnswered(scope, path, ()) for scope, path in around(state, asked.scope, asked.path))
    return records


def task_around(state: ThreadState, asked: Asked, scope: str) -> Path:
    """Return the path of the node's task in ``scope`` that a question was asked in, by itself or at whatever depth."""
    places = [(asked.scope, asked.path), *around(state, asked.scope, asked.path)]
    return next(path for held, path in places if held == scope)[:1]


def order(state: ThreadState, scope: str, path: Path, position: int) -> tuple[Any, ...]:
    """Return what questions and waits are sorted by: the places of the tasks around, outermost first, as in P-3."""
    paths = [path, *(outer for _, outer in around(state, scope, path))]
    places = [tuple((isinstance(part, str), part) for part in place) for place in reversed(paths)]
    return places, scope, position


def unread_records(unread: Unread | None) -> list[Any]:
    """Return the records that are kept unread of a scope, oldest first."""
    records: list[Any] = []
    while unread is not None:
        records.append(unread.record)
        unread = unread.older
    records.reverse()
    return records
