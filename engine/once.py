"""What is done at most once: the ledger of intents.

    TaskStarted, durable ──► body ─┬─ returns ──────────► TaskFinished
                                   ├─ raises ───────────► AttemptFailed ─► again, if its retry policy says so; else
                                   │                                       TaskFailed
                                   └─ crash, time-out, cancellation, OutcomeUnknown ──► in doubt

    in doubt ──► a person's answer, else reconcile(key, call) ─┬─ a value ──► TaskFinished
                                                               ├─ RUN_AGAIN ► TaskStarted, durable ─► body
                                                               └─ raises ───► TaskFailed, and still in doubt
             ──► neither ──► OutcomeUnknown, or a question to a person

A body that raised is taken for one that had no effect, since whoever wrote it can tell: where its exception leaves that
open, it raises ``OutcomeUnknown`` instead. So only its own retry policy has it tried again, and never one that was
meant for the graph as a whole.

Invariants:
1. The intent is durable before the body begins, in every mode, and so is everything that was recorded before it.
2. An attempt in doubt is never followed by another, but by the word of ``reconcile`` or of a person.
3. What is asked and decided concerns one attempt: a later one that is lost is asked about anew.
4. All attempts at a call have one key, the one that is in the first intent.
5. An attempt that was lost counts for the retry policy.

It must not append: it wishes that records are in the log, and returns what is to be recorded at the end.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ..replay.identity import question_id
from ..replay.state import Intent
from ..wal.record import Question, TaskStarted
from .attempt import Attempts
from .context import current
from .control import RUN_AGAIN, Interrupt
from .errors import (
    AttemptsLost,
    CannotPark,
    GraphDrained,
    GraphInterrupt,
    InvalidGraph,
    NodeCancelledError,
    NodeTimeoutError,
    NoLog,
    OutcomeUnknown,
    ParentCommand,
    Parked,
)
from .node import is_coroutine_function
from .wish import Ask, Join, Note, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ..replay.state import Outcome
    from ..wal.record import Record
    from .context import CallContext
    from .retry import RetryPolicy
    from .run import Run
    from .wish import Call, Wish

Effect = Literal["at_least_once", "at_most_once"]
"""How often the body of a task may begin, if nobody knows how it ended."""
OnUnknown = Literal["raise", "interrupt"]
"""What is done about an attempt of which nobody knows how it ended, if ``reconcile`` does not say."""


class EffectCall(NamedTuple):
    """A call of which it is not known how it ended, as ``reconcile`` is told of it.

    ``begun_at`` is when the attempt began, ``attempt`` its number, from 1.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    attempt: int
    begun_at: datetime


class Once(NamedTuple):
    """What ``@task`` was told of a function that is called at most once.

    Args:
        reconcile: Asked for what became of an attempt: given the key and an ``EffectCall``, it returns what the call
            is to return, or ``RUN_AGAIN``, or raises.
        on_unknown: What is done if it cannot say, or is not there.
    """

    reconcile: Callable[[str, EffectCall], Any] | None
    on_unknown: OnUnknown


def checked_effect(effect: str, reconcile: Any, on_unknown: str, name: str) -> Once | None:
    """Return what a task was told of its effect; None for what may be repeated.

    Raises:
        InvalidGraph: It makes no sense.
    """
    for given, known, word in ((effect, Effect, "effect"), (on_unknown, OnUnknown, "on_unknown")):
        if given not in get_args(known):
            choice = " or ".join(map(repr, get_args(known)))
            message = f"task {name!r}: {word} must be {choice}, it is {given!r}"
            raise InvalidGraph(message)
    if effect == "at_most_once":
        if reconcile is not None and not callable(reconcile):
            message = f"task {name!r}: reconcile must be a function of a key and a call, it is {reconcile!r}"
            raise InvalidGraph(message)
        return Once(reconcile, "interrupt" if on_unknown == "interrupt" else "raise")
    if reconcile is not None or on_unknown != "raise":
        message = f"task {name!r}: reconcile and on_unknown need effect='at_most_once', for nothing else is in doubt"
        raise InvalidGraph(message)
    return None


class Attempted:
    """One call that is made at most once, in this process.

    Args:
        once: What the task was told.
        context: The call.
        called: Its name, a digest of its arguments, and a preview of them.
        wish: What it is.
        policies: The task's own retry policies.
        outcome: What is recorded of it.

    Raises:
        NoLog: It is part of a graph of which nothing is kept, while something of the graph above is.
        InvalidGraph: ``reconcile`` is a coroutine function, and the run is a synchronous one.
    """

    def __init__(
        self,
        once: Once,
        context: CallContext[Run],
        called: tuple[str, bytes, str],
        wish: Call,
        policies: tuple[RetryPolicy, ...],
        outcome: Outcome | None,
    ) -> None:
        run = context.run
        if run.thread and run.recorder.writer is None:
            message = (
                f"task {context.name!r} is to be done at most once, and nothing is kept of the graph that calls it "
                "(checkpointer=False): the graph above would begin it again"
            )
            raise NoLog(
                message, hint="Compile the subgraph with checkpointer=None, so that it shares the log."
            )
        if once.reconcile is not None and is_coroutine_function(once.reconcile) and not run.is_async:
            message = (
                f"task {context.name!r}: reconcile is a coroutine function, and the run is a synchronous one"
            )
            raise InvalidGraph(message, hint="Call ainvoke or astream, or make it a plain function.")
        context.is_once = True
        self._once = once
        self._context = context
        self._called = called
        self._wish = wish
        self._outcome = outcome
        self._attempts = Attempts(context, policies, outcome)
        self.records: tuple[Record, ...] = ()
        """What is to be recorded with a failure: that the attempt is over, and nothing is in doubt."""

    def value(self) -> Generator[Wish, Any, Any]:
        """Make the call, or find out what became of it, and return what it returned.

        Raises:
            OutcomeUnknown: Nobody can say what became of it.
            GraphInterrupt: A person is to say so.
            AttemptsLost: Its retry policy allows no further attempt.
        """
        lost = None if self._outcome is None else self._outcome.intent
        if lost is not None:
            self._context.key = lost.key
            self._context.begin(lost.attempt, self._outcome)
            found = yield from self._found_out(lost, None)
            if found is not RUN_AGAIN:
                return found
            try:
                self._attempts.lost(lost)
            except AttemptsLost as error:
                self.records = (self._attempts.failed(error),)
                raise
        elif (rest := self._attempts.rest()) > 0:
            yield Sleep(rest)
        while True:
            intent = yield from self._begun()
            try:
                return (yield from self._body())
            except (OutcomeUnknown, NodeTimeoutError, NodeCancelledError) as error:
                found = yield from self._found_out(intent, error)
                if found is not RUN_AGAIN:
                    return found
                failure: Exception = error
            except Exception as error:
                failure = error
            except (GraphDrained, ParentCommand):
                # Neither says anything of the call, so it stays in doubt.
                raise
            except Parked as error:
                failure = CannotPark(
                    f"task {self._context.name!r} of thread {self._context.run.thread!r} is done at most once, and "
                    "something in it waits; to go on after that the body would have to begin again",
                    hint="Wait before the task, in what calls it.",
                    task=self._context.name,
                )
                failure.__cause__ = error
            again = self._attempts.again(failure)
            if again is None:
                self.records = (self._attempts.failed(failure),)
                raise failure
            yield Note(again.records)
            yield Sleep(again.pause)

    def _begun(self) -> Generator[Wish, Any, Intent]:
        """Begin an attempt: see that the intent is durable."""
        context = self._context
        context.begin(self._attempts.next(), self._outcome)
        run = context.run
        intent = Intent(context.idempotency_key, context.attempt, run.recorder.now())
        record = TaskStarted(run.scope, context.path, self._called, *intent)
        try:
            yield Note((record,), is_durable=True)
        except asyncio.CancelledError as error:
            # The body has not begun, so nothing is in doubt.
            self.records = (self._attempts.failed(error),)
            raise
        return intent

    def _body(self) -> Generator[Wish, Any, Any]:
        """Call the body, and wait for the tasks that it called."""
        try:
            return (yield self._wish)
        finally:
            if self._context.children:
                yield Join(self._context.children)

    def _found_out(self, intent: Intent, cause: Exception | None) -> Generator[Wish, Any, Any]:
        """Return what an attempt came to, as a person or ``reconcile`` says: a value, or ``RUN_AGAIN``."""
        context, once = self._context, self._once
        # As for any question: it keeps the id it was asked under, and has the attempt's number for its position.
        known = [question.id for question in context.known if question.position == intent.attempt]
        question = known[0] if known else question_id(context.id, intent.attempt)
        if question in context.answers:
            return context.answers[question]
        unknown: OutcomeUnknown | None = None
        if once.reconcile is not None:
            try:
                return (yield self._asked(once.reconcile, intent))
            except OutcomeUnknown as error:
                unknown = error
        if once.on_unknown == "interrupt":
            asked = {
                "unknown": context.name,
                "call": self._called[2],
                "key": intent.key,
                "attempt": intent.attempt,
                "since": _moment(intent.at).isoformat(),
            }
            context.asked = (*context.asked, Question(question, intent.attempt, asked, None))
            raise GraphInterrupt((Interrupt(asked, question),))
        raise unknown or self._unknown(intent) from cause

    def _asked(self, reconcile: Callable[[str, EffectCall], Any], intent: Intent) -> Ask:
        """Return the wish that ``reconcile`` says what became of an attempt."""
        arguments, keywords = self._wish.argument
        call = EffectCall(self._called[0], arguments, dict(keywords), intent.attempt, _moment(intent.at))
        ask = functools.partial(_outside_of_tasks, reconcile, intent.key, call)

        async def aask() -> Any:
            if not is_coroutine_function(reconcile):
                return await asyncio.to_thread(ask)
            token = current.set(None)
            try:
                return await reconcile(intent.key, call)
            finally:
                current.reset(token)

        return Ask(ask, aask)

    def _unknown(self, intent: Intent) -> OutcomeUnknown:
        context, since = self._context, _moment(intent.at)
        name, _, preview = self._called
        message = (
            f"task {name}{preview} of thread {context.run.thread!r} began on {since:%Y-%m-%d at %H:%M:%S} UTC (attempt "
            f"{intent.attempt}), and nothing says how that ended; it was not begun again. Its key is {intent.key}"
        )
        return OutcomeUnknown(
            message,
            hint="Find out whether it took effect. Then tell the log with resolve_effect() or wal effects --resolve; "
            "or give the task reconcile=, which is asked, or on_unknown='interrupt', which asks a person.",
            task=name,
            call=preview,
            key=intent.key,
            attempt=intent.attempt,
            since=since.isoformat(),
            thread=context.run.thread,
        )


def _outside_of_tasks(reconcile: Callable[[str, EffectCall], Any], key: str, call: EffectCall) -> Any:
    """Call ``reconcile``; what it would call by ``@task`` would take the places of the body's own calls."""
    token = current.set(None)
    try:
        value = reconcile(key, call)
    finally:
        current.reset(token)
    if inspect.isawaitable(value):
        message = f"reconcile of task {call.name!r} returned an awaitable; declare it with async def"
        raise InvalidGraph(message)
    return value


def _moment(at: int) -> datetime:
    """Return a time in nanoseconds since 1970 as what people read."""
    return datetime.fromtimestamp(at / 1e9, UTC)
