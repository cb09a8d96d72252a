"""What the records of a thread must obey, whatever they mean.

    a task is finished at most once per step              (guarantee G2: what is recorded is never run again)
    a step is committed only after it was started         (guarantee G5: an atomic step)
    a snapshot equals the fold of the records before it   (guarantee G6: it is no second truth)

Invariants:
1. A broken law is reported and the walk goes on.
2. What cannot be known is not reported: records that were compacted away, values whose reducers are not here.

It must not read the log itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ..replay.identity import ends_with_step, shorter_scope
from ..replay.plain import graph_to_plain
from ..replay.state import FINISHED, UNROUTED, ThreadState
from ..wal.codec import Encoder
from ..wal.errors import WalgraphError
from ..wal.record import (
    CallsSettled,
    Forked,
    Path,
    Record,
    RunStarted,
    StateEdited,
    StateFolded,
    StepCommitted,
    StepStarted,
    TaskFinished,
)
from .gathered import Gathered
from .words import path_text


class Order:
    """Watches the records of one thread go by.

    Args:
        found: Told seq and what is wrong.
        begin: The state that the log begins with.
    """

    def __init__(self, found: Callable[[int, str], None], begin: ThreadState) -> None:
        self._found = found
        self._finished: dict[str, set[Path]] = {}
        self._opened: dict[str, int | None] = {}
        self._above: dict[str, str] = {}
        self._begin(begin)

    def see(self, seq: int, record: Record, state: ThreadState | None = None) -> None:
        """Look at the next record; ``state`` is the state after it, which a folded one is begun with."""
        match record:
            case StepStarted(scope, step):
                self._opened[scope] = step
            case TaskFinished(scope, path):
                finished = self._finished.setdefault(scope, set())
                if path in finished:
                    self._found(seq, f"task {path_text(path)} was finished before in the same step")
                finished.add(path)
            case CallsSettled(scope, paths, "dropped"):
                gone = self._finished.get(scope, set())
                gone -= {path for path in gone if any(path[: len(each)] == each for each in paths)}
            case StepCommitted(scope, _, step):
                started = self._opened.get(scope)
                if started != step:
                    said = "no step was started" if started is None else f"step {started} was started"
                    self._found(seq, f"step {step} is committed, but {said}")
                self._barrier(scope)
            case RunStarted(scope) | Forked(scope) | StateEdited(scope, _, "update" | "clear" | "input"):
                self._barrier(scope)
                if isinstance(record, RunStarted) and record.above is not None:
                    self._above[scope] = record.above
                if isinstance(record, Forked):
                    # A branch with a checkpoint of its own is one step later than what it begins at.
                    self._resume(scope, record.state, later=int(record.how != "branch"))
            case StateFolded():
                if state is not None:
                    self._finished.clear()
                    self._opened.clear()
                    self._begin(state)
            case _:
                pass

    def _begin(self, state: ThreadState) -> None:
        for scope, graph in state.scopes.items():
            self._resume(scope, graph_to_plain(graph))
        for unread in state.unread.values():
            held = [unread]
            while held[-1].older is not None:
                held.append(held[-1].older)
            for each in reversed(held):
                self.see(each.seq, each.record)

    def _resume(self, scope: str, plain: dict[str, Any], *, later: int = 0) -> None:
        if plain.get("above") is not None:
            self._above[scope] = plain["above"]
        if plain["opened"]:
            self._opened[scope] = plain["step"] + 1 + later
        done = {FINISHED, UNROUTED}
        self._finished[scope] = {tuple(path) for path, outcome in plain["outcomes"] if outcome[0] in done}

    def _barrier(self, scope: str) -> None:
        self._finished.pop(scope, None)
        self._opened.pop(scope, None)
        for held in [*self._finished, *self._opened]:
            if ends_with_step(held, scope, lambda name: self._above.get(name, shorter_scope(name))):
                self._finished.pop(held, None)
                self._opened.pop(held, None)


def snapshot_difference(recorded: ThreadState, folded: ThreadState) -> str | None:
    """Return in what a snapshot differs from the fold of the records before it, or None.

    Graphs that the fold could not follow, and values that it could not fold, are left out.
    """
    unread = set(recorded.unread) | set(folded.unread)
    # The time of a thread's newest barrier may be that of a graph which only one of the two could follow.
    for part in ("run", "epoch", "durability", "graph", *(() if unread else ("at",))):
        said, is_so = getattr(recorded, part), getattr(folded, part)
        if said != is_so:
            return f"its {part} is {said!r}, the records before it give {is_so!r}"
    for scope in sorted({*recorded.scopes, *folded.scopes} - unread):
        name = f"graph {scope!r}" if scope else "the graph"
        if scope not in recorded.scopes or scope not in folded.scopes:
            where = "the snapshot" if scope in recorded.scopes else "the records before it"
            return f"{name} is only in {where}"
        one, other = graph_to_plain(recorded.scopes[scope]), graph_to_plain(folded.scopes[scope])
        if differing := _difference(one, other):
            return f"in {name}, {differing} is not what the records before it give"
    return None


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    # Those that lie in pages come first in a snapshot, in an order of their own; by their paths they are the same.
    for each in (one, other):
        each["outcomes"] = {tuple(path): outcome for path, outcome in each["outcomes"]}
    for part in sorted({*one, *other} - {"values"}):
        if part not in one or part not in other or not same(one[part], other[part]):
            return part
    held, given = one["values"], other["values"]
    for key in sorted({*held, *given}):
        if isinstance(held.get(key), Gathered) or isinstance(given.get(key), Gathered):
            continue
        if key not in held or key not in given or not same(held[key], given[key]):
            return f"channel {key!r}"
    return None


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, or at least recorded alike: some values are not equal to themselves."""
    with contextlib.suppress(Exception):  # A class's own comparison may do anything.
        if bool(one == other):
            return True
    try:
        return Encoder().value(one).data == Encoder().value(other).data
    except WalgraphError:
        return repr(one) == repr(other)
