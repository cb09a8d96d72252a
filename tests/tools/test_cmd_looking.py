"""``wal tail``, ``diff``, ``stats`` and ``doctor``: looking at a log without changing it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tools_helpers import chain, config, fill, one, told, two, wal

from walgraph import Log
from walgraph.wal import Summary
from walgraph.wal.keyspace import POSITION_KEY, pack_position
from walgraph.wal.record import ThreadCreated
from walgraph.wal.tables import THREADS


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log that most tests look at."""
    place = tmp_path_factory.mktemp("looking") / "log.wal"
    fill(place)
    return place


def objects(text: str) -> list[dict]:
    """Return the objects of an output of one each line."""
    return [json.loads(line) for line in text.splitlines()]


# tail


def test_the_newest_records_come_in_the_order_of_the_log(path: Path) -> None:
    """As many as were asked for, of all threads or of one, oldest first."""
    shown = [line.split("  ") for line in wal("tail", path, "-n", 3).stdout.splitlines()]
    assert [each[1:4] for each in shown] == [
        ["failed", "9", "StepStarted"],
        ["failed", "10", "TaskFailed"],
        ["failed", "11", "RunEnded"],
    ]
    only = objects(wal("tail", path, "done", "-n", 100, "--json").stdout)
    assert [each["seq"] for each in only] == list(range(1, 13))
    assert {each["thread"] for each in only} == {"done"}
    assert only[6]["record"]["kind"] == "TaskFinished"
    assert wal("tail", path, "-n", 0).stdout == ""


def test_a_thread_that_is_not_there_is_said(path: Path) -> None:
    """Waiting for it with -f is possible, showing it is not."""
    assert wal("tail", path, "nobody").exit_code == 3


def test_what_comes_is_followed(tmp_path: Path) -> None:
    """-f shows each record once, as it is committed by another process, until it is interrupted."""
    place = tmp_path / "log"
    fill(place)
    command = [sys.executable, "-m", "walgraph", "tail", str(place), "-n", "0", "-f", "--json"]
    out = tmp_path / "out"
    with out.open("w") as stdout:
        running = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)
    try:
        with Log.open(place) as log:
            graph = chain(one, two).compile(log, name="pair")
            # Until the follower stands at the end, it is not known which of these it has come too late for.
            deadline = time.monotonic() + 30
            for number in range(10_000):
                graph.invoke({"x": 0}, config(f"new {number}"), durability="sync")
                if out.read_text().count("RunEnded") > 2 or time.monotonic() > deadline:
                    break
                time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
    finally:
        running.kill()
        running.communicate()
    seen = [(each["thread"], each["seq"]) for each in objects(out.read_text())]
    assert len(seen) == len(set(seen)) > 0
    # It may have come in the middle of the first thread; each thread that begins after that is seen whole.
    first = seen[0][0]
    whole = [each for each in seen if each[0] != first]
    assert seen[: -len(whole)] == [(first, seq) for seq in range(seen[0][1], 13)]
    assert whole[:12] == [(whole[0][0], seq) for seq in range(1, 13)]


# diff


def test_two_moments_of_a_thread_are_compared(path: Path) -> None:
    """Channels that were added, changed and removed, the step, and what is due next."""
    shape = told("diff", path, "done", "5", "12")
    changes = {each["what"]: (each["before"], each["after"]) for each in shape["changes"]}
    assert changes["x"] == (0, 2)
    assert changes["names"] == ([], ["one", "two"])
    assert changes["(step)"] == (0, 2)
    assert told("diff", path, "done", "5")["changes"] == shape["changes"]
    assert told("diff", path, "done", "step:0", "12")["after"]["seq"] == 12
    shown = wal("diff", path, "done", 5).stdout.splitlines()
    assert shown[0] == "done seq 5 → done seq 12"
    assert ["~", "x", "0", "2"] in [line.split() for line in shown]


def test_the_same_moment_has_no_difference(path: Path) -> None:
    """And with --exit-code the exit tells."""
    assert told("diff", path, "done", "12", "12", "--exit-code")["changes"] == []
    assert told("diff", path, "done", "5", "--exit-code", code=1)["changes"]


def test_two_threads_are_compared(path: Path) -> None:
    """At their heads: the same graph on the same input, once kept step by step and once as a whole."""
    assert told("diff", path, "done", "--with", "folded")["changes"] == []
    changed = {
        each["what"]: each["how"] for each in told("diff", path, "done", "--with", "asking")["changes"]
    }
    assert changed["(question ask)"] == "added"
    assert wal("diff", path, "done", "--with", "nobody").exit_code == 3


def test_a_thread_in_two_logs_is_compared(path: Path, tmp_path: Path) -> None:
    """And it is said up to where its records are the same."""
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    assert told("diff", path, "done", "--log", copy)["parting"] is None
    with Log.open(copy) as log:
        chain(one, two).compile(log, name="pair").invoke({"x": 7}, config("done"))
    shape = told("diff", path, "done", "--log", copy)
    assert shape["parting"] == 13
    assert [each["what"] for each in shape["changes"]] == ["(step)", "names"]


@pytest.mark.parametrize("words", [["done"], ["done", "1", "2", "--with", "folded"], ["done", "soon"]])
def test_what_cannot_be_compared_is_refused(path: Path, words: list[str]) -> None:
    """Nothing to compare with, two ways at once, a moment that is none."""
    assert wal("diff", path, *words).exit_code == 2


# stats


def test_room_is_added_up(path: Path) -> None:
    """What is counted by kind, by thread and by hour is the same as what the directory says."""
    shape = told("stats", path)
    heads = told("threads", path)["threads"]
    assert shape["totals"]["records"] == sum(each["records"] for each in heads)
    assert shape["totals"]["record_bytes"] == sum(each["bytes"] for each in heads)
    assert sum(each["count"] for each in shape["kinds"]) == shape["totals"]["records"]
    assert sum(each["records"] for each in shape["growth"]) == shape["totals"]["records"]
    assert {each["thread"]: each["bytes"] for each in shape["threads"]} == {
        each["thread"]: each["bytes"] for each in heads
    }
    assert {each["channel"]: each["count"] for each in shape["channels"]} == {"x": 7, "names": 4}
    assert {each["table"] for each in shape["tables"]} >= {"log", "threads", "blob"}


def test_the_largest_values_are_named(tmp_path: Path) -> None:
    """With the thread and the record that they belong to, in line and out of it."""
    place = tmp_path / "log"
    with Log.open(place) as log:
        graph = chain(one, two).compile(log)
        graph.invoke({"x": "y" * 50_000}, config("huge"), durability="sync")
        graph.invoke({"x": "y" * 5_000}, config("big"), durability="sync")
    first, *rest = told("stats", place, "--limit", 4)["values"]
    assert (first["thread"], first["bytes"] > 50_000) == ("huge", True)
    assert next(each["what"] for each in rest if each["thread"] == "big") == "written to x"
    assert len(rest) == 3
    assert "large value" in wal("stats", place).stdout


def test_the_number_of_a_record_behind_a_folded_state_is_right(tmp_path: Path) -> None:
    """A folded state carries its own number, from which counting goes on."""
    place = tmp_path / "log"
    with Log.open(place) as log:
        graph = chain(one, two).compile(log)
        graph.invoke({"x": 0}, config("t"), durability="exit")
        graph.invoke({"x": "z" * 999}, config("t"), durability="sync")
    value = told("stats", place, "--limit", 1)["values"][0]
    record = told("inspect", place, "t", value["seq"])["record"]
    assert record["kind"] == "TaskFinished"
    assert "z" * 999 in json.dumps(record["fields"])


# doctor


def test_a_sound_log_has_no_problem(path: Path) -> None:
    """Everything is looked at, and what is not as it should be names a remedy."""
    shape = told("doctor", path)
    found = {each["what"]: each for each in shape["findings"]}
    assert {"versions", "file system", "format", "disk", "map", "readers", "clock", "flush"} <= found.keys()
    assert all(each["remedy"] for each in shape["findings"] if each["how"] != "ok")
    assert not list(path.parent.glob("tmp*"))
    assert "flush" in wal("doctor", path).stdout


def test_a_clock_that_went_back_is_noticed(tmp_path: Path) -> None:
    """Records in the future say that the clock was ahead, or is behind."""
    place = tmp_path / "log"
    with Log.open(place) as log:
        with log.writer("t") as writer:
            writer.append([ThreadCreated(1, "t", None)], Summary())
        with log.store.all_tables.write() as txn:
            late = log.store.position()._replace(time=time.time_ns() + 3600 * 10**9)
            txn.put(THREADS, POSITION_KEY, pack_position(late))
    (clock,) = [each for each in told("doctor", place)["findings"] if each["what"] == "clock"]
    assert clock["how"] == "warning"
    assert "future" in clock["found"]


def test_leftovers_and_readers_that_are_gone_are_noticed(tmp_path: Path) -> None:
    """What a killed maker left beside the log, and the place of a killed reader."""
    place = tmp_path / "log"
    fill(place)
    (tmp_path / "log.new-0011").mkdir()
    program = f"""
import os, signal
from walgraph import Log
log = Log.open({str(place)!r}, readonly=True)
with log.store.all_tables.read():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    # Whoever opens a log that nobody has open clears the places of readers, so somebody keeps it open here.
    with Log.open(place):
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
        found = {each["what"]: each for each in told("doctor", place)["findings"]}
    assert "log.new-0011" in found["leftovers"]["found"]
    assert found["readers"]["how"] == "warning"


def test_a_stopped_owner_is_noticed(tmp_path: Path) -> None:
    """Whoever holds threads and is stopped is named, with its process id."""
    place = tmp_path / "log"
    program = f"""
from walgraph import Log
from walgraph.wal import Summary
from walgraph.wal.record import ThreadCreated
import time
log = Log.open({str(place)!r})
writer = log.writer("held")
writer.append([ThreadCreated(1, "held", None)], Summary())
log.flush()
print("ready", flush=True)
time.sleep(60)
"""
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout.readline() == "ready\n"
        found = {each["what"]: each for each in told("doctor", place)["findings"]}
        assert found["owners"]["found"] == f"process {running.pid} runs 1 threads"
        os.kill(running.pid, signal.SIGSTOP)
        os.waitpid(running.pid, os.WUNTRACED)
        found = {each["what"]: each for each in told("doctor", place)["findings"]}
        assert found["owners"]["how"] == "warning"
        assert str(running.pid) in found["owners"]["found"]
    finally:
        running.kill()
        running.communicate()
