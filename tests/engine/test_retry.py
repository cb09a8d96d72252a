"""Retry policies: which error is tried again, and after how long (RT-1, RT-2)."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import Any

import pytest

from walgraph.engine.errors import GraphDrained, GraphInterrupt
from walgraph.engine.retry import InvalidRetryPolicy, RetryPolicy, default_retry_on, delay, policy_for
from walgraph.replay.errors import InvalidUpdateError, NonDeterminism
from walgraph.wal.errors import LogFailed, NotSerializable, StaleWriter

RETRIED = [
    ConnectionError(),
    ConnectionResetError(),
    AttributeError(),
    AssertionError(),
    Exception(),
    InvalidUpdateError(""),
    type("OfAUser", (Exception,), {})(),
]
GIVEN_UP = [
    ValueError(),
    TypeError(),
    ZeroDivisionError(),
    ImportError(),
    KeyError(),
    NameError(),
    SyntaxError(),
    RuntimeError(),
    RecursionError(),
    ReferenceError(),
    StopIteration(),
    StopAsyncIteration(),
    OSError(),
    TimeoutError(),
    NonDeterminism(""),
    LogFailed(""),
    NotSerializable(""),
    StaleWriter(""),
]


@pytest.mark.parametrize("error", RETRIED, ids=lambda error: type(error).__name__)
def test_an_error_that_may_pass_is_retried(error: Exception) -> None:
    """By default lost connections and unknown errors get another attempt."""
    assert default_retry_on(error)


@pytest.mark.parametrize("error", GIVEN_UP, ids=lambda error: type(error).__name__)
def test_an_error_of_the_code_is_not_retried(error: Exception) -> None:
    """By default what speaks of the code, the machine or the log is final."""
    assert not default_retry_on(error)


@pytest.mark.parametrize(("module", "name"), [("httpx", "HTTPStatusError"), ("requests", "HTTPError")])
@pytest.mark.parametrize(("status", "retried"), [(404, False), (500, True), (599, True), (600, False)])
def test_a_server_in_trouble_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, status: int, retried: bool
) -> None:
    """Errors of the two HTTP libraries count by their status, and neither library is imported for it."""
    kind: Any = type(name, (OSError,), {})
    library = types.ModuleType(module)
    setattr(library, name, kind)
    monkeypatch.setitem(sys.modules, module, library)
    error = kind()
    error.response = types.SimpleNamespace(status_code=status)
    assert retried == default_retry_on(error)


@pytest.mark.parametrize(
    ("retry_on", "matches"),
    [
        (OSError, True),
        (KeyError, False),
        ((KeyError, OSError), True),
        ([KeyError], False),
        ((), False),
        (lambda error: isinstance(error, TimeoutError), True),
        (lambda _: 0, False),
    ],
    ids=["class", "other class", "tuple", "list", "nothing", "predicate", "falsy predicate"],
)
def test_retry_on_is_a_class_several_or_a_predicate(retry_on: Any, matches: bool) -> None:
    """Each form decides for itself; the result of a predicate is taken as true or false."""
    policy = RetryPolicy(retry_on=retry_on)
    assert (policy if matches else None) == policy_for([policy], TimeoutError())


@pytest.mark.parametrize("retry_on", ["OSError", 3, int, [3]], ids=repr)
def test_a_useless_retry_on_is_an_error_that_keeps_the_first(retry_on: Any) -> None:
    """LangGraph's words are kept, and the error that was to be judged is the cause."""
    error = OSError()
    with pytest.raises(InvalidRetryPolicy, match="retry_on must be an Exception class") as refused:
        policy_for([RetryPolicy(retry_on=retry_on)], error)
    assert refused.value.__cause__ is error
    assert isinstance(refused.value, TypeError)


def test_the_first_policy_that_matches_is_taken() -> None:
    """Order decides among several; a single policy need not be put in a list."""
    keys, anything = RetryPolicy(retry_on=KeyError), RetryPolicy(retry_on=Exception, max_attempts=9)
    assert policy_for([keys, anything], OSError()) is anything
    assert policy_for([keys, anything], KeyError()) is keys
    assert policy_for(anything, OSError()) is anything
    assert policy_for([], OSError()) is None


@pytest.mark.parametrize(
    "parked",
    [GraphInterrupt(), GraphDrained(), asyncio.CancelledError(), KeyboardInterrupt()],
    ids=lambda parked: type(parked).__name__,
)
def test_what_parks_a_task_is_never_retried(parked: BaseException) -> None:
    """Not even by a policy that retries everything."""
    assert policy_for([RetryPolicy(retry_on=lambda _: True)], parked) is None


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (9, 128.0), (10, 128.0), (5000, 128.0)]
)
def test_intervals_grow_up_to_the_longest(attempt: int, seconds: float) -> None:
    """The default doubles from half a second to 128 seconds, however many attempts there were."""
    assert delay(RetryPolicy(jitter=False), attempt, lambda: 1 / 0) == seconds


def test_jitter_adds_up_to_a_second_even_to_the_longest() -> None:
    """As in LangGraph it comes on top of ``max_interval``."""
    assert delay(RetryPolicy(), 1, lambda: 0.25) == 0.75
    assert delay(RetryPolicy(max_interval=0.1), 1, lambda: 0.25) == 0.35
