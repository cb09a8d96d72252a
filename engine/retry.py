"""When a failed attempt is followed by another, and after how long.

    attempt n fails ──► policy_for ──► none matches: the task has failed
                                   ──► n = max_attempts: the task has failed
                                   ──► else: delay, then attempt n + 1

    delay = min(max_interval, initial_interval * backoff_factor ** (n - 1)) + up to one second of jitter

Invariants:
1. Nothing here waits, draws a random number or reads a clock: randomness comes in as an argument.
2. What is no ``Exception`` is never retried: interrupts, a command to the parent, cancellation, Ctrl-C. Nor is a
   cancellation that the node raised itself, or an answer that does not fit its question.
3. No policy, no retry.

This module must not know tasks or runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ..replay.errors import InvalidUpdateError, ReplayProblem
from ..wal.errors import LogError, ThreadProblem, ValueProblem
from .errors import AttemptsLost, CannotPark, InvalidGraph, NodeCancelledError, OutcomeUnknown
from .response import refused_question

_HOPELESS = (
    ValueError,
    TypeError,
    ArithmeticError,
    ImportError,
    LookupError,
    NameError,
    SyntaxError,
    RuntimeError,
    ReferenceError,
    StopIteration,
    StopAsyncIteration,
    OSError,
    # Ours: another attempt meets the same log, the same thread and the same value.
    LogError,
    ReplayProblem,
    ThreadProblem,
    ValueProblem,
    OutcomeUnknown,
    AttemptsLost,
    CannotPark,
)
"""Errors that speak of the code or of this machine, so that another attempt would end alike."""

_SERVER_ERRORS = range(500, 600)


class InvalidRetryPolicy(InvalidGraph, TypeError):
    """A policy's ``retry_on`` is neither an exception class, nor several of them, nor a predicate."""


def default_retry_on(error: Exception) -> bool:
    """Return whether another attempt may end better: lost connections, servers in trouble, unknown errors."""
    if isinstance(error, ConnectionError):
        return True
    for module, name in (("httpx", "HTTPStatusError"), ("requests", "HTTPError")):
        # An error of a library can only be here if the library was imported by somebody already.
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            response: Any = getattr(error, "response", None)
            return response is None or response.status_code in _SERVER_ERRORS
    # What a node returned was refused; a model that is asked again may answer otherwise.
    return isinstance(error, InvalidUpdateError) or not isinstance(error, _HOPELESS)


class RetryPolicy(NamedTuple):
    """How a task is tried again.

    Args:
        initial_interval: Seconds before the second attempt.
        backoff_factor: What each further interval is multiplied by.
        max_interval: The longest interval in seconds, jitter not counted.
        max_attempts: How often the task may be tried, the first attempt included.
        jitter: Whether up to one second is added at random, so that many tasks do not retry at once.
        retry_on: An exception class, several of them, or a function from the error to whether to retry.
    """

    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    max_attempts: int = 3
    jitter: bool = True
    retry_on: type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool] = default_retry_on


def policy_for(policies: Iterable[RetryPolicy] | RetryPolicy, error: BaseException) -> RetryPolicy | None:
    """Return the first policy that wants the error retried, or None.

    Raises:
        InvalidRetryPolicy: A policy's ``retry_on`` is of no use.
    """
    if not isinstance(error, Exception) or isinstance(error, NodeCancelledError):
        return None
    if refused_question(error) is not None:
        return None
    # A policy is itself a tuple, so a single one must not be taken for several.
    candidates = (policies,) if isinstance(policies, RetryPolicy) else policies
    for policy in candidates:
        if _matches(policy.retry_on, error):
            return policy
    return None


def delay(policy: RetryPolicy, attempt: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait after a failed attempt.

    Args:
        policy: The policy that matched.
        attempt: The number of the attempt that failed, from 1.
        random: Gives a number in [0, 1); called only when the policy wants jitter.
    """
    try:
        interval = policy.initial_interval * policy.backoff_factor ** (attempt - 1)
    except OverflowError:
        interval = policy.max_interval
    return min(policy.max_interval, interval) + (random() if policy.jitter else 0.0)


def _matches(retry_on: Any, error: Exception) -> bool:
    if isinstance(retry_on, Sequence) and all(isinstance(kind, type) for kind in retry_on):
        return isinstance(error, tuple(retry_on))
    if isinstance(retry_on, type) and issubclass(retry_on, Exception):
        return isinstance(error, retry_on)
    if callable(retry_on) and not isinstance(retry_on, type):
        return bool(retry_on(error))
    message = "retry_on must be an Exception class, a list or tuple of Exception classes, or a callable"
    raise InvalidRetryPolicy(
        f"{message}; it is {retry_on!r}", hint="For example RetryPolicy(retry_on=(OSError, TimeoutError))."
    ) from error


def policies_of(given: RetryPolicy | Sequence[RetryPolicy] | None) -> tuple[RetryPolicy, ...]:
    """Return policies given as none, one or several; a policy is itself a tuple, so its class decides."""
    if given is None:
        return ()
    return (given,) if isinstance(given, RetryPolicy) else tuple(given)
