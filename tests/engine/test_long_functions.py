"""Functions that make very many calls: what is kept of them, and what a resume reads again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers import THREAD, noting_reads

from walgraph import Log, entrypoint, task
from walgraph.engine import context
from walgraph.engine.calling import MANY_CHILDREN

CALLS = 3_000


class Long:
    """A function that makes many calls, one after another or a few at once.

    Args:
        way: How graphs are called.
        log: The log.
    """

    def __init__(self, way: Any, log: Log) -> None:
        self.ran = 0
        self.most = 0
        self.breaks = True

        @task
        @way.node
        def step(n):
            self.ran += 1
            return n

        def body(calls):
            found = 0
            for n in range(0, calls, 2):
                first, second = yield [step(n), step(n + 1)]
                found += first + second
                self.most = max(self.most, len(context.here().children))
            if self.breaks:
                raise ConnectionError
            return found

        self.flow = entrypoint(log)(way.flow(body))


def test_calls_that_have_ended_are_forgotten_by_their_caller(way, log) -> None:
    """Their futures and contexts would else be kept till it ends."""
    long = Long(way, log)
    long.breaks = False
    assert way.invoke(long.flow, CALLS // 4) == sum(range(CALLS // 4))
    assert long.most <= MANY_CHILDREN


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_resume_reads_the_progress_from_a_snapshot(way, tmp_path, durability) -> None:
    """Of the records only those after it are read: what they weigh is at most a few times what it weighs."""
    with Log.open(tmp_path / "long.wal", fsync="off") as log:
        long = Long(way, log)
        with pytest.raises(ConnectionError):
            way.invoke(long.flow, CALLS, durability=durability)
        assert long.ran == CALLS
        head = log.head("t")
        assert head is not None
        assert head.snapshot_seq > CALLS // 8
    with Log.open(tmp_path / "long.wal", fsync="off") as log, noting_reads() as read:
        again = Long(way, log)
        again.breaks = False
        assert way.invoke(again.flow, None, THREAD, durability=durability) == sum(range(CALLS))
        assert again.ran == 0
        assert 0 < len(read) <= CALLS * 7 // 8


def test_a_crash_between_snapshots_loses_nothing(tmp_path) -> None:
    """The records after a snapshot within the step are folded onto it."""

    async def run(flow, given):
        return await flow.ainvoke(given, THREAD, durability="sync")

    ran = []
    for life in range(3):
        with Log.open(tmp_path / "long.wal", strict=True, fsync="off") as log:

            @task
            async def step(n):
                if len(ran) == 600 * (life + 1):  # noqa: B023 - used in this life only
                    raise SystemExit
                ran.append(n)
                return n

            @entrypoint(log)
            async def flow(calls):
                return [await step(n) for n in range(calls)]

            if life < 2:
                with pytest.raises(SystemExit):
                    asyncio.run(run(flow, None if life else 1_500))
            else:
                assert asyncio.run(run(flow, None)) == list(range(1_500))
    assert ran == list(range(1_500))
