"""Outcomes as plain data and back: what snapshots hold of the calls of an open step.

Invariants:
1. ``outcome_from_plain(outcome_to_plain(outcome)) == outcome``.
2. What an outcome rarely has stands at the end, and is left out where it has none of it.

It must not know where the outcomes are kept.
"""

from __future__ import annotations

from typing import Any

from ..wal.record import Failure, Question
from .state import Caught, Intent, Outcome, Retry, Wait


def outcome_to_plain(outcome: Outcome) -> list[Any]:
    """Return an outcome as plain data."""
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


def outcome_from_plain(plain: list[Any]) -> Outcome:
    """Return the outcome that ``outcome_to_plain`` was given."""
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
