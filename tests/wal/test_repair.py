"""Repairing: what is kept of a damaged log, what is lost and said to be, and what a kill in the middle leaves."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from backup_helpers import filled, frames
from wal_helpers import a_step, doomed

from walgraph import Log, LogExists, LogInUse, LogNotFound, LogStore, WalgraphError
from walgraph.wal import Encoder, LogCorrupt, Summary
from walgraph.wal.keyspace import chunk_key, number_key, pair_key
from walgraph.wal.mending import examined, replace, salvage
from walgraph.wal.pages import Pages
from walgraph.wal.record import ThreadCreated
from walgraph.wal.tables import (
    BLOBS,
    ITEMS,
    LATER_NAMES,
    LOG,
    MAIL,
    SCHEDULED,
    SNAPS,
    SUBMITTED,
    TABLE_NAMES,
    THREADS,
)
from walgraph.wal.verify import verify


@pytest.fixture
def path(tmp_path) -> Path:
    """A log with two threads, a large value, a snapshot, items and a signal."""
    place = tmp_path / "log"
    with filled(place) as log:
        log.put_snapshot("t", 15, Encoder().value({"n": 15}))
        log.flush()
        store = LogStore(log)
        for number in range(4):
            store.put(("users",), f"k{number}", {"n": number})
    return place


def is_there(log: Log, table: int) -> bool:
    """Open a table, and tell whether the log has it."""
    return table < len(TABLE_NAMES) or log.store.all_tables.prepare(table, create=False)


def entry(path: Path, table: int, key: bytes, change: Any) -> None:
    """Change one entry of a log behind its back; None removes it."""
    with Log.open(path, fsync="off") as log:
        assert is_there(log, table)
        with log.store.all_tables.write() as txn:
            value = change(txn.get(table, key))
            if value is None:
                txn.delete(table, key)
            else:
                txn.put(table, key, value)


def flipped(value: bytes) -> bytes:
    """Return a value with its last bit flipped."""
    return value[:-1] + bytes([value[-1] ^ 1])


def gone(value: bytes) -> None:
    """Take a value away."""


def repaired(path: Path) -> Any:
    """Repair a log in place; return the plan, what else was lost, and where the damaged one is."""
    with examined(str(path)) as (pages, plan):
        _, lost, aside = replace(pages, plan, str(path))
    assert verify(path).ok
    return plan, lost, Path(aside)


def lost(plan: Any) -> list[tuple[str, int, int, bool]]:
    """Return what a plan loses."""
    return [(loss.thread, loss.first, loss.last, loss.history) for loss in plan.losses]


def test_what_can_be_read_without_lmdb_is_what_lmdb_reads(path) -> None:
    """Every entry of every table, in order, values on pages of their own included."""
    with Pages(str(path)) as pages, Log.open(path, readonly=True) as log:
        for table, name in enumerate(TABLE_NAMES + LATER_NAMES):
            if is_there(log, table):
                with log.store.all_tables.read() as txn:
                    assert list(pages.entries(name.decode())) == txn.scan(table, b"\x00", 10**6), name
        assert not any(pages.lost.values())


def test_a_whole_log_has_nothing_to_repair(path) -> None:
    """Nothing is lost, and all threads are kept whole."""
    with examined(str(path)) as (_, plan):
        assert not plan.is_damaged
        assert all(kept.is_whole for kept in plan.kept.values())


def test_a_thread_is_cut_at_its_last_sound_frame(path) -> None:
    """What comes after the damage is lost, and said to be; the other thread, and all else, is kept."""
    with Log.open(path) as log:
        before = list(log.read("u", 0, 9))
        other = list(log.read("t"))
        lsn = [header.lsn for header, _ in log.frames("u")][3]
    entry(path, LOG, number_key(lsn), flipped)
    plan, others, aside = repaired(path)
    assert lost(plan) == [("u", 10, 18, False)]
    assert others == []
    with Log.open(path) as log:
        assert list(log.read("u")) == before
        assert list(log.read("t")) == other
        assert LogStore(log).get(("users",), "k2").value == {"n": 2}
        assert len(log.store.mail.waiting("u")) == 1
        with log.writer("u") as writer:
            frames(writer, 3, 5)
        assert verify(log).ok
    assert not verify(aside).ok


def test_a_state_behind_the_damage_is_kept(path) -> None:
    """A snapshot stands for what is damaged before it: only history is lost, and the newest state is not."""
    with Log.open(path) as log:
        after = list(log.read("t", 15))
    entry(path, LOG, number_key(2), flipped)
    plan, _, _ = repaired(path)
    assert lost(plan) == [("t", 1, 15, True)]
    with Log.open(path) as log:
        assert list(log.read("t", 15)) == after
        assert log.head("t").seq == 18
        assert log.snapshot("t")[0] == 15


@pytest.mark.parametrize(
    ("table", "key", "change"),
    [(LOG, number_key(9), gone), (LOG, number_key(12), gone), (LOG, number_key(9), lambda value: value[:50])],
    ids=["missing", "newest missing", "cut short"],
)
def test_frames_that_are_missing_are_told(path, table: int, key: bytes, change: Any) -> None:
    """In the middle and at the end, as far as the directory or a successor knows of them."""
    entry(path, table, key, change)
    plan, _, _ = repaired(path)
    ((thread, first, last, history),) = lost(plan)
    assert (thread, last, history) == ("u", 18, False)
    assert first in {7, 16}


def test_a_damaged_large_value_costs_what_names_it(path) -> None:
    """The frame that names it, and what follows in its thread; it is named by its digest."""
    with Log.open(path) as log:
        (digest,) = log.store.digests()
    entry(path, BLOBS, chunk_key(digest, 0), flipped)
    plan, _, _ = repaired(path)
    assert plan.lost_blobs == (digest.hex(),)
    assert lost(plan) == [("t", 16, 18, False), ("u", 16, 18, False)]


def test_a_lost_row_is_found_in_the_records(path) -> None:
    """The first record names its thread; where it stood is where its frames end."""
    with Log.open(path) as log, log.writer("v") as writer:
        writer.append([ThreadCreated(1, "v", None), *a_step(0)], Summary(), awaited=True)
    entry(path, THREADS, number_key(3), flipped)
    plan, _, _ = repaired(path)
    assert [loss.thread for loss in plan.losses] == ["v"]
    with Log.open(path) as log:
        assert log.head("v").seq == 4
        assert [head.thread_id for head in log.threads()] == ["t", "u", "v"]


def test_a_snapshot_that_is_damaged_is_dropped(path) -> None:
    """If records stand for it; a compacted thread that begins with it is lost."""
    shutil.copytree(path, path.with_name("cut"))
    with Log.open(path.with_name("cut")) as log:
        log.truncate("t", 15)
    for place, expected in ((path, []), (path.with_name("cut"), [("t", 1, 18, False)])):
        entry(place, SNAPS, pair_key(1, 15), flipped)
        plan, _, _ = repaired(place)
        assert lost(plan) == expected
        assert any("snapshot" in note for note in plan.notes)


def test_items_are_kept_one_by_one(path) -> None:
    """A damaged item is lost alone, and what leads to the others is made anew."""
    with Log.open(path) as log:
        log.store.all_tables.prepare(ITEMS, create=False)
        with log.store.all_tables.read() as txn:
            place = next(key for key, _ in txn.scan(ITEMS, b"\x04", 10))
    entry(path, ITEMS, place, flipped)
    _, others, _ = repaired(path)
    assert others
    with Log.open(path) as log:
        keys = [item.key for item in LogStore(log).search(("users",))]
        assert sorted(keys) == ["k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("table", "row", "name"),
    [(MAIL, b"\x02", "mail"), (SUBMITTED, b"\x01", "submit"), (SCHEDULED, b"\x01", "schedule")],
)
def test_a_table_beside_the_records_that_is_damaged_is_emptied(
    path, table: int, row: bytes, name: str
) -> None:
    """What is not understood here is kept whole or not at all, and that is told.

    A damaged table of handed-over runs was kept, since verify does not call it as its table is called.
    """
    with Log.open(path) as log:
        log.store.all_tables.prepare(table, create=False)
        with log.store.all_tables.read() as txn:
            place = next(key for key, _ in txn.scan(table, row, 10))
    entry(path, table, place, flipped)
    _, others, _ = repaired(path)
    assert others == [f"all of the table {name!r}, which does not verify"]
    with Log.open(path) as log:
        kept = [list(log.schedules().all()), list(log.submissions().all())]
        assert [len(each) for each in kept] == [name != "schedule", name != "submit"]


def test_random_damage_of_the_file_is_survived(path, tmp_path) -> None:
    """Whatever page is overwritten: what is made verifies, and what is kept is what was there."""
    with Log.open(path) as log:
        for number in range(12):
            with log.writer(f"w{number}") as writer:
                writer.append([ThreadCreated(1, f"w{number}", None)], Summary())
                frames(writer, 0, 12)
        truth = {head.thread_id: list(log.read(head.thread_id)) for head in log.threads()}
    whole = (path / "data.mdb").read_bytes()
    chance = random.Random(5)
    survived = 0
    for number in range(24):
        page = chance.randrange(0, len(whole) // 4096)
        kind = chance.choice([bytes(4096), chance.randbytes(4096)])
        (path / "data.mdb").write_bytes(whole[: page * 4096] + kind + whole[(page + 1) * 4096 :])
        out = tmp_path / f"out{number}"
        with contextlib.suppress(LogCorrupt), examined(str(path)) as (pages, plan):
            salvage(pages, plan, str(out))
        if not out.exists():
            continue
        survived += 1
        said = {loss.thread for loss in plan.losses}
        with Log.open(out, readonly=True) as log:
            assert verify(log).ok
            for thread, records in truth.items():
                head = log.head(thread)
                kept = [] if head is None else list(log.read(thread))
                assert kept == records[len(records) - len(kept) :] or kept == records[: len(kept)]
                if kept != records:
                    assert thread in said or plan.is_damaged
    assert survived > 15


def test_frames_that_nothing_leads_to_are_found_again(tmp_path) -> None:
    """A broken branch hides many whole leaves; frames are found in them, and deleted threads stay deleted."""
    path = tmp_path / "log"
    with Log.open(path, fsync="off") as log:
        for name in ("gone", "here"):
            with log.writer(name) as writer:
                writer.append([ThreadCreated(1, name, None)], Summary(), awaited=True)
                for number in range(150):
                    writer.append(a_step(number, "x" * 300), Summary(), awaited=True)
                    writer.flush()
        log.delete_thread("gone")
        records = list(log.read("here"))
    with Pages(str(path)) as pages:
        root = pages.tables["log"].root
        assert pages.tables["log"].depth == 2
    data = bytearray((path / "data.mdb").read_bytes())
    data[root * 4096 : (root + 1) * 4096] = bytes(4096)
    (path / "data.mdb").write_bytes(bytes(data))
    plan, _, _ = repaired(path)
    assert plan.pages["log"] == 1
    with Log.open(path) as log:
        assert list(log.read("here")) == records
        assert log.head("gone") is None


# Around it


def test_salvaging_leaves_the_damaged_log_alone(path, tmp_path) -> None:
    """Byte for byte; the new log has an id of its own, and is not made over anything."""
    entry(path, LOG, number_key(9), flipped)
    before = (path / "data.mdb").read_bytes()
    with examined(str(path)) as (pages, plan):
        salvage(pages, plan, str(tmp_path / "out"))
        with pytest.raises(LogExists):
            salvage(pages, plan, str(tmp_path / "out"))
    assert (path / "data.mdb").read_bytes() == before
    assert verify(tmp_path / "out").ok
    with Log.open(path) as one, Log.open(tmp_path / "out") as other:
        assert one.store.facts()["store"] != other.store.facts()["store"]


def test_nobody_may_have_the_log_open(path) -> None:
    """Neither this process nor another one."""
    with Log.open(path), pytest.raises(LogInUse), examined(str(path)):
        pass
    program = f"from walgraph import Log; log = Log.open({str(path)!r}); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(LogInUse), examined(str(path)):
            pass
        other.communicate("\n")
    with pytest.raises(LogNotFound), examined(str(path) + "?"):
        pass


def test_what_is_no_log_is_refused(tmp_path) -> None:
    """A file of zeros, and one of text."""
    for content in (bytes(40960), b"hello" * 9000):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / "data.mdb").write_bytes(content)
        with pytest.raises(WalgraphError), examined(str(tmp_path / "log")):
            pass


REPAIRING = """
with examined(words[0]) as (pages, plan):
    if plan.is_damaged:
        replace(pages, plan, words[0])
"""


def test_a_killed_repair_leaves_the_log_damaged_or_whole(path) -> None:
    """Killed at each flush, link and rename; the damaged file is never lost, and the next try repairs."""
    entry(path, LOG, number_key(9), flipped)
    damaged = (path / "data.mdb").read_bytes()
    killed = 0
    with doomed("from walgraph.wal.mending import examined, replace", REPAIRING, path) as is_killed:
        for fate in range(1, 60):
            killed += is_killed(fate)
            if (path / "data.mdb").read_bytes() != damaged:
                break
    assert killed > 3
    assert verify(path).ok
    kept = [each for each in path.parent.glob("log.damaged-*") if (each / "data.mdb").exists()]
    assert damaged in [(each / "data.mdb").read_bytes() for each in kept]
    with examined(str(path)) as (_, plan):
        assert not plan.is_damaged
    with Log.open(path):
        assert sorted(each.name for each in path.iterdir()) == ["CLAIMS", "LOCK", "data.mdb", "lock.mdb"]
