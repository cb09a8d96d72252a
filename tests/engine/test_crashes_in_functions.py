"""Killed before and after every commit in functions that call tasks: failures that were caught, calls with keys.

The world is the simulation's, so its laws are looked at after every effect: what is recorded never runs again, and
neither does a call whose failure its caller caught.
"""

from __future__ import annotations

from typing import Any

import pytest
from helpers import THREAD
from kills import outlived
from simulation.by_hand import Killed, World
from simulation.doomed import Doomed

from walgraph import LogFailed, entrypoint, idempotency_key, now, random, task, uuid4


def said(world: World, name: str) -> int:
    """Let user code act on the world, and tell how often it did so before under its key."""
    return world.did(idempotency_key(), name)


def a_fallback(world: World, log: Any) -> Any:
    """A call fails whenever it is first made; its caller goes on with other calls."""

    @task
    def pay(amount: int) -> str:
        if not said(world, "pay"):
            raise ValueError(amount)
        return "paid"

    @task
    def note(what: str) -> str:
        said(world, what)
        return what

    @task
    def shop(amount: int) -> list[str]:
        said(world, "shop")
        try:
            found = pay(amount).result()
        except ValueError as error:
            found = note(f"not {error}").result()
        return [found, note("end").result()]

    @entrypoint(log)
    def flow(given: Any) -> Any:
        return [*shop(1).result(), note("all").result()]

    return flow


def a_failure_that_ends_runs(world: World, log: Any) -> Any:
    """The second call fails when it is first made, and with it the run; the first had failed before."""

    @task
    def fails_once(name: str) -> str:
        if not said(world, name):
            raise ValueError(name)
        return name

    @task
    def note(what: str) -> str:
        said(world, what)
        return what

    @entrypoint(log)
    def flow(given: Any) -> Any:
        try:
            first = fails_once("a").result()
        except ValueError:
            first = "no"
        middle = note.with_key("middle")(first).result()
        return [first, middle, fails_once("b").result()]

    return flow


def an_id_for_the_world(world: World, log: Any) -> Any:
    """A fresh id is given to the outside world, as the argument of a call; under ``sync`` it is always the same."""

    @task
    def pay(key: str) -> str:
        said(world, "pay")
        world.counts[f"paid under {key}"] += 1
        return "paid"

    @entrypoint(log)
    def flow(given: Any) -> Any:
        key = uuid4()
        paid = pay(str(key)).result()
        return [paid, str(0 <= random() < 1), str(now().tzinfo)]

    return flow


def a_call_that_changes(world: World, log: Any) -> Any:
    """Each life calls the second task with another argument, and may."""

    @task
    def note(what: int) -> str:
        said(world, "note")
        return "noted"

    @entrypoint(log, on_mismatch="rerun")
    def flow(given: Any) -> Any:
        world.counts["attempts"] += 1
        first = note(0).result()
        second = note(world.counts["attempts"]).result()
        if world.counts["attempts"] < 3:
            raise ValueError
        return [first, second]

    return flow


ENDS: dict[str, tuple[Any, list[list[str]]]] = {
    "fallback": (a_fallback, [["not 1", "end", "all"], ["paid", "end", "all"]]),
    "id": (an_id_for_the_world, [["paid", "True", "UTC"]]),
    "rerun": (a_call_that_changes, [["noted", "noted"]]),
    "ended": (a_failure_that_ends_runs, [["no", "no", "b"], ["a", "a", "b"]]),
}


def lived(make: Any, mode: str, fatal: int = 0) -> tuple[Any, World]:
    """Return what a program comes to in a world with this fate, called again as often as it fails."""
    world = Doomed(fatal)
    while True:
        with world.life() as log:
            try:
                graph = make(world, log)
                while True:
                    given = 0 if graph.get_state(THREAD).created_at is None else None
                    try:
                        return graph.invoke(given, THREAD, durability=mode), world
                    except ValueError:
                        continue
            except (Killed, LogFailed):
                continue


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
@pytest.mark.parametrize("name", ENDS)
def test_a_kill_around_any_commit_changes_nothing(name, mode) -> None:
    """A failure that was caught, and followed by an outcome, is never tried again; one that was not may be."""
    make, ends = ENDS[name]
    end, world = lived(make, mode)
    assert end == ends[0]
    moments = world.moments
    for fatal in range(1, moments + 1):
        end, world = lived(make, mode, fatal)
        # Killed before anything followed the failure, the call is made again and may go well.
        assert end in ends, f"killed at moment {fatal}"
        if mode == "sync":
            assert sum(held.startswith("paid under") for held in world.counts) == (name == "id")


PROGRAM = """
import asyncio
from walgraph import entrypoint, task
counts = pathlib.Path(PATH).with_suffix(".counts")

def did(name):
    with counts.open("a") as file:
        file.write(name + "\\n")

@task
async def fetch(x):
    did(x)
    if x == "b":
        raise OSError(x)
    return x

@task
async def branch(x):
    found = await asyncio.gather(*(fetch.with_key(each)(each) for each in "ab"), return_exceptions=True)
    try:
        found.append(await fetch("b"))
    except OSError as error:
        found.append(await fetch(f"after {error}"))
    return [str(each) for each in found]

def run(log):
    @entrypoint(log, durability=MODE)
    async def flow(given):
        return await branch(1)

    given = None if CALL[0] is None else 0
    print(asyncio.run(flow.ainvoke(given, CALL[1])))
    if given is not None:
        assert asyncio.run(flow.ainvoke(None, CALL[1])) is not None
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_processes_are_killed_around_every_append(tmp_path, when) -> None:
    """On an event loop, in processes of their own: the end is the same, and what followed a failure is not redone."""
    expected = "['a', 'b', 'after b']\n"
    program = "MODE = 'sync'" + PROGRAM
    lives = list(outlived(program, tmp_path, when))
    assert len(lives) > 3
    for fate, (_, second, _) in enumerate(lives, 1):
        assert second == expected
        ran = (tmp_path / f"{fate}.counts").read_text().split("\n")
        assert ran.count("after b") <= 2
