"""What a step costs, in counts that are the same on every machine: they hold what the benchmarks in ``bench`` measured.

A limit stands a little above what is counted today. A change that goes beyond it makes every step of every user
dearer: it needs a reason, or another way.
"""

from __future__ import annotations

import asyncio
import operator
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from walgraph import START, Durability, Log, Send, StateGraph, entrypoint, task

STEPS = 200
PAYLOAD = "x" * 300


class State(TypedDict):
    """A number, and a text that stays as it is."""

    x: int
    large: str


class Chat(TypedDict):
    """Messages that only grow."""

    messages: Annotated[list[str], operator.add]


def count(state: State) -> dict[str, int]:
    """Count."""
    return {"x": state["x"] + 1}


async def acount(state: State) -> dict[str, int]:
    """Count, as a coroutine."""
    return {"x": state["x"] + 1}


def chain(log: Log | None, steps: int = STEPS, node: Any = count) -> Any:
    """Return a graph of so many nodes in a row."""
    builder = StateGraph(State)
    names = [f"n{number}" for number in range(steps)]
    for before, name in zip([START, *names], names, strict=False):
        builder.add_node(name, node)
        builder.add_edge(before, name)
    return builder.compile(log)


@task
def one(number: int) -> int:
    """Return a number."""
    return number


def adding(log: Log) -> Any:
    """Return an entrypoint that adds up what so many tasks return, each waited for at once."""

    @entrypoint(log)
    def work(number: int) -> int:
        return sum(one(each).result() for each in range(number))

    return work


def config(thread: object = "t") -> dict[str, Any]:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": str(thread)}}


PATIENT = 10.0
"""Seconds: where groups are counted, the flusher must not take what a busy machine has not come to flush yet."""


def groups(log: Log) -> int:
    """Return how many group commits a log has made."""
    return log._core.committer.groups


def stored(log: Log, thread: str = "t") -> int:
    """Return the bytes of a thread's frames."""
    return sum(len(body) for _, body in log.frames(thread))


def calls_of(function: Any) -> tuple[int, int]:
    """Return how many functions of Python and of C a call calls in this thread."""
    found: Counter[str] = Counter()

    def note(_frame: object, event: str, _argument: object) -> None:
        found[event] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return found["call"], found["c_call"]


@pytest.mark.parametrize(
    ("mode", "python", "builtin"),
    [(None, 50, 56), ("async", 60, 69), ("exit", 58, 62)],
    ids=["none", "async", "exit"],
)
def test_a_step_calls_few_functions(tmp_path: Path, mode: str | None, python: int, builtin: int) -> None:
    """A step of one task: the difference between a long chain and a short one, per step."""
    found = []
    with Log.open(tmp_path / "log", flush_interval=0.05) as log:
        for steps in (20, 20 + STEPS):
            graph = chain(log if mode else None, steps)
            graph.invoke({"x": 0, "large": ""}, config(f"warm {steps}"), durability=mode)
            given = config(steps)
            found.append(
                calls_of(
                    lambda graph=graph, given=given: graph.invoke(
                        {"x": 0, "large": ""}, given, durability=mode
                    )
                )
            )
    (short, short_c), (long, long_c) = found
    assert (long - short) / STEPS <= python
    assert (long_c - short_c) / STEPS <= builtin


@pytest.mark.parametrize(
    ("mode", "python", "builtin"), [("async", 80, 86), ("exit", 79, 79)], ids=["async", "exit"]
)
def test_a_call_of_a_task_calls_few_functions(
    tmp_path: Path, mode: Durability, python: int, builtin: int
) -> None:
    """A ``@task`` that is waited for at once: the difference between many of them and few, per call."""
    with Log.open(tmp_path / "log", flush_interval=0.05) as log:
        work = adding(log)
        work.invoke(10, config("warm"), durability=mode)
        found = [
            calls_of(lambda calls=calls: work.invoke(calls, config(calls), durability=mode))
            for calls in (20, 20 + STEPS)
        ]
    (few, few_c), (many, many_c) = found
    assert (many - few) / STEPS <= python
    assert (many_c - few_c) / STEPS <= builtin


def test_a_recorded_call_of_a_task_calls_few_functions(tmp_path: Path) -> None:
    """A ``@task`` that is found recorded, when its caller is begun again."""
    is_dead = True

    with Log.open(tmp_path / "log") as log:

        @entrypoint(log)
        def work(number: int) -> int:
            result = sum(one(each).result() for each in range(number))
            if is_dead:
                raise KeyboardInterrupt
            return result

        found = []
        for calls in (20, 20 + STEPS):
            is_dead = True
            with pytest.raises(KeyboardInterrupt):
                work.invoke(calls, config(calls), durability="async")
            is_dead = False
            found.append(calls_of(lambda calls=calls: work.invoke(None, config(calls))))
        (few, _), (many, _) = found
        assert (many - few) / STEPS <= 46


def test_a_run_calls_few_functions() -> None:
    """What a run costs beside its steps: opening it, and giving its output."""
    graph = chain(None, 1)
    graph.invoke({"x": 0, "large": ""})
    python, _ = calls_of(lambda: graph.invoke({"x": 0, "large": ""}))
    assert python <= 220


@pytest.mark.parametrize(("mode", "most"), [("async", 382), ("sync", 426)], ids=["async", "sync"])
def test_a_recorded_run_calls_few_functions(tmp_path: Path, mode: Durability, most: int) -> None:
    """The same with a log: a claim, the admission, its one step, and giving the claim back."""
    with Log.open(tmp_path / "log", flush_interval=0.05) as log:
        graph = chain(log, 1)
        graph.invoke({"x": 0, "large": ""}, config("warm"), durability=mode)
        python, _ = calls_of(lambda: graph.invoke({"x": 0, "large": ""}, config(), durability=mode))
        assert python <= most


def test_a_step_of_one_task_is_one_commit(tmp_path: Path) -> None:
    """Under ``sync``: one group for each step, and one that admits the run."""
    with Log.open(tmp_path / "log", flush_interval=PATIENT) as log:
        before = groups(log)
        chain(log).invoke({"x": 0, "large": ""}, config(), durability="sync")
        assert groups(log) - before == STEPS + 1


def test_a_task_is_one_commit(tmp_path: Path) -> None:
    """Under ``sync``: one group for each task that is waited for, one for the admission, one for the end."""
    with Log.open(tmp_path / "log", flush_interval=PATIENT) as log:
        work = adding(log)
        before = groups(log)
        work.invoke(50, config(), durability="sync")
        assert groups(log) - before <= 50 + 2


def test_a_fan_out_shares_its_commits(tmp_path: Path) -> None:
    """A thousand tasks of one step are not a thousand commits, and each costs few bytes."""
    builder = StateGraph(Chat)
    builder.add_node("one", lambda number: {"messages": [str(number)]})
    builder.add_conditional_edges(START, lambda _: [Send("one", number) for number in range(500)])
    with Log.open(tmp_path / "log") as log:
        graph = builder.compile(log)
        before = groups(log)
        graph.invoke({"messages": []}, {**config(), "max_concurrency": 8}, durability="sync")
        assert groups(log) - before <= 125
        assert stored(log) / 500 <= 40


def test_a_task_of_a_fan_out_calls_few_functions() -> None:
    """What this thread does for each task of a wide step, beside what the threads of the pool do."""
    found = []
    for tasks in (50, 50 + STEPS):
        builder = StateGraph(Chat)
        builder.add_node("one", lambda number: {"messages": [str(number)]})
        builder.add_conditional_edges(START, lambda _, tasks=tasks: [Send("one", n) for n in range(tasks)])
        graph = builder.compile()
        graph.invoke({"messages": []})
        # Now and then this thread waits for one of the pool; the fewest calls are those that the work itself takes.
        found.append(min(calls_of(lambda graph=graph: graph.invoke({"messages": []})) for _ in range(4)))
    (few, few_c), (many, many_c) = found
    assert (many - few) / STEPS <= 23
    assert (many_c - few_c) / STEPS <= 28


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_step_is_few_bytes(tmp_path: Path, mode: str) -> None:
    """A step records what it wrote and little else, and what it did not write costs nothing."""
    with Log.open(tmp_path / "log") as log:
        chain(log).invoke({"x": 0, "large": "x" * 20_000}, config(), durability=mode)
        # The input is on record as such, and as what START wrote.
        assert (stored(log) - 2 * 20_000) / STEPS <= 50


def test_a_growing_state_is_written_once(tmp_path: Path) -> None:
    """A chat writes each message once: the last steps are as small as the first, and snapshots stay rare."""
    builder = StateGraph(Chat)
    builder.add_node("say", lambda _: {"messages": [PAYLOAD]})
    builder.add_edge(START, "say")
    builder.add_conditional_edges("say", lambda state: "say" if len(state["messages"]) < 600 else "__end__")
    with Log.open(tmp_path / "log") as log:
        builder.compile(log).invoke({"messages": []}, config(), durability="async")
        assert stored(log) <= 600 * (len(PAYLOAD) + 80)


def test_one_loop_shares_its_commits(tmp_path: Path) -> None:
    """Runs that wait on one event loop under ``sync`` travel together: most frames of a group come in tens."""
    with Log.open(tmp_path / "log") as log:
        graph = chain(log, 10, acount)

        async def all_of_them() -> None:
            await asyncio.gather(
                *(
                    graph.ainvoke({"x": 0, "large": ""}, config(number), durability="sync")
                    for number in range(50)
                )
            )

        before = groups(log)
        asyncio.run(all_of_them())
        assert 50 * 11 / (groups(log) - before) >= 10


def test_a_step_on_an_event_loop_calls_few_functions(tmp_path: Path) -> None:
    """The same as for one run, where many wait for the disk together; the flusher's thread is not counted."""
    found = []
    with Log.open(tmp_path / "log") as log:
        for steps in (10, 30):
            graph = chain(log, steps, acount)

            async def all_of_them(graph: Any = graph, steps: int = steps) -> None:
                await asyncio.gather(
                    *(
                        graph.ainvoke({"x": 0, "large": ""}, config((steps, number)), durability="sync")
                        for number in range(20)
                    )
                )

            found.append(calls_of(lambda run=all_of_them: asyncio.run(run())))
    (short, short_c), (long, long_c) = found
    assert (long - short) / (20 * 20) <= 100
    assert (long_c - short_c) / (20 * 20) <= 90


def test_threads_share_their_commits(tmp_path: Path) -> None:
    """Eight threads under ``sync`` need far fewer groups than they record steps."""
    with Log.open(tmp_path / "log") as log:
        graph = chain(log, 10)

        def work(number: int) -> None:
            for each in range(5):
                graph.invoke({"x": 0, "large": ""}, config((number, each)), durability="sync")

        before = groups(log)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 8 * 5 * 11 / (groups(log) - before) >= 3
