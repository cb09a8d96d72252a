"""What becomes of calls whose caller replays otherwise than they ended: kept, open again, or dropped.

    kept      failed, and the caller went on: raised again on replay
    open      failed, and ended the caller: made again with it
    dropped   the caller calls something else in that place: as if it, and what it called, had never been made

It must not decide which: the engine does, and puts it on record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .state import DUE, FAILED, FINISHED, KEPT, Outcome

if TYPE_CHECKING:
    from ..wal.record import Path
    from .ledger import Ledger


def settled(outcomes: Ledger[Outcome], paths: tuple[Path, ...], how: str) -> Ledger[Outcome]:
    """Return the outcomes after these calls were settled."""
    if how == "dropped":
        for path in [
            held for held, _ in outcomes.items() if any(held[: len(each)] == each for each in paths)
        ]:
            outcomes = outcomes.put(path, Outcome(DUE))
        return outcomes
    for path in paths:
        before = outcomes.get(path) or Outcome(DUE)
        outcomes = outcomes.put(path, before._replace(status=KEPT if how == "kept" else FAILED))
    return outcomes


def recorded_calls(outcomes: Ledger[Outcome]) -> dict[Path, tuple[int, frozenset[str]]]:
    """Return what is in memory of tasks' calls: the path of a task → its last call's number, and its calls' keys."""
    found: dict[Path, tuple[int, frozenset[str]]] = {}
    for path, outcome in outcomes.recent():
        if len(path) > 1 and outcome.status in {FINISHED, KEPT}:
            last, keys = found.get(path[:-1], (-1, frozenset()))
            part = path[-1]
            found[path[:-1]] = (max(last, part), keys) if isinstance(part, int) else (last, keys | {part})
    return found
