"""Plain functions that survive: ``@task`` and ``@entrypoint``.

    @task                            each call is recorded when it returned, and never made again
    def fetch(url): ...

    @entrypoint(checkpointer=log)    one node; runs again from its top on resume, and finds its calls recorded
    def report(urls):
        return [fetch(url).result() for url in urls]

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
import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from ..replay.blueprint import Blueprint
from ..replay.channel import LastValue
from ..replay.errors import NonDeterminism
from ..replay.state import FINISHED
from ..wal.errors import NotSerializable
from ..wal.record import TaskFinished, TaskInterrupted
from .call import SyncAsyncFuture, fingerprint
from .context import CallContext, here, watching
from .control import Final
from .effect import Done, Overrun
from .errors import GraphInterrupt, InvalidGraph
from .failure import add_notes, ended_by
from .graph import CompiledGraph
from .interrupt import shown
from .node import INJECTED, Callee, Node, check_stoppable, name_of
from .policy import Policies
from .program import Program
from .reader import Reader
from .schema import classes_in
from .settings import Settings, checked_cache, checked_durability, ensure_valid_checkpointer
from .show import called, start
from .task import acarry_out, carry_out, may_cache, place_of, tried
from .typed import ContextT, Parametrised
from .wish import Ask, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

    from ..replay.state import Outcome
    from ..wal.log import Log
    from .cache import BaseCache, Namespace
    from .context import TaskContext
    from .control import Durability
    from .policy import CachePolicy, Timeout, TimeoutPolicy
    from .retry import RetryPolicy
    from .run import Run
    from .wish import Wish

P = ParamSpec("P")
R = TypeVar("R")
GivenT = TypeVar("GivenT")

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

    Raises:
        InvalidGraph: It has a time-out and is synchronous.
    """

    def __init__(self, function: Callable[P, Any], name: str | None, policies: Policies) -> None:
        functools.update_wrapper(self, function)
        self.name = name or name_of(function)
        self.callee = TaskCallee(function)
        check_stoppable(self.callee, policies.timeout, "Task", self.name)
        self.policies = policies
        self.cache_policy = policies.cache
        self.timeout = policies.timeout

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
        """
        caller = here("task")
        if (watch := watching.get()) is not None:
            watch.calls()
        run = caller.run
        path = (*caller.path, next(caller.calls))
        call = fingerprint(self.name, args, kwargs)
        outcome = run.graph.outcomes.get(path)
        future: SyncAsyncFuture[R]
        if outcome is not None and outcome.call is not None:
            _compare(caller, path, outcome.call, call)
        if run.modes:
            run.publish(start(run, path, self.name, caller.base, caller.step, (args, kwargs)))
        if outcome is not None and outcome.status == FINISHED:
            return SyncAsyncFuture.finished(outcome.writes[0][1])
        if outcome is not None and (pending := outcome.pending()):
            return SyncAsyncFuture.failed(GraphInterrupt(shown(pending)))
        context = CallContext(caller, path, self.name)
        wishes = self._attempts(context, (args, kwargs), call, outcome)
        if run.is_async and _on_loop():
            future = SyncAsyncFuture.of_coroutine(self._acarry_out(wishes, context))
        elif self.callee.is_async:
            message = "In an sync context async tasks cannot be called"
            raise RuntimeError(message)
        else:
            here_now = contextvars.copy_context()
            future = SyncAsyncFuture.of_work(
                run.pool().submit(lambda: here_now.run(self._carry_out, wishes, context))
            )
        caller.children.append(future)
        return future

    def _attempts(
        self, context: TaskContext[Run], argument: Any, call: tuple[str, bytes, str], outcome: Outcome | None
    ) -> Generator[Wish, Any, tuple[Done, Any]]:
        run, place = context.run, None
        try:
            policy = self.cache_policy or run.program.task_policies.cache
            if policy is not None and may_cache(run, outcome):
                place = place_of(run, policy, self.callee, self.name, *argument)
                found = yield Ask(place.look, place.alook)
                if found is not None:
                    return self._returned(context, found[0], call)._replace(is_cached=True), found[0]
            retry = self.policies.retry
            retry = run.program.task_policies.retry if retry is None else retry
            wish = Call(self.callee, argument, self.timeout)
            value = yield from tried(wish, context, retry or (), outcome)
        except BaseException as error:
            done = ended_by(error, run, context, outcome)
            # A question is bound to the call that asked it, so that its answer goes to no other.
            records = tuple(
                record._replace(call=call) if isinstance(record, TaskInterrupted) else record
                for record in done.records
            )
            return done._replace(records=records), None
        if place is not None and not context.questions:
            yield Ask(functools.partial(place.keep, value), functools.partial(place.akeep, value))
        return self._returned(context, value, call), value

    def _returned(self, context: TaskContext[Run], value: Any, call: tuple[str, bytes, str]) -> Done:
        path = context.path
        return Done(path, (TaskFinished(context.run.scope, path, ((RETURN, value),), (), call),))

    def _carry_out(self, wishes: Generator[Wish, Any, tuple[Done, Any]], context: TaskContext[Run]) -> R:
        done, value = carry_out(wishes, context)
        if done.records:
            try:
                context.run.recorder.record(done.records)
            except NotSerializable as error:
                add_notes(context.run, context, error)
                raise
        return self._ended(done, value, context)

    async def _acarry_out(
        self, wishes: Generator[Wish, Any, tuple[Done, Any]], context: TaskContext[Run]
    ) -> R:
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
                await context.run.recorder.arecord(done.records)
            except NotSerializable as error:
                add_notes(context.run, context, error)
                raise
        if late is not None:
            raise asyncio.CancelledError
        return self._ended(done, value, context)

    def _ended(self, done: Done, value: Any, context: TaskContext[Run]) -> R:
        if context.run.modes:
            context.run.publish(called(context, value, done.error, is_cached=done.is_cached))
        if done.error is not None:
            raise done.error
        if (watch := watching.get()) is not None:
            watch.progress()
        result: R = value
        return result


class TaskDecorator(Protocol):
    """What ``@task(...)`` with arguments gives: it keeps the types of the function that it decorates."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskFunction[P, R]: ...


@overload
def task(function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
@overload
def task(function: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | TimeoutPolicy = None,
) -> TaskDecorator: ...
def task(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | TimeoutPolicy = None,
) -> Any:
    """Make a function whose calls are recorded.

    Args:
        function: The function, when used as ``@task``.
        name: What the log calls it; the function's name if None.
        retry_policy: When and how often to try again if it raises; None for what the entrypoint was told.
        cache_policy: How its results are kept, to be used again for equal arguments.
        timeout: Seconds or timedelta that an attempt may take, or a ``TimeoutPolicy``; for coroutine functions.

    Returns:
        A function that returns a future: ``.result()`` in synchronous code, ``await`` in coroutines.

    Raises:
        InvalidGraph: The time-out makes no sense, or the function is synchronous and cannot have one.
    """
    policies = Policies.of(retry_policy, cache_policy, timeout)

    def decorate(decorated: Any) -> TaskFunction[Any, Any]:
        return TaskFunction(decorated, name, policies)

    return decorate if function is None else decorate(function)


class entrypoint(Parametrised, Generic[ContextT]):  # noqa: N801 - LangGraph's name of a decorator
    """Make a graph of one function.

    Args:
        checkpointer: The log, or None.
        store: Handed to the function as ``store``.
        cache: Where what has a ``cache_policy`` looks for results.
        context_schema: The type of ``runtime.context``.
        cache_policy: How results are kept, to be used again for equal input; also for tasks without one of their own.
        retry_policy: When and how often to try again if it raises; also for tasks without one of their own.
        timeout: Seconds or timedelta that an attempt may take, or a ``TimeoutPolicy``; for coroutine functions.
        durability: The mode for calls that name none.
        name: The graph's name in logs and errors; the function's name if None.

    Raises:
        InvalidGraph: The time-out makes no sense.
    """

    final: TypeAlias = Final  # noqa: PYI042 - LangGraph's name

    def __init__(
        self,
        checkpointer: Log | None = None,
        store: Any = None,
        cache: BaseCache[Any] | None = None,
        context_schema: type[ContextT] | None = None,
        cache_policy: CachePolicy | None = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        timeout: Timeout | TimeoutPolicy = None,
        durability: Durability | None = None,
        name: str | None = None,
    ) -> None:
        self.settings = Settings(
            log=ensure_valid_checkpointer(checkpointer),
            store=store,
            cache=checked_cache(cache),
            durability=checked_durability(durability),
            context_schema=context_schema,
        )
        self.policies = Policies.of(retry_policy, cache_policy, timeout)
        self.name = name

    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], Coroutine[Any, Any, Final[R, Any]]]
    ) -> CompiledGraph[GivenT, ContextT, GivenT, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], Coroutine[Any, Any, R]]
    ) -> CompiledGraph[GivenT, ContextT, GivenT, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], Final[R, Any]]
    ) -> CompiledGraph[GivenT, ContextT, GivenT, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[GivenT, ...], R]
    ) -> CompiledGraph[GivenT, ContextT, GivenT, R]: ...
    def __call__(self, function: Callable[..., Any]) -> CompiledGraph[Any, ContextT, Any, Any]:
        """Make the graph.

        Raises:
            InvalidGraph: The function takes no input, or has a time-out and is synchronous.
            NotImplementedError: It is a generator.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            message = "Generators are not supported in the Functional API."
            raise NotImplementedError(message)
        parameters = [name for name in inspect.signature(function).parameters if name not in INJECTED]
        if not parameters:
            message = "Entrypoint function must have at least one parameter"
            raise InvalidGraph(message)
        name = self.name or name_of(function)
        channels = {
            "__end__": LastValue(Any).named("__end__"),
            "__previous__": LastValue(Any).named("__previous__"),
        }
        whole = Reader(channels, ("__end__",))
        callee = Callee(function)
        check_stoppable(callee, self.policies.timeout, "Node", name)
        node = Node(name, callee, whole, policies=self.policies)
        drawn: dict[str, Any] = {name: {}}
        hints = inspect.get_annotations(function).values()
        classes = {cls for hint in hints if isinstance(hint, type) for cls in classes_in(hint)}
        program = Program(Blueprint(name, name, channels, drawn), {name: node}, {}, whole, whole, classes)
        program.task_policies = self.policies._replace(timeout=None)
        return CompiledGraph(program, self.settings, function)


def _compare(
    caller: TaskContext[Run],
    path: tuple[str | int, ...],
    recorded: tuple[str, bytes, str],
    attempted: tuple[str, bytes, str],
) -> None:
    """See that the call made here is the one that is recorded here.

    Raises:
        NonDeterminism: It is not.
    """
    same_arguments = recorded[1] == attempted[1] or not recorded[1] or not attempted[1]
    if recorded[0] == attempted[0] and same_arguments:
        return
    place = "/".join(map(str, path))
    message = (
        f"task {place} in step {caller.step} of thread {caller.run.thread!r}: the log holds a call of "
        f"{recorded[0]}{recorded[2]} here, this run calls {attempted[0]}{attempted[2]}; nothing was executed"
    )
    raise NonDeterminism(
        message,
        hint="Code between two calls must not depend on clock, randomness or changed code; record what does in a "
        "@task of its own. To run the new code, start the thread anew with an input.",
        recorded=recorded,
        attempted=attempted,
        path=path,
    )


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
