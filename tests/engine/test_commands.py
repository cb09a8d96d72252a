"""Commands and sends: what nodes return to steer, and what users pass to steer (G, N-4 to N-6)."""

from __future__ import annotations

import dataclasses
import operator
from typing import Annotated, Any

import pytest
from helpers import THREAD, Trail, asks, drawn, leaves, on, past

from walgraph import (
    END,
    START,
    Command,
    EmptyInputError,
    InvalidGraph,
    InvalidUpdateError,
    ParentCommand,
    Send,
    StateGraph,
)


def test_a_goto_adds_to_the_edges(way, maybe_log) -> None:
    """G-2: where edges lead, the node leads too."""

    def a(state):
        return Command(update={"trail": ["a"]}, goto=["c", Send("d", "sent")])

    def d(given):
        return {"trail": [f"d {given}"]}

    graph = drawn(way, a, leaves("b"), leaves("c"), d, edges=">a a>b").compile(maybe_log)
    assert way.invoke(graph, {}) == {"trail": ["a", "b", "c", "d sent"]}


def test_a_goto_to_the_end_does_nothing(way) -> None:
    """G-2: edges still lead on."""
    graph = drawn(way, lambda_named("a", Command(goto=END)), leaves("b"), edges=">a a>b").compile()
    assert way.invoke(graph, {}) == {"trail": ["b"]}


def lambda_named(name: str, returned: Any) -> Any:
    """Return a node that returns one and the same thing."""

    def node(state):
        return returned

    node.__name__ = name
    return node


def test_a_list_mixes_updates_and_commands(way, log) -> None:
    """G-1, A-2: each contributes in order."""
    returned = [
        {"trail": ["1"]},
        Command(update=[("trail", ["2"]), ("trail", ["3"])], goto="b"),
        {"trail": ["4"]},
    ]
    graph = drawn(way, lambda_named("a", returned), leaves("b"), edges=">a").compile(log)
    updates = way.stream(graph, {})
    assert updates == [
        {"a": [{"trail": ["1"]}, {"trail": ["2"]}, {"trail": ["3"]}, {"trail": ["4"]}]},
        {"b": {"trail": ["b"]}},
    ]
    assert graph.get_state(THREAD).values == {"trail": ["1", "2", "3", "4", "b"]}


@dataclasses.dataclass
class Kept:
    """A state that is a class."""

    trail: Annotated[list[str], operator.add] = dataclasses.field(default_factory=list)
    x: int = 0


def test_a_command_updates_with_an_instance(way, log) -> None:
    """G-1: of an annotated class."""
    returned = Command(update=Kept(["a"], 3))
    graph = drawn(way, lambda_named("a", returned), edges=">a", state=Kept).compile(log)
    assert way.invoke(graph, {}) == {"trail": ["a"], "x": 3}


@pytest.mark.parametrize(
    "returned", [5, [1, 2], "text", [], [{"x": 1}], [("x", 1)], [Send("a", {})], Command(update=[1, 2])]
)
def test_what_is_no_update_is_refused(way, maybe_log, returned) -> None:
    """§3.3: Expected dict."""
    graph = drawn(way, lambda_named("a", returned), edges=">a").compile(maybe_log)
    with pytest.raises(InvalidUpdateError) as caught:
        way.invoke(graph, {})
    given = returned.update if isinstance(returned, Command) else returned
    assert caught.value.message == f"Expected dict, got {given}"


def test_a_node_may_return_a_send(way, maybe_log) -> None:
    """G-1: it goes there, and the node's edges fire too."""
    graph = drawn(way, lambda_named("a", Send("b", {})), leaves("b"), leaves("c"), edges=">a a>c")
    assert way.invoke(graph.compile(maybe_log), {}) == {"trail": ["c", "b"]}


@pytest.mark.parametrize(
    "returned",
    [
        Command(update=(("trail", ["1"]), ("trail", ["2"]))),
        (Command(update={"trail": ["1"]}), {"trail": ["2"]}),
        [Command(update={"trail": ["1"]}), None, Command(), Command(update=[("trail", ["2"])])],
        [Command(update={"trail": ["1"]}), Command(update=[]), {"trail": ["2"], "unknown": 0}],
    ],
    ids=repr,
)
def test_commands_come_in_many_forms(way, maybe_log, returned) -> None:
    """G-1: pairs in tuples, tuples of commands, None and empty commands among them."""
    graph = drawn(way, lambda_named("a", returned), edges=">a").compile(maybe_log)
    assert way.invoke(graph, {}) == {"trail": ["1", "2"]}


def test_unknown_keys_of_an_update_are_left_out(way) -> None:
    """§3.3: as in LangGraph, of a node's return and of the input."""
    graph = drawn(way, lambda_named("a", {"x": 1, "nonsense": 2}), edges=">a").compile()
    assert way.invoke(graph, {"neither": 0}) == {"trail": [], "x": 1}


def test_a_node_can_go_to_itself(way) -> None:
    """G-2: a goto may form a loop that no edge draws."""

    def a(state):
        return Command(update={"trail": ["a"]}, goto="a" if len(state["trail"]) < 2 else END)

    assert way.invoke(drawn(way, a, edges=">a").compile(), {}) == {"trail": ["a"] * 3}


@pytest.mark.parametrize(
    ("goto", "error", "message"),
    [
        ("nowhere", InvalidGraph, "goes to 'nowhere', but graph 'LangGraph' has no node of that name"),
        (Send("nowhere", 1), InvalidGraph, "goes to 'nowhere'"),
        (START, InvalidGraph, "goes to '__start__'"),
        (Send(END, 1), InvalidUpdateError, "Cannot send a packet to the END node"),
        (5, TypeError, "In Command.goto, expected Send/str, got int"),
    ],
)
def test_a_goto_that_leads_nowhere_is_an_error(way, maybe_log, goto, error, message) -> None:
    """P-12, G-6, §3.3: where the routing happens, and the node's task has failed."""
    graph = drawn(way, lambda_named("a", Command(goto=goto)), edges=">a").compile(maybe_log)
    with pytest.raises(error, match=message):
        way.invoke(graph, {})
    if maybe_log is not None:
        assert graph.get_state(THREAD).next == ("a",)


def test_a_command_for_a_parent_escapes_where_there_is_none(way, maybe_log) -> None:
    """G-3, §3.3: the caller gets it."""
    graph = drawn(way, lambda_named("a", Command(graph=Command.PARENT, goto="b")), edges=">a")
    with pytest.raises(ParentCommand):
        way.invoke(graph.compile(maybe_log), {})


def nested(way, command, log=None):
    """Return a graph whose node ``sub`` is a graph whose only node returns ``command``."""
    sub = drawn(way, lambda_named("inner", command), edges=">inner").compile(name="sub graph")
    builder = drawn(way, leaves("b"), leaves("c"), edges="").add_node("sub", sub)
    return builder.add_edge(START, "sub").add_edge("sub", "b").compile(log, name="outer")


@pytest.mark.parametrize("graph", [Command.PARENT, "outer"])
def test_a_subgraph_steers_its_parent(way, maybe_log, graph) -> None:
    """G-3, G-4: update and goto are the parent's, whose own edges from the subgraph's node still fire."""
    command = Command(graph=graph, update={"trail": ["from below"]}, goto="c")
    assert way.invoke(nested(way, command, maybe_log), {}) == {"trail": ["from below", "b", "c"]}


def test_a_goto_as_input_joins_what_is_pending(way, log) -> None:
    """N-4: nothing pending is cancelled."""
    graph = drawn(way, *map(leaves, ["a", "b", "c"]), edges=">a a>b b>c").compile(log, interrupt_before=["b"])
    way.invoke(graph, {})
    assert way.invoke(graph, Command(goto="c", update={"x": 7})) == {"trail": ["a", "b", "c", "c"], "x": 7}


def test_what_a_command_made_due_on_a_finished_thread_stays(way, log, durability) -> None:
    """N-4: it is shown where it waits, an edit keeps what the command wrote, and a resume runs it."""
    graph = drawn(way, leaves("a"), asks("b", "b?"), edges=">a").compile(log)
    way.invoke(graph, {}, durability=durability)
    way.invoke(graph, Command(goto="b", update={"trail": ["c"]}), durability=durability)
    waiting = graph.get_state(THREAD)
    assert (waiting.next, [item.value for item in waiting.interrupts]) == (("b",), ["b?"])
    assert way.invoke(graph, Command(resume="A"), durability=durability) == {"trail": ["a", "c", "A"]}
    way.invoke(graph, Command(update={"trail": ["d"]}), durability=durability)
    graph.update_state(THREAD, {"trail": ["e"]}, as_node="a")
    assert graph.get_state(THREAD).values["trail"] == ["a", "c", "A", "d", "e"]


def test_an_update_as_input_is_seen_by_what_is_pending(way, log) -> None:
    """N-4: it is written before the pending node runs, and is not an input."""

    def b(state):
        return {"trail": [f"b saw {state['x']}"]}

    graph = drawn(way, leaves("a"), b, edges=">a a>b").compile(log, interrupt_before=["b"])
    way.invoke(graph, {"x": 1})
    assert way.invoke(graph, Command(update={"x": 2}))["trail"] == ["a", "b saw 2"]


def test_a_command_on_a_fresh_thread_applies_once(way, log) -> None:
    """N-5: LangGraph applies the update twice; only the goto's nodes run."""
    graph = drawn(way, *map(leaves, ["a", "b"]), edges=">a").compile(log)
    assert way.invoke(graph, Command(update={"trail": ["u"]}, goto="b")) == {"trail": ["u", "b"]}
    assert past(graph) == [("update", 0, ("b",)), ("loop", 1, ())]


def test_an_empty_command_is_refused(way, log) -> None:
    """N-6, §3.2: LangGraph stumbles over a variable of its own; nothing is recorded."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    with pytest.raises(EmptyInputError, match="Received empty Command input"):
        way.invoke(graph, Command())
    assert log.head("t") is None


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        (Command(graph=Command.PARENT, goto="a"), InvalidUpdateError, "There is no parent graph"),
        (Command(goto=5), TypeError, "In Command.goto, expected Send/str, got int"),
        (Command(goto="nowhere"), InvalidGraph, "goes to 'nowhere'"),
        (Command(update=5), InvalidUpdateError, "Expected dict, got 5"),
    ],
)
def test_a_command_that_cannot_be_obeyed_leaves_no_trace(way, log, command, error, message) -> None:
    """G-4, §3.2."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    with pytest.raises(error, match=message):
        way.invoke(graph, command)
    assert log.head("t") is None
    assert graph.get_state(THREAD).values == {}


@pytest.mark.parametrize("given", [5, "text", ["a"]])
def test_an_input_that_is_no_state_is_refused(way, maybe_log, given) -> None:
    """N-3."""
    graph = drawn(way, leaves("a"), edges=">a").compile(maybe_log)
    with pytest.raises(InvalidUpdateError, match="Expected dict, got"):
        way.invoke(graph, given)


def test_a_new_input_on_a_finished_thread_goes_on_with_its_state(way, log, durability) -> None:
    """N-1: the keys stay, the run begins at START."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    way.invoke(graph, {"trail": ["one"], "x": 1}, durability=durability)
    assert way.invoke(graph, {"trail": ["two"]}, durability=durability) == {
        "trail": ["one", "a", "two", "a"],
        "x": 1,
    }
    if durability != "exit":
        assert [(source, step) for source, step, _ in past(graph)] == [
            ("input", -1), ("loop", 0), ("loop", 1), ("input", 2), ("loop", 3), ("loop", 4),
        ]  # fmt: skip


def test_a_new_input_gives_up_an_unfinished_step(way, log) -> None:
    """N-2: finished siblings of the step are given up too, and run again."""
    ran: list[str] = []

    def bad(state):
        if state["x"] == "bad":
            raise ValueError(state["x"])

    def ok(state):
        ran.append("ok")
        return {"trail": ["ok"]}

    graph = drawn(way, bad, ok, leaves("j"), edges=">bad,ok bad+ok>j").compile(log)
    with pytest.raises(ValueError, match="bad"):
        way.invoke(graph, {"trail": ["in"], "x": "bad"})
    assert graph.get_state(THREAD).values["trail"][0] == "in"
    assert way.invoke(graph, {"trail": ["new"], "x": "good"})["trail"] == ["in", "new", "ok", "j"]
    assert ran == ["ok", "ok"]


def test_an_empty_input_starts_a_run(way, log) -> None:
    """N-3: ``{}`` is an input, None is none."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    assert way.invoke(graph, {}) == {"trail": ["a"]}
    assert way.invoke(graph, None) == {"trail": ["a"]}
    assert way.invoke(graph, {}) == {"trail": ["a", "a"]}


def test_a_send_from_start_needs_no_node_before_it(way, log) -> None:
    """G-5: the input itself can be spread."""

    def w(given):
        return {"trail": [given]}

    builder = StateGraph(Trail).add_node("w", way.node(w))
    builder.set_conditional_entry_point(lambda state: [Send("w", name) for name in state["x"]])
    assert way.invoke(builder.compile(log), {"x": "cab"}, on("s"))["trail"] == ["c", "a", "b"]


def test_sends_run_together_with_the_nodes_of_their_step(way, log) -> None:
    """G-5: one step, one checkpoint."""

    def w(given):
        return {"trail": [f"w{given}"]}

    builder = drawn(way, leaves("a"), leaves("b"), w, edges=">a a>b")
    builder.add_conditional_edges("a", lambda _: [Send("w", 0), Send("w", 1)])
    graph = builder.compile(log)
    way.invoke(graph, {})
    assert past(graph)[-2] == ("loop", 1, ("w", "w", "b"))
