"""What ``wal verify`` finds, and what it does not take for damage."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tools_helpers import ask, chain, config, fill, one, process, told, two, wal

from walgraph import Command, Log
from walgraph.replay.plain import thread_to_plain
from walgraph.tools.folding import Lens
from walgraph.wal import Encoder, Summary
from walgraph.wal.record import RunStarted, StepCommitted, StepStarted, TaskFinished, ThreadCreated


def problems(path: Path) -> list[str]:
    """Return what is wrong with a log, in words."""
    return [problem["what"] for problem in told("verify", path, code=1)["problems"]]


def written(path: Path, *records: Any) -> None:
    """Write records as a thread ``t`` of their own, after the two that begin every thread."""
    begin = [ThreadCreated(1, "t", None), RunStarted("", 2, "r", {}, None, "sync", 1, {})]
    with Log.open(path) as log, log.writer("t") as writer:
        writer.append([*begin, *records], Summary())


def snapshot_of(path: Path, thread: str, **changed: Any) -> None:
    """Put a snapshot at the head of a thread, with values changed by hand."""
    with Log.open(path) as log:
        state = Lens(log).state_at(thread)
        root = state.scopes[""]
        changed_root = root._replace(values={**root.values, **changed})
        log.put_snapshot(
            thread, state.seq, Encoder().value(thread_to_plain(state._replace(scopes={"": changed_root})))
        )
        log.flush()


def test_a_good_log_is_ok(tmp_path: Path) -> None:
    """Nothing is wrong with what was just written, and the counts are told."""
    fill(tmp_path / "log")
    told_of = told("verify", tmp_path / "log")
    assert told_of["ok"] is True
    assert told_of["problems"] == []
    assert told_of["counts"]["threads"] == 4
    assert wal("verify", tmp_path / "log").stdout.startswith("ok: ")


def test_a_snapshot_must_equal_its_fold(tmp_path: Path) -> None:
    """A snapshot that says something else than the records before it is found, with the channel (law G6)."""
    path = tmp_path / "log"
    fill(path)
    snapshot_of(path, "done")
    assert told("verify", path)["ok"]
    snapshot_of(path, "done", names=["forged"])
    assert problems(path) == [
        "the snapshot differs from its records: in the graph, channel 'names' is not what the records before it give"
    ]


def test_what_only_the_users_code_folds_is_said_to_be_unknown(tmp_path: Path) -> None:
    """A channel with a reducer of the user's own is left out of the comparison, and that is said."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        chain(one, lambda_writer).compile(log).invoke({"x": 0, "mine": 1}, config("t"))
    snapshot_of(path, "t", mine=["whatever"])
    shape = told("verify", path)
    assert shape["ok"]
    assert "--app" in shape["notes"][0]


def lambda_writer(state: Any) -> dict[str, Any]:
    """Write to the channel whose reducer only the tests have."""
    return {"mine": 2}


def test_a_task_is_finished_at_most_once_per_step(tmp_path: Path) -> None:
    """A second outcome of one task in one step is a broken promise (law G2)."""
    finished = TaskFinished("", ("a",), (), ())
    written(tmp_path / "log", StepStarted("", 0, ("a",), 0), finished, finished)
    assert problems(tmp_path / "log") == ["task a was finished before in the same step"]


def test_a_task_of_the_next_step_is_another_one(tmp_path: Path) -> None:
    """The same node may finish in each step, and so may the same path in a subgraph of a later step."""
    step = [TaskFinished("sub:1", ("x",), (), ()), TaskFinished("", ("a",), (), ("a",))]
    records: list[Any] = []
    for number in range(3):
        records += [StepStarted("", number, ("a",), 0), *step, StepCommitted("", 3, number)]
    written(tmp_path / "log", *records)
    assert told("verify", tmp_path / "log")["ok"]


@pytest.mark.parametrize("started", [[], [StepStarted("", 7, ("a",), 0)]], ids=["never", "another"])
def test_a_step_is_committed_only_after_it_was_started(tmp_path: Path, started: list[Any]) -> None:
    """A barrier without the start of its own step is a broken promise (law G5)."""
    written(tmp_path / "log", *started, StepCommitted("", 3, 0))
    assert problems(tmp_path / "log")[0].startswith("step 0 is committed, but ")


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    """Damage ends with 1 and names thread and place; the other threads are still looked at."""
    path = tmp_path / "log"
    fill(path)
    data = bytearray((path / "data.mdb").read_bytes())
    place = data.rindex(b"no luck")
    data[place] ^= 1
    (path / "data.mdb").write_bytes(bytes(data))
    result = wal("verify", path)
    assert result.exit_code == 1
    assert "failed" in result.stdout
    assert "checksum" in result.stdout
    shown = wal("inspect", path, "failed")
    assert shown.exit_code == 5
    assert "error[WAL-E102]" in shown.stderr
    assert wal("state", path, "done").exit_code == 0


def test_nothing_is_written(tmp_path: Path) -> None:
    """No verb that reads leaves a trace, not even a new file."""
    path = tmp_path / "log"
    fill(path)
    before = {each.name: each.read_bytes() for each in path.iterdir() if each.name != "lock.mdb"}
    for words in (
        ["verify"],
        ["inspect"],
        ["inspect", "done"],
        ["inspect", "done", 3],
        ["threads"],
        ["compact"],
    ):
        assert wal(words[0], path, *words[1:]).exit_code == 0
    assert wal("state", path, "done").exit_code == 0
    assert {each.name: each.read_bytes() for each in path.iterdir() if each.name != "lock.mdb"} == before


UNPRIVILEGED = """
import importlib, os, sys
import rich.table
from walgraph.tools.cli import VERBS, cli
for verb in VERBS:
    importlib.import_module(f"walgraph.tools.cmd_{verb}")
if os.geteuid() == 0:
    # Root may write anywhere, so it becomes somebody who may not.
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["inspect"], 0),
        (["inspect", "done"], 0),
        (["threads"], 0),
        (["state", "done"], 0),
        (["compact"], 0),
        (["compact", "--shrink"], 0),
        (["compact", "--apply"], 7),
    ],
)
def test_a_log_that_must_not_be_written_can_be_read(words: list[str], code: int) -> None:
    """Without the right to write, every verb that reads works all the same; what changes the log is refused."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "log")
        fill(path)
        Path(place).chmod(0o755)
        for each in path.iterdir():
            each.chmod(0o444)
        path.chmod(0o555)
        names = sorted(each.name for each in path.iterdir())
        command = [sys.executable, "-c", UNPRIVILEGED, words[0], str(path), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert sorted(each.name for each in path.iterdir()) == names
        path.chmod(0o755)


def test_a_live_writer_is_no_damage(tmp_path: Path) -> None:
    """Verifying and looking beside a process that writes finds nothing wrong."""
    path = tmp_path / "log"
    fill(path)
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from tools_helpers import *
with Log.open({str(path)!r}, fsync="off") as log:
    graph = chain(one, two).compile(log)
    print("ready", flush=True)
    for number in range(100_000):
        graph.invoke({{"x": number}}, config("t" + str(number % 3)), durability="sync")
"""
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    try:
        for _ in range(3):
            for words in (
                ["verify"],
                ["inspect"],
                ["inspect", "t0"],
                ["threads"],
                ["state", "t1"],
                ["compact"],
            ):
                done = process(words[0], path, *words[1:])
                assert done.returncode == 0, (words, done.stdout[-500:], done.stderr)
    finally:
        running.kill()
        running.communicate()


def test_a_snapshot_with_an_open_question_is_compared(tmp_path: Path) -> None:
    """Outcomes, questions and what is due are compared too, not the values alone."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        chain(two, ask).compile(log).invoke({"x": 0}, config("t"), durability="sync")
    snapshot_of(path, "t")
    assert told("verify", path)["ok"]
    with Log.open(path) as log:
        state = Lens(log).state_at("t")
        forged = state._replace(scopes={"": state.scopes[""]._replace(due=("one",))})
        log.put_snapshot("t", state.seq, Encoder().value(thread_to_plain(forged)))
    assert "due" in problems(path)[0]


def test_branches_into_subgraphs_and_copies_are_no_damage(tmp_path: Path) -> None:
    """TT-7: a branch that takes an open step along is one step later than what it begins at.

    It was once taken for a step that nobody had started.
    """
    path = tmp_path / "log"
    inner = chain(one, ask, two).compile()
    hidden = {"inner": inner}

    def sub(state: Any) -> Any:
        return hidden["inner"].invoke(state)

    for node in (inner, sub):
        with Log.open(path) as log:
            graph = chain(one).add_node("sub", node).add_edge("one", "sub").compile(log)
            thread = config(getattr(node, "__name__", "inner"))
            graph.invoke({}, thread)
            where = graph.get_state(thread).tasks[0].state
            graph.invoke(Command(resume="A"), thread)
            config_of = {shown.next: shown.config for shown in graph.get_state_history(where)}
            log.copy_thread(thread["configurable"]["thread_id"], f"copy of {node!r}")
        with Log.open(path) as log:
            graph = chain(one).add_node("sub", node).add_edge("one", "sub").compile(log)
            graph.invoke(None, config_of["two",])
            graph.invoke(Command(resume="B"), config_of["ask",])
            graph.invoke(None, graph.update_state(config_of["two",], {}))
            copied = {**config_of["ask",]["configurable"], "thread_id": f"copy of {node!r}"}
            graph.invoke(Command(resume="C"), {"configurable": copied})
    assert told("verify", path)["ok"] is True
