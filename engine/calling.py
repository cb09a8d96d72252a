"""A function made by ``@task``, and what happens when it is called.

    fetch(url)
      │ its place: the caller's path and the call's number among the caller's calls
      ├─ recorded there and finished ──► the recorded result, at once
      ├─ another call recorded there ──► NonDeterminism
      └─ else ──► a thread or the event loop: attempts ──► TaskFinished (or AttemptFailed, TaskInterrupted)

A call is known by its place: the path of the task that makes it, and its number among that task's calls. What was
called there is recorded along, name and arguments, and compared when the place is reached again.

Invariants:
1. A recorded call is not made again: not on resume, not when its caller is retried (guarantee G2).
2. A place where another call is recorded raises ``NonDeterminism``; nothing is executed there (G9).
3. Under ``sync`` a result is handed over only once it is durable.

It must not know how records reach the log; the run's recorder does.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import threading
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ..replay.state import FAILED, FINISHED, KEPT
from ..wal.errors import NotSerializable
from ..wal.named import new
from ..wal.record import HANDLER, CallsSettled, TaskFailed, TaskFinished, TaskInterrupted
from .call import SyncAsyncFuture, fingerprint
from .context import OVER, CallContext, FailedCall, current, here, watching
from .effect import Done, Overrun
from .errors import GraphInterrupt, InvalidCallKey
from .failed_calls import note_failed, settled_by
from .failure import add_notes, ended_by, packed, self_cancelled, unpacked
from .interrupt import shown
from .node import Callee, check_stoppable, name_of
from .show import called, start
from .suspend import GraphSuspended
from .task import acarry_out, call_here, carry_out, check_calls, join, may_cache, place_of, tried
from .wish import Ask, Call, Note

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ..replay.state import Outcome
    from ..wal.record import Path, Record
    from .cache import BaseCache, Namespace
    from .context import TaskContext
    from .once import Attempted, Once
    from .policy import Policies
    from .run import Run
    from .used_keys import UsedKeys
    from .wish import Wish

P = ParamSpec("P")
R = TypeVar("R")

MANY_CHILDREN = 256
"""From how many calls on those of a caller that have ended are forgotten: it may make 100,000 one after another."""

RETURN = "__return__"
"""The write that holds what a task's call returned."""


class TaskCallee(Callee):
    """A task's function: called with the caller's own arguments."""

    __slots__ = ()

    def bind(self, argument: Any, context: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the caller's arguments, and what is injected beside them."""
        arguments, keywords = argument
        if self.inject:
            keywords = {
                **{name: getattr(context, name) for name in self.inject if name not in keywords},
                **keywords,
            }
        return arguments, keywords


class TaskFunction(Generic[P, R]):
    """A function whose calls are recorded; made by ``@task``.

    Args:
        function: The function, synchronous or not.
        name: What the log calls it.
        policies: How calls are retried, cached and limited in time.
        once: What was told of a function that is called at most once; None for all others.
        key: From the arguments of a call to its key; None for calls that are known by their number.

    Raises:
        InvalidGraph: It has a time-out and is synchronous.
    """

    def __init__(
        self,
        function: Callable[P, Any],
        name: str | None,
        policies: Policies,
        once: Once | None = None,
        key: Callable[P, str] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = name or name_of(function)
        self.callee = TaskCallee(function)
        check_stoppable(self.callee, policies.timeout, "Task", self.name)
        self.policies = policies
        self.cache_policy = policies.cache
        self.timeout = policies.timeout
        self.once = once
        self.key: Callable[P, str] | str | None = key
        self.is_plain = (
            type(self) is TaskFunction
            and once is None
            and not any(policies)
            and not self.callee.is_async
            and not self.callee.is_runnable
        )
        """Whether, where nothing else is recorded or said, making a call is one call that is never repeated."""

    def with_key(self, key: str) -> TaskFunction[P, R]:
        """Return the function as it is called once under a key, which then says which call it is, not its number.

        For calls whose order changes from run to run: those of threads and coroutines that race, and of loops over
        what has no order. Within one caller a key can be used once.

        Args:
            key: What tells the call from all others that its caller gives a key.

        Raises:
            InvalidCallKey: It is not a string, empty, or reserved.
        """
        keyed = copy.copy(self)
        keyed.key = checked_key(key, self.name)
        return keyed

    def clear_cache(self, cache: BaseCache[Any]) -> None:
        """Forget all results of this function that a cache holds."""
        cache.clear([self._namespace()])

    async def aclear_cache(self, cache: BaseCache[Any]) -> None:
        """Forget all results of this function that a cache holds."""
        await cache.aclear([self._namespace()])

    def _namespace(self) -> Namespace:
        from .caching import namespace_of

        return namespace_of(self.callee, self.name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> SyncAsyncFuture[R]:
        """Make the call, or find it recorded; returns at once with a future.

        Raises:
            OutsideOfRun: No node, task or entrypoint is running.
            NonDeterminism: Another call is recorded in this place.
            RuntimeError: A coroutine function is called from synchronous code.
            NoLog: It is called at most once, in a graph of which nothing is kept.
            GraphDrained: The run was asked to stop, and the call is not recorded.
        """
        caller = here("task")
        if (watch := watching.get()) is not None:
            watch.calls()
        run = caller.run
        own = next(caller.calls) if self.key is None else self._own_key(caller, args, kwargs)
        path = (*caller.path, own)
        call = fingerprint(self.name, args, kwargs)
        outcome = run.graph.outcomes.get(path)
        future: SyncAsyncFuture[R]
        drop = False
        if outcome is not None and (held := outcome.call) is not None and held[:2] != call[:2]:
            drop = _stands(outcome, self.once) and _is_rerun(caller, path, outcome, held, call)
            if drop:
                outcome = None
        if run.modes:
            run.publish(start(run, path, self.name, caller.base, caller.step, (args, kwargs)))
        if outcome is not None and outcome.status == FINISHED:
            return SyncAsyncFuture.finished(outcome.writes[0][1])
        if outcome is not None and outcome.status == KEPT:
            return SyncAsyncFuture.failed(self._failed_before(caller, path, outcome))
        if outcome is not None and (pending := outcome.pending()):
            return SyncAsyncFuture.failed(GraphInterrupt(shown(pending)))
        if outcome is not None and outcome.waits and outcome.asleep():
            return SyncAsyncFuture.failed(GraphSuspended())
        if run.is_replayed:
            return SyncAsyncFuture.failed(end_of_history(path, call))
        context = CallContext(caller, path, self.name)
        context.drops = drop
        attempted = None
        if self.once is not None:
            if outcome is not None and outcome.status == FAILED and outcome.intent is None:
                # Its caller is tried again, and makes a call again that may not be.
                return SyncAsyncFuture.failed(self._failed_before(caller, path, outcome))
            attempted = self._attempted(self.once, context, (args, kwargs), call, outcome)
        caller.stop_if_asked()
        if run.is_async and on_loop():
            wishes = self._attempts(context, (args, kwargs), call, outcome, attempted)
            future = SyncAsyncFuture.of_coroutine(self._acarry_out(wishes, context))
        elif self.callee.is_async:
            message = "In an sync context async tasks cannot be called"
            raise RuntimeError(message)
        else:
            here_now = contextvars.copy_context()
            if self.is_plain and outcome is None and not drop and not any(run.program.task_policies):
                work = functools.partial(here_now.run, self._carry_out_plainly, context, (args, kwargs), call)
            else:
                wishes = self._attempts(context, (args, kwargs), call, outcome, attempted)
                work = functools.partial(here_now.run, self._carry_out, wishes, context)
            future = SyncAsyncFuture.of_work(run.pool(), work)
        children = caller.children
        children.append(future)
        if len(children) >= MANY_CHILDREN:
            forget_ended(children)
        return future

    def _attempted(
        self,
        once: Once,
        context: CallContext[Run],
        argument: Any,
        call: tuple[str, bytes, str],
        outcome: Outcome | None,
    ) -> Attempted:
        """Return what makes a call at most once; most programs have none and never load it."""
        from .once import Attempted

        wish = Call(self.callee, argument, self.timeout)
        # What is to be tried again whenever it fails must say so itself.
        return Attempted(once, context, call, wish, self.policies.retry or (), outcome)

    def _own_key(self, caller: TaskContext[Run], args: Any, kwargs: Any) -> str:
        """Return the key of a call, which no other call of its caller has.

        Raises:
            InvalidCallKey: Another one has, or it is none.
            OutsideOfRun: The caller's body has ended.
        """
        given = self.key
        key = given if isinstance(given, str) else checked_key(given(*args, **kwargs), self.name)  # type: ignore[misc]
        if caller.calls is OVER:
            next(caller.calls)
        used = caller.keys
        if used is None:
            used = _used_keys(caller)
        if not used.take(key):
            message = f"{caller.name!r} has made a call under the key {key!r} before; nothing was executed"
            hint = "A key says which call of its caller it is: give each a key of its own, with the task's name in it."
            raise InvalidCallKey(message, hint=hint, key=key, task=self.name)
        return key

    def _failed_before(self, caller: TaskContext[Run], path: Path, outcome: Outcome) -> BaseException:
        """Return the recorded failure of a call that its caller caught when it was made."""
        assert outcome.failure is not None, "who failed has a failure"
        data = b"" if outcome.caught is None else outcome.caught.error
        error = unpacked(data, outcome.failure, caller.run.recorder.registry)
        caller.kept = (*caller.kept, FailedCall(path, error))
        return error

    def _attempts(
        self,
        context: CallContext[Run],
        argument: Any,
        call: tuple[str, bytes, str],
        outcome: Outcome | None,
        attempted: Attempted | None,
    ) -> Generator[Wish, Any, tuple[Done, Any]]:
        run, place = context.run, None
        try:
            if context.drops:
                yield Note((CallsSettled(run.scope, (context.path,), "dropped"),))
            policy = self.cache_policy or run.program.task_policies.cache
            if policy is not None and may_cache(run, outcome):
                place = place_of(run, policy, self.callee, self.name, *argument)
                found = yield Ask(place.look, place.alook)
                if found is not None:
                    return self._returned(context, found[0], call)._replace(is_cached=True), found[0]
            if attempted is not None:
                value = yield from attempted.value()
            else:
                retry = self.policies.retry
                retry = run.program.task_policies.retry if retry is None else retry
                wish = Call(self.callee, argument, self.timeout)
                value = yield from tried(wish, context, retry or (), outcome)
                check_calls(context)
        except BaseException as error:
            done = _failed(error, context, call, outcome)
            if attempted is not None:
                done = done._replace(records=attempted.records + done.records)
            return done, None
        if place is not None and not context.questions:
            yield Ask(functools.partial(place.keep, value), functools.partial(place.akeep, value))
        return self._returned(context, value, call), value

    def _returned(self, context: TaskContext[Run], value: Any, call: tuple[str, bytes, str]) -> Done:
        path = context.path
        returned = new(TaskFinished, (context.run.scope, path, ((RETURN, value),), (), call))
        return new(Done, (path, (returned,), None, (), False))

    def _carry_out_plainly(self, context: CallContext[Run], argument: Any, call: tuple[str, bytes, str]) -> R:
        """Do what ``_carry_out`` does for a plain function of which nothing is recorded yet."""
        current.set(context)
        context.begin(1, None)
        value: Any = None
        try:
            value = call_here(self.callee, argument, context)
            calls, context.calls = context.calls, OVER
            join(context)
            context.calls = calls
            check_calls(context)
        except BaseException as error:
            context.calls = OVER
            join(context)
            done = _failed(self_cancelled(error, context.name), context, call)
        else:
            context.calls = OVER
            done = self._returned(context, value, call)
        return self._recorded(done, value, context)

    def _carry_out(self, wishes: Generator[Wish, Any, tuple[Done, Any]], context: CallContext[Run]) -> R:
        done, value = carry_out(wishes, context)
        return self._recorded(done, value, context)

    def _recorded(self, done: Done, value: Any, context: CallContext[Run]) -> R:
        if done.records:
            try:
                context.run.recorder.record(_records(done, context) if context.follows else done.records)
            except NotSerializable as error:
                add_notes(context.run, context, error)
                raise
        return self._ended(done, value, context)

    async def _acarry_out(
        self, wishes: Generator[Wish, Any, tuple[Done, Any]], context: CallContext[Run]
    ) -> R:
        if context.caller.noting is not None:
            await context.caller.noting.settled()
        context.slot = context.run.slot()
        late: Overrun | None = None
        try:
            if context.slot is None:
                done, value = await acarry_out(wishes, context)
            else:
                async with context.slot:
                    done, value = await acarry_out(wishes, context)
        except Overrun as overrun:
            late = overrun
            done, value = late.value
        if done.records:
            try:
                records = _records(done, context) if context.follows else done.records
                await context.run.recorder.arecord(records)
            except NotSerializable as error:
                add_notes(context.run, context, error)
                raise
        if late is not None:
            raise asyncio.CancelledError
        return self._ended(done, value, context)

    def _ended(self, done: Done, value: Any, context: CallContext[Run]) -> R:
        if context.run.modes:
            context.run.publish(called(context, value, done.error, is_cached=done.is_cached))
        if done.error is not None:
            if isinstance(done.error, Exception):
                note_failed(context.caller, context.path, done.error)
            raise done.error
        if (watch := watching.get()) is not None:
            watch.progress()
        # A function may make 100,000 calls in its one step, so it cannot wait for the step's end.
        context.run.recorder.snapshot_if_due()
        result: R = value
        return result


_FORGETTING = threading.Lock()
"""Held while calls are forgotten, and while a caller gets its first key, since a body may call from several threads."""


def forget_ended(children: list[SyncAsyncFuture[Any]]) -> None:
    """Forget the oldest calls of a caller as far as they have ended; who ends waits for the others only."""
    if _FORGETTING.acquire(blocking=False):
        try:
            ended = next((at for at, child in enumerate(children) if not child.done()), len(children))
            # What others append meanwhile stands behind these.
            del children[:ended]
        finally:
            _FORGETTING.release()


def _used_keys(caller: TaskContext[Run]) -> UsedKeys:
    """Return what notes the keys of a caller's calls; made at the first, by one of the threads that may call."""
    from .used_keys import UsedKeys

    with _FORGETTING:
        if caller.keys is None:
            caller.keys = UsedKeys()
        return caller.keys


def checked_key(key: Any, name: str) -> str:
    """Return the key of a call.

    Raises:
        InvalidCallKey: It is not a string, empty, or reserved.
    """
    if isinstance(key, str) and key and key != HANDLER:
        return key
    message = f"the key of a call of {name!r} must be a string that is not empty, not {key!r}"
    raise InvalidCallKey(message, hint="str(...) makes one of an id.", key=key, task=name)


def _stands(outcome: Outcome, once: Once | None) -> bool:
    """Return whether a call must be the recorded one: not if that failed, perhaps by its arguments."""
    return outcome.status != FAILED or bool(outcome.questions) or once is not None


def _failed(
    error: BaseException,
    context: CallContext[Run],
    call: tuple[str, bytes, str],
    outcome: Outcome | None = None,
) -> Done:
    """Return how a call ends that raised."""
    done = ended_by(error, context.run, context, outcome)
    return done._replace(records=tuple(_of_call(record, call, error) for record in done.records))


def _of_call(record: Record, call: tuple[str, bytes, str], error: BaseException) -> Record:
    """Say in a record what was called: a question's answer goes to no other call, nor is another told a failure."""
    if isinstance(record, TaskInterrupted):
        return record._replace(call=call)
    if isinstance(record, TaskFailed):
        return record._replace(call=call, error=packed(error))
    return record


def _records(done: Done, context: CallContext[Run]) -> tuple[Record, ...]:
    """Return what is recorded of a call that its caller made after others had failed."""
    return (*settled_by(context.caller, context.follows), *done.records)


def _is_rerun(
    caller: TaskContext[Run],
    path: Path,
    outcome: Outcome,
    recorded: tuple[str, bytes, str],
    attempted: tuple[str, bytes, str],
) -> bool:
    """Return whether a call is made though another is recorded in its place; if not, what is recorded counts.

    Raises:
        NonDeterminism: Neither.
    """
    if recorded[0] == attempted[0] and not (recorded[1] and attempted[1]):
        # Of an argument that could not be encoded once nothing is known.
        return False
    from .determinism import is_rerun

    # Of what is in doubt neither may count: nobody would find out any more what became of it.
    return is_rerun(caller, path, recorded, attempted, must_match=outcome.intent is not None)


def end_of_history(path: Path, call: tuple[str, bytes, str]) -> BaseException:
    """Return what stops code that is only checked against history at a call that is not recorded."""
    from .determinism import EndOfHistory

    return EndOfHistory(path, call)


def on_loop() -> bool:
    """Return whether this code runs on an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
