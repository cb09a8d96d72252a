"""WalSaver beside LangGraph's own savers, under LangGraph, on the same work: time, bytes written, bytes on disk.

    loop    one node that goes round 300 times with a number: what a durable step costs
    chain   1,000 nodes in a row: what it costs that a graph is large
    chat    1,000 turns, each a call that adds a question and an answer of 300 characters to a list of messages

A part of `peers.py`, which runs each saver in a process of its own, in turn, under ``sync`` and ``async``, from threads
and from an event loop. Equal durability: WalSaver with full sync; SqliteSaver as it is made, in SQLite's WAL mode with
``synchronous=FULL``, which is one flush a transaction; PostgresSaver on a server with its defaults. ``InMemorySaver``
is the floor: what is above it is what keeping costs. Bytes written are the process's; a server's are its data files'.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from measuring import bytes_below, peak_memory, written

HERE = Path(__file__).resolve().parent
SAVERS = ("InMemorySaver", "WalSaver", "SqliteSaver", "PostgresSaver")
GOAL, FEWER = 2.0, 10.0


class Count(TypedDict):
    """A number that goes up."""

    n: int


def count(state: Any) -> dict[str, int]:
    """Count."""
    return {"n": state["n"] + 1}


def config(steps: int = 0) -> Any:
    """Return the config of the one thread."""
    return {"configurable": {"thread_id": "t"}, "recursion_limit": steps + 10}


def loop(saver: Any, steps: int) -> tuple[Any, list[Any], Any]:
    """Return a graph that goes round, its inputs and the config."""
    from libraries import langgraph, looped

    graph = looped(langgraph(), saver, Count, count, lambda state: state["n"] < steps)
    return graph, [{"n": 0}], config(steps)


def chain(saver: Any, steps: int) -> tuple[Any, list[Any], Any]:
    """Return a chain, its input and the config."""
    from libraries import langgraph, row

    graph = row(langgraph(), saver, Count, count, [f"n{number}" for number in range(steps)])
    return graph, [{"n": 0}], config(steps)


def chat(saver: Any, turns: int) -> tuple[Any, list[Any], Any]:
    """Return a graph that answers, what is asked in each turn, and the config."""
    from langchain_core.messages import AIMessage, HumanMessage
    from langgraph.graph import START, MessagesState, StateGraph

    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda _: {"messages": [AIMessage("y" * 300)]})
    graph = builder.add_edge(START, "reply").compile(checkpointer=saver)
    return graph, [{"messages": [HumanMessage("x" * 300)]} for _ in range(turns)], config()


WORKS: dict[str, tuple[Callable[[Any, int], tuple[Any, list[Any], Any]], int, int]] = {
    "loop": (loop, 300, 3),
    "chain": (chain, 1000, 1),
    "chat": (chat, 1000, 1),
}
"""Name → the work, its steps or turns, rounds."""


@contextlib.contextmanager
def opened(kind: str, place: Path, dsn: str) -> Iterator[Any]:
    """Yield a fresh saver for threads."""
    if kind == "InMemorySaver":
        from langgraph.checkpoint.memory import InMemorySaver

        yield InMemorySaver()
    elif kind == "SqliteSaver":
        from langgraph.checkpoint.sqlite import SqliteSaver

        with SqliteSaver.from_conn_string(str(place / "db")) as saver:
            yield saver
    elif kind == "PostgresSaver":
        from langgraph.checkpoint.postgres import PostgresSaver

        with PostgresSaver.from_conn_string(dsn) as saver:
            saver.setup()
            yield saver
    else:
        from walgraph.tools.langgraph_saver import WalSaver

        with WalSaver.from_conn_string(str(place / "log")) as saver:
            yield saver


@contextlib.asynccontextmanager
async def aopened(kind: str, place: Path, dsn: str) -> AsyncIterator[Any]:
    """Yield a fresh saver for an event loop."""
    if kind == "SqliteSaver":
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        async with AsyncSqliteSaver.from_conn_string(str(place / "db")) as saver:
            yield saver
    elif kind == "PostgresSaver":
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        async with AsyncPostgresSaver.from_conn_string(dsn) as saver:
            await saver.setup()
            yield saver
    else:
        with opened(kind, place, dsn) as saver:
            yield saver


def run(work: str, kind: str, durability: Any, place: Path, dsn: str) -> float:
    """Do the work from threads, and return the seconds."""
    make, amount, _ = WORKS[work]
    with opened(kind, place, dsn) as saver:
        graph, inputs, where = make(saver, amount)
        start = time.perf_counter()
        for each in inputs:
            graph.invoke(each, where, durability=durability)
        return time.perf_counter() - start


async def arun(work: str, kind: str, durability: Any, place: Path, dsn: str) -> float:
    """Do the work from an event loop, and return the seconds."""
    make, amount, _ = WORKS[work]
    async with aopened(kind, place, dsn) as saver:
        graph, inputs, where = make(saver, amount)
        start = time.perf_counter()
        for each in inputs:
            await graph.ainvoke(each, where, durability=durability)
        return time.perf_counter() - start


def one(work: str, kind: str, mode: str, place: Path, dsn: str) -> None:
    """Do one work on one saver in this process, and print what it took."""
    place.mkdir(parents=True, exist_ok=True)
    durability, _, how = mode.partition(", ")
    before = written()
    given = (work, kind, durability, place, dsn)
    seconds = run(*given) if how == "threads" else asyncio.run(arun(*given))
    taken = {"disk": bytes_below(place), "written": written() - before, "memory": peak_memory()}
    print(json.dumps({"seconds": seconds, **taken}))


def compare(page: Any, in_turn: Any, child: Callable[..., str]) -> None:
    """Run every work in every mode on every saver, and put what it took on the page."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from postgres_server import NoPostgres, postgres_server

    with contextlib.ExitStack() as stack:
        dsn, data = "", None
        try:
            dsn, data = stack.enter_context(postgres_server(durable=True))
        except NoPostgres as error:
            print(f"PostgresSaver is left out: {error}")
            page.rows.append(["savers", "", "PostgresSaver", f"left out: {error}", "", "", ""])
        kinds = [kind for kind in SAVERS if dsn or kind != "PostgresSaver"]
        for work, (_, amount, rounds) in WORKS.items():
            for mode in ("sync, threads", "async, threads", "sync, asyncio", "async, asyncio"):
                if mode.endswith("asyncio") and work != "loop":
                    continue
                contenders = {kind: partial(_measured, child, work, kind, mode, dsn, data) for kind in kinds}
                _put(page, work, mode, in_turn(contenders, rounds), amount)


def _measured(
    child: Callable[..., str], work: str, kind: str, mode: str, dsn: str, data: Path | None, place: Path
) -> dict[str, float]:
    command = [__file__, "--one", work, kind, mode, str(place)]
    if kind != "PostgresSaver" or data is None:
        found: dict[str, float] = json.loads(child(*command))
        return found
    from postgres_server import fresh_database

    # The server's own files: what the database takes, and what went into the log of the server.
    with fresh_database(dsn) as (address, sizes):
        before = sizes()
        found = json.loads(child(*command, "--dsn", address))
        after = sizes()
    return {**found, "disk": after[0] - before[0], "written": after[1] - before[1]}


def _put(page: Any, work: str, mode: str, results: dict[str, dict[str, float]], amount: int) -> None:
    title = {"loop": "loop of 300 steps", "chain": "chain of 1,000 nodes", "chat": "chat of 1,000 turns"}[
        work
    ]
    ours, theirs, floor = (results[kind] for kind in ("WalSaver", "SqliteSaver", "InMemorySaver"))
    times = theirs["seconds"] / ours["seconds"]
    own = ours["seconds"] - floor["seconds"]
    share = (theirs["seconds"] - floor["seconds"]) / own if own > 0 else 0.0
    said = page.judged("savers", f"{title}, {mode}: faster than SqliteSaver", times, GOAL)
    print(f"{title}, {mode}: {times:.1f} × faster than SqliteSaver  {said}")
    print(f"    beyond InMemorySaver {share:.1f} × less" if share else "    no slower than InMemorySaver")
    for kind, found in results.items():
        page.row(f"savers: {title}", mode, kind, found, amount)
    fewer = theirs["disk"] / ours["disk"]
    wrote = theirs["written"] / max(ours["written"], 1)
    said = page.judged("savers", f"{title}, {mode}: bytes on disk", fewer, FEWER) if work == "chat" else ""
    print(f"    {fewer:.1f} × fewer bytes on disk, {wrote:.1f} × fewer written  {said}")


def main() -> None:
    """Be the process of one saver."""
    parser = argparse.ArgumentParser(description="One saver under LangGraph; see peers.py.")
    parser.add_argument("--one", nargs=4, metavar=("WORK", "SAVER", "MODE", "FOLDER"), required=True)
    parser.add_argument("--dsn", default="")
    given = parser.parse_args()
    work, kind, mode, place = given.one
    one(work, kind, mode, Path(place), given.dsn)


if __name__ == "__main__":
    main()
