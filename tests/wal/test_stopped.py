"""A process that is stopped while it writes: whoever waits for it is told who it is, and what frees the log."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import pytest
from wal_helpers import created, end, heard, start, tell, write_steps

from walgraph import START, CompiledGraph, LogStore, StateGraph
from walgraph.wal import Log, LogFailed, Summary, WriterStopped, turn
from walgraph.wal.verify import verify

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="who holds the lock can be found out on Linux only"
)
HOLDS = """
    log = Log.open(path)
    with log.writer("theirs") as writer:
        writer.append(created("theirs"), Summary())
        writer.flush()
        with log.store.all_tables.write():
            say("holds")
            listen()
        write_steps(writer, 0, 2)
    log.close()
    """


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for long."""
    monkeypatch.setattr(turn, "STOPPED_SECONDS", 0.2)


@pytest.fixture
def stopped(tmp_path) -> Iterator[subprocess.Popen[str]]:
    """A process that was stopped within a write transaction."""
    Log.open(tmp_path / "log").close()
    process = start(HOLDS, tmp_path / "log")
    assert heard(process) == "holds"
    process.send_signal(signal.SIGSTOP)
    while not turn.process_of(process.pid).is_stopped:
        time.sleep(0.001)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_stopped_writer_is_named_to_who_opens_the_log(tmp_path, stopped) -> None:
    """By pid, by command, and since when; killing it frees the log at once, and nothing is lost."""
    with pytest.raises(WriterStopped) as caught:
        Log.open(tmp_path / "log")
    text = str(caught.value)
    assert f"Process {stopped.pid} (" in text
    assert sys.executable in text
    assert "stopped" in text
    assert time.strftime("Nothing was written since %Y-%m-", time.gmtime()) in text
    assert f"kill -CONT {stopped.pid}" in text
    assert caught.value.details["process"] == stopped.pid
    stopped.kill()
    with Log.open(tmp_path / "log") as log, log.writer("ours") as writer:
        writer.append(created("ours"), Summary())
        writer.flush()
        assert verify(log).ok
        assert [head.thread_id for head in log.threads()] == ["theirs", "ours"]


class State(TypedDict, total=False):
    """A number."""

    n: int


def one_node(log: Log) -> CompiledGraph:
    """Return a graph of one node."""
    return StateGraph(State).add_node("n", lambda _: {"n": 1}).add_edge(START, "n").compile(log)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_run_is_told_who_keeps_it_from_recording(tmp_path, durability: str) -> None:
    """Nothing of it is recorded; reading goes on; once the process goes on, so does the run."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        process = start(HOLDS, path)
        assert heard(process) == "holds"
        process.send_signal(signal.SIGSTOP)
        graph = one_node(log)
        config = {"configurable": {"thread_id": "t"}}
        with pytest.raises(LogFailed) as caught:
            graph.invoke({}, config, durability=durability)
        first = caught.value if isinstance(caught.value, WriterStopped) else caught.value.__cause__
        assert isinstance(first, WriterStopped)
        assert f"Process {process.pid}" in str(caught.value)
    with Log.open(path, readonly=True) as log:
        assert [head.thread_id for head in log.threads()] == ["theirs"]
    process.send_signal(signal.SIGCONT)
    tell(process)
    assert end(process) == 0
    with Log.open(path) as log:
        assert one_node(log).invoke({}, config, durability=durability) == {"n": 1}
        assert verify(log).ok


def test_items_and_signals_are_refused_by_name_too(tmp_path) -> None:
    """They need not poison the log: once the process has gone on, the same log object writes."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        store = LogStore(log)
        store.put(("a",), "k", {"n": 1})
        process = start(HOLDS, path)
        assert heard(process) == "holds"
        process.send_signal(signal.SIGSTOP)
        for call in (lambda: store.put(("a",), "k", {"n": 2}), lambda: log.signal("t", "name", None)):
            with pytest.raises(WriterStopped, match=str(process.pid)):
                call()
        assert store.get(("a",), "k").value == {"n": 1}
        process.send_signal(signal.SIGCONT)
        tell(process)
        assert end(process) == 0
        store.put(("a",), "k", {"n": 3})
        log.signal("t", "name", None)


def test_a_writer_that_goes_on_in_time_is_waited_for(tmp_path, monkeypatch, caplog) -> None:
    """One that is not stopped too, however long it takes; that is said in the program's own log."""
    monkeypatch.setattr(turn, "STOPPED_SECONDS", 30.0)
    monkeypatch.setattr(turn, "SAID_SECONDS", 0.1)
    path = tmp_path / "log"
    with Log.open(path) as log, log.writer("ours") as writer:
        process = start(HOLDS, path)
        assert heard(process) == "holds"
        process.send_signal(signal.SIGSTOP)
        threading.Timer(0.3, process.send_signal, [signal.SIGCONT]).start()
        threading.Timer(0.6, tell, [process]).start()
        with caplog.at_level(logging.WARNING, "walgraph"):
            write_steps(writer, 0, 1)
            writer.flush()
        assert end(process) == 0
        assert f"process {process.pid}" in caplog.text
        assert verify(log).ok


def wal(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command, impatiently."""
    program = "from walgraph.wal import turn; turn.STOPPED_SECONDS = 0.2; from walgraph.tools.cli import main; main()"
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_commands_name_a_stopped_writer(tmp_path, stopped) -> None:
    """Those that write end with 4 and name it; those that read do not wait; the doctor has the remedy."""
    path = tmp_path / "log"
    for words in (["signal", path, "theirs", "name"], ["compact", path, "--keep-last", "1", "--apply"]):
        done = wal(*words)
        assert done.returncode == 4, (words, done.stderr)
        assert "WAL-E114" in done.stderr
        assert f"rocess {stopped.pid}" in done.stderr
    assert wal("threads", path).returncode == 0
    assert wal("inspect", path, "theirs").returncode == 0
    assert wal("verify", path).returncode == 0
    done = wal("doctor", path, "--json")
    findings = {each["what"]: each for each in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert findings["writer"]["how"] == "problem"
    assert f"kill -CONT {stopped.pid}" in findings["writer"]["remedy"]


def test_a_deleted_lock_file_is_noticed_before_anything_is_written(tmp_path) -> None:
    """Two processes once wrote at the same time, under two lock files, and half of their records were gone."""
    path = tmp_path / "log"
    log = Log.open(path)
    writer = log.writer("ours")
    writer.append(created("ours"), Summary())
    writer.flush()
    (path / "lock.mdb").unlink()
    other = start(
        """
        with Log.open(path) as log, log.writer("theirs") as writer:
            write_steps(writer, 0, 3)
        """,
        path,
    )
    assert end(other) == 0
    with contextlib.suppress(LogFailed):
        write_steps(writer, 0, 3)
    with pytest.raises(LogFailed, match=r"lock\.mdb"):
        writer.flush()
    writer.abandon()
    log.close()
    with Log.open(path) as log:
        assert verify(log).ok
        assert {head.thread_id: head.seq for head in log.threads()} == {"ours": 1, "theirs": 9}


def test_who_holds_the_lock_is_found_out(tmp_path) -> None:
    """A thread of our own, nobody, and a descriptor that is something else."""
    with Log.open(tmp_path / "log") as log:
        descriptor = turn.lock_file(str(tmp_path / "log"))
        assert turn.writer(descriptor) == 0
        with log.store.all_tables.write():
            assert turn.writer(descriptor) == threading.get_native_id()
            assert turn.process_of(threading.get_native_id()).pid == os.getpid()
        assert turn.writer(descriptor) == 0
    with Path(os.devnull).open("rb") as other:
        assert turn.writer(other.fileno()) == 0
    assert turn.writer(-1) == 0
    assert turn.lock_file(str(tmp_path / "nothing")) == -1
