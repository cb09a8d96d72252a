"""Results that are used again: of ``@task`` calls and of entrypoints (CA-1, CA-2, §1.3)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from cache_helpers import HIT, POLICY, Broken, Counted, on

from walgraph import CachePolicy, Command, InMemoryCache, NonDeterminism, entrypoint, interrupt, task


class Calls:
    """A task that notes each call, and a flow that calls it once for each item of its input."""

    def __init__(self, way: Any, policy: CachePolicy | None = POLICY) -> None:
        self.made: list[Any] = []

        def double(x: Any) -> Any:
            self.made.append(x)
            return (x, x)

        self.way = way
        self.task = task(cache_policy=policy)(way.node(double))

    def flow(self, log: Any = None, cache: Any = None, **options: Any) -> Any:
        """Return the flow."""

        def flow(items):
            found = []
            for item in items:
                found.append((yield self.task(item)))  # noqa: PERF401 - a generator waits for each
            return found

        return entrypoint(log, cache=cache, **options)(self.way.flow(flow))


def test_a_call_is_made_once_for_equal_arguments(way, maybe_log) -> None:
    """In one run and from run to run; its update says so, and a tuple comes back as one (CA-1)."""
    calls = Calls(way)
    flow = calls.flow(maybe_log, InMemoryCache())
    first = way.stream(flow, [1, 1, 2], on("1"))
    ended = {"flow": [(1, 1), (1, 1), (2, 2)]}
    assert first == [{"double": (1, 1)}, {"double": (1, 1), **HIT}, {"double": (2, 2)}, ended]
    assert way.stream(flow, [2], on("2")) == [{"double": (2, 2), **HIT}, {"flow": [(2, 2)]}]
    assert calls.made == [1, 2]


def test_a_call_that_was_found_starts_and_has_no_result_of_its_own(way) -> None:
    """As a node that was found (mode ``tasks``)."""
    flow = Calls(way).flow(cache=InMemoryCache())
    for results in (1, 0):
        chunks = way.stream(flow, [1], stream_mode="tasks")
        assert sum(chunk["name"] == "double" and "result" in chunk for chunk in chunks) == results


def test_a_call_that_was_found_is_recorded(way, log, durability) -> None:
    """A resume needs no cache, and compares the call as always (G9)."""
    calls = Calls(way)
    cache: InMemoryCache[Any] = InMemoryCache()
    way.invoke(calls.flow(cache=cache), [1])

    def flow_of(item: Any, cache: Any) -> Any:
        def flow(items):
            found = yield calls.task(item)
            return [found, interrupt("go on?")]

        return entrypoint(log, cache=cache)(way.flow(flow))

    way.invoke(flow_of(1, cache), [], durability=durability)
    answer = Command(resume="yes")
    with pytest.raises(NonDeterminism):
        way.invoke(flow_of(2, cache), answer, durability=durability)
    assert way.invoke(flow_of(1, None), None, durability=durability) == [(1, 1), "yes"]
    assert calls.made == [1]


def test_named_arguments_are_told_apart_but_not_by_their_order(way) -> None:
    """They are passed to ``key_func`` as they were given (CA-1)."""
    made: list[Any] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        made.append((args, kwargs))
        return len(made)

    cached = task(cache_policy=POLICY)(way.node(call))

    def flow(_):
        results = []
        for kwargs in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}):
            results.append((yield cached(0, **kwargs)))  # noqa: PERF401 - a generator waits for each
        return results

    assert way.invoke(entrypoint(cache=InMemoryCache())(way.flow(flow)), 0) == [1, 1, 2]


def test_an_entrypoints_policy_is_that_of_its_tasks(way) -> None:
    """And its own: found as a whole, nothing of it is run (§1.3)."""
    calls = Calls(way, None)
    cache: InMemoryCache[Any] = InMemoryCache()
    flow = calls.flow(cache=cache, cache_policy=POLICY)
    assert way.stream(flow, [1, 1]) == [
        {"double": (1, 1)},
        {"double": (1, 1), **HIT},
        {"flow": [(1, 1), (1, 1)]},
    ]
    assert way.stream(flow, [1, 1]) == [{"flow": [(1, 1), (1, 1)], **HIT}]
    assert calls.made == [1]


def test_what_an_entrypoint_saves_is_found_again(way, log) -> None:
    """With what it returns."""
    ran: list[Any] = []

    def flow(x, *, previous=None):
        ran.append(previous)
        return entrypoint.final(value=x, save=x + 1)
        yield

    graph = entrypoint(log, cache=InMemoryCache(), cache_policy=POLICY)(way.flow(flow))
    for thread in ("1", "2"):
        assert way.invoke(graph, 1, on(thread)) == 1
    assert ran == [None]
    assert way.invoke(graph, 5, on("2")) == 5
    assert ran == [None, 2]


def test_without_a_cache_each_call_is_made(way) -> None:
    """A policy alone does nothing."""
    calls = Calls(way)
    way.invoke(calls.flow(), [1, 1])
    assert calls.made == [1, 1]


def test_a_call_that_fails_is_not_kept(way, log) -> None:
    """The next is made."""
    made: list[int] = []

    def fails(x):
        made.append(x)
        if len(made) == 1:
            message = "not yet"
            raise ValueError(message)
        return x

    cache = Counted()
    cached = task(cache_policy=POLICY)(way.node(fails))

    def flow(x):
        return (yield cached(x))

    graph = entrypoint(log, cache=cache)(way.flow(flow))
    with pytest.raises(ValueError, match="not yet"):
        way.invoke(graph, 1)
    assert cache.was_set == []
    assert way.invoke(graph, None) == 1
    assert len(cache.was_set) == 1


def test_a_call_that_asked_is_not_kept(way, log) -> None:
    """The answer is that of its thread."""
    cache = Counted()
    asks = task(cache_policy=POLICY)(way.node(interrupt))

    def flow(x):
        return (yield asks(x))

    graph = entrypoint(log, cache=cache)(way.flow(flow))
    for thread, answer in (("1", "yes"), ("2", "no")):
        assert "__interrupt__" in way.invoke(graph, 1, on(thread))
        assert way.invoke(graph, Command(resume=answer), on(thread)) == answer
    assert cache.was_set == []


def test_a_call_under_a_limit_of_time_is_kept_when_it_returns() -> None:
    """Looking for results is no part of the attempt."""
    cache = Counted(pause=0.1)

    @task(cache_policy=POLICY, timeout=0.05)
    async def quick(x):
        return x

    @entrypoint(cache=cache)
    async def flow(x):
        return await asyncio.gather(*(quick(n) for n in range(3)))

    for _ in range(2):
        assert asyncio.run(flow.ainvoke(1, {"max_concurrency": 1})) == [0, 1, 2]
    assert len(cache.was_set) == 3


def test_a_cache_that_fails_costs_no_call(way, log, caplog) -> None:
    """It is made, recorded, and what happened is said."""
    calls = Calls(way)
    with caplog.at_level(logging.WARNING, "walgraph.cache"):
        assert way.invoke(calls.flow(log, Broken()), [1]) == [(1, 1)]
    assert len(caplog.records) == 2
    assert way.invoke(calls.flow(log), None) == [(1, 1)]
    assert calls.made == [1]


def test_what_is_cleared_is_called_again(way) -> None:
    """For one task, in any cache (CA-2)."""
    calls, others = Calls(way), Calls(way, CachePolicy(key_func=str))
    cache: InMemoryCache[Any] = InMemoryCache()
    others.task.name = "other"
    for each in (calls, others):
        way.invoke(each.flow(cache=cache), [1])
    if way.is_async:
        asyncio.run(calls.task.aclear_cache(cache))
    else:
        calls.task.clear_cache(cache)
    for each in (calls, others):
        way.invoke(each.flow(cache=cache), [1])
    assert (calls.made, others.made) == ([1, 1], [1])


def test_tasks_in_nodes_and_in_tasks_use_the_cache_of_their_run(way) -> None:
    """However deep they are called."""
    calls = Calls(way)

    def outer(x):
        return (yield calls.task(x))

    wraps = task(way.flow(outer))

    def flow(x):
        return [(yield wraps(x)), (yield wraps(x))]

    assert way.invoke(entrypoint(cache=InMemoryCache())(way.flow(flow)), 1) == [(1, 1), (1, 1)]
    assert calls.made == [1]
