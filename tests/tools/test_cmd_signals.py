"""``wal signals`` and ``wal signal``: mailboxes as a person uses them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from timer_helpers import THREAD, State
from tools_helpers import steady, told, wal

from walgraph import START, Log, StateGraph, sleep, wait_for


def approval(_: State) -> dict[str, Any]:
    """Wait for two words."""
    return {"a": [wait_for("asked"), wait_for("approved", timeout=timedelta(days=7))]}


def nap(_: State) -> dict[str, Any]:
    """Sleep for a week."""
    sleep(timedelta(days=7))
    return {"b": 1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with a thread that has received one signal and waits for the next, and one that sleeps."""
    place = tmp_path / "log.wal"
    with Log.open(place) as log:
        for thread, node in (("t", approval), ("asleep", nap)):
            graph = StateGraph(State).add_node(node).add_edge(START, node.__name__).compile(checkpointer=log)
            log.signal(thread, "asked", {"by": "ada"}, id="1")
            graph.invoke({}, {"configurable": {"thread_id": thread}})
    return place


def test_a_person_sends_a_signal_and_the_run_receives_it(path: Path) -> None:
    """Sent twice under one id it is sent once; the run that is resumed returns what was sent."""
    assert (
        wal("signal", path, "t", "approved", '{"by": "bob"}', "--id", "x").stdout
        == "sent approved to thread t\n"
    )
    assert "was sent to thread t before" in wal("signal", path, "t", "approved", "5", "--id", "x").stdout
    assert told("signal", path, "nobody", "anything")["sent"]
    with Log.open(path) as log:
        graph = StateGraph(State).add_node(approval).add_edge(START, "approval").compile(checkpointer=log)
        assert graph.invoke(None, THREAD) == {"a": [{"by": "ada"}, {"by": "bob"}]}
        assert [each.payload for each in log.mailbox("nobody")] == [None]


def test_what_waits_was_received_and_is_waited_for(path: Path) -> None:
    """Of one thread all of it, with the task that received; of all threads what waits."""
    wal("signal", path, "t", "other", '"text"')
    lines = [line.split() for line in steady(wal("signals", path, "t").stdout).splitlines()]
    assert lines[0] == ["thread", "no.", "name", "id", "stands", "since", "task", "payload"]
    assert lines[1:] == [
        ["t", "1", "asked", "1", "received", "TIME", "approval", "{'by':", "'ada'}"],
        ["t", "2", "other", "-", "waits", "TIME", "-", "'text'"],
        ["t", "-", "approved", "-", "is", "waited", "for", "TIME", "approval", "-"],
    ]
    shown = told("signals", path, "t")["signals"]
    assert [(each["standing"], each["number"], each["payload"], each["path"]) for each in shown] == [
        ("received", 1, {"by": "ada"}, ["approval"]),
        ("waits", 2, "text", None),
        ("is waited for", None, None, ["approval"]),
    ]
    assert [(each["thread"], each["name"]) for each in told("signals", path)["signals"]] == [
        ("asleep", "asked"),
        ("t", "other"),
    ]


def test_threads_show_who_sleeps_who_waits_and_until_when(path: Path) -> None:
    """With a time a week from now."""
    found = {each["thread"]: each for each in told("threads", path)["threads"]}
    assert {thread: each["status"] for thread, each in found.items()} == {
        "t": "waiting",
        "asleep": "sleeping",
    }
    week = datetime.now(UTC) + timedelta(days=7)
    for each in found.values():
        assert abs(datetime.fromisoformat(each["due_at"]) - week) < timedelta(minutes=5)
    assert [each["thread"] for each in told("threads", path, "--status", "sleeping")["threads"]] == ["asleep"]


def test_what_is_wrong_is_told(path: Path) -> None:
    """A payload that is no JSON, an empty id, a deleted thread, a thread that is not there."""
    assert "text is written in quotes" in wal("signal", path, "t", "a", "{no").stderr
    assert wal("signal", path, "t").exit_code == 2
    assert wal("signal", path, "t", "a", "--id", "").exit_code == 2
    assert wal("signals", path, "nobody").exit_code == 3
    with Log.open(path) as log:
        log.delete_thread("t")
    result = wal("signal", path, "t", "a")
    assert (result.exit_code, "WAL-E403" in result.stderr) == (3, True)
    assert wal("signals", path, "t").exit_code == 3
