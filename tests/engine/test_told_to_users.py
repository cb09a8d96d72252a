"""What users are told after a failure or an edit is what the log holds."""

from __future__ import annotations

from typing import TypedDict

import pytest

from walgraph import START, InvalidUpdateError, MemoryLog, StateGraph

THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    """One number."""

    n: int


def one(state):
    """Write a number."""
    return {"n": 1}


def two(state):
    """Write another."""
    return {"n": 2}


def test_the_note_of_a_failed_router_says_that_its_body_is_recorded() -> None:
    """A resume asks the router alone; the note once said that nothing was recorded and that the task runs again."""

    def router(state):
        raise ValueError("which way?")

    drawing = StateGraph(State).add_node(one).add_edge(START, "one").add_conditional_edges("one", router)
    with pytest.raises(ValueError, match="which way") as caught:
        drawing.compile(MemoryLog()).invoke({"n": 0}, THREAD)
    note = caught.value.__notes__[-1]
    assert "what its body returned is recorded" in note
    assert "asks its routers again" in note


def test_the_note_of_a_failed_body_says_that_it_runs_again() -> None:
    """A body that raised has no outcome, and is run again."""

    def body(state):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        StateGraph(State).add_node(body).add_edge(START, "body").compile(MemoryLog()).invoke({"n": 0}, THREAD)
    assert "runs this task again" in caught.value.__notes__[-1]


def test_a_thread_that_an_edit_has_mended_is_listed_as_done() -> None:
    """The directory shows what is due after the edit.

    It once was written from the state before it, so that a mended thread was listed as parked before nodes that
    would never run.
    """
    log = MemoryLog()
    drawing = StateGraph(State).add_node(one).add_node(two).add_edge(START, "one").add_edge(START, "two")
    graph = drawing.compile(log)
    with pytest.raises(InvalidUpdateError):
        graph.invoke({"n": 0}, THREAD)
    graph.update_state(THREAD, {"n": 3}, as_node="one")
    head = log.head("t")
    assert head is not None
    assert (head.status, head.next) == ("done", ())


def test_an_edit_that_makes_a_node_due_is_listed_as_parked_before_it() -> None:
    """An edit as START leads to the first node, which waits for a run."""
    log = MemoryLog()
    graph = StateGraph(State).add_node(one).add_edge(START, "one").compile(log)
    graph.update_state(THREAD, {"n": 0}, as_node=START)
    head = log.head("t")
    assert head is not None
    assert (head.status, head.next) == ("parked", ("one",))
