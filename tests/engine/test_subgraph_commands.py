"""Commands by which a subgraph steers the graphs above it."""

from __future__ import annotations

import pytest
from helpers import Trail, chain, drawn, leaves
from subgraph_helpers import nested_in

from walgraph import (
    START,
    Command,
    MemoryLog,
    ParentCommand,
    Send,
    StateGraph,
    interrupt,
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Command.PARENT, ["there of middle"]),
        ("inside", ["there of leaf"]),
        ("in middle", ["there of middle"]),
        ("in top", ["there of top"]),
        ("leaf", ["there of leaf"]),
        ("middle", ["there of middle"]),
        ("top", ["there of top"]),
        ("in top|in middle", ["there of middle"]),
    ],
)
@pytest.mark.parametrize("raised", [False, True])
def test_a_command_is_addressed_by_graph_by_node_or_by_namespace(
    way, log, kind, name, expected, raised
) -> None:
    """G-4: the graph of that name, or the one whose node of that name the command comes through."""

    def inside(state):
        # A task that stands between is a part of the namespace.
        graph = name.replace("|", "|once|") if kind == "task" else name
        command = Command(graph=graph, update={"trail": ["u"]}, goto="there")
        if raised:
            raise ParentCommand(command)
        return command

    def there(of):
        return way.node(lambda _: {"trail": [f"there of {of}"]})

    leaf = StateGraph(Trail).add_node("inside", way.node(inside)).add_node("there", there("leaf"))
    leaf = leaf.add_edge(START, "inside").compile(name="leaf")
    middle = (
        StateGraph(Trail).add_node("in middle", nested_in(way, kind, leaf)).add_node("there", there("middle"))
    )
    middle = middle.add_edge(START, "in middle").compile(name="middle")
    top = StateGraph(Trail).add_node("in top", nested_in(way, kind, middle)).add_node("there", there("top"))
    graph = top.add_edge(START, "in top").compile(log, name="top")
    assert way.invoke(graph, {"trail": []})["trail"] == ["u", *expected]


def test_parallel_subgraphs_steer_side_by_side(way, log, durability) -> None:
    """G-3, G-5: updates are reduced and Sends listed in the order of the tasks; routers and edges fire too."""

    def inside(state):
        return Command(
            graph=Command.PARENT, update={"trail": [state["x"]]}, goto=Send("w", {"x": state["x"]})
        )

    def w(state):
        return {"trail": [f"w{state['x']}"]}

    inner = chain(way.node(inside)).compile()
    builder = (
        StateGraph(Trail)
        .add_node("sub", inner)
        .add_node("w", way.node(w))
        .add_node("z", way.node(leaves("z")))
    )
    builder.add_conditional_edges(
        START, lambda _: [Send("sub", {"x": n, "trail": []}) for n in range(3)], ["sub"]
    )
    graph = builder.add_conditional_edges("sub", lambda _: "z").compile(log)
    found = way.invoke(graph, {"trail": []}, durability=durability)
    assert found["trail"] == [0, 1, 2, "z", "w0", "w1", "w2"]


def test_of_several_commands_for_the_parent_the_first_counts(way, log) -> None:
    """G-3: first by the order of tasks, whichever ends first; what the step's other nodes wrote is lost."""

    def steers(name):
        def node(state):
            return Command(graph=Command.PARENT, update={"trail": [name]})

        node.__name__ = name
        return node

    inner = drawn(way, leaves("a"), steers("i"), steers("j"), edges=">a,i,j").compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log)
    assert way.invoke(graph, {"trail": []}) == {"trail": ["i"]}


def test_a_question_beside_a_command_for_the_parent_is_answered_first(way, log, durability) -> None:
    """The command waits, recorded, until its step can be closed."""
    ran: list[str] = []

    def inside(state):
        ran.append("inside")
        return Command(graph=Command.PARENT, update={"trail": ["u"]}, goto="there")

    def ask(state):
        return {"trail": [interrupt("q")]}

    inner = drawn(way, inside, ask, edges=">inside,ask").compile()
    builder = StateGraph(Trail).add_node("sub", inner).add_node("there", way.node(leaves("there")))
    graph = builder.add_edge(START, "sub").compile(log)
    assert len(way.invoke(graph, {"trail": []}, durability=durability)["__interrupt__"]) == 1
    found = way.invoke(graph, Command(resume="A"), durability=durability)
    assert found == {"trail": ["u", "there"]}
    assert ran == ["inside"]


def test_a_command_for_a_graph_that_is_not_there_reaches_the_caller(way, log) -> None:
    """G-4: nobody above is called so."""
    inner = chain(way.node(lambda_returning(Command(graph="nobody", goto="x")))).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log)
    with pytest.raises(ParentCommand):
        way.invoke(graph, {"trail": []})


def lambda_returning(value):
    """Return a node that returns the value."""

    def node(state):
        return value

    return node
