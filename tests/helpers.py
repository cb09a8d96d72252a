"""Words that the tests of the engine share: two ways to call a graph, a state to play with, a thread to play on.

    way.invoke(graph, …)     invoke, or ainvoke on an event loop of its own
    @way.node                the function as it is, or as a coroutine function
    @way.flow                a generator whose yielded futures are waited for: with .result(), or with await

So one test says one thing, and says it of synchronous code and of coroutines.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import operator
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict
from unittest import mock

from walgraph import END, START, CompiledGraph, Log, StateGraph, get_stream_writer, interrupt
from walgraph.wal.log_reading import LogReading

THREAD: dict[str, Any] = {"configurable": {"thread_id": "t"}}
"""The config of the one thread that most tests need."""


class Trail(TypedDict, total=False):
    """A state in which everybody leaves a trail, and one value that the last writer keeps."""

    trail: Annotated[list[str], operator.add]
    x: Any


class Way:
    """A way to call graphs: synchronous, or on an event loop.

    Args:
        name: ``"sync"`` or ``"async"``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_async = name == "async"

    def __repr__(self) -> str:
        """Return the name, for the ids of tests."""
        return self.name

    def invoke(self, graph: CompiledGraph, given: Any, config: Any = THREAD, **options: Any) -> Any:
        """Run the graph and return its output."""
        if self.is_async:
            return asyncio.run(graph.ainvoke(given, config, **options))
        return graph.invoke(given, config, **options)

    def stream(self, graph: CompiledGraph, given: Any, config: Any = THREAD, **options: Any) -> list[Any]:
        """Run the graph and return all that it streams."""
        chunks: list[Any] = []
        self.stream_to(chunks, graph, given, config, **options)
        return chunks

    def stream_to(
        self, chunks: list[Any], graph: CompiledGraph, given: Any, config: Any = THREAD, **options: Any
    ) -> None:
        """Run the graph and put what it streams into a list, which is good to have when it raises."""
        if not self.is_async:
            chunks.extend(graph.stream(given, config, **options))
            return

        async def collect() -> None:
            async for chunk in graph.astream(given, config, **options):
                chunks.append(chunk)  # noqa: PERF401 - what came before an error is wanted too

        asyncio.run(collect())

    def node(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a plain function as it is, or as a coroutine function."""
        if not self.is_async:
            return function

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        return coroutine

    def flow(self, function: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Any]:
        """Return a function that runs a generator and waits for each future or list of futures that it yields."""

        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            answer = functools.partial(next, steps)
            while True:
                try:
                    wanted = answer()
                except StopIteration as stop:
                    return stop.value
                try:
                    value = [f.result() for f in wanted] if isinstance(wanted, list) else wanted.result()
                    answer = functools.partial(steps.send, value)
                except BaseException as error:
                    answer = functools.partial(steps.throw, error)

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            answer = functools.partial(next, steps)
            while True:
                try:
                    wanted = answer()
                except StopIteration as stop:
                    return stop.value
                try:
                    value = await asyncio.gather(*wanted) if isinstance(wanted, list) else await wanted
                    answer = functools.partial(steps.send, value)
                except BaseException as error:
                    answer = functools.partial(steps.throw, error)

        # Wrapped generators would be taken for generators, which entrypoints refuse.
        for made in (plain, coroutine):
            made.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
            del made.__wrapped__  # type: ignore[attr-defined]
        return coroutine if self.is_async else plain


def chain(*nodes: Callable[..., Any], state: Any = Trail) -> StateGraph:
    """Return a builder of nodes that run one after another."""
    builder = StateGraph(state)
    builder.add_sequence(list(nodes)).add_edge(START, nodes[0].__name__)
    return builder


def steps_of(log: Log, thread: str = "t") -> list[str]:
    """Return the kinds of the records of a thread, in order."""
    return [type(stored.record).__name__ for stored in log.read(thread)]


def killed(program: str, *arguments: object) -> str:
    """Run a Python program that is to kill itself with SIGKILL, and return what it said before."""
    source = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{textwrap.dedent(program)}"
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -9, f"it ended with {done.returncode}:\n{done.stderr}"
    return done.stdout


def leaves(name: str, **others: Any) -> Callable[[Any], dict[str, Any]]:
    """Return a node that leaves its name in the trail, and writes other keys as given."""

    def node(state: Any) -> dict[str, Any]:
        return {"trail": [name], **others}

    node.__name__ = name
    return node


def asks(name: str, *questions: Any) -> Callable[[Any], dict[str, Any]]:
    """Return a node that asks questions one after another and leaves the answers in the trail."""

    def node(state: Any) -> dict[str, Any]:
        return {"trail": [interrupt(question) for question in questions]}

    node.__name__ = name
    return node


def drawn(way: Way, *nodes: Callable[..., Any], edges: str, state: Any = Trail, **options: Any) -> StateGraph:
    """Return a builder of nodes and edges, which are written ``">a a>b,c b>"``: from START to a, and so on.

    Args:
        way: How the nodes are made: as they are, or as coroutine functions.
        nodes: Functions whose names the nodes take.
        edges: What leads where; nothing before ``>`` stands for START, nothing after it for END.
        state: The state's schema.
        options: Those of ``StateGraph``.
    """
    builder = StateGraph(state, **options)
    for node in nodes:
        builder.add_node(node.__name__, way.node(node))
    for edge in edges.split():
        starts, _, ends = edge.partition(">")
        for end in ends.split(","):
            builder.add_edge(starts.split("+") if "+" in starts else starts or START, end or END)
    return builder


def on(thread: str, **configurable: Any) -> dict[str, Any]:
    """Return the config of a thread, and of one of its checkpoints if ``checkpoint_id`` is given."""
    return {"configurable": {"thread_id": thread, **configurable}}


def past(graph: CompiledGraph, config: Any = THREAD) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return source, step and next of each checkpoint of a thread, oldest first."""
    found = list(graph.get_state_history(config))
    return [(s.metadata["source"], s.metadata["step"], s.next) for s in reversed(found) if s.metadata]


def tells(name, update=None):
    """Return a node that says its name and leaves it in the trail."""

    def node(state):
        get_stream_writer()(f"{name} runs")
        return {"trail": [name]} if update is None else update

    node.__name__ = name
    return node


def silent(name, update=None):
    """Return a node that leaves its name in the trail."""

    def node(state):
        return {"trail": [name]} if update is None else update

    node.__name__ = name
    return node


@contextmanager
def noting_reads() -> Iterator[list[Any]]:
    """Note the records that are decoded after snapshots, meanwhile."""
    read: list[Any] = []
    since = LogReading.since

    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        found = since(self, *arguments, **options)
        return found._replace(records=(read.append(each) or each for each in found.records))

    with mock.patch.object(LogReading, "since", noted):
        yield read
