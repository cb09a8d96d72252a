"""``crash_everywhere``: a program that may be killed anywhere passes, one that may not is named."""

from __future__ import annotations

import asyncio
import itertools
import operator
from typing import Annotated, TypedDict

import pytest

from walgraph import (
    END,
    RUN_AGAIN,
    START,
    Send,
    StateGraph,
    entrypoint,
    idempotency_key,
    interrupt,
    sleep,
    task,
    wait_for,
)
from walgraph.tools.testing import CrashFound, crash_everywhere


class State(TypedDict, total=False):
    """A trail that everybody leaves, and a number."""

    trail: Annotated[list, operator.add]
    x: int


def graph_of(*nodes):
    """A chain of nodes."""
    builder = StateGraph(State)
    builder.add_sequence(list(nodes)).add_edge(START, nodes[0].__name__)
    return builder.compile()


def test_a_program_of_pure_nodes_may_be_killed_anywhere() -> None:
    """Every commit is tried, before and after, and what ran again is told."""

    def one(state):
        return {"trail": ["one"], "x": 1}

    def two(state):
        return {"trail": ["two"], "x": state["x"] + 1}

    report = crash_everywhere(graph_of(one, two), {"trail": []})
    assert report.kills >= 6
    assert set(report.ran_again) >= {"one", "two"}


def test_a_node_that_returns_something_else_is_named() -> None:
    """What draws from the world must not run again."""
    numbers = itertools.count()

    def steady(state):
        return {"trail": ["steady"]}

    def drawing(state):
        return {"x": next(numbers)}

    with pytest.raises(CrashFound) as found:
        crash_everywhere(graph_of(steady, drawing), {"trail": []})
    assert "drawing first wrote" in str(found.value)
    assert "help:" in str(found.value)


def test_an_effect_that_doubles_is_found_with_the_task_that_ran_again() -> None:
    """The outside world is compared too, and the task that had it is named."""
    sent: list[str] = []

    @task
    def send(text):
        sent.append(text)
        return len(text)

    @entrypoint()
    def program(text):
        return send(text).result()

    with pytest.raises(CrashFound, match="send ran again; the outside world was") as found:
        crash_everywhere(program, "hello", outside=lambda: list(sent), reset=sent.clear)
    assert all(when == "before" for (_, when), _ in found.value.differences)


def test_an_effect_with_a_key_that_the_world_knows_is_safe() -> None:
    """The same key on every attempt makes the effect one."""
    sent: dict[str, str] = {}

    @task
    def send(text):
        sent[idempotency_key()] = text
        return len(text)

    @entrypoint()
    def program(text):
        return [send(text).result(), send(text).result()]

    report = crash_everywhere(program, "hi", outside=lambda: sorted(sent.values()), reset=sent.clear)
    assert report.ran_again["send"] >= 2


def test_questions_are_answered_the_same_each_time() -> None:
    """Answers are given one after another, or by a function, and belong to their questions."""

    def ask(state):
        first = interrupt("first?")
        return {"trail": [first, interrupt("second?")]}

    report = crash_everywhere(graph_of(ask), {"trail": []}, answers=["a", "b"])
    assert report.kills
    crash_everywhere(graph_of(ask), {"trail": []}, answers=lambda asked: asked.value.upper())
    with pytest.raises(ValueError, match="only 1 answers are given"):
        crash_everywhere(graph_of(ask), {"trail": []}, answers=["a"])


def test_coroutines_fan_outs_and_failures_are_killed_too() -> None:
    """Async nodes, Sends, and a program that fails: it fails the same."""

    async def plan(state):
        await asyncio.sleep(0)
        return {"x": 3}

    async def work(number):
        await asyncio.sleep(0)
        return {"trail": [number]}

    def spread(state):
        return [Send("work", number) for number in range(state["x"])]

    builder = StateGraph(State)
    builder.add_node(plan).add_node(work)
    builder.add_edge(START, "plan").add_conditional_edges("plan", spread, ["work"]).add_edge("work", END)
    report = crash_everywhere(builder.compile(), {"trail": []})
    assert {"work[0]", "work[1]", "work[2]"} <= set(report.ran_again)

    def failing(state):
        raise RuntimeError("no")

    assert crash_everywhere(graph_of(failing), {"trail": []}).kills


def test_sleeps_and_signals_are_killed_too() -> None:
    """A week passes at once, short naps too, and signals are there before the program asks for them."""

    @entrypoint()
    def program(_):
        sleep(3)
        first = wait_for("approved")
        sleep(7 * 24 * 3600)
        return [first, wait_for("approved")]

    signals = [("approved", "by one"), ("approved", None)]
    assert crash_everywhere(program, 1, signals=signals).kills >= 10
    with pytest.raises(ValueError, match="waits for 'approved', which nobody sends"):
        crash_everywhere(program, 1)


def test_what_is_asked_to_be_done_once_is_not_done_twice() -> None:
    """At most once: the kill between the effect and its record is what ``reconcile`` is asked about."""
    sent: dict[str, str] = {}

    @task(effect="at_most_once", reconcile=lambda key, _: sent.get(key) or RUN_AGAIN)
    def send(text):
        assert idempotency_key() not in sent
        sent[idempotency_key()] = text
        return text

    @entrypoint()
    def program(text):
        return send(text).result()

    crash_everywhere(program, "once", outside=lambda: list(sent.values()), reset=sent.clear)
