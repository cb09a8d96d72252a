"""What every store promises, asked of each: the same tests over memory and over LMDB.

Invariants:
1. A test here uses the contract of ``wal.store`` alone; what only one store has is tested beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from walgraph.wal.blob import Blob, digest
from walgraph.wal.environment import open_environment
from walgraph.wal.errors import LogCorrupt, LogInUse, ThreadBusy, ThreadNotFound
from walgraph.wal.frame import Summary
from walgraph.wal.lmdb_store import LmdbStore
from walgraph.wal.memory_store import MemoryStore
from walgraph.wal.store import Committed, Conflict, Frame, Group, Snapshot, Store


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path) -> Iterator[Store]:
    """A new store of each kind."""
    made: Store = (
        MemoryStore() if request.param == "memory" else LmdbStore(open_environment(str(tmp_path / "log")))
    )
    yield made
    made.close()


def a_frame(thread: str = "t", after: int = 0, last: int | None = None, **changes: object) -> Frame:
    """A frame of one record that does not look into its body."""
    last = after + 1 if last is None else last
    frame = Frame(
        thread, after, last, last - after, 1, f"{thread}{after}".encode()[-8:].rjust(8), b"\x90", Summary()
    )
    return frame._replace(**changes)


def a_blob(data: bytes) -> Blob:
    """A blob under its right digest."""
    return Blob(digest(data), data)


def filled(store: Store, thread: str = "t", count: int = 10) -> None:
    """Commit frames one by one."""
    for seq in range(count):
        assert type(store.commit(Group((a_frame(thread, seq, body=bytes([seq % 128])),)))[0]) is Committed


def seqs(store: Store, thread: str = "t", after: int = 0, upto: int | None = None) -> list[int]:
    """The last seq of each frame that is read."""
    return [header.last for header, _ in store.frames(thread, after, upto)]


def test_what_was_committed_is_read_in_order(store: Store) -> None:
    """Frames come back oldest first, with their bodies and positions."""
    filled(store)
    found = list(store.frames("t"))
    assert list(range(1, 11)) == [header.last for header, _ in found]
    assert [bytes([seq]) for seq in range(10)] == [body for _, body in found]
    assert list(range(1, 11)) == [header.lsn for header, _ in found]


def test_a_reader_gets_the_frames_between_two_seqs(store: Store) -> None:
    """Frames that hold a record with after < seq ≤ upto, and no others."""
    for after in (0, 3, 6):
        store.commit(Group((a_frame("t", after, after + 3),)))
    assert seqs(store) == [3, 6, 9]
    assert seqs(store, after=3) == [6, 9]
    assert seqs(store, after=4, upto=6) == [6]
    assert seqs(store, upto=4) == [3, 6]
    assert seqs(store, after=9) == []


def test_an_unknown_thread_cannot_be_read(store: Store) -> None:
    """Reading says that it is not there; asking for its row answers None."""
    assert store.row("nobody") is None
    with pytest.raises(ThreadNotFound):
        store.frames("nobody")


def test_a_frame_that_does_not_follow_the_head_conflicts_alone(store: Store) -> None:
    """The loser leaves no trace; the others of its group are written."""
    filled(store, "a", 2)
    verdicts = store.commit(Group((a_frame("a", 1), a_frame("b", 0), a_frame("c", 5))))
    assert [Conflict(2, 1), Committed(3), Conflict(0, 0)] == verdicts
    assert seqs(store, "a") == [1, 2]
    assert seqs(store, "b") == [1]
    assert store.row("c") is None
    assert [Conflict(2, 1)] == store.commit(Group((a_frame("a", 0),)))


def test_a_lower_epoch_is_refused_and_a_higher_one_taken(store: Store) -> None:
    """A writer that lost its thread is refused inside the transaction."""
    filled(store, count=1)
    fenced = store.fence("t")
    assert fenced is not None
    assert [Conflict(1, fenced.epoch)] == store.commit(Group((a_frame(after=1, epoch=2),)))
    assert Committed is type(store.commit(Group((a_frame(after=1, epoch=fenced.epoch),)))[0])
    assert store.fence("nobody") is None


def test_blobs_of_a_refused_frame_are_not_written(store: Store) -> None:
    """A conflict leaves no trace, its large values included."""
    lost = a_blob(b"lost" * 20_000)
    store.commit(Group((a_frame(after=7, blobs=(lost,)), a_frame("u"))))
    assert store.blob(lost.digest) is None
    assert store.digests() == []


def test_a_blob_is_stored_once_in_chunks_and_found_by_its_digest(store: Store) -> None:
    """The same value recorded again costs nothing on disk."""
    blob, small = a_blob(bytes(range(256)) * 1000), a_blob(b"x")
    for after in range(3):
        store.commit(Group((a_frame(after=after, blobs=(blob,)),), blobs=(small,)))
    assert blob.data == store.blob(blob.digest)
    assert store.blob(small.digest) == b"x"
    assert sorted([blob.digest, small.digest]) == store.digests()


def test_two_values_with_one_hash_are_told_apart(store: Store) -> None:
    """Bytes are compared on a hash hit, and the group of the impostor is refused as a whole."""
    real = a_blob(b"real" * 10_000)
    store.commit(Group((a_frame(blobs=(real,)),)))
    with pytest.raises(LogCorrupt):
        store.commit(Group((a_frame(after=1, blobs=(Blob(real.digest, b"fake" * 10_000),)),)))
    assert real.data == store.blob(real.digest)
    assert seqs(store) == [1]


def test_the_newest_snapshot_at_or_before_a_seq_is_found(store: Store) -> None:
    """A snapshot replaces the older ones, unless the horizon leans on it."""
    filled(store)
    assert store.snapshot("t") is None
    store.commit(Group(snapshots=(Snapshot("t", 4, b"four"),)))
    assert store.snapshot("t") == (4, b"four")
    assert store.snapshot("t", 3) is None
    store.truncate("t", 4)
    store.commit(Group(snapshots=(Snapshot("t", 8, b"eight"),)))
    assert store.snapshot("t", 7) == (4, b"four")
    store.commit(Group(snapshots=(Snapshot("t", 10, b"ten"),)))
    assert store.snapshots("t") == [4, 10]
    assert store.snapshot("t", 9) == (4, b"four")


def test_a_snapshot_beyond_the_head_or_of_nobody_is_not_taken(store: Store) -> None:
    """Snapshots are derived: what does not fit is dropped without an error."""
    filled(store, count=2)
    store.commit(Group(snapshots=(Snapshot("t", 3, b"early"), Snapshot("nobody", 1, b"?"))))
    assert store.snapshots("t") == []


def test_a_snapshot_of_another_thread_is_not_found(store: Store) -> None:
    """Neighbouring keys are told apart."""
    filled(store, "a", 1)
    filled(store, "b", 1)
    store.commit(Group(snapshots=(Snapshot("a", 1, b"a"),)))
    assert store.snapshot("b") is None


def test_truncation_cuts_at_a_frame_boundary_and_keeps_the_chain(store: Store) -> None:
    """What lies at or before the snapshot goes; what is left is checked against the anchor."""
    for after in range(0, 12, 3):
        store.commit(Group((a_frame("t", after, after + 3),)))
    assert store.truncate("t", 12) == 0
    store.commit(Group(snapshots=(Snapshot("t", 8, b"8"),)))
    assert store.truncate("t", 12) == 2
    assert seqs(store) == [9, 12]
    row = store.row("t")
    assert row is not None
    assert (row.horizon, row.base, row.frames, row.records, store.position().frames) == (6, 8, 2, 6, 2)
    assert store.truncate("t", 12) == 0
    filled_on = store.commit(Group((a_frame(after=12),)))
    assert type(filled_on[0]) is Committed
    assert seqs(store) == [9, 12, 13]


def test_a_thread_cut_to_nothing_goes_on(store: Store) -> None:
    """After every frame went, the next one continues seq and chain."""
    filled(store, count=5)
    store.commit(Group(snapshots=(Snapshot("t", 5, b"5"),)))
    assert store.truncate("t", 5) == 5
    assert seqs(store) == []
    store.commit(Group((a_frame(after=5),)))
    assert seqs(store) == [6]


def test_a_long_thread_is_cut_in_several_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The anchor moves with every transaction, so that each leaves a whole log."""
    monkeypatch.setattr("walgraph.wal.truncating.CUT", 3)
    filled(store, count=20)
    store.commit(Group(snapshots=(Snapshot("t", 18, b"18"),)))
    assert store.truncate("t", 18) == 18
    assert seqs(store) == [19, 20]


def test_positions_are_never_given_twice(store: Store) -> None:
    """Neither the lsn nor the number of a deleted thread is used again."""
    filled(store, "a", 3)
    first = store.row("a")
    assert store.delete("a")
    assert not store.delete("a")
    assert store.row("a") is None
    filled(store, "a", 1)
    second = store.row("a")
    assert first is not None
    assert second is not None
    assert (second.number, second.lsn) == (first.number + 1, 4)
    assert store.position().frames == 1


def test_a_copy_is_a_thread_of_its_own(store: Store) -> None:
    """Frames and snapshots are chained anew; both go on by themselves; an existing target is refused."""
    filled(store, "a", 5)
    store.commit(Group(snapshots=(Snapshot("a", 3, b"3"),)))
    store.truncate("a", 3)
    store.copy("a", "b")
    assert [4, 5] == seqs(store, "a") == seqs(store, "b")
    assert store.snapshot("b") == (3, b"3")
    store.commit(Group((a_frame("b", 5),)))
    store.delete("a")
    assert seqs(store, "b") == [4, 5, 6]
    with pytest.raises(ThreadBusy):
        store.copy("b", "b")
    with pytest.raises(ThreadNotFound):
        store.copy("a", "c")


@pytest.mark.parametrize("thread", ["x" * 400, "x" * 401, "é" * 300, "a\x00b", " ", "🦆" * 1000])
def test_any_text_is_a_thread(store: Store, thread: str) -> None:
    """Ids longer than a key may be are found by their hash, and come back whole."""
    filled(store, thread, 2)
    store.delete(thread + "?")
    assert seqs(store, thread) == [1, 2]
    assert [thread] == [row.thread for row in store.rows()]


def test_the_directory_lists_threads_in_the_order_of_their_creation(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is longer than one page."""
    monkeypatch.setattr("walgraph.wal.table_store.PAGE", 4)
    names = [f"thread-{number}" for number in (5, 3, 9, 1, 7, 2, 8, 0, 4)]
    for name in names:
        store.commit(Group((a_frame(name),)))
    assert names == [row.thread for row in store.rows()]


def test_the_last_summary_is_shown(store: Store) -> None:
    """The directory holds what the newest frame said of its thread."""
    said = Summary("sleeping", "a graph", 7, ("one", "two"), 12_345)
    store.commit(Group((a_frame(summary=said),)))
    row = store.row("t")
    assert row is not None
    assert said == Summary(row.status, row.graph, row.step, row.next, row.due_at)


def test_the_tail_yields_all_threads_by_position(store: Store) -> None:
    """A follower sees every frame once, in the order of the log."""
    for after in range(100):
        store.commit(Group((a_frame("a", after), a_frame("b", after))))
    assert list(range(1, 201)) == [header.lsn for header, _ in store.tail()]
    assert [header.lsn for header, _ in store.tail(198)] == [199, 200]


def test_a_sweep_spares_what_a_commit_names_meanwhile(store: Store) -> None:
    """A blob that is used again after the sweep looked is marked, and so is one whose frame brings it anew."""
    old, again, new = (a_blob(name * 20_000) for name in (b"old!", b"agn!", b"new!"))
    store.commit(Group(blobs=(old, again)))
    token = store.begin_sweep()
    candidates = store.digests()
    store.commit(Group((a_frame(blobs=(again, new)),)))
    gone = store.sweep(token, lambda marked: [found for found in candidates if found not in marked])
    assert gone == 1
    assert sorted([again.digest, new.digest]) == store.digests()
    store.end_sweep(token)
    assert store.position().sweep == b""


def test_a_second_sweep_ends_the_first(store: Store) -> None:
    """Two sweeps never remove at once: the older one finds its token gone."""
    token = store.begin_sweep()
    other = store.begin_sweep()
    with pytest.raises(LogInUse):
        store.sweep(token, lambda _: [])
    store.end_sweep(token)
    assert other == store.position().sweep


def test_a_swept_blob_is_written_again_when_it_comes_back(store: Store) -> None:
    """That this process has seen a blob does not mean that it is still there."""
    blob = a_blob(b"data" * 20_000)
    store.commit(Group(blobs=(blob,)))
    token = store.begin_sweep()
    store.sweep(token, lambda _: [blob.digest])
    store.end_sweep(token)
    assert store.digests() == []
    store.commit(Group((a_frame(blobs=(blob,)),)))
    assert blob.data == store.blob(blob.digest)


def test_a_failing_transaction_changes_nothing(store: Store) -> None:
    """An error inside the group undoes all of it, and the store goes on."""
    filled(store, count=2)
    with pytest.raises(Exception, match="surrogates"):
        store.commit(Group((a_frame(after=2), a_frame("bad\udc80"))))
    assert seqs(store) == [1, 2]
    filled(store, "u", 1)
    assert seqs(store, "u") == [1]


def test_time_never_steps_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back does not reorder the log."""
    filled(store, count=1)
    monkeypatch.setattr("time.time_ns", lambda: 5)
    filled(store, "u", 1)
    (first, _), (second, _) = store.tail()
    assert second.time >= first.time > 5


def test_commits_from_many_workers_are_all_there(store: Store) -> None:
    """Every worker's frames are written once and in order."""

    def work(name: str) -> None:
        filled(store, name, 20)

    workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number in range(4):
        assert list(range(1, 21)) == seqs(store, f"w{number}")
    assert 80 == store.position().frames == len({header.lsn for header, _ in store.tail()})


def test_facts_tell_the_number_of_entries(store: Store) -> None:
    """Tools learn how much there is without reading it."""
    filled(store, count=3)
    assert store.facts()["entries"] == 3


@pytest.fixture
def lmdb_pair(tmp_path) -> Iterator[Callable[[], LmdbStore]]:
    """A way to open the same directory again and again."""
    opened: list[LmdbStore] = []

    def again() -> LmdbStore:
        for store in opened:
            store.close()
        opened.append(LmdbStore(open_environment(str(tmp_path / "log"))))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


def test_what_was_committed_is_there_after_reopening(lmdb_pair: Callable[[], LmdbStore]) -> None:
    """Frames, directory, snapshots and blobs survive the end of the process that wrote them."""
    blob = a_blob(b"blob" * 20_000)
    store = lmdb_pair()
    filled(store, count=4)
    store.commit(Group((a_frame(after=4, blobs=(blob,)),), (Snapshot("t", 5, b"5"),)))
    row = store.row("t")
    store = lmdb_pair()
    assert row == store.row("t")
    assert seqs(store) == [1, 2, 3, 4, 5]
    assert store.snapshot("t") == (5, b"5")
    assert blob.data == store.blob(blob.digest)
    filled_on = store.commit(Group((a_frame(after=5),)))
    assert [Committed(6)] == filled_on
