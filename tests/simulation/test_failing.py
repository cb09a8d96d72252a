"""Killed before and after each commit: handlers take over once, attempts count on, and the result is the same."""

from __future__ import annotations

import pytest
from simulation.by_hand import Killed, World
from simulation.graphs import CallShape, EdgeShape, NodeShape, Shape
from simulation.lives import a_function, a_graph, live_through

from walgraph import START


class DyingOnce(World):
    """A world whose first life ends at the n-th instant before or after a commit."""

    def __init__(self, instant: int) -> None:
        super().__init__(0)
        self.instant = instant

    def maybe_killed(self, where: str) -> None:
        """Die at the instant that was chosen, and at no other."""
        if not self.faulty or self.dead or not where.endswith("commit"):
            return
        self.instant -= 1
        if self.instant == 0:
            self.dead = True
            raise Killed(where)


def beside(*nodes: NodeShape) -> Shape:
    """Return a graph in which nodes run side by side, and one after them."""
    names = tuple(node.name for node in nodes)
    edges = [EdgeShape("edge", (START,), (name,)) for name in names]
    return Shape((*nodes, NodeShape("z", "plain")), (*edges, EdgeShape("edge", (names[0],), ("z",))))


SHAPES = {
    "handled": beside(NodeShape("a", "handled")),
    "handled beside others": beside(
        NodeShape("a", "handled"), NodeShape("b", "plain"), NodeShape("c", "flaky")
    ),
    "a handler that asks": beside(NodeShape("a", "handled asks", questions=2), NodeShape("b", "plain")),
    "a handler that fails": beside(NodeShape("a", "handled flaky"), NodeShape("b", "retried")),
    "a handler that goes on": beside(NodeShape("a", "handled goes", goto=("z",))),
    "a handler in a subgraph": beside(
        NodeShape("a", "inner", inner=beside(NodeShape("a", "handled asks", questions=1)))
    ),
    "retried": beside(NodeShape("a", "retried"), NodeShape("b", "plain")),
    "retried calls": beside(NodeShape("a", "calls", calls=(CallShape("retried"), CallShape("plain")))),
}


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
@pytest.mark.parametrize("name", SHAPES)
def test_killed_at_each_commit_a_failing_graph_comes_to_the_same_end(name: str, mode: str) -> None:
    """EH-1: a crash in the handler resumes the handler; RT-3, better: attempts are counted across processes."""
    shape = SHAPES[name]
    expected = live_through(World(0), shape, "sync").values
    for instant in range(1, 200):
        world = DyingOnce(instant)
        assert live_through(world, shape, mode).values == expected
        if world.instant > 0:
            break
    assert instant > 2, "something was killed"


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_killed_at_each_commit_a_failing_function_comes_to_the_same_end(mode: str) -> None:
    """The same for calls of an entrypoint that are retried."""
    shape = beside(NodeShape("a", "retried"), NodeShape("b", "plain"))
    expected = live_through(World(0), shape, "sync", a_function).values
    for instant in range(1, 200):
        world = DyingOnce(instant)
        assert live_through(world, shape, mode, a_function).values == expected
        if world.instant > 0:
            break
    assert instant > 2, "something was killed"


def test_a_handled_graph_is_a_graph_as_any_other() -> None:
    """The shapes above do what their names say."""
    trace = live_through(World(0), SHAPES["a handler that asks"], "sync", a_graph).values["trace"]
    assert any(entry.startswith("a!(") for entry in trace)
    assert any("asks" in entry for entry in trace)
