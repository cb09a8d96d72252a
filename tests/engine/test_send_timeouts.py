"""Sends that bring a time of their own (TO-3)."""

from __future__ import annotations

import pytest
from helpers import THREAD
from timeout_helpers import LONG, SHORT, fan, run, takes

from walgraph import (
    NodeTimeoutError,
    Send,
    TimeoutPolicy,
)
from walgraph.replay.plain import thread_from_plain, thread_to_plain
from walgraph.replay.state import GraphState, ThreadState
from walgraph.wal.codec import Decoder, Encoder
from walgraph.wal.record import TaskFinished


def test_a_send_brings_a_time_of_its_own(log) -> None:
    """It counts instead of the node's, shorter or longer (TO-3)."""
    longer = fan(takes, Send("n", {"x": 3 * SHORT}, timeout=LONG), log=log, timeout=SHORT)
    assert run(longer) == {"trail": [f"{3 * SHORT}"]}
    shorter = fan(takes, Send("n", {"x": LONG}, timeout=SHORT), Send("n", {"x": 0}), log=log, timeout=LONG)
    config = {"configurable": {"thread_id": "other"}}
    with pytest.raises(NodeTimeoutError, match=r"run timeout of 0\.050s"):
        run(shorter, config=config)
    assert shorter.get_state(config).next == ("n",)


def test_the_time_of_a_send_is_recorded_with_it(log) -> None:
    """So that a resume, which does not ask the router again, limits it as well."""
    sends: list[Send] = [
        Send("n", {"x": LONG}, timeout=TimeoutPolicy(idle_timeout=SHORT, refresh_on="heartbeat"))
    ]
    graph = fan(takes, *sends, log=log)
    for given in ({"trail": []}, None):
        with pytest.raises(NodeTimeoutError, match="idle"):
            run(graph, given)
    finished = [stored.record for stored in log.read("t") if isinstance(stored.record, TaskFinished)]
    assert finished[0].goto == (("send", "n", {"x": LONG}, [None, SHORT, "heartbeat"]),)


def test_a_send_to_a_synchronous_node_cannot_bring_a_time(way, log) -> None:
    """It is refused where it is sent, and nothing of its step is lost (TO-1)."""

    def node(state):
        return {"trail": ["n"]}

    graph = fan(node, Send("n", {}, timeout=1), log=log)
    with pytest.raises(
        ValueError, match=r"Node timeouts are only supported for async nodes .* Node 'n' is sync"
    ):
        way.invoke(graph, {"trail": []})
    graph = fan(node, Send("n", {}), log=log)
    assert way.invoke(graph, None) == {"trail": ["n"]}


def test_a_time_that_is_recorded_for_what_became_synchronous_is_an_error(log) -> None:
    """The code changed under the thread; the node is not run without the limit that was promised."""
    with pytest.raises(NodeTimeoutError):
        run(fan(takes, Send("n", {"x": LONG}, timeout=SHORT), log=log))

    def node(state):
        return {"trail": ["n"]}

    with pytest.raises(ValueError, match="Node 'n' is sync"):
        fan(node, log=log).invoke(None, THREAD)


def test_sends_are_told_apart_by_their_time() -> None:
    """As in LangGraph; the form without one is as it was."""
    plain, timed = Send("n", 1), Send("n", 1, timeout=2)
    assert plain != timed
    assert len({plain, timed, Send("n", 1, timeout=2.0)}) == 2
    assert repr(plain) == "Send(node='n', arg=1)"
    assert repr(timed).startswith("Send(node='n', arg=1, timeout=TimeoutPolicy(run_timeout=2.0")
    with pytest.raises(ValueError, match="run_timeout must be greater than 0"):
        Send("n", 1, timeout=0)


@pytest.mark.parametrize(
    "send", [Send("n", {"a": (1,)}), Send("n", 1, timeout=TimeoutPolicy(run_timeout=1.0))], ids=repr
)
def test_a_send_comes_back_as_it_was(send) -> None:
    """With its time, and without."""
    assert Decoder().value(Encoder().value(send).data) == send


def test_a_snapshot_keeps_the_times_of_sends() -> None:
    """And one from before there were any is read."""
    sends = (("n", 1), ("n", 2, [1.0, None, "auto"]))
    graph = GraphState({}, 0, 1, 0, "loop", None, (), sends, {}, frozenset(), ())
    state = ThreadState(seq=1, scopes={"": graph})
    assert thread_from_plain(thread_to_plain(state)).scopes[""].sends == sends


def test_the_bytes_of_a_send_are_part_of_the_format() -> None:
    """A ``Send`` without a time is written as it always was; one with a time is longer by one part."""
    goto = (("send", "n", 1), ("send", "n", 2, [1.5, None, "auto"]))
    record = TaskFinished("", ("n",), (), goto)
    golden = "9605a091a16e909293a473656e64a16e0194a473656e64a16e0293cb3ff8000000000000c0a46175746fc0"
    assert Encoder().records([record]).data.hex() == golden
    assert Decoder().records(bytes.fromhex(golden)) == [record]
