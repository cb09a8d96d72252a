"""The command line on a log that holds threads of LangGraph's beside one of walgraph's."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from saver.putting import Putter, config
from saver.stories import STORIES, Trail
from saver.test_programs import Noted
from tools_helpers import wal as call

from walgraph import START, Log, StateGraph
from walgraph.tools.langgraph_saver import WalSaver


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with both sorts of threads."""
    place = tmp_path_factory.mktemp("both") / "log"
    with Log.open(place, fsync="off") as log:
        graph = StateGraph(Trail).add_node("n", lambda _: {"last": 1}).add_edge(START, "n").compile(log)
        graph.invoke({"trail": []}, config("ours"))
        saver = WalSaver(log)
        STORIES["chat"](saver, Noted)
        putter = Putter(saver, config("long"))
        for step in range(700):
            putter.put({"n": step, "said": ["x" * 50] * (step % 40), "big": "b" * 9000}, step=step)
        saver.put_writes(putter.config, [("__interrupt__", HumanMessage("why?"))], "task", "~path")
    return place


def test_verify_finds_nothing_wrong(path: Path) -> None:
    """Snapshots equal the fold of the records, and every value can be read."""
    done = call("verify", str(path))
    assert done.exit_code == 0, done.output
    with Log.open(path, create=False) as log:
        assert log.store.snapshots("long")


def test_inspect_and_state_show_them(path: Path) -> None:
    """The overview, the timeline, one record, and the values of a checkpoint, classes by name."""
    heads = {
        head["thread"]: head for head in json.loads(call("inspect", str(path), "--json").stdout)["threads"]
    }
    assert heads["long"]["status"] == "interrupted"
    assert heads["t"]["graph"] == "langgraph"
    assert "WritesPut" in call("inspect", str(path), "t").stdout
    record = json.loads(call("inspect", str(path), "t", "1", "--json").stdout)["record"]
    assert record["number"] == 30
    shown = call("state", str(path), "t").stdout
    assert "langchain_core.messages" in shown
    assert "turn 0" in shown
    state = json.loads(call("state", str(path), "long", "--at", "step:5", "--json").stdout)
    assert state["values"]["n"] == 5
    newest = json.loads(call("state", str(path), "long", "--json").stdout)
    assert newest["writes"][0][1] == "__interrupt__"
    early = json.loads(call("state", str(path), "long", "--at", "2", "--json").stdout)
    assert early["metadata"]["step"] == 1
    assert call("state", str(path), "long", "--at", "nothing").exit_code == 3
    assert call("stats", str(path)).exit_code == 0


def test_compact_keeps_the_newest(path: Path) -> None:
    """Dry at first; then the records are cut off, and what stays is what it was."""
    with Log.open(path, create=False) as log:
        before = WalSaver(log).get_tuple(config("long"))
    dry = call("compact", str(path), "--thread", "long", "--keep-last", "3")
    assert dry.exit_code == 0, dry.output
    assert "dry run" in dry.stdout
    done = call("compact", str(path), "--thread", "long", "--keep-last", "3", "--apply")
    assert done.exit_code == 0, done.output
    with Log.open(path, create=False) as log:
        saver = WalSaver(log)
        assert saver.get_tuple(config("long")) == before
        assert [each.metadata["step"] for each in saver.list(config("long"))] == [699, 698, 697]
        head = log.head("long")
        assert head is not None
        assert head.records == 0
    assert call("verify", str(path)).exit_code == 0
    assert "700" not in call("inspect", str(path), "long").stdout


def test_import_brings_a_database_in(tmp_path: Path) -> None:
    """Into a log that is made, or is there; run again it finds all of it."""
    connection = sqlite3.connect(tmp_path / "old.db", check_same_thread=False)
    STORIES["chat"](SqliteSaver(connection), Noted)
    connection.close()
    arguments: list[Any] = ["import", str(tmp_path / "log"), "--from", f"sqlite:{tmp_path / 'old.db'}"]
    first = call(*arguments)
    assert first.exit_code == 0, first.output
    assert "imported 21 of 21 checkpoints in 1 threads" in first.stdout
    assert json.loads(call(*arguments, "--json").stdout)["added"] == 0
    assert call("import", str(tmp_path / "log"), "--from", "sqlite:nowhere").exit_code != 0
    assert call("import", str(tmp_path / "log"), "--from", "langgraph:nonsense").exit_code == 2
