"""The same work on LangGraph with its savers, beside walgraph: `make bench-peers`.

    parent   for each workload: rounds; in each round every contender once, in a process of its own, in turn
    child    python bench/peers.py --one WORKLOAD LIBRARY MODE FOLDER  ──►  one line of JSON

A graph of LangGraph's and one of ours are the same text, so each workload is written once and given the names of one
library. A process of its own for every run keeps imports and memory apart: its peak is that of the run.

    time      median of the rounds, per step, from the first call to the last flush; compiling is not counted
    on disk   what the closed store takes
    written   what the process handed to the disk (``/proc/self/io``; 0 where the system does not say)
    memory    the peak of the process
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

PLACE = Path(__file__).resolve().parent.parent / "build" / "bench-peers"
MEGABYTE = "v" * 1_000_000


class Number(TypedDict):
    """One number."""

    x: int


class Chat(TypedDict):
    """Messages that only grow."""

    messages: Annotated[list[str], operator.add]


class Large(TypedDict):
    """A large value, and a number that changes beside it."""

    x: int
    value: str


class Library(NamedTuple):
    """What a workload needs of a library, and where it keeps its records."""

    names: Any
    send: Any
    functional: Any
    saver: Any
    asaver: Callable[[], Any]


def walgraph_in(place: Path, *, is_logged: bool) -> Library:
    """Return walgraph with a log in a folder."""
    import walgraph

    log = walgraph.Log.open(place / "log") if is_logged else None
    return Library(walgraph, walgraph.Send, walgraph, log, lambda: log)


def langgraph_in(place: Path, *, is_logged: bool) -> Library:
    """Return LangGraph with its SqliteSaver in a folder."""
    import sqlite3

    from langgraph import func, graph
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.types import Send

    if not is_logged:
        return Library(graph, Send, func, None, lambda: None)
    connection = sqlite3.connect(place / "saver.sqlite", check_same_thread=False)
    return Library(graph, Send, func, SqliteSaver(connection), lambda: _async_saver(place))


def _async_saver(place: Path) -> Any:
    """Return LangGraph's saver for event loops, to be used as an asynchronous context."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(place / "saver.sqlite"))


def config(thread: object = "t") -> dict[str, Any]:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": str(thread)}, "recursion_limit": 20_000}


def count(state: Any) -> dict[str, int]:
    """Count."""
    return {"x": state["x"] + 1}


async def acount(state: Any) -> dict[str, int]:
    """Count, as a coroutine."""
    return {"x": state["x"] + 1}


def row(library: Library, nodes: int, saver: Any, node: Any = count) -> Any:
    """Return a graph of so many nodes in a row."""
    builder = library.names.StateGraph(Number)
    names = [f"n{number}" for number in range(nodes)]
    for before, name in zip([library.names.START, *names], names, strict=False):
        builder.add_node(name, node)
        builder.add_edge(before, name)
    return builder.compile(checkpointer=saver)


def chain(library: Library, mode: str | None) -> Callable[[], Any]:
    """1,000 nodes in a row."""
    graph = row(library, 1000, library.saver)
    return lambda: graph.invoke({"x": 0}, config(), durability=mode)


def chat(library: Library, mode: str | None) -> Callable[[], Any]:
    """A chat that grows by 2,000 messages of 300 bytes."""
    builder = library.names.StateGraph(Chat).add_node("say", lambda _: {"messages": ["m" * 300]})
    builder.add_edge(library.names.START, "say")
    end = library.names.END
    builder.add_conditional_edges("say", lambda state: "say" if len(state["messages"]) < 2000 else end)
    graph = builder.compile(checkpointer=library.saver)
    return lambda: graph.invoke({"messages": []}, config(), durability=mode)


def fan_out(library: Library, mode: str | None) -> Callable[[], Any]:
    """1,000 Sends and a join."""
    builder = library.names.StateGraph(Chat)
    builder.add_node("one", lambda number: {"messages": [str(number["n"])]})
    builder.add_node("join", lambda _: {})
    sends = [library.send("one", {"n": number}) for number in range(1000)]
    builder.add_conditional_edges(library.names.START, lambda _: sends, ["one"])
    builder.add_edge("one", "join")
    graph = builder.compile(checkpointer=library.saver)
    return lambda: graph.invoke({"messages": []}, config(), durability=mode)


def tasks(library: Library, mode: str | None) -> Callable[[], Any]:
    """1,000 tasks, one after another, in one entrypoint."""

    @library.functional.task
    def one(number: int) -> int:
        return number

    @library.functional.entrypoint(checkpointer=library.saver)
    def work(number: int) -> int:
        return sum(one(each).result() for each in range(number))

    return lambda: work.invoke(1000, config(), durability=mode)


def large(library: Library, mode: str | None) -> Callable[[], Any]:
    """A value of 1 MB that 200 steps leave alone."""
    builder = library.names.StateGraph(Large).add_node("count", count).add_edge(library.names.START, "count")
    end = library.names.END
    builder.add_conditional_edges("count", lambda state: "count" if state["x"] < 200 else end)
    graph = builder.compile(checkpointer=library.saver)
    return lambda: graph.invoke({"x": 0, "value": MEGABYTE}, config(), durability=mode)


def workers(library: Library, mode: str | None) -> Callable[[], Any]:
    """200 threads of 10 steps from 8 workers."""
    graph = row(library, 10, library.saver)

    def call() -> None:
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda n: graph.invoke({"x": 0}, config(n), durability=mode), range(200)):
                pass

    return call


def loop(library: Library, mode: str | None) -> Callable[[], Any]:
    """200 threads of 10 steps from an event loop, 100 at once."""

    async def all_of_them() -> None:
        saver = library.asaver()
        if hasattr(saver, "__aenter__"):
            async with saver as opened:
                await runs(opened)
        else:
            await runs(saver)

    async def runs(saver: Any) -> None:
        graph, numbers = row(library, 10, saver, acount), iter(range(200))

        async def worker() -> None:
            for number in numbers:
                await graph.ainvoke({"x": 0}, config(number), durability=mode)

        await asyncio.gather(*(worker() for _ in range(100)))

    return lambda: asyncio.run(all_of_them())


def history(library: Library, _: str | None) -> Callable[[], Any]:
    """List 1,000 checkpoints."""
    builder = library.names.StateGraph(Number).add_node("count", count).add_edge(library.names.START, "count")
    end = library.names.END
    builder.add_conditional_edges("count", lambda state: "count" if state["x"] < 1000 else end)
    graph = builder.compile(checkpointer=library.saver)
    graph.invoke({"x": 0}, config(), durability="async")
    return lambda: list(graph.get_state_history(config()))


class Workload(NamedTuple):
    """What is run, how many steps it has, how often, and what is wanted of us against LangGraph."""

    work: Callable[[Library, str | None], Callable[[], Any]]
    steps: int
    rounds: int
    wanted: dict[str, tuple[str, float]]
    """Mode → the target's name, and how many times faster we are to be."""
    fewer_bytes: tuple[str, float] | None = None


WORKLOADS = {
    "chain": Workload(
        chain, 1000, 3, {"sync": ("S1", 6), "async": ("S2", 50), "exit": ("S2", 10), "none": ("S3", 15)}
    ),
    "chat": Workload(chat, 2000, 1, {"async": ("", 0)}, ("S4", 500)),
    "fan-out": Workload(fan_out, 1000, 3, {"sync": ("S5", 20)}),
    "tasks": Workload(tasks, 1000, 3, {"sync": ("", 0), "async": ("S6", 50)}),
    "8 workers": Workload(workers, 2000, 3, {"sync": ("S8", 7)}),
    "asyncio, 100 at once": Workload(loop, 2000, 3, {"sync": ("S9", 45)}),
    "1 MB unchanged": Workload(large, 200, 1, {"sync": ("", 0)}, ("S11", 150)),
    "history": Workload(history, 1000, 3, {"async": ("S12", 5)}),
}
LIBRARIES = {"walgraph": walgraph_in, "langgraph": langgraph_in}

FIRST_RUN = """
import sys; sys.argv = ["peers.py"]; sys.path.insert(0, {here!r})
import pathlib, peers
library = peers.LIBRARIES[{library!r}](pathlib.Path({place!r}), is_logged=True)
peers.row(library, 3, library.saver).invoke({{"x": 0}}, peers.config(), durability="sync")
"""


def bytes_below(place: Path) -> int:
    """Return what the files below a folder take, without LMDB's table of readers."""
    files = [path for path in place.rglob("*") if path.is_file() and not path.name.startswith("lock")]
    return sum(path.stat().st_blocks * 512 for path in files)


def written() -> int:
    """Return how many bytes this process has handed to the disk, if the system says so."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("write_bytes")), 0)


def one(workload: str, library: str, mode: str, place: Path) -> None:
    """Run one contender in this process, and print what it took."""
    place.mkdir(parents=True)
    opened = LIBRARIES[library](place, is_logged=mode != "none")
    call = WORKLOADS[workload].work(opened, None if mode == "none" else mode)
    before, start = written(), time.perf_counter()
    call()
    if library == "walgraph" and opened.saver is not None:
        opened.saver.flush()
    seconds = time.perf_counter() - start
    handed = written() - before
    if library == "walgraph" and opened.saver is not None:
        opened.saver.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds, "disk": bytes_below(place), "written": handed, "memory": memory}))


def child(*command: str) -> str:
    """Run this interpreter, and return what it printed."""
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return done.stdout


def measured(workload: str, mode: str, rounds: int) -> dict[str, dict[str, float]]:
    """Run both libraries in turn, and return the medians of each."""
    found: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    for _ in range(rounds):
        for library, results in found.items():
            shutil.rmtree(PLACE, ignore_errors=True)
            place = PLACE / "store"
            results.append(json.loads(child(__file__, "--one", workload, library, mode, str(place))))
    shutil.rmtree(PLACE, ignore_errors=True)
    return {
        library: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for library, results in found.items()
    }


def verdict(name: str, wanted: float, reached: float) -> str:
    """Return a target as the table shows it."""
    if not name:
        return ""
    return f"{name} ≥ {wanted:g} ×: {'reached' if reached >= wanted else 'NOT reached'}"


def human(size: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def first_run() -> None:
    """Print how long a fresh process needs for its imports and a first run of three nodes."""
    spent: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    for _ in range(5):
        for library, seconds in spent.items():
            shutil.rmtree(PLACE, ignore_errors=True)
            PLACE.mkdir(parents=True)
            here = str(Path(__file__).resolve().parent)
            start = time.perf_counter()
            child("-c", FIRST_RUN.format(here=here, library=library, place=str(PLACE)))
            seconds.append(time.perf_counter() - start)
    ours, theirs = (statistics.median(spent[library]) * 1000 for library in LIBRARIES)
    print(
        f"first run, fresh process: {ours:.0f} ms, langgraph {theirs:.0f} ms, {verdict('S13', 5, theirs / ours)}"
    )


def main() -> None:
    """Measure everything, and print the table."""
    parser = argparse.ArgumentParser(description="Run the same work on LangGraph and on walgraph.")
    parser.add_argument(
        "--one", nargs=4, metavar=("WORKLOAD", "LIBRARY", "MODE", "FOLDER"), help="one run, as JSON"
    )
    parser.add_argument("--only", choices=[*WORKLOADS, "first run"], help="one workload")
    given = parser.parse_args()
    if given.one:
        workload, library, mode, place = given.one
        one(workload, library, mode, Path(place))
        return
    for name, workload in WORKLOADS.items():
        if given.only not in {None, name}:
            continue
        for mode, (target, wanted) in workload.wanted.items():
            results = measured(name, mode, workload.rounds)
            ours, theirs = results["walgraph"], results["langgraph"]
            faster = theirs["seconds"] / ours["seconds"]
            print(f"{name}, {mode}: {faster:.1f} × faster  {verdict(target, wanted, faster)}")
            for library, each in results.items():
                micros = each["seconds"] / workload.steps * 1e6
                disk, handed, memory = (human(each[key]) for key in ("disk", "written", "memory"))
                print(
                    f"    {library:9} {micros:10.1f} µs/step  on disk {disk}, written {handed}, peak {memory}"
                )
            if workload.fewer_bytes is not None:
                saved, least = workload.fewer_bytes
                fewer = theirs["disk"] / ours["disk"]
                print(f"    {fewer:.0f} × fewer bytes on disk  {verdict(saved, least, fewer)}")
            sys.stdout.flush()
    if given.only in {None, "first run"}:
        first_run()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"Medians of interleaved rounds; {os.cpu_count()} processors, load {load}.")


if __name__ == "__main__":
    main()
