"""What ``wal compact`` may and may not do: every kept checkpoint folds as before, whatever else happens meanwhile."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tools_helpers import State, ask, chain, config, fan, one, process, told, two, wal

from walgraph import START, Command, CompiledGraph, Log, StateGraph, StateSnapshot
from walgraph.tools.cutting import Rule, plan_cut
from walgraph.wal.verify import verify


def history(graph: CompiledGraph, thread: str) -> dict[str, StateSnapshot]:
    """Return a thread's checkpoints by their ids."""
    return {
        snapshot.config["configurable"]["checkpoint_id"]: snapshot
        for snapshot in graph.get_state_history(config(thread))
    }


def applied(path: Path, *words: object) -> dict[str, dict[str, Any]]:
    """Compact for good, and return what was done to each thread."""
    return {each["thread"]: each for each in told("compact", path, "--apply", *words)["threads"]}


def plain_graph(log: Log) -> CompiledGraph:
    """Return a graph whose reducers everybody has."""
    return chain(one, two).compile(log)


def runs(path: Path, thread: str, count: int, durability: str = "sync") -> None:
    """Run the plain graph some times on one thread."""
    with Log.open(path) as log:
        graph = plain_graph(log)
        for number in range(count):
            graph.invoke({"x": number}, config(thread), durability=durability)


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """Without --apply the plan is told, and not a byte is written."""
    path = tmp_path / "log"
    runs(path, "t", 5)
    before = (path / "data.mdb").read_bytes()
    plan = told("compact", path)
    assert plan["applied"] is False
    assert plan["threads"][0]["kept_records"] < plan["threads"][0]["records"]
    assert plan["freed"] > 0
    assert (path / "data.mdb").read_bytes() == before


def test_the_plan_is_what_is_done(tmp_path: Path) -> None:
    """What the dry run promises is what --apply does."""
    path = tmp_path / "log"
    runs(path, "t", 5)
    plan, done = told("compact", path, "--keep-last", 2), told("compact", path, "--keep-last", 2, "--apply")
    assert {**plan, "applied": True} == done
    with Log.open(path) as log:
        head = log.head("t")
        assert head is not None
        assert (head.records, head.bytes) == (
            done["threads"][0]["kept_records"],
            done["threads"][0]["kept_bytes"],
        )


@pytest.mark.parametrize("keep_last", [1, 2, 5, 11, 100])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_the_newest_checkpoints_stay_as_they_are(tmp_path: Path, keep_last: int, durability: str) -> None:
    """As many as asked for stay, each equal to what it was, and the thread goes on from there."""
    path = tmp_path / "log"
    runs(path, "t", 4, durability)
    with Log.open(path) as log:
        before = history(plain_graph(log), "t")
    applied(path, "--keep-last", keep_last)
    with Log.open(path) as log:
        graph = plain_graph(log)
        after = history(graph, "t")
        assert list(after)[:keep_last] == list(before)[:keep_last]
        assert all(after[key] == before[key] for key in after)
        assert len(after) >= min(keep_last, len(before))
        assert verify(log).ok
        assert graph.invoke({"x": 9}, config("t"))["names"] == ["one", "two"] * 5
    assert wal("verify", path).exit_code == 0


def test_only_the_named_threads_are_cut(tmp_path: Path) -> None:
    """--thread leaves the others alone."""
    path = tmp_path / "log"
    runs(path, "a", 5)
    runs(path, "b", 5)
    runs(path, "c", 5)
    assert set(applied(path, "--thread", "a", "--thread", "c")) == {"a", "c"}
    with Log.open(path) as log:
        assert {head.thread_id for head in log.threads() if head.horizon} == {"a", "c"}


def test_an_unfinished_thread_keeps_its_open_step(tmp_path: Path) -> None:
    """What an open question needs stays: it can be answered after the cut, with the sibling's outcome kept."""
    path = tmp_path / "log"
    calls: list[str] = []

    def noted(state: State) -> dict[str, Any]:
        calls.append("noted")
        return {"names": ["noted"]}

    def graph_of(log: Log) -> CompiledGraph:
        builder = StateGraph(State).add_node(one).add_node(ask).add_node(noted)
        builder.add_edge(START, "one").add_edge("one", "ask").add_edge("one", "noted")
        return builder.compile(log)

    with Log.open(path) as log:
        graph = graph_of(log)
        for _ in range(3):
            graph.invoke({"x": 0}, config("t"), durability="sync")
            graph.invoke(Command(resume="Ada"), config("t"), durability="sync")
        graph.invoke({"x": 0}, config("t"), durability="sync")
        before = graph.get_state(config("t"))
    calls.clear()
    assert applied(path)["t"]["seq"] > 0
    with Log.open(path) as log:
        graph = graph_of(log)
        assert graph.get_state(config("t")) == before
        names = graph.invoke(Command(resume="Bob"), config("t"))["names"]
        assert names.count("Bob") == 1
        assert names.count("noted") == 4
        assert calls == []


def test_the_origin_of_a_kept_branch_stays(tmp_path: Path) -> None:
    """A branch among the kept checkpoints keeps the checkpoint that it began at."""
    path = tmp_path / "log"
    runs(path, "t", 4)
    with Log.open(path) as log:
        graph = plain_graph(log)
        origin = list(history(graph, "t").values())[6]
        graph.invoke(None, origin.config, durability="sync")
        before = history(graph, "t")
    done = applied(path, "--keep-last", 4)
    assert "branch" in done["t"]["why"]
    with Log.open(path) as log:
        after = history(plain_graph(log), "t")
        assert after[origin.config["configurable"]["checkpoint_id"]] == origin
        assert all(after[key] == before[key] for key in after)


def test_what_only_the_users_code_can_fold_is_left_alone_without_it(tmp_path: Path) -> None:
    """A thread with a reducer of its own is not cut, and is cut exactly with --app."""
    path = tmp_path / "log"

    program = tmp_path / "shop.py"
    program.write_text(
        textwrap.dedent("""
            from tools_helpers import State, ask, chain, one
            def mine(state):
                return {"mine": state["x"]}
            graph = chain(one, mine)
        """)
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import shop  # type: ignore[import-not-found]

        with Log.open(path) as log:
            graph = shop.graph.compile(log)
            for number in range(4):
                graph.invoke({"x": number, "mine": number}, config("t"), durability="sync")
            before = history(graph, "t")
        left = applied(path)["t"]
        assert left["seq"] == 0
        assert "--app" in left["why"]
        assert applied(path, "--app", "shop:graph")["t"]["seq"] > 0
        with Log.open(path) as log:
            after = history(shop.graph.compile(log), "t")
            assert all(after[key] == before[key] for key in after)
    finally:
        sys.path.remove(str(tmp_path))


SUBGRAPH = """
import sys
sys.path.insert(0, {tests!r})
from tools_helpers import *
from walgraph import Command
class Own(TypedDict, total=False):
    names: Annotated[list, operator.add]
def first(state):
    return {{"names": ["one"]}}
def second(state):
    return {{"names": [interrupt("name?")]}}
with Log.open({path!r}) as log:
    inner = StateGraph(Own).add_sequence([first, second]).add_edge(START, "first").compile(checkpointer=True)
    graph = StateGraph(Own).add_node("inner", inner).add_edge(START, "inner").compile(log)
    where = config("t")
    {body}
"""


def subgraph(path: Path, body: str) -> str:
    """Do something with a graph that has a subgraph with a memory of its own, in a process that knows only that."""
    program = SUBGRAPH.format(tests=str(Path(__file__).parent.parent), path=str(path), body=body)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_subgraphs_records_survive_a_cut_that_does_not_know_its_graph(tmp_path: Path) -> None:
    """A snapshot made without the user's code keeps a subgraph's records unread, and any process can read them.

    They once stood in it as instances of our own classes, which no other process could rebuild; and states that were
    only looked at never folded them.
    """
    path = tmp_path / "log"
    shown = "print(repr(graph.get_state(where, subgraphs=True)))"
    answered = 'graph.invoke({"names": []}, where); graph.invoke(Command(resume="Ada"), where); '
    subgraph(path, answered * 5 + 'graph.invoke({"names": []}, where)')
    before = subgraph(path, shown)
    assert process("compact", path, "--apply", "--json").stdout.count('"kept_records"') == 1
    with Log.open(path) as log:
        head = log.head("t")
        assert head is not None
        assert head.horizon
    assert subgraph(path, shown) == before
    assert process("verify", path).returncode == 0
    assert "Grace" in subgraph(path, 'print(graph.invoke(Command(resume="Grace"), where)["names"])')
    inner = subgraph(
        path, 'print(graph.get_state({"configurable": {"thread_id": "t", "checkpoint_ns": "inner"}}).values)'
    )
    assert inner.count("Ada") < inner.count("one")
    assert "Grace" in inner


def test_large_values_that_nobody_names_are_swept(tmp_path: Path) -> None:
    """A large value goes with the last checkpoint that holds it; one that is still held stays."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        graph = plain_graph(log)
        graph.update_state(config("t"), {"x": "old" * 40_000}, as_node="one")
        for _ in range(20):
            graph.update_state(config("t"), {"x": 1}, as_node="one")
        graph.update_state(config("t"), {"x": "new" * 40_000}, as_node="one")
        graph.invoke({"names": ["begin"]}, config("t"), durability="sync")
        newest = graph.get_state(config("t"))
    plan = told("compact", path)
    done = told("compact", path, "--apply")
    assert plan["blobs"] == done["blobs"]
    assert done["blobs"]["bytes"] >= 120_000
    with Log.open(path) as log:
        assert plain_graph(log).get_state(config("t")) == newest
        assert verify(log).ok


def test_shrinking_gives_the_space_back(tmp_path: Path) -> None:
    """--shrink alone is a dry run; with --apply the file is smaller and says the same."""
    path = tmp_path / "log"
    runs(path, "t", 100)
    applied(path)
    before = told("threads", path)
    assert told("compact", path, "--shrink")["before"] == (path / "data.mdb").stat().st_size
    done = told("compact", path, "--shrink", "--apply")
    assert done["after"] == (path / "data.mdb").stat().st_size < done["before"]
    assert told("threads", path) == before
    assert wal("verify", path).exit_code == 0


def _act(graph: CompiledGraph, thread: str, move: int) -> None:
    """Do one of the things that people do to a thread."""
    durability = ("sync", "async", "exit")[move % 3]
    where = config(thread)
    match move // 3:
        case 0 | 1:
            graph.invoke({"x": move}, where, durability=durability)
        case 2:
            graph.update_state(where, {"names": [move]}, as_node="one")
        case 3:
            seen = list(graph.get_state_history(where))
            if seen:
                graph.invoke(None, seen[len(seen) // 2].config, durability=durability)
        case 4:
            seen = list(graph.get_state_history(where))
            if seen:
                graph.update_state(seen[-1].config, {"x": move}, as_node="two")
        case 5:
            graph.invoke({"x": move}, where, durability=durability, interrupt_before=["two"])
        case _:
            graph.invoke({"x": move}, where, durability=durability)
            graph.update_state(where, None, as_node="__end__")


@settings(max_examples=40)
@given(
    moves=some.lists(some.tuples(some.integers(0, 1), some.integers(0, 20)), min_size=1, max_size=14),
    keep_last=some.integers(1, 6),
    wide=some.booleans(),
)
def test_every_kept_checkpoint_of_any_thread_folds_as_before(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, int]], keep_last: int, wide: bool
) -> None:
    """Whatever was done to the threads, what a compaction keeps is what it was, and a second one finds nothing."""
    path = tmp_path_factory.mktemp("any") / "log"
    before: dict[str, dict[str, StateSnapshot]] = {}
    live: dict[str, StateSnapshot] = {}
    with Log.open(path, fsync="off") as log:
        graphs = [plain_graph(log), fan(5).compile(log) if wide else plain_graph(log)]
        for which, move in moves:
            if which and wide:
                graphs[1].invoke({"x": move}, config("1"))
            else:
                _act(graphs[which], str(which), move)
        for head in list(log.threads()):
            graph = graphs[int(head.thread_id)]
            before[head.thread_id] = history(graph, head.thread_id)
            live[head.thread_id] = graph.get_state(config(head.thread_id))
    cuts = applied(path, "--keep-last", keep_last)
    with Log.open(path, fsync="off") as log:
        graphs = [plain_graph(log), fan(5).compile(log) if wide else plain_graph(log)]
        assert verify(log).ok
        for thread, was in before.items():
            graph = graphs[int(thread)]
            after = history(graph, thread)
            kept = list(was)[: max(keep_last, cuts[thread]["checkpoints"])]
            assert list(after)[: len(kept)] == kept
            assert all(after[key] == was[key] for key in after)
            assert graph.get_state(config(thread)) == live[thread]
    assert wal("verify", path).exit_code == 0
    assert all(not cut["seq"] for cut in applied(path, "--keep-last", keep_last).values())


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from tools_helpers import *
with Log.open({path!r}, fsync="off") as log:
    graph = chain(one, two).compile(log)
    print("ready", flush=True)
    for number in range(100_000):
        graph.invoke({{"x": number}}, config("t"), durability="sync")
"""


def _writer(path: Path) -> subprocess.Popen[str]:
    program = WRITER.format(tests=str(Path(__file__).parent.parent), path=str(path))
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    return running


def test_a_run_may_write_meanwhile(tmp_path: Path) -> None:
    """Compactions beside a process that writes lose nothing: the thread's list is whole, and the log verifies."""
    path = tmp_path / "log"
    runs(path, "t", 1)
    running = _writer(path)
    try:
        for keep_last in (1, 3, 1, 7, 1, 2, 1, 1):
            done = process("compact", path, "--apply", "--keep-last", keep_last)
            assert done.returncode == 0, done.stderr
    finally:
        running.kill()
        running.communicate()
    with Log.open(path) as log:
        state = plain_graph(log).get_state(config("t"))
        names = state.values["names"]
        assert names == (["one", "two"] * len(names))[: len(names)]
        assert len(names) > 10
        assert verify(log).ok
    assert process("verify", path).returncode == 0


def test_a_plan_counts_a_thread_that_went_on_since_it_was_listed(tmp_path: Path) -> None:
    """Threads are listed before they are planned; one that ran meanwhile was shown to keep minus 15 records."""
    path = tmp_path / "log"
    runs(path, "t", 1)
    with Log.open(path) as log:
        (listed,) = log.threads()
        runs(path, "t", 3)
        (now,) = log.threads()
        cut = plan_cut(log, listed, Rule(), plain_graph(log))
    assert cut.seq > listed.seq
    assert cut.records == now.records
    assert 0 <= cut.kept_records < cut.records


def test_a_kill_at_any_instant_leaves_a_whole_log(tmp_path: Path) -> None:
    """A compaction that is killed has done nothing, a part, or all of it; the newest state is what it was."""
    draw = random.Random(11)
    path = tmp_path / "log"
    for life in range(8):
        runs(path, "t", 30)
        with Log.open(path) as log:
            before = plain_graph(log).get_state(config("t"))
        command = [sys.executable, "-c", KILLED.format(path=str(path), after=draw.randrange(1, 9))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        assert process("verify", path).returncode == 0, life
        with Log.open(path) as log:
            assert plain_graph(log).get_state(config("t")) == before


KILLED = """
import os, signal
from walgraph.wal import lmdb_store, truncating
from walgraph.tools.cli import cli
truncating.CUT = 7
begun = [0]
original = lmdb_store.LmdbTables.write
def write(self):
    begun[0] += 1
    if begun[0] > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self)
lmdb_store.LmdbTables.write = write
cli.main(["compact", {path!r}, "--apply"])
"""
