"""What happens when a task returns a value that cannot be written: it has failed, and nothing was built on it."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import pytest

from walgraph import START, MemoryLog, NotSerializable, StateGraph

THREAD = {"configurable": {"thread_id": "t"}}
MODES = ["sync", "async", "exit"]


class State(TypedDict):
    """One value, and a list that every node may add to."""

    x: Any
    ran: Annotated[list[str], lambda old, new: old + new]


def unwritable(state):
    """Return a function, which no log can hold."""
    return {"x": print}


@pytest.mark.parametrize("durability", MODES)
def test_a_last_step_that_cannot_be_written_fails_the_run(durability) -> None:
    """The call raises and the thread says failed.

    The end of the run was drafted along with the outcome; when the outcome was rejected, the call once returned as if
    the run were done, and left a thread that looked crashed.
    """
    log = MemoryLog(strict=True)
    graph = StateGraph(State).add_node("bad", unwritable).add_edge(START, "bad").compile(log)
    with pytest.raises(NotSerializable):
        graph.invoke({"x": 1}, THREAD, durability=durability)
    head = log.head("t")
    assert head is not None
    assert (head.status, head.next) == ("failed", ("bad",))


@pytest.mark.parametrize("durability", MODES)
def test_nothing_runs_after_an_outcome_that_cannot_be_written(durability) -> None:
    """The next step's nodes are not run on a step that never closed; once they were."""
    ran: list[str] = []

    def after(state):
        ran.append("after")

    drawing = StateGraph(State).add_sequence([("bad", unwritable), after]).add_edge(START, "bad")
    graph = drawing.compile(MemoryLog(strict=True))
    with pytest.raises(NotSerializable):
        graph.invoke({"x": 1}, THREAD, durability=durability)
    assert ran == []


@pytest.mark.parametrize("durability", MODES)
def test_a_sibling_of_an_unwritable_outcome_is_kept(durability) -> None:
    """A finished sibling is recorded, and is not run again when the run is resumed with mended code."""
    ran: list[str] = []

    def good(state):
        ran.append("good")
        return {"ran": ["good"]}

    def mended(state):
        return {"x": 2}

    def drawn(body):
        graph = StateGraph(State).add_node("bad", body).add_node(good)
        return graph.add_edge(START, "bad").add_edge(START, "good").compile(log)

    log = MemoryLog(strict=True)
    with pytest.raises(NotSerializable):
        drawn(unwritable).invoke({"x": 1}, THREAD, durability=durability)
    assert drawn(mended).invoke(None, THREAD) == {"x": 2, "ran": ["good"]}
    assert ran == ["good"]
