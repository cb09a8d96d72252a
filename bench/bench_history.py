"""What does a look at the past cost? All 1,000 checkpoints of a thread of 1,000 steps, from ``get_state_history``.

The floor reads the records of the same thread and decodes them, which any history must do.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from libraries import Library, config, looped, walgraph

STEPS = 1000
ROUNDS = 7
BUDGET_MICROS = 10


class State(TypedDict):
    """One number."""

    x: int


def graph_of(library: Library, saver: Any) -> Any:
    """Return a graph that has counted to the limit."""
    graph = looped(
        library, saver, State, lambda state: {"x": state["x"] + 1}, lambda state: state["x"] < STEPS
    )
    graph.invoke({"x": 0}, config(), durability="async")
    return graph


def look(graph: Any) -> None:
    """List every checkpoint."""
    found = list(itertools.islice(graph.get_state_history(config()), STEPS))
    assert len(found) == STEPS
    assert found[0].values == {"x": STEPS}


def run(library: Library, _: str | None, saver: Any) -> Any:
    """Return a call that lists every checkpoint of a thread that is there."""
    return partial(look, graph_of(library, saver))


def test_history(race: Any, table: Any, tools: Any) -> None:
    """List every checkpoint, newest first."""
    library = walgraph()

    def recorded(work: Any) -> Any:
        @contextmanager
        def contender(place: Path) -> Any:
            with library.opened(place) as log:
                graph = graph_of(library, log)
                log.flush()
                yield lambda: work(log, graph)

        return contender

    def history(_: Any, graph: Any) -> None:
        look(graph)

    def read(log: Any, _: Any) -> None:
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
        "history of 1,000 checkpoints",
        "each",
        f"{took:.1f} µs",
        tools.at_most(BUDGET_MICROS, took, " µs", goal="S12"),
    )
