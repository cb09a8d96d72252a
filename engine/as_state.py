"""A run that is written as states, which is what durability ``exit`` keeps of it.

    exit    intent, durable ──► … ──► TaskFinished, in memory ──► StateFolded {…, "effects": [[key, how, value]]}

That an attempt at an at-most-once call began is in one of the states; how it ended would be in none, for its step may
be over by the next. So it is told beside the state, and ``wal effects`` needs to guess nothing.

Invariants:
1. Of each intent that a state in the log holds, the next state holds it still, or it is told beside it.

It must not append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.plain import thread_to_plain
from ..wal.record import AttemptFailed, StateFolded, TaskFinished

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..replay.state import ThreadState
    from ..wal.record import Path, Record


def as_stored(state: ThreadState, stored_base: Mapping[str, int], written: int) -> ThreadState:
    """Return a state as it stands in the log: barriers that were never written are nobody's parent.

    Args:
        state: The state.
        stored_base: Scope → the last barrier of its graph that the log holds.
        written: The last seq that the log holds.
    """
    scopes = {
        scope: graph._replace(parent=stored_base.get(scope)) if graph.base > written else graph
        for scope, graph in state.scopes.items()
    }
    return state._replace(scopes=scopes)


def folded(state: ThreadState, told: ToldEffects | None) -> StateFolded:
    """Return the record of a state, with what is told of calls that ended since the last one."""
    return StateFolded(
        state.seq, {**thread_to_plain(state), **({} if told is None else told.to_plain(state))}
    )


class ToldEffects:
    """Follows the intents of a run that is written as states.

    Args:
        state: What the log holds.
    """

    def __init__(self, state: ThreadState) -> None:
        self._open = _intents(state)
        self._ended: dict[str, list[Any]] = {}

    def note(self, record: Record) -> None:
        """Take note of a record that says how an attempt ended."""
        if self._open and isinstance(record, TaskFinished | AttemptFailed):
            key = self._open.get((record.scope, record.path))
            if key is None:
                return
            if isinstance(record, TaskFinished):
                self._ended[key] = ["done", record.writes[0][1] if record.writes else None]
            else:
                self._ended[key] = ["failed", [*record.failure[:3], list(record.failure.notes)]]

    def to_plain(self, state: ThreadState) -> dict[str, Any]:
        """Return what is told beside a state that is written now: nothing, as a rule."""
        before, self._open = self._open, _intents(state)
        ended, self._ended = self._ended, {}
        still = set(self._open.values())
        told = [[key, *ended.get(key, ["left", None])] for key in before.values() if key not in still]
        return {"effects": told} if told else {}


def _intents(state: ThreadState) -> dict[tuple[str, Path], str]:
    """Return the keys of the attempts that have begun, and of which nothing else is known."""
    return {
        (scope, path): outcome.intent.key
        for scope, graph in state.scopes.items()
        for path, outcome in graph.outcomes.recent()
        if outcome.intent is not None
    }
