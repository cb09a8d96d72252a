"""The recorder by itself: append first, fold after, whoever records, from wherever."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from walgraph import Log, LogFailed, MemoryLog, NotSerializable
from walgraph.engine import recorder as recorder_module
from walgraph.engine.recorder import Recorder
from walgraph.replay.blueprint import Blueprint
from walgraph.replay.channel import LastValue
from walgraph.replay.recover import recover
from walgraph.replay.state import ThreadState
from walgraph.wal.codec import GLOBAL
from walgraph.wal.record import RunEnded, RunStarted, StepStarted, TaskFinished, ThreadCreated

BLUEPRINT = Blueprint("graph", "__start__", {"x": LastValue(object).named("x")}, {})


def opened(log: Log, durability: str) -> Recorder:
    """Return the recorder of a run that has begun its first step."""
    recorder = Recorder("t", ThreadState(), GLOBAL, durability, log, log.writer("t"))
    recorder.attach("", BLUEPRINT)
    recorder.record(
        [
            ThreadCreated(1, "t", None),
            RunStarted("", 1, "run", {}, None, durability, 1, {}),
            StepStarted("", 0, ("__start__",), 0),
        ]
    )
    return recorder


def finished(number: int, value: object = None) -> TaskFinished:
    """Return the record of one nested call."""
    return TaskFinished("", ("__start__", number), (("__return__", value or number),), (), None)


def as_recovered(log: Log) -> ThreadState:
    """Return the state that another process would find."""
    return recover(log, "t", {"": BLUEPRINT}.get, GLOBAL).state


def test_the_state_is_the_fold_of_the_log(log, durability) -> None:
    """In every mode, once the run is settled."""
    recorder = opened(log, durability)
    for number in range(5):
        recorder.record([finished(number)])
    recorder.record([RunEnded("", 2, "failed", None)])
    recorder.settle()
    assert recorder.state == as_recovered(log)
    assert len(recorder.state.scopes[""].outcomes) == 5


def test_under_sync_a_record_is_durable_when_the_call_returns(log) -> None:
    """The log's durable position has moved past it."""
    recorder = opened(log, "sync")
    before = log.durable_lsn
    recorder.record([finished(1)])
    assert log.durable_lsn > before


def test_under_exit_nothing_is_written_before_the_end(log) -> None:
    """Then one folded state is, and with it the whole run."""
    recorder = opened(log, "exit")
    recorder.record([finished(1)])
    assert log.head("t") is None
    recorder.settle()
    assert as_recovered(log).scopes[""].outcomes.get(("__start__", 1)) is not None


def test_a_value_that_cannot_be_written_changes_nothing(log, durability) -> None:
    """Neither the state nor the log; the next record is taken as if nothing had happened."""
    recorder = opened(log, durability)
    before = recorder.state
    with pytest.raises(NotSerializable):
        recorder.record([finished(1, print)])
    assert recorder.state is before
    recorder.record([finished(2)])
    recorder.settle()
    assert recorder.state == as_recovered(log)


def test_sixteen_threads_record_at_once(log, durability) -> None:
    """Nothing is lost, nothing is twice, and the order of the state is the order of the log."""
    recorder = opened(log, durability)
    ready = threading.Barrier(16, timeout=20)

    def work(start):
        ready.wait()
        for number in range(start, start + 10):
            recorder.record([finished(number)])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(0, 160, 10)))
    recorder.settle()
    outcomes = recorder.state.scopes[""].outcomes
    assert sorted(path[1] for path, _ in outcomes.items()) == list(range(160))
    assert recorder.state == as_recovered(log)


def test_a_bad_value_does_not_cost_its_neighbours_their_records(log) -> None:
    """Whoever queued behind an append is written along with others; the bad one alone is told."""
    recorder = opened(log, "sync")
    ready = threading.Barrier(12, timeout=20)

    def work(number):
        ready.wait()
        try:
            recorder.record([finished(number, print if number % 3 == 0 else number)])
        except NotSerializable:
            return "refused"
        return "recorded"

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(work, range(1, 13)))
    assert found == ["refused" if number % 3 == 0 else "recorded" for number in range(1, 13)]
    kept = sorted(path[1] for path, _ in recorder.state.scopes[""].outcomes.items())
    assert kept == [number for number in range(1, 13) if number % 3]
    assert recorder.state == as_recovered(log)


def test_who_is_taken_along_waits_for_the_disk_too(log, monkeypatch) -> None:
    """Under sync, a record that queued while another was flushed is durable when its call returns."""
    recorder = opened(log, "sync")
    commit, seen = log.store.commit, []

    def record() -> None:
        recorder.record([finished(2)])
        seen.append(log.store.row("t").seq)

    other = threading.Thread(target=record)

    def slow(group):
        if not other.ident:
            other.start()
            while not recorder._queue:
                other.join(0.001)
        return commit(group)

    monkeypatch.setattr(log.store, "commit", slow)
    recorder.record([finished(1)])
    other.join(20)
    assert seen == [recorder.state.seq]


def test_no_snapshot_is_taken_while_another_hand_appends(log, monkeypatch) -> None:
    """The log is ahead of the state while the disk is waited for; a snapshot then would hold less than it says."""
    monkeypatch.setattr(recorder_module, "SNAPSHOT_RECORDS", 0)
    recorder = opened(log, "sync")
    commit = log.store.commit

    def meanwhile(group):
        recorder.snapshot_if_due()
        return commit(group)

    monkeypatch.setattr(log.store, "commit", meanwhile)
    for number in range(1, 4):
        recorder.record([finished(number)])
    assert recorder.state == as_recovered(log)


def test_coroutines_record_at_once(log, durability) -> None:
    """A hundred on one loop."""
    recorder = opened(log, durability)

    async def main() -> None:
        await asyncio.gather(*(recorder.arecord([finished(number)]) for number in range(100)))

    asyncio.run(main())
    recorder.settle()
    assert len(recorder.state.scopes[""].outcomes) == 100
    assert recorder.state == as_recovered(log)


def test_a_cancelled_coroutine_does_not_take_its_record_back(log) -> None:
    """It is in the log, so it is folded; those who queued behind it are served."""
    recorder = opened(log, "sync")

    async def main() -> None:
        first = asyncio.create_task(recorder.arecord([finished(1)]))
        second = asyncio.create_task(recorder.arecord([finished(2)]))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await second
        await recorder.arecord([finished(3)])

    asyncio.run(asyncio.wait_for(main(), 20))
    assert len(recorder.state.scopes[""].outcomes) == 3
    assert recorder.state == as_recovered(log)


def test_threads_and_coroutines_record_at_once(log, durability) -> None:
    """As in a run whose synchronous tasks are called from coroutines."""
    recorder = opened(log, durability)

    async def main() -> None:
        threads = (asyncio.to_thread(recorder.record, [finished(number)]) for number in range(0, 40, 2))
        coroutines = (recorder.arecord([finished(number)]) for number in range(1, 40, 2))
        await asyncio.gather(*threads, *coroutines)

    asyncio.run(asyncio.wait_for(main(), 60))
    recorder.settle()
    assert len(recorder.state.scopes[""].outcomes) == 40
    assert recorder.state == as_recovered(log)


def test_a_draft_is_folded_anew_if_the_state_has_moved(log) -> None:
    """A loop's draft was made before a task recorded its own call; neither is lost."""
    recorder = opened(log, "sync")
    base = recorder.state
    draft = base._replace(seq=base.seq + 1)
    recorder.record([finished(1)])
    recorder.record([finished(2)], base, draft)
    assert len(recorder.state.scopes[""].outcomes) == 2
    assert recorder.state == as_recovered(log)


def test_a_log_that_fails_leaves_the_state_as_it_was(monkeypatch) -> None:
    """What could not be appended is not folded, and every later call is told (law 2)."""
    log = MemoryLog(strict=True)
    recorder = opened(log, "sync")
    before = recorder.state

    def fail(group):
        raise OSError("the disk is gone")

    monkeypatch.setattr(log.store, "commit", fail)
    for _ in range(2):
        with pytest.raises((LogFailed, OSError)):
            recorder.record([finished(1)])
        assert recorder.state is before
