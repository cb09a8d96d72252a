"""Every way to draw a graph wrong, and what is said of it (§3.1, §3.2)."""

from __future__ import annotations

import functools
from typing import Annotated, TypedDict

import pytest
from helpers import THREAD, Trail, drawn, leaves

from walgraph import (
    END,
    START,
    Command,
    InvalidGraph,
    IsLastStep,
    OutsideOfRun,
    Send,
    StateGraph,
    get_config,
    get_runtime,
    get_store,
    get_stream_writer,
)


class Door(TypedDict):
    """A schema of what comes in or goes out, with a managed value."""

    is_last: IsLastStep


class Odd(TypedDict):
    """A schema with a reducer of one parameter."""

    x: Annotated[list, lambda a: a]


def graph():
    """Return a builder with a node ``n``."""
    return StateGraph(Trail).add_node("n", leaves("n"))


def whole():
    """Return a builder that compiles."""
    return graph().add_edge(START, "n")


WRONG = {
    "no entry": (
        lambda: graph().compile(),
        "Graph must have an entrypoint: add at least one edge from START",
    ),
    "unknown end": (
        lambda: graph().add_edge(START, "zz").compile(),
        "Found edge ending at unknown node `zz`",
    ),
    "unknown start": (
        lambda: whole().add_edge("zz", "n").compile(),
        "Found edge starting at unknown node 'zz'",
    ),
    "join member": (lambda: graph().add_edge(["n", "q"], "n"), "Need to add_node `q` first"),
    "join end": (lambda: graph().add_edge(["n"], "q"), "Need to add_node `q` first"),
    "from end": (lambda: graph().add_edge(END, "n"), "END cannot be a start node"),
    "join from end": (lambda: graph().add_edge(["n", END], "n"), "END cannot be a start node"),
    "to start": (lambda: graph().add_edge("n", START), "START cannot be an end node"),
    "join to start": (lambda: graph().add_edge(["n"], START), "START cannot be an end node"),
    "twice": (lambda: graph().add_node("n", leaves("n")), "Node `n` already present"),
    "reserved start": (lambda: graph().add_node(START, leaves("n")), "Node `__start__` is reserved"),
    "reserved end": (lambda: graph().add_node(END, leaves("n")), "Node `__end__` is reserved"),
    "colon": (lambda: graph().add_node("a:b", leaves("n")), "':' is a reserved character"),
    "bar": (lambda: graph().add_node("a|b", leaves("n")), r"'\|' is a reserved character"),
    "no action": (lambda: graph().add_node("m"), "node 'm' has no action"),
    "no callable": (lambda: graph().add_node("m", 5), "Expected a Runnable, callable or dict"),
    "no name": (lambda: graph().add_node(5), "Node name must be provided if action is not a function"),
    "empty sequence": (lambda: graph().add_sequence([]), "Sequence requires at least one node"),
    "sequence twice": (
        lambda: graph().add_sequence([("x", leaves("x")), ("x", leaves("x"))]),
        "Node names must be unique: node with the name 'x' already exists",
    ),
    "branch twice": (
        lambda: graph().add_conditional_edges("n", lambda _: END).add_conditional_edges("n", lambda _: END),
        "Branch with name `condition` already exists for node `n`",
    ),
    "branch target": (
        lambda: whole().add_conditional_edges("n", lambda _: "q", ["q"]).compile(),
        "At 'n' node, 'condition' branch found unknown target 'q'",
    ),
    "branch source": (
        lambda: whole().add_conditional_edges("zz", lambda _: "n").compile(),
        "Found edge starting at unknown node 'zz'",
    ),
    "breakpoint": (lambda: whole().compile(interrupt_before=["zz"]), "Interrupt node `zz` not found"),
    "breakpoint beside a star": (
        lambda: whole().compile(interrupt_before=["zz"], interrupt_after="*"),
        "Interrupt node `zz` not found",
    ),
    "validate": (lambda: whole().validate(["zz"]), "Interrupt node `zz` not found"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_drawing_is_refused_in_known_words(wrong) -> None:
    """§3.1: an InvalidGraph, which is a ValueError, with LangGraph's message."""
    draw, message = WRONG[wrong]
    with pytest.raises(InvalidGraph, match=message) as caught:
        draw()
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "WAL-E200"


def test_a_managed_value_is_for_nodes_only() -> None:
    """§3.1: not for what comes in or goes out."""
    for option in ("input_schema", "output_schema"):
        with pytest.raises(InvalidGraph, match="Invalid managed channels detected in Door: is_last"):
            StateGraph(Trail, **{option: Door})


def test_a_reducer_takes_two() -> None:
    """§3.1."""
    with pytest.raises(InvalidGraph, match=r"Invalid reducer signature. Expected \(a, b\) -> c. Got \(a\)"):
        StateGraph(Odd)


@pytest.mark.parametrize("given", ["a path", object(), 5])
def test_a_checkpointer_is_a_log(given) -> None:
    """§3.1: a TypeError that says what it got, and how to make one."""
    expected = f"Invalid checkpointer provided.*Received {type(given).__name__}.*Log.open"
    with pytest.raises(TypeError, match=expected):
        whole().compile(given)


def test_a_root_graph_has_a_log_of_its_own(way) -> None:
    """§3.2, SG-1: True is for subgraphs."""
    with pytest.raises(RuntimeError, match="checkpointer=True cannot be used for root graphs"):
        way.invoke(whole().compile(checkpointer=True), {})


def test_an_unknown_stream_mode_is_refused(way, log) -> None:
    """§3.4, mended: LangGraph streams nothing."""
    with pytest.raises(ValueError, match="unknown stream mode 'zzz'; there are"):
        way.stream(whole().compile(log), {}, stream_mode=["values", "zzz"])
    assert log.head("t") is None


@pytest.mark.parametrize("function", [get_config, get_runtime, get_store, get_stream_writer])
def test_what_needs_a_run_says_so(function) -> None:
    """§3.2: a RuntimeError, named after what was called."""
    with pytest.raises(OutsideOfRun, match=function.__name__) as caught:
        function()
    assert isinstance(caught.value, RuntimeError)


def test_names_are_taken_from_what_is_called() -> None:
    """§1.1: function, callable object, partial, runnable: as LangGraph calls them, since edges name them."""

    def plain(state):
        return None

    class Worker:
        name = "an attribute like any other"

        def __call__(self, state):
            return None

        def work(self, state):
            return None

    builder = StateGraph(Trail).add_node(plain).add_node(Worker())
    builder = builder.add_sequence([functools.partial(leaves("part")), Worker().work])
    builder.add_node(whole().compile(name="mine")).add_node(lambda _: {})
    assert list(builder.nodes) == ["plain", "Worker", "partial", "work", "mine", "<lambda>"]


def test_routers_have_names_of_their_own(way) -> None:
    """§1.1: two functions make two branches of one node, and both are followed."""

    def first(state):
        return "b"

    def second(state):
        return ["c", Send("d", state)]

    builder = drawn(way, *map(leaves, "abcd"), edges=">a")
    builder.add_conditional_edges("a", way.node(first)).add_conditional_edges("a", way.node(second))
    assert way.invoke(builder.compile(), {}) == {"trail": ["a", "b", "c", "d"]}


def test_a_path_map_may_be_a_list_or_a_dict(way) -> None:
    """§1.1: any hashable stands for a node."""
    builder = drawn(way, *map(leaves, "abc"), edges=">a")
    builder.add_conditional_edges("a", lambda _: [True, "c"], {True: "b", "c": "c"})
    assert way.invoke(builder.compile(), {}) == {"trail": ["a", "b", "c"]}


def test_entry_and_finish_points_are_edges(way) -> None:
    """§1.1: sugar."""
    builder = StateGraph(Trail).add_node("a", way.node(leaves("a")))
    builder.set_entry_point("a").set_finish_point("a")
    assert builder.edges == {(START, "a"), ("a", END)}
    assert way.invoke(builder.compile(), {}) == {"trail": ["a"]}


def test_unreachable_nodes_and_dead_ends_are_allowed(way) -> None:
    """§3.1: what LangGraph does not refuse, we do not."""
    graph = drawn(way, leaves("a"), leaves("island"), edges=">a").compile()
    assert way.invoke(graph, {}) == {"trail": ["a"]}


def test_a_graph_can_be_compiled_twice(way, log) -> None:
    """§1.1: with other settings each time."""
    builder = drawn(way, leaves("a"), leaves("b"), edges=">a a>b")
    stopping, running = builder.compile(log, interrupt_after=["a"]), builder.compile(log)
    assert way.invoke(stopping, {}) == {"trail": ["a"]}
    assert way.invoke(running, None, THREAD) == {"trail": ["a", "b"]}


def test_an_error_says_what_to_do_next() -> None:
    """A.4: the code first, the way out last; and the same as data."""
    with pytest.raises(InvalidGraph) as caught:
        graph().add_node("m")
    text = str(caught.value)
    assert text.startswith("WAL-E200: ")
    assert "\n  help: " in text
    assert caught.value.to_dict()["code"] == "WAL-E200"


def test_a_command_shows_only_what_was_given() -> None:
    """§1.4: None is a legal answer, so it is shown when it is one."""
    assert repr(Command(resume=None)) == "Command(resume=None)"
    assert repr(Command(update={"x": 1}, goto="a")) == "Command(update={'x': 1}, goto='a')"
    assert repr(Command()) == "Command()"


def test_sends_are_equal_by_what_they_say() -> None:
    """§1.4: and hash so, where the argument can."""
    assert Send("a", 1) == Send("a", 1)
    assert len({Send("a", 1), Send("a", 1), Send("a", 2)}) == 2
