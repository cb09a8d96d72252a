"""Do many threads share their commits? 1,000 threads of 10 steps each, under ``sync``.

Once from 8 workers, once from an event loop with 100 runs at a time. Beside them: raw LMDB with one full-sync commit
per step, from the same 8 workers and from a single thread, which is what a log without group commit costs at best;
and raw LMDB with as many records in each commit as there are runs at once, which is the best that group commit can do.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypedDict

from walgraph import END, START, StateGraph

THREADS = 1000
STEPS = 10
WORKERS = 8
AT_ONCE = 100
ROUNDS = 3


class State(TypedDict):
    """One number."""

    x: int


def node(state: State) -> dict[str, int]:
    """Count."""
    return {"x": state["x"] + 1}


async def anode(state: State) -> dict[str, int]:
    """Count, as a coroutine."""
    return {"x": state["x"] + 1}


def graph(log: Any, function: Any) -> Any:
    """Return a graph of ten nodes."""
    builder = StateGraph(State)
    names = [f"n{number}" for number in range(STEPS)]
    for name in names:
        builder.add_node(name, function)
    for before, after in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(before, after)
    return builder.compile(log)


def config(number: int) -> dict[str, Any]:
    """Return the config of one thread."""
    return {"configurable": {"thread_id": f"t{number}"}}


def bare() -> None:
    """Call the same functions in a loop."""
    for _ in range(THREADS):
        state: Any = {"x": 0}
        for each in [node] * STEPS:
            state = {**state, **each(state)}


def from_workers(log: Any, threads: int = THREADS) -> Any:
    """Return a call that runs the threads from a few workers."""
    compiled = graph(log, node)

    def one(number: int) -> None:
        compiled.invoke({"x": 0}, config(number), durability="sync")

    def call() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            for _ in pool.map(one, range(threads)):
                pass

    return call


def from_loop(log: Any) -> Any:
    """Return a call that runs the threads on an event loop."""
    compiled = graph(log, anode)

    async def all_of_them() -> None:
        numbers = iter(range(THREADS))

        async def worker() -> None:
            for number in numbers:
                await compiled.ainvoke({"x": 0}, config(number), durability="sync")

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    return lambda: asyncio.run(all_of_them())


def test_threads(race: Any, table: Any, tools: Any) -> None:
    """Run the threads from 8 workers and from an event loop, beside raw LMDB with and without grouping."""
    sample = tools.bodies_of(partial(from_workers, threads=1), threads=["t0"])
    bodies = [sample[step % len(sample)] for step in range(THREADS * STEPS)]
    alone, contended, by_workers, by_loop = (
        "LMDB commit per step, 1 thread",
        f"LMDB commit per step, {WORKERS} workers",
        f"LMDB, {WORKERS} a commit",
        f"LMDB, {AT_ONCE} a commit",
    )
    results = race(
        {
            "bare loop": tools.bare(bare),
            alone: tools.raw_lmdb(bodies),
            contended: tools.raw_lmdb_from(WORKERS, bodies),
            by_workers: tools.raw_lmdb(bodies, WORKERS),
            by_loop: tools.raw_lmdb(bodies, AT_ONCE),
            "workers": tools.logged(from_workers),
            "loop": tools.logged(from_loop),
        },
        ROUNDS,
        THREADS * STEPS,
    )
    payload = THREADS * tools.packed({"x": step + 1} for step in range(STEPS))
    title = "1,000 threads × 10 steps, sync"
    for mode, name, floor in (
        ("8 workers", "workers", by_workers),
        ("asyncio, 100 at once", "loop", by_loop),
    ):
        wanted = partial(tools.at_most, 1.8) if name == "workers" else None
        table.row(title, mode, results[name], (floor, results[floor]), wanted, payload)
        for beside in (contended, alone):
            faster = results[beside].micros / results[name].micros
            target = tools.at_least(2.5, faster) if name == "workers" else None
            note = f"faster than {beside} ({results[beside].micros:,.0f})"
            table.figure(title, mode, f"{faster:.2f} ×", target, note)
    took = results["loop"].micros
    table.figure(title, "asyncio, 100 at once", f"{took:.1f} µs", tools.at_most(30, took, " µs"), "a step")
