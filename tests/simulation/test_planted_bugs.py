"""A test of the tests: five bugs are planted in the real code, and the laws must catch each of them.

A simulation that finds nothing proves nothing, unless it would find something if it were there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest
from simulation.by_hand import World
from simulation.graphs import CallShape, EdgeShape, NodeShape, Shape, a_shape
from simulation.laws import LawBroken
from simulation.lives import live_through

from walgraph import START
from walgraph.engine import loop
from walgraph.engine.recorder import Recorder
from walgraph.replay import fold
from walgraph.replay.plan import Execute, plan
from walgraph.replay.state import FINISHED
from walgraph.wal.record import TaskAnswered
from walgraph.wal.writer import Writer

WORLDS = 30
"""How many worlds a bug may stay hidden in."""


def folding_before_appending() -> AbstractContextManager[Any]:
    """State goes on first, and the log follows."""
    append = Recorder._append

    def planted(self: Recorder, records: Any, draft: Any) -> Any:
        before = self.state
        self._fold(records, None, draft)
        appended = append(self, records, draft)
        # What follows folds them, once more, from where they were.
        self.state = before
        return appended

    return mock.patch.object(Recorder, "_append", planted)


def folding_in_arrival_order() -> AbstractContextManager[Any]:
    """Writes are applied in the order in which tasks happened to end."""

    def planted(graph: Any) -> Iterator[Any]:
        due = set(graph.paths())
        return iter([path for path, _ in graph.outcomes.items() if path in due])

    return mock.patch.object(fold, "_in_order", planted)


def not_logging_an_answer() -> AbstractContextManager[Any]:
    """The log is not told what was answered."""
    append = Writer.append

    def planted(self: Writer, records: Any, summary: Any, **options: Any) -> Any:
        told = [record for record in records if not isinstance(record, TaskAnswered)]
        append(self, told, summary, **options)
        return records

    return mock.patch.object(Writer, "append", planted)


def rerunning_a_finished_task() -> AbstractContextManager[Any]:
    """A step that is not whole is begun anew."""

    def planted(graph: Any) -> Any:
        move = plan(graph)
        if isinstance(move, Execute):
            finished = [
                path for path in graph.paths() if (graph.outcomes.get(path) or (None,))[0] == FINISHED
            ]
            return Execute([*move.paths, *finished])
        return move

    return mock.patch.object(loop, "plan", planted)


def rerunning_what_a_handler_took_over() -> AbstractContextManager[Any]:
    """A task that failed for good is tried again when its handler was not reached."""

    def planted(graph: Any) -> Any:
        move = plan(graph)
        if isinstance(move, Execute):
            return Execute([path[:1] for path in move.paths])
        return move

    return mock.patch.object(loop, "plan", planted)


def acknowledging_before_the_commit() -> AbstractContextManager[Any]:
    """An append is answered when it is queued, though it was to be durable."""

    def planted(self: Writer) -> None:
        """Return at once."""

    return mock.patch.object(Writer, "flush", planted)


FAN_OUT = Shape(
    nodes=(
        NodeShape("n0", "plain"),
        NodeShape("n1", "flaky"),
        NodeShape("n2", "asks", questions=2),
        NodeShape("n3", "calls", calls=(CallShape("plain"), CallShape("asks"))),
        NodeShape("n4", "plain"),
        NodeShape("n5", "handled"),
    ),
    edges=(
        EdgeShape("edge", (START,), ("n0",)),
        EdgeShape("edge", ("n0",), ("n1",)),
        EdgeShape("edge", ("n0",), ("n2",)),
        EdgeShape("edge", ("n0",), ("n3",)),
        EdgeShape("edge", ("n0",), ("n5",)),
        EdgeShape("join", ("n1", "n2", "n3"), ("n4",)),
    ),
)


def caught(mode: str) -> list[BaseException]:
    """Live through worlds until something is caught."""
    for seed in range(WORLDS):
        shape = a_shape(random.Random(seed).randrange) if seed % 2 else FAN_OUT
        try:
            undisturbed = live_through(World(0), shape, "sync").values
            values = live_through(World(seed, 6), shape, mode).values
            assert undisturbed == values
        except (LawBroken, Exception) as error:
            return [error]
    return []


@pytest.mark.parametrize(
    ("bug", "mode", "laws"),
    [
        (folding_before_appending, "sync", {1, 2}),
        (folding_before_appending, "async", {1, 2}),
        (not_logging_an_answer, "sync", {1, 3}),
        (not_logging_an_answer, "async", {1, 3}),
        (rerunning_a_finished_task, "sync", {4}),
        (rerunning_a_finished_task, "async", {4}),
        (rerunning_a_finished_task, "exit", {4}),
        (rerunning_what_a_handler_took_over, "sync", {4}),
        (rerunning_what_a_handler_took_over, "exit", {4}),
        (acknowledging_before_the_commit, "sync", {1}),
    ],
)
def test_a_planted_bug_breaks_a_law(bug: Callable[[], Any], mode: str, laws: set[int]) -> None:
    """The bug is caught, and by the law that it breaks."""
    with bug():
        (error,) = caught(mode)
    assert isinstance(error, LawBroken)
    assert error.law in laws


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_folding_in_arrival_order_changes_the_result(mode: str) -> None:
    """A log that is folded as it came agrees with itself; what gives the bug away is another order of ends."""
    with folding_in_arrival_order():
        (error,) = caught(mode)
    assert isinstance(error, AssertionError)


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_without_a_bug_nothing_is_caught(mode: str) -> None:
    """The same worlds are sound when nothing is planted."""
    assert caught(mode) == []
