"""State as plain data and back: what snapshots, forks and ``StateFolded`` hold.

    GraphState   → {"values": …, "step": …, "due": […], "outcomes": [[path, …], …], …}
    ThreadState  → {"v": 1, "seq": …, "scopes": {…}, "unread": {…}, …}

Invariants:
1. ``thread_from_plain(thread_to_plain(state)) == state``.
2. The form is versioned by ``FORM``; a higher one is refused, since a misread state would be a wrong state.
3. User values stand in it as they are; encoding them is ``wal.codec``'s business.

It must not store or read anything itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wal.errors import FormatTooNew, LogCorrupt, WalgraphError
from ..wal.record import Reference
from ..wal.wire import FROM_WIRE, TO_WIRE
from .errors import SAVED_FORM, run_by_langgraph
from .ledger import Ledger
from .plain_outcome import outcome_from_plain, outcome_to_plain
from .state import NO_INPUT, GraphState, Outcome, ThreadState, Unread

if TYPE_CHECKING:
    from ..wal.codec import Decoder

FORM = 2
"""The version of the plain form. 2: with pages of outcomes; a state without any is of form 1."""


def graph_to_plain(graph: GraphState, *, in_pages: bool = False) -> dict[str, Any]:
    """Return one graph's state as plain data.

    Args:
        graph: The state.
        in_pages: Whether outcomes that lie in pages of the log are told by where they lie: for snapshots, which nobody
            reads without the log.
    """
    outcomes = graph.outcomes
    pages = outcomes.pages if in_pages else None
    held = outcomes.items() if pages is None else outcomes.recent()
    plain: dict[str, Any] = {
        "values": graph.values,
        "step": graph.step,
        "base": graph.base,
        "at": graph.at,
        "source": graph.source,
        "parent": graph.parent,
        "due": list(graph.due),
        "sends": [list(send) for send in graph.sends],
        "joins": [[list(key[0]), key[1], key[2], sorted(seen)] for key, seen in graph.joins.items()],
        "deferred": sorted(graph.deferred),
        "ran": list(graph.ran),
        "opened": graph.opened,
        "outcomes": [[list(path), outcome_to_plain(outcome)] for path, outcome in held],
        "ended": graph.ended,
        "reason": graph.reason,
        "metadata": graph.metadata,
        "caller": None if graph.caller is None else list(graph.caller),
        "run": graph.run,
    }
    if graph.above is not None:
        plain["above"] = graph.above
    if graph.notes is not None:
        plain["notes"] = graph.notes
    if graph.input is not NO_INPUT:
        plain["input"] = graph.input
    if pages is not None:
        plain["pages"] = pages.to_plain()
    return plain


def graph_from_plain(plain: dict[str, Any], decoder: Decoder | None = None) -> GraphState:
    """Return the graph's state that ``graph_to_plain`` was given.

    Args:
        plain: What it made.
        decoder: What reads pages of outcomes when they are asked for; whoever reads a snapshot brings it.
    """
    pages = None
    if "pages" in plain:
        from .pages import Pages

        assert decoder is not None, "only snapshots name pages, and they are read with a decoder"
        pages = Pages.from_plain(plain["pages"], decoder)
    outcomes: Ledger[Outcome] = Ledger.over(
        pages, ((tuple(path), outcome_from_plain(outcome)) for path, outcome in plain["outcomes"])
    )
    return GraphState(
        values=plain["values"],
        step=plain["step"],
        base=plain["base"],
        at=plain["at"],
        source=plain["source"],
        parent=plain["parent"],
        due=tuple(plain["due"]),
        sends=tuple(tuple(send) for send in plain["sends"]),
        joins={(tuple(members), end, late): frozenset(seen) for members, end, late, seen in plain["joins"]},
        deferred=frozenset(plain["deferred"]),
        ran=tuple(plain["ran"]),
        input=plain.get("input", NO_INPUT),
        opened=plain["opened"],
        outcomes=outcomes,
        ended=plain["ended"],
        reason=plain["reason"],
        metadata=plain["metadata"],
        caller=None if plain["caller"] is None else tuple(plain["caller"]),
        run=plain["run"],
        above=plain.get("above"),
        notes=plain.get("notes"),
    )


def thread_to_plain(state: ThreadState, *, in_pages: bool = False) -> dict[str, Any]:
    """Return a thread's state as plain data; ``in_pages`` as ``graph_to_plain`` takes it."""
    scopes = {scope: graph_to_plain(graph, in_pages=in_pages) for scope, graph in state.scopes.items()}
    return {
        "v": FORM if any("pages" in graph for graph in scopes.values()) else 1,
        "seq": state.seq,
        "scopes": scopes,
        "unread": {scope: _unread_to_plain(unread) for scope, unread in state.unread.items()},
        "run": state.run,
        "epoch": state.epoch,
        "durability": state.durability,
        "graph": state.graph,
        "at": state.at,
        "thread": state.thread,
        **({} if state.deadline is None else {"deadline": state.deadline}),
    }


def thread_from_plain(plain: dict[str, Any], decoder: Decoder | None = None) -> ThreadState:
    """Return the thread's state that ``thread_to_plain`` was given; ``decoder`` as ``graph_from_plain`` takes it.

    Raises:
        FormatTooNew: A newer walgraph made it.
        OtherThread: It is the state of a thread that LangGraph runs.
        LogCorrupt: It is no state.
    """
    try:
        return _thread_from_plain(plain, decoder)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, WalgraphError):
            raise
        # Its checksum is right, so somebody has made it so.
        message = f"A recorded state is not one: {error!r}."
        raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.") from error


def _thread_from_plain(plain: dict[str, Any], decoder: Decoder | None) -> ThreadState:
    if SAVED_FORM in plain:
        raise run_by_langgraph("a snapshot")
    if plain["v"] > FORM:
        message = f"a state of form {plain['v']} is recorded, this walgraph reads forms up to {FORM}"
        raise FormatTooNew(message, hint="Open the log with the walgraph that wrote it, or a newer one.")
    graph = plain["graph"]
    return ThreadState(
        seq=plain["seq"],
        scopes={scope: graph_from_plain(held, decoder) for scope, held in plain["scopes"].items()},
        unread={scope: _unread_from_plain(held) for scope, held in plain["unread"].items()},
        run=plain["run"],
        epoch=plain["epoch"],
        durability=plain["durability"],
        graph=None if graph is None else Reference(*graph),
        at=plain["at"],
        thread=plain.get("thread", ""),
        deadline=plain.get("deadline"),
    )


def _unread_to_plain(unread: Unread | None) -> list[Any]:
    held: list[Any] = []
    while unread is not None:
        # As on the wire, where the tuples of a record are arrays: our own classes are not in any user's registry.
        number, *fields = TO_WIRE[type(unread.record)](unread.record, [])
        held.append([unread.seq, number, fields])
        unread = unread.older
    held.reverse()
    return held


def _unread_from_plain(plain: list[Any]) -> Unread:
    unread: Unread | None = None
    for seq, number, fields in plain:
        unread = Unread(unread, seq, FROM_WIRE[number](*fields))
    assert unread is not None
    return unread
