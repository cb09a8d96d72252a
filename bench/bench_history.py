"""What does a look at the past cost? All 1,000 checkpoints of a thread of 1,000 steps, from ``get_state_history``.

The floor reads the records of the same thread and decodes them, which any history must do.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from walgraph import END, START, Log, StateGraph

STEPS = 1000
ROUNDS = 7
BUDGET_MICROS = 10
CONFIG = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    """One number."""

    x: int


def graph_of(log: Any) -> Any:
    """Return a graph that counts to the limit."""
    builder = (
        StateGraph(State).add_node("count", lambda state: {"x": state["x"] + 1}).add_edge(START, "count")
    )
    return builder.add_conditional_edges(
        "count", lambda state: "count" if state["x"] < STEPS else END
    ).compile(log)


def test_history(race: Any, table: Any, tools: Any) -> None:
    """List every checkpoint, newest first."""

    def recorded(work: Any) -> Any:
        @contextmanager
        def contender(place: Path) -> Any:
            with Log.open(place) as log:
                graph = graph_of(log)
                graph.invoke({"x": 0}, CONFIG, durability="async")
                log.flush()
                yield lambda: work(log, graph)

        return contender

    def history(_: Log, graph: Any) -> None:
        found = list(itertools.islice(graph.get_state_history(CONFIG), STEPS))
        assert len(found) == STEPS
        assert found[0].values == {"x": STEPS}

    def read(log: Log, _: Any) -> None:
        assert sum(1 for _ in log.read("t")) > STEPS

    results = race({"history": recorded(history), "read": recorded(read)}, ROUNDS, STEPS)
    table.row(
        "history of 1,000 checkpoints",
        "list of snapshots",
        results["history"],
        ("read records", results["read"]),
    )
    took = results["history"].micros
    table.figure(
        "history of 1,000 checkpoints", "each", f"{took:.1f} µs", tools.at_most(BUDGET_MICROS, took, " µs")
    )
