"""One node, compiled: what to call, with what, and where control goes when it returns.

    what the user gave                    Node.call / Node.acall
    def f(state)                          f(state)
    async def f(state, *, runtime)        await f(state, runtime=…)
    a compiled graph, a runnable          graph.invoke(state, config)
    a dict of runnables or functions      langchain's RunnableParallel of them
    lambda, partial, method, callable     the same

Parameters after the first are injected by name: ``config``, ``runtime``, ``store``, ``writer``, ``previous``, and in
error handlers ``error: NodeError`` (LangGraph §1.3). What a signature wants is looked up once, here, not at each call.

It must not run anything itself, and must not know runs.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from .errors import InvalidGraph, NodeError, NotAvailable
from .policy import NO_POLICIES, Policies

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..wal.record import Target
    from .policy import TimeoutPolicy
    from .reader import Reader

INJECTED = ("config", "runtime", "store", "writer", "previous", "error")
"""Names of parameters that the engine fills."""


class Branch:
    """A conditional edge: a router, and the nodes that its answers stand for.

    Args:
        name: The router's name.
        path: The user's function from state to where to go.
        ends: Answer → node, or None where answers are the nodes' own names.
        reader: How the router sees the state.
    """

    __slots__ = ("call", "ends", "name", "reader")

    def __init__(self, name: str, path: Any, ends: dict[Any, str] | None, reader: Reader) -> None:
        self.name = name
        self.call = Callee(path)
        self.ends = ends
        self.reader = reader


class InvalidAction(InvalidGraph, TypeError, RuntimeError):
    """What a node is to call cannot be called, or is not there; LangGraph raises TypeError and RuntimeError."""


class Callee:
    """A callable of the user, with what its signature wants beyond the first argument."""

    __slots__ = ("function", "inject", "is_async", "is_bare", "is_runnable", "wants_input")

    def __init__(self, function: Any) -> None:
        """Look the callable over.

        Raises:
            InvalidAction: It cannot be called.
        """
        if isinstance(function, Mapping):
            function = _side_by_side(function)
        self.is_runnable = not inspect.isroutine(function) and hasattr(function, "invoke")
        self.function: Callable[..., Any] = function
        if not self.is_runnable and not callable(function):
            message = (
                f"Expected a Runnable, callable or dict. Instead got an unsupported type: {type(function)}"
            )
            raise InvalidAction(message, hint="Give add_node a function, or anything that can be called.")
        self.is_async = not self.is_runnable and is_coroutine_function(function)
        self.inject, self.wants_input = ((), True) if self.is_runnable else _injected(function)
        self.is_bare = self.wants_input and not (self.inject or self.is_async or self.is_runnable)
        """Whether calling it is ``function(input)``."""

    def bind(self, argument: Any, context: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call: the task's input, and what ``context`` (a TaskContext) injects."""
        injected = {name: getattr(context, name) for name in self.inject} if self.inject else {}
        return (argument,) if self.wants_input else (), injected


def _side_by_side(parts: Mapping[str, Any]) -> Any:
    """Return what calls several things with the same input, and returns what each of them returned under its key.

    Raises:
        NotAvailable: It is langchain's, which is not installed.
    """
    if importlib.util.find_spec("langchain_core") is None:
        message = "a dict as a node is a RunnableParallel, and langchain_core is not installed"
        raise NotAvailable(message, hint="pip install langchain-core, or call the parts in a function.")
    from langchain_core.runnables import RunnableParallel

    return RunnableParallel(dict(parts))


class Node:
    """A node as the loop uses it."""

    __slots__ = (
        "branches",
        "cache_policy",
        "callee",
        "deferred",
        "handler",
        "is_error_handler",
        "is_plain",
        "metadata",
        "name",
        "reader",
        "retry",
        "subgraph",
        "targets",
        "timeout",
    )

    def __init__(
        self,
        name: str,
        callee: Callee | None,
        reader: Reader,
        *,
        policies: Policies = NO_POLICIES,
        deferred: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            name: The node's name.
            callee: What to call; None for the hidden START, which only hands the input on.
            reader: How the node sees the state.
            policies: How it is retried, cached and limited in time.
            deferred: Whether the node waits until nothing else is due.
            metadata: What the user noted about the node.
        """
        self.name = name
        self.callee = callee
        self.reader = reader
        self.retry = policies.retry or ()
        self.cache_policy = policies.cache
        self.timeout = policies.timeout
        self.handler: str | None = None
        """The node that runs in this one's place when it has failed for good."""
        self.is_error_handler = False
        self.deferred = deferred
        self.metadata = metadata or {}
        self.targets: tuple[Target, ...] = ()
        self.branches: list[Branch] = []
        self.is_plain = (
            callee is not None
            and not callee.is_async
            and not callee.is_runnable
            and not self.retry
            and self.cache_policy is None
        )
        """Whether, but for its routers, performing it in a thread is one call that is never repeated."""
        self.subgraph = callee.function if callee is not None and callee.is_runnable else None


def check_stoppable(callee: Callee, timeout: TimeoutPolicy | None, kind: str, name: str) -> None:
    """See that what has a time-out can be stopped (TO-1).

    Args:
        callee: What is called.
        timeout: Its time-out, if it has one.
        kind: ``Node`` or ``Task``.
        name: Its name.

    Raises:
        InvalidGraph: It is synchronous, and a thread cannot be stopped.
    """
    if timeout is None or callee.is_async or (callee.is_runnable and hasattr(callee.function, "ainvoke")):
        return
    raise not_stoppable(kind, name)


def not_stoppable(kind: str, name: str) -> InvalidGraph:
    """Return the error of a time-out that cannot be kept; the arguments are those of ``check_stoppable``."""
    message = (
        "Node timeouts are only supported for async nodes because sync Python execution cannot be safely "
        f"cancelled in-process. {kind} {name!r} is sync."
    )
    return InvalidGraph(
        message, hint="Make it a coroutine function and use ainvoke or astream, or leave the timeout out."
    )


def is_coroutine_function(function: Any) -> bool:
    """Return whether calling ``function`` gives a coroutine, through partials and ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    method = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is wanted
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


def node_name_of(action: Any) -> str:
    """Return the name that a node takes from what it calls, which is LangGraph's: a partial is called ``partial``.

    Raises:
        InvalidGraph: It has none.
    """
    if isinstance(action, functools.partial):
        return "partial"
    if not hasattr(action, "invoke") and isinstance(name := getattr(action, "__name__", None), str):
        return name
    return name_of(action) if hasattr(action, "invoke") or not callable(action) else type(action).__name__


def name_of(function: Any) -> str:
    """Return the name that a task or a router takes from its callable.

    Raises:
        InvalidGraph: It has none.
    """
    while isinstance(function, functools.partial):
        function = function.func
    for attribute in ("name", "__name__"):
        name = getattr(function, attribute, None)
        if isinstance(name, str) and name:
            return name
    if hasattr(function, "invoke") or callable(function):
        return type(function).__name__
    message = "Node name must be provided if action is not a function"
    raise InvalidGraph(message, hint='Call add_node("name", action).')


def _injected(function: Any) -> tuple[tuple[str, ...], bool]:
    """Return the parameters that the engine fills, and whether there is one left for the input."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        # A builtin without a signature takes its input and nothing else.
        return (), True
    positional = [
        p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL}
    ]
    wants_input = bool(positional)
    first = positional[0].name if positional else None
    names = {
        p.name
        for p in parameters
        if p.name != first
        and p.name in INJECTED
        and p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}
        # An ordinary parameter may well be called so.
        and (p.name != "error" or _is_node_error(p.annotation))
    }
    return tuple(name for name in INJECTED if name in names), wants_input


def _is_node_error(annotation: Any) -> bool:
    """Return whether a parameter is annotated as an error handler's: ``NodeError``, also with None, also as text."""
    if isinstance(annotation, str):
        return "NodeError" in annotation
    return annotation is NodeError or NodeError in get_args(annotation)
