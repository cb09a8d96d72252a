"""WalSaver beside LangGraph's own savers, under LangGraph, on the same work: time, bytes written, bytes on disk.

    python bench/saver.py [TURNS] [STEPS] [POSTGRES_DSN]

    loop    one node that goes round STEPS times with a number: what a durable step costs
    chat    TURNS calls, each of which adds a question and an answer of 300 characters to a list of messages

Each line is the median of three rounds; savers take turns, so that what else the machine does meets all of them.
Bytes written are this process's, as the kernel counts them on their way to the disk. A server's are not among them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from walgraph.tools.langgraph_saver import WalSaver

ROUNDS = 3


class Count(TypedDict):
    """A number that goes up."""

    n: int


def loop(saver: Any, durability: Any, steps: int) -> int:
    """Go round, and return how many steps that were."""
    builder = StateGraph(Count)
    builder.add_node("more", lambda state: {"n": state["n"] + 1})
    builder.add_edge(START, "more")
    builder.add_conditional_edges("more", lambda state: END if state["n"] >= steps else "more")
    graph = builder.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": steps + 10}
    graph.invoke({"n": 0}, config, durability=durability)
    return steps


def chat(saver: Any, durability: Any, turns: int) -> int:
    """Talk, and return how many turns that were."""
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda _: {"messages": [AIMessage("y" * 300)]})
    builder.add_edge(START, "reply")
    graph = builder.compile(checkpointer=saver)
    for _ in range(turns):
        question = {"messages": [HumanMessage("x" * 300)]}
        graph.invoke(question, {"configurable": {"thread_id": "t"}}, durability=durability)
    return turns


@contextlib.contextmanager
def opened(kind: str, place: str, dsn: str | None) -> Iterator[Any]:
    """Yield a fresh saver."""
    if kind == "InMemorySaver":
        yield InMemorySaver()
    elif kind == "SqliteSaver":
        with SqliteSaver.from_conn_string(f"{place}/db") as saver:
            yield saver
    elif kind == "PostgresSaver":
        from langgraph.checkpoint.postgres import PostgresSaver

        with PostgresSaver.from_conn_string(str(dsn)) as saver:
            saver.setup()
            saver.delete_thread("t")
            yield saver
    else:
        with WalSaver.from_conn_string(f"{place}/log") as saver:
            yield saver


def written() -> int:
    """Return how many bytes this process has sent to the disk."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/io").read_text().splitlines():
            if line.startswith("write_bytes"):
                return int(line.split()[1])
    return 0


def on_disk(place: str) -> int:
    """Return how much room the files below a folder take; a log's file has holes."""
    return sum(path.stat().st_blocks * 512 for path in Path(place).rglob("*") if path.is_file())


def measured(
    work: Callable[[Any, Any, int], int], kind: str, durability: str, amount: int, dsn: str | None
) -> tuple[float, int, int]:
    """Return microseconds for each step, bytes written and bytes on disk."""
    place = tempfile.mkdtemp(prefix="bench-saver-", dir=os.environ.get("BENCH_DIR"))
    try:
        with opened(kind, place, dsn) as saver:
            before, began = written(), time.perf_counter()
            steps = work(saver, durability, amount)
            seconds = time.perf_counter() - began
        return seconds / steps * 1e6, written() - before, on_disk(place)
    finally:
        shutil.rmtree(place)


def main() -> None:
    """Measure, and print a table."""
    turns, steps = (int(word) for word in [*sys.argv[1:3], "300", "300"][:2])
    dsn = sys.argv[3] if len(sys.argv) > 3 else None
    kinds = ["InMemorySaver", "SqliteSaver", "WalSaver", *(["PostgresSaver"] if dsn else [])]
    print(f"{'work':6} {'durability':10} {'saver':14} {'µs/step':>9} {'written MB':>11} {'disk MB':>8}")
    for work, amount in ((loop, steps), (chat, turns)):
        for durability in ("sync", "async", "exit"):
            found: dict[str, list[tuple[float, int, int]]] = {kind: [] for kind in kinds}
            for _ in range(ROUNDS):
                for kind in kinds:
                    found[kind].append(measured(work, kind, durability, amount, dsn))
            for kind, rounds in found.items():
                micro, wrote, held = (statistics.median(column) for column in zip(*rounds, strict=True))
                numbers = f"{micro:9.0f} {wrote / 1e6:11.2f} {held / 1e6:8.2f}"
                print(f"{work.__name__:6} {durability:10} {kind:14} {numbers}", flush=True)


if __name__ == "__main__":
    main()
