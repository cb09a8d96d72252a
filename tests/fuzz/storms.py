"""Programs drawn from a seed, made of all that a task can do, and the world that they have their effects on.

    a tree   branches (one after another, or all at once; some fail at first), whose leaves are effects and waits
    kinds    plain      at least once                       ≥ 1
             looked     at most once, reconcile can look    = 1
             judged     at most once, a person can look     = 1
             blind      at most once, nobody can look       ≤ 1; 0 and "unknown" only where a doubt is reported
             sold       transactional                       = 1
             nap, asked, signalled                          their answers, each signal received once
             caught     fails, and its caller catches that  so it does on each replay
             fatal      ends its run as failed, at first    carried on by people, as if it had not
             never      waits for what never comes          its run is cancelled, or out of time
    ending   done       some in spite of a deadline that was too early, and that people put off
             cancelled  nothing happens any more            each effect at most as often as its kind says
             expired    failed for good, at its deadline    likewise

A process may kill itself right before and after an effect, since what is in doubt is only so for an instant.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from walgraph import (
    RUN_AGAIN,
    Log,
    OutcomeUnknown,
    RetryPolicy,
    entrypoint,
    idempotency_key,
    interrupt,
    sleep,
    task,
    transactional,
    wait_for,
)

EFFECTS = ("plain", "looked", "judged", "blind", "sold")
WAITS = ("nap", "asked", "signalled")
FAILURES = ("caught", "fatal")
ENDINGS = ("done", "done", "done", "late", "cancelled", "cancelled", "expired")
AGAIN = RetryPolicy(
    initial_interval=0.002, backoff_factor=1, jitter=False, max_attempts=1000, retry_on=ConnectionError
)
PARK_AFTER = 0.04
"""Up to how many seconds programs wait in place; some of their naps are longer."""


class Caught(ValueError):
    """What callers catch."""


class Fatal(ValueError):
    """What ends a run."""


class Tree(NamedTuple):
    """A program, or a part of one.

    Args:
        kind: ``steps`` or ``fan`` for a branch, else the kind of a leaf.
        path: What nothing else in its storm is called.
        failures: How often its body raises before it does anything.
        seconds: How long it naps.
        parts: The parts of a branch.
    """

    kind: str
    path: str
    failures: int
    seconds: float
    parts: tuple[Tree, ...]

    def leaves(self) -> Iterator[Tree]:
        """Yield what is no branch."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def of(self, kind: str) -> list[str]:
        """Return the paths of the leaves of a kind."""
        return [leaf.path for leaf in self.leaves() if leaf.kind == kind]


def ending(seed: int) -> str:
    """Return how the program of a seed is to end; ``late`` ones are done after their first deadline."""
    return random.Random(seed + 0.5).choice(ENDINGS)


def a_tree(seed: int, path: str) -> Tree:
    """Return the program of a seed, whose parts are called after a path."""
    chance = random.Random(seed)

    def part(path: str, depth: int) -> Tree:
        failures, seconds = chance.choice([0, 0, 0, 1, 2]), chance.choice([0.0, 0.01, 0.06, 0.15])
        if depth and (depth == 3 or chance.random() < 0.4):
            parts = tuple(part(f"{path}/{n}", depth - 1) for n in range(chance.randint(1, 4)))
            return Tree(chance.choice(["steps", "fan"]), path, failures, seconds, parts)
        kinds = chance.choices((EFFECTS, WAITS, FAILURES), (65, 27, 8))[0]
        return Tree(chance.choice(kinds), path, failures, seconds, ())

    tree = part(path, 3)
    if ending(seed) in {"cancelled", "expired"}:
        parts = list(tree.parts)
        parts.insert(chance.randint(0, len(parts)), Tree("never", f"{path}/never", 0, 0.0, ()))
        tree = tree._replace(parts=tuple(parts))
    return tree


class Outside:
    """The world, which no kill undoes: a file with a line for each effect, and a database.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.database = folder / "outside", str(folder / "shop.db")
        self.file.touch()
        with contextlib.closing(self.connect()) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE sales (path TEXT)")
        self.death: Callable[[], bool] = lambda: False
        """Whether this process is to die where it stands."""
        self.log: Log | None = None
        """Where this process sees how runs stand."""

    def connect(self) -> sqlite3.Connection:
        """Return a connection to the database."""
        return sqlite3.connect(self.database, timeout=30)

    def happens(self, kind: str, path: str) -> None:
        """Have an effect; the process may die right before or after it."""
        self.begins(path)
        self.maybe_die()
        self._note(kind, path)
        self.maybe_die()

    def begins(self, path: str) -> None:
        """Note if something begins of a run that was cancelled."""
        head = None if self.log is None else self.log.head(path.split("/", maxsplit=1)[0])
        if head is not None and head.status == "cancelled":
            self._note("late", path)

    def _note(self, kind: str, path: str) -> None:
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, f"{kind} {path} {idempotency_key()}\n".encode())
        os.close(descriptor)

    def maybe_die(self) -> None:
        """Die, if that is to be."""
        if self.death():
            os.kill(os.getpid(), signal.SIGKILL)

    def lines(self) -> list[list[str]]:
        """Return what happened: kind, path and idempotency key."""
        return [line.split() for line in self.file.read_text("utf-8").splitlines()]

    def knows(self, key: str) -> bool:
        """Tell whether an effect happened under a key."""
        return any(line[0] in EFFECTS and line[2] == key for line in self.lines())

    def fail_first(self, path: str, failures: int, error: type[Exception] = ConnectionError) -> None:
        """Raise until that has happened often enough."""
        if failures and sum(line[:2] == ["failed", path] for line in self.lines()) < failures:
            self.happens("failed", path)
            raise error(path)

    def sales(self) -> Counter[str]:
        """Return how often each path was sold."""
        with contextlib.closing(self.connect()) as database:
            return Counter(path for (path,) in database.execute("SELECT path FROM sales"))


def effects_on(outside: Outside, *, is_async: bool) -> dict[str, Any]:
    """Return the tasks that have effects outside, or fail, by kind; coroutines can be cancelled before and after."""

    def happens(kind: str, path: str, failures: int) -> str:
        if kind == "caught":
            raise Caught(path)
        if kind == "fatal":
            outside.fail_first(path, max(1, failures), Fatal)
            return path
        outside.fail_first(path, failures)
        outside.happens(kind, path)
        return path

    def look(key: str, call: Any) -> Any:
        return call.args[0] if outside.knows(key) else RUN_AGAIN

    def body(kind: str) -> Any:
        async def coroutine(path: str, failures: int) -> str:
            await asyncio.sleep(0.001)
            told = happens(kind, path, failures)
            await asyncio.sleep(0.001)
            return told

        return coroutine if is_async else lambda path, failures: happens(kind, path, failures)

    once: dict[str, Any] = {"effect": "at_most_once"}
    options: dict[str, dict[str, Any]] = {
        "looked": {**once, "reconcile": look},
        "judged": {**once, "on_unknown": "interrupt"},
        "blind": once,
    }

    @transactional(outside.connect, retry_policy=AGAIN)
    def sold(connection: sqlite3.Connection, path: str, failures: int) -> str:
        outside.fail_first(path, failures)
        outside.begins(path)
        connection.execute("INSERT INTO sales VALUES (?)", (path,))
        outside.maybe_die()
        return path

    kinds = {*EFFECTS, *FAILURES} - {"sold"}
    return {"sold": sold} | {
        kind: task(name=kind, retry_policy=AGAIN, **options.get(kind, {}))(body(kind))
        for kind in sorted(kinds)
    }


def wait(kind: str, path: str, seconds: float) -> Any:
    """Sleep, ask, or wait for a signal; in a coroutine, return what does."""
    if kind == "nap":
        return sleep(seconds)
    return interrupt(path) if kind == "asked" else wait_for("never" if kind == "never" else "go")


waits = task(wait, name="waits")


def programs(log: Log, outside: Outside) -> dict[str, Any]:
    """Return the entrypoints that carry trees out: ``storm`` in threads, ``astorm`` on an event loop."""
    outside.log = log
    of_threads, of_coroutines = effects_on(outside, is_async=False), effects_on(outside, is_async=True)

    def begun(part: Tree, branch: Any) -> Any:
        """Return the future of a part."""
        leaves = of_coroutines if branch is abranch else of_threads
        keyed = (lambda call: call.with_key(part.path)) if part.failures else (lambda call: call)
        if part.parts:
            return keyed(branch)(part)
        if part.kind in leaves:
            return keyed(leaves[part.kind])(part.path, part.failures)
        return keyed(waits)(part.kind, part.path, part.seconds)

    def steps(tree: Tree, branch: Any) -> Iterator[Any]:
        """Yield futures, all at once or one by one, and waits; return the answers by path."""
        told: dict[str, Any] = {}
        if tree.kind == "fan":
            answers = yield [begun(part, branch) for part in tree.parts]
        else:
            answers = []
            for part in tree.parts:
                if part.kind in (*WAITS, "never") and not part.failures:
                    answers.append((yield lambda part=part: wait(part.kind, part.path, part.seconds)))
                else:
                    answers += yield [begun(part, branch)]
        for part, answer in zip(tree.parts, answers, strict=True):
            told.update(answer if part.parts else {part.path: answer})
        outside.fail_first(tree.path, tree.failures)
        return told

    @task(retry_policy=AGAIN)
    def branch(tree: Any) -> dict[str, Any]:
        return in_threads(steps(as_tree(tree), branch))

    @task(retry_policy=AGAIN)
    async def abranch(tree: Any) -> dict[str, Any]:
        return await on_loop(steps(as_tree(tree), abranch))

    @entrypoint(log, retry_policy=AGAIN)
    def storm(given: tuple[int, str]) -> dict[str, Any]:
        return in_threads(steps(a_tree(*given), branch))

    @entrypoint(log, retry_policy=AGAIN)
    async def astorm(given: tuple[int, str]) -> dict[str, Any]:
        return await on_loop(steps(a_tree(*given), abranch))

    return {"storm": storm, "astorm": astorm}


def as_tree(given: Any) -> Tree:
    """Return a tree that was an argument."""
    kind, path, failures, seconds, parts = given
    return Tree(kind, path, failures, seconds, tuple(as_tree(part) for part in parts))


def in_threads(steps: Any) -> dict[str, Any]:
    """Carry steps out, waiting for one future after another."""

    def settled(future: Any) -> Any:
        try:
            return future.result()
        except OutcomeUnknown:
            return "unknown"
        except Caught:
            return "caught"

    answer = None
    while True:
        try:
            wish = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = wish() if callable(wish) else [settled(future) for future in wish]


async def on_loop(steps: Any) -> dict[str, Any]:
    """Carry steps out, gathering futures."""

    async def settled(future: Any) -> Any:
        try:
            return await future
        except OutcomeUnknown:
            return "unknown"
        except Caught:
            return "caught"

    answer = None
    while True:
        try:
            wish = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        if callable(wish):
            answer = wish()
            answer = await answer if inspect.isawaitable(answer) else answer
        else:
            answer = await asyncio.gather(*map(settled, wish))
