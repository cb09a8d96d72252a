"""``update_state``: changing a thread from outside, as if a node had returned the values (U of the map)."""

from __future__ import annotations

import dataclasses

import pytest
from helpers import THREAD, asks, drawn, leaves, on, past

from walgraph import (
    END,
    START,
    CheckpointNotFound,
    Command,
    InvalidUpdateError,
    NotSerializable,
    Send,
    StateGraph,
    ThreadBusy,
)


def abc(way, log, **options):
    """Return a compiled chain of three."""
    return drawn(way, *map(leaves, "abc"), edges=">a a>b b>c").compile(log, **options)


def test_an_edit_is_a_step_of_its_own(way, log) -> None:
    """U-1, U-9: source, step and parent; the returned config addresses it."""
    graph = abc(way, log, interrupt_before=["b"])
    way.invoke(graph, {})
    before = graph.get_state(THREAD)
    config = graph.update_state(THREAD, {"trail": ["u"]})
    after = graph.get_state(THREAD)
    assert after.values == {"trail": ["a", "u"]}
    assert after.next == ("b",)
    assert (after.metadata["source"], after.metadata["step"]) == ("update", before.metadata["step"] + 1)
    assert after.parent_config == before.config
    assert after.config == config
    assert way.invoke(graph, None, config) == {"trail": ["a", "u", "b", "c"]}


def test_an_edit_follows_the_edges_of_its_node(way, log) -> None:
    """U-1: the nodes are not run."""
    graph = abc(way, log)
    graph.update_state(THREAD, {"x": 1}, as_node="b")
    assert graph.get_state(THREAD).next == ("c",)
    assert way.invoke(graph, None) == {"trail": ["c"], "x": 1}


@pytest.mark.parametrize("is_fresh", [True, False])
def test_an_edit_asks_the_routers_of_its_node(way, log, is_fresh) -> None:
    """U-1: with the values of the edit; on a fresh thread they once were not asked, and nothing was due."""
    builder = drawn(way, *map(leaves, "abc"), edges=">a")
    builder.add_conditional_edges("a", lambda state: [state["x"], Send("c", state)])
    graph = builder.compile(log)
    if not is_fresh:
        graph.update_state(THREAD, {"x": "c"}, as_node="a")
    graph.update_state(THREAD, {"x": "b"}, as_node="a")
    assert graph.get_state(THREAD).next == ("c", "b")


def test_a_first_edit_is_step_zero(log, way) -> None:
    """U-1: as in LangGraph; it once was step minus one."""
    graph = abc(way, log)
    graph.update_state(THREAD, {"x": 1})
    assert past(graph) == [("update", 0, ("a",))]
    assert graph.get_state(THREAD).parent_config is None
    assert way.invoke(graph, None)["trail"] == ["a", "b", "c"]


def test_an_edit_may_be_a_command(way, log) -> None:
    """U-1: as a node might have returned it."""
    graph = abc(way, log)
    graph.update_state(THREAD, Command(update={"x": 1}, goto="a"), as_node="c")
    assert graph.get_state(THREAD).next == ("a",)
    assert graph.get_state(THREAD).values["x"] == 1


def test_the_node_that_ran_last_is_meant_when_none_is_named(way, log) -> None:
    """U-2: and the only node of a graph, before anything ran."""
    graph = abc(way, log, interrupt_before=["c"])
    way.invoke(graph, {})
    graph.update_state(THREAD, {"x": 1})
    assert graph.get_state(THREAD).next == ("c",)
    single = drawn(way, leaves("a"), edges=">a").compile(log)
    single.update_state(on("single"), {"x": 1})
    assert single.get_state(on("single")).next == ()


def test_two_nodes_that_ran_last_are_ambiguous(way, log) -> None:
    """U-2, §3.2: both are named."""
    graph = drawn(way, *map(leaves, "abc"), edges=">a,b a+b>c").compile(log, interrupt_before=["c"])
    way.invoke(graph, {})
    with pytest.raises(InvalidUpdateError, match="Ambiguous update, specify as_node") as caught:
        graph.update_state(THREAD, {"x": 1})
    assert "a, b" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "as_node", "error", "message"),
    [
        ({}, "zz", InvalidUpdateError, "Node zz does not exist"),
        (5, "a", InvalidUpdateError, "Expected dict, got 5"),
        ({"x": print}, "a", NotSerializable, "x"),
    ],
)
def test_an_edit_that_cannot_be_made_leaves_no_trace(way, log, values, as_node, error, message) -> None:
    """U-2, §3.2: nor does it keep the thread."""
    graph = abc(way, log)
    with pytest.raises(error, match=message):
        graph.update_state(THREAD, values, as_node=as_node)
    assert log.head("t") is None
    assert way.invoke(graph, {}) == {"trail": ["a", "b", "c"]}


def test_an_edit_takes_the_place_of_all_that_was_pending(way, log) -> None:
    """U-3: the other node of the step never runs, as in LangGraph."""
    graph = drawn(way, *map(leaves, "abc"), edges=">a,b a+b>c").compile(log, interrupt_before=["a"])
    way.invoke(graph, {})
    graph.update_state(THREAD, {"trail": ["edited"]}, as_node="a")
    assert graph.get_state(THREAD).next == ()
    assert way.invoke(graph, None) == {"trail": ["edited"]}


@pytest.mark.parametrize("is_joined", [False, True])
def test_an_edit_takes_the_place_of_what_joins_and_deferral_made_due(way, log, is_joined) -> None:
    """U-3: in LangGraph such nodes alone would stay due."""
    builder = drawn(way, *map(leaves, "ab"), edges=">a,b").add_node("c", leaves("c"), defer=not is_joined)
    graph = builder.add_edge(["a", "b"] if is_joined else "a", "c").compile(log, interrupt_before=["c"])
    way.invoke(graph, {})
    assert graph.get_state(THREAD).next == ("c",)
    graph.update_state(THREAD, {"trail": ["edited"]}, as_node="b")
    assert graph.get_state(THREAD).next == ()


def test_an_edit_as_the_end_clears_what_is_pending(way, log) -> None:
    """U-4: what siblings had finished is applied."""

    def bad(state):
        raise ValueError("never")

    graph = drawn(way, bad, leaves("ok"), leaves("c"), edges=">bad,ok bad>c ok>c").compile(log)
    with pytest.raises(ValueError, match="never"):
        way.invoke(graph, {"trail": ["in"]})
    graph.update_state(THREAD, None, as_node=END)
    assert graph.get_state(THREAD).next == ()
    assert graph.get_state(THREAD).values == {"trail": ["in", "ok"]}
    assert way.invoke(graph, None) == {"trail": ["in", "ok"]}


def test_an_edit_as_input_starts_the_graph(way, log) -> None:
    """U-5: what follows START is due."""
    graph = abc(way, log)
    graph.update_state(THREAD, {"x": 9}, as_node="__input__")
    assert way.invoke(graph, None) == {"trail": ["a", "b", "c"], "x": 9}


def test_an_edit_as_start_does_too(way, log) -> None:
    """U-5."""
    graph = abc(way, log)
    graph.update_state(THREAD, {"x": 9}, as_node=START)
    assert graph.get_state(THREAD).next == ("a",)


def test_an_edit_as_the_asking_node_skips_its_question(way, log) -> None:
    """U-10, U-11: the node counts as run, and its question is gone."""
    graph = drawn(way, asks("ask", "q"), leaves("b"), edges=">ask ask>b").compile(log)
    way.invoke(graph, {})
    graph.update_state(THREAD, {"trail": ["instead"]}, as_node="ask")
    assert graph.get_state(THREAD).interrupts == ()
    assert way.invoke(graph, None) == {"trail": ["instead", "b"]}


def test_an_edit_before_the_asking_node_has_it_ask_anew(way, log) -> None:
    """U-10: with a new id, so that the old answer cannot be meant."""
    graph = drawn(way, leaves("a"), asks("ask", "q"), edges=">a a>ask").compile(log)
    first = way.invoke(graph, {})["__interrupt__"][0]
    graph.update_state(THREAD, {"x": 1})
    again = way.invoke(graph, None)["__interrupt__"][0]
    assert again.value == first.value
    assert again.id != first.id


def test_an_edit_of_an_old_checkpoint_branches_off(way, log) -> None:
    """U-1, U-9: its parent is the addressed checkpoint, and nothing else is added to the history.

    The branch once showed as a checkpoint of its own, and the edit named that as its parent.
    """
    graph = abc(way, log)
    way.invoke(graph, {})
    length = len(past(graph))
    old = next(s for s in graph.get_state_history(THREAD) if s.next == ("b",))
    config = graph.update_state(old.config, {"trail": ["e"]})
    assert graph.get_state(THREAD).config == config
    assert graph.get_state(THREAD).parent_config == old.config
    assert past(graph)[length:] == [("update", 2, ("b",))]
    assert way.invoke(graph, None, config) == {"trail": ["a", "e", "b", "c"]}
    assert [source for source, _, _ in past(graph)[length:]] == ["update", "loop", "loop"]


def test_an_edit_of_an_unknown_checkpoint_is_refused(way, log) -> None:
    """TT-6."""
    graph = abc(way, log)
    way.invoke(graph, {})
    with pytest.raises(CheckpointNotFound, match="has no checkpoint"):
        graph.update_state(on("t", checkpoint_id="nonsense"), {"x": 1})


def test_an_edit_is_reduced_like_a_write(way, log) -> None:
    """U-1."""
    graph = abc(way, log)
    graph.update_state(THREAD, {"trail": ["1"]}, as_node="a")
    graph.update_state(THREAD, {"trail": ["2"]}, as_node="a")
    assert graph.get_state(THREAD).values == {"trail": ["1", "2"]}


def test_an_edit_while_a_run_owns_the_thread_is_refused(way, log) -> None:
    """U-12, mended: an edit needs the claim, as a run does."""
    seen = []

    def a(state):
        try:
            graph.update_state(THREAD, {"x": 1}, as_node="a")
        except ThreadBusy as busy:
            seen.append(busy.code)

    graph = drawn(way, a, edges=">a").compile(log)
    way.invoke(graph, {})
    assert seen == ["WAL-E401"]


def test_an_edit_is_kept_by_the_log(way, log) -> None:
    """U-1: it is one record, and folds like all others."""
    graph = abc(way, log)
    graph.update_state(THREAD, {"x": (1, 2)}, as_node="a")
    twin = drawn(way, *map(leaves, "abc"), edges=">a a>b b>c").compile(log)
    assert twin.get_state(THREAD) == graph.get_state(THREAD)


def test_the_last_half_of_a_join_can_be_supplied_by_hand(way, log) -> None:
    """U-3, A-9: half-seen joins survive an edit, so the dead end of LangGraph is none."""
    builder = drawn(way, *map(leaves, ["a", "b", "c"]), edges="a+b>c")
    builder.add_conditional_edges(START, lambda _: "a")
    graph = builder.compile(log)
    way.invoke(graph, {})
    graph.update_state(THREAD, {"trail": ["b by hand"]}, as_node="b")
    assert graph.get_state(THREAD).next == ("c",)


def test_an_edit_can_be_made_as_an_instance_of_the_state(log) -> None:
    """U-1: what a node may return."""
    State = dataclasses.make_dataclass("State", [("x", int, 0)])  # noqa: N806 - it is a class
    graph = StateGraph(State).add_node("a", lambda _: None).add_edge(START, "a").compile(log)
    graph.update_state(THREAD, State(5))
    assert graph.get_state(THREAD).values == {"x": 5}
