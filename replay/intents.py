"""The ledger of what was done at most once: each call, its attempts, and how it ended or why that is not known.

    TaskStarted ──► in doubt ──┬─ TaskFinished ─────────────────► done
        ▲                      ├─ AttemptFailed ────────────────► failed ──┐
        └──────────────────────┼─ TaskInterrupted ──────────────► asked    │ another TaskStarted of the call
        └──────────────────────┴─ its step is over ─────────────► left     │
        └──────────────────────────────────────────────────────────────────┘

While the thread's run is alive, what would be in doubt is ``running``.

Invariants:
1. Records are read, not folded: the graph that wrote them need not be known.
2. A call is in the list once, with its last attempt; also if a branch took it over.
3. What a folded state stands for is told beside it (``engine.as_state``); what a snapshot stands for is seen as far
   as the state tells: its open intents. Of a call that had begun before one and is not in it any more no more is known
   than that it is ``over``; so it is with folded states of logs that do not tell.

It must not change anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..wal.errors import ThreadNotFound
from ..wal.record import (
    AttemptFailed,
    Failure,
    Forked,
    RunStarted,
    StateEdited,
    StateFolded,
    StepCommitted,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
)
from ..wal.steady import steady
from .identity import ends_with_step, shorter_scope
from .plain import graph_from_plain, thread_from_plain
from .state import FINISHED, Intent, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..wal.codec import Decoder
    from ..wal.log import Log
    from ..wal.record import Path
    from .state import GraphState, ThreadState

Standing = Literal["done", "failed", "in doubt", "asked", "left", "running", "over"]
"""How a call stands. ``asked``: in doubt, and a person was asked. ``left``: the run went on without knowing, or was
given up; nobody will ask any more. ``over``: its step is, and how it ended was not kept."""

DOUBTFUL = frozenset({"in doubt", "asked", "left"})
"""How calls stand of which nobody knows whether they took effect."""


@dataclass(slots=True)
class Effect:
    """One call that is made at most once.

    Args:
        scope: The graph that it belongs to.
        path: The call's path in its step.
        call: Its name, a digest of its arguments, and a preview of them.
        key: Its idempotency key.
        attempt: The number of its last attempt.
        at: When that began, in nanoseconds since 1970.
        seq: The record that says so.
        standing: How it stands.
        value: What it returned, if it is done.
        failure: Why its last attempt failed, if it did.
        question: The id of what a person was asked about it, if one was.
    """

    scope: str
    path: Path
    call: tuple[str, bytes, str]
    key: str
    attempt: int
    at: int
    seq: int
    standing: Standing = "in doubt"
    value: Any = None
    failure: Failure | None = None
    question: str | None = None


def effects(log: Log, thread: str, decoder: Decoder) -> list[Effect]:
    """Return what a thread did at most once, oldest first, as far as its records go back.

    Args:
        log: The log.
        thread: The thread's id.
        decoder: Reads values; a lenient one needs no classes.

    Raises:
        ThreadNotFound: The log has no such thread.
    """
    return steady(log, thread, lambda: _effects(log, thread, decoder))


def _effects(log: Log, thread: str, decoder: Decoder) -> list[Effect]:
    head = log.head(thread)
    if head is None:
        message = f"the log holds no thread {thread!r}"
        raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)
    ledger = _Ledger()
    found, records = log.since(thread, head.horizon, decoder=decoder)
    if found is not None:
        ledger.whole(found[0], thread_from_plain(decoder.value(found[1]), decoder))
    for seq, record in records:
        ledger.see(seq, record)
    if head.status == "running":
        for effect in ledger.effects:
            if effect.standing == "in doubt":
                effect.standing = "running"
    return ledger.effects


class _Ledger:
    """Watches the records of one thread go by."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self._open: dict[tuple[str, Path], Effect] = {}
        self._last: dict[tuple[str, Path], Effect] = {}
        self._keys: dict[str, Effect] = {}
        self._above: dict[str, str] = {}

    def see(self, seq: int, record: Any) -> None:
        """Take the next record into account."""
        match record:
            case TaskStarted(scope, path, call, key, attempt, at):
                self._begun(scope, path, call, Intent(key, attempt, at), seq)
            case TaskFinished(scope, path, writes):
                effect = self._open.pop((scope, path), None)
                if effect is not None:
                    effect.standing, effect.value = "done", writes[0][1] if writes else None
            case AttemptFailed(scope, path, failure):
                effect = self._open.get((scope, path))
                if effect is not None:
                    effect.standing, effect.failure = "failed", failure
            case TaskInterrupted(scope, path, questions):
                effect = self._open.get((scope, path))
                if effect is not None and questions:
                    effect.standing, effect.question = "asked", questions[-1].id
            case RunStarted(scope):
                if record.above is not None:
                    self._above[scope] = record.above
                self._barrier(scope)
            case StepCommitted(scope) | StateEdited(scope, _, "update" | "clear" | "input"):
                self._barrier(scope)
            case Forked(scope):
                if record.whole:
                    self._leave(list(self._open), "left")
                self._barrier(scope)
                self._graph(seq, scope, graph_from_plain(record.state))
            case StateFolded():
                self.whole(seq, thread_from_plain(record.state), record.state.get("effects", ()))
            case _:
                pass

    def whole(self, seq: int, state: ThreadState, told: Iterable[list[Any]] = ()) -> None:
        """Go on from a state that stands for all records before it, and from what is told of calls that ended there."""
        before, self._open = self._open, {}
        for scope, graph in state.scopes.items():
            if graph.above is not None:
                self._above[scope] = graph.above
            self._graph(seq, scope, graph)
        for unread in state.unread.values():
            for each in listed(unread):
                self.see(each.seq, each.record)
        for key, how, came_to in told:
            if (known := self._keys.get(key)) is not None:
                known.standing = how
                if how == "done":
                    known.value = came_to
                elif how == "failed":
                    known.failure = Failure(came_to[0], came_to[1], came_to[2], tuple(came_to[3]))
        for place, effect in before.items():
            if effect.key in {key for key, *_ in told}:
                continue
            if self._open.get(place) is not effect and effect.standing in DOUBTFUL:
                effect.standing = "over"

    def _graph(self, seq: int, scope: str, graph: GraphState) -> None:
        """Take over what a graph's state holds of calls whose end nobody knows, or that had been in doubt before."""
        for path, outcome in graph.outcomes.items():
            if outcome.intent is not None and outcome.call is not None:
                effect = self._begun(scope, path, outcome.call, outcome.intent, seq)
                if outcome.questions:
                    effect.standing, effect.question = "asked", outcome.questions[-1].id
                continue
            known = self._last.get((scope, path))
            if outcome.status == FINISHED and known is not None and known.standing in DOUBTFUL:
                known.standing, known.value = "done", outcome.writes[0][1] if outcome.writes else None

    def _begun(
        self, scope: str, path: Path, call: tuple[str, bytes, str], intent: Intent, seq: int
    ) -> Effect:
        key, attempt, at = intent
        effect = self._keys.get(key)
        if effect is None:
            effect = self._keys[key] = Effect(scope, path, call, key, attempt, at, seq)
            self.effects.append(effect)
        else:
            if effect.attempt != attempt:
                effect.attempt, effect.at, effect.seq = attempt, at, seq
                effect.failure = effect.question = None
            effect.scope, effect.path, effect.standing = scope, path, "in doubt"
        self._open[scope, path] = self._last[scope, path] = effect
        return effect

    def _barrier(self, scope: str) -> None:
        """Close the step of a graph, and with it all that ran in it."""
        self._leave(list(self._within(scope)), "left")

    def _within(self, scope: str) -> Iterator[tuple[str, Path]]:
        for held, path in self._open:
            if held == scope or ends_with_step(held, scope, self._graph_above):
                yield held, path

    def _graph_above(self, scope: str) -> str:
        return self._above.get(scope, shorter_scope(scope))

    def _leave(self, places: Iterable[tuple[str, Path]], standing: Standing) -> None:
        for place in places:
            effect = self._open.pop(place)
            if effect.standing in DOUBTFUL:
                effect.standing = standing
