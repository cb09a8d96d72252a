"""What does one step cost, when nodes do next to nothing? A chain of 1,000 nodes over a state of one number.

Floors: a bare loop over the same functions; one raw LMDB full-sync commit per step of the very bytes that walgraph
records; and one append with fdatasync of the same bytes, which no database can beat.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypedDict

from walgraph import END, START, StateGraph

STEPS = 1000
ROUNDS = 7


class State(TypedDict):
    """One number."""

    x: int


def node(state: State) -> dict[str, int]:
    """Count."""
    return {"x": state["x"] + 1}


def chain() -> StateGraph:
    """Return a graph of nodes one after another."""
    builder = StateGraph(State)
    names = [f"n{number}" for number in range(STEPS)]
    for name in names:
        builder.add_node(name, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(before, after)
    return builder


def bare() -> dict[str, Any]:
    """Call the same functions in a loop."""
    nodes = [node] * STEPS
    state: Any = {"x": 0}
    for each in nodes:
        state = {**state, **each(state)}
    return state


def test_chain(race: Any, table: Any, tools: Any) -> None:
    """Run the chain without a log and in each mode, beside the three floors."""

    def run(mode: str | None, log: Any) -> Any:
        graph = chain().compile(log)
        config = {"configurable": {"thread_id": "t"}}
        return partial(graph.invoke, {"x": 0}, config, durability=mode)

    bodies = tools.bodies_of(partial(run, "sync"))
    contenders = {
        "bare loop": tools.bare(bare),
        "no log": tools.bare(run(None, None)),
        "LMDB commit": tools.raw_lmdb(bodies),
        "append+fdatasync": tools.raw_append(bodies),
        **{mode: tools.logged(partial(run, mode)) for mode in ("sync", "async", "exit")},
    }
    results = race(contenders, ROUNDS, STEPS)
    loop, commit, append = (
        (name, results[name]) for name in ("bare loop", "LMDB commit", "append+fdatasync")
    )
    payload = tools.packed({"x": number + 1} for number in range(STEPS))
    title = "chain of 1,000 nodes"
    table.row(title, "no log", results["no log"], loop, partial(tools.at_most, 45))
    table.row(title, "sync", results["sync"], commit, partial(tools.at_most, 1.2), payload=payload)
    table.row(title, "sync", results["sync"], append)
    table.row(title, "async", results["async"], loop, partial(tools.at_most, 70), payload=payload)
    table.row(title, "exit", results["exit"], loop, partial(tools.at_most, 70), payload=payload)
