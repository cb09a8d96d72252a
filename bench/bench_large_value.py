"""Is a large value written again when it did not change? 1 MB of state beside a number, over 200 steps.

The floor under ``sync`` is one raw LMDB full-sync commit per step of the bytes that walgraph records; without a wait
it is the bare loop. The bytes on the disk are compared with the one megabyte.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, TypedDict

from libraries import Library, config, looped, walgraph

STEPS = 200
ROUNDS = 5
VALUE = os.urandom(1_000_000)


class State(TypedDict):
    """A large value, and a number that changes."""

    value: bytes
    x: int


def node(state: dict[str, Any]) -> dict[str, int]:
    """Look at the value, and count."""
    return {"x": state["x"] + len(state["value"][:1])}


def has_more(state: dict[str, Any]) -> bool:
    """Go on for some steps."""
    return state["x"] < STEPS


def bare() -> None:
    """Call the same functions in a loop."""
    state: dict[str, Any] = {"value": VALUE, "x": 0}
    while has_more(state):
        state = {**state, **node(state)}


def run(library: Library, mode: str | None, saver: Any) -> Any:
    """Return a call that runs the graph."""
    graph = looped(library, saver, State, node, has_more)
    return partial(graph.invoke, {"value": VALUE, "x": 0}, config(), durability=mode)


def test_large_value(race: Any, table: Any, tools: Any) -> None:
    """Carry the large value through 200 steps in each mode."""
    ours = partial(run, walgraph())
    bodies = tools.bodies_of(partial(ours, "sync"))
    bodies[0] += VALUE
    results = race(
        {
            "bare loop": tools.bare(bare),
            "LMDB commit": tools.raw_lmdb(bodies),
            **{mode: tools.logged(partial(ours, mode)) for mode in ("sync", "async", "exit")},
        },
        ROUNDS,
        STEPS,
    )
    title = "1 MB unchanged over 200 steps"
    for mode, floor in (("sync", "LMDB commit"), ("async", "bare loop"), ("exit", "bare loop")):
        table.row(title, mode, results[mode], (floor, results[floor]), payload=len(VALUE))
    disk = results["sync"].bytes_on_disk / 1e6
    table.figure(title, "sync", f"{disk:.2f} MB", tools.at_most(1.15, disk, " MB", goal="S11"), "on disk")
