"""What streams show: the shapes, the order, and whose events."""

from __future__ import annotations

import re

import pytest
from helpers import THREAD, Trail, chain, silent, tells

from walgraph import (
    START,
    Command,
    Interrupt,
    Send,
    StateGraph,
    entrypoint,
    get_stream_writer,
    interrupt,
    task,
)

ALL = ["values", "updates", "custom"]


def named(namespace):
    """Return a namespace without the ids of its tasks."""
    return tuple(re.sub(r":[0-9a-f-]{36}", "", level) for level in namespace)


@pytest.fixture
def graph(way, maybe_log):
    """A graph of two nodes that write something, and one that does not."""
    nodes = [tells("one"), tells("two", {"x": 2}), tells("three", {})]
    return chain(*(way.node(node) for node in nodes)).compile(maybe_log)


def test_values_shows_the_whole_after_the_input_and_each_change(way, graph) -> None:
    """A step that changes nothing shows nothing."""
    assert way.stream(graph, {"trail": ["in"]}, stream_mode="values") == [
        {"trail": ["in"]},
        {"trail": ["in", "one"]},
        {"trail": ["in", "one"], "x": 2},
    ]


def test_updates_shows_what_each_node_wrote(way, graph) -> None:
    """None for a node that wrote nothing; it is the default mode."""
    expected = [{"one": {"trail": ["one"]}}, {"two": {"x": 2}}, {"three": None}]
    assert way.stream(graph, {"trail": []}) == expected
    assert way.stream(graph, {"trail": []}, stream_mode="updates") == expected


def test_custom_shows_what_user_code_wrote(way, graph) -> None:
    """And nothing else."""
    assert way.stream(graph, {"trail": []}, stream_mode="custom") == ["one runs", "two runs", "three runs"]


def test_a_list_of_modes_tags_each_chunk_with_its_mode(way, graph) -> None:
    """In the order in which things happen: code runs, its update is recorded, the step is closed."""
    assert way.stream(graph, {"trail": []}, stream_mode=ALL) == [
        ("values", {"trail": []}),
        ("custom", "one runs"),
        ("updates", {"one": {"trail": ["one"]}}),
        ("values", {"trail": ["one"]}),
        ("custom", "two runs"),
        ("updates", {"two": {"x": 2}}),
        ("values", {"trail": ["one"], "x": 2}),
        ("custom", "three runs"),
        ("updates", {"three": None}),
    ]


def test_a_list_of_one_mode_tags_as_well(way, graph) -> None:
    """The shape depends on what was asked for, not on how many there are."""
    assert way.stream(graph, {"trail": []}, stream_mode=["custom"])[0] == ("custom", "one runs")


def test_invoke_with_a_mode_returns_all_that_would_be_streamed(way, graph) -> None:
    """A list of payloads, or of pairs."""
    assert way.invoke(graph, {"trail": []}, stream_mode="updates") == way.stream(graph, {"trail": []})
    found = way.invoke(graph, {"trail": []}, stream_mode=["custom", "updates"])
    assert found[:2] == [("custom", "one runs"), ("updates", {"one": {"trail": ["one"]}})]


def test_an_unknown_mode_is_refused(way, graph) -> None:
    """LangGraph streams nothing then; here the error names the modes that there are."""
    with pytest.raises(ValueError, match="unknown stream mode 'valeus'"):
        way.stream(graph, {"trail": []}, stream_mode="valeus")


def test_several_updates_of_one_node_are_a_list(way, maybe_log) -> None:
    """One dict per write if a key was written twice, as LangGraph shows it."""

    def twice(state):
        return [Command(update={"trail": ["a"]}), {"trail": ["b"], "x": 1}]

    def apart(state):
        return [Command(update={"trail": ["c"]}), {"x": 2}]

    graph = chain(way.node(twice), way.node(apart)).compile(maybe_log)
    assert way.stream(graph, {"trail": []}) == [
        {"twice": [{"trail": ["a"]}, {"trail": ["b"]}, {"x": 1}]},
        {"apart": {"trail": ["c"], "x": 2}},
    ]


def test_each_send_shows_its_own_update(way, maybe_log) -> None:
    """One chunk per task, under the node's name; one value per step."""

    def each(state):
        return {"trail": [state["n"]]}

    builder = StateGraph(Trail).add_node("each", way.node(each))
    builder.add_conditional_edges(START, lambda _: [Send("each", {"n": n}) for n in "abc"], ["each"])
    graph = builder.compile(maybe_log)
    chunks = way.stream(graph, {"trail": []}, stream_mode=["values", "updates"])
    assert chunks[0] == ("values", {"trail": []})
    assert sorted(chunk["each"]["trail"][0] for mode, chunk in chunks if mode == "updates") == ["a", "b", "c"]
    assert chunks[-1] == ("values", {"trail": ["a", "b", "c"]})
    assert len(chunks) == 5


def test_a_question_is_shown_in_updates_and_values(way, log) -> None:
    """As a tuple under ``__interrupt__``; the values come last, with what the step's other tasks finished (I-18)."""

    def ask(state):
        return {"trail": [interrupt("?")]}

    builder = StateGraph(Trail).add_node("ask", way.node(ask)).add_node("other", way.node(silent("other")))
    graph = builder.add_edge(START, "ask").add_edge(START, "other").compile(log)
    chunks = way.stream(graph, {"trail": []}, stream_mode=["values", "updates"])
    (asked,) = graph.get_state(THREAD).interrupts
    assert isinstance(asked, Interrupt)
    chunks.remove(("updates", {"other": {"trail": ["other"]}}))  # It may end before and after the other.
    assert chunks == [
        ("values", {"trail": []}),
        ("updates", {"__interrupt__": (asked,)}),
        ("values", {"trail": [], "__interrupt__": (asked,)}),
        ("values", {"trail": ["other"]}),
    ]


def test_a_resume_shows_the_present_values_first(way, log) -> None:
    """Then what was recorded of the step before, marked as such, then what is new (R-3)."""

    def ask(state):
        return {"trail": [interrupt("?")]}

    builder = StateGraph(Trail).add_node("ask", way.node(ask)).add_node("other", way.node(silent("other")))
    graph = builder.add_edge(START, "ask").add_edge(START, "other").compile(log)
    way.invoke(graph, {"trail": []})
    assert way.stream(graph, Command(resume="!"), stream_mode=["values", "updates"]) == [
        ("values", {"trail": []}),
        ("updates", {"other": {"trail": ["other"]}, "__metadata__": {"cached": True}}),
        ("updates", {"ask": {"trail": ["!"]}}),
        ("values", {"trail": ["!", "other"]}),
    ]


def test_a_resume_of_what_has_ended_shows_the_values(way, log) -> None:
    """There is nothing to run, and no update."""
    graph = chain(way.node(silent("one"))).compile(log)
    way.invoke(graph, {"trail": []})
    assert way.stream(graph, None, stream_mode=["values", "updates"]) == [("values", {"trail": ["one"]})]


def test_a_breakpoint_is_shown_as_an_interrupt_without_questions(way, log) -> None:
    """In updates only."""
    graph = chain(way.node(silent("one")), way.node(silent("two"))).compile(log, interrupt_before=["two"])
    assert way.stream(graph, {"trail": []}, stream_mode=["values", "updates"]) == [
        ("values", {"trail": []}),
        ("updates", {"one": {"trail": ["one"]}}),
        ("values", {"trail": ["one"]}),
        ("updates", {"__interrupt__": ()}),
    ]
    assert way.stream(graph, None, stream_mode=["values", "updates"])[:2] == [
        ("values", {"trail": ["one"]}),
        ("updates", {"two": {"trail": ["two"]}}),
    ]


def in_parent(way, log, inner):
    """Return a graph that runs another between two nodes of its own."""
    builder = chain(way.node(tells("before"))).add_node("sub", inner).add_edge("before", "sub")
    return builder.compile(log)


def test_subgraphs_are_silent_unless_they_are_asked_for(way, maybe_log) -> None:
    """Neither their updates nor their values, nor what their code writes, as in LangGraph."""
    graph = in_parent(way, maybe_log, chain(way.node(tells("one"))).compile())
    assert way.stream(graph, {"trail": []}, stream_mode=ALL) == [
        ("values", {"trail": []}),
        ("custom", "before runs"),
        ("updates", {"before": {"trail": ["before"]}}),
        ("values", {"trail": ["before"]}),
        ("updates", {"sub": {"trail": ["before", "one"]}}),
        ("values", {"trail": ["before", "before", "one"]}),
    ]


def test_subgraphs_show_their_events_under_their_namespace(way, maybe_log) -> None:
    """The namespace is a tuple of ``node:task``, empty for the root, and comes first in each chunk."""
    graph = in_parent(way, maybe_log, chain(way.node(tells("one"))).compile())
    chunks = way.stream(graph, {"trail": []}, stream_mode=ALL, subgraphs=True)
    assert [(named(namespace), mode, payload) for namespace, mode, payload in chunks] == [
        ((), "values", {"trail": []}),
        ((), "custom", "before runs"),
        ((), "updates", {"before": {"trail": ["before"]}}),
        ((), "values", {"trail": ["before"]}),
        (("sub",), "values", {"trail": ["before"]}),
        (("sub",), "custom", "one runs"),
        (("sub",), "updates", {"one": {"trail": ["one"]}}),
        (("sub",), "values", {"trail": ["before", "one"]}),
        ((), "updates", {"sub": {"trail": ["before", "one"]}}),
        ((), "values", {"trail": ["before", "before", "one"]}),
    ]
    assert way.stream(graph, {"trail": []}, subgraphs=True)[0] == ((), {"before": {"trail": ["before"]}})


def test_a_namespace_is_where_the_subgraphs_state_can_be_read(way, log) -> None:
    """The parts of a chunk's namespace, joined, address it."""

    def ask(state):
        interrupt("?")

    graph = in_parent(way, log, chain(way.node(silent("one")), way.node(ask)).compile())
    chunks = way.stream(graph, {"trail": []}, subgraphs=True)
    (inside,) = {namespace for namespace, _ in chunks if namespace}
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": "|".join(inside)}}
    assert graph.get_state(config).next == ("ask",)


def test_a_question_inside_is_shown_at_each_level(way, log) -> None:
    """First where it was asked, then above."""

    def ask(state):
        interrupt("?")

    graph = in_parent(way, log, chain(way.node(ask)).compile())
    chunks = way.stream(graph, {"trail": []}, subgraphs=True)
    shown = [named(namespace) for namespace, payload in chunks if "__interrupt__" in payload]
    assert shown == [("sub",), ()]


def test_three_levels_have_namespaces_of_two_parts(way, maybe_log) -> None:
    """One part for each level below the root."""
    leaf = chain(way.node(tells("deep"))).compile()
    middle = StateGraph(Trail).add_node("leaf", leaf).add_edge(START, "leaf").compile()
    chunks = way.stream(
        in_parent(way, maybe_log, middle), {"trail": []}, stream_mode="custom", subgraphs=True
    )
    assert [(named(namespace), payload) for namespace, payload in chunks] == [
        ((), "before runs"),
        (("sub", "leaf"), "deep runs"),
    ]


def test_a_graph_streamed_in_a_node_is_that_nodes_own_affair(way, maybe_log) -> None:
    """Its consumer is the node; the outer stream sees it only with ``subgraphs``."""
    inner = chain(way.node(tells("one"))).compile()

    def consume(state):
        return {"trail": list(inner.stream({"trail": []}, stream_mode="custom"))}

    async def aconsume(state):
        return {"trail": [chunk async for chunk in inner.astream({"trail": []}, stream_mode="custom")]}

    graph = StateGraph(Trail).add_node("sub", aconsume if way.is_async else consume).add_edge(START, "sub")
    chunks = way.stream(graph.compile(maybe_log), {"trail": []}, stream_mode=["updates", "custom"])
    assert chunks == [("updates", {"sub": {"trail": ["one runs"]}})]


def test_tasks_show_what_they_returned_and_wrote(way, maybe_log) -> None:
    """``{name: value}`` in updates, then the entrypoint's; ``values`` only at the end (ST-1)."""

    @task
    @way.node
    def double(x):
        get_stream_writer()(f"double {x}")
        return 2 * x

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        get_stream_writer()("workflow")
        return (yield double(x)) + (yield double(x + 1))

    assert way.stream(workflow, 1, stream_mode=ALL) == [
        ("custom", "workflow"),
        ("custom", "double 1"),
        ("updates", {"double": 2}),
        ("custom", "double 2"),
        ("updates", {"double": 4}),
        ("updates", {"workflow": 6}),
        ("values", 6),
    ]
    assert way.stream(workflow, 1) == [{"double": 2}, {"double": 4}, {"workflow": 6}]
    assert way.stream(workflow, 1, stream_mode="values") == [6]


def test_a_task_found_recorded_is_not_shown_again(way, log) -> None:
    """Its update was shown when it was made."""

    @task
    @way.node
    def double(x):
        return 2 * x

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return [(yield double(x)), interrupt("?")]

    first = way.stream(workflow, 1)
    assert [list(chunk) for chunk in first] == [["double"], ["__interrupt__"]]
    assert way.stream(workflow, Command(resume="!")) == [{"workflow": [2, "!"]}]


def test_a_writer_is_a_no_op_when_nobody_watches(way, graph) -> None:
    """Nodes may write without knowing whether there is a stream."""
    assert way.invoke(graph, {"trail": []}) == {"trail": ["one"], "x": 2}
    assert way.stream(graph, {"trail": []}, stream_mode="updates")[0] == {"one": {"trail": ["one"]}}


def test_output_keys_narrow_what_is_shown(way, log) -> None:
    """In values and updates alike."""
    graph = chain(way.node(silent("one")), way.node(silent("two", {"x": 2}))).compile(log)
    chunks = way.stream(graph, {"trail": []}, stream_mode=["values", "updates"], output_keys=["x"])
    assert chunks == [("updates", {"one": None}), ("updates", {"two": {"x": 2}}), ("values", {"x": 2})]
