"""Backups and restoring: hot, incremental, to a moment, checked, and whole after a kill at any instant."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from backup_helpers import Memory, filled, frames, same
from wal_helpers import a_step, doomed, write_steps

from walgraph import Log
from walgraph.wal import BackupDamaged, BackupMismatch, BackupNotFound, LogExists, NotAvailable, Summary
from walgraph.wal import backup as backups
from walgraph.wal.backup import manifests, prune
from walgraph.wal.backup_target import Folder, ObjectStore, Target, open_target
from walgraph.wal.compaction import compact
from walgraph.wal.keyspace import number_key
from walgraph.wal.restore import check, restore
from walgraph.wal.tables import LOG


@pytest.fixture(params=["folder", "object store"])
def target(request, tmp_path) -> Target:
    """A folder, and an object store that lives in memory."""
    if request.param == "folder":
        return Folder(str(tmp_path / "backups"))
    pytest.importorskip("obstore")
    return ObjectStore("memory:///")


@pytest.fixture
def log(tmp_path) -> Any:
    """A log with two threads and a large value."""
    with filled(tmp_path / "log") as made:
        yield made


def test_a_backup_gives_back_the_log(log, target, tmp_path) -> None:
    """Every entry of every table, byte by byte, and the copy verifies."""
    made = log.backup(target)
    assert (made.generation, made.lsn, made.threads) == (1, log.store.position().lsn, 2)
    done = restore(target, tmp_path / "again")
    assert (done.generation, done.lsn) == (1, made.lsn)
    same(log, tmp_path / "again")
    with Log.open(tmp_path / "again") as again, again.writer("t") as writer:
        write_steps(writer, 10, 11)


def test_items_are_part_of_a_backup(tmp_path) -> None:
    """What stores and caches keep comes back, though it has no place in the order of the log."""
    from walgraph import LogStore

    with Log.open(tmp_path / "log") as log:
        store = LogStore(log)
        store.put(("users",), "ada", {"n": 1})
        log.backup(tmp_path / "backups")
        store.put(("users",), "ada", {"n": 2})
        log.backup(tmp_path / "backups")
    for generation in (1, 2):
        restore(tmp_path / "backups", tmp_path / f"{generation}", generation=generation)
        with Log.open(tmp_path / f"{generation}") as log:
            assert LogStore(log).get(("users",), "ada").value == {"n": generation}


def test_a_second_backup_writes_what_is_new(log, tmp_path, monkeypatch) -> None:
    """Stretches of the log and large values that are there already are named again, and not read."""
    monkeypatch.setattr(backups, "SMALL_BYTES", 1000)
    monkeypatch.setattr(backups, "CHUNK_BYTES", 2000)
    target = Memory()
    first = log.backup(target)
    again = log.backup(target)
    assert (again.new_chunks, again.written) == (0, 0)
    with log.writer("v") as writer:
        frames(writer, 0, 3)
    more = log.backup(target)
    assert 0 < more.written < first.written / 5
    assert [each.generation for each in manifests(target)] == [1, 2, 3]
    restore(target, tmp_path / "third")
    same(log, tmp_path / "third")
    restore(target, tmp_path / "first", generation=1)
    with Log.open(tmp_path / "first") as early:
        assert [head.thread_id for head in early.threads()] == ["t", "u"]


def test_what_was_compacted_or_deleted_is_left_out_of_the_next(log, tmp_path, monkeypatch) -> None:
    """Chunks with frames or blobs that are gone are written anew; earlier backups still have them."""
    monkeypatch.setattr(backups, "SMALL_BYTES", 500)
    monkeypatch.setattr(backups, "CHUNK_BYTES", 1000)
    target = Memory()
    log.backup(target)
    log.delete_thread("u")
    compact(log)
    log.backup(target)
    restore(target, tmp_path / "second")
    same(log, tmp_path / "second")
    restore(target, tmp_path / "first", generation=1)
    with Log.open(tmp_path / "first") as early:
        assert early.head("u") is not None


def test_older_backups_can_be_removed(log, tmp_path, monkeypatch) -> None:
    """With all that only they name; the others stay whole."""
    monkeypatch.setattr(backups, "CHUNK_BYTES", 2000)
    target = Memory()
    for number in range(4):
        with log.writer("t") as writer:
            writer.append(a_step(number, number), Summary(), awaited=True)
        made = log.backup(target, keep=2)
    assert made.pruned == 1
    assert [each.generation for each in manifests(target)] == [3, 4]
    named = {chunk.name for each in manifests(target) for chunk in each.chunks}
    assert {name for name in target.held if name.startswith("chunks/")} == named
    check(target)
    restore(target, tmp_path / "again")
    same(log, tmp_path / "again")


def test_a_backup_that_fails_anywhere_leaves_the_former_one(log, tmp_path) -> None:
    """At each write, before and after it: what was there can be restored, and the next backup works."""
    counting = Memory()
    log.backup(counting)
    for after in (False, True):
        for fails_at in range(1, counting.writes + 1):
            target = Memory()
            log.backup(target)
            held = log.store.position().lsn
            with log.writer("t") as writer:
                writer.append(a_step(fails_at, os.urandom(9)), Summary(), awaited=True)
            writes = target.writes
            target.fails_at, target.after = writes + fails_at, after
            with contextlib.suppress(OSError):
                log.backup(target)
            check(target)
            newest = manifests(target)[-1]
            assert newest.lsn in {held, log.store.position().lsn}
            target.fails_at = -1
            assert log.backup(target, keep=1).lsn == log.store.position().lsn
            check(target)
    restore(target, tmp_path / "again")
    same(log, tmp_path / "again")


def lives(imports: str, body: str, *words: object) -> Iterator[bool]:
    """Yield for each fate whether the process was killed, until one is not."""
    with doomed(imports, body, *words) as is_killed:
        for fate in range(1, 200):
            was_killed = is_killed(fate)
            yield was_killed
            if not was_killed:
                return
    raise AssertionError("it writes without end")


def test_a_killed_backup_leaves_the_former_one(log, tmp_path) -> None:
    """Killed at each flush, rename and link, in a process of its own, over and over into the same folder."""
    target = tmp_path / "backups"
    log.backup(target)
    with log.writer("t") as writer:
        writer.append(a_step(1, "new"), Summary(), awaited=True)
    log.flush()
    killed = 0
    body = "Log.open(words[0], readonly=True).backup(words[1])"
    for was_killed in lives("from walgraph.wal import Log, backup, backup_target", body, log.path, target):
        killed += was_killed
        check(target)
        # A backup that was killed right after its manifest was written is a backup.
        assert len(manifests(open_target(target))) in {1, 2}
        if len(manifests(open_target(target))) == 2 and was_killed:
            break
    assert killed > 3
    assert log.backup(target, keep=1).lsn == log.store.position().lsn
    restore(target, tmp_path / "again")
    same(log, tmp_path / "again")


def test_a_killed_restoring_leaves_nothing_or_all(log, tmp_path) -> None:
    """Killed at each flush and rename: at the path is nothing, or a whole log; the next try makes it."""
    log.backup(tmp_path / "backups")
    path = tmp_path / "again"
    killed = 0
    imports = "from walgraph.wal.restore import restore"
    for was_killed in lives(imports, "restore(*words)", tmp_path / "backups", path):
        killed += was_killed
        if was_killed and path.exists():
            same(log, path)
            break
    assert killed > 2
    same(log, path)
    check(tmp_path / "backups")


def test_a_log_is_backed_up_while_it_is_written(tmp_path) -> None:
    """Writers go on, compaction too; every backup is of one moment, and verifies."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        stop = threading.Event()

        def write(name: str) -> None:
            with log.writer(name) as writer:
                number = 0
                while not stop.is_set():
                    writer.append(a_step(number, f"{number}" * 200), Summary(), awaited=True)
                    writer.flush()
                    number += 1

        writers = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(3)]
        for each in writers:
            each.start()
        try:
            made = []
            for _ in range(5):
                compact(log)
                made.append(log.backup(tmp_path / "backups"))
        finally:
            stop.set()
            for each in writers:
                each.join()
    assert sorted({each.lsn for each in made}) == [each.lsn for each in made]
    for each in made:
        done = restore(tmp_path / "backups", tmp_path / f"r{each.generation}", generation=each.generation)
        assert done.lsn == each.lsn
        assert done.report.ok


# What is refused


def test_backups_of_two_logs_do_not_mix(log, tmp_path) -> None:
    """A target belongs to one log; a restored log is another one."""
    target = Memory()
    log.backup(target)
    with Log.open(tmp_path / "other") as other, pytest.raises(BackupMismatch, match="another log"):
        other.backup(target)
    restore(target, tmp_path / "again")
    with Log.open(tmp_path / "again") as again, pytest.raises(BackupMismatch, match="another log"):
        again.backup(target)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_log_that_was_put_back_is_noticed(tmp_path, goes_on: bool) -> None:
    """By hand, with its old file: it stands behind the backup, or holds other frames at the same positions."""
    target = Memory()
    path = tmp_path / "log"
    with Log.open(path) as log, log.writer("t") as writer:
        frames(writer, 0, 3)
    before = (path / "data.mdb").read_bytes()
    with Log.open(path) as log:
        with log.writer("t") as writer:
            frames(writer, 3, 6)
        log.backup(target)
    (path / "data.mdb").write_bytes(before)
    (path / "lock.mdb").unlink()
    with Log.open(path) as log:
        if goes_on:
            with log.writer("t") as writer:
                frames(writer, 3, 9)
        with pytest.raises(BackupMismatch, match=r"put back|stands at|another frame"):
            log.backup(target)


def test_of_two_backups_at_once_one_counts(log) -> None:
    """Whoever ends second is told, and has changed nothing."""
    target = Memory()
    log.backup(target)

    class Slow(Memory):
        def write(self, name: str, data: bytes, *, new: bool = False) -> None:
            """Let somebody else write the manifest first."""
            if new:
                target.held[name] = b"somebody else's"
            target.write(name, data, new=new)

    slow = Slow()
    slow.held = target.held
    with pytest.raises(BackupMismatch, match="Another backup"):
        log.backup(slow)


def test_nothing_is_restored_over_something(log, tmp_path) -> None:
    """Neither over a log nor over a file; both stay as they are."""
    target = Memory()
    log.backup(target)
    (tmp_path / "file").write_text("mine")
    for path in (log.path, tmp_path / "file"):
        with pytest.raises(LogExists):
            restore(target, path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_damaged_backup_is_refused(log, tmp_path) -> None:
    """A flipped bit in any chunk or manifest, and a chunk that is missing; nothing appears at the path."""
    target = Memory()
    log.backup(target)
    for name in list(target.held):
        whole = target.held[name]
        broken = bytearray(whole)
        broken[len(broken) // 2] ^= 1
        for held in (bytes(broken), None):
            if held is None:
                del target.held[name]
            else:
                target.held[name] = held
            with pytest.raises((BackupDamaged, BackupNotFound)):
                restore(target, tmp_path / "no")
            with pytest.raises((BackupDamaged, BackupNotFound)):
                check(target)
            target.held[name] = whole
    assert not (tmp_path / "no").exists()
    assert not list(tmp_path.glob("no.new-*"))


def test_a_log_that_was_damaged_when_it_was_backed_up_is_refused(log, tmp_path) -> None:
    """The hashes are right, the log is not: it is verified before it appears."""
    target = Memory()
    with log.store.all_tables.write() as txn:
        data = bytearray(txn.get(LOG, number_key(3)))
        data[-1] ^= 1
        txn.put(LOG, number_key(3), bytes(data))
    log.backup(target)
    with pytest.raises(BackupDamaged, match="lsn 3"):
        restore(target, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_target_that_lies_is_noticed(log) -> None:
    """What is read back after writing must be what was written; the manifest is not written otherwise."""

    class Liar(Memory):
        def read(self, name: str) -> bytes:
            """Return something else."""
            return super().read(name)[:-1] + b"?"

    target = Liar()
    with pytest.raises(BackupDamaged, match="gave back"):
        log.backup(target)
    assert target.names("manifests/") == []


def test_an_object_store_without_its_package_is_said(monkeypatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(NotAvailable, match="walgraph\\[objectstore\\]"):
        open_target("s3://bucket/orders")


def test_an_empty_source_is_said(tmp_path) -> None:
    """No backup is an error, not an empty log."""
    with pytest.raises(BackupNotFound):
        restore(tmp_path / "nowhere", tmp_path / "log")
    with pytest.raises(BackupNotFound):
        check(tmp_path / "nowhere")
    assert prune(Memory(), 1) == 0
