"""What does a task cost when a thousand of them run at once? One node sends 1,000 tasks, and a join counts them.

All results may share commits, so the floor under ``sync`` is a single raw LMDB commit of the recorded bytes, spread
over the tasks; and the bare loop calls the same functions one after another.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import Annotated, Any, TypedDict

from walgraph import END, START, Send, StateGraph

TASKS = 1000
ROUNDS = 5


class State(TypedDict):
    """Results, and how many there were."""

    results: Annotated[list, operator.add]
    count: int


def spread(state: dict[str, Any]) -> list[Send]:
    """Send the tasks."""
    return [Send("work", {"number": number}) for number in range(TASKS)]


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Do one task."""
    return {"results": [task["number"]]}


def join(state: dict[str, Any]) -> dict[str, Any]:
    """Count the results."""
    return {"count": len(state["results"])}


def bare() -> None:
    """Call the same functions in a loop."""
    state: dict[str, Any] = {"results": []}
    results: list[int] = []
    for send in spread(state):
        results += work(send.arg)["results"]
    state = {**state, "results": results}
    state = {**state, **join(state)}


def run(mode: str | None, log: Any) -> Any:
    """Return a call that runs the graph."""
    builder = StateGraph(State).add_node("begin", lambda _: {}).add_node("work", work).add_node("join", join)
    builder.add_edge(START, "begin").add_conditional_edges("begin", spread, ["work"])
    graph = builder.add_edge("work", "join").add_edge("join", END).compile(log)
    config = {"configurable": {"thread_id": "t"}}

    def call() -> None:
        assert graph.invoke({"results": [], "count": 0}, config, durability=mode)["count"] == TASKS

    return call


def test_fanout(race: Any, table: Any, tools: Any) -> None:
    """Run the fan-out without a log and in each mode."""
    bodies = tools.bodies_of(partial(run, "sync"))
    results = race(
        {
            "bare loop": tools.bare(bare),
            "one LMDB commit": tools.raw_lmdb([b"".join(bodies)]),
            "no log": tools.bare(run(None, None)),
            **{mode: tools.logged(partial(run, mode)) for mode in ("sync", "async", "exit")},
        },
        ROUNDS,
        TASKS,
    )
    loop = ("bare loop", results["bare loop"])
    payload = tools.packed({"results": [number]} for number in range(TASKS))
    title = "fan-out of 1,000 Sends and a join"
    table.row(title, "no log", results["no log"], loop)
    table.row(
        title, "sync", results["sync"], ("one LMDB commit", results["one LMDB commit"]), payload=payload
    )
    table.figure(
        title,
        "sync",
        f"{results['sync'].micros:.1f} µs",
        tools.at_most(20, results["sync"].micros, " µs"),
        "a task",
    )
    for mode in ("async", "exit"):
        table.row(title, mode, results[mode], loop, payload=payload)
