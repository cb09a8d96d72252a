"""Commands by which a subgraph steers the graphs above it."""

from __future__ import annotations

import pytest
from helpers import Trail, chain

from walgraph import (
    START,
    Command,
    MemoryLog,
    StateGraph,
)


def test_a_command_for_the_parent_steers_it(way, log) -> None:
    """Its update goes to the parent's state and its goto to the parent's nodes; the parent's own edges fire too."""

    def inside(state):
        return Command(graph=Command.PARENT, update={"trail": ["from inside"]}, goto="there")

    def there(state):
        return {"trail": ["there"]}

    def after(state):
        return {"trail": ["after"]}

    inner = chain(way.node(inside)).compile(name="inner")
    builder = StateGraph(Trail).add_node("sub", inner).add_node("there", way.node(there))
    builder.add_node("after", way.node(after)).add_edge(START, "sub").add_edge("sub", "after")
    graph = builder.compile(log)
    # G-3: the static edge of the subgraph's node fires beside the goto.
    assert way.invoke(graph, {"trail": []}) == {"trail": ["from inside", "after", "there"]}


def test_a_command_can_name_the_graph_it_is_for(way, log) -> None:
    """From two levels down, past the parent."""

    def inside(state):
        return Command(graph="top", update={"trail": ["from inside"]}, goto="there")

    def there(state):
        return {"trail": ["there"]}

    leaf = chain(way.node(inside)).compile(name="leaf")
    middle = StateGraph(Trail).add_node("leaf", leaf).add_edge(START, "leaf").compile(name="middle")
    builder = (
        StateGraph(Trail).add_node("sub", middle).add_node("there", way.node(there)).add_edge(START, "sub")
    )
    graph = builder.compile(log, name="top")
    assert way.invoke(graph, {"trail": []}) == {"trail": ["from inside", "there"]}


def test_a_command_for_the_parent_is_not_given_twice(way, log) -> None:
    """When a sibling of the subgraph's node failed, the command that was recorded is used, and not asked for anew."""
    ran: list[str] = []

    def inside(state):
        ran.append("inside")
        return Command(graph=Command.PARENT, update={"trail": ["from inside"]})

    def sibling(state):
        ran.append("sibling")
        if ran.count("sibling") == 1:
            raise ConnectionError
        return {"trail": ["sibling"]}

    inner = chain(way.node(inside)).compile()
    builder = StateGraph(Trail).add_node("sub", inner).add_node("sibling", way.node(sibling))
    graph = builder.add_edge(START, "sub").add_edge(START, "sibling").compile(log)
    with pytest.raises(ConnectionError):
        way.invoke(graph, {"trail": []})
    found = way.invoke(graph, None)
    assert sorted(found["trail"]) == ["from inside", "sibling"]
    assert ran.count("inside") == 1


def test_a_command_for_a_parent_that_is_not_there_reaches_the_caller(way) -> None:
    """At the root it escapes, as it does in LangGraph."""

    def alone(state):
        return Command(graph=Command.PARENT, goto="nowhere")

    graph = chain(way.node(alone)).compile(MemoryLog(strict=True))
    with pytest.raises(BaseException) as caught:
        way.invoke(graph, {"trail": []})
    assert type(caught.value).__name__ == "ParentCommand"
