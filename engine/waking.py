"""What wakes a suspended thread when somebody resumes it: timers whose time has come, signals that were sent.

    resume ──► for each open wait, the longest waiting first: a message? the time? ──► SignalReceived | TimerFired
           ──► nothing, and nothing else is to be done: the thread stays asleep, and nothing is recorded

Invariants:
1. A signal that was sent before a wait's time was over is received, whenever the thread is resumed.
2. A timer fires when the clock shows its time, and not before; one that the clock was put back behind is set anew.

It must not append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..replay.plan import unfinished_paths
from ..replay.recover import recover
from ..replay.scopes import around
from ..replay.waits import open_waits, waking
from ..wal.codec import GLOBAL
from ..wal.errors import UnknownType
from ..wal.record import TimerFired, TimerSet
from . import clock

if TYPE_CHECKING:
    from ..replay.state import ThreadState
    from ..replay.waits import Waiting
    from ..wal.log import Log
    from ..wal.record import Record
    from .run import Run


def wake_ups(run: Run, state: ThreadState) -> list[Record]:
    """Return the records of all waits that are over by now.

    Args:
        run: The run that takes the thread up.
        state: The thread.
    """
    waits = open_waits(state)
    if not waits or run.recorder.writer is None:
        return []
    now = clock.now()
    records: list[Record] = []
    for each in sorted(waits, key=lambda waiting: waiting.wait.at):
        records.extend(_woken(run, state, each, now))
    return records


def _woken(run: Run, state: ThreadState, each: Waiting, now: int) -> list[Record]:
    scope, path, wait = each
    if wait.name is not None:
        message = run.recorder.mailroom().take(wait.name, until=wait.due_at)
        if message is not None:
            from .timer import received_from

            return list(waking(state, received_from(scope, path, wait.position, now, message, run)))
    if wait.due_at is None:
        return []
    if now >= wait.due_at:
        return list(waking(state, TimerFired(scope, path, wait.position, now)))
    if now < wait.at and wait.kind != "until":
        due_at = now + (wait.due_at - wait.at)
        return [TimerSet(scope, path, wait.position, wait.kind, wait.name, now, due_at)]
    return []


def is_at_rest(state: ThreadState) -> bool:
    """Return whether a thread is suspended, and every task that is left waits for its time or a signal."""
    root = state.root()
    if root is None or root.ended not in {"sleeping", "waiting"}:
        return False
    held = set()
    for scope, path, _ in open_waits(state):
        outermost = [(scope, path), *around(state, scope, path)][-1]
        held.add(outermost[1][:1])
    return bool(held) and all(path[:1] in held for path in unfinished_paths(root))


def is_signalled(log: Log, thread: str) -> bool:
    """Return whether a signal waits that a task of a parked thread waits for; the graph need not be known."""
    sent = {message.name for message in log.store.mail.waiting(thread)}
    if not sent:
        return False
    try:
        state = recover(log, thread, lambda _: None, GLOBAL).state
    except UnknownType:
        # Whoever has the graph knows its classes.
        return True
    return any(each.wait.name in sent for each in open_waits(state))
