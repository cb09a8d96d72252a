"""The log as the engine uses it: the same tests over memory and over LMDB."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from wal_helpers import a_step, created, write_steps

from walgraph.wal import (
    Encoder,
    Log,
    LogClosed,
    LogCorrupt,
    MemoryLog,
    NotSerializable,
    StaleWriter,
    Summary,
    ThreadBusy,
    ThreadNotFound,
    open_log,
)
from walgraph.wal.record import Reference, RunStarted, StateFolded, TaskFinished


@pytest.fixture(params=["memory", "lmdb", "lmdb data", "lmdb off"])
def log(request, tmp_path) -> Iterator[Log]:
    """An empty log of each kind."""
    kind, _, fsync = request.param.partition(" ")
    made = MemoryLog() if kind == "memory" else Log.open(tmp_path / "log", fsync=fsync or "full")
    yield made
    made.close()


def seqs(log: Log, thread: str = "t", after: int = 0, upto: int | None = None) -> list[int]:
    """The seqs that a reader gets."""
    return [stored.seq for stored in log.read(thread, after, upto)]


def test_appended_records_are_read_back_with_their_seqs(log: Log) -> None:
    """Seqs count from 1; a reader sees what this process appended, flushed or not."""
    with log.writer("t") as writer:
        assert (writer.seq, writer.epoch, writer.head) == (0, 1, None)
        records = [*created(), *a_step(0)]
        assert records is writer.append(records, Summary())
        assert writer.seq == 4
        assert [(1, records[0]), (2, records[1]), (3, records[2]), (4, records[3])] == list(log.read("t"))
        assert seqs(log, after=2) == [3, 4]
        assert seqs(log, after=1, upto=3) == [2, 3]


def test_waiting_frames_of_a_thread_become_one(log: Log) -> None:
    """Ten appends that wait together cost one frame."""
    with log.writer("t") as writer:
        write_steps(writer, 0, 10)
        writer.flush()
        head = log.head("t")
        assert head is not None
        assert (head.frames, head.records, head.seq) == (1, 30, 30)
        assert list(range(8, 20)) == seqs(log, after=7, upto=19)


def test_a_folded_state_takes_its_own_seq(log: Log) -> None:
    """What durability exit writes may jump ahead, and counting goes on from there."""
    with log.writer("t") as writer:
        writer.append([*created(), StateFolded(40, {"a": 1}), *a_step(9)], Summary())
        assert writer.seq == 43
        writer.append(a_step(10), Summary())
        assert seqs(log) == [1, 40, 41, 42, 43, 44, 45, 46]
        assert seqs(log, after=42, upto=44) == [43, 44]


def test_a_value_that_cannot_be_written_leaves_no_trace(log: Log) -> None:
    """The error comes before anything is queued, and the writer goes on."""
    with log.writer("t") as writer:
        writer.append(created(), Summary())
        with pytest.raises(NotSerializable):
            writer.append(a_step(0, object()), Summary())
        assert writer.seq == 1
        writer.append(a_step(0), Summary())
        assert seqs(log) == [1, 2, 3, 4]


def test_a_claimed_thread_is_refused_until_it_is_released(log: Log) -> None:
    """One owner per thread; waiting has an end; other threads are free."""
    first = log.writer("t")
    with pytest.raises(ThreadBusy):
        log.writer("t")
    begun = time.monotonic()
    with pytest.raises(ThreadBusy):
        log.writer("t", if_busy="wait", timeout=0.1)
    assert time.monotonic() - begun >= 0.1
    log.writer("u").close()
    threading.Timer(0.05, first.close).start()
    log.writer("t", if_busy="wait", timeout=10).close()


def test_a_stolen_thread_refuses_its_former_owner(log: Log) -> None:
    """What the former owner had appended stays; its next append is refused; the new owner goes on from there."""
    former = log.writer("t")
    former.append(created(), Summary())
    thief = log.writer("t", if_busy="steal")
    assert thief.seq == 1
    assert thief.epoch > former.epoch
    with pytest.raises(StaleWriter):
        former.append(a_step(0), Summary())
    with pytest.raises(StaleWriter):
        former.flush()
    thief.append(a_step(0), Summary())
    with pytest.raises(StaleWriter):
        former.close()
    with pytest.raises(ThreadBusy):
        log.writer("t")
    thief.close()
    log.writer("t", if_busy="steal").close()
    assert seqs(log) == [1, 2, 3, 4]


def test_an_abandoned_writer_leaves_only_what_was_flushed(log: Log) -> None:
    """As if its process had died; the next owner takes the next epoch."""
    writer = log.writer("t")
    writer.append(created(), Summary())
    writer.flush()
    writer.append(a_step(0), Summary(), awaited=True)
    writer.abandon()
    with pytest.raises(LogClosed):
        writer.append(a_step(0), Summary())
    with log.writer("t") as following:
        assert (following.seq, following.epoch) == (1, 2)
        assert following.head is not None
        assert following.head.status == "crashed"


def test_status_tells_whether_the_owner_lives(log: Log) -> None:
    """A running thread without an owner has crashed; other states speak for themselves."""
    writer = log.writer("t")
    writer.append(created(), Summary("running"))
    assert [head.status for head in log.threads()] == ["running"]
    writer.close()
    assert [head.status for head in log.threads()] == ["crashed"]
    with log.writer("u") as other:
        other.append(created("u"), Summary("interrupted"))
    assert [head.thread_id for head in log.threads(status="interrupted")] == ["u"]
    assert [head.thread_id for head in log.threads(prefix="t")] == ["t"]
    assert [head.thread_id for head in log.threads(limit=1)] == ["t"]
    assert list(log.threads(status="running")) == []


def test_the_head_shows_what_the_last_summary_said(log: Log) -> None:
    """Times are aware and in UTC."""
    with log.writer("t") as writer:
        writer.append(created(), Summary("sleeping", "g", 3, ("a", "b"), 1_700_000_000_000_000_000))
    head = log.head("t")
    assert head is not None
    assert (head.status, head.graph, head.step, head.next) == ("sleeping", "g", 3, ("a", "b"))
    assert head.due_at is not None
    assert head.due_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert head.created_at.utcoffset() is not None
    assert log.head("nobody") is None


def test_thread_ids_may_be_text_numbers_and_uuids(log: Log) -> None:
    """A number and its text are one thread; an empty id and a lone surrogate are refused."""
    name = uuid.UUID(int=7)
    for thread in (42, name):
        with log.writer(thread) as writer:
            writer.append(created(), Summary())
    assert [1] == seqs(log, "42") == seqs(log, str(name))
    for wrong in ("", "\udc80"):
        with pytest.raises(ValueError):
            log.writer(wrong)


def test_a_snapshot_travels_with_the_next_commit(log: Log) -> None:
    """It is found once flushed, with its large values, and the writer counts anew from it."""
    state = {"text": "x" * 100_000, "n": 1}
    with log.writer("t") as writer:
        write_steps(writer, 0, 3)
        assert writer.records_since_snapshot == 9
        assert writer.bytes_since_snapshot > 0
        log.put_snapshot("t", 9, Encoder().value(state))
        assert (writer.records_since_snapshot, writer.bytes_since_snapshot) == (0, 0)
        found = log.snapshot("t")
        assert found is not None
        assert (9, state) == (found[0], log.decoder().value(found[1]))
        assert log.snapshot("t", at=8) is None
        write_steps(writer, 3, 4)
    with log.writer("t") as writer:
        assert writer.records_since_snapshot == 3
        assert writer.bytes_since_snapshot > 0


def test_a_shared_value_is_stored_once_and_found_by_its_reference(log: Log) -> None:
    """It travels with the commit of whoever names it."""
    value = {"nodes": ["a", "b"], "text": "x" * 50_000}
    first, second = log.put_shared(value), log.put_shared(value)
    assert first == second
    with log.writer("t") as writer:
        writer.append([RunStarted("", 1, "r", None, first, "sync", 1, {})], Summary())
    (stored,) = log.read("t")
    assert first == stored.record.graph
    assert value == log.shared(first)
    log._shared.clear()
    assert value == log.shared(first)


def test_a_missing_blob_is_corruption(log: Log) -> None:
    """Never a guess in the place of a value."""
    with pytest.raises(LogCorrupt):
        log.shared(Reference(b"\x07" * 16, 3))


def test_a_large_value_comes_back_and_is_stored_once(log: Log) -> None:
    """An unchanged megabyte costs its space once."""
    big = "é" * 500_000
    with log.writer("t") as writer:
        for number in range(5):
            writer.append(a_step(number, big), Summary())
            writer.flush()
    written = [stored.record for stored in log.read("t") if type(stored.record) is TaskFinished]
    assert len(written) == 5
    assert all(record.writes[0][1] == big for record in written)
    head = log.head("t")
    assert head is not None
    assert head.bytes < 2000
    assert sum(len(log.fetch(digest)) for digest in log.store.digests()) < 1_100_000


def test_a_strict_log_hands_back_decoded_copies() -> None:
    """So that a value which changes on its way is caught at the step that wrote it."""
    with MemoryLog(strict=True) as log, log.writer("t") as writer:
        value = {"a": [1, 2], "big": "x" * 100_000}
        appended = a_step(0, value)
        folded = writer.append(appended, Summary())
        assert appended == folded
        assert folded[0].writes[0][1] is not value


def test_deleting_removes_a_thread_that_nobody_owns(log: Log) -> None:
    """A claimed thread is refused; an unknown one is no error; the id can be used again."""
    writer = log.writer("t")
    writer.append(created(), Summary())
    with pytest.raises(ThreadBusy):
        log.delete_thread("t")
    writer.close()
    log.delete_thread("t")
    log.delete_thread("nobody")
    with pytest.raises(ThreadNotFound):
        log.read("t")
    with log.writer("t") as again:
        assert again.seq == 0
        again.append(created(), Summary())
    assert seqs(log) == [1]


def test_copying_makes_a_second_thread(log: Log) -> None:
    """Both go on by themselves; an existing target and a claimed source are refused."""
    with log.writer("a") as writer:
        write_steps(writer, 0, 3)
        with pytest.raises(ThreadBusy):
            log.copy_thread("a", "b")
    log.copy_thread("a", "b")
    with pytest.raises(ThreadBusy):
        log.copy_thread("a", "b")
    with pytest.raises(ThreadNotFound):
        log.copy_thread("nobody", "c")
    with log.writer("b") as writer:
        write_steps(writer, 3, 4)
    assert (len(seqs(log, "a")), len(seqs(log, "b"))) == (9, 12)


def test_the_flusher_commits_what_nobody_waits_for(log: Log) -> None:
    """Within the window, and again after it has gone to sleep."""
    with log.writer("t") as writer:
        for number in range(2):
            before = log.durable_lsn
            writer.append(a_step(number), Summary())
            deadline = time.monotonic() + 5
            while log.durable_lsn == before and time.monotonic() < deadline:
                time.sleep(0.002)
            assert log.durable_lsn > before
            while number == 0 and not log._core.committer.flusher.asleep and time.monotonic() < deadline:
                time.sleep(0.01)


def test_a_future_resolves_when_all_appended_is_durable(log: Log) -> None:
    """Asyncio waits without blocking its loop."""

    async def run() -> int:
        with log.writer("t") as writer:
            for number in range(20):
                writer.append(a_step(number), Summary())
                await asyncio.wrap_future(writer.flush_soon())
                assert log.durable_lsn == number + 1
            await asyncio.wrap_future(writer.flush_soon())
            await writer.flush_async()
            for number in range(20, 40):
                writer.append(a_step(number), Summary())
                await writer.flush_async()
                assert log.durable_lsn == number + 1
        return log.durable_lsn

    assert asyncio.run(run()) == 40


def test_the_queue_is_bounded(tmp_path) -> None:
    """Whoever appends beyond the bound commits, so that memory does not grow with the disk's slowness."""
    with (
        Log.open(tmp_path / "log", flush_bytes=10_000, flush_interval=0.05) as log,
        log.writer("t") as writer,
    ):
        for number in range(200):
            writer.append(a_step(number, "x" * 1000), Summary(), awaited=True)
            assert log._core.committer._bytes <= 41_200
        assert log.durable_lsn >= 4


def test_workers_that_wait_together_share_commits(tmp_path) -> None:
    """Leader and followers: fewer commits than flushes, and each flush is true."""
    with Log.open(tmp_path / "log") as log:
        before = log._core.committer.groups

        def work(name: str) -> None:
            with log.writer(name) as writer:
                for number in range(30):
                    writer.append(a_step(number), Summary(), awaited=True)
                    writer.flush()
                    row = log.store.row(name)
                    assert row is not None
                    assert row.seq == writer.seq

        workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert log._core.committer.groups - before < 240
        assert sum(head.records for head in log.threads()) == 8 * 90


def test_a_closed_log_refuses_everything(log: Log) -> None:
    """Closing flushes, twice is once, and every later call says so."""
    writer = log.writer("t")
    writer.append(created(), Summary())
    log.close()
    log.close()
    for call in (
        lambda: log.writer("u"),
        lambda: log.read("t"),
        lambda: log.head("t"),
        lambda: writer.append(created(), Summary()),
    ):
        with pytest.raises(LogClosed):
            call()


def test_log_objects_of_one_path_are_one_log(tmp_path) -> None:
    """They share claims and queue; the last one closes the file."""
    first, second = Log.open(tmp_path / "log"), open_log(tmp_path / "log")
    writer = first.writer("t")
    writer.append(created(), Summary())
    with pytest.raises(ThreadBusy):
        second.writer("t")
    assert seqs(second) == [1]
    first.close()
    writer.append(a_step(0), Summary())
    assert seqs(second) == [1, 2, 3, 4]
    writer.close()
    second.close()
    with Log.open(tmp_path / "log", create=False) as again:
        assert seqs(again) == [1, 2, 3, 4]


def test_unknown_options_are_refused(tmp_path) -> None:
    """A misspelt option is not silently the default."""
    with pytest.raises(TypeError):
        Log.open(tmp_path / "log", fsink="off")
    with pytest.raises(ValueError):
        Log.open(tmp_path / "log", fsync="no")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_append_is_nothing(log: Log) -> None:
    """No records, no frame."""
    with log.writer("t") as writer:
        assert writer.append([], Summary()) == []
    assert log.head("t") is None


def test_tasks_of_an_event_loop_share_commits(log: Log) -> None:
    """Those that were told together append again together."""

    async def one(name: str) -> None:
        with log.writer(name) as writer:
            for number in range(10):
                writer.append(a_step(number), Summary(), awaited=True)
                await writer.flush_async()

    async def run() -> None:
        await asyncio.gather(*[one(f"t{number}") for number in range(50)])

    asyncio.run(run())
    assert log._core.committer.groups < 250
    assert sum(head.records for head in log.threads()) == 50 * 30
