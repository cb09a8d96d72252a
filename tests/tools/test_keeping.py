"""Retention: what a policy may and may not do, said once and carried out in the background."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tools_helpers import ask, chain, config, one, process, told, two, wal
from worker_helpers import until

from walgraph import (
    START,
    Command,
    CompiledGraph,
    Log,
    LogReadOnly,
    Retention,
    StateGraph,
    Worker,
    entrypoint,
    sleep,
    submit,
    task,
    wait_for,
)
from walgraph.engine.stores import LogStore
from walgraph.tools.retention import Keeper
from walgraph.wal.compaction import alone
from walgraph.wal.errors import LogInUse
from walgraph.wal.verify import verify

SOON = timedelta(milliseconds=1)


def runs(log: Log, thread: str, count: int) -> CompiledGraph:
    """Run a graph some times on one thread."""
    graph = chain(one, two).compile(log, name="pair")
    for number in range(count):
        graph.invoke({"x": number}, config(thread), durability="sync")
    return graph


def history(graph: CompiledGraph, thread: str) -> dict[str, Any]:
    """Return a thread's checkpoints by their ids."""
    return {
        each.config["configurable"]["checkpoint_id"]: each for each in graph.get_state_history(config(thread))
    }


def look_after(log: Log, **policy: Any) -> Keeper:
    """Carry a policy out once, here and now."""
    keeper = Keeper(Retention(every=SOON, **policy), log)
    keeper.look_after()
    return keeper


def test_a_log_that_is_open_keeps_what_its_policy_says(tmp_path: Path) -> None:
    """In the background, under a tiny budget, beside runs: history goes, the kept checkpoints are what they were."""
    policy = Retention(keep_last=3, every=SOON, seconds=0.01, records=40, batch=2)
    with Log.open(tmp_path / "log", retention=policy) as log:
        graph = runs(log, "t", 12)
        keeper = log.keeper
        assert isinstance(keeper, Keeper)
        until(lambda: (head := log.head("t")) is not None and head.records < 30 and keeper.done.rounds > 1)
        assert keeper.done.passes > keeper.done.rounds
        assert keeper.done.frames > 0
        assert not keeper.done.problems
        assert len(history(graph, "t")) >= 3
        assert graph.get_state(config("t")).values["names"] == ["one", "two"] * 12
        assert verify(log).ok
    assert not keeper.is_alive()


def test_the_plan_of_a_policy_changes_nothing_and_is_what_is_done(tmp_path: Path) -> None:
    """It tells of each thread what goes and what holds it back, with its sizes."""
    path = tmp_path / "log"
    policy = Retention(keep_last=2)
    with Log.open(path) as log:
        graph = runs(log, "t", 5)
        graph.invoke({"x": 1}, config("young"))
        before = history(graph, "t")
        plan = {cut.thread: cut for cut in policy.plan(log)}
        assert history(graph, "t") == before
        assert plan["t"].freed > 0
        look_after(log, keep_last=2)
        head = log.head("t")
        assert head is not None
        assert (head.records, head.bytes) == (plan["t"].kept_records, plan["t"].kept_bytes)
        after = history(graph, "t")
        assert all(before[key] == value for key, value in after.items())


def test_only_what_is_older_goes_and_only_of_threads_that_stand_so(tmp_path: Path) -> None:
    """``--older-than`` and ``--status`` in the command line and in the policy."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        runs(log, "done", 4)
        asking = StateGraph(chain(one).state_schema).add_node(ask).add_edge(START, "ask").compile(log)
        for _ in range(4):
            asking.invoke({"x": 0}, config("asks"), durability="sync")
            asking.invoke(Command(resume="Ada"), config("asks"), durability="sync")
        asking.invoke({"x": 0}, config("asks"), durability="sync")
        assert not any(cut.seq for cut in Retention(older_than=timedelta(hours=1)).plan(log))
    young = told("compact", path, "--older-than", "7d")
    assert {each["why"] for each in young["threads"]} == {"kept: not old enough"}
    assert told("compact", path, "--older-than", "0s")["freed"] > 0
    done = told("compact", path, "--status", "done", "--apply")
    assert [each["thread"] for each in done["threads"]] == ["done"]
    assert wal("compact", path, "--older-than", "week").exit_code == 2
    assert wal("compact", path, "--shrink", "--status", "done").exit_code == 2
    with pytest.raises(ValueError, match="status"):
        Retention(status=("finished",))
    with pytest.raises(ValueError, match="keep_last"):
        Retention(keep_last=0)


def test_a_call_in_doubt_keeps_the_record_that_it_began(tmp_path: Path) -> None:
    """Nobody knows whether the money went: the call is still listed after a compaction, and can be settled."""
    lost: list[BaseException] = []

    @task(effect="at_most_once")
    def pay(amount: int) -> int:
        if lost:
            raise lost.pop()
        return amount

    with Log.open(tmp_path / "log") as log:

        @entrypoint(log, durability="sync")
        def flow(amount: int) -> int:
            return pay(amount).result()

        for amount in range(3):
            flow.invoke(amount, config("t"))
        lost.append(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            flow.invoke(7, config("t"))
    path = tmp_path / "log"
    before = [each for each in told("effects", path, "t")["effects"] if each["standing"] == "in doubt"]
    assert before
    assert told("compact", path, "--apply")["threads"][0]["seq"] > 0
    assert [
        each for each in told("effects", path, "t")["effects"] if each["standing"] == "in doubt"
    ] == before


def test_what_sleeps_waits_or_was_handed_over_goes_on_after_a_cut(tmp_path: Path) -> None:
    """Timers, signals and handed-over runs that had begun come to what they would have come to."""
    with Log.open(tmp_path / "log") as log:

        @entrypoint(log, name="waiter")
        def waiter(given: int) -> list[Any]:
            sleep(0.05)
            return [given, wait_for("go")]

        for thread in ("a", "b"):
            for given in range(3):
                submit(waiter, given, thread, run_id=f"{thread}{given}")
        with Worker(log, waiter) as worker:
            log.signal("a", "go", 0)
            until(lambda: log.submissions().get("a0").state == "ended")  # type: ignore[union-attr]
            until(lambda: any(head.status == "waiting" for head in log.threads()))
            look_after(log)
            for number in range(1, 3):
                log.signal("a", "go", number)
            for number in range(3):
                log.signal("b", "go", number)
            until(lambda: all(each.state == "ended" for each in log.submissions().all()))
            worker.stop()
        look_after(log)
        assert verify(log).ok
        assert {each.how for each in log.submissions().all()} == {"done"}


def test_expired_items_and_runs_that_ended_long_ago_go(tmp_path: Path) -> None:
    """A run is remembered for its time, in which its id runs nothing twice; items go when their time is over."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        store = LogStore(log)
        store.put(("notes",), "short", {"a": 1}, ttl=0.0001)
        store.put(("notes",), "long", {"a": 1})
        graph = chain(one).compile(log)
        with Worker(log, graph):
            handle = submit(graph, {"x": 1}, "t", run_id="r")
            handle.result(20)
        time.sleep(0.02)
    shown = told("compact", path)
    assert (shown["items"], shown["runs"]) == (1, 0)
    assert told("compact", path, "--ended-runs", "0s")["runs"] == 1
    done = told("compact", path, "--apply")
    assert (done["items"], done["runs"]) == (1, 0)
    with Log.open(path) as log:
        assert standing(log, "r") == "ended"
        look_after(log, ended_runs=timedelta())
        assert standing(log, "r") is None
        assert LogStore(log).get(("notes",), "long") is not None
    assert told("compact", path)["items"] == 0


def standing(log: Log, run: str) -> str | None:
    """Return how a handed-over run stands, or None if nobody remembers it."""
    found = log.submissions().get(run)
    return None if found is None else found.state


def test_one_at_a_time_makes_a_log_smaller(tmp_path: Path) -> None:
    """Whoever finds another at it is told, or, in the background, comes back later; a reader is refused."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        runs(log, "t", 4)
        with alone(log):
            with pytest.raises(LogInUse, match="compacted by this process"), alone(log):
                pass
            done = process("compact", path, "--apply")
            assert done.returncode == 4, done.stderr
            assert look_after(log).done.rounds == 0
        assert look_after(log).done.rounds == 1
    with pytest.raises(LogReadOnly):
        Log.open(path, readonly=True, retention=Retention())


def test_a_thread_that_cannot_be_cut_is_told_of_and_the_others_are(tmp_path: Path) -> None:
    """A damaged thread stays as it is; the policy goes on with the next one."""
    path = tmp_path / "log"
    with Log.open(path, fsync="off") as log:
        runs(log, "bad", 4)
        runs(log, "good", 4)
        tables = log.store.all_tables  # type: ignore[attr-defined]
        with tables.write() as txn:
            key, data = txn.scan(3, b"", 2)[1]
            txn.put(3, key, data[:-1] + bytes([data[-1] ^ 1]))
        keeper = look_after(log)
        assert "WAL-E102" in keeper.done.problems["bad"]
        good = log.head("good")
        assert good is not None
        assert good.horizon > 0


KEPT = """
import os, signal, sys
from datetime import timedelta
sys.path.insert(0, {tests!r})
from tools_helpers import *
from walgraph import Retention
from walgraph.tools.retention import Keeper
from walgraph.wal import lmdb_store
with Log.open({path!r}) as log:
    begun = [0]
    original = lmdb_store.LmdbTables.write
    def write(self):
        begun[0] += 1
        if begun[0] > {after}:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self)
    lmdb_store.LmdbTables.write = write
    Keeper(Retention(keep_last={keep}, every=timedelta(microseconds=1), records=20, batch=3), log).look_after()
"""

WRITER = """
import sys
sys.path.insert(0, {tests!r})
from tools_helpers import *
with Log.open({path!r}, fsync="off") as log:
    graph = chain(one, two).compile(log, name="pair")
    print("ready", flush=True)
    for number in range(100_000):
        graph.invoke({{"x": number}}, config("live"), durability="sync")
"""


def test_killed_at_any_instant_beside_a_writer_it_changes_nothing_that_stays(tmp_path: Path) -> None:
    """Each checkpoint that a killed policy left is what it was, and the live thread of another process is whole."""
    path, tests = tmp_path / "log", str(Path(__file__).parent.parent)
    draw = random.Random(3)
    with Log.open(path) as log:
        graph = runs(log, "t", 14)
        before = history(graph, "t")
    program = textwrap.dedent(WRITER).format(path=str(path), tests=tests)
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for keep in (9, 2):
            program = KEPT.format(path=str(path), tests=tests, after=draw.randrange(1, 9), keep=keep)
            done = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=False
            )
            assert done.returncode in {0, -signal.SIGKILL}, done.stderr
            with Log.open(path, readonly=True) as log:
                after = history(chain(one, two).compile(log, name="pair"), "t")
            assert list(after)[:keep] == list(before)[:keep]
            assert all(before[key] == value for key, value in after.items())
    finally:
        writer.kill()
        writer.communicate()
    with Log.open(path) as log:
        names = chain(one, two).compile(log, name="pair").get_state(config("live")).values["names"]
        assert names == (["one", "two"] * len(names))[: len(names)]
        assert verify(log).ok
