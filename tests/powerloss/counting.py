"""What every workload is made of: a graph that counts, and marks that say how far it got.

Everything a thread holds follows from how far it got, so ``examine`` can tell a wrong state from an old one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from walgraph import END, START, CompiledGraph, Log, StateGraph

STEPS = 12
"""How far a thread counts."""
LARGE = 40_000
"""Bytes of a value that lies out of line."""


class State(TypedDict, total=False):
    """How far it got, the sum of what it counted, and a value that is large now and then."""

    n: int
    sum: int
    load: bytes


def load_of(n: int) -> bytes:
    """The load of a thread that got as far as ``n``."""
    return bytes([n]) * (LARGE if n % 4 == 3 else 50)


def values_of(n: int) -> dict[str, Any]:
    """The values of a thread that got as far as ``n``."""
    return {"n": n, "sum": n * (n + 1) // 2, "load": load_of(n)}


def mark(*words: object) -> None:
    """Put a mark into the trace, if there is one."""
    text = " ".join(map(str, words)).encode()
    function = getattr(ctypes.CDLL(None), "powerloss_mark", None)
    if function is not None:
        function(text)


def fail(kind: int, after: int, error: int) -> None:
    """Let one call of a kind fail, after so many others; kind 0: let none fail."""
    ctypes.CDLL(None).powerloss_fail(kind, ctypes.c_long(after), error, 0)


def counter(log: Log | None, told: Callable[[str, int], None] = lambda *_: None) -> CompiledGraph:
    """The graph that counts to STEPS, and tells how far it has got before each step."""

    def count(state: State, config: dict[str, Any]) -> State:
        n = state.get("n", 0)
        if n:
            told(config["configurable"]["thread_id"], n)
        return {"n": n + 1, "sum": state.get("sum", 0) + n + 1, "load": load_of(n + 1)}

    def whither(state: State) -> str:
        return END if state["n"] == STEPS else "count"

    builder = StateGraph(State)
    builder.add_node("count", count)
    builder.add_edge(START, "count").add_conditional_edges("count", whither, ["count", END])
    return builder.compile(checkpointer=log, name="counter")


def config_of(thread: str) -> dict[str, Any]:
    """The config of a thread."""
    return {"configurable": {"thread_id": thread}, "recursion_limit": 1000}


def finish(graph: CompiledGraph, thread: str, durability: str = "sync") -> dict[str, Any]:
    """Bring a thread to its end, wherever it stands, and return its values."""
    config = config_of(thread)
    state = graph.get_state(config)
    return graph.invoke({} if not state.values and not state.next else None, config, durability=durability)


def steps_of(log: Log) -> dict[str, int]:
    """How far each thread of a log has got."""
    graph = counter(log)
    states = {head.thread_id: graph.get_state(config_of(head.thread_id)) for head in log.threads()}
    return {thread: state.values["n"] for thread, state in states.items() if state.values.get("n")}


def count_to_end(path: Path, threads: Sequence[str], durability: str, fsync: str) -> None:
    """Bring threads to their ends at once, and say how far they have got when that is a promise."""
    with Log.open(path, fsync=fsync) as log:
        mark("made", path.name)

        def told(thread: str, n: int) -> None:
            if durability == "async" and n % 5 == 0:
                log.flush()
                mark("step", path.name, thread, n - 1)
            if durability == "sync":
                mark("step", path.name, thread, n)

        graph = counter(log, told)

        def run(thread: str) -> None:
            finish(graph, thread, durability)
            mark("step", path.name, thread, STEPS)

        with ThreadPoolExecutor(len(threads)) as pool:
            list(pool.map(run, threads))
