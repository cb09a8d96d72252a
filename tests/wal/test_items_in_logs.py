"""Items beside the records of a log: nothing that happens to threads touches them, and damage of theirs is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from wal_helpers import a_step, end, heard, start, tell, write_steps

from walgraph.wal import Encoder, Log, LogClosed, LogFailed, LogReadOnly, MemoryLog, Summary
from walgraph.wal.compaction import compact, shrink
from walgraph.wal.item_layout import ITEM, Times, item_key, pack_item
from walgraph.wal.items import Delete, Put
from walgraph.wal.tables import ITEMS
from walgraph.wal.verify import verify


def encoded(value: object) -> bytes:
    """A value as items hold it."""
    return Encoder().value(value, whole=True).data


def keys(log: Log) -> list[str]:
    """The keys of all items of stores."""
    with log.items().view() as view:
        return [item.key for item in view.scan()]


def damage_last_item(log: Log) -> None:
    """Flip a bit of the last item."""
    with log.store._tables.write() as txn:
        key, value = txn.at_or_before(ITEMS, b"\xff")
        assert key[:1] == ITEM
        txn.put(ITEMS, key, value[:-1] + bytes([value[-1] ^ 1]))


def test_the_bytes_of_an_item_are_what_they_always_were() -> None:
    """What one version wrote, every later one reads."""
    data = pack_item(item_key(1, 2), Times(3, 4, 5, 9), "key", b"\x01", b"\x90")
    assert data.hex() == (
        "179dd4b1f5f82811000000000000000300000000000000040000000000000005000000000000000900000003000000016b65"
        "790190"
    )


def test_deleting_compacting_and_shrinking_leave_items_alone(tmp_path: Path) -> None:
    """What a store keeps has nothing to do with threads, and is in the smaller file too."""
    path = tmp_path / "log"
    value = encoded(["large"] * 50_000)
    with Log.open(path) as log:
        log.items(write=True).change([Put(("a",), "x", value), Put(("a",), "y", value)])
        log.items(cached=True, write=True).change([Put(("a",), "x", value)])
        with log.writer("t") as writer:
            for number in range(10):
                writer.append(a_step(number), Summary(), awaited=True)
                writer.flush()
            log.put_snapshot("t", writer.seq, Encoder().value({}))
        assert compact(log, {"t": 30}).frames == 10
        log.delete_thread("t")
        log.items(write=True).change([Delete(("a",), "y")])
    before, after = shrink(path)
    assert after < before
    with Log.open(path) as log:
        with log.items().view() as view:
            assert [item.value for item in view.scan()] == [value]
        with log.items(cached=True).view() as view:
            assert [item.value for item in view.scan()] == [value]
        report = verify(log)
        assert report.ok, report.problems
        assert report.items == 2
        assert log.store.facts()["tables"]["item"] == 4


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_a_verification_finds_damaged_items_and_values(kind: str, tmp_path: Path) -> None:
    """A changed bit, and a value that cannot be read though its checksum is right, each with its place."""
    with MemoryLog() if kind == "memory" else Log.open(tmp_path / "log") as log:
        log.items(write=True).change([Put(("a",), "x", encoded(1)), Put(("a",), "y", b"\xc1")])
        log.items(cached=True, write=True).change([Put(("c",), "z", b"\xc1")])
        wrong = [problem.what for problem in verify(log, structure=False).problems]
        assert len(wrong) == 1, "how the values of a cache are written is its user's affair"
        assert wrong[0].startswith("store: item 'y' of namespace ('a',): ")
        damage_last_item(log)
        wrong = [problem.what for problem in verify(log, structure=False).problems]
        assert "store: Item number 2 of namespace ('a',) is damaged" in wrong[0]


def test_a_log_that_must_not_be_written_gives_items_to_read(tmp_path: Path) -> None:
    """Asking to change them is refused before anything is tried."""
    Log.open(tmp_path / "log").close()
    with Log.open(tmp_path / "log", readonly=True) as log:
        assert keys(log) == []
        with pytest.raises(LogReadOnly):
            log.items(write=True)
    with pytest.raises(LogClosed):
        log.items()


def test_a_log_that_failed_takes_no_items(tmp_path: Path) -> None:
    """After a failed commit nobody knows what reached the disk, so nothing is added to it."""
    with Log.open(tmp_path / "log") as log:
        log._core.committer.failure = LogFailed("It failed.")
        with pytest.raises(LogFailed):
            log.items(write=True)
        log._core.committer.failure = None


def test_records_and_items_are_written_side_by_side(tmp_path: Path) -> None:
    """A thread's owner notices nothing of the transactions between its own."""
    with Log.open(tmp_path / "log") as log:
        with log.writer("t") as writer:
            for number in range(10):
                write_steps(writer, number, number + 1)
                writer.flush()
                log.items(write=True).change([Put(("a",), str(number), encoded(number))])
        assert verify(log).ok
        assert len(list(log.read("t"))) == 30
        assert keys(log) == [str(number) for number in range(10)]


def test_several_processes_put_items_into_one_log(tmp_path: Path) -> None:
    """Nothing is lost and nothing is mixed up, also when both make the table."""
    processes = [
        start(
            f"""
            from walgraph.wal.items import Put
            log = Log.open(path)
            say("ready")
            listen()
            for number in range(30):
                log.items(write=True).change([
                    Put(("own", "{name}"), str(number), b"\\x01"), Put(("all",), f"{name}-{{number}}", b"\\x01")])
            log.close()
            say("done")
            """,
            tmp_path / "log",
        )
        for name in ("p", "q")
    ]
    for process in processes:
        assert heard(process) == "ready"
    for process in processes:
        tell(process)
    for process in processes:
        assert heard(process) == "done"
        assert end(process) == 0
    with Log.open(tmp_path / "log") as log:
        report = verify(log)
        assert report.ok, report.problems
        assert report.items == 120


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_a_forked_child_uses_items_through_the_log_that_it_inherited(kind: str, tmp_path: Path) -> None:
    """The log opens itself again; a lock that was held at the fork holds nobody up."""
    with MemoryLog() if kind == "memory" else Log.open(tmp_path / "log") as log:
        log.items(write=True).change([Put(("a",), "x", encoded(1))])
        shelf = log.items()
        with shelf._lock:  # type: ignore[attr-defined]
            child = os.fork()
            if child == 0:
                try:
                    log.items(write=True).change([Put(("a",), "y", encoded(2))])
                    os._exit(0 if keys(log) == ["x", "y"] else 1)
                finally:
                    os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
