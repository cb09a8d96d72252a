"""Does a step cost more in a wide state? 1,000 channels, of which each of 500 steps changes one.

A step may cost what its writes cost, not what the state holds. Beside it: the same steps over a state of ten channels,
and a bare loop that copies the dict of a thousand values, as any loop must that gives each node a state of its own.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypedDict

from libraries import Library, config, looped, walgraph

STEPS = 500
ROUNDS = 5
WIDTHS = (10, 1000)


def node(state: dict[str, Any]) -> dict[str, int]:
    """Change one channel."""
    return {"c0": state["c0"] + 1}


def has_more(state: dict[str, Any]) -> bool:
    """Go on for some steps."""
    return state["c0"] < STEPS


def full(width: int) -> dict[str, int]:
    """Return an input that writes every channel."""
    return {f"c{number}": 0 for number in range(width)}


def bare(width: int) -> None:
    """Call the same functions in a loop."""
    state: dict[str, Any] = full(width)
    while has_more(state):
        state = {**state, **node(state)}


def run(library: Library, mode: str | None, saver: Any, width: int) -> Any:
    """Return a call that runs the graph."""
    schema = TypedDict("State", dict.fromkeys(full(width), int))  # type: ignore[operator, misc]  # made here
    graph = looped(library, saver, schema, node, has_more)
    return partial(graph.invoke, full(width), config(), durability=mode)


def test_wide(race: Any, table: Any, tools: Any) -> None:
    """Change one of 10 and one of 1,000 channels."""
    contenders = {f"bare {width}": tools.bare(partial(bare, width)) for width in WIDTHS}
    contenders |= {
        f"{width}": tools.logged(partial(run, walgraph(), "async", width=width)) for width in WIDTHS
    }
    results = race(contenders, ROUNDS, STEPS)
    for width in WIDTHS:
        floor = results[f"bare {width}"]
        table.row(
            "one of many channels changes",
            f"async, {width} channels",
            results[f"{width}"],
            ("bare loop", floor),
        )
