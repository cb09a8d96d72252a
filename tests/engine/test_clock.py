"""The engine's one clock, and the one that stands in its place in tests."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TypedDict

import pytest

from walgraph import END, START, RetryPolicy, StateGraph
from walgraph.engine import clock
from walgraph.engine.clock import FakeClock
from walgraph.wal import MemoryLog
from walgraph.wal.head import nanoseconds
from walgraph.wal.record import AttemptFailed

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class State(TypedDict):
    """A number."""

    n: int


def flaky(log: MemoryLog, failures: int):
    """A graph whose node fails so often before it returns, with half a minute between its attempts."""
    left = iter(range(failures))

    def node(state: State) -> State:
        if next(left, None) is not None:
            raise ConnectionError
        return {"n": state["n"] + 1}

    builder = StateGraph(State)
    builder.add_node(
        "node", node, retry_policy=RetryPolicy(initial_interval=30, max_attempts=5, jitter=False)
    )
    builder.add_edge(START, "node").add_edge("node", END)
    return builder.compile(checkpointer=log)


def test_time_passes_on_a_fake_clock_without_anybody_waiting() -> None:
    """Pauses move it on at once, in threads and on event loops alike."""
    fake, began = FakeClock(NOON), time.monotonic()
    with clock.using(fake):
        clock.pause(3600)
        asyncio.run(clock.apause(60))
        assert clock.now() == fake.time_ns()
    assert fake.now() == NOON + timedelta(hours=1, minutes=1)
    assert time.monotonic() - began < 60


def test_a_fake_clock_goes_where_it_is_moved() -> None:
    """Forwards, backwards, and to a point in time in whatever zone."""
    fake = FakeClock(NOON)
    fake.advance(timedelta(days=7))
    assert fake.now() == NOON + timedelta(days=7)
    fake.advance(-3600)
    fake.set(datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert fake.now() == NOON - timedelta(hours=2)


def test_afterwards_everybody_goes_by_the_machines_clock_again() -> None:
    """Also if the test failed in between."""
    with pytest.raises(KeyError), clock.using(FakeClock(NOON)):
        raise KeyError
    assert abs(clock.now() - time.time_ns()) < 60 * clock.SECOND


def test_a_time_without_a_zone_is_refused() -> None:
    """Nobody can say which point in time it is, so the message says how to give it one."""
    with pytest.raises(ValueError, match="no time zone; give it one"):
        nanoseconds(datetime(2026, 3, 1, 12))  # noqa: DTZ001 - the point


def test_retries_wait_and_are_recorded_by_the_clock_in_use() -> None:
    """Two half minutes pass in the log, and none for the one who watches."""
    log, fake = MemoryLog(), FakeClock(NOON)
    with clock.using(fake):
        assert flaky(log, 2).invoke({"n": 1}, {"configurable": {"thread_id": "t"}}) == {"n": 2}
    failed = [stored.record for stored in log.read("t") if isinstance(stored.record, AttemptFailed)]
    assert [(record.due_at - record.at) // clock.SECOND for record in failed] == [30, 60]
    assert fake.now() == NOON + timedelta(seconds=90)
