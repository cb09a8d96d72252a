"""What ``get_graph`` draws: which nodes and edges, and as which text."""

from __future__ import annotations

import operator
import xml.etree.ElementTree as ET
from typing import Annotated, Any, Literal, TypedDict

import pytest

from walgraph import (
    END,
    START,
    Command,
    CurveStyle,
    InvalidGraph,
    MemoryLog,
    NodeStyles,
    NotAvailable,
    Send,
    StateGraph,
    entrypoint,
)
from walgraph.engine.drawable import Edge, Node
from walgraph.engine.drawing import Graph


class State(TypedDict):
    """A trail of the nodes that ran."""

    trail: Annotated[list[str], operator.add]


def node(name: str) -> Any:
    """Return a function that a node of this name may be made of."""

    def run(state: State) -> dict[str, Any]:
        return {"trail": [name]}

    run.__name__ = name
    return run


def graph_of(*names: str) -> StateGraph:
    """Return a builder with nodes that only leave their names."""
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, node(name))
    return builder


def edges_of(graph: Any, **options: Any) -> list[tuple[Any, ...]]:
    """Return the drawn edges: source, target, label, and whether it is conditional."""
    return [tuple(edge) for edge in graph.get_graph(**options).edges]


def inner() -> Any:
    """Return a compiled graph that may end early."""
    builder = graph_of("x", "y").add_edge(START, "x")
    return builder.add_conditional_edges("x", lambda _: "y", ["y", END]).compile()


def test_edges_and_joins_are_drawn() -> None:
    """An edge is a line; a join is one from each of its members; after the last node comes END."""
    builder = graph_of("a", "b", "c", "d").add_edge(START, "a").add_edge("a", "b").add_edge("a", "c")
    graph = builder.add_edge(["b", "c"], "d").add_edge("d", END).compile()
    pairs = [(source, target) for source, target, label, conditional in edges_of(graph) if not conditional]
    assert pairs == [(START, "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", END)]


def test_an_edge_to_end_beside_others_is_drawn() -> None:
    """A node that goes on and ends at once shows both; LangGraph draws only the first."""
    graph = graph_of("a", "b").add_edge(START, "a").add_edge("a", "b").add_edge("a", END).compile()
    assert edges_of(graph) == [
        (START, "a", None, False),
        ("a", END, None, False),
        ("a", "b", None, False),
        ("b", END, None, False),
    ]


def test_what_is_drawn_is_what_was_compiled() -> None:
    """Nodes that the builder was given afterwards do not show."""
    builder = graph_of("a").add_edge(START, "a")
    graph = builder.compile()
    builder.add_node("late", node("late")).add_edge("a", "late")
    assert list(graph.get_graph().nodes) == [START, "a", END]
    assert edges_of(graph) == [(START, "a", None, False), ("a", END, None, False)]


def test_answers_that_differ_from_their_nodes_are_labels() -> None:
    """``path_map`` names the answers; answers that lead to one node share its line."""
    builder = graph_of("a", "b").add_edge(START, "a")
    graph = builder.add_conditional_edges("a", lambda _: 1, {1: "b", "more": "b", "b": "b", 2: END}).compile()
    assert [edge for edge in edges_of(graph) if edge[3]] == [
        ("a", END, "2", True),
        ("a", "b", "1, more, b", True),
    ]


def test_a_router_that_lists_its_answers_is_drawn_with_them() -> None:
    """``-> Literal["b"]`` is as good as ``path_map=["b"]``."""

    def router(state: State) -> Literal["b", "__end__"]:
        return "b"

    graph = graph_of("a", "b", "c").add_edge(START, "a").add_conditional_edges("a", router).compile()
    assert [edge[1] for edge in edges_of(graph) if edge[0] == "a"] == [END, "b"]


def test_an_answer_that_the_annotation_does_not_list_is_an_error() -> None:
    """A router keeps to what it says, while the graph runs and when it is compiled."""

    def lying(state: State) -> Literal["b"]:
        return "c"  # type: ignore[return-value]

    def elsewhere(state: State) -> Literal["nowhere"]:
        return "nowhere"

    graph = graph_of("a", "b", "c").add_edge(START, "a").add_conditional_edges("a", lying).compile()
    with pytest.raises(InvalidGraph, match="'c'"):
        graph.invoke({"trail": []})
    with pytest.raises(InvalidGraph, match="At 'a' node, 'elsewhere' branch found unknown target 'nowhere'"):
        graph_of("a").add_edge(START, "a").add_conditional_edges("a", elsewhere).compile()


def test_a_router_without_a_list_is_drawn_by_what_its_code_names() -> None:
    """LangGraph draws a plain line to END here, which is none of the places where this router leads."""

    def fan_out(state: State) -> list[Send]:
        return [Send("work", state) for _ in range(3)]

    builder = graph_of("plan", "work", "other").add_edge(START, "plan")
    graph = builder.add_conditional_edges("plan", fan_out).compile()
    assert [edge for edge in edges_of(graph) if edge[0] == "plan"] == [("plan", "work", None, True)]


def test_a_router_that_names_nothing_may_lead_anywhere() -> None:
    """What cannot be known is drawn as possible."""
    names = ["a", "b"]
    builder = graph_of("a", "b").add_edge(START, "a")
    graph = builder.add_conditional_edges("a", lambda state: names[len(state["trail"])]).compile()
    assert {edge[1] for edge in edges_of(graph) if edge[0] == "a"} == {"a", "b", END}


def test_commands_are_drawn_by_what_the_code_names() -> None:
    """A node that steers with commands shows where to, without being asked to."""

    def steer(state: State) -> Any:
        return Command(goto="b" if state["trail"] else END)

    graph = graph_of("b").add_node(steer).add_edge(START, "steer").compile()
    assert [edge for edge in edges_of(graph) if edge[0] == "steer"] == [
        ("steer", END, None, True),
        ("steer", "b", None, True),
    ]


def test_what_is_said_about_commands_is_drawn() -> None:
    """``-> Command[Literal[...]]`` and ``destinations`` say where a node may go; a dict has labels for it."""

    def annotated(state: State) -> Command[Literal["b", "__end__"]]:
        return Command(goto="b")

    builder = graph_of("b").add_node(annotated).add_edge(START, "annotated").add_edge("b", "told")
    builder.add_node("told", node("told"), destinations={"b": "again", "named": "named"})
    graph = builder.add_node("named", node("named"), destinations=("b",)).compile()
    assert [edge for edge in edges_of(graph) if edge[3]] == [
        ("annotated", END, None, True),
        ("annotated", "b", None, True),
        ("named", "b", None, True),
        ("told", "b", "again", True),
        ("told", "named", None, True),
    ]


def test_an_error_handler_is_drawn_behind_its_node() -> None:
    """LangGraph leaves handlers loose beside the graph."""
    builder = StateGraph(State).add_node("a", node("a"), error_handler=lambda _: None).add_edge(START, "a")
    assert edges_of(builder.compile()) == [
        (START, "a", None, False),
        ("a", "__error_handler__a", "error", True),
        ("__error_handler__a", END, None, False),
        ("a", END, None, False),
    ]


def test_a_handler_for_all_nodes_is_drawn_behind_each() -> None:
    """``set_node_defaults(error_handler=...)`` makes one node that all others may lead to."""
    builder = graph_of("a", "b").set_node_defaults(error_handler=lambda _: None)
    graph = builder.add_edge(START, "a").add_edge("a", "b").compile()
    handled = [edge[:2] for edge in edges_of(graph) if edge[2] == "error"]
    assert handled == [("a", "__default_error_handler__"), ("b", "__default_error_handler__")]


def test_notes_show_below_names() -> None:
    """The user's metadata, deferred nodes and breakpoints are noted."""
    builder = StateGraph(State).add_node("a", node("a"), metadata={"team": "north"})
    builder.add_node("b", node("b"), defer=True).add_edge(START, "a").add_edge("a", "b")
    graph = builder.compile(interrupt_before=["a"], interrupt_after="*").get_graph()
    assert graph.nodes["a"].metadata == {"team": "north", "__interrupt": "before,after"}
    assert graph.nodes["b"].metadata == {"defer": True, "__interrupt": "after"}
    assert graph.nodes[START].metadata is None
    assert "b<hr/><small><em>defer = True\n__interrupt = after</em></small>" in graph.draw_mermaid()


def test_xray_draws_subgraphs_in_their_place() -> None:
    """A node that is a graph, or whose function calls one, is replaced; a number says how many levels."""
    innermost = inner()

    def calls(state: State) -> Any:
        return innermost.invoke(state)

    middle = graph_of("p").add_node("in", innermost).add_edge(START, "p").add_edge("p", "in").compile()
    builder = StateGraph(State).add_node("sub", middle).add_node(calls)
    graph = builder.add_edge(START, "sub").add_edge("sub", "calls").compile()
    assert list(graph.get_graph().nodes) == [START, "sub", "calls", END]
    assert set(graph.get_graph(xray=1).nodes) == {
        *(START, END, "sub:p", "sub:in", "calls:x", "calls:y", "calls:__end__"),
    }
    assert set(graph.get_graph(xray=True).nodes) == {
        *(
            START,
            END,
            "sub:p",
            "sub:in:x",
            "sub:in:y",
            "sub:in:__end__",
            "calls:x",
            "calls:y",
            "calls:__end__",
        ),
    }
    assert edges_of(graph, xray=True) == [
        (START, "sub:p", None, False),
        ("sub:in:__end__", "calls:x", None, False),
        ("calls:__end__", END, None, False),
        ("sub:p", "sub:in:x", None, False),
        ("sub:in:x", "sub:in:__end__", None, True),
        ("sub:in:x", "sub:in:y", None, True),
        ("sub:in:y", "sub:in:__end__", None, False),
        ("calls:x", "calls:__end__", None, True),
        ("calls:x", "calls:y", None, True),
        ("calls:y", "calls:__end__", None, False),
    ]


def test_a_node_that_looks_at_its_own_graph_is_not_drawn_in_itself() -> None:
    """A graph in a graph in itself would never end."""

    def curious(state: State) -> Any:
        return {"trail": [graph.name]}

    graph = StateGraph(State).add_node(curious).add_edge(START, "curious").compile()
    assert list(graph.get_graph(xray=True).nodes) == [START, "curious", END]


def test_an_entrypoint_is_one_node() -> None:
    """A function is drawn between START and END."""

    @entrypoint(MemoryLog())
    def flow(text: str) -> str:
        return text

    assert edges_of(flow) == [(START, "flow", None, False), ("flow", END, None, False)]


MERMAID = """\
---
config:
  flowchart:
    curve: linear
---
graph TD;
	__start__([<p>__start__</p>]):::first
	my\\20node(my node)
	__end__([<p>__end__</p>]):::last
	__start__ --> sub\\3ax;
	my\\20node -. &nbsp;stop&nbsp; .-> __end__;
	my\\20node -. &nbsp;again&nbsp; .-> sub\\3ax;
	sub\\3a__end__ --> my\\20node;
	subgraph sub
	sub\\3ax(x)
	sub\\3ay(y)
	sub\\3a__end__(<p>__end__</p>)
	sub\\3ax -.-> sub\\3a__end__;
	sub\\3ax -.-> sub\\3ay;
	sub\\3ay --> sub\\3a__end__;
	end
	classDef default fill:#f2f0ff,line-height:1.2
	classDef first fill-opacity:0
	classDef last fill:#bfb6fc
"""


def looping() -> Any:
    """Return a graph with a subgraph, labels and a loop."""
    builder = StateGraph(State).add_node("sub", inner()).add_node("my node", node("my node"))
    builder.add_edge(START, "sub").add_edge("sub", "my node")
    return builder.add_conditional_edges("my node", lambda _: "stop", {"again": "sub", "stop": END}).compile()


def test_mermaid_text_is_langgraphs() -> None:
    """Names are escaped, subgraphs are blocks, and the styles are those that people know."""
    assert looping().get_graph(xray=True).draw_mermaid() == MERMAID


def test_mermaid_text_is_the_same_as_langgraphs_own() -> None:
    """The same graph, built with each library, is the same text: joins, labels, subgraphs, notes, odd names."""
    langgraph = pytest.importorskip("langgraph.graph")

    def build(kind: Any) -> Any:
        def calls(state: State) -> Any:
            return innermost.invoke(state)

        def router(state: State) -> Literal["left", "B & <C>"]:
            return "left"

        within = kind(State).add_node("x", node("x")).add_node("y", node("y")).add_edge(START, "x")
        innermost = within.add_conditional_edges("x", lambda _: "y", ["y", END]).compile()
        builder = kind(State).add_node("left", node("left"), metadata={"k": 1}).add_node("B & <C>", node("c"))
        builder.add_node("sub", innermost).add_node(calls).add_node("last", node("last"), defer=True)
        builder.add_node("first", node("first")).add_edge(START, "first").add_conditional_edges(
            "first", router
        )
        builder.add_edge("left", "sub").add_edge("B & <C>", "calls").add_edge(["sub", "calls"], "last")
        builder.add_conditional_edges("last", lambda _: 1, {1: "first", "a b c d e f g h i j": END})
        return builder.compile(interrupt_before=["left"])

    ours, theirs = build(StateGraph), build(langgraph.StateGraph)
    for xray in (False, True, 1):
        assert ours.get_graph(xray=xray).draw_mermaid() == theirs.get_graph(xray=xray).draw_mermaid()


def test_mermaid_takes_langgraphs_options() -> None:
    """Curves, colours, settings of the user, long labels in lines, and no styles at all."""
    graph = Graph({"a": Node("a", "a"), "b": Node("b", "b")}, [Edge("a", "b", "one two three")])
    text = graph.draw_mermaid(
        curve_style=CurveStyle.BASIS,
        node_colors=NodeStyles(default="fill:#fff"),
        wrap_label_n_words=2,
        frontmatter_config={"title": "T: 1", "config": {"theme": "neutral", "flowchart": {"padding": 3}}},
    )
    assert text.startswith(
        "---\nconfig:\n  flowchart:\n    curve: basis\n    padding: 3\n  theme: neutral\ntitle: 'T: 1'\n---\n"
    )
    assert "\ta -- &nbsp;one two&nbsp<br>&nbspthree&nbsp; --> b;\n\tclassDef default fill:#fff\n" in text
    assert graph.draw_mermaid(with_styles=False) == "graph TD;\n\ta -- &nbsp;one two three&nbsp; --> b;\n"


ASCII = """\
  +-----------+
  | __start__ |
  +-----------+
        |
        +-----------+
        v           |
    +-------+       |
    | agent |       |
    +-------+       |
        :           |
    +...+...+       |
   more     :       |
    v       :       |
+-------+   :       |
| tools |   :       |
+-------+   :       |
    |       :       |
    +-------:-------+
            v
       +---------+
       | __end__ |
       +---------+"""


def test_a_loop_reads_well_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that lead back run at the right; dotted ones may not be taken."""
    builder = graph_of("agent", "tools").add_edge(START, "agent").add_edge("tools", "agent")
    graph = builder.add_conditional_edges("agent", lambda _: END, {"more": "tools", END: END}).compile()
    assert graph.get_graph().draw_ascii() == ASCII
    graph.get_graph().print_ascii()
    assert capsys.readouterr().out == ASCII + "\n"


def test_an_svg_is_whole_and_refers_to_nothing(tmp_path: Any) -> None:
    """Every node and label is in it, escaped; it can be opened without a network."""
    builder = StateGraph(State).add_node("<a & b>", node("x"), metadata={"note": "<i>"})
    builder.add_edge(START, "<a & b>")
    graph = builder.add_conditional_edges("<a & b>", lambda _: 1, {"1 < 2": "<a & b>", "x": END}).compile()
    text = graph.get_graph().draw_svg(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text("utf-8") == text
    root = ET.fromstring(text)
    written = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert written == {START, END, "<a & b>", "note = <i>", "<a & b>: 1 < 2", "x"}
    assert text.count("http") == 1
    assert "href" not in text
    assert "url(" not in text


def test_notebooks_are_shown_the_drawing() -> None:
    """A compiled graph at the end of a cell is a picture, made here."""
    graph = looping()
    shown = graph._repr_mimebundle_(include=None, exclude=None)
    assert shown["image/svg+xml"] == graph.get_graph().draw_svg() == graph.get_graph()._repr_svg_()
    assert shown["text/plain"] == repr(graph)


def test_pictures_by_others_are_refused_with_a_way_out() -> None:
    """Neither a server on the network nor graphviz is asked."""
    graph = looping().get_graph()
    with pytest.raises(NotAvailable, match="draw_svg"):
        graph.draw_mermaid_png(output_file_path="x.png")
    with pytest.raises(NotAvailable, match="draw_svg"):
        graph.draw_png("x.png")


def test_a_drawing_as_data() -> None:
    """``to_json`` has langchain-core's form: nodes with where their code is, edges with what is special."""
    graph = (
        graph_of("a").add_edge(START, "a").add_conditional_edges("a", lambda _: 1, {1: "a", 2: END}).compile()
    )
    data = graph.get_graph().to_json()
    assert data["nodes"][1] == {
        "id": "a",
        "type": "runnable",
        "data": {"id": [*__name__.split("."), "node.<locals>.run"], "name": "a"},
    }
    assert data["edges"] == [
        {"source": START, "target": "a"},
        {"source": "a", "target": END, "data": "2", "conditional": True},
        {"source": "a", "target": "a", "data": "1", "conditional": True},
    ]


def test_a_drawing_can_be_made_by_hand() -> None:
    """Nodes and edges can be added and removed, and what does not fit is refused."""
    graph = Graph()
    one, two = graph.add_node(None, "one"), graph.add_node(None, "two", metadata={"a": 1})
    graph.add_edge(one, two, "label", conditional=True)
    assert (graph.first_node(), graph.last_node()) == (one, two)
    with pytest.raises(ValueError, match="Node with id one already exists"):
        graph.add_node(None, "one")
    graph.remove_node(two)
    assert graph.edges == []
    with pytest.raises(ValueError, match="Target node two not in graph"):
        graph.add_edge(one, two)


def test_the_asynchronous_twin_draws_the_same(way: Any) -> None:
    """``aget_graph`` is ``get_graph``."""
    graph = looping()
    if way.name == "async":
        import asyncio

        drawn = asyncio.run(graph.aget_graph(xray=True))
    else:
        drawn = graph.get_graph(xray=True)
    assert drawn.draw_mermaid() == MERMAID
