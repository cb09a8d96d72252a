"""What does a task cost when a thousand of them run at once? One node sends 1,000 tasks, and a join counts them.

All results may share commits, so the floor under ``sync`` is a single raw LMDB commit of the recorded bytes, spread
over the tasks; and the bare loop calls the same functions one after another.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import Annotated, Any, TypedDict

from libraries import Library, config, walgraph

TASKS = 1000
ROUNDS = 5


class State(TypedDict):
    """Results, and how many there were."""

    results: Annotated[list, operator.add]
    count: int


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
    for number in range(TASKS):
        results += work({"number": number})["results"]
    state = {**state, "results": results}
    state = {**state, **join(state)}


def run(library: Library, mode: str | None, saver: Any) -> Any:
    """Return a call that runs the graph."""

    def spread(_: Any) -> list[Any]:
        return [library.send("work", {"number": number}) for number in range(TASKS)]

    start, end = library.graph.START, library.graph.END
    builder = (
        library.graph.StateGraph(State)
        .add_node("begin", lambda _: {})
        .add_node("work", work)
        .add_node("join", join)
    )
    builder.add_edge(start, "begin").add_conditional_edges("begin", spread, ["work"])
    graph = builder.add_edge("work", "join").add_edge("join", end).compile(checkpointer=saver)

    def call() -> None:
        assert graph.invoke({"results": [], "count": 0}, config(), durability=mode)["count"] == TASKS

    return call


def test_fanout(race: Any, table: Any, tools: Any) -> None:
    """Run the fan-out without a log and in each mode."""
    ours = partial(run, walgraph())
    bodies = tools.bodies_of(partial(ours, "sync"))
    results = race(
        {
            "bare loop": tools.bare(bare),
            "one LMDB commit": tools.raw_lmdb([b"".join(bodies)]),
            "no log": tools.bare(ours(None, None)),
            **{mode: tools.logged(partial(ours, mode)) for mode in ("sync", "async", "exit")},
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
        tools.at_most(20, results["sync"].micros, " µs", goal="S5"),
        "a task",
    )
    for mode in ("async", "exit"):
        table.row(title, mode, results[mode], loop, payload=payload)
