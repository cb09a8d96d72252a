"""The pool that runs tasks in threads, and the places of those that run on an event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from walgraph.engine.slots import Slot
from walgraph.engine.workers import Pool


@pytest.fixture
def pool():
    """A pool of two."""
    made = Pool(2)
    yield made
    made.close()


def test_work_is_done_by_a_worker(pool) -> None:
    """In a thread that is not the caller's, without anybody asking for it again."""
    work = pool.submit(threading.get_ident)
    assert work.future.result(20) != threading.get_ident()


def test_work_that_raises_gives_its_exception(pool) -> None:
    """Any kind, also those that are no Exception."""
    for error in (ValueError("no"), KeyboardInterrupt("no")):

        def fail(error=error):
            raise error

        assert pool.submit(fail).future.exception(20) is error


def test_work_that_waits_for_later_work_is_not_in_its_way() -> None:
    """Two pieces come while one thread is idle, and the first waits for the second: each gets a thread.

    The thread was counted as idle until it woke up, so the second piece woke it once more and started no other.
    """
    for _ in range(200):
        pool, go = Pool(4), threading.Event()
        pool.submit(int).future.result(20)
        while not pool._idle:
            pass
        first = pool.submit(lambda go=go: go.wait(20))
        pool.submit(go.set)
        assert first.future.result(20)
        pool.close()


def test_who_waits_helps_himself() -> None:
    """Work that nobody took is run by whoever asks for it, in his own thread, and only once."""
    pool = Pool(2)
    go = threading.Event()
    busy = pool.submit(lambda: go.wait(20))
    while not pool._running:
        pass
    work = pool.submit(threading.get_ident)
    helped = work.run_if_free()
    go.set()
    assert work.future.result(20) == threading.get_ident() or not helped
    assert not work.run_if_free()
    assert busy.future.result(20)
    pool.close()


def test_at_the_limit_who_waits_does_not_help() -> None:
    """One runs, so with a limit of one the caller leaves the other to the worker."""
    pool = Pool(1)
    started, go = threading.Event(), threading.Event()

    def wait():
        started.set()
        return go.wait(20)

    pool.submit(wait)
    assert started.wait(20)
    work = pool.submit(threading.get_ident)
    assert not work.run_if_free()
    go.set()
    assert work.future.result(20) != threading.get_ident()
    pool.close()


def test_who_runs_work_may_always_run_what_it_waits_for() -> None:
    """Work in work in work, with a limit of one: it is run in place of the one who waits, not beside it."""
    pool = Pool(1)

    def nested(depth):
        if depth == 0:
            return 0
        work = pool.submit(lambda: nested(depth - 1))
        assert work.run_if_free()
        return 1 + work.future.result(20)

    assert pool.submit(lambda: nested(5)).future.result(20) == 5
    pool.close()


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_run_at_once_than_the_limit_says(limit) -> None:
    """Those that help themselves are counted."""
    pool = Pool(limit)
    lock, running, most = threading.Lock(), [0], [0]

    def busy():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.002)
        with lock:
            running[0] -= 1

    works = [pool.submit(busy) for _ in range(20)]
    for work in reversed(works):
        work.run_if_free()
        work.future.result(20)
    pool.close()
    assert most[0] <= limit


def test_closing_lets_all_work_end() -> None:
    """What was queued is done, and the threads are gone."""
    pool = Pool(2)
    works = [pool.submit(lambda n=n: n) for n in range(50)]
    pool.close()
    assert [work.future.result(0) for work in works] == list(range(50))
    assert not any(thread.is_alive() for thread in pool._threads)


def test_closing_can_drop_what_nobody_began() -> None:
    """What runs ends, the rest never begins."""
    pool = Pool(1)
    started, go = threading.Event(), threading.Event()

    def wait():
        started.set()
        go.wait(20)

    first = pool.submit(wait)
    assert started.wait(20)
    second = pool.submit(lambda: None)
    threading.Timer(0.01, go.set).start()
    pool.close(drop=True)
    assert first.future.done()
    assert not second.future.done()


def test_closing_wakes_every_idle_worker() -> None:
    """However many wait for work, or for a place."""
    for _ in range(20):
        pool = Pool(4)
        both = threading.Barrier(4, timeout=20)
        works = [pool.submit(both.wait) for _ in range(4)]
        for work in works:
            work.future.result(20)
        pool.close()
        assert not any(thread.is_alive() for thread in pool._threads)


def test_threads_are_started_only_when_they_are_needed() -> None:
    """Work that comes one by one is done by one thread."""
    pool = Pool(8)
    for _ in range(20):
        pool.submit(lambda: None).future.result(20)
        while not pool._idle:
            pass
    assert len(pool._threads) == 1
    pool.close()


def test_an_idle_worker_keeps_nothing_alive(pool) -> None:
    """The result of its last work can be collected."""

    class Large:
        """Something that one would like to see gone."""

    work: Any = pool.submit(Large)
    seen = weakref.ref(work.future.result(20))
    while not pool._idle:
        pass
    del work
    gc.collect()
    assert seen() is None


def run(coroutine: Any) -> Any:
    """Run a coroutine, but not for ever."""
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_coroutines_wait_for_a_place() -> None:
    """No more run at once than there are places."""

    async def main() -> int:
        places, running, most = asyncio.Semaphore(2), 0, 0

        async def busy() -> None:
            nonlocal running, most
            async with Slot(places):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(busy() for _ in range(9)))
        return most

    assert run(main()) == 2


def test_a_lent_place_lets_children_run() -> None:
    """Three levels with a single place."""

    async def main() -> int:
        places = asyncio.Semaphore(1)

        async def nested(depth: int) -> int:
            slot = Slot(places)
            async with slot:
                if depth == 0:
                    return 1
                children = [asyncio.ensure_future(nested(depth - 1)) for _ in range(3)]
                return sum(await asyncio.gather(*(slot.lent(child) for child in children)))

        return await nested(3)

    assert run(main()) == 27


def test_a_cancelled_wait_loses_no_place() -> None:
    """Whoever is cancelled while he lends his place, or while he takes it back, leaves as many as there were."""

    async def main() -> int:
        places = asyncio.Semaphore(1)
        hold = asyncio.Event()

        async def lend() -> None:
            slot = Slot(places)
            async with slot:
                await slot.lent(asyncio.Event().wait())

        async def keep() -> None:
            async with Slot(places):
                await hold.wait()

        lender = asyncio.create_task(lend())
        await asyncio.sleep(0.001)
        keeper = asyncio.create_task(keep())
        await asyncio.sleep(0.001)
        lender.cancel()
        await asyncio.sleep(0.001)
        lender.cancel()
        hold.set()
        await asyncio.gather(lender, keeper, return_exceptions=True)
        return places._value

    assert run(main()) == 1
