"""``by_hand``: parallel tasks end in the order that a test chooses."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

import pytest

from walgraph import START, MemoryLog, StateGraph, entrypoint, sleep, task
from walgraph.engine.clock import now
from walgraph.tools.testing import by_hand


class State(TypedDict, total=False):
    """A trail that everybody leaves."""

    trail: Annotated[list, operator.add]


def fan(ended: list[str]):
    """Three nodes in one step, which note when they end."""

    def node(name):
        def body(state):
            ended.append(name)
            return {"trail": [name]}

        return body

    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, node(name))
        builder.add_edge(START, name)
    return builder.compile(checkpointer=MemoryLog())


CONFIG = {"configurable": {"thread_id": "t"}}


@pytest.mark.parametrize("order", [["c", "a", "b"], ["b"]])
def test_tasks_end_in_the_order_that_is_named(order) -> None:
    """Those not named come last, and what a step means does not depend on it."""
    ended: list[str] = []
    with by_hand(order):
        assert fan(ended).invoke({"trail": []}, CONFIG) == {"trail": ["a", "b", "c"]}
    assert ended[: len(order)] == order


def test_a_seed_gives_the_same_order_each_time() -> None:
    """And different seeds give all of them."""

    def order_of(seed):
        ended: list[str] = []
        with by_hand(seed):
            fan(ended).invoke({"trail": []}, CONFIG)
        return tuple(ended)

    assert order_of(5) == order_of(5)
    assert len({order_of(seed) for seed in range(60)}) == 6


def test_a_function_chooses_among_those_that_are_due() -> None:
    """What it chooses has to be due."""
    seen: list[tuple[str, ...]] = []

    def last(names):
        seen.append(tuple(names))
        return names[-1]

    ended: list[str] = []
    with by_hand(last):
        fan(ended).invoke({"trail": []}, CONFIG)
    assert ended == ["c", "b", "a"]
    assert ("a", "b", "c") in seen
    with by_hand(lambda _: "nobody"), pytest.raises(LookupError, match="'nobody' was chosen"):
        fan([]).invoke({"trail": []}, CONFIG)


def test_tasks_are_called_by_whoever_waits_for_them() -> None:
    """Within an entrypoint there is no second thread either."""
    ended: list[int] = []

    @task
    def work(number):
        ended.append(number)
        return number

    @entrypoint()
    def program(count):
        futures = [work(number) for number in range(count)]
        return [future.result() for future in reversed(futures)]

    with by_hand():
        assert program.invoke(3) == [2, 1, 0]
    assert ended == [2, 1, 0]


def test_a_week_passes_at_once(fake_clock) -> None:
    """Who sleeps in place by the fake clock is woken at once, and the clock has moved."""

    @entrypoint()
    def program(_):
        sleep(50)
        return "awake"

    before = now()
    assert program.invoke(1) == "awake"
    assert now() - before > 50 * 10**9 - 1000  # due times are rounded to the microsecond
