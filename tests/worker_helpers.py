"""Words that the tests of workers share: a worker in the background, and what to wait for.

with working(way, log, graph) as worker:      in a thread of its own, or on an event loop in one
result(way, handle)                           handle.result(), or await handle
until(condition)                              wait until it holds
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers import Way

from walgraph import Log, RunHandle, Worker, entrypoint, task

PATIENCE = 20.0
"""Seconds after which a test gives up waiting; none waits as long as that unless something is wrong."""


@contextmanager
def working(way: Way, log: Log, graphs: Any, **options: Any) -> Iterator[Worker]:
    """Let a worker carry runs on, in threads or on an event loop, until the block is left."""
    worker = Worker(log, graphs, **options)
    if not way.is_async:
        with worker:
            yield worker
        return
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(worker.arun())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()
    if failed:
        raise failed[0]


def result(way: Way, handle: RunHandle) -> Any:
    """Return what a run came to."""
    if not way.is_async:
        return handle.result(PATIENCE)

    async def awaited() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await handle

    return asyncio.run(awaited())


def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until something holds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.002)


HERE = str(Path(__file__).parent)


@contextmanager
def elsewhere(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Let a program run in a process of its own, which has said ``ready``, and kill it at the end if it still lives."""
    source = f"import sys; sys.path.insert(0, {HERE!r})\n{textwrap.dedent(program)}"
    process = subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def life(program: str, *arguments: object) -> int:
    """Run a program and return how it ended."""
    source = f"import sys; sys.path.insert(0, {HERE!r})\n{textwrap.dedent(program)}"
    done = subprocess.run([sys.executable, "-c", source, *map(str, arguments)], timeout=60, check=False)
    return done.returncode


KILLS_ITSELF = """
import os, signal, sys
from helpers import chain, leaves
from walgraph import Log

def dies(state):
    os.kill(os.getpid(), signal.SIGKILL)

log = Log.open(sys.argv[1])
graph = chain(leaves("a"), dies, leaves("b")).compile(log, name="chain")
graph.invoke({"trail": []}, {"configurable": {"thread_id": "t"}}, durability="sync")
"""


def named_dies(body: Any) -> Any:
    """Return a node called ``dies`` that does something else."""

    def dies(state: Any) -> dict[str, Any]:
        return body(state)

    return dies


WORKER = """
import os, signal, sys, time
from helpers import chain, leaves
from walgraph import Log, Worker, entrypoint, task

@task
def step(n):
    print(n, flush=True)
    time.sleep(0.02)
    return n

log = Log.open(sys.argv[1])

@entrypoint(log)
def long(total):
    return sum(step(n).result() for n in range(total))

print("ready", flush=True)
Worker(log, long).run()
print("stopped", flush=True)
"""


def long_here(log: Log, called: list[int]) -> Any:
    """Return the graph of ``WORKER`` in this process, noting which steps are called."""

    @task
    def step(n: int) -> int:
        called.append(n)
        return n

    @entrypoint(log)
    def long(total: int) -> int:
        return sum(step(n).result() for n in range(total))

    return long
