"""What an attempt that failed left running makes no calls in the name of the next one."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading

from helpers import THREAD

from walgraph import Log, OutsideOfRun, RetryPolicy, entrypoint, task

AGAIN = RetryPolicy(max_attempts=3, initial_interval=0.0, jitter=False, retry_on=ConnectionError)


def test_a_coroutine_of_a_failed_attempt_takes_no_number_of_the_next(tmp_path) -> None:
    """It is refused, and the calls of the next attempt have the numbers that a replay gives them.

    It once took the first number, so that after a crash the call that came second was another one than was recorded.
    """
    ran, refused = [], []

    def program(log, *, dies):
        attempts = []

        @task
        async def step(name):
            ran.append(name)
            return name

        @task(retry_policy=AGAIN)
        async def parent():
            attempts.append(asyncio.Event())
            mine = len(attempts)

            async def stray():
                await attempts[0].wait()
                try:
                    await step("stray")
                except OutsideOfRun as error:
                    refused.append(error)

            if mine == 1:
                strays.append(asyncio.ensure_future(stray()))
                await asyncio.sleep(0)
                raise ConnectionError
            attempts[0].set()
            if strays:
                await asyncio.wait(strays)
            return [await step("first"), await step("second")]

        strays: list[asyncio.Future[None]] = []

        @entrypoint(log)
        async def flow(_):
            found = await parent()
            if dies:
                raise ValueError
            return found

        return flow

    with Log.open(tmp_path / "log", strict=True) as log:
        with contextlib.suppress(ValueError):
            asyncio.run(program(log, dies=True).ainvoke(1, THREAD))
        assert (ran, len(refused)) == (["first", "second"], 1)
        assert asyncio.run(program(log, dies=False).ainvoke(None, THREAD)) == ["first", "second"]
        assert ran == ["first", "second"]


def test_a_thread_of_a_failed_attempt_takes_no_number_of_the_next(log: Log) -> None:
    """The same for a thread that runs in the context of its attempt."""
    ran, refused, strays = [], [], []
    go = threading.Event()

    @task
    def step(name):
        ran.append(name)
        return name

    def stray() -> None:
        go.wait()
        try:
            step("stray").result()
        except OutsideOfRun as error:
            refused.append(error)

    @task(retry_policy=AGAIN)
    def parent():
        if len(strays) < 2:
            context = contextvars.copy_context()
            strays.append(threading.Thread(target=context.run, args=(stray,)))
            strays[-1].start()
            raise ConnectionError
        go.set()
        for thread in strays:
            thread.join()
        return [step("first").result(), step("second").result()]

    @entrypoint(log)
    def flow(_):
        return parent().result()

    assert flow.invoke(1, THREAD) == ["first", "second"]
    assert (ran, len(refused)) == (["first", "second"], 2)
