"""Plain functions that survive: ``@task`` and ``@entrypoint``.

    @task                            each call is recorded when it returned, and never made again
    def fetch(url): ...

    @entrypoint(checkpointer=log)    one node; runs again from its top on resume, and finds its calls recorded
    def report(urls):
        return [fetch(url).result() for url in urls]

What a call does is in ``calling``; here are the two decorators, and the graph of one node that an entrypoint is.

It must not know how calls are recorded or replayed.
"""

from __future__ import annotations

import inspect
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from ..replay.blueprint import Blueprint
from ..replay.channel import LastValue
from .calling import TaskFunction
from .control import Final
from .errors import InvalidGraph
from .graph import CompiledGraph
from .node import INJECTED, Callee, Node, check_stoppable, name_of
from .policy import Policies
from .program import Program
from .reader import Reader
from .schema import classes_in
from .settings import (
    Settings,
    checked_cache,
    checked_durability,
    checked_on_mismatch,
    checked_options,
    ensure_valid_checkpointer,
)
from .typed import ContextT, Parametrised

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ..wal.log import Log
    from .cache import BaseCache
    from .control import Durability, OnMismatch
    from .once import Effect, EffectCall, OnUnknown
    from .policy import CachePolicy, Timeout, TimeoutPolicy
    from .retry import RetryPolicy

P = ParamSpec("P")
R = TypeVar("R")
GivenT = TypeVar("GivenT")


class TaskOptions(TypedDict, total=False):
    """What ``task`` can be told besides what LangGraph's can."""

    effect: Effect
    reconcile: Callable[[str, EffectCall], Any] | None
    on_unknown: OnUnknown
    key: Callable[..., str] | None


class EntrypointOptions(TypedDict, total=False):
    """What ``entrypoint`` can be told besides what LangGraph's can."""

    durability: Durability | None
    name: str | None
    on_mismatch: OnMismatch | None


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
    **options: Unpack[TaskOptions],
) -> TaskDecorator: ...
def task(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Timeout | TimeoutPolicy = None,
    **options: Unpack[TaskOptions],
) -> Any:
    """Make a function whose calls are recorded.

    Args:
        function: The function, when used as ``@task``.
        name: What the log calls it; the function's name if None.
        retry_policy: When and how often to try again if it raises; None for what the entrypoint was told.
        cache_policy: How its results are kept, to be used again for equal arguments.
        timeout: Seconds or timedelta that an attempt may take, or a ``TimeoutPolicy``; for coroutine functions.
        options: ``effect``: what happens when the process dies while the body runs. ``at_least_once``: it begins again.
            ``at_most_once``: it does not, unless ``reconcile`` or a person says so; that it begins is durable before it
            does, which costs a flush, and only its own ``retry_policy`` has it tried again.
            ``reconcile``, for ``at_most_once``: what says how an attempt ended of which nobody knows. Given the
            idempotency key and an ``EffectCall``, it returns what the call is to return, or ``RUN_AGAIN``, or raises.
            ``on_unknown``, for ``at_most_once``, if that cannot say or is not there: ``raise`` ``OutcomeUnknown``, or
            ``interrupt``: ask a person, who answers with what the call is to return, or with ``RUN_AGAIN``.
            ``key``: from a call's arguments to the key by which it is known among its caller's calls; without one it
            is known by its number. ``with_key`` gives one call a key.

    Returns:
        A function that returns a future: ``.result()`` in synchronous code, ``await`` in coroutines.

    Raises:
        InvalidGraph: The time-out makes no sense, or the function is synchronous and cannot have one; or what is said
            of its effect makes none.
        TypeError: There is no such option.
    """
    checked_options("task", TaskOptions, options)
    effect, reconcile = options.get("effect", "at_least_once"), options.get("reconcile")
    on_unknown = options.get("on_unknown", "raise")
    policies = Policies.of(retry_policy, cache_policy, timeout)

    def decorate(decorated: Any) -> TaskFunction[Any, Any]:
        once = None
        if (effect, reconcile, on_unknown) != ("at_least_once", None, "raise"):
            from .once import checked_effect

            once = checked_effect(effect, reconcile, on_unknown, name or name_of(decorated))
        return TaskFunction(decorated, name, policies, once, options.get("key"))

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
        options: ``durability``: the mode for calls that name none.
            ``name``: the graph's name in logs and errors; the function's name if None.
            ``on_mismatch``: what is done about calls that are not the recorded ones: ``raise`` NonDeterminism,
            ``rerun`` them, or ``accept`` what is recorded.

    Raises:
        InvalidGraph: The time-out makes no sense.
        TypeError: There is no such option.
        ValueError: An option has no such value.
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
        **options: Unpack[EntrypointOptions],
    ) -> None:
        checked_options("entrypoint", EntrypointOptions, options)
        self.settings = Settings(
            log=ensure_valid_checkpointer(checkpointer),
            store=store,
            cache=checked_cache(cache),
            durability=checked_durability(options.get("durability")),
            context_schema=context_schema,
            on_mismatch=checked_on_mismatch(options.get("on_mismatch")),
        )
        self.policies = Policies.of(retry_policy, cache_policy, timeout)
        self.name = options.get("name")

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
