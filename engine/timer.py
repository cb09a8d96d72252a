"""``sleep``, ``sleep_until`` and ``wait_for``: time and signals inside of tasks, durable.

    call ──► recorded before? ── ended ──► at once: the same answer as before (identity: the task and the position)
                              ── open ───► the rest of it
                              ── no ─────► TimerSet
         ──► is it over within ``park_after``?  yes: wait here, in short naps, until TimerFired or SignalReceived
                                                no:  GraphSuspended parks the task, and the run ends

The logic is one generator, ``_waiting``; it yields records to be recorded and seconds to rest, and a function and a
coroutine carry that out. Who rests lends its place to other calls, so that sleepers never keep tasks from running.

A CLOCK THAT IS PUT BACK   A sleep for a time, or a wait with a time-out, that finds the clock before the moment at
    which it was set begins its whole time anew: it never ends early and lasts at most once more. ``sleep_until``
    goes by what the clock shows.

Invariants:
1. What has ended once is never waited for again: not by another attempt, not after a restart.
2. A place where another wait is recorded raises ``NonDeterminism``; how long is no part of what is compared.
3. A task that waits in place stops for a drain, and for a pool that closes, within a nap.

It must not decide which run goes on when (``waking``).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ..replay.errors import NonDeterminism
from ..wal.codec import Decoder
from ..wal.fault import reach
from ..wal.head import nanoseconds
from ..wal.log_reading import checked_name
from ..wal.record import SignalReceived, TimerFired, TimerSet
from . import clock
from .calling import end_of_history, on_loop
from .clock import SECOND
from .context import here, watching
from .errors import DeadlineExceeded, NoLog, SignalTimeout
from .suspend import GraphSuspended
from .workers import is_closing, resting

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..replay.state import Wait
    from ..wal.mail import Message
    from ..wal.record import Record
    from .context import TaskContext
    from .run import Run

PARK_AFTER = 60.0
"""Up to how many seconds a task waits in place when nobody says how long."""
NAP = 0.05
"""How long a task rests before it looks again whether it is to stop, or a signal came, in seconds."""


def sleep(duration: float | timedelta) -> Any:
    """Sleep, durably: after a restart only the rest is slept, and a sleep that is over is never slept again.

    Up to ``config["park_after"]`` seconds (60) it is waited for in place. A longer one parks the task: the run ends as
    ``sleeping``, ``invoke`` returns what there is with ``"__suspended__"``, and whoever resumes the thread with an
    input of None when it is due, a ``Worker`` for example, runs the task again from its beginning.

    In a coroutine: ``await sleep(5)``.

    Args:
        duration: Seconds, or a timedelta; none or less is over at once.

    Raises:
        GraphSuspended: It is longer than is waited for in place. Do not catch it.
        GraphDrained: The run is to stop.
        NoLog: It is longer than is waited for in place, and nothing is kept of the run.
        NonDeterminism: Another wait is recorded in this place.
        OutsideOfRun: No task is running.
    """
    return _carried_out(_Asked("sleep", None, None, length_of(duration, "sleep")))


def sleep_until(when: datetime) -> Any:
    """Sleep until the clock shows a time; else as ``sleep``.

    Args:
        when: A time with its zone; one that has passed is over at once.

    Raises:
        ValueError: It has no zone.
        GraphSuspended: It is longer than is waited for in place. Do not catch it.
    """
    if not isinstance(when, datetime):
        message = f"sleep_until takes a datetime, not {when!r}"
        raise TypeError(message)
    return _carried_out(_Asked("until", None, nanoseconds(when), None))


def wait_for(name: str, *, timeout: float | timedelta | None = None) -> Any:
    """Return the payload of the next signal of a name that is sent to this thread, in the order of sending.

    A signal that was sent before is there at once. Otherwise the task parks, the run ends as ``waiting``, and whoever
    resumes the thread when the signal is there runs the task again from its beginning; a wait with a time-out of at
    most ``config["park_after"]`` seconds (60) is waited for in place. Each signal is received by one call.

    In a coroutine: ``await wait_for("approved")``.

    Args:
        name: The signal's name, as in ``log.signal(thread, name, payload)``.
        timeout: Seconds, or a timedelta, after which it raises; None waits without end.

    Returns:
        The payload; None is one like any other.

    Raises:
        SignalTimeout: No signal was sent in time.
        GraphSuspended: There is none yet. Do not catch it.
        NoLog: Nothing is kept of the run, so that nobody can send it anything.
        NonDeterminism: Another wait is recorded in this place.
        OutsideOfRun: No task is running.
    """
    length = None if timeout is None else length_of(timeout, "wait_for")
    return _carried_out(_Asked("wait", checked_name(name), None, length))


class _Asked(NamedTuple):
    """What user code asked for: a kind, a name, and either a moment or a length in nanoseconds."""

    kind: str
    name: str | None
    until: int | None
    length: int | None

    @property
    def words(self) -> str:
        """The call as it stands in the code, nearly."""
        return {"sleep": "sleep()", "until": "sleep_until()"}.get(self.kind, f"wait_for({self.name!r})")


def length_of(duration: float | timedelta, asked: str) -> int:
    """Return a duration in nanoseconds.

    Raises:
        TypeError: It is neither a number nor a timedelta.
        ValueError: It is no finite number.
    """
    if isinstance(duration, timedelta):
        return duration // timedelta(microseconds=1) * 1000
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        message = f"{asked} takes seconds or a timedelta, not {duration!r}"
        raise TypeError(message)
    if not math.isfinite(duration):
        message = f"{asked} takes a finite number of seconds, not {duration!r}"
        raise ValueError(message)
    return int(duration * SECOND)


def _carried_out(asked: _Asked) -> Any:
    """Carry out a wait, in this thread; on an event loop, return the coroutine that does."""
    context = here(asked.kind if asked.kind == "sleep" else asked.words.partition("(")[0])
    context.ensure_may_park(asked.words)
    if (watch := watching.get()) is not None:
        watch.calls()
    anchor = context
    while anchor.run.anchor is not None:
        # Nothing is kept of this graph, so its waits are those of the task that called it.
        anchor = anchor.run.anchor
    position, anchor.waits = anchor.waits, anchor.waits + 1
    steps = _waiting(anchor, asked, position)
    if context.run.is_async and on_loop():
        return _acarry_out(steps, context, anchor)
    return _carry_out(steps, anchor)


def _carry_out(steps: Generator[tuple[Record, ...] | float, None, Any], anchor: TaskContext[Run]) -> Any:
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        try:
            if isinstance(step, tuple):
                anchor.run.recorder.record(step)
            else:
                with resting():
                    clock.pause(step)
        except BaseException:
            steps.close()
            raise


async def _acarry_out(
    steps: Generator[tuple[Record, ...] | float, None, Any],
    context: TaskContext[Run],
    anchor: TaskContext[Run],
) -> Any:
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        try:
            if isinstance(step, tuple):
                await anchor.run.recorder.arecord(step)
            elif context.slot is None:
                await clock.apause(step)
            else:
                await context.slot.lent(clock.apause(step))
        except BaseException:
            steps.close()
            raise


def _waiting(
    context: TaskContext[Run], asked: _Asked, position: int
) -> Generator[tuple[Record, ...] | float, None, Any]:
    """Yield what is to be recorded, and seconds to rest, until the wait is over; return the signal's payload."""
    run, path = context.run, context.path
    held = _held(context, asked, position)
    if held is not None and held.ended:
        return _answer(asked, held)
    if run.is_replayed:
        raise end_of_history(path, (asked.words, b"", ""))
    if asked.name is not None and run.recorder.writer is None:
        why = f"{asked.words} was called in a graph of which nothing is kept, so no signal can reach it"
        raise NoLog(why, hint="compile(checkpointer=Log.open(path)) gives the graph a log.")
    at = clock.now()
    due = held.due_at if held is not None else _due(asked, at)
    name = asked.name or ""
    if held is not None:
        at = held.at
    elif asked.name is None and due is not None and due <= at:
        return None
    else:
        yield (TimerSet(run.scope, path, position, asked.kind, asked.name, at, due),)
    room = run.recorder.mailroom() if name else None
    place = None if room is None else room.stand(name)
    try:
        while True:
            now = clock.now()
            if room is not None and (message := room.take(name, place, due)) is not None:
                received = received_from(run.scope, path, position, now, message, run)
                yield (received,)
                reach("mail: receipt recorded")
                held = _held(context, asked, position)
                return received.payload if held is None else held.payload
            if due is not None and now >= due:
                reach("timer: over")
                yield (TimerFired(run.scope, path, position, now),)
                reach("timer: recorded")
                return _answer(asked, None)
            if due is not None and now < at and asked.kind != "until":
                at, due = now, now + (due - at)
                yield (TimerSet(run.scope, path, position, asked.kind, asked.name, at, due),)
            yield _nap(context, asked, now, due)
    finally:
        if room is not None:
            room.leave(name, place)


def _nap(context: TaskContext[Run], asked: _Asked, now: int, due: int | None) -> float:
    """Return how many seconds to rest before looking again.

    Raises:
        GraphSuspended: It is not over soon enough to be waited for in place.
        GraphDrained: The run is to stop.
        DeadlineExceeded: The run's deadline has passed.
        NoLog: It would have to park, and nothing is kept of the run.
    """
    run = context.run
    context.stop_if_asked()
    if is_closing():
        # Somebody waits for the threads of this run to end.
        raise GraphSuspended
    rest = math.inf if due is None else (due - now) / SECOND
    if rest > park_after(run.config):
        if run.recorder.writer is None:
            message = f"{asked.words} would park the task for {rest:.0f} s, and nothing is kept of the run"
            hint = "compile(checkpointer=Log.open(path)) gives the graph a log; a higher park_after waits in place."
            raise NoLog(message, hint=hint)
        raise GraphSuspended
    if run.deadline is not None:
        if now >= run.deadline:
            raise DeadlineExceeded.of(run.thread, run.deadline)
        rest = min(rest, (run.deadline - now) / SECOND)
    if (watch := watching.get()) is not None:
        # Who sleeps on purpose has not got stuck.
        watch.progress()
    return min(rest, NAP)


def park_after(config: dict[str, Any]) -> float:
    """Return up to how many seconds the tasks of a run wait in place.

    Raises:
        ValueError: The config says something that is no such number.
    """
    given = config.get("park_after")
    if given is None:
        return PARK_AFTER
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        message = (
            f"config['park_after'] must be a number of seconds or a timedelta, none or more, not {given!r}"
        )
        raise ValueError(message)
    return seconds


def received_from(
    scope: str, path: tuple[str | int, ...], position: int, now: int, message: Message, run: Run
) -> SignalReceived:
    """Return the record of a message that a task receives."""
    recorder = run.recorder
    assert recorder.log is not None, "who receives has a log"
    payload = Decoder(recorder.registry, recorder.log.fetch).value(message.payload)
    return SignalReceived(scope, path, position, now, message.name, message.number, message.id, payload)


def _due(asked: _Asked, at: int) -> int | None:
    if asked.until is not None:
        return asked.until
    # To the microsecond, as datetime has it: who wakes a thread at the very time that it names must find it due.
    return None if asked.length is None else (at + asked.length) // 1000 * 1000


def _held(context: TaskContext[Run], asked: _Asked, position: int) -> Wait | None:
    """Return what is recorded of this wait.

    Raises:
        NonDeterminism: Another one is recorded in its place.
    """
    outcome = context.run.graph.outcomes.get(context.path)
    held = None if outcome is None else next((w for w in outcome.waits if w.position == position), None)
    if held is None or (held.kind, held.name) == (asked.kind, asked.name):
        return held
    recorded = _Asked(held.kind, held.name, None, None).words
    message = (
        f"task {context.name!r} in step {context.step} of thread {context.run.thread!r}: the log holds {recorded} "
        f"as its wait number {position + 1}, this run asks for {asked.words}"
    )
    raise NonDeterminism(
        message,
        hint="Code between two waits must not depend on clock, randomness or changed code.",
        recorded=recorded,
        attempted=asked.words,
        path=context.path,
    )


def _answer(asked: _Asked, held: Wait | None) -> Any:
    """Return what a wait that has ended answers.

    Raises:
        SignalTimeout: No signal was sent in time.
    """
    if held is not None and held.ended == "received":
        return held.payload
    if asked.name is not None:
        message = f"no signal {asked.name!r} was sent in time"
        raise SignalTimeout(message, hint="log.signal(thread, name, payload) sends one.", name=asked.name)
    return None
