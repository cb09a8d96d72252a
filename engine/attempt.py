"""The attempts at one task: how many failed, in this process or an earlier one, and whether another follows.

    attempt n raises ─► a policy matches, n < max_attempts ─► AttemptFailed is recorded ─► pause ─► attempt n + 1
                     └► else: the task has failed
    a crash in between ─► the fold knows n ─► what is left of the pause ─► attempt n + 1

Invariants:
1. An attempt that failed is on record before the next one begins, so that a crash does not give a task more attempts
   than its policy allows. Where nothing fails nothing is recorded.
2. After a crash no pause is longer than it was meant to be, whatever the clocks of two processes say.
3. A run that is resumed after its task had failed for good gives the task all its attempts again.

It must not sleep or record.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..wal.named import NamedTuple
from ..wal.record import AttemptFailed
from .errors import AttemptsLost
from .failed_calls import given_up
from .failure import failure_of
from .retry import delay, policy_for

if TYPE_CHECKING:
    from ..replay.state import Intent, Outcome
    from ..wal.record import Record
    from .context import TaskContext
    from .retry import RetryPolicy
    from .run import Run

SECOND = 1_000_000_000
"""In nanoseconds."""


class Again(NamedTuple):
    """Another attempt: what is to be recorded first, and the seconds to wait."""

    records: tuple[Record, ...]
    pause: float


class Attempts:
    """Counts the attempts at a task.

    Args:
        context: The task.
        policies: Its retry policies.
        outcome: What is recorded of it.
    """

    __slots__ = ("_context", "_failed", "_held", "_policies")

    def __init__(
        self, context: TaskContext[Run], policies: tuple[RetryPolicy, ...], outcome: Outcome | None
    ) -> None:
        self._context = context
        self._policies = policies
        self._held = outcome.retry if outcome is not None else None
        self._failed = 0 if self._held is None else self._held.attempts
        if self._held is not None:
            context.first_at = self._held.first_at

    @classmethod
    def of(cls, context: TaskContext[Run], policies: tuple[RetryPolicy, ...]) -> Attempts:
        """Return the attempts at a task in the middle of one of them."""
        attempts = cls(context, policies, None)
        attempts._failed = context.attempt - 1
        return attempts

    def rest(self) -> float:
        """Return the seconds that are left of a pause which an earlier process did not live to end."""
        held = self._held
        if held is None:
            return 0.0
        left = min(held.due_at - self._context.run.recorder.now(), held.due_at - held.at)
        return max(0, left) / SECOND

    def lost(self, intent: Intent) -> None:
        """Count an attempt that began, and ended with its process.

        Raises:
            AttemptsLost: No policy allows another.
        """
        self._failed = intent.attempt
        self._context.first_at = self._context.first_at or intent.at
        allowed = max((policy.max_attempts for policy in self._policies), default=None)
        if allowed is not None and intent.attempt >= allowed:
            message = (
                f"task {self._context.name!r} of thread {self._context.run.thread!r} began {intent.attempt} times, and "
                f"its process died each time or had to give up; its retry policy allows {allowed} attempts"
            )
            raise AttemptsLost(
                message,
                hint="Look what kills it; invoke(None, config) gives it all its attempts again.",
                task=self._context.name,
                attempts=intent.attempt,
            )

    def failed(self, error: BaseException) -> AttemptFailed:
        """Return the record of an attempt that is over, and is not followed by another."""
        now = self._context.run.recorder.now()
        attempt, first_at = self._context.attempt, self._context.first_at or now
        return AttemptFailed(
            self._context.run.scope, self._context.path, failure_of(error), attempt, first_at, now, now
        )

    def next(self) -> int:
        """Return the number of the attempt that begins now, from 1."""
        if not self._context.first_at:
            self._context.first_at = self._context.run.recorder.now()
        return self._failed + 1

    def again(self, error: BaseException) -> Again | None:
        """Return what comes before another attempt, or None if there is none.

        Raises:
            InvalidRetryPolicy: A policy's ``retry_on`` is of no use.
        """
        policy = policy_for(self._policies, error)
        attempt = self._failed + 1
        if policy is None or attempt >= policy.max_attempts:
            return None
        self._failed = attempt
        context = self._context
        pause = delay(policy, attempt, random.random)
        run = context.run
        now = run.recorder.now()
        first_at = context.first_at or now
        record = AttemptFailed(
            run.scope, context.path, failure_of(error), attempt, first_at, now, now + int(pause * SECOND)
        )
        return Again((*given_up(context, error), record), pause)
