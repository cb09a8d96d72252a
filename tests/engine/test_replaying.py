"""``replay_thread``: recorded runs past today's code, with no effect executed and nothing appended."""

from __future__ import annotations

import asyncio

import pytest
from helpers import THREAD, chain

from walgraph import (
    Command,
    InvalidGraph,
    MemoryLog,
    ThreadNotFound,
    entrypoint,
    interrupt,
    now,
    replay_thread,
    task,
)


class Shop:
    """A workflow that can be changed between recording and replaying it.

    Args:
        way: How graphs are called.
        log: The log.
    """

    def __init__(self, way, log) -> None:
        self.ran: list[str] = []
        self.script = [("pick", 1), ("pack", 2), ("send", 3)]
        self.fails = False
        self.answer = "sent"
        self.log, self.way = log, way
        tasks = {name: self.recorded(name) for name in ("pick", "pack", "send")}

        def shop(order):
            self.ran.append("shop")
            now()
            for name, argument in self.script:
                try:
                    yield tasks[name](argument)
                except LookupError:
                    yield tasks["pick"]("instead")
            if self.fails:
                raise ConnectionError
            return self.answer

        self.graph = entrypoint(log)(way.flow(shop))

    def recorded(self, name):
        """Return a task that takes note that it ran."""

        @task(name=name)
        @self.way.node
        def call(argument):
            self.ran.append(name)
            if argument == "unknown":
                raise LookupError(argument)
            return argument

        return call

    def replayed(self):
        """Replay, and see that nothing was done."""
        self.ran.clear()
        seq = self.log.head("t").seq
        found = replay_thread(self.log, self.graph, "t")
        assert set(self.ran) <= {"shop"}
        assert self.log.head("t").seq == seq
        return found


@pytest.fixture
def shop(way, log) -> Shop:
    """A workflow that can be changed."""
    return Shop(way, log)


def test_the_same_code_agrees_with_its_history(shop) -> None:
    """All records are folded, the body runs once for each run, and no task does."""
    shop.way.invoke(shop.graph, 0)
    shop.way.invoke(shop.graph, 1)
    found = shop.replayed()
    assert found.divergence is None
    assert (found.records, found.bodies) == (shop.log.head("t").seq, 2)
    assert shop.ran == ["shop", "shop"]


@pytest.mark.parametrize(
    ("script", "cause", "at", "recorded", "attempted"),
    [
        ([("pack", 2), ("pick", 1), ("send", 3)], "moved", 1, "pick(1)", "pack(2)"),
        ([("pick", 9), ("pack", 2), ("send", 3)], "arguments", 1, "pick(1)", "pick(9)"),
        ([("pick", 1), ("send", 2), ("send", 3)], "renamed", 2, "pack(2)", "send(2)"),
        ([("pick", 1), ("pick", 5), ("pack", 2), ("send", 3)], "added", 2, "pack(2)", "pick(5)"),
        ([("pick", 1), ("pack", 2)], "removed", 3, "send(3)", "nothing"),
        ([("pick", 1), ("pack", 2), ("send", 3), ("send", 4)], "added", 4, "that it returned", "send(4)"),
    ],
)
def test_changed_calls_diverge_at_the_first_of_them(shop, script, cause, at, recorded, attempted) -> None:
    """Place, both sides, and the likely cause; the log is finished, so nothing may be added either."""
    shop.way.invoke(shop.graph, 0)
    shop.script = script
    divergence = shop.replayed().divergence
    assert divergence is not None
    assert (divergence.cause, divergence.path) == (cause, ("shop", at))
    assert (divergence.recorded, divergence.attempted) == (recorded, attempted)
    assert f"shop/{at}" in divergence.message


def test_another_result_diverges(shop) -> None:
    """What a body returns follows from its calls."""
    shop.way.invoke(shop.graph, 0)
    shop.answer = "delivered"
    divergence = shop.replayed().divergence
    assert divergence is not None
    assert divergence.cause == "result"
    assert "'sent'" in divergence.recorded
    assert "'delivered'" in divergence.attempted


def test_an_unfinished_run_is_followed_as_far_as_it_went(shop) -> None:
    """New calls behind its history are no divergence; another call within it is one."""
    shop.fails = True
    with pytest.raises(ConnectionError):
        shop.way.invoke(shop.graph, 0)
    assert shop.replayed().divergence is None
    shop.script.append(("pack", 4))
    assert shop.replayed().divergence is None
    shop.script[1] = ("pack", 7)
    divergence = shop.replayed().divergence
    assert divergence is not None
    assert divergence.cause == "arguments"


def test_a_failure_that_was_caught_is_met_again(shop) -> None:
    """The body takes the way that it took."""
    shop.script[0] = ("pick", "unknown")
    shop.way.invoke(shop.graph, 0)
    assert shop.replayed().divergence is None


def test_an_exception_where_it_returned_diverges(shop) -> None:
    """The code fails where it did not."""
    shop.way.invoke(shop.graph, 0)
    shop.fails = True
    divergence = shop.replayed().divergence
    assert divergence is not None
    assert divergence.cause == "raised"


def test_answers_are_found(way, log) -> None:
    """An interrupt that was answered gives its answer; one that was not ends history."""

    @task
    @way.node
    def step(x):
        return x

    @entrypoint(log)
    @way.flow
    def ask(_):
        return (yield step(interrupt("how many?")))

    way.invoke(ask, 0)
    assert replay_thread(log, ask, "t").divergence is None
    way.invoke(ask, Command(resume=5))
    assert replay_thread(log, ask, "t").divergence is None


def test_nodes_run_only_if_they_are_named(way, log) -> None:
    """The nodes of a graph may have effects, so the caller says which have none outside of tasks."""
    ran, arguments = [], [1]

    @task
    @way.node
    def call(x):
        return str(x)

    @way.flow
    def node(state):
        ran.append("node")
        return {"trail": [(yield call(arguments[0]))]}

    graph = chain(node).compile(log)
    way.invoke(graph, {"trail": []})
    ran.clear()
    arguments[0] = 2
    found = replay_thread(log, graph, "t")
    assert (found.divergence, ran) == (None, [])
    divergence = replay_thread(log, graph, "t", nodes=["node"]).divergence
    assert divergence is not None
    assert (divergence.cause, divergence.path) == ("arguments", ("node", 0))


def test_a_graph_that_lost_what_is_due_diverges(way, log) -> None:
    """As a resume would be refused."""

    def first(state):
        return interrupt("?")

    way.invoke(chain(first).compile(log), {"trail": []})

    def other(state):
        return {}

    divergence = replay_thread(log, chain(other).compile(log), "t").divergence
    assert divergence is not None
    assert divergence.cause in {"graph", "plan"}


def test_it_works_on_an_event_loop(shop) -> None:
    """Whoever checks in coroutines may call it there."""
    shop.way.invoke(shop.graph, 0)

    async def check():
        return shop.replayed()

    assert asyncio.run(check()).divergence is None


def test_bad_names_are_refused() -> None:
    """Threads and nodes that do not exist."""

    @entrypoint(MemoryLog())
    def flow(x):
        return x

    with MemoryLog() as log:
        with pytest.raises(ThreadNotFound):
            replay_thread(log, flow, "nobody")
        with pytest.raises(InvalidGraph, match="has no node 'nothing'"):
            replay_thread(log, flow, "nobody", nodes=["nothing"])


def test_a_run_recorded_as_one_folded_state_is_folded(shop) -> None:
    """Durability ``exit`` keeps no calls of a finished run, so there is nothing to compare."""
    shop.way.invoke(shop.graph, 0, THREAD, durability="exit")
    found = shop.replayed()
    assert (found.divergence, found.bodies) == (None, 0)
