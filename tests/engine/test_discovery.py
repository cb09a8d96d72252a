"""Which graphs ``get_subgraphs`` finds."""

from __future__ import annotations

import functools
import types
from typing import Any, TypedDict

from walgraph import START, StateGraph
from walgraph.engine.discover import names_in


class State(TypedDict):
    """Nothing much."""

    number: int


def leaf() -> Any:
    """Return the smallest graph."""
    return StateGraph(State).add_node("only", lambda _: {"number": 1}).add_edge(START, "only").compile()


GLOBAL = leaf()
MODULE = types.ModuleType("flows")
MODULE.held = leaf()  # type: ignore[attr-defined]


def by_global(state: State) -> Any:
    """Call a graph that the module holds."""
    return GLOBAL.invoke(state)


def by_module(state: State) -> Any:
    """Call a graph that another module holds."""
    return MODULE.held.invoke(state)


class Owner:
    """Something with a graph of its own."""

    def __init__(self) -> None:
        self.graph = leaf()

    def method(self, state: State) -> Any:
        """Call it."""
        return self.graph.invoke(state)

    def __call__(self, state: State) -> Any:
        """Call it, too."""
        return self.graph.invoke(state)


class Steps:
    """What a chain of runnables looks like."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    def invoke(self, value: Any, config: Any = None) -> Any:
        """Run nothing."""
        return value


def graph_with(action: Any) -> Any:
    """Return a graph of one node."""
    return StateGraph(State).add_node("n", action).add_edge(START, "n").compile()


def test_graphs_are_found_wherever_a_nodes_code_can_name_them() -> None:
    """As the node itself, in closures, globals, modules, attributes, partials, nested functions and chains."""
    closed = leaf()

    def by_closure(state: State) -> Any:
        return closed.invoke(state)

    def nested(state: State) -> Any:
        calls = [lambda: GLOBAL.invoke(state)]
        return calls[0]()

    owner = Owner()
    for action, expected in [
        (closed, closed),
        (by_closure, closed),
        (functools.partial(by_closure), closed),
        (by_global, GLOBAL),
        (nested, GLOBAL),
        (by_module, MODULE.held),
        (owner.method, owner.graph),
        (owner, owner.graph),
        (Steps(len, closed), closed),
    ]:
        assert list(graph_with(action).get_subgraphs()) == [("n", expected)], action
    assert list(graph_with(lambda _: None).get_subgraphs()) == []


def test_namespaces_and_levels() -> None:
    """One level unless asked for all; a namespace is the names of nodes with ``|`` between (as LangGraph has them)."""
    innermost = leaf()
    middle = graph_with(innermost)
    outer = StateGraph(State).add_node("sub", middle).add_node("b", by_global)
    graph = outer.add_edge(START, "sub").add_edge("sub", "b").compile()
    assert list(graph.get_subgraphs()) == [("sub", middle), ("b", GLOBAL)]
    assert list(graph.get_subgraphs(recurse=True)) == [("sub", middle), ("sub|n", innermost), ("b", GLOBAL)]
    assert list(graph.get_subgraphs(namespace="sub", recurse=True)) == [("sub", middle)]
    assert list(graph.get_subgraphs(namespace="sub|n", recurse=True)) == [("sub|n", innermost)]
    assert list(graph.get_subgraphs(namespace="sub|n")) == []


async def test_the_asynchronous_twin_finds_the_same() -> None:
    """``aget_subgraphs`` is ``get_subgraphs``."""
    graph = graph_with(by_global)
    assert [found async for found in graph.aget_subgraphs(recurse=True)] == [("n", GLOBAL)]


def test_a_variable_that_has_no_value_yet_is_no_graph() -> None:
    """A function may be looked at before what it closes over exists."""

    def early(state: State) -> Any:
        return late.invoke(state)

    assert list(graph_with(early).get_subgraphs()) == []
    late = leaf()
    assert list(graph_with(early).get_subgraphs()) == [("n", late)]


def test_names_are_read_from_constants_and_variables() -> None:
    """Texts in tuples, sets, nested functions, closures and globals."""
    closed = "closed"

    def function(state: State) -> Any:
        if state["number"] in {1, 2}:
            return ("tuple", closed) if closed in ("in", "out") else [lambda: "nested"]
        return START

    assert {"tuple", "closed", "in", "out", "nested", "__start__"} <= names_in(function)
    assert names_in(len) == set()
