"""What random graphs have found: each difference as a small graph, run with both libraries."""

from __future__ import annotations

import operator
from typing import Annotated, Any

import pytest
from parity.differences import first_difference
from parity.libraries import OURS, THEIRS
from parity.shapes import ALL_MODES, SEEN_BY_MOST, START, Act, Edge, Goto, Graph, Node, Story, Write
from parity.watching import watch
from typing_extensions import TypedDict

from walgraph import InvalidGraph

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
TRACE = (Write("trace"),)
BOTH = pytest.mark.parametrize("library", [THEIRS, OURS], ids=["langgraph", "walgraph"])


class State(TypedDict, total=False):
    """A trail, and one value."""

    trail: Annotated[list[str], operator.add]
    x: Any


def side_by_side(*nodes: Node, **options: Any) -> Story:
    """Return the story of nodes that run in one step."""
    edges = tuple(Edge("edge", (START,), (Goto(node.name),)) for node in nodes)
    return Story(Graph(nodes, edges, **options), (Act("input"),))


ASKING = Node("ask", writes=TRACE, questions=2)
INNER = Graph((Node("in_ask", writes=TRACE, questions=1),), (Edge("edge", (START,), (Goto("in_ask"),)),))
STOPPING = Graph((Node("deep", writes=TRACE),), (Edge("edge", (START,), (Goto("deep"),)),), before=("deep",))
STORIES = {
    "a question shows what siblings wrote": side_by_side(ASKING, Node("sib", writes=TRACE)),
    "each task shows its own question": side_by_side(ASKING, Node("also", writes=TRACE, questions=1)),
    "a subgraph's question is its task's": side_by_side(Node("sub", inner=INNER), ASKING),
    "a subgraph stops at a breakpoint": side_by_side(Node("sub", inner=STOPPING), Node("sib", writes=TRACE)),
    "two writes to a key are shown as two": side_by_side(
        Node("twice", "pairs", writes=(Write("trace"), Write("trace")), questions=1),
        Node("sib", "pairs", writes=(Write("trace"), Write("trace"))),
    ),
    "a dataclass reaches a subgraph": side_by_side(Node("sub", inner=INNER), schema="dataclass"),
    "a model reaches a subgraph": side_by_side(Node("sub", inner=INNER), schema="pydantic"),
}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("modes", [(), SEEN_BY_MOST, ALL_MODES], ids=["invoked", "streamed", "in all modes"])
@pytest.mark.parametrize("name", STORIES)
def test_what_was_found_stays_mended(name, modes, durability) -> None:
    """Each of these stories was told differently once."""
    for subgraphs in (False, True):
        story = STORIES[name]._replace(modes=modes, subgraphs=subgraphs, durability=durability)
        assert first_difference(watch(THEIRS, story), watch(OURS, story)) is None


@BOTH
def test_the_message_of_the_recursion_limit_says_what_to_do(library) -> None:
    """RL-1: it is LangGraph's to the end of its first line."""
    builder = library.StateGraph(State).add_node("a", lambda _: {"x": 1})
    graph = builder.add_edge(START, "a").add_edge("a", "a").compile()
    with pytest.raises(
        library.GraphRecursionError, match="You can increase the limit by setting the `recursion_limit`"
    ):
        graph.invoke({}, {"recursion_limit": 2})


@BOTH
def test_a_breakpoint_in_a_subgraph_leaves_no_empty_question(library) -> None:
    """I-17: the output of a run that is parked has no key for questions."""
    inner = library.StateGraph(State).add_node("deep", lambda _: {"x": 1}).add_edge(START, "deep")
    builder = library.StateGraph(State).add_node("sub", inner.compile(interrupt_before=["deep"]))
    graph = builder.add_edge(START, "sub").compile(library.saver())
    assert graph.invoke({"trail": ["in"]}, THREAD) == {"trail": ["in"]}
    assert graph.invoke(None, THREAD)["x"] == 1


@BOTH
def test_a_router_reads_what_its_node_reads(library) -> None:
    """P-10: unless its annotation says otherwise; so it may look at keys that only the node's own schema has."""

    class Own(TypedDict, total=False):
        secret: str

    seen: list[Any] = []

    def route(state):
        seen.append(state)
        return "b"

    builder = library.StateGraph(State).add_node("a", lambda _: {"secret": "s", "x": 1}, input_schema=Own)
    builder.add_node("b", lambda _: None).add_edge(START, "a").add_conditional_edges("a", route, ["b"])
    builder.compile().invoke({"x": 0})
    assert [given["secret"] for given in seen] == ["s"]


def test_an_unknown_target_is_an_error() -> None:
    """P-12, A-10: LangGraph warns and goes on; we raise where the routing happens, naming what there is."""
    for target in ("nowhere", "Send"):

        def built(library: Any, target: str = target) -> Any:
            goto = library.Send("nowhere", {}) if target == "Send" else target
            builder = library.StateGraph(State).add_node("a", lambda _: library.Command(goto=goto))
            return builder.add_edge(START, "a").compile()

        assert built(THEIRS).invoke({"trail": ["in"]}) == {"trail": ["in"]}
        with pytest.raises(InvalidGraph, match="goes to 'nowhere'"):
            built(OURS).invoke({"trail": ["in"]})


def test_a_task_that_waits_does_not_run_again_for_another_answer() -> None:
    """I-6: LangGraph runs each unanswered task again; we only those that were answered."""
    for library, again in ((THEIRS, ["a", "b"]), (OURS, ["a"])):
        ran: list[str] = []

        def asks(name: str, library: Any = library, ran: list[str] = ran) -> Any:
            def node(state: Any) -> Any:
                ran.append(name)
                return {"trail": [library.interrupt(name)]}

            return node

        builder = library.StateGraph(State).add_node("a", asks("a")).add_node("b", asks("b"))
        graph = builder.add_edge(START, "a").add_edge(START, "b").compile(library.saver())
        asked = {item.value: item.id for item in graph.invoke({}, THREAD)["__interrupt__"]}
        ran.clear()
        (left,) = graph.invoke(library.Command(resume={asked["a"]: "A"}), THREAD)["__interrupt__"]
        assert (left.value, sorted(ran)) == ("b", again)
        assert graph.invoke(library.Command(resume={left.id: "B"}), THREAD)["trail"] == ["A", "B"]


@BOTH
def test_metadata_name_the_task_around_a_subgraph(library) -> None:
    """Messages streamed from a subgraph, at any depth, say in ``checkpoint_ns`` which task of the root runs it."""
    from langchain_core.messages import AIMessage

    def says(name: str) -> Any:
        return lambda _: {"x": AIMessage(name, id=name)}

    def graph(saver: Any, **nodes: Any) -> Any:
        builder = library.StateGraph(State).add_sequence(list(nodes.items()))
        return builder.add_edge(START, next(iter(nodes))).compile(saver)

    inner = graph(None, inner=says("inner"), deeper=graph(None, deep=says("deep")))
    root = graph(library.saver(), top=says("top"), sub=inner)
    chunks = list(root.stream({}, THREAD, stream_mode="messages", subgraphs=True))
    around = {message.id: metadata.get("checkpoint_ns") for _, (message, metadata) in chunks}
    outermost = {message.id: namespace[0] if namespace else None for namespace, (message, _) in chunks}
    assert around == outermost
    assert set(around) == {"top", "inner", "deep"}
