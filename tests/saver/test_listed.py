"""What the directory of threads says of those that LangGraph runs, and that nothing ends their runs from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from saver.putting import Putter, a_checkpoint, config

from walgraph import Log, MemoryLog, submit
from walgraph.tools.langgraph_saver import WalSaver


@pytest.fixture
def log() -> Iterator[Log]:
    """A log in memory."""
    with MemoryLog() as opened:
        yield opened


@pytest.mark.parametrize("is_overtaken", [False, True])
def test_a_thread_that_asks_is_listed_as_interrupted(log: Log, *, is_overtaken: bool) -> None:
    """Also if the question came before its checkpoint, which LangGraph hands to a pool of threads as well."""
    saver = WalSaver(log)
    given = a_checkpoint({"branch:to:n": None}, {"branch:to:n": 1})
    asked = config("theirs", checkpoint_id=given["id"])

    def ask() -> None:
        saver.put_writes(asked, [("__interrupt__", [])], "task", "~path")

    if is_overtaken:
        ask()
    saver.put(config("theirs"), given, {"source": "loop", "step": 1}, {"branch:to:n": 1})
    if not is_overtaken:
        ask()
    saver.flush()
    head = log.head("theirs")
    assert head is not None
    assert (head.status, head.next, head.step) == ("interrupted", ("n",), 1)


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_thread_that_langgraph_runs_is_not_cancelled(log: Log, *, is_cut: bool) -> None:
    """A record that its run has ended once kept LangGraph out for ever; what was handed over for it is cancelled."""
    saver = WalSaver(log)
    putter = Putter(saver, config("theirs"))
    for step in range(3):
        putter.put({"branch:to:n": None}, step=step)
    if is_cut:
        saver.prune(["theirs"])
    before = log.head("theirs")
    assert before is not None
    assert before.status == "parked"
    assert not log.cancel("theirs")
    assert log.head("theirs") == before
    submit("graph", {}, "theirs", log=log)
    assert log.cancel("theirs")
    assert log.submissions().first("theirs") is None
    assert log.head("theirs") == before
    putter.put({"branch:to:n": None}, step=3)
    assert len(list(saver.list(config("theirs")))) == (2 if is_cut else 4)
