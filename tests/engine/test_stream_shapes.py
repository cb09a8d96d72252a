"""The shapes of what is streamed, returned and printed: chunks of version 2, ``GraphOutput``, ``print_mode``.

The literals are what LangGraph 1.2.22 gives for the same graphs.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest
from helpers import THREAD, Trail, chain, leaves, on
from pydantic import BaseModel
from stream_helpers import Names

from walgraph import START, Command, GraphOutput, Interrupt, StateGraph, entrypoint, interrupt, task


class Model(BaseModel):
    """A state that is a pydantic model."""

    x: int = 0
    y: Annotated[list[Any], operator.add] = []


@dataclass
class Data:
    """A state that is a dataclass, and is not whole without a value for x."""

    x: int
    y: Annotated[list[Any], operator.add] = field(default_factory=list)


class Keys(TypedDict, total=False):
    """The same as a dict."""

    x: int
    y: Annotated[list[Any], operator.add]


def counted(way, schema, **options):
    """Return a builder of a graph that counts, and then asks."""

    def count(state):
        return {"x": (state["x"] if isinstance(state, dict) else state.x) + 1, "y": ["a"]}

    def ask(state):
        return {"y": [interrupt("?")]}

    builder = StateGraph(schema, **options)
    builder.add_node("count", way.node(count)).add_node("ask", way.node(ask))
    return builder.add_edge(START, "count").add_edge("count", "ask")


@pytest.mark.parametrize("schema", [Model, Data, Keys])
def test_version_2_streams_dicts_with_the_state_as_its_class(way, log, schema) -> None:
    """Type, namespace and data; questions are beside the values, and no key of them."""
    graph = counted(way, schema).compile(log)
    chunks = way.stream(graph, {"x": 1, "y": []}, stream_mode=["values", "updates"], version="v2")
    (asked,) = graph.get_state(THREAD).interrupts
    assert chunks == [
        {"type": "values", "ns": (), "data": schema(x=1, y=[]), "interrupts": ()},
        {"type": "updates", "ns": (), "data": {"count": {"x": 2, "y": ["a"]}}},
        {"type": "values", "ns": (), "data": schema(x=2, y=["a"]), "interrupts": ()},
        {"type": "updates", "ns": (), "data": {"__interrupt__": (asked,)}},
        {"type": "values", "ns": (), "data": schema(x=2, y=["a"]), "interrupts": (asked,)},
    ]


def test_version_2_has_one_shape_whatever_was_asked_for(way, maybe_log) -> None:
    """One mode, a list of modes, with subgraphs or without."""
    inner = chain(way.node(leaves("one"))).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(maybe_log)
    expected = [{"type": "updates", "ns": (), "data": {"sub": {"trail": ["one"]}}}]
    assert way.stream(graph, {"trail": []}, on("a"), version="v2") == expected
    assert way.stream(graph, {"trail": []}, on("b"), version="v2", stream_mode=["updates"]) == expected
    whole = Names().of(way.stream(graph, {"trail": []}, on("c"), version="v2", subgraphs=True))
    within = {"type": "updates", "ns": ("sub:task 1",), "data": {"one": {"trail": ["one"]}}}
    assert whole == [within, *expected]


def test_version_2_shows_the_state_of_checkpoints_as_its_class(way, log) -> None:
    """In checkpoints and in debug, but for the checkpoint of the input, whose values are not there yet."""
    graph = counted(way, Model).compile(log)
    chunks = way.stream(graph, {"x": 1}, stream_mode=["checkpoints", "debug"], version="v2")
    plain = [chunk["data"]["values"] for chunk in chunks if chunk["type"] == "checkpoints"]
    assert plain == [{"y": []}, Model(x=1), Model(x=2, y=["a"])]
    wrapped = [chunk["data"]["payload"] for chunk in chunks if chunk["type"] == "debug"]
    assert [payload["values"] for payload in wrapped if "values" in payload] == plain


def test_version_2_shows_what_is_not_whole_yet_as_a_dict(way, maybe_log) -> None:
    """LangGraph raises in the middle of the run; here the values that there are come as they are."""

    def fill(state):
        return {"x": 1}

    class Empty(TypedDict, total=False):
        y: Annotated[list[Any], operator.add]

    builder = StateGraph(Data, input_schema=Empty).add_node("fill", way.node(fill), input_schema=Empty)
    graph = builder.add_edge(START, "fill").compile(maybe_log)
    chunks = way.stream(graph, {"y": ["in"]}, stream_mode="values", version="v2")
    assert [chunk["data"] for chunk in chunks] == [{"y": ["in"]}, Data(1, ["in"])]


def test_values_take_the_class_of_the_output_and_checkpoints_that_of_the_state(way, log) -> None:
    """Though both are made of all channels."""

    class Out(BaseModel):
        x: int = 0

    graph = counted(way, Model, output_schema=Out).compile(log)
    chunks = way.stream(graph, {"x": 1}, stream_mode=["values", "checkpoints"], version="v2")
    kinds = [
        (c["type"], type(c["data"]["values"] if c["type"] == "checkpoints" else c["data"])) for c in chunks
    ]
    assert kinds[1:3] == [("values", Out), ("checkpoints", Model)]


def test_a_subgraphs_state_is_not_made_an_instance_of_another_graphs_class(way, maybe_log) -> None:
    """LangGraph makes it one of the outermost graph's."""
    inner = counted(way, Keys)
    inner.nodes.pop("ask")
    inner.edges.discard(("count", "ask"))

    def call(state):
        return {"y": inner.compile().invoke({"x": 5, "y": []})["y"]}

    async def acall(state):
        return {"y": (await inner.compile().ainvoke({"x": 5, "y": []}))["y"]}

    builder = StateGraph(Model).add_node("call", acall if way.is_async else call).add_edge(START, "call")
    chunks = way.stream(
        builder.compile(maybe_log), {"x": 1}, stream_mode="values", version="v2", subgraphs=True
    )
    assert [chunk["data"] for chunk in chunks] == [
        Model(x=1),
        {"x": 5, "y": []},
        {"x": 6, "y": ["a"]},
        Model(x=1, y=["a"]),
    ]


def test_invoke_returns_output_and_questions_apart(way, log) -> None:
    """``version="v2"``: a ``GraphOutput`` instead of a dict with a key for questions."""
    graph = counted(way, Model).compile(log)
    stopped = way.invoke(graph, {"x": 1}, version="v2")
    (asked,) = graph.get_state(THREAD).interrupts
    assert stopped == GraphOutput(value=Model(x=2, y=["a"]), interrupts=(asked,))
    done = GraphOutput(Model(x=2, y=["a", "!"]))
    assert way.invoke(graph, Command(resume="!"), version="v2") == done
    assert way.invoke(graph, None, version="v2") == done, "nothing left to do"


def test_invoke_with_a_mode_returns_chunks_of_version_2(way, log) -> None:
    """A list of dicts."""
    graph = chain(way.node(leaves("one"))).compile(log)
    assert way.invoke(graph, {"trail": []}, stream_mode="updates", version="v2") == [
        {"type": "updates", "ns": (), "data": {"one": {"trail": ["one"]}}}
    ]


def test_one_output_key_is_a_bare_value_in_both_versions(way, log) -> None:
    """What is no state is no instance of its class."""
    graph = counted(way, Model).compile(log)
    chunks = way.stream(graph, {"x": 1}, stream_mode=["values", "updates"], output_keys="x", version="v2")
    assert [chunk["data"] for chunk in chunks[:3]] == [1, {"count": 2}, 2]
    assert way.invoke(graph, {"x": 1}, output_keys="x", version="v2").value == 2
    narrow = way.invoke(graph, {"x": 1}, output_keys=["x"], version="v2")
    assert narrow.value == Model(x=2), "what is left out has its default"


def test_an_entrypoints_output_is_what_it_returned(way, log) -> None:
    """And nothing while it asks."""

    @entrypoint(log)
    @way.flow
    def workflow(x):
        yield noop()
        return {"a": interrupt("?")}

    @task
    @way.node
    def noop():
        return None

    stopped = way.invoke(workflow, 1, version="v2")
    assert (stopped.value, [asked.value for asked in stopped.interrupts]) == ({}, ["?"])
    assert way.invoke(workflow, Command(resume=2), version="v2") == GraphOutput({"a": 2})


def test_a_subgraph_that_is_called_may_be_asked_for_either_version(way, maybe_log) -> None:
    """Whatever the graph around it was asked for."""
    inner = chain(way.node(leaves("one"))).compile()

    def call(state):
        return {"trail": inner.invoke({"trail": []}, version="v2").value["trail"]}

    async def acall(state):
        return {"trail": (await inner.ainvoke({"trail": []}, version="v2")).value["trail"]}

    builder = StateGraph(Trail).add_node("call", acall if way.is_async else call).add_edge(START, "call")
    assert way.invoke(builder.compile(maybe_log), {"trail": []}) == {"trail": ["one"]}


def test_a_graph_output_can_be_read_like_the_dict_it_was() -> None:
    """As LangGraph lets it, with a warning."""
    asked = Interrupt("?")
    for output in (GraphOutput({"x": 1}, (asked,)), GraphOutput(Model(x=1), (asked,))):
        for read, expected in (
            (lambda: output["x"], 1),  # noqa: B023 - called at once
            (lambda: output["__interrupt__"], (asked,)),  # noqa: B023 - called at once
            (lambda: "__interrupt__" in output, True),  # noqa: B023 - called at once
            (lambda: "z" in output, False),  # noqa: B023 - called at once
        ):
            with pytest.warns(DeprecationWarning, match=r"use result\.value and result\.interrupts"):
                assert read() == expected
        with pytest.warns(DeprecationWarning, match="deprecated"), pytest.raises(KeyError):
            output["z"]


def bold(mode: str, payload: Any, namespace: Any = None) -> str:
    """Return a line as it is printed."""
    place = f"\033[1;30;33m[graph={namespace}]\033[0m " if namespace else ""
    return f"\033[1m[{mode}]\033[0m {place}{payload!r}"


def test_print_mode_shows_events_on_the_terminal(way, maybe_log, capsys) -> None:
    """Whatever is returned or streamed beside it."""
    graph = chain(way.node(leaves("one"))).compile(maybe_log)
    assert way.invoke(graph, {"trail": []}, print_mode="updates") == {"trail": ["one"]}
    assert capsys.readouterr().out.splitlines() == [bold("updates", {"one": {"trail": ["one"]}})]


def test_print_mode_does_not_change_what_is_streamed(way, capsys) -> None:
    """Neither its modes nor its shape."""
    graph = chain(way.node(leaves("one"))).compile()
    chunks = way.stream(graph, {"trail": []}, stream_mode="updates", print_mode=["updates", "values"])
    assert chunks == [{"one": {"trail": ["one"]}}]
    assert capsys.readouterr().out.splitlines() == [
        bold("values", {"trail": []}),
        bold("updates", {"one": {"trail": ["one"]}}),
        bold("values", {"trail": ["one"]}),
    ]


def test_subgraphs_are_printed_with_their_namespace_if_they_are_asked_for(way, capsys) -> None:
    """And not at all otherwise."""
    inner = chain(way.node(leaves("one"))).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile()
    way.invoke(graph, {"trail": []}, print_mode="updates")
    assert len(capsys.readouterr().out.splitlines()) == 1
    (namespace, _), _ = way.stream(graph, {"trail": []}, print_mode="updates", subgraphs=True)
    assert capsys.readouterr().out.splitlines() == [
        bold("updates", {"one": {"trail": ["one"]}}, namespace),
        bold("updates", {"sub": {"trail": ["one"]}}),
    ]


def test_debug_prints_updates_and_values(way, capsys) -> None:
    """``debug=True`` of a call."""
    graph = chain(way.node(leaves("one"))).compile()
    for _ in (way.invoke(graph, {"trail": []}, debug=True), way.stream(graph, {"trail": []}, debug=True)):
        pass
    lines = capsys.readouterr().out.splitlines()
    assert lines == 2 * [
        bold("values", {"trail": []}),
        bold("updates", {"one": {"trail": ["one"]}}),
        bold("values", {"trail": ["one"]}),
    ]


def test_a_graph_may_be_compiled_to_print_unless_a_call_says_otherwise(way, capsys) -> None:
    """``compile(debug=True)``, and ``debug=False`` of a call."""
    graph = chain(way.node(leaves("one"))).compile(debug=True)
    way.invoke(graph, {"trail": []}, debug=False)
    assert capsys.readouterr().out == ""
    way.invoke(graph, {"trail": []})
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stream_mode": ["values", "value"]}, "unknown stream mode 'value'"),
        ({"print_mode": "all"}, "unknown stream mode 'all'"),
        ({"version": "v3"}, "unknown version 'v3'; there are v1, v2"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_recorded(way, log, options, reason) -> None:
    """A mode, a mode to print, a version."""
    graph = chain(way.node(leaves("one"))).compile(log)
    for call in (way.invoke, way.stream):
        with pytest.raises(ValueError, match=reason):
            call(graph, {"trail": []}, **options)
    assert list(log.threads()) == []
