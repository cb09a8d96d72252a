"""``wal recover`` and ``wal worker``, as a person uses them after a crash or a deployment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import killed
from tools_helpers import wal
from worker_helpers import PATIENCE, until

from walgraph import Log, RunHandle, submit

APP = """
import operator, os, signal, sys
from typing import Annotated, TypedDict
from walgraph import START, StateGraph

class State(TypedDict, total=False):
    trail: Annotated[list, operator.add]

def first(state):
    return {"trail": ["first"]}

def second(state):
    if os.environ.get("DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAIL"):
        raise ValueError("no luck")
    return {"trail": ["second"]}

builder = StateGraph(State).add_sequence([first, second]).add_edge(START, "first")
graph = builder.compile(name="work")
other = builder.compile(name="other")
"""

CRASHES = """
import os, sys
sys.path.insert(0, os.environ["HERE"])
from app import builder
from walgraph import Log
log = Log.open(sys.argv[1])
builder.compile(log, name="work").invoke({"trail": []}, {"configurable": {"thread_id": sys.argv[2]}}, durability="sync")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the user's module, and a log in which thread ``t`` has crashed in its second step."""
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("DIE", "1")
    killed(CRASHES, tmp_path / "log.wal", "t")
    monkeypatch.delenv("DIE")
    sys.modules.pop("app", None)
    yield tmp_path
    sys.modules.pop("app", None)


def test_without_apply_it_shows_what_would_be_carried_on(here: Path) -> None:
    """The plan names thread, status and graph, and nothing is changed, with the code or without."""
    shown = wal("recover", "log.wal")
    assert shown.exit_code == 0
    assert "t" in shown.stdout.split()
    assert "crashed" in shown.stdout
    assert "second" in shown.stdout
    assert "--app" in shown.stderr
    other = json.loads(wal("recover", "log.wal", "--app", "app:other", "--json").stdout)
    assert (other["v"], other["kind"], other["applied"]) == (1, "recover", False)
    assert other["threads"][0]["why"] == "no program here for graph 'work'"
    with Log.open(here / "log.wal") as log:
        head = log.head("t")
        assert head is not None
        assert head.status == "crashed"


def test_with_apply_it_carries_on(here: Path) -> None:
    """What became of each thread is told; afterwards nothing is left."""
    done = wal("recover", "log.wal", "--app", "app:graph", "--app", "app:other", "--apply", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["threads"] == [
        {"thread": "t", "graph": "work", "run": None, "how": "done", "reason": None}
    ]
    again = wal("recover", "log.wal", "--app", "app:graph", "--apply")
    assert (again.exit_code, "Nothing was left" in again.stderr) == (0, True)
    assert "Nothing was left" in wal("recover", "log.wal").stderr


def test_a_failure_is_a_problem_and_a_named_thread_is_tried_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that fails is told with exit code 1; it goes on again only when somebody names it."""
    monkeypatch.setenv("FAIL", "1")
    failed = wal("recover", "log.wal", "--app", "app:graph", "--apply")
    assert failed.exit_code == 1
    assert "no luck" in failed.stdout
    monkeypatch.delenv("FAIL")
    assert "Nothing was left" in wal("recover", "log.wal", "--app", "app:graph", "--apply").stderr
    assert "failed" in wal("recover", "log.wal", "t").stdout
    assert wal("recover", "log.wal", "t", "--app", "app:graph", "--apply").exit_code == 0
    with Log.open(here / "log.wal") as log:
        head = log.head("t")
        assert head is not None
        assert head.status == "done"


def test_what_keeps_killing_its_process_is_parked_listed_and_released(here: Path) -> None:
    """After two lives that got nowhere the third says so; the list says why; naming the thread releases it."""
    command = [
        sys.executable,
        "-m",
        "walgraph",
        "recover",
        "log.wal",
        "--app",
        "app:graph",
        "--apply",
        "--attempts",
        "2",
    ]

    def life() -> int:
        environment = {**os.environ, "DIE": "1"}
        return subprocess.run(
            command, env=environment, capture_output=True, timeout=60, check=False
        ).returncode

    assert [life() for _ in range(3)] == [-signal.SIGKILL, -signal.SIGKILL, 1]
    listed = json.loads(wal("recover", "log.wal", "--json").stdout)["threads"]
    assert [(each["thread"], each["status"]) for each in listed] == [("t", "parked")]
    assert "taken over 2 times" in listed[0]["why"]
    assert "parked" in wal("threads", "log.wal", "--status", "parked").stdout
    assert wal("recover", "log.wal", "t", "--app", "app:graph", "--apply").exit_code == 0


def test_bad_words_are_refused(here: Path) -> None:
    """No code, no such thread, no such log: each with its exit code."""
    assert wal("recover", "log.wal", "--apply").exit_code == 2
    assert wal("recover", "log.wal", "nobody").exit_code == 3
    assert wal("recover", "log.wal", "nobody", "--app", "app:graph", "--apply").exit_code == 3
    assert wal("recover", "nowhere.wal").exit_code == 3
    assert wal("worker", "log.wal").exit_code == 2
    assert wal("worker", "log.wal", "--app", "app:nothing").exit_code == 2


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_worker_serves_until_it_is_told_to_stop(here: Path, as_json: bool) -> None:
    """It recovers what crashed, carries out what is handed over, tells of each, and ends well with SIGTERM."""
    command = [sys.executable, "-m", "walgraph", "worker", "log.wal", "--app", "app:graph"]
    command += ["--json"] if as_json else []
    with Log.open(here / "log.wal") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            handle = submit("work", {"trail": []}, "u", log=log, run_id="r")
            assert handle.result(PATIENCE) == {"trail": ["first", "second"]}
            until(lambda: log.head("t").status == "done")  # type: ignore[union-attr]  # it is there
            process.send_signal(signal.SIGTERM)
            said, talk = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, talk
        assert RunHandle(log, "r").status() == "done"
    if as_json:
        told = [json.loads(line) for line in said.splitlines()]
        assert {(each["thread"], each["run"], each["how"]) for each in told} == {
            ("t", None, "done"),
            ("u", "r", "done"),
        }
    else:
        assert sorted(said.splitlines()) == ["t done", "u done"]
        assert "Stopped" in talk
