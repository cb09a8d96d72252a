"""What does one step cost, when nodes do next to nothing? A chain of 1,000 nodes over a state of one number.

Floors: a bare loop over the same functions; one raw LMDB full-sync commit per step of the very bytes that walgraph
records; and one append with fdatasync of the same bytes, which no database can beat.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypedDict

from libraries import Library, config, row, walgraph

STEPS = 1000
ROUNDS = 7


class State(TypedDict):
    """One number."""

    x: int


def node(state: State) -> dict[str, int]:
    """Count."""
    return {"x": state["x"] + 1}


def run(library: Library, mode: str | None, saver: Any, steps: int = STEPS) -> Any:
    """Return a call that runs a chain."""
    graph = row(library, saver, State, node, [f"n{number}" for number in range(steps)])
    return partial(graph.invoke, {"x": 0}, config(), durability=mode)


def bare() -> dict[str, Any]:
    """Call the same functions in a loop."""
    nodes = [node] * STEPS
    state: Any = {"x": 0}
    for each in nodes:
        state = {**state, **each(state)}
    return state


def test_chain(race: Any, table: Any, tools: Any) -> None:
    """Run the chain without a log and in each mode, beside the three floors."""
    ours = partial(run, walgraph())
    bodies = tools.bodies_of(partial(ours, "sync"))
    contenders = {
        "bare loop": tools.bare(bare),
        "no log": tools.bare(ours(None, None)),
        "LMDB commit": tools.raw_lmdb(bodies),
        "append+fdatasync": tools.raw_append(bodies),
        **{mode: tools.logged(partial(ours, mode)) for mode in ("sync", "async", "exit")},
    }
    results = race(contenders, ROUNDS, STEPS)
    loop, commit, append = (
        (name, results[name]) for name in ("bare loop", "LMDB commit", "append+fdatasync")
    )
    payload = tools.packed({"x": number + 1} for number in range(STEPS))
    title = "chain of 1,000 nodes"
    table.row(title, "no log", results["no log"], loop, partial(tools.at_most, 45, unit=" ×", goal="S3"))
    table.row(
        title,
        "sync",
        results["sync"],
        commit,
        partial(tools.at_most, 1.2, unit=" ×", goal="S1"),
        payload=payload,
    )
    table.row(title, "sync", results["sync"], append)
    table.row(
        title,
        "async",
        results["async"],
        loop,
        partial(tools.at_most, 70, unit=" ×", goal="S2"),
        payload=payload,
    )
    table.row(
        title,
        "exit",
        results["exit"],
        loop,
        partial(tools.at_most, 70, unit=" ×", goal="S2"),
        payload=payload,
    )
    commits = tools.commits_of(partial(ours, "sync"))
    # The admission travels with the first step, the end with the last one.
    target = tools.at_most(1.001, commits / STEPS, goal="S14")
    table.figure(title, "sync", f"{commits / STEPS:.3f}", target, "LMDB commits a step")
