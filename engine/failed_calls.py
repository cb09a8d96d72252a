"""Failures of ``@task`` calls, as their callers meet them: caught, or the end of the caller.

    the call fails ──► TaskFailed, with the exception ──► its caller asks for the result, and meets it
                         ├─ its caller makes another call, or asks ──► CallsSettled(kept): raised again on replay
                         └─ its caller ends by it ───────────────────► the call is made again with its caller
    kept, and its caller ends by it after all ──────────────────► CallsSettled(open): made again

That a caller went on can only be seen by what it does next, so the note of it lies in the frame of that: either both
are in the log or neither is. Until then a failed call is made again, as nothing depends on how it failed.

Invariants:
1. A failure that some recorded outcome of the caller followed is raised again on replay, so that the caller takes the
   way that it took.
2. A failure that ended its caller is never kept: else no resume could get beyond it.

It must not append: it makes records.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..replay.state import FAILED, KEPT
from ..wal.record import CallsSettled
from .context import FailedCall, current

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wal.record import Path
    from .context import TaskContext
    from .run import Run


_NOTING = threading.Lock()
"""Held while a caller's failed calls change, since calls end in threads of their own. Failures are rare."""


def note_failed(caller: TaskContext[Run], path: Path, error: BaseException) -> None:
    """Remember that a call failed in this attempt at its caller."""
    with _NOTING:
        caller.failing = (*caller.failing, FailedCall(path, error))


def note_met(error: BaseException) -> None:
    """Remember that the body that runs here has been given a call's exception."""
    caller = current.get()
    if caller is None or not caller.failing:
        return
    with _NOTING:
        caller.failures = (*caller.failures, *(each for each in caller.failing if each.error is error))
        caller.failing = tuple(each for each in caller.failing if each.error is not error)


def settled_by(caller: TaskContext[Run], failures: tuple[FailedCall, ...]) -> tuple[CallsSettled, ...]:
    """Return the record that a caller went on after these failures; to be written with what it did next."""
    graph = caller.run.graph
    with _NOTING:
        open_now = set(map(id, failures))
        caller.failures = tuple(failed for failed in caller.failures if id(failed) not in open_now)
        caller.kept = (*caller.kept, *failures)
    paths = tuple(failed.path for failed in failures if _status(graph.outcomes.get(failed.path)) == FAILED)
    return (CallsSettled(caller.run.scope, paths, "kept"),) if paths else ()


def given_up(caller: TaskContext[Run], error: BaseException) -> tuple[CallsSettled, ...]:
    """Return the record that failures which had been kept ended their caller; to be written with its own failure."""
    if not caller.kept:
        return ()
    chain = {id(each) for each in _chain(error)}
    outcomes = caller.run.graph.outcomes
    paths = tuple(
        failed.path
        for failed in caller.kept
        if id(failed.error) in chain and _status(outcomes.get(failed.path)) == KEPT
    )
    return (CallsSettled(caller.run.scope, paths, "open"),) if paths else ()


def _status(outcome: object) -> str | None:
    return getattr(outcome, "status", None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, what caused it, what it was raised while handling, and the members of groups."""
    seen: set[int] = set()
    left = [error]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [other for other in (each.__cause__, each.__context__) if other is not None]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
