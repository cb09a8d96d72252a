"""``@entrypoint``: what comes out, what is kept for the next run, what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from helpers import THREAD, killed, steps_of

from walgraph import EmptyInputError, InvalidGraph, Log, MemoryLog, RunControl, entrypoint, interrupt, task


def test_an_entrypoint_returns_what_its_function_returns(way, maybe_log) -> None:
    """Any value, of any type."""

    @entrypoint(maybe_log)
    @way.node
    def workflow(x):
        return {"x": x, "nested": [(1, 2), {3}]}

    assert way.invoke(workflow, 1) == {"x": 1, "nested": [(1, 2), {3}]}


def test_an_entrypoint_is_called_by_the_name_of_its_function(way) -> None:
    """Its graph, its one node, and what updates show of it."""

    @entrypoint()
    @way.node
    def workflow(x):
        return x

    assert workflow.name == "workflow"
    assert list(workflow.nodes) == ["workflow"]
    assert way.stream(workflow, 1) == [{"workflow": 1}]


def test_previous_is_what_the_last_run_returned(way, log, durability) -> None:
    """None in the first run of a thread, and each thread has its own."""

    @entrypoint(log)
    @way.node
    def workflow(x, *, previous: Any = None):
        return [previous, x]

    other = {"configurable": {"thread_id": "other"}}
    assert way.invoke(workflow, 1, durability=durability) == [None, 1]
    assert way.invoke(workflow, 2, durability=durability) == [[None, 1], 2]
    assert way.invoke(workflow, 3, other, durability=durability) == [None, 3]


def test_previous_is_none_without_a_log(way) -> None:
    """Nothing is kept anywhere."""

    @entrypoint()
    @way.node
    def workflow(x, *, previous: Any = 0):
        return previous

    assert [way.invoke(workflow, 1), way.invoke(workflow, 1)] == [None, None]


def test_final_returns_one_value_and_keeps_another(way, log, durability) -> None:
    """``value`` goes to the caller, ``save`` to the next run; ``get_state`` shows the value."""

    @entrypoint(log)
    @way.node
    def total(x, *, previous: Any = None):
        kept = (previous or 0) + x
        return entrypoint.final(value=f"total {kept}", save=kept)

    assert [way.invoke(total, n, durability=durability) for n in (1, 2, 3)] == [
        "total 1",
        "total 3",
        "total 6",
    ]
    assert total.get_state(THREAD).values == "total 6"


def test_final_may_keep_none(way, log) -> None:
    """The next run starts from nothing, whatever was kept before."""

    @entrypoint(log)
    @way.node
    def workflow(x, *, previous: Any = None):
        return entrypoint.final(value=previous, save=x or None)

    assert [way.invoke(workflow, x) for x in (1, 0, 3, 4)] == [None, 1, None, 3]


def test_previous_stays_as_it_was_while_a_run_is_unfinished(way, log) -> None:
    """A failed or interrupted run has kept nothing; its resume sees the same previous."""
    fail = [True]

    @entrypoint(log)
    @way.node
    def workflow(x, *, previous: Any = None):
        if x == 2 and fail:
            fail.clear()
            raise ConnectionError
        answer = interrupt("?") if x == 2 else None
        return [previous, x, answer]

    way.invoke(workflow, 1)
    with pytest.raises(ConnectionError):
        way.invoke(workflow, 2)
    assert list(way.invoke(workflow, None)) == ["__interrupt__"]
    assert workflow.get_state(THREAD).values == [None, 1, None]
    assert way.invoke(workflow, 3) == [[None, 1, None], 3, None]


def test_an_entrypoint_that_ended_has_no_next(way, log) -> None:
    """Its state is its value, and a resume has nothing to do."""
    ran: list[int] = []

    @entrypoint(log)
    @way.node
    def workflow(x):
        ran.append(x)
        return 10 * x

    way.invoke(workflow, 1)
    state = workflow.get_state(THREAD)
    assert (state.values, state.next, state.tasks) == (10, (), ())
    assert way.invoke(workflow, None) == 10
    assert ran == [1]


def test_the_history_has_the_input_and_the_end(way, log) -> None:
    """All tasks live inside of one superstep (T-8), however many there are."""

    @task
    @way.node
    def one(x):
        return x

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return sum((yield [one(1), one(2), one(3)]))

    way.invoke(workflow, 1)
    history = list(workflow.get_state_history(THREAD))
    assert [(s.metadata["step"], s.metadata["source"], s.values, s.next) for s in history] == [
        (0, "loop", 6, ()),
        (-1, "input", None, ("workflow",)),
    ]


def test_resuming_an_unknown_thread_is_refused(way, log) -> None:
    """There is no input to start with (R-4)."""

    @entrypoint(log)
    @way.node
    def workflow(x):
        return x

    with pytest.raises(EmptyInputError):
        way.invoke(workflow, None)
    assert log.head("t") is None


def test_without_a_log_none_is_refused_as_langgraph_does(way) -> None:
    """None as an input means to resume, and without a log there is nothing to resume."""

    @entrypoint()
    @way.node
    def workflow(x):
        return x

    with pytest.raises(EmptyInputError):
        way.invoke(workflow, None)


def test_an_entrypoint_needs_a_parameter_for_its_input() -> None:
    """The message is the one that LangGraph's users know."""
    with pytest.raises(InvalidGraph, match="must have at least one parameter"):

        @entrypoint()
        def workflow():
            return 1


def test_an_entrypoint_cannot_be_a_generator() -> None:
    """Neither kind of generator."""
    with pytest.raises(NotImplementedError, match="Generators are not supported"):

        @entrypoint()
        def workflow(x):
            yield x

    with pytest.raises(NotImplementedError, match="Generators are not supported"):

        @entrypoint()
        async def also(x):
            yield x


def test_an_async_entrypoint_cannot_be_invoked_synchronously() -> None:
    """The message says what to call instead."""

    @entrypoint()
    async def workflow(x):
        return x

    with pytest.raises(TypeError, match="ainvoke"):
        workflow.invoke(1)


def test_a_sync_entrypoint_can_be_invoked_from_async_code(maybe_log) -> None:
    """It runs in a thread, and so do its tasks; the calls of async tasks are refused there as in any sync code."""

    @task
    def double(x):
        return 2 * x

    @entrypoint(maybe_log)
    def workflow(x):
        return double(x).result() + double(x + 1).result()

    assert asyncio.run(workflow.ainvoke(1, THREAD)) == 6


def test_a_context_schema_is_made_from_a_dict(way) -> None:
    """``runtime.context`` is an instance of it (LC-2)."""

    @dataclass
    class Context:
        user: str

    @entrypoint(context_schema=Context)
    @way.node
    def workflow(x, *, runtime: Any):
        return [runtime.context, x]

    assert way.invoke(workflow, 1, context={"user": "Ada"}) == [Context("Ada"), 1]
    assert way.invoke(workflow, 1, context=Context("Bob")) == [Context("Bob"), 1]


def test_an_entrypoint_can_call_another(way, log) -> None:
    """It is a subgraph then: in the same thread and log, and not repeated when the caller is."""
    ran: list[str] = []

    @entrypoint()
    def inner(x):
        ran.append("inner")
        return x + 1

    @entrypoint(log)
    def outer(x):
        ran.append("outer")
        found = inner.invoke(x)
        if ran.count("outer") == 1:
            raise ConnectionError
        return found

    with pytest.raises(ConnectionError):
        way.invoke(outer, 1)
    assert way.invoke(outer, None) == 2
    assert ran == ["outer", "inner", "outer"]


def test_the_durability_of_an_entrypoint_is_its_default(way) -> None:
    """A call that names none runs in the entrypoint's mode: under ``exit`` only the end is in the log."""
    log = MemoryLog(strict=True)

    @entrypoint(log, durability="exit")
    @way.node
    def workflow(x):
        return x

    way.invoke(workflow, 1)
    assert steps_of(log) == ["ThreadCreated", "StateFolded"]
    with pytest.raises(ValueError, match="zzz"):
        way.invoke(workflow, 1, durability="zzz")


def test_a_drain_between_runs_leaves_an_entrypoint_to_be_resumed(way, log) -> None:
    """A run that is asked to stop before it begins stops before its only step."""
    control = RunControl()
    control.request_drain("shutdown")

    @entrypoint(log)
    @way.node
    def workflow(x):
        return x

    with pytest.raises(BaseException, match="Graph drained: shutdown"):
        way.invoke(workflow, 5, control=control)
    assert workflow.get_state(THREAD).next == ("workflow",)
    assert way.invoke(workflow, None) == 5


def test_another_process_takes_up_where_a_killed_one_was(tmp_path) -> None:
    """A call that was recorded under ``sync`` before SIGKILL is not made again by the next process."""
    said = killed(
        """
        import os, signal, sys
        from walgraph import Log, entrypoint, task
        from helpers import THREAD

        @task
        def step(x):
            print("step", x, flush=True)
            return 10 * x

        @entrypoint(Log.open(sys.argv[1]))
        def workflow(x):
            found = [step(x).result(), step(x + 1).result()]
            os.kill(os.getpid(), signal.SIGKILL)

        workflow.invoke(1, THREAD, durability="sync")
        """,
        tmp_path / "log.wal",
    )
    assert said.split("\n")[:2] == ["step 1", "step 2"]
    ran: list[int] = []
    with Log.open(tmp_path / "log.wal") as log:

        @task
        def step(x):
            ran.append(x)
            return 10 * x

        @entrypoint(log)
        def workflow(x):
            return [step(x).result(), step(x + 1).result(), step(x + 2).result()]

        assert [head.status for head in log.threads()] == ["crashed"]
        assert workflow.invoke(None, THREAD) == [10, 20, 30]
    assert ran == [3]


def test_options_of_unknown_names_are_refused() -> None:
    """When the function is decorated, with the names that there are."""
    with pytest.raises(
        TypeError, match="entrypoint got an unexpected option 'durabilty'; there are durability, "
    ):
        entrypoint(durabilty="sync")
    with pytest.raises(TypeError, match="task got an unexpected option 'efect'; there are effect, key, "):
        task(efect="at_most_once")
