"""A strict log catches what would only show after a restart, at the step that did it."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from walgraph import END, START, InvalidUpdateError, MemoryLog, StateGraph


class State(TypedDict):
    """A list that nodes are not to touch."""

    items: list[int]
    count: int


def _sneaky(state: State) -> dict[str, Any]:
    state["items"].append(len(state["items"]))
    return {"count": len(state["items"])}


def _run(*, strict: bool) -> tuple[MemoryLog, Any, dict[str, Any]]:
    log = MemoryLog(strict=strict)
    graph = StateGraph(State).add_node("sneaky", _sneaky).add_edge(START, "sneaky").add_edge("sneaky", END)
    return log, graph.compile(log), {"configurable": {"thread_id": "1"}}


def test_a_node_that_changes_its_input_in_place_is_caught() -> None:
    """The change is in no record, so a resumed run would not have it; the error names node and channel."""
    _, graph, config = _run(strict=True)
    with pytest.raises(InvalidUpdateError, match=r"node 'sneaky' changed its input in place at 'items'"):
        graph.invoke({"items": [1], "count": 0}, config)
    assert graph.get_state(config).next == ("sneaky",)


def test_what_a_node_changed_in_place_is_not_in_the_log() -> None:
    """Without strict the run goes on, and the state read back from the log shows why strict is worth its price."""
    _, graph, config = _run(strict=False)
    graph.invoke({"items": [1], "count": 0}, config)
    assert graph.get_state(config).values == {"items": [1], "count": 2}
