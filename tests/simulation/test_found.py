"""What the simulation and the crash loops have found: one test for each, which tells the story."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from simulation.by_hand import World
from simulation.graphs import EdgeShape, NodeShape, Shape
from simulation.lives import CONFIG, live_through

from walgraph import START, Command, LogFailed, MemoryLog, StateGraph
from walgraph.replay.fold import fold
from walgraph.replay.state import ThreadState
from walgraph.wal.record import RunStarted, StepCommitted


class State(TypedDict, total=False):
    """A list that grows."""

    trace: Annotated[list[str], operator.add]


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_a_goto_survives_routers_that_fail(mode) -> None:
    """Asking the router again, alone, succeeds, and the step closes with both the goto and the answer.

    It could not be closed, for ever: the goto, kept meanwhile as a write, was folded into a channel that is not there.
    """
    asked = []

    def body(state: State) -> Command[Any]:
        return Command(update={"trace": ["a"]}, goto="b")

    def router(state: State) -> str:
        asked.append(len(asked))
        if len(asked) == 1:
            raise RuntimeError("not yet")
        return "c"

    graph = StateGraph(State).add_node("a", body).add_edge(START, "a").add_conditional_edges("a", router)
    graph.add_node("b", lambda _: {"trace": ["b"]}).add_node("c", lambda _: {"trace": ["c"]})
    compiled = graph.compile(MemoryLog(strict=True), durability=mode)
    with pytest.raises(RuntimeError, match="not yet"):
        compiled.invoke({"trace": []}, CONFIG)
    assert compiled.invoke(None, CONFIG) == {"trace": ["a", "b", "c"]}
    assert compiled.get_state(CONFIG).values == {"trace": ["a", "b", "c"]}


def test_a_consumer_that_leaves_is_told_when_the_run_could_not_be_kept() -> None:
    """Under exit everything is written when the consumer of a stream leaves, and if it cannot be, that is an error.

    The log had failed before, the error was suppressed, and nobody learned that the run was lost.
    """
    log = MemoryLog()
    graph = StateGraph(State).add_sequence(
        [("a", lambda _: {"trace": ["a"]}), ("b", lambda _: {"trace": ["b"]})]
    )
    graph.add_edge(START, "a")
    chunks: Any = graph.compile(log, durability="exit").stream({"trace": []}, CONFIG)
    assert next(chunks)
    log._core.committer.failure = LogFailed("The disk is gone.")
    with pytest.raises(LogFailed):
        chunks.close()


def test_time_does_not_run_backwards_over_a_subgraph_that_is_not_known() -> None:
    """A barrier counts for the thread's time, whether its graph is known or not.

    It did not, so the next barrier could bear an earlier time, and a snapshot's state differed from the records'.
    """
    state = ThreadState()
    records = [RunStarted("sub:1", 5, "r", {}, None, "", 0, {}), StepCommitted("sub:1", 7, 0)]
    for seq, record in enumerate(records, 1):
        state = fold(lambda _: None, state, seq, record)
    assert state.at == 7


def test_a_join_behind_a_flaky_router_is_reached_in_every_order() -> None:
    """The smallest graph that showed the first of these: kept, since it crosses routers, joins and commands."""
    shape = Shape(
        nodes=(
            NodeShape("n0", "commands", goto=("n1", "n2")),
            NodeShape("n1", "plain"),
            NodeShape("n2", "plain"),
        ),
        edges=(
            EdgeShape("edge", (START,), ("n0",)),
            EdgeShape("flaky router", ("n0",), ("n2",)),
            EdgeShape("join", ("n0", "n1"), ("n2",)),
        ),
    )
    expected = live_through(World(0), shape, "sync").values
    for seed in range(20):
        assert live_through(World(seed, 4), shape, "async").values == expected
