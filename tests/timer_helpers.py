"""What the tests of sleeps, signals and schedules share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypedDict

from helpers import Way

from walgraph import END, START, CompiledGraph, Log, StateGraph
from walgraph.engine import clock
from walgraph.engine.clock import FakeClock
from walgraph.replay.recover import recover

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    """Some values."""

    a: Any
    b: Any
    c: Any


@contextmanager
def at_noon() -> Iterator[FakeClock]:
    """Let a fake clock begin at noon."""
    fake = FakeClock(NOON)
    with clock.using(fake):
        yield fake


def waits(way: Way, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs a generator and makes each call that it yields, awaiting it in a coroutine."""

    def plain(*args: Any) -> Any:
        steps = function(*args)
        answer = functools.partial(next, steps)
        while True:
            try:
                call = answer()
            except StopIteration as stop:
                return stop.value
            try:
                answer = functools.partial(steps.send, call())
            except BaseException as error:
                answer = functools.partial(steps.throw, error)

    async def coroutine(*args: Any) -> Any:
        steps = function(*args)
        answer = functools.partial(next, steps)
        while True:
            try:
                call = answer()
            except StopIteration as stop:
                return stop.value
            try:
                made = call()
                answer = functools.partial(steps.send, await made if inspect.isawaitable(made) else made)
            except BaseException as error:
                answer = functools.partial(steps.throw, error)

    made = coroutine if way.is_async else plain
    made.__name__ = made.__qualname__ = function.__name__
    made.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return made


def beside(way: Way, log: Log | None, *nodes: Callable[..., Any], **options: Any) -> CompiledGraph:
    """A graph whose nodes, generators for ``waits``, run side by side."""
    builder = StateGraph(State)
    for node in nodes:
        builder.add_node(node.__name__, waits(way, node), **options)
        builder.add_edge(START, node.__name__).add_edge(node.__name__, END)
    return builder.compile(checkpointer=log)


def in_turn(way: Way, log: Log | bool | None, *nodes: Callable[..., Any], **options: Any) -> CompiledGraph:
    """A graph whose nodes, generators for ``waits``, run one after another."""
    builder, before = StateGraph(State), START
    for node in nodes:
        builder.add_node(node.__name__, waits(way, node), **options)
        builder.add_edge(before, node.__name__)
        before = node.__name__
    return builder.compile(checkpointer=log)


def kinds(log: Log, thread: str = "t") -> list[str]:
    """The kinds of a thread's records, in order."""
    return [type(stored.record).__name__ for stored in log.read(thread)]


def folded(log: Log, graph: CompiledGraph, thread: str = "t") -> Any:
    """The state that the log's records add up to."""
    program = graph.parts.program
    return recover(log, thread, {"": program.blueprint}.get, program.registry).state
