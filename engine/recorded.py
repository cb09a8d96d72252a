"""The clock, chance and fresh ids for code that is replayed: asked once, and then read from the log.

    now()       the time, in UTC              random()     a number from 0 up to 1              uuid4()     a fresh id

Each is a call like one of a ``@task``: it has a place among its caller's calls, and is compared on replay. It returns
its value at once, in functions and coroutines alike.

Invariants:
1. A value is in the log, as durable as the run's mode says, before a task that is called after it begins, and no later
   than what its caller comes to: so nobody outside ever sees a value that a replay would not find.
"""

from __future__ import annotations

import random as chance
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ..replay.state import FINISHED
from ..wal.record import TaskFinished
from . import clock
from .call import SyncAsyncFuture, fingerprint
from .calling import RETURN, end_of_history, on_loop
from .context import here

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def now() -> datetime:
    """Return the time, with zone UTC; the same again whenever the caller is replayed.

    Raises:
        OutsideOfRun: No node, task or entrypoint is running.
        NonDeterminism: Another call is recorded in this place.
    """
    return _recorded("now", lambda: datetime.fromtimestamp(clock.now() / 1e9, UTC))


def random() -> float:
    """Return a random number x with 0 <= x < 1; the same again whenever the caller is replayed.

    Raises:
        OutsideOfRun: No node, task or entrypoint is running.
        NonDeterminism: Another call is recorded in this place.
    """
    return _recorded("random", chance.random)


def uuid4() -> uuid.UUID:
    """Return a random id; the same again whenever the caller is replayed.

    Raises:
        OutsideOfRun: No node, task or entrypoint is running.
        NonDeterminism: Another call is recorded in this place.
    """
    return _recorded("uuid4", uuid.uuid4)


def _recorded(name: str, ask: Callable[[], T]) -> T:
    caller = here(name)
    run = caller.run
    path = (*caller.path, next(caller.calls))
    call = fingerprint(name, (), {})
    outcome = run.graph.outcomes.get(path)
    dropped: tuple[Any, ...] = ()
    if outcome is not None and outcome.call is not None and outcome.call[:2] != call[:2]:
        from .determinism import is_rerun

        if is_rerun(caller, path, outcome.call, call):
            from ..wal.record import CallsSettled

            dropped, outcome = (CallsSettled(run.scope, (path,), "dropped"),), None
    if outcome is not None and outcome.status == FINISHED:
        found: T = outcome.writes[0][1]
        return found
    if run.is_replayed:
        raise end_of_history(path, call)
    value = ask()
    records = (*dropped, TaskFinished(run.scope, path, ((RETURN, value),), (), call))
    if run.recorder.durability == "sync" and on_loop():
        # The loop must not wait for a disk; what the caller does next does.
        noting = caller.noting = SyncAsyncFuture.of_coroutine(run.recorder.arecord(records))
        caller.children.append(noting)
    else:
        run.recorder.record(records)
    return value
