"""Programs that are changed after they were recorded: reported at the first call that differs, and nothing executed.

    calls that are recorded   ── changed ──►   calls of the next run
    (name, argument) …            swapped, renamed, added, removed, given another argument

Hypothesis draws the program and the change. What must be said follows from the two lists alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from walgraph import Log, MemoryLog, NonDeterminism, entrypoint, now, random, task, uuid4

THREAD: Any = {"configurable": {"thread_id": "t"}}
NAMES = ("buy", "sell", "hold")
CALLS = st.tuples(st.sampled_from(NAMES), st.integers(0, 3))


class Program:
    """A workflow that makes the calls it is told, in one task if it is to be nested.

    Args:
        log: The log.
        nested: Whether the calls are made by a task that the entrypoint calls.
    """

    def __init__(self, log: Log, *, nested: bool) -> None:
        self.calls: list[tuple[str, int]] = []
        self.ran: list[tuple[str, int]] = []
        self.breaks = True
        functions = {name: task(name=name)(self.function(name)) for name in NAMES}

        async def body() -> list[str]:
            found = [await functions[name](argument) for name, argument in self.calls]
            if self.breaks:
                raise ConnectionError
            return found

        within = task(body)

        async def flow(_: Any) -> list[str]:
            return await (within() if nested else body())

        self.flow = entrypoint(log)(flow)

    def function(self, name: str) -> Any:
        """Return a task's function, which takes note that it ran."""

        async def function(argument: int) -> str:
            self.ran.append((name, argument))
            return f"{name} {argument}"

        return function

    def run(self, calls: list[tuple[str, int]], *, breaks: bool) -> Any:
        """Run these calls, as a new run or as the next attempt at the one that broke."""
        given = None if self.flow.get_state(THREAD).created_at else 0
        self.calls, self.breaks = calls, breaks
        return asyncio.run(self.flow.ainvoke(given, THREAD))


@st.composite
def mutations(draw: Any) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Draw the calls of a program, and those of the program after one change."""
    before = draw(st.lists(CALLS, min_size=1, max_size=6))
    after = list(before)
    at = draw(st.integers(0, len(before) - 1))
    name, argument = before[at]
    match draw(st.sampled_from(["swap", "rename", "add", "remove", "argument"])):
        case "swap":
            other = draw(st.integers(0, len(before) - 1))
            after[at], after[other] = after[other], after[at]
        case "rename":
            after[at] = (draw(st.sampled_from(NAMES)), argument)
        case "add":
            after.insert(at, draw(CALLS))
        case "remove":
            del after[at]
        case _:
            after[at] = (name, argument + 7)
    return before, after


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@examples(max_examples=60)
@given(change=mutations())
def test_a_changed_program_is_stopped_at_its_first_difference(nested, change) -> None:
    """And what is recorded serves the old program as before."""
    before, after = change
    with MemoryLog(strict=True) as log:
        program = Program(log, nested=nested)
        with pytest.raises(ConnectionError):
            program.run(before, breaks=True)
        program.ran.clear()
        differing = [at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new]
        first = differing[0] if differing else min(len(before), len(after))
        if first == len(before):
            # What was added comes after all that is recorded, so it is new.
            assert program.run(after, breaks=False) == [f"{name} {argument}" for name, argument in after]
            assert program.ran == after[len(before) :]
            return
        with pytest.raises(NonDeterminism) as caught:
            program.run(after, breaks=False)
        assert program.ran == []
        details = caught.value.details
        assert details["path"][-1] == first
        assert details["recorded"][0] == before[first][0]
        assert f"({before[first][1]})" in str(caught.value)
        if first == len(after):
            assert (details["attempted"], details["cause"]) == (None, "removed")
        else:
            assert details["attempted"][0] == after[first][0]
            assert details["cause"] == expected_cause(before, after[first], first)
        assert program.run(before, breaks=False) == [f"{name} {argument}" for name, argument in before]
        assert program.ran == []


def expected_cause(before: list[tuple[str, int]], call: tuple[str, int], at: int) -> str:
    """Return what a call looks like that stands where another is recorded."""
    if call in before:
        return "moved"
    if call[0] == before[at][0]:
        return "arguments"
    return "renamed" if call[1] == before[at][1] else "added"


def swallowing(log: Log, calls: list[int], ran: list[int]) -> Any:
    """Return a workflow that swallows whatever its first call raises."""

    @task
    def call(x):
        ran.append(x)
        return x

    @entrypoint(log)
    def flow(_):
        try:
            call(calls[0]).result()
        except Exception:
            call("instead").result()
        if len(ran) < 2 and calls[0] == 1:
            raise ConnectionError
        return "done"

    return flow


def test_a_mismatch_that_is_swallowed_stops_the_run_all_the_same() -> None:
    """G9: the calls after it are refused as well, and what the body returns is not recorded."""
    calls, ran = [1], []
    with MemoryLog(strict=True) as log:
        flow = swallowing(log, calls, ran)
        with pytest.raises(ConnectionError):
            flow.invoke(0, THREAD)
        calls[0] = 2
        with pytest.raises(NonDeterminism, match=r"holds a call of call\(1\) here, this run calls call\(2\)"):
            flow.invoke(None, THREAD)
        assert ran == [1]


class Choice:
    """A workflow of three calls, the second of which depends on what it is told.

    Args:
        way: How graphs are called.
        log: The log.
        on_mismatch: What is done about other calls than the recorded ones.
    """

    def __init__(self, way, log, on_mismatch) -> None:
        self.ran: list[str] = []
        self.said = "old"
        self.calls_last = True
        self.breaks = True

        @task
        @way.node
        def leaf(x):
            self.ran.append(f"leaf {x}")
            return x

        @task
        @way.flow
        def step(x):
            self.ran.append(f"step {x}")
            return f"{x}!" + (yield leaf("in"))

        @entrypoint(log, on_mismatch=on_mismatch)
        @way.flow
        def flow(_):
            found = [(yield step("first")), (yield step(self.said))]
            if self.calls_last:
                found.append((yield step("last")))
            if self.breaks:
                raise ConnectionError
            return found

        self.flow, self.way = flow, way

    def changed(self):
        """Run, change what is called, and resume; return the result."""
        with pytest.raises(ConnectionError):
            self.way.invoke(self.flow, 0)
        self.ran.clear()
        self.said, self.breaks = "new", False
        return self.way.invoke(self.flow, None)


def test_accept_takes_what_is_recorded(way, log) -> None:
    """As LangGraph does always (T-3)."""
    choice = Choice(way, log, "accept")
    assert choice.changed() == ["first!in", "old!in", "last!in"]
    assert choice.ran == []


def test_rerun_makes_the_changed_call_and_finds_the_others(way, log) -> None:
    """With what it calls in turn, of which nothing that was recorded counts; and it is found the next time."""
    choice = Choice(way, log, "rerun")
    assert choice.changed() == ["first!in", "new!in", "last!in"]
    assert choice.ran == ["step new", "leaf in"]


def test_rerun_is_on_record(way, log) -> None:
    """What was dropped stays dropped: a run that breaks again finds the new call's result."""
    choice = Choice(way, log, "rerun")
    with pytest.raises(ConnectionError):
        way.invoke(choice.flow, 0)
    choice.said = "new"
    with pytest.raises(ConnectionError):
        way.invoke(choice.flow, None)
    choice.ran.clear()
    choice.breaks = False
    assert way.invoke(choice.flow, None) == ["first!in", "new!in", "last!in"]
    assert choice.ran == []


@pytest.mark.parametrize("on_mismatch", ["rerun", "accept"])
def test_a_call_that_is_left_out_is_no_matter(way, log, on_mismatch) -> None:
    """Whoever makes mismatches again, or accepts them, may leave calls out at the end."""
    choice = Choice(way, log, on_mismatch)
    choice.calls_last = True
    with pytest.raises(ConnectionError):
        way.invoke(choice.flow, 0)
    choice.calls_last = choice.breaks = False
    assert way.invoke(choice.flow, None) == ["first!in", "old!in"]


def test_an_unknown_way_is_refused() -> None:
    """When the entrypoint is made."""
    with pytest.raises(ValueError, match="unknown on_mismatch 'ignore'; there are raise, rerun, accept"):
        entrypoint(on_mismatch="ignore")


def test_clock_chance_and_ids_are_recorded(way, log, durability) -> None:
    """They are asked once, in nodes, tasks and entrypoints; on replay they say what they said."""
    said, breaks = [], [True]

    @task
    @way.node
    def inside():
        said.append((now(), random(), uuid4()))
        return said[-1]

    @entrypoint(log, durability=durability)
    @way.flow
    def flow(_):
        mine = (now(), random(), uuid4())
        theirs = yield inside()
        more = uuid4()
        if breaks:
            said.append((mine, theirs, more))
            breaks.clear()
            raise ConnectionError
        return (mine, theirs, more)

    with pytest.raises(ConnectionError):
        way.invoke(flow, 0)
    assert way.invoke(flow, None) == said[-1]
    assert len(said) == 2
    mine, theirs, more = said[-1]
    assert len({mine[2], theirs[2], more}) == 3
    assert mine[0].tzinfo is not None
    assert 0 <= mine[1] < 1


def test_a_helper_where_a_call_is_recorded_is_refused(way, log) -> None:
    """They have places among the calls."""
    asks = [False]

    @task
    @way.node
    def call():
        return 1

    @entrypoint(log)
    @way.flow
    def flow(_):
        if asks[0]:
            random()
        yield call()
        raise ConnectionError

    with pytest.raises(ConnectionError):
        way.invoke(flow, 0)
    asks[0] = True
    with pytest.raises(NonDeterminism, match=r"holds a call of call\(\) here, this run calls random\(\)"):
        way.invoke(flow, None)


def test_helpers_outside_of_a_run_are_refused() -> None:
    """There is nobody who could record them."""
    for helper in (now, random, uuid4):
        with pytest.raises(RuntimeError, match="outside of a runnable context"):
            helper()
