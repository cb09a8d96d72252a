"""Lives of a program with all kinds of effects: killed at one append after another, and carried on until it is done.

    flow ─► plain ─► looked (at most once, reconcile looks outside) ─► blind (at most once) ─► sold (transactional)

    outside    a file that each body adds a line to before it returns; counted after the last life
    Fate       at which append a life is killed, and whether before it or when it is durable

A life is a forked child, so it dies of a real SIGKILL and costs no start of Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

from sale_helpers import ASYNC_KINDS, Shop

from walgraph import (
    RUN_AGAIN,
    Log,
    OutcomeUnknown,
    entrypoint,
    idempotency_key,
    task,
    transactional,
)
from walgraph.wal.writer import Writer

CONFIG = {"configurable": {"thread_id": "t"}}
LIVES = 30
"""More lives than any program here can need."""


class Fate(NamedTuple):
    """Where a life ends; ``append`` 0 for one that does not."""

    append: int = 0
    when: str = "before"


class Programme:
    """One run in a folder of its own.

    Args:
        folder: Where the log, the file outside and the database are.
        mode: The durability.
        way: ``sync``; or ``async``: on an event loop, where what is sold is sold in a thread; or by what a coroutine
            sells: ``aiosqlite``, ``async session``.
    """

    def __init__(self, folder: Path, mode: str, way: str = "sync") -> None:
        self.mode, self.way, self.is_async = mode, way, way != "sync"
        self.log, self.outside = str(folder / "log.wal"), folder / "outside"
        self.database, self.said = folder / "shop.db", folder / "said"
        folder.mkdir(exist_ok=True)
        self.outside.touch()
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS sales (what TEXT)")

    def happens(self, what: str) -> None:
        """Have an effect outside, which no kill undoes."""
        with self.outside.open("a", encoding="utf-8") as file:
            file.write(f"{what} {idempotency_key()}\n")

    def happened(self, what: str, key: str = "") -> int:
        """Return how often it happened."""
        return sum(line.startswith(f"{what} {key}") for line in self.outside.read_text("utf-8").splitlines())

    def sales(self) -> int:
        """Return how often something was sold."""
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            return database.execute("SELECT count(*) FROM sales").fetchone()[0]

    def live(self, fate: Fate) -> bool:
        """Live until the fate, or until the run is done, in a process of its own; return whether it was killed."""
        pid = os.fork()
        if pid == 0:
            self._child(fate)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0
        return False

    def result(self) -> dict[str, str]:
        """Return what the run returned."""
        return json.loads(self.said.read_text("utf-8"))

    def _child(self, fate: Fate) -> None:
        """Do what one life does; never returns."""
        try:
            kill_at(fate)
            with Log.open(self.log, strict=True, fsync="off", flush_interval=60) as log:
                given = "tea" if log.head("t") is None else None
                flow = self._flow(log)
                if self.is_async:
                    told = asyncio.run(flow.ainvoke(given, CONFIG, durability=self.mode))
                else:
                    told = flow.invoke(given, CONFIG, durability=self.mode)
                self.said.write_text(json.dumps(told), "utf-8")
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)

    def _sold(self):
        if self.way in ASYNC_KINDS:
            shop = Shop(self.way, self.database.parent)

            @transactional(shop.connect)
            async def sold(connection, what):
                await shop.insert(connection, what)
                return what

            return sold

        @transactional(lambda: sqlite3.connect(self.database, timeout=30))
        def sold(connection, what):
            connection.execute("INSERT INTO sales VALUES (?)", (what,))
            return what

        return sold

    def _flow(self, log: Log):
        def look(key, call):
            return "found" if self.happened("looked", key) else RUN_AGAIN

        @task
        def plain(what):
            self.happens("plain")
            return what

        @task(effect="at_most_once", reconcile=look)
        def looked(what):
            self.happens("looked")
            return what

        @task(effect="at_most_once")
        def blind(what):
            self.happens("blind")
            return what

        sold = self._sold()

        def steps(what):
            told = {}
            for each in (plain, looked, blind, sold):
                try:
                    told[each.name] = yield each(what)
                except OutcomeUnknown:
                    told[each.name] = "unknown"
            return told

        if self.is_async:

            async def flow(what):
                return await _awaited(steps(what))
        else:

            def flow(what):
                return _waited(steps(what))

        return entrypoint(log, name="flow")(flow)


def kill_at(fate: Fate) -> None:
    """Kill this process at one of its appends."""
    append, appends = Writer.append, 0

    def fated(writer, *arguments, **options):
        nonlocal appends
        appends += 1
        if appends == fate.append and fate.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = append(writer, *arguments, **options)
        if appends == fate.append:
            writer.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Writer.append = fated


def _waited(steps):
    answer = steps.send
    value = None
    while True:
        try:
            future = answer(value)
        except StopIteration as stop:
            return stop.value
        try:
            answer, value = steps.send, future.result()
        except Exception as error:
            answer, value = steps.throw, error


async def _awaited(steps):
    answer = steps.send
    value = None
    while True:
        try:
            future = answer(value)
        except StopIteration as stop:
            return stop.value
        try:
            answer, value = steps.send, await future
        except Exception as error:
            answer, value = steps.throw, error


def carried_on(programme: Programme, fates: list[Fate]) -> None:
    """Live one life for each fate, and then until the run is done; then count what it has done.

    Raises:
        AssertionError: An effect was lost or doubled, or a doubt was not reported.
    """
    for fate in fates:
        programme.live(fate)
    for _ in range(LIVES):
        if not programme.live(Fate()):
            break
    else:
        raise AssertionError("it is never done")
    told = programme.result()
    counts = {what: programme.happened(what) for what in ("plain", "looked", "blind")}
    assert programme.sales() == 1, f"sold {programme.sales()} times"
    assert counts["looked"] == 1, counts
    assert counts["plain"] >= 1, counts
    assert counts["blind"] <= 1, counts
    assert counts["blind"] == 1 or told["blind"] == "unknown", (counts, told)
    assert told["looked"] in {"tea", "found"}
    assert (told["plain"], told["sold"]) == ("tea", "tea")
