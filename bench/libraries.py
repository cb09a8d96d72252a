"""The names that a workload needs of a graph library, so that it is written once and run on both.

    run(library, mode, saver) ──► a call that does the work

A graph of LangGraph's and one of ours are the same text. Nothing is imported before its library is asked for: what a
process imports and holds in memory is that of one library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict


class Library(NamedTuple):
    """A graph library, and where it keeps its records."""

    name: str
    graph: Any
    """Has ``StateGraph``, ``START``, ``END`` and ``add_messages``."""
    send: Any
    functional: Any
    """Has ``task`` and ``entrypoint``."""
    opened: Callable[[Path], Any]
    """Opens a log or a saver in a folder, as a context."""
    aopened: Callable[[Path], Any]
    """The same for an event loop, as an asynchronous context if ``is_async_context``."""
    is_async_context: bool


def walgraph() -> Library:
    """Return walgraph with its log."""
    import walgraph

    def opened(place: Path) -> Any:
        return walgraph.Log.open(place / "log")

    return Library("walgraph", walgraph, walgraph.Send, walgraph, opened, opened, is_async_context=False)


def langgraph() -> Library:
    """Return LangGraph with its SqliteSaver."""
    from langgraph import func, graph
    from langgraph.types import Send

    def aopened(place: Path) -> Any:
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        return AsyncSqliteSaver.from_conn_string(str(place / "saver.sqlite"))

    return Library("langgraph", graph, Send, func, _sqlite, aopened, is_async_context=True)


@contextmanager
def _sqlite(place: Path) -> Iterator[Any]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    place.mkdir(parents=True, exist_ok=True)
    with SqliteSaver.from_conn_string(str(place / "saver.sqlite")) as saver:
        yield saver


LIBRARIES: dict[str, Callable[[], Library]] = {"walgraph": walgraph, "langgraph": langgraph}


def merging(library: Library) -> Any:
    """Return a schema of messages that a library merges by their ids."""
    messages = Annotated[list, library.graph.add_messages]
    return TypedDict("Talk", {"messages": messages})


def config(thread: object = "t") -> dict[str, Any]:
    """Return the config of a thread, with room for long chains."""
    return {"configurable": {"thread_id": str(thread)}, "recursion_limit": 30_000}


def row(library: Library, saver: Any, schema: type, node: Any, names: list[str]) -> Any:
    """Return a compiled graph of one node after another."""
    builder = library.graph.StateGraph(schema)
    for name in names:
        builder.add_node(name, node)
    start, end = library.graph.START, library.graph.END
    for before, after in zip([start, *names], [*names, end], strict=True):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=saver)


def looped(library: Library, saver: Any, schema: type, node: Any, has_more: Callable[[Any], bool]) -> Any:
    """Return a compiled graph of one node that is repeated."""
    builder = library.graph.StateGraph(schema).add_node("node", node).add_edge(library.graph.START, "node")
    end = library.graph.END
    builder.add_conditional_edges("node", lambda state: "node" if has_more(state) else end, ["node", end])
    return builder.compile(checkpointer=saver)
