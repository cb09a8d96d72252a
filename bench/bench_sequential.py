"""What do many nodes that do nothing cost, and what does compiling them? LangGraph's bench ``sequential``, rebuilt.

Ten and 1,000 nodes in a row over a state of messages, which nobody writes, without a log; and the making of the graph
of 1,000 nodes, from the first ``add_node`` to the end of ``compile``. The floor is the same functions in a loop.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from libraries import Library, config, merging, row, walgraph

ROUNDS = 7


def nothing(state: Any) -> dict[str, Any]:
    """Do nothing."""
    return {}


def graph_of(library: Library, saver: Any, size: int) -> Any:
    """Return the graph, compiled."""
    return row(library, saver, merging(library), nothing, [f"n{number}" for number in range(size)])


def run(library: Library, mode: str | None, saver: Any, *, size: int) -> Any:
    """Return a call that runs the nodes."""
    return partial(graph_of(library, saver, size).invoke, {"messages": []}, config(), durability=mode)


def make(library: Library, _: str | None, saver: Any, *, size: int) -> Any:
    """Return a call that makes the graph."""
    return partial(graph_of, library, saver, size)


def bare(size: int) -> None:
    """Call the same functions in a loop."""
    state: dict[str, Any] = {"messages": []}
    for _ in range(size):
        state = {**state, **nothing(state)}


def test_small(race: Any, table: Any, tools: Any) -> None:
    """Run ten nodes, and make their graph."""
    measure(10, race, table, tools)


def test_large(race: Any, table: Any, tools: Any) -> None:
    """Run 1,000 nodes, and make their graph."""
    measure(1000, race, table, tools)


def measure(size: int, race: Any, table: Any, tools: Any) -> None:
    """Measure one size."""
    library = walgraph()
    results = race(
        {
            "bare loop": tools.bare(partial(bare, size)),
            "run": tools.bare(run(library, None, None, size=size)),
            "make": tools.bare(make(library, None, None, size=size)),
        },
        ROUNDS,
        size,
    )
    floor = ("bare loop", results["bare loop"])
    table.row("nodes that do nothing", f"{size:,}, no log", results["run"], floor)
    table.row("nodes that do nothing", f"{size:,}, build and compile", results["make"], floor)
