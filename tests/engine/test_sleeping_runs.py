"""Workers and runs that sleep or wait for signals: they hold no place meanwhile, and go on when it is time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from helpers import Way, asks, chain, drawn, leaves, on
from timer_helpers import at_noon, in_turn
from worker_helpers import result, until, working

from walgraph import Command, Log, Worker, define_queue, recover, sleep, sleep_until, submit, wait_for
from walgraph.engine import clock
from walgraph.engine.clock import FakeClock

SHORT = {"park_after": 0.01}


def naps(state: Any) -> dict[str, Any]:
    """Sleep for longer than is waited for in place."""
    sleep(0.5)
    return {"trail": ["slept"]}


def waits(state: Any) -> dict[str, Any]:
    """Wait for a signal."""
    return {"trail": [wait_for("go")]}


def test_a_run_that_sleeps_frees_its_place_and_holds_its_thread(way: Way, log: Log) -> None:
    """Others of its queue run meanwhile, the next one of its thread waits; it goes on when it is due."""
    define_queue(log, "narrow", concurrency=1)
    graph = chain(naps, leaves("after")).compile(log, name="naps").with_config(SHORT)
    quick = chain(leaves("quick")).compile(log, name="quick")
    with working(way, log, [graph, quick]):
        first = submit(graph, {"trail": []}, "t", queue="narrow")
        second = submit(quick, {"trail": ["second"]}, "t", queue="narrow")
        until(lambda: first.status() == "sleeping")
        other = submit(quick, {"trail": []}, "other", queue="narrow")
        assert result(way, other) == {"trail": ["quick"]}
        assert result(way, first) == {"trail": ["slept", "after"]}
        assert result(way, second) == {"trail": ["slept", "after", "second", "quick"]}


def test_a_run_that_waits_goes_on_when_it_was_sent_a_signal(way: Way, log: Log) -> None:
    """The signal is received by the run, whoever sent it; one of another name wakes nobody for good."""
    graph = chain(waits, leaves("after")).compile(log).with_config(SHORT)
    with working(way, log, graph):
        run = submit(graph, {"trail": []}, "t")
        until(lambda: run.status() == "waiting")
        log.signal("t", "else", "no")
        log.signal("t", "go", "payload")
        assert result(way, run) == {"trail": ["payload", "after"]}


def test_what_sleeps_after_invoke_is_carried_on_when_it_is_due(way: Way, log: Log) -> None:
    """A run that nobody handed over is found by its time, and a question beside a sleep stays open."""
    graph = (
        drawn(Way("sync"), naps, asks("ask", "sure?"), edges=">naps,ask naps> ask>")
        .compile(log)
        .with_config(SHORT)
    )
    way.invoke(graph, {"trail": []}, on("t"))
    with working(way, log, graph):
        until(lambda: graph.get_state(on("t")).next == ("ask",))
        head = log.head("t")
        assert head is not None
        assert head.status == "interrupted"
    assert way.invoke(graph, Command(resume="yes"), on("t")) == {"trail": ["yes", "slept"]}


def test_recover_carries_on_what_is_due_and_leaves_the_rest_asleep(log: Log) -> None:
    """Under a clock that is moved by hand: before its time a thread is none of ``recover``'s business."""
    with clock.using(FakeClock(datetime(2030, 1, 1, tzinfo=UTC))) as fake:
        assert isinstance(fake, FakeClock)

        def week(state: Any) -> dict[str, Any]:
            sleep_until(datetime(2030, 1, 8, tzinfo=UTC))
            return {"trail": ["a week later"]}

        graph = chain(week).compile(log)
        graph.invoke({"trail": []}, on("t"))
        assert recover(log, graph) == []
        fake.advance(8 * 24 * 3600)
        (carried,) = recover(log, graph)
        assert (carried.how, carried.output) == ("done", {"trail": ["a week later"]})


def test_a_sleeping_run_can_be_cancelled(way: Way, log: Log) -> None:
    """It does not wake when its time comes, and its thread's next run has its turn."""
    graph = chain(naps).compile(log, name="naps").with_config(SHORT)
    quick = chain(leaves("quick")).compile(log, name="quick")
    with working(way, log, [graph, quick]):
        run = submit(graph, {"trail": []}, "t")
        until(lambda: run.status() == "sleeping")
        assert run.cancel() is True
        assert result(way, submit(quick, {"trail": []}, "t")) == {"trail": ["quick"]}
    assert run.status() == "cancelled"
    assert list(log.due(datetime(2100, 1, 1, tzinfo=UTC))) == []


def test_an_idle_worker_does_not_look_at_threads_that_wait_for_others(log: Log) -> None:
    """A thread that waits for one name is not taken up because it was sent another."""
    graph = chain(waits).compile(log).with_config(SHORT)
    told: list[str] = []
    with Worker(log, graph, on_end=lambda carried: told.append(carried.how)):
        submit(graph, {"trail": []}, "t")
        until(lambda: told == ["waiting"])
        log.signal("t", "else", 1)
        time.sleep(0.15)
    assert told == ["waiting"]


def test_a_kept_subgraph_sleeps_after_a_snapshot(way: Way, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a snapshot holds of it is older than what is kept unread until its graph is known: it is asleep."""
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_RECORDS", 12)
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_GROWTH", 0)

    def slow(_):
        yield lambda: sleep(3600)
        return {"a": 1}

    inner = in_turn(way, True, slow)

    def call(_):
        yield lambda: inner.ainvoke({}) if way.is_async else inner.invoke({})
        return {"b": 1}

    outer = in_turn(way, log, call)
    with at_noon() as clock:
        for _ in range(4):
            assert "__suspended__" in way.invoke(outer, {}, durability="sync")
            assert "__suspended__" in way.invoke(outer, None, durability="sync")
            clock.advance(3600)
            assert "__suspended__" not in way.invoke(outer, None, durability="sync")
    assert log.snapshot("t") is not None
