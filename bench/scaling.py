"""Does cost grow as the work, and no faster? Fits exponents and prints them: `make scaling`, or with ``--full``.

    python bench/scaling.py            bounded sizes, half a minute
    python bench/scaling.py --full     10⁵ steps, 10⁵ threads, 2,000 nodes, 1,000 channels: two minutes, as `make bench`

For each size n the cost of one more step is measured: CPU of this process in µs, and bytes of the records. Through the
points of log(n) and log(cost) goes a straight line, and its slope is the exponent: 0 is flat, 1 is cost that grows as n
does. The target is at most 0.02. Bytes are exact; for the time the smallest of several rounds counts, and on a busy
machine it is off by more than the target, so look at the points beside it. Beside them stands the memory that is the
process's own after each point: it belongs to the state, not to what has happened.
"""

from __future__ import annotations

import argparse
import gc
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from measuring import human, own_memory

from walgraph import END, START, Log, StateGraph

PLACE = Path(__file__).resolve().parent.parent / "build" / "scaling"
ROUNDS = 5
TARGET = 0.02


class Point(NamedTuple):
    """The cost of one step at a size."""

    size: int
    micros: float
    size_bytes: float
    memory: int = 0
    """What the process itself takes by then."""


class State(TypedDict):
    """One number, and where to stop."""

    x: int
    until: int


def count(state: Any) -> dict[str, int]:
    """Count."""
    return {"x": state["x"] + 1}


def has_more(state: Any) -> str:
    """Go on until the limit that the input set."""
    return "count" if state["x"] < state["until"] else END


def counter(log: Log) -> Any:
    """Return a graph of one node that counts up to a limit."""
    builder = StateGraph(State).add_node("count", count).add_edge(START, "count")
    return builder.add_conditional_edges("count", has_more).compile(log)


def config(thread: str) -> dict[str, Any]:
    """Return the config of a thread, without a limit of steps."""
    return {"configurable": {"thread_id": thread}, "recursion_limit": 1 << 30}


def stored(log: Log, thread: str, after: int = 0) -> int:
    """Return the bytes of a thread's frames behind a seq."""
    return sum(len(body) for _, body in log.frames(thread, after))


def timed(work: Callable[[], Any], steps: int, rounds: int = ROUNDS) -> float:
    """Return the CPU in µs of one step: the least of several rounds."""
    least = math.inf
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least / steps * 1e6


def by_length(log: Log, sizes: list[int]) -> list[Point]:
    """Count in one thread: the cost of 200 more steps at each length."""
    graph, points, reached, more = counter(log), [], 0, 200
    for size in sizes:
        if size > reached:
            graph.invoke({"x": reached, "until": size}, config("t"), durability="async")
            reached = size
        log.flush()
        head = log.head("t")
        assert head is not None
        before = head.seq
        spent = math.inf
        for _ in range(ROUNDS):
            start = time.process_time()
            graph.invoke({"x": reached, "until": reached + more}, config("t"), durability="async")
            spent = min(spent, time.process_time() - start)
            reached += more
        log.flush()
        weight = stored(log, "t", before) / (more * ROUNDS)
        points.append(Point(size, spent / more * 1e6, weight, own_memory()))
    return points


def by_threads(log: Log, sizes: list[int]) -> list[Point]:
    """Run many threads of five steps: the cost of 100 more when there are so many."""
    graph, points, made = counter(log), [], 0

    def run(number: int) -> None:
        graph.invoke({"x": 0, "until": 5}, config(f"t{number}"), durability="exit")

    for size in sizes:
        while made < size:
            run(made)
            made += 1
        spent = math.inf
        for _ in range(ROUNDS):
            start = time.process_time()
            for _ in range(100):
                run(made)
                made += 1
            spent = min(spent, time.process_time() - start)
        points.append(Point(size, spent / 500 * 1e6, stored(log, f"t{made - 1}") / 5, own_memory()))
    return points


def by_nodes(log: Log, sizes: list[int]) -> list[Point]:
    """Loop over one node of a graph that has many more: the cost of one step."""
    points = []
    for size in sizes:
        builder = StateGraph(State).add_node("count", count).add_edge(START, "count")
        names = [f"n{number}" for number in range(size)]
        # They could run, so they are part of the graph, but the router never goes there.
        builder.add_conditional_edges("count", has_more, {"count": "count", END: END, "away": names[0]})
        for before, name in zip([None, *names], names, strict=False):
            builder.add_node(name, count)
            if before is not None:
                builder.add_edge(before, name)
        points.append(_looped(log, builder, f"nodes {size}", size, {"x": 0, "until": 500}, 500))
    return points


def by_channels(log: Log, sizes: list[int]) -> list[Point]:
    """Loop with many channels beside the one that changes: the cost of one step."""
    points = []
    for size in sizes:
        keys = [f"c{number}" for number in range(size)]
        schema = TypedDict("Wide", {**dict.fromkeys(keys, int), "x": int, "until": int})  # type: ignore[operator, misc]  # made here
        builder = StateGraph(schema).add_node("count", count, input_schema=State).add_edge(START, "count")
        builder.add_conditional_edges("count", has_more)
        given = {**dict.fromkeys(keys, 0), "x": 0, "until": 500}
        points.append(_looped(log, builder, f"channels {size}", size, given, 500))
    return points


def _looped(log: Log, builder: Any, name: str, size: int, given: dict[str, int], steps: int) -> Point:
    graph = builder.compile(log)
    graph.invoke({**given, "until": 1}, config(name), durability="async")
    log.flush()
    short = stored(log, name)
    rounds = iter(range(100))
    spent = timed(lambda: graph.invoke(given, config(f"{name} {next(rounds)}"), durability="async"), steps)
    log.flush()
    return Point(size, spent, (stored(log, f"{name} 0") - short) / (steps - 1), own_memory())


def exponent(points: list[Point], cost: Callable[[Point], float]) -> float:
    """Return the slope of the straight line through the points of log(size) and log(cost)."""
    xs, ys = [math.log(point.size) for point in points], [math.log(cost(point)) for point in points]
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread


EXPERIMENTS = {
    "steps of a thread": (by_length, [10, 100, 1_000, 5_000], [10, 100, 1_000, 10_000, 100_000]),
    "threads in a log": (by_threads, [10, 100, 1_000], [10, 100, 1_000, 10_000, 100_000]),
    "nodes of a graph": (by_nodes, [2, 20, 200], [2, 20, 200, 2_000]),
    "channels of a state": (by_channels, [2, 30, 300], [2, 30, 300, 1_000]),
}


def measured(experiment: Callable[[Log, list[int]], list[Point]], sizes: list[int]) -> list[Point]:
    """Return the points of an experiment, in a log of its own that waits for no disk."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    with Log.open(PLACE / "log", fsync="off") as log:
        points = experiment(log, sizes)
    shutil.rmtree(PLACE)
    return points


COSTS: dict[str, Callable[[Point], float]] = {"time": lambda p: p.micros, "bytes": lambda p: p.size_bytes}


def main() -> None:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(description="Fit how the cost of a step grows.")
    parser.add_argument("--full", action="store_true", help="up to 10⁵ steps and threads")
    is_full = parser.parse_args().full
    for name, (experiment, bounded, full) in EXPERIMENTS.items():
        points = measured(experiment, full if is_full else bounded)
        print(name)
        for point in points:
            cost = f"{point.micros:8.1f} µs  {point.size_bytes:8.1f} bytes a step"
            print(f"    {point.size:>7,}  {cost}  {human(point.memory)}")
        for what, of in COSTS.items():
            slope = exponent(points, of)
            verdict = "reached" if slope <= TARGET else "NOT reached"
            print(f"    S15 {what:5}  exponent {slope:+.3f}  target ≤ {TARGET}  {verdict}")


if __name__ == "__main__":
    main()
