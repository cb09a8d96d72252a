"""``wal backup`` and ``wal restore``, as a person uses them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tools_helpers import State, ask, chain, config, fill, one, told, two, wal

from walgraph import START, BackupNotFound, Command, Log, MemoryLog, StateGraph, restore, sleep


def test_a_log_is_backed_up_listed_checked_and_restored(tmp_path: Path) -> None:
    """What comes back verifies, shows the same threads, and says which backup it came from."""
    path, target = tmp_path / "log", tmp_path / "backups"
    fill(path)
    first = told("backup", path, target)
    assert (first["generation"], first["threads"]) == (1, 4)
    with Log.open(path) as log:
        chain(one, two).compile(log, name="pair").invoke({"x": 0}, config("more"))
    assert wal("backup", path, target).stdout.startswith("backup 2 of ")
    listed = told("restore", target)["backups"]
    assert [each["generation"] for each in listed] == [1, 2]
    assert listed[0]["lsn"] == first["lsn"]
    assert wal("restore", target).stdout.splitlines()[0].split()[0] == "backup"
    assert told("restore", target, "--check")["ok"] is True
    made = told("restore", target, tmp_path / "again")
    assert (made["generation"], made["threads"]) == (2, 5)
    assert told("verify", tmp_path / "again")["ok"] is True
    assert told("threads", tmp_path / "again")["threads"] == told("threads", path)["threads"]
    assert told("restore", target, tmp_path / "early", "--generation", 1)["threads"] == 4


def test_a_restored_log_carries_on(tmp_path: Path) -> None:
    """A question that was open is answered in the restored log."""
    with Log.open(tmp_path / "log") as log:
        graph = chain(one, ask, two).compile(log)
        graph.invoke({}, config("t"))
        log.backup(tmp_path / "backups")
    restore(tmp_path / "backups", tmp_path / "again")
    with Log.open(tmp_path / "again") as log:
        done = chain(one, ask, two).compile(log).invoke(Command(resume="Ada"), config("t"))
    assert done["names"] == ["one", "Ada", "two"]


def standing(head: Any) -> tuple:
    """Return how a thread stands."""
    return (head.thread_id, head.status, head.step, head.next, head.seq, head.due_at)


def nap(state: State) -> dict:
    """Sleep for an hour."""
    sleep(3600)
    return {}


def test_threads_stand_as_they_stood_at_the_moment(tmp_path: Path) -> None:
    """Status, step, and what was due next are computed from the records that are left."""
    stood = {}
    asking = StateGraph(State).add_node(ask).add_node(two).add_edge(START, "ask").add_edge("ask", "two")
    with Log.open(tmp_path / "log") as log:

        def note() -> None:
            stood[log.store.position().lsn] = [standing(head) for head in log.threads()]

        graph, other = chain(one, two).compile(log, name="pair"), asking.compile(log, name="asking")
        graph.invoke({"x": 0}, config("a"), durability="sync")
        note()
        other.invoke({"x": 0}, config("b"), durability="sync")
        note()
        graph.invoke({"x": 5}, config("a"), durability="exit")
        note()
        chain(one, nap).compile(log).invoke({"x": 5}, config("c"), durability="sync")
        note()
        graph.update_state(config("a"), {"x": 9}, as_node="one")
        note()
        other.invoke(Command(resume="Eve"), config("b"))
        note()
        log.backup(tmp_path / "backups")
    assert len(stood) == 6
    assert any(head[1] == "sleeping" and head[5] is not None for heads in stood.values() for head in heads)
    for lsn, heads in stood.items():
        path = tmp_path / str(lsn)
        assert restore(tmp_path / "backups", path, lsn=lsn).lsn == lsn
        with Log.open(path) as early:
            found = [standing(head) for head in early.threads()]
        assert found == heads
        assert told("verify", path)["ok"] is True


def test_a_run_that_was_on_its_way_is_crashed(tmp_path: Path) -> None:
    """A moment in the middle of a run: the thread is unfinished, nobody runs it, and it can be carried on."""
    with Log.open(tmp_path / "log") as log:
        chain(one, two).compile(log).invoke({"x": 0}, config("t"), durability="sync")
        log.backup(tmp_path / "backups")
    told("restore", tmp_path / "backups", tmp_path / "early", "--lsn", 2)
    with Log.open(tmp_path / "early") as early:
        assert early.head("t").status == "crashed"
        assert chain(one, two).compile(early).invoke(None, config("t"))["names"] == ["one", "two"]


def test_a_time_is_written_as_people_write_it(tmp_path: Path) -> None:
    """ISO 8601, UTC unless a zone is said; what is none is wrong usage."""
    fill(tmp_path / "log")
    wal("backup", tmp_path / "log", tmp_path / "backups")
    late = (datetime.now(UTC) + timedelta(hours=1)).replace(tzinfo=None).isoformat()
    assert told("restore", tmp_path / "backups", tmp_path / "late", "--at", late)["threads"] == 4
    early = wal("restore", tmp_path / "backups", tmp_path / "early", "--at", "2020-01-01")
    assert (early.exit_code, told("threads", tmp_path / "early")["threads"]) == (0, [])
    assert wal("restore", tmp_path / "backups", tmp_path / "no", "--at", "yesterday").exit_code == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nowhere"], 3),
        (["nowhere", "log"], 3),
        (["nowhere", "--check"], 3),
        (["nowhere", "--lsn", "3"], 2),
        (["nowhere", "log", "--check"], 2),
    ],
)
def test_what_cannot_be_restored_is_said(tmp_path: Path, words: list[str], code: int) -> None:
    """No backup there, or nothing to make of it."""
    words = [str(tmp_path / word) if word.isalpha() else word for word in words]
    assert wal("restore", *words).exit_code == code


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A log that is there is left alone, with the exit code of a refusal."""
    fill(tmp_path / "log")
    wal("backup", tmp_path / "log", tmp_path / "backups")
    refused = wal("restore", tmp_path / "backups", tmp_path / "log")
    assert refused.exit_code == 7
    assert "error[WAL-E109]" in refused.stderr


def test_older_backups_go_when_told(tmp_path: Path) -> None:
    """--keep says how many stay."""
    fill(tmp_path / "log")
    for _ in range(3):
        shape = told("backup", tmp_path / "log", tmp_path / "backups", "--keep", 2)
    assert shape["pruned"] == 1
    assert [each["generation"] for each in told("restore", tmp_path / "backups")["backups"]] == [2, 3]


def test_a_log_in_memory_is_backed_up_too(tmp_path: Path) -> None:
    """And becomes one on disk."""
    log = MemoryLog()
    chain(one, two).compile(log).invoke({"x": 0}, config("t"))
    log.backup(tmp_path / "backups")
    restore(tmp_path / "backups", tmp_path / "log")
    with Log.open(tmp_path / "log") as kept:
        assert chain(one, two).compile(kept).get_state(config("t")).values["names"] == ["one", "two"]
    with pytest.raises(BackupNotFound):
        restore(tmp_path / "backups", tmp_path / "no", generation=7)
