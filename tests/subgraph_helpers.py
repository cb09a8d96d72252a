"""Words for graphs in graphs: nodes that note that they ran, and the ways to put one graph into another."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

from helpers import chain

from walgraph import (
    task,
)


class Ran:
    """Notes which nodes ran."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.failing: set[str] = set()

    def node(self, way, name, body=None):
        """Return a node that notes its name in the trail, and does what ``body`` says before."""

        def run(state):
            self.names.append(name)
            if name in self.failing:
                self.failing.remove(name)
                raise ConnectionError(name)
            more = body(state) if body is not None else None
            return {"trail": [name if more is None else f"{name}={more}"]}

        run.__name__ = name
        return way.node(run)


class Child(TypedDict, total=False):
    """A subgraph's state, apart from its parent's."""

    trail: Annotated[list[str], lambda _, new: new]
    inner: Annotated[list[str], operator.add]


class Asking(Child):
    """A subgraph's state, with what it is to ask."""

    what: int


class Leaf(TypedDict, total=False):
    """The innermost state: both keys are replaced, so that the levels above see the whole."""

    trail: Annotated[list[str], lambda _, new: new]
    inner: Annotated[list[str], lambda old, new: new if len(new) > 1 else [*old, *new]]


def nested_in(way, kind, inner):
    """Return a node that runs the graph: as it is, called in a function, or called in a task."""
    if kind == "node":
        return inner
    if way.is_async:

        async def once(state):
            return await inner.ainvoke(state)
    else:

        def once(state):
            return inner.invoke(state)

    if kind == "function":
        return once
    called = task(once)
    if way.is_async:

        async def in_task(state):
            return await called(state)
    else:

        def in_task(state):
            return called(state).result()

    return in_task


def parent_of(way, ran, log, node, **options):
    """Return a graph of a node before, the given one, and one after."""
    builder = chain(ran.node(way, "before")).add_node("sub", node).add_node("after", ran.node(way, "after"))
    return builder.add_edge("before", "sub").add_edge("sub", "after").compile(log, **options)


def inner_node(way, ran, name, body=None):
    """Return a node of a subgraph, which leaves its trail in a key of the subgraph's own."""
    made = ran.node(way, name, body)

    def run(state):
        ran.names.append(name)
        if name in ran.failing:
            ran.failing.remove(name)
            raise ConnectionError(name)
        more = body(state) if body is not None else None
        said = name if more is None else f"{name}={more}"
        return {"inner": [said], "trail": [*state.get("inner", []), said]}

    run.__name__ = made.__name__
    return way.node(run)


def three_levels(way, ran, log, bottom):
    """Return a graph in a graph in a graph."""
    middle = chain(inner_node(way, ran, "middle"), state=Child)
    leaf = chain(inner_node(way, ran, "leaf"), bottom, state=Leaf).compile()
    middle = middle.add_node("leaf", leaf).add_edge("middle", "leaf").compile()
    return parent_of(way, ran, log, middle)


def twice_in_a_node(way, inner):
    """Return a node that calls the graph twice and returns both trails."""

    def twice(state):
        return {"trail": inner.invoke({})["trail"] + inner.invoke({})["trail"]}

    async def atwice(state):
        return {"trail": (await inner.ainvoke({}))["trail"] + (await inner.ainvoke({}))["trail"]}

    return atwice if way.is_async else twice
