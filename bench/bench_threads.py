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

from libraries import Library, config, row, walgraph

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


NAMES = [f"n{number}" for number in range(STEPS)]


def bare() -> None:
    """Call the same functions in a loop."""
    for _ in range(THREADS):
        state: Any = {"x": 0}
        for each in [node] * STEPS:
            state = {**state, **each(state)}


def from_workers(library: Library, mode: str | None, saver: Any, threads: int = THREADS) -> Any:
    """Return a call that runs the threads from a few workers."""
    compiled = row(library, saver, State, node, NAMES)

    def one(number: int) -> None:
        compiled.invoke({"x": 0}, config(number), durability=mode)

    def call() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            for _ in pool.map(one, range(threads)):
                pass

    return call


def from_loop(library: Library, mode: str | None, saver: Any) -> Any:
    """Return a call that runs the threads on an event loop; a saver that belongs to a loop is opened there."""

    async def all_of_them() -> None:
        if library.is_async_context:
            async with saver as opened:
                await runs(opened)
        else:
            await runs(saver)

    async def runs(opened: Any) -> None:
        compiled = row(library, opened, State, anode, NAMES)
        numbers = iter(range(THREADS))

        async def worker() -> None:
            for number in numbers:
                await compiled.ainvoke({"x": 0}, config(number), durability=mode)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    return lambda: asyncio.run(all_of_them())


def test_threads(race: Any, table: Any, tools: Any) -> None:
    """Run the threads from 8 workers and from an event loop, beside raw LMDB with and without grouping."""
    library = walgraph()
    sample = tools.bodies_of(partial(from_workers, library, "sync", threads=1), threads=["0"])
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
            "workers": tools.logged(partial(from_workers, library, "sync")),
            "loop": tools.logged(partial(from_loop, library, "sync")),
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
        wanted = partial(tools.at_most, 1.8, unit=" ×", goal="S8") if name == "workers" else None
        table.row(title, mode, results[name], (floor, results[floor]), wanted, payload)
        for beside in (contended, alone):
            faster = results[beside].micros / results[name].micros
            note = f"faster than {beside} ({results[beside].micros:,.0f})"
            table.figure(title, mode, f"{faster:.2f} ×", None, note)
    took = results["loop"].micros
    table.figure(
        title, "asyncio, 100 at once", f"{took:.1f} µs", tools.at_most(30, took, " µs", goal="S9"), "a step"
    )
