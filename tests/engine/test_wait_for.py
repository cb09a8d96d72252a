"""Waiting for signals: before they are sent, after, in order, from other processes, and across crashes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from helpers import Way
from kills import outlived
from timer_helpers import NOON, THREAD, State, at_noon, beside, in_turn, kinds, waits

from walgraph import (
    START,
    Command,
    Log,
    MemoryLog,
    SignalTimeout,
    StateGraph,
    Suspension,
    ThreadDeleted,
    entrypoint,
    interrupt,
    task,
    wait_for,
)
from walgraph.engine.errors import NoLog, OutsideOfRun
from walgraph.replay.errors import NonDeterminism
from walgraph.wal.record import SignalReceived
from walgraph.wal.verify import verify

DAY = timedelta(days=1)


def approval(_):
    """Wait for somebody's word."""
    word = yield lambda: wait_for("approved")
    return {"a": word}


def test_a_run_waits_until_the_signal_is_sent(way: Way, log: Log, durability: str) -> None:
    """It ends as waiting at once, stays so while nothing comes, and goes on with the payload."""
    graph = in_turn(way, log, approval)
    asleep = {"__suspended__": [Suspension("wait", "approved", None)]}
    assert way.invoke(graph, {"b": 1}, durability=durability) == {"b": 1, **asleep}
    head = log.head("t")
    assert (head.status, head.due_at) == ("waiting", None)
    log.signal("t", "rejected", "no")
    assert way.invoke(graph, None, durability=durability) == {"b": 1, **asleep}
    assert log.head("t").seq == head.seq
    assert log.signal("t", "approved", {"by": "ada"}, id="1")
    assert not log.signal("t", "approved", {"by": "ada"}, id="1")
    assert way.invoke(graph, None, durability=durability) == {"a": {"by": "ada"}, "b": 1}
    assert [each.name for each in log.mailbox("t")] == ["rejected"]
    assert not log.signal("t", "approved", {"by": "ada"}, id="1")
    assert verify(log, structure=False).ok


@pytest.mark.parametrize(
    "payload",
    [None, False, 0, {"n": (1, 2)}, ["large"] * 20_000],
    ids=["none", "false", "zero", "tuple", "large"],
)
def test_any_payload_is_received_as_it_was_sent(way: Way, log: Log, payload) -> None:
    """None is one like any other; and before the thread exists is as good as later."""
    log.signal("t", "approved", payload)
    assert way.invoke(in_turn(way, log, approval), {}) == {"a": payload}
    assert log.mailbox("t") == []


def test_signals_are_received_in_order_each_once(way: Way, log: Log, durability: str) -> None:
    """Over several waits of a task, and over several runs."""

    def three(_):
        found = []
        for _ in range(3):
            word = yield lambda: wait_for("word")
            found.append(word)
        return {"a": found}

    graph = in_turn(way, log, three)
    for number in range(5):
        log.signal("t", "word", number)
        log.signal("t", "other", number)
    assert way.invoke(graph, {}, durability=durability) == {"a": [0, 1, 2]}
    assert "__suspended__" in way.invoke(graph, {}, durability=durability)
    log.signal("t", "word", 5)
    assert way.invoke(graph, None, durability=durability) == {"a": [3, 4, 5]}
    assert [each.payload for each in log.mailbox("t")] == [0, 1, 2, 3, 4]


def test_of_tasks_that_wait_side_by_side_each_gets_one(way: Way, log: Log) -> None:
    """Who waited first gets the first; nobody gets another's, and those without one wait on."""

    def waiter(name: str):
        def node(_):
            word = yield lambda: wait_for("word")
            return {name: word}

        node.__name__ = name
        return node

    graph = beside(way, log, *map(waiter, "abc"))
    assert len(way.invoke(graph, {})["__suspended__"]) == 3
    order = [record.path[0] for record in _records(log) if type(record).__name__ == "TimerSet"]
    log.signal("t", "word", 1)
    log.signal("t", "word", 2)
    second = way.invoke(graph, None)
    assert {key: second[key] for key in order[:2]} == {order[0]: 1, order[1]: 2}
    assert second["__suspended__"] == [Suspension("wait", "word", None)]
    log.signal("t", "word", 3)
    assert way.invoke(graph, None) == {order[0]: 1, order[1]: 2, order[2]: 3}


def _records(log: Log):
    return [stored.record for stored in log.read("t")]


def test_a_wait_with_a_time_out_raises_when_it_is_over(way: Way, log: Log) -> None:
    """Found by the due index; and once over it stays so, whatever is sent later."""
    seen = []

    def a(_):
        try:
            seen.append((yield lambda: wait_for("word", timeout=DAY)))
        except SignalTimeout as error:
            seen.append(error.details["name"])
        word = yield lambda: wait_for("word")
        return {"a": word}

    graph = in_turn(way, log, a)
    with at_noon() as clock:
        assert way.invoke(graph, {})["__suspended__"] == [Suspension("wait", "word", NOON + DAY)]
        assert (log.head("t").status, log.head("t").due_at) == ("waiting", NOON + DAY)
        clock.advance(DAY)
        assert way.invoke(graph, None)["__suspended__"] == [Suspension("wait", "word", None)]
        log.signal("t", "word", "late")
        assert way.invoke(graph, None) == {"a": "late"}
    assert seen == ["word", "word"]


def test_what_was_sent_in_time_counts_however_late_the_run_is_resumed(way: Way, log: Log) -> None:
    """And what was sent too late does not."""

    def a(_):
        word = yield lambda: wait_for("word", timeout=DAY)
        return {"a": word}

    graph = in_turn(way, log, a)
    with at_noon() as clock:
        for thread, hours in (("t", 23), ("late", 25)):
            clock.set(NOON)
            config = {"configurable": {"thread_id": thread}}
            way.invoke(graph, {}, config)
            clock.advance(hours * 3600)
            log.signal(thread, "word", thread)
            clock.advance(7 * DAY)
            if thread == "t":
                assert way.invoke(graph, None, config) == {"a": "t"}
            else:
                with pytest.raises(SignalTimeout):
                    way.invoke(graph, None, config)


def test_another_time_out_is_the_same_wait(way: Way, log: Log) -> None:
    """How long is no part of what is compared; another name is."""
    calls = iter([("word", DAY), ("word", 3 * DAY), ("other", DAY)])

    def a(_):
        name, timeout = next(calls)
        word = yield lambda: wait_for(name, timeout=timeout)
        raise RuntimeError(word)

    graph = in_turn(way, log, a)
    way.invoke(graph, {})
    log.signal("t", "word", "received")
    with pytest.raises(RuntimeError, match="received"):
        way.invoke(graph, None)
    with pytest.raises(NonDeterminism, match=r"holds wait_for\('word'\) .* asks for wait_for\('other'\)"):
        way.invoke(graph, None)


def test_a_short_wait_is_waited_for_in_place(way: Way) -> None:
    """The signal comes from another thread while the run waits, and wakes it."""
    log = MemoryLog()

    def a(_):
        threading.Timer(0.1, log.signal, ("t", "word", "now")).start()
        word = yield lambda: wait_for("word", timeout=30)
        return {"a": word}

    began = time.monotonic()
    assert way.invoke(in_turn(way, log, a), {}) == {"a": "now"}
    assert time.monotonic() - began < 20


def test_who_waits_in_place_lets_others_run_who_wake_it(way: Way) -> None:
    """At a limit of one call at a time, the call that sends the signal gets its turn."""
    log = MemoryLog()

    def waiter():
        word = yield lambda: wait_for("word", timeout=30)
        return word

    def sender():
        log.signal("t", "word", "from a call")

    waiting, sending = task(waits(way, waiter)), task(way.node(sender))
    if way.is_async:

        async def main(_):
            first = waiting()
            await sending()
            return await first
    else:

        def main(_):
            first = waiting()
            sending().result()
            return first.result()

    graph = entrypoint(checkpointer=log)(main)
    assert way.invoke(graph, 0, {**THREAD, "max_concurrency": 1}) == "from a call"


def test_tasks_and_subgraphs_wait(way: Way, log: Log) -> None:
    """Also one of whose history nothing is kept: its waits are its caller's."""
    kept, unkept = in_turn(way, None, approval), in_turn(way, False, approval)
    builder = StateGraph(State).add_node("kept", kept).add_node("unkept", unkept)
    graph = builder.add_edge(START, "kept").add_edge("kept", "unkept").compile(checkpointer=log)
    assert way.invoke(graph, {})["__suspended__"] == [Suspension("wait", "approved", None)]
    log.signal("t", "approved", 1)
    assert way.invoke(graph, None) == {"a": 1, "__suspended__": [Suspension("wait", "approved", None)]}
    log.signal("t", "approved", 2)
    assert way.invoke(graph, None) == {"a": 2}


def test_an_answer_brings_a_signal_along(way: Way, log: Log) -> None:
    """Whoever resumes a thread with an answer wakes what is due as well."""

    def b(_):
        answer = yield lambda: interrupt("sure?")
        return {"b": answer}

    graph = beside(way, log, approval, b)
    assert set(way.invoke(graph, {})) == {"__interrupt__", "__suspended__"}
    log.signal("t", "approved", "yes")
    assert way.invoke(graph, Command(resume="ok")) == {"a": "yes", "b": "ok"}


def test_a_signal_from_another_process_wakes_a_run_here(way: Way, tmp_path: Path) -> None:
    """While it waits in place, and while it is parked."""
    program = "import sys; from walgraph import Log; Log.open(sys.argv[1]).signal('t', 'word', sys.argv[2])"

    def send(word: str) -> None:
        subprocess.run([sys.executable, "-c", program, tmp_path / "log", word], check=True, timeout=60)

    def a(_):
        sender = threading.Thread(target=send, args=("first",))
        sender.start()
        first = yield lambda: wait_for("word", timeout=50)
        sender.join()
        second = yield lambda: wait_for("word")
        return {"a": [first, second]}

    with Log.open(tmp_path / "log", strict=True) as log:
        graph = in_turn(way, log, a)
        assert way.invoke(graph, {})["__suspended__"]
        send("second")
        # The attempt that is repeated sends its own again, which nobody waits for.
        assert way.invoke(graph, None) == {"a": ["first", "second"]}


def test_without_a_log_nobody_can_be_waited_for(way: Way) -> None:
    """It says so at once."""
    with pytest.raises(NoLog, match="no signal can reach it"):
        way.invoke(in_turn(way, None, approval), {})


def test_what_is_no_name_or_time_is_refused(way: Way, log: Log) -> None:
    """Before anything of it is recorded."""
    for call in (lambda: wait_for(""), lambda: wait_for(5), lambda: wait_for("a", timeout="5")):

        def a(_, call=call):
            yield call

        with pytest.raises((ValueError, TypeError)):
            way.invoke(in_turn(way, log, a), {})
    assert "TimerSet" not in kinds(log)
    with pytest.raises(OutsideOfRun):
        wait_for("a")


def test_a_deleted_thread_takes_no_signal(way: Way, log: Log) -> None:
    """Whoever sends one learns that it would reach nobody; a thread that begins anew takes them again."""
    graph = in_turn(way, log, approval)
    way.invoke(graph, {})
    log.delete_thread("t")
    with pytest.raises(ThreadDeleted):
        log.signal("t", "approved")
    way.invoke(graph, {})
    log.signal("t", "approved", 1)
    assert way.invoke(graph, None) == {"a": 1}


PROGRAM = """
from datetime import timedelta
import time
from walgraph import START, StateGraph, entrypoint, sleep, task, wait_for

def a(state):
    sleep(0.01)
    sleep(0.2)
    return {"trail": [("a", wait_for("word"))]}

def b(state):
    return {"trail": [("b", wait_for("word", timeout=0.05 if LATE else 60))]}

LATE = False

def run(log):
    builder = StateGraph(State).add_node("a", a).add_node("b", b)
    graph = builder.add_edge(START, "a").add_edge("a", "b").compile(checkpointer=log)
    for number in range(2):
        log.signal("t", "word", number, id=str(number))
    given, config = CALL
    while "__suspended__" in (state := graph.invoke(given, {**config, "park_after": 0.05}, durability=MODE)):
        given = None
        time.sleep(0.05)
    print(state["trail"])
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mode", ["sync", "exit"])
def test_killed_at_any_append_no_signal_is_lost_or_doubled(when: str, mode: str, tmp_path: Path) -> None:
    """Sleeps and signals, in place and parked: whoever takes the thread up finds each signal once, in order."""
    count = 0
    for number, lives in enumerate(outlived(f"MODE = {mode!r}\n{PROGRAM}", tmp_path, when)):
        count += 1
        assert lives[-1].splitlines()[-1] == "[('a', 0), ('b', 1)]", number
    assert count > (1 if mode == "exit" else 10)
    for path in tmp_path.iterdir():
        with Log.open(path, create=False) as log:
            assert verify(log, structure=False).ok
            assert log.mailbox("t") == []
            received = [
                stored.record for stored in log.read("t") if isinstance(stored.record, SignalReceived)
            ]
            assert mode == "exit" or [each.payload for each in received] == [0, 1]
