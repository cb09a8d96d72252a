"""Verification: a whole log has no problems, and each kind of damage is found and named."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from wal_helpers import a_step, write_steps

from walgraph.wal import Encoder, Log, MemoryLog, Summary
from walgraph.wal.keyspace import POSITION_KEY, chunk_key, number_key, pack_position, pair_key
from walgraph.wal.tables import BLOBS, LOG, SNAPS, THREADS
from walgraph.wal.verify import verify


@pytest.fixture(params=["memory", "lmdb"])
def log(request, tmp_path) -> Iterator[Log]:
    """A log with two threads, a snapshot and a large value."""
    made = MemoryLog() if request.param == "memory" else Log.open(tmp_path / "log", fsync="off")
    for thread in ("t", "u"):
        with made.writer(thread) as writer:
            for number in range(6):
                writer.append(
                    a_step(number, "x" * 40_000 if number == 3 else number), Summary(), awaited=True
                )
                writer.flush()
    made.put_snapshot("t", 12, Encoder().value({"n": 12}))
    made.flush()
    yield made
    made.close()


def damage(log: Log, table: int, key: bytes, place: int = -1) -> None:
    """Flip a bit of one entry."""
    with log.store._tables.write() as txn:
        value = bytearray(txn.get(table, key))
        value[place] ^= 1
        txn.put(table, key, bytes(value))


def remove(log: Log, table: int, key: bytes) -> None:
    """Lose one entry."""
    with log.store._tables.write() as txn:
        assert txn.delete(table, key)


def problems(log: Log) -> list[str]:
    """What a verification says, with the thread in front."""
    return [f"{problem.thread}: {problem.what}" for problem in verify(log, structure=False).problems]


def test_a_whole_log_has_no_problems(log: Log) -> None:
    """Everything is counted, the file's own structure included."""
    report = verify(log)
    assert report.ok, report.problems
    assert (report.threads, report.frames, report.records, report.snapshots, report.blobs) == (
        2,
        12,
        36,
        1,
        1,
    )


def test_a_damaged_frame_is_named_and_others_stay_readable(log: Log) -> None:
    """Its thread cannot be read beyond it; the other thread can."""
    damage(log, LOG, number_key(4))
    (found,) = problems(log)
    assert found.startswith("t: The frame at lsn 4")
    assert len(list(log.read("u"))) == 18


def test_a_missing_frame_is_found(log: Log) -> None:
    """In the middle by its successor, and at the end by the directory."""
    remove(log, LOG, number_key(2))
    assert any("lacks its frame at lsn 2" in found for found in problems(log))
    assert any("11 frames" in found for found in problems(log))


def test_a_missing_head_is_found(log: Log) -> None:
    """The newest frame is what the directory says."""
    remove(log, LOG, number_key(12))
    assert any("lsn 12" in found for found in problems(log))


def test_frames_that_changed_places_are_found(log: Log) -> None:
    """Each is valid in itself, and stands under the other's lsn."""
    with log.store._tables.write() as txn:
        first, second = txn.get(LOG, number_key(2)), txn.get(LOG, number_key(3))
        txn.put(LOG, number_key(2), second)
        txn.put(LOG, number_key(3), first)
    assert problems(log)


def test_a_damaged_directory_entry_is_found(log: Log) -> None:
    """Nothing of it is believed."""
    damage(log, THREADS, number_key(2), 12)
    assert any("directory entry" in found for found in problems(log))


def test_a_damaged_snapshot_is_found(log: Log) -> None:
    """Its checksum covers its key."""
    damage(log, SNAPS, pair_key(1, 12))
    (found,) = problems(log)
    assert "snapshot" in found


def test_a_damaged_and_a_missing_blob_are_found(log: Log) -> None:
    """With the thread and seq that name it."""
    (digest,) = log.store.digests()
    damage(log, BLOBS, chunk_key(digest, 0))
    assert any("not what its digest says" in found for found in problems(log))
    remove(log, BLOBS, chunk_key(digest, 0))
    assert any("missing" in found for found in problems(log))


def test_wrong_counts_are_found(log: Log) -> None:
    """A lost frame shows in the log's own count, even if its thread's chain was mended around it."""
    with log.store._tables.write() as txn:
        txn.put(THREADS, POSITION_KEY, pack_position(log.store.position()._replace(frames=13)))
    assert [found[2:] for found in problems(log)] == ["the log holds 12 frames, its directory says 13"]


def test_the_layer_above_checks_snapshots(log: Log) -> None:
    """It is given thread, seq and encoded state, and says what is wrong."""
    report = verify(log, structure=False, check=lambda thread, seq, data: f"{thread} {seq} {len(data)}")
    assert [problem.what for problem in report.problems] == ["t 12 4"]


def test_a_horizon_without_its_snapshot_is_found(log: Log) -> None:
    """What was cut can then not be rebuilt."""
    log.truncate("t", 12)
    assert verify(log, structure=False).ok
    remove(log, SNAPS, pair_key(1, 12))
    assert any("horizon" in found for found in problems(log))


def test_random_damage_of_the_file_never_goes_unnoticed(tmp_path) -> None:
    """A verification of the path finds it without being killed by it, or the damage hit unused bytes."""
    path = tmp_path / "log"
    with Log.open(path, fsync="off") as log, log.writer("t") as writer:
        for number in range(60):
            writer.append(a_step(number, "y" * 200), Summary(), awaited=True)
            writer.flush()
        truth = list(log.read("t"))
    whole = (path / "data.mdb").read_bytes()
    chance = random.Random(7)
    for _ in range(12):
        page = chance.randrange(2, len(whole) // 4096)
        kind = chance.choice([b"\0" * 4096, bytes(chance.randrange(256) for _ in range(4096))])
        (path / "data.mdb").write_bytes(whole[: page * 4096] + kind + whole[(page + 1) * 4096 :])
        (path / "lock.mdb").unlink(missing_ok=True)
        if verify(path).ok:
            with Log.open(path, readonly=True) as log:
                assert truth == list(log.read("t"))


def test_a_path_is_verified_without_changing_it(tmp_path) -> None:
    """Read-only, and without making anything."""
    with Log.open(tmp_path / "log", fsync="off") as log, log.writer("t") as writer:
        write_steps(writer, 0, 3)
    before = (tmp_path / "log" / "data.mdb").read_bytes()
    assert verify(tmp_path / "log").ok
    assert before == (tmp_path / "log" / "data.mdb").read_bytes()
