"""Random programs of the functional API, as plain data, and built with either library.

    a_program(pick) ──► Program ──► entrypoint(library, program, world, saver)

A program is an entrypoint that calls tasks one after another or side by side, asks, says something to the stream, and
goes on from what it saved last time. All values are numbers, so that a result that went astray changes the sum.

Invariants:
1. Equal programs do the same with either library: what they do depends on inputs, answers, and what has failed before.
2. Of the tasks that run side by side at most one asks and at most one fails; several questions at once are told of in
   ``test_found``, and which of several failures comes first is nobody's promise.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from hypothesis import strategies
from parity.building import PAUSE, Flaky, World
from parity.shapes import ALL_MODES, SEEN_BY_MOST, Act, Pick


class Task(NamedTuple):
    """A function that is called as a task.

    Args:
        name: Its name.
        questions: How many questions it asks, one after another.
        fails: How often it fails before it works.
        retried: Whether it has a retry policy.
        calls: The tasks that it calls itself.
    """

    name: str
    questions: int = 0
    fails: int = 0
    retried: bool = False
    calls: tuple[str, ...] = ()


class Step(NamedTuple):
    """One thing that the entrypoint does.

    Args:
        kind: ``"call"`` one task, ``"all"`` several side by side, ``"ask"``, ``"say"``, or ``"caught"``: call a task
            and go on if it fails.
        names: The tasks.
    """

    kind: str
    names: tuple[str, ...] = ()


class Program(NamedTuple):
    """An entrypoint and its tasks.

    Args:
        tasks: The tasks; those that others call come last.
        steps: What it does, in order.
        returns: ``"value"``, ``"final"`` with something else to save, ``"list"``, or ``"none"``.
        fails: How often it fails at its end before it works.
    """

    tasks: tuple[Task, ...]
    steps: tuple[Step, ...]
    returns: str = "value"
    fails: int = 0


class ProgramStory(NamedTuple):
    """A program and what is done to it; the rest is as in ``shapes.Story``."""

    program: Program
    acts: tuple[Act, ...]
    durability: str = "sync"
    asynchronous: bool = False
    limit: int = 25
    modes: tuple[str, ...] = SEEN_BY_MOST
    subgraphs: bool = False


def a_program(pick: Pick) -> Program:
    """Make up a program."""
    names = "fghk"[: 1 + pick(4)]
    tasks = []
    for number, name in enumerate(names):
        later = names[number + 1 :]
        calls = tuple(later[pick(len(later))] for _ in range(pick(3))) if later and pick(4) == 3 else ()
        fails = int(pick(6) == 5)
        tasks.append(Task(name, (0, 0, 0, 0, 1, 2)[pick(6)], fails, bool(pick(2)), calls))
    steps = tuple(_a_step(pick, tasks) for _ in range(1 + pick(4)))
    returns = ("value", "value", "final", "list", "none")[pick(5)]
    return Program(tuple(tasks), steps, returns, int(pick(10) == 9))


def _a_step(pick: Pick, tasks: list[Task]) -> Step:
    kind = ("call", "call", "all", "ask", "say", "caught")[pick(6)]
    if kind in {"ask", "say"}:
        return Step(kind)
    chosen = [tasks[pick(len(tasks))] for _ in range(1 + pick(3))]
    if kind != "all":
        return Step(kind, (chosen[0].name,))
    calm = [task.name for task in tasks if not (task.questions or task.fails or task.calls)]
    side_by_side = [chosen[0].name, *(task.name for task in chosen[1:] if task.name in calm)]
    return Step(kind, tuple(side_by_side))


def a_program_story(pick: Pick) -> ProgramStory:
    """Make up a story of a program."""
    program = a_program(pick)
    acts = ("input", "input", "none", "travel", "branch")
    return ProgramStory(
        program,
        (Act("input", pick(50)), *(Act(acts[pick(len(acts))], pick(50)) for _ in range(pick(4)))),
        durability=("sync", "exit", "async")[pick(3)],
        asynchronous=bool(pick(2)),
        modes=((), SEEN_BY_MOST, ALL_MODES)[pick(3)],
        subgraphs=bool(pick(2)),
    )


@strategies.composite
def program_stories(draw: strategies.DrawFn) -> ProgramStory:
    """Draw a story of a program; it shrinks towards one task that is called once."""
    return a_program_story(lambda below: draw(strategies.integers(0, below - 1)))


def entrypoint(library: Any, program: Program, world: World, saver: Any) -> Any:
    """Build the program with a library."""
    made: dict[str, Any] = {}
    for task in reversed(program.tasks):
        policy = (
            library.RetryPolicy(initial_interval=0, jitter=False, retry_on=Flaky) if task.retried else None
        )
        body = (_task_coroutine if world.asynchronous else _task_body)(library, task, world, made)
        made[task.name] = library.task(body, name=task.name, retry_policy=policy)
    build = _main_coroutine if world.asynchronous else _main
    return library.entrypoint(checkpointer=saver)(build(library, program, world, made))


def _began(task: Task, world: World, given: int) -> bool:
    """Note that a task runs, and say whether it fails this time."""
    world.ran[f"{task.name}({given})"] += 1
    return world.fails(task.name, task.fails)


def _asked(library: Any, name: str, questions: int, given: int) -> int:
    return sum(len(library.interrupt(f"{name} asks {number} of {given}")) for number in range(questions))


def _task_body(library: Any, task: Task, world: World, made: dict[str, Any]) -> Any:
    def body(given: int) -> int:
        if _began(task, world, given):
            if not task.retried:
                time.sleep(PAUSE)
            raise Flaky(f"{task.name} fails")
        total = given + ord(task.name[0]) + _asked(library, task.name, task.questions, given)
        for name in task.calls:
            total += made[name](total).result()
        return total

    return body


def _task_coroutine(library: Any, task: Task, world: World, made: dict[str, Any]) -> Any:
    async def body(given: int) -> int:
        if _began(task, world, given):
            if not task.retried:
                await asyncio.sleep(PAUSE)
            raise Flaky(f"{task.name} fails")
        total = given + ord(task.name[0]) + _asked(library, task.name, task.questions, given)
        for name in task.calls:
            total += await made[name](total)
        return total

    return body


def _returned(library: Any, program: Program, world: World, total: int) -> Any:
    """Return what the entrypoint returns, unless it fails."""
    if world.fails("main", program.fails):
        raise Flaky("main fails")
    match program.returns:
        case "final":
            return library.entrypoint.final(value=[total], save=total % 7)
        case "list":
            return [total, {"total": total}]
        case "none":
            return None
        case _:
            return total


def _start(world: World, given: int, previous: Any) -> int:
    world.ran[f"main({given})"] += 1
    return given + (
        sum(item for item in previous if isinstance(item, int))
        if isinstance(previous, list)
        else previous or 0
    )


def _main(library: Any, program: Program, world: World, made: dict[str, Any]) -> Any:
    def main(given: int, *, previous: Any = None) -> Any:
        total = _start(world, given, previous)
        for step in program.steps:
            match step.kind:
                case "call":
                    total += made[step.names[0]](total).result()
                case "all":
                    futures = [made[name](total + number) for number, name in enumerate(step.names)]
                    total += sum(future.result() for future in futures)
                case "caught":
                    try:
                        total += made[step.names[0]](total).result()
                    except Flaky:
                        total += 1
                case "ask":
                    total += _asked(library, "main", 1, total)
                case _:
                    library.get_stream_writer()(f"main has {total}")
        return _returned(library, program, world, total)

    return main


def _main_coroutine(library: Any, program: Program, world: World, made: dict[str, Any]) -> Any:
    async def main(given: int, *, previous: Any = None) -> Any:
        total = _start(world, given, previous)
        for step in program.steps:
            match step.kind:
                case "call":
                    total += await made[step.names[0]](total)
                case "all":
                    calls = [made[name](total + number) for number, name in enumerate(step.names)]
                    total += sum(await asyncio.gather(*calls))
                case "caught":
                    try:
                        total += await made[step.names[0]](total)
                    except Flaky:
                        total += 1
                case "ask":
                    total += _asked(library, "main", 1, total)
                case _:
                    library.get_stream_writer()(f"main has {total}")
        return _returned(library, program, world, total)

    return main
