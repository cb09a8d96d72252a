"""Calls with keys: known by their key among their caller's calls, whatever the order in which they are made."""

from __future__ import annotations

import asyncio

import pytest

from walgraph import InvalidCallKey, NonDeterminism, OutsideOfRun, RetryPolicy, entrypoint, task

THREAD = {"configurable": {"thread_id": "t"}}


class Racing:
    """A workflow whose calls are made in an order that the test decides.

    Args:
        way: How graphs are called.
        log: The log.
    """

    def __init__(self, way, log, **options) -> None:
        self.ran: list[str] = []
        self.order = ["a", "b", "c"]
        self.broken = True
        self.way = way

        @task(**options)
        @way.node
        def fetch(x):
            self.ran.append(x)
            return x * 2

        @entrypoint(log)
        @way.flow
        def workflow(given):
            found = {}
            for x in self.order:
                found[x] = yield (fetch(x) if options else fetch.with_key(x)(x))
            if self.broken:
                raise ConnectionError
            return found

        self.fetch, self.workflow = fetch, workflow


@pytest.mark.parametrize("options", [{}, {"key": lambda x: x}], ids=["with_key", "key="])
def test_keyed_calls_are_found_in_any_order(way, log, options) -> None:
    """The log of a-b-c serves c-a-b, and nothing runs again."""
    racing = Racing(way, log, **options)
    with pytest.raises(ConnectionError):
        way.invoke(racing.workflow, 0)
    racing.order, racing.broken = ["c", "a", "b"], False
    assert way.invoke(racing.workflow, None) == {"c": "cc", "a": "aa", "b": "bb"}
    assert racing.ran == ["a", "b", "c"]


def test_a_keyed_call_takes_no_number(way, log) -> None:
    """So the calls after a loop keep their places when the loop gets longer."""
    racing, ended = Racing(way, log), []

    @task
    @way.node
    def last():
        ended.append(1)
        return "last"

    @entrypoint(log)
    @way.flow
    def workflow(given):
        for x in racing.order:
            yield racing.fetch.with_key(x)(x)
        found = yield last()
        if racing.broken:
            raise ConnectionError
        return found

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0)
    racing.order, racing.broken = ["a", "d", "b", "c"], False
    assert way.invoke(workflow, None) == "last"
    assert (racing.ran, ended) == (["a", "b", "c", "d"], [1])


def test_a_key_is_used_once(way, log) -> None:
    """A second call under the same key is refused, and is not made."""
    racing = Racing(way, log)
    racing.order = ["a", "a"]
    with pytest.raises(InvalidCallKey, match="has made a call under the key 'a' before") as caught:
        way.invoke(racing.workflow, 0)
    assert racing.ran == ["a"]
    assert caught.value.details["key"] == "a"


def test_two_callers_may_use_the_same_key(way, log) -> None:
    """A key tells the calls of one caller apart."""
    ran = []

    @task
    @way.node
    def leaf(x):
        ran.append(x)
        return x

    @task
    @way.flow
    def branch(x):
        return (yield leaf.with_key("only")(x))

    @entrypoint(log)
    @way.flow
    def workflow(given):
        return (yield [branch.with_key("left")(1), branch.with_key("right")(2)])

    assert way.invoke(workflow, 0) == [1, 2]
    assert sorted(ran) == [1, 2]


def test_a_retry_of_the_caller_may_use_its_keys_again(way, log) -> None:
    """The keyed call is found by the second attempt, and not made again."""
    racing, attempts = Racing(way, log), []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    @way.flow
    def twice():
        attempts.append(1)
        found = yield racing.fetch.with_key("a")("a")
        if len(attempts) < 2:
            raise ConnectionError
        return found

    @entrypoint(log)
    @way.flow
    def workflow(given):
        return (yield twice())

    assert way.invoke(workflow, 0) == "aa"
    assert (racing.ran, len(attempts)) == (["a"], 2)


@pytest.mark.parametrize("key", ["", 3, None, "__error_handler__"])
def test_what_is_no_key_is_refused(key) -> None:
    """Where it is given, before anything runs."""

    @task
    def fetch(x):
        return x

    with pytest.raises(InvalidCallKey, match="must be a string that is not empty"):
        fetch.with_key(key)


def test_a_key_function_must_return_a_key(way, log) -> None:
    """The call is refused where it is made."""
    racing = Racing(way, log, key=lambda _: None)
    with pytest.raises(InvalidCallKey):
        way.invoke(racing.workflow, 0)
    assert racing.ran == []


def test_another_argument_under_the_same_key_is_refused(way, log) -> None:
    """The key says which call it is; what is called is compared all the same."""
    given = ["x"]
    racing = Racing(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(_):
        yield racing.fetch.with_key("k")(given[0])
        raise ConnectionError

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0)
    given[0] = "y"
    with pytest.raises(NonDeterminism, match=r"fetch\('x'\) here, this run calls fetch\('y'\)"):
        way.invoke(workflow, None)
    assert racing.ran == ["x"]


def test_racing_coroutines_are_safe_with_keys(log) -> None:
    """Which of two coroutines gets on first differs between two runs; each finds its own result."""
    ran, first = [], ["a", "b"]

    @task
    async def fetch(x):
        ran.append(x)
        return x * 2

    broken = [True]

    @entrypoint(log)
    async def workflow(_):
        async def one(x):
            await asyncio.sleep(0 if x == first[0] else 0.002)
            return await fetch.with_key(x)(x)

        found = await asyncio.gather(one("a"), one("b"))
        if broken.pop():
            raise ConnectionError
        return found

    with pytest.raises(ConnectionError):
        asyncio.run(workflow.ainvoke(0, THREAD))
    first.reverse()
    broken.append(False)
    assert asyncio.run(workflow.ainvoke(None, THREAD)) == ["aa", "bb"]
    assert sorted(ran) == ["a", "b"]


def test_a_coroutine_left_behind_makes_no_calls(log) -> None:
    """Once its function has returned nobody calls tasks in its name: their records would belong to nothing."""
    ran, refused = [], []

    @task
    async def fetch(x):
        ran.append(x)

    @entrypoint(log)
    async def workflow(_):
        async def stray():
            await asyncio.sleep(0.02)
            try:
                fetch("late")
            except OutsideOfRun as error:
                refused.append(error)

        strays.append(asyncio.ensure_future(stray()))
        return "done"

    strays: list[asyncio.Future[None]] = []

    async def run():
        assert await workflow.ainvoke(0, THREAD) == "done"
        await asyncio.wait(strays)

    asyncio.run(run())
    assert (ran, len(refused)) == ([], 1)
    assert "body has ended already" in str(refused[0])


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_deep_and_wide_calls_never_starve_each_other(way, log, limit) -> None:
    """Whatever may run at once: a call that waits for its own calls lets them run (LangGraph deadlocks, T-10)."""

    @task
    @way.flow
    def tree(depth):
        if depth == 0:
            return 1
        return sum((yield [tree(depth - 1), tree(depth - 1)]))

    @task
    @way.flow
    def chain(depth):
        return 0 if depth == 0 else 1 + (yield chain(depth - 1))

    @entrypoint(log)
    @way.flow
    def workflow(_):
        return (yield [tree(4), chain(12), tree(3)])

    config = {**THREAD, "max_concurrency": limit}
    assert way.invoke(workflow, 0, config) == [16, 12, 8]
