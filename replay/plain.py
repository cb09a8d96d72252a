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

from typing import Any

from ..wal.errors import FormatTooNew
from ..wal.record import Failure, Question, Reference
from ..wal.wire import FROM_WIRE, TO_WIRE
from .errors import SAVED_FORM, run_by_langgraph
from .ledger import Ledger
from .state import NO_INPUT, Caught, GraphState, Intent, Outcome, Retry, ThreadState, Unread, Wait

FORM = 1
"""The version of the plain form."""


def graph_to_plain(graph: GraphState) -> dict[str, Any]:
    """Return one graph's state as plain data."""
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
        "outcomes": [[list(path), _outcome_to_plain(outcome)] for path, outcome in graph.outcomes.items()],
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
    return plain


def graph_from_plain(plain: dict[str, Any]) -> GraphState:
    """Return the graph's state that ``graph_to_plain`` was given."""
    outcomes: Ledger[Outcome] = Ledger()
    for path, outcome in plain["outcomes"]:
        outcomes = outcomes.put(tuple(path), _outcome_from_plain(outcome))
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


def thread_to_plain(state: ThreadState) -> dict[str, Any]:
    """Return a thread's state as plain data."""
    return {
        "v": FORM,
        "seq": state.seq,
        "scopes": {scope: graph_to_plain(graph) for scope, graph in state.scopes.items()},
        "unread": {scope: _unread_to_plain(unread) for scope, unread in state.unread.items()},
        "run": state.run,
        "epoch": state.epoch,
        "durability": state.durability,
        "graph": state.graph,
        "at": state.at,
        "thread": state.thread,
        **({} if state.deadline is None else {"deadline": state.deadline}),
    }


def thread_from_plain(plain: dict[str, Any]) -> ThreadState:
    """Return the thread's state that ``thread_to_plain`` was given.

    Raises:
        FormatTooNew: A newer walgraph made it.
        OtherThread: It is the state of a thread that LangGraph runs.
    """
    if SAVED_FORM in plain:
        raise run_by_langgraph("a snapshot")
    if plain["v"] > FORM:
        message = f"a state of form {plain['v']} is recorded, this walgraph reads forms up to {FORM}"
        raise FormatTooNew(message, hint="Open the log with the walgraph that wrote it, or a newer one.")
    graph = plain["graph"]
    return ThreadState(
        seq=plain["seq"],
        scopes={scope: graph_from_plain(held) for scope, held in plain["scopes"].items()},
        unread={scope: _unread_from_plain(held) for scope, held in plain["unread"].items()},
        run=plain["run"],
        epoch=plain["epoch"],
        durability=plain["durability"],
        graph=None if graph is None else Reference(*graph),
        at=plain["at"],
        thread=plain.get("thread", ""),
        deadline=plain.get("deadline"),
    )


def _outcome_to_plain(outcome: Outcome) -> list[Any]:
    plain: list[Any] = [
        outcome.status,
        [list(write) for write in outcome.writes],
        list(outcome.goto),
        None if outcome.call is None else list(outcome.call),
        None if outcome.failure is None else [*outcome.failure[:3], list(outcome.failure.notes)],
        outcome.attempts,
        [list(question) for question in outcome.questions],
        [list(answer) for answer in outcome.answers],
        outcome.returned,
    ]
    waits = tuple(list(wait) for wait in outcome.waits) or None
    refused = None if outcome.refused is None else (outcome.refused,)
    rare: list[tuple[Any, ...] | None] = [outcome.retry, outcome.caught, outcome.intent, waits, refused]
    # Those at the end are left out where there are none, which is nearly always.
    while rare and rare[-1] is None:
        rare.pop()
    plain.extend(None if each is None else list(each) for each in rare)
    return plain


def _outcome_from_plain(plain: list[Any]) -> Outcome:
    status, writes, goto, call, failure, attempts, questions, answers, returned, *rest = plain
    retry, caught, intent, waits, refused = (*rest, None, None, None, None, None)[:5]
    return Outcome(
        status,
        tuple((channel, value) for channel, value in writes),
        tuple(goto),
        None if call is None else (call[0], call[1], call[2]),
        None if failure is None else Failure(failure[0], failure[1], failure[2], tuple(failure[3])),
        attempts,
        tuple(Question(*question) for question in questions),
        tuple((key, value) for key, value in answers),
        returned,
        None if retry is None else Retry(*retry),
        None if caught is None else Caught(*caught),
        None if intent is None else Intent(*intent),
        tuple(Wait(*wait) for wait in waits or ()),
        None if refused is None else refused[0],
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
