"""What becomes of a log when a commit fails: nothing is promised twice, nothing is lost that was promised."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from wal_helpers import a_step, created, write_steps

from walgraph.wal import Log, LogFailed, LogFull, MemoryLog, StaleWriter, Summary
from walgraph.wal.store import Group, Verdict
from walgraph.wal.verify import verify


def fail_commits(log: Log, error: BaseException, *, after: bool = False) -> None:
    """Make the next commit fail, before it is written or after."""
    store = log.store
    commit: Callable[[Group], list[Verdict]] = store.commit

    def failing(group: Group) -> list[Verdict]:
        store.commit = commit
        if after:
            commit(group)
        raise error

    store.commit = failing


def test_a_failed_commit_poisons_the_log(tmp_path) -> None:
    """Whoever waited gets the error; everything later is refused; reopening is the cure."""
    log = Log.open(tmp_path / "log")
    writer = log.writer("t")
    writer.append(created(), Summary())
    writer.flush()
    fail_commits(log, OSError(5, "Input/output error"))
    writer.append(a_step(0), Summary(), awaited=True)
    with pytest.raises(LogFailed, match="Input/output"):
        writer.flush()
    for call in (
        lambda: writer.append(a_step(1), Summary()),
        lambda: log.writer("u"),
        lambda: log.read("t"),
        lambda: log.put_shared(1),
        writer.flush,
    ):
        with pytest.raises(LogFailed):
            call()
    future = writer.flush_soon()
    assert isinstance(future.exception(), LogFailed)

    async def wait() -> None:
        await writer.flush_async()

    with pytest.raises(LogFailed):
        asyncio.run(wait())
    with pytest.raises(LogFailed):
        writer.close()
    log.close()
    with Log.open(tmp_path / "log") as again, again.writer("t") as heir:
        assert heir.seq == 1
        write_steps(heir, 0, 1)
        assert [stored.seq for stored in again.read("t")] == [1, 2, 3, 4]


def test_a_poisoned_log_can_be_opened_again_without_closing_it(tmp_path) -> None:
    """Opening the path closes what is broken, wherever it is still held."""
    log = Log.open(tmp_path / "log")
    writer = log.writer("t")
    fail_commits(log, OSError("gone"))
    writer.append(created(), Summary(), awaited=True)
    with pytest.raises(LogFailed):
        writer.flush()
    with Log.open(tmp_path / "log") as again, again.writer("t") as heir:
        heir.append(created(), Summary())
    log.close()


def test_a_commit_in_doubt_is_settled_by_its_frames_id(tmp_path) -> None:
    """The error names the frame's id; after reopening, the head tells whether it landed."""
    log = Log.open(tmp_path / "log")
    writer = log.writer("t")
    fail_commits(log, OSError("answer lost"), after=True)
    writer.append(created(), Summary(), awaited=True)
    with pytest.raises(LogFailed) as caught:
        writer.flush()
    log.close()
    with Log.open(tmp_path / "log") as again:
        head = again.head("t")
        assert head is not None
        assert caught.value.details["in_doubt"] == {"t": head.frame}


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupted_commit_is_finished_first(after: bool) -> None:
    """Ctrl-C in the middle of a commit is raised once it is known what became of the commit."""
    log = MemoryLog()
    writer = log.writer("t")
    fail_commits(log, KeyboardInterrupt(), after=after)
    writer.append(created(), Summary(), awaited=True)
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    writer.append(a_step(0), Summary())
    writer.close()
    assert [stored.seq for stored in log.read("t")] == [1, 2, 3, 4]


def test_a_full_map_says_so_and_keeps_what_was_recorded(tmp_path) -> None:
    """LogFull first, LogFailed after; with a larger map the log goes on."""
    log = Log.open(tmp_path / "log", map_size=1 << 20)
    writer = log.writer("t")
    durable = []

    def fill() -> None:
        for number in range(1000):
            writer.append(a_step(number, "x" * 20_000), Summary(), awaited=True)
            writer.flush()
            durable.append(writer.seq)

    with pytest.raises(LogFull, match="map"):
        fill()
    with pytest.raises(LogFailed):
        writer.append(a_step(0), Summary())
    writer.abandon()
    log.close()
    with Log.open(tmp_path / "log", map_size=1 << 26) as again:
        assert durable[-1] == [stored.seq for stored in again.read("t")][-1]
        with again.writer("t") as heir:
            write_steps(heir, 0, 2)
        assert verify(again).ok


def test_every_follower_hears_of_the_failure() -> None:
    """Nobody waits for ever for a commit that will not come."""
    log = MemoryLog()
    fail_commits(log, OSError("gone"))
    errors: list[Exception] = []

    def work(name: str) -> None:
        try:
            with log.writer(name) as writer:
                for number in range(100):
                    writer.append(a_step(number), Summary(), awaited=True)
                    writer.flush()
        except Exception as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
    assert not any(worker.is_alive() for worker in workers)
    assert len(errors) == 6
    assert all(isinstance(error, LogFailed) for error in errors)


def test_a_conflict_is_the_losers_alone(tmp_path) -> None:
    """The writer that lost its thread is refused; others of the same group are written."""
    with Log.open(tmp_path / "log") as log:
        loser, other = log.writer("a"), log.writer("b")
        loser.append(created("a"), Summary(), awaited=True)
        loser.flush()
        log.store.fence("a")
        loser.append(a_step(0), Summary(), awaited=True)
        other.append(created("b"), Summary(), awaited=True)
        other.flush()
        with pytest.raises(StaleWriter, match="taken over"):
            loser.flush()
        with pytest.raises(StaleWriter):
            loser.append(a_step(1), Summary())
        other.close()
        with pytest.raises(StaleWriter):
            loser.close()
        assert [stored.seq for stored in log.read("a")] == [1]
        assert [stored.seq for stored in log.read("b")] == [1]
