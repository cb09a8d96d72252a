"""What WalSaver costs, in counts that are the same on every machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from saver.putting import Putter, config
from test_counts import calls_of, groups

from walgraph import Log, MemoryLog
from walgraph.tools import saved_lane
from walgraph.tools.langgraph_saver import WalSaver

STEPS = 60


class Count(TypedDict):
    """A number that goes up."""

    n: int


def looped(log: Log, durability: Any) -> None:
    """Go round so many times, under LangGraph."""
    builder = StateGraph(Count)
    builder.add_node("more", lambda state: {"n": state["n"] + 1})
    builder.add_edge(START, "more")
    builder.add_conditional_edges("more", lambda state: END if state["n"] >= STEPS else "more")
    graph = builder.compile(checkpointer=WalSaver(log))
    graph.invoke({"n": 0}, {**config(), "recursion_limit": STEPS + 10}, durability=durability)


def test_under_sync_a_step_is_one_commit(tmp_path: Path) -> None:
    """Its writes travel with the checkpoint behind them, and the input's checkpoint with the one of the first step."""
    with Log.open(tmp_path / "log", fsync="off", flush_interval=0.05) as log:
        before = groups(log)
        looped(log, "sync")
        # Beside the steps: the beginning, and what the flusher commits if a step takes longer than its interval.
        assert STEPS <= groups(log) - before <= STEPS + STEPS // 3


def test_under_async_steps_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that its run goes on from waits for what comes next, however slow the machine is here."""
    monkeypatch.setattr(saved_lane, "GRACE_SECONDS", 5.0)
    with Log.open(tmp_path / "log", fsync="off", flush_interval=0.05) as log:
        before = groups(log)
        looped(log, "async")
        assert groups(log) - before <= STEPS // 2


def test_reading_the_newest_checkpoint_costs_the_same_after_ten_thousand() -> None:
    """Nothing in ``get_tuple`` walks through what was before: neither Python's functions nor C's are called more."""
    with MemoryLog() as log:
        saver = WalSaver(log)
        putter = Putter(saver)
        counted = {}
        for step in range(10_001):
            putter.put({"n": step, "stays": "s"}, changed=["n"], step=step)
            if step in {100, 10_000}:
                saver.get_tuple(config())
                counted[step] = calls_of(lambda: saver.get_tuple(config()))
        python, c = counted[100]
        assert counted[10_000][0] <= python * 1.1
        assert counted[10_000][1] <= c * 1.1
