"""What became of calls that are made at most once, told with a folded state, which has no records of them.

    exit    intent, durable ──► … ──► TaskFinished, in memory ──► StateFolded {…, "effects": [[key, how, value]]}

Under ``exit`` a run is written as states. That an attempt began is in one of them; how it ended would be in none, for
its step may be over by the next. So it is told beside the state, and ``wal effects`` needs to guess nothing.

Invariants:
1. Of each intent that a state in the log holds, the next state holds it still, or it is told here.

It must not know how states are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wal.record import AttemptFailed, TaskFinished

if TYPE_CHECKING:
    from ..replay.state import ThreadState
    from ..wal.record import Path, Record


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
