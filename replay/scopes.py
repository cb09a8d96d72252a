"""Which graph of a thread runs which: the subgraphs around a task, and those below it.

    ""                         the graph that the user runs
    fetch:4f…                  the subgraph of its task ``fetch``             above: ""
    fetch:4f…|1                the second that this task called               above: ""
    fetch:4f…|parse:9a…        the subgraph of the task ``parse`` in it       above: fetch:4f…
    report:7c…|load:03…        called in the @task ``load`` of ``report``     above: ""
    fetch|memory               keeps its history from run to run              above: fetch:4f…, of the last call

A namespace is made of tasks and not of graphs, so which graph is above is recorded when the subgraph's run begins.

Invariants:
1. What is said here holds whether or not a subgraph's own graph is known: records kept unread are looked through.
2. What is kept unread of a graph is newer than what was folded of it, as in a snapshot made where it was known.

It must not change state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wal.record import HANDLER, Forked, RunStarted, StateEdited, StepCommitted
from .errors import run_by_langgraph
from .identity import shorter_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wal.record import Path
    from .state import ThreadState


def scope_within(record: Any) -> str:
    """Return the graph that a record is about.

    Raises:
        OtherThread: The record is of a thread that LangGraph runs.
    """
    try:
        scope: str = record.scope
    except AttributeError:
        raise run_by_langgraph(f"a {type(record).__name__}") from None
    return scope


def above(state: ThreadState, scope: str) -> str:
    """Return the scope of the graph whose task runs the subgraph ``scope``; the root's is the root itself."""
    _, found = _begun(state, scope)
    # Logs from before this was recorded have one segment for each graph.
    return shorter_scope(scope) if found is None else found


def caller(state: ThreadState, scope: str) -> Path | None:
    """Return the path, in the graph above, of the task that runs the subgraph ``scope``; None for the root."""
    return _begun(state, scope)[0]


def around(state: ThreadState, scope: str, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield scope and path of the tasks around a task, innermost first."""
    while True:
        # What an error handler asked or called does not wake the task that failed.
        while len(path) > 1 and path[-1] != HANDLER:
            path = path[:-1]
            yield scope, path
        outer = caller(state, scope)
        if outer is None:
            return
        scope, path = above(state, scope), outer
        yield scope, path


def is_current(state: ThreadState, scope: str, top: str = "") -> bool:
    """Return whether a subgraph runs below ``top`` and was called in the present step of each graph in between."""
    while scope != top:
        outer = above(state, scope)
        if not scope or (outer != top and outer not in state.scopes and outer not in state.unread):
            return False
        if base_of(state, scope) <= base_of(state, outer):
            return False
        scope = outer
    return True


def runs_in(state: ThreadState, below: str, scope: str, path: Path) -> bool:
    """Return whether the task at ``path`` in ``scope`` runs the subgraph ``below``, directly or deeper down."""
    return bool(below) and is_current(state, below) and (scope, path) in around(state, below, ())


def base_of(state: ThreadState, scope: str) -> int:
    """Return the seq of a scope's newest barrier."""
    unread = state.unread.get(scope)
    while unread is not None:
        match unread.record:
            case RunStarted() | StepCommitted() | Forked() | StateEdited(how="update" | "clear" | "input"):
                return unread.seq
        unread = unread.older
    graph = state.scopes.get(scope)
    return 0 if graph is None else graph.base


def _begun(state: ThreadState, scope: str) -> tuple[Path | None, str | None]:
    """Return what is recorded of who runs a scope: the task, and its graph's scope."""
    unread = state.unread.get(scope)
    while unread is not None:
        match unread.record:
            case RunStarted(caller=path, above=outer):
                return path, outer
            case Forked(state=plain):
                path = plain["caller"]
                return None if path is None else tuple(path), plain.get("above")
        unread = unread.older
    graph = state.scopes.get(scope)
    return (None, None) if graph is None else (graph.caller, graph.above)
