"""What a ``@task`` call returns: a future for threads and for coroutines, and how many calls run at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest
from helpers import THREAD

from walgraph import (
    entrypoint,
    task,
)


def test_futures_first_and_results_later_keep_their_order(way, maybe_log) -> None:
    """Calls that are made before any is waited for run side by side; results come in the order they are asked for."""
    both = threading.Barrier(2, timeout=20)

    @task
    def meet(x):
        both.wait()
        return x

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        first, second = meet("first"), meet("second")
        return (yield [second, first])

    assert way.invoke(workflow, 0) == ["second", "first"]


def test_one_slot_is_enough_for_a_task_that_calls_tasks(way, maybe_log) -> None:
    """With max_concurrency=1 LangGraph waits for ever (T-10); here the one who waits makes the call itself."""

    @task
    @way.node
    def leaf(x):
        return x + 1

    @task
    @way.flow
    def branch(x):
        return sum((yield [leaf(x), leaf(x + 1)]))

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        return sum((yield [branch(x), branch(x + 1)]))

    config = {**THREAD, "max_concurrency": 1}
    assert way.invoke(workflow, 1, config) == (2 + 3) + (3 + 4)


def test_a_call_that_nobody_has_begun_can_be_cancelled(maybe_log) -> None:
    """A function that gave up a call that it had made was waited for without end; and who has begun goes on."""
    began, go = threading.Event(), threading.Event()
    ran = []

    @task
    def work(number):
        ran.append(number)
        began.set()
        go.wait(20)
        return number

    @entrypoint(maybe_log)
    def flow(_):
        first, second = work(1), work(2)
        began.wait(20)
        answers = [first.cancel(), second.cancel(), second.cancel()]
        go.set()
        with pytest.raises(concurrent.futures.CancelledError):
            second.result()
        concurrent.futures.wait([second], 20)
        return [first.result(), *answers, second.cancelled()]

    assert flow.invoke(0, {**THREAD, "max_concurrency": 1}) == [1, False, True, True, True]
    assert ran == [1]


def test_a_coroutine_s_call_can_be_cancelled_by_its_caller(maybe_log) -> None:
    """Whoever called it goes on."""

    @task
    async def for_long():
        await asyncio.sleep(60)

    @entrypoint(maybe_log)
    async def flow(_):
        future = for_long()
        await asyncio.sleep(0)
        assert future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        return future.cancelled()

    assert asyncio.run(flow.ainvoke(0, THREAD))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_tasks_run_at_once_than_max_concurrency_allows(way, limit) -> None:
    """Calls of tasks are limited as nodes are."""
    lock, running, most = threading.Lock(), [0], [0]
    pause = threading.Event()

    @task
    def busy():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        pause.wait(0.005)
        with lock:
            running[0] -= 1

    @entrypoint()
    @way.flow
    def workflow(x):
        yield [busy() for _ in range(8)]

    way.invoke(workflow, 1, {"max_concurrency": limit})
    assert 1 <= most[0] <= limit


def test_a_synchronous_task_in_an_async_entrypoint_does_not_block_the_loop(maybe_log) -> None:
    """It runs in a thread: the event loop goes on, and may even be what the task waits for."""

    async def main() -> int:
        ready = threading.Event()

        @task
        def wait(x):
            assert ready.wait(20)
            return x

        @entrypoint(maybe_log)
        async def workflow(x):
            future = wait(x)
            asyncio.get_running_loop().call_soon(ready.set)
            return await future

        return await workflow.ainvoke(3, THREAD)

    assert asyncio.run(main()) == 3


def test_an_async_task_in_a_sync_entrypoint_is_refused(maybe_log) -> None:
    """Synchronous code has no loop to run it on (T-9)."""

    @task
    async def later(x):
        return x

    @entrypoint(maybe_log)
    def workflow(x):
        return later(x).result()

    with pytest.raises(RuntimeError, match="async tasks cannot be called"):
        workflow.invoke(1, THREAD)


def test_a_future_knows_when_it_is_done(log) -> None:
    """It is a future of concurrent.futures: done, exception, callbacks and time-outs work."""
    go = threading.Event()
    seen: dict[str, object] = {}

    @task
    def wait(x):
        assert go.wait(20)
        if x:
            raise ValueError("no")
        return "well"

    @entrypoint(log)
    def workflow(x):
        good, bad = wait(0), wait(1)
        seen["done before"] = good.done()
        with pytest.raises(TimeoutError):
            good.result(timeout=0.01)
        go.set()
        concurrent.futures.wait([good, bad])
        seen["done after"] = good.done()
        seen["result"] = good.result(timeout=20)
        seen["exceptions"] = (good.exception(), repr(bad.exception()))
        called: list[object] = []
        good.add_done_callback(called.append)
        seen["callback"] = called == [good]
        return 0

    workflow.invoke(0, THREAD)
    assert seen == {
        "done before": False,
        "done after": True,
        "result": "well",
        "exceptions": (None, "ValueError('no')"),
        "callback": True,
    }


def test_exception_waits_for_the_call_as_result_does() -> None:
    """With one slot, which the caller does not hold, asking for the exception does not wait for ever."""

    @task
    def fail():
        raise ValueError("no")

    @task
    def outer():
        return repr(fail().exception())

    @entrypoint()
    def workflow(x):
        return outer().result()

    assert workflow.invoke(0, {"max_concurrency": 1}) == "ValueError('no')"


def test_a_future_can_be_awaited_more_than_once(log) -> None:
    """By several coroutines at once, and again when it is done; gather and wait_for take it."""

    @task
    async def later(x):
        await asyncio.sleep(0)
        return x

    @entrypoint(log)
    async def workflow(x):
        future = later(x)
        first = await asyncio.gather(future, future)
        return [*first, await asyncio.wait_for(future, 20), await future, future.result(), future.done()]

    assert asyncio.run(workflow.ainvoke(5, THREAD)) == [5, 5, 5, 5, 5, True]


def test_a_time_out_in_the_caller_of_an_async_task_is_the_callers(log) -> None:
    """wait_for gives up on the task and cancels it; what the caller makes of that is its own affair."""

    @task
    async def never():
        await asyncio.Event().wait()

    @entrypoint(log)
    async def workflow(x):
        try:
            await asyncio.wait_for(never(), 0.01)
        except TimeoutError:
            return "gave up"

    assert asyncio.run(workflow.ainvoke(0, THREAD)) == "gave up"


def test_a_recorded_call_gives_a_future_that_is_done(log) -> None:
    """On resume a finished call needs neither a thread nor the event loop."""
    seen: list[bool] = []

    @task
    def once(x):
        return x

    @entrypoint(log)
    def workflow(x):
        future = once(x)
        seen.append(future.done())
        found = future.result()
        if len(seen) == 1:
            raise ConnectionError
        return found

    with pytest.raises(ConnectionError):
        workflow.invoke(4, THREAD)
    assert workflow.invoke(None, THREAD) == 4
    assert seen[1] is True


def test_under_sync_a_result_is_handed_over_only_once_it_is_durable(way, log) -> None:
    """The caller of a task reads the log and finds the outcome there."""
    found: list[object] = []

    @task
    @way.node
    def make():
        return "well"

    @entrypoint(log)
    @way.flow
    def workflow(x):
        yield make()
        for _, body in log.store.frames("t"):
            found.extend(record.path for record in log.decoder().records(body) if hasattr(record, "path"))
        return 0

    way.invoke(workflow, 0, durability="sync")
    assert found == [("workflow", 0)]
