"""Which seq a thread may be cut at, so that nothing is lost that somebody still needs.

    records ──► survey ──► stations: the thread's checkpoints, and where each may become the oldest one
                               └──► choose ──► a seq; a snapshot there stands for all records before it

A station may be cut at any seq at which it is the newest checkpoint: the snapshot made there is that checkpoint, and
what its step's tasks had come to. Of these seqs the last end of a frame frees most, since frames go as a whole.

Invariants:
1. The ``keep_last`` newest checkpoints stay, each with the records that made the next one out of it.
2. A thread that is unfinished (it runs, crashed, failed, asks, or was parked) keeps every record after its last
   barrier: the whole of its open step.
3. A branch that stays keeps the checkpoint it began at, as far as that is still there; so a parent can be looked up.
4. Checkpoints that are too young to go stay, however many they are.
5. Nothing is cut behind ``limit``: the seq up to which nobody else needs a record.
6. Choosing is pure: no log, no clock.

It must not fold values, nor cut anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..wal.record import Forked, Record, RunStarted, StateEdited, StateFolded, StepCommitted
from .plan import Finish, plan
from .questions import open_questions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .state import ThreadState


class Entry(NamedTuple):
    """A record as a survey sees it; ``ends`` says whether it is the last of its frame."""

    seq: int
    record: Record
    ends: bool


class Station(NamedTuple):
    """One checkpoint of the thread's own graph.

    Args:
        base: Its identity, the seq of its barrier.
        first: The first seq at which it is the newest checkpoint and a state can be had; ``base``, or the end of the
            folded state that it lies in.
        end: The last end of a frame at which it is the newest checkpoint; ``first`` if there is none.
        origin: The checkpoint that it branched off from.
        at: When it was made, in nanoseconds since 1970.
    """

    base: int
    first: int
    end: int
    origin: int | None = None
    at: int = 0


class Choice(NamedTuple):
    """Where to cut; 0 for nowhere. ``kept`` is how many checkpoints stay, ``why`` what limited the choice."""

    seq: int
    kept: int
    why: str


def survey(entries: Iterable[Entry], begin: ThreadState) -> list[Station]:
    """Return a thread's checkpoints, oldest first.

    Args:
        entries: The records after ``begin``.
        begin: The state that the log begins with; empty for a thread that was never cut.
    """
    stations: list[Station] = []
    root = begin.root()
    if root is not None and root.base:
        stations.append(Station(root.base, begin.seq, begin.seq, at=root.at))
    origin: int | None = None
    for seq, record, ends in entries:
        if isinstance(record, Forked) and not record.scope:
            origin = record.origin
        found = _barrier(seq, record)
        if found is not None and (not stations or found[0] != stations[-1].base):
            stations.append(Station(found[0], seq, seq, origin, found[1]))
            origin = None
        if ends and stations:
            stations[-1] = stations[-1]._replace(end=seq)
    return stations


def is_unfinished(state: ThreadState) -> bool:
    """Return whether something is due, open or asked in the thread."""
    root = state.root()
    if root is None:
        return True
    return root.opened or not isinstance(plan(root), Finish) or bool(open_questions(state))


def choose(
    stations: Sequence[Station],
    *,
    keep_last: int,
    unfinished: bool,
    horizon: int,
    young: int | None = None,
    limit: int | None = None,
) -> Choice:
    """Return where a thread may be cut.

    Args:
        stations: Its checkpoints, oldest first.
        keep_last: How many of them must stay; at least 1.
        unfinished: Whether a run is to be carried on.
        horizon: The seq at which the log begins now.
        young: Checkpoints made at this time (nanoseconds since 1970) or later must stay, too.
        limit: Somebody needs every record after this seq.
    """
    if keep_last < 1:
        raise ValueError(f"keep_last must be at least 1, not {keep_last}.")
    if not stations:
        return Choice(0, 0, "no checkpoint yet")
    index = max(0, len(stations) - keep_last)
    why = ""
    if young is not None and index:
        # Clocks may have gone back, so the oldest young one counts, and not where the newest old one stands.
        oldest_young = next((place for place, each in enumerate(stations) if each.at >= young), index)
        if oldest_young < index:
            index, why = oldest_young, "kept: not old enough"
    oldest = _with_origins(stations, index)
    if oldest < index:
        why = "kept: a branch began there"
    station = stations[oldest]
    seq = station.end
    if unfinished and oldest == len(stations) - 1:
        seq = station.first
        why = why or "unfinished: its open step stays"
    if limit is not None and seq > limit:
        why = "kept: a call in doubt, or a handed-over run, needs what follows"
        while oldest and stations[oldest].first > limit:
            oldest -= 1
        station = stations[oldest]
        seq = next((each for each in (station.end, station.first) if each <= limit), 0)
    if seq <= horizon:
        return Choice(0, len(stations) - oldest, why or "nothing before the oldest checkpoint to keep")
    return Choice(seq, len(stations) - oldest, why)


def _with_origins(stations: Sequence[Station], index: int) -> int:
    """Move back to the oldest checkpoint that a branch among those kept began at."""
    places = {station.base: place for place, station in enumerate(stations)}
    reached = len(stations)
    while reached > index:
        # Moving back brings in older branches, whose origins may be older still.
        origins = [station.origin for station in stations[index + 1 : reached] if station.origin is not None]
        reached = index + 1
        index = min([index, *(places[origin] for origin in origins if origin in places)])
        if index + 1 == reached:
            break
    return index


def _barrier(seq: int, record: Record) -> tuple[int, int] | None:
    """Return the identity of the checkpoint that a record makes, and when it was made; or None."""
    match record:
        case Forked(how="branch"):
            # The input or the edit that follows it is the checkpoint.
            return None
        case (
            StepCommitted("") | RunStarted("") | Forked("") | StateEdited("", _, "update" | "clear" | "input")
        ):
            return seq, record.at
        case StateFolded(_, state):
            plain: Any = state["scopes"].get("")
            return None if plain is None or not plain["base"] else (plain["base"], plain["at"])
        case _:
            return None
