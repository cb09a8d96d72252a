"""Words that the tests of time-outs share: limits, nodes that hang, and graphs of one node."""

from __future__ import annotations

import asyncio
from typing import Any

from helpers import THREAD, Trail

from walgraph import START, Log, RetryPolicy, Send, StateGraph

SHORT, LONG = 0.05, 60.0
"""Seconds: a limit that is reached at once, and a wait that only a limit ends."""
MOMENT, MOMENTS = 0.02, 20
"""Signs of life, so many and so far apart that the limit of ``IDLE`` is passed between the first and the last."""
IDLE = 0.3
"""Seconds: what lies between two signs of life is far below it, also on a busy machine."""

AGAIN = RetryPolicy(initial_interval=0.0, jitter=False)


async def hangs() -> None:
    """Wait for longer than any test takes."""
    await asyncio.sleep(LONG)


def graph_of(node: Any, log: Log | None = None, **options: Any) -> Any:
    """Return a graph of one node, with what ``add_node`` is told."""
    return StateGraph(Trail).add_node("n", node, **options).add_edge(START, "n").compile(log)


def run(graph: Any, given: Any = {"trail": []}, config: Any = THREAD, **options: Any) -> Any:  # noqa: B006 - never changed
    """Run a graph on an event loop."""
    return asyncio.run(graph.ainvoke(given, config, **options))


def failing_then(*answers: Any) -> Any:
    """Return a coroutine function that hangs at its first attempt and then returns."""
    left = iter(answers)
    attempts: list[int] = []

    async def node(state: Any) -> Any:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            await hangs()
        return next(left)

    node.attempts = attempts  # type: ignore[attr-defined]
    return node


def fan(node: Any, *sends: Send, log: Log | None = None, **options: Any) -> Any:
    """Return a graph whose START sends to one node."""
    builder = StateGraph(Trail).add_node("n", node, **options)
    return builder.add_conditional_edges(START, lambda _: list(sends), ["n"]).compile(log)


async def takes(state):
    """Take the seconds that a Send says."""
    await asyncio.sleep(state["x"])
    return {"trail": [f"{state['x']}"]}


async def pause(state):
    """Take a moment."""
    await asyncio.sleep(MOMENT)
    return {"trail": ["n"]}


subgraph = (
    StateGraph(Trail)
    .add_sequence([(f"n{number}", pause) for number in range(MOMENTS)])
    .add_edge(START, "n0")
    .compile()
)
