"""What is done at most once (G3): the intent, the attempts and what is refused."""

from __future__ import annotations

import datetime

import pytest
from effect_helpers import MODES, QUICKLY, World, says
from helpers import THREAD, Trail, killed, steps_of

from walgraph import (
    RUN_AGAIN,
    START,
    AttemptsLost,
    CannotPark,
    InvalidGraph,
    Log,
    MemoryLog,
    NoLog,
    OutcomeUnknown,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from walgraph.engine.recorder import Recorder
from walgraph.replay.recover import recover
from walgraph.wal.record import TaskStarted

KILLED_IN_THE_BODY = """
    import os, signal
    from helpers import *
    from walgraph import *

    way = Way({way!r})

    @task
    @way.node
    def before(): return "done"

    @task(effect="at_most_once")
    @way.node
    def pay(): os.kill(os.getpid(), signal.SIGKILL)

    @entrypoint(Log.open({path!r}, flush_interval=60))
    @way.flow
    def flow(x):
        yield before()
        yield pay()

    way.invoke(flow, 5, durability={mode!r})
"""


@pytest.mark.parametrize("mode", MODES)
def test_the_intent_and_all_before_it_is_durable_before_the_body_begins(way, tmp_path, mode) -> None:
    """G3: in every mode, though nothing else would be flushed for a minute."""
    path = str(tmp_path / "log.wal")
    killed(KILLED_IN_THE_BODY.format(path=path, mode=mode, way=way.name))
    began = []

    @task
    def before():
        raise AssertionError("it is recorded")

    @task(effect="at_most_once", reconcile=lambda *asked: began.append(asked[1].name))
    def pay():
        raise AssertionError("it began before")

    with Log.open(path, strict=True) as log:

        @entrypoint(log)
        def flow(x):
            before().result()
            pay().result()

        assert log.head("t").status == "crashed"
        flow.invoke(None, THREAD)
    assert began == ["pay"]


def test_what_returned_is_recorded_like_any_call(way, log, durability) -> None:
    """One intent, one outcome, and nothing is in doubt."""
    world = World(way, log)
    assert world.invoke(5, durability=durability) == "5 to bob"
    if durability != "exit":
        assert steps_of(log).count("TaskStarted") == 1
    world.invoke(6)
    assert len(world.keys) == len(set(world.keys)) == 2


def test_a_lost_attempt_raises_outcome_unknown_and_is_not_begun_again(way, log, durability) -> None:
    """We never guess; what is known of the attempt is in the error, and asking again changes nothing."""
    world = World(way, log)
    world.lose(durability=durability)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown) as caught:
            world.invoke(durability=durability)
        details = caught.value.details
        assert (details["task"], details["call"], details["attempt"]) == ("pay", "('bob', 5)", 1)
        assert details["key"] == world.keys[0]
        assert details["thread"] == "t"
        assert datetime.datetime.fromisoformat(details["since"]).tzinfo is not None
        assert any("does not begin it" in note for note in caught.value.__notes__)
    assert len(world.keys) == 1


def test_a_body_that_raised_is_known_to_have_failed(way, log, durability) -> None:
    """Nothing is in doubt: whoever resumes the run begins it again, without being asked."""
    world = World(way, log)
    world.fates.append(ValueError("no such account"))
    with pytest.raises(ValueError, match="no such account"):
        world.invoke(5, durability=durability)
    assert world.invoke(durability=durability) == "5 to bob"
    assert len(world.keys) == 2
    assert len(set(world.keys)) == 1


def test_its_own_retry_policy_tries_it_again(way, log, durability) -> None:
    """Each attempt has an intent of its own."""
    world = World(way, log, retry_policy=QUICKLY)
    world.fates += [ConnectionError(), ConnectionError()]
    assert world.invoke(5, durability=durability) == "5 to bob"
    begun = [s.record.attempt for s in log.read("t") if isinstance(s.record, TaskStarted)]
    assert begun == ([] if durability == "exit" else [1, 2, 3])


@pytest.mark.parametrize("outer", ["entrypoint", "node"])
def test_a_policy_that_was_meant_for_something_larger_does_not_repeat_it(way, log, outer) -> None:
    """A connection that broke may have done its work; whoever wants it repeated says so at the task itself."""
    world = World(way, MemoryLog())
    world.fates += [ConnectionError("reset")] * 3
    runs = []

    @way.flow
    def body(x):
        runs.append(x)
        return (yield world.pay("bob", 5))

    graph = (
        entrypoint(log, retry_policy=QUICKLY)(body)
        if outer == "entrypoint"
        else StateGraph(Trail).add_node("n", body, retry_policy=QUICKLY).add_edge(START, "n").compile(log)
    )
    with pytest.raises(Exception, match="reset"):
        way.invoke(graph, {"x": 1})
    assert len(world.keys) == 1
    assert len(runs) >= 1


def test_lost_attempts_count_for_the_retry_policy(way, log, durability) -> None:
    """A task that kills its process each time comes to an end; who resumes it gives it all its attempts again."""
    policy = QUICKLY._replace(max_attempts=2)
    world = World(way, log, retry_policy=policy, reconcile=says(*[RUN_AGAIN] * 3))
    world.lose(durability=durability)
    world.lose(None, durability=durability)
    with pytest.raises(AttemptsLost) as caught:
        world.invoke(durability=durability)
    assert caught.value.details["attempts"] == 2
    assert world.invoke(durability=durability) == "5 to bob"
    assert len(world.keys) == 3


@pytest.mark.parametrize("depth", ["body", "task in it", "task in it, deep"])
def test_a_question_cannot_be_asked_in_the_body(way, log, depth) -> None:
    """It would have to begin again with the answer; the way out is to ask before, and nothing waits for an answer."""

    @task
    @way.node
    def asker():
        interrupt("sure?")

    @task
    @way.flow
    def around():
        yield asker()

    @task(effect="at_most_once")
    @way.flow
    def pay():
        if depth == "body":
            interrupt("sure?")
        yield asker() if depth == "task in it" else around()

    @entrypoint(log)
    @way.flow
    def flow(x):
        yield pay()

    with pytest.raises(CannotPark, match="before the task"):
        way.invoke(flow, 1)
    assert flow.get_state(THREAD).interrupts == ()


def test_the_state_is_the_fold_of_the_log(way, log, durability, monkeypatch) -> None:
    """Laws 2 and 3, with intents that are open, failed and settled."""
    held = []
    settle, asettle = Recorder.settle, Recorder.asettle
    monkeypatch.setattr(Recorder, "settle", lambda self: (settle(self), held.append(self))[0])
    monkeypatch.setattr(Recorder, "asettle", lambda self: (held.append(self), asettle(self))[1])

    def intents():
        program = world.flow.program
        state = recover(log, "t", {"": program.blueprint}.get, program.registry).state
        assert held[-1].state == state
        return [outcome.intent for _, outcome in state.scopes[""].outcomes.items() if outcome.intent]

    world = World(way, log, retry_policy=QUICKLY, reconcile=says(ConnectionError("down"), "paid"))
    world.fates.append(ConnectionError())
    world.lose(durability=durability)
    assert [(intent.key, intent.attempt) for intent in intents()] == [(world.keys[0], 2)]
    with pytest.raises(ConnectionError):
        world.invoke(durability=durability)
    assert [intent.attempt for intent in intents()] == [2]
    world.invoke(durability=durability)
    assert intents() == []


BAD = [
    ({"effect": "exactly_once"}, "effect must be"),
    ({"effect": "at_most_once", "on_unknown": "ask"}, "on_unknown must be"),
    ({"effect": "at_most_once", "reconcile": "look"}, "reconcile must be a function"),
    ({"reconcile": print}, "need effect="),
    ({"on_unknown": "interrupt"}, "nothing else is in doubt"),
]


@pytest.mark.parametrize(("options", "text"), BAD, ids=[text for _, text in BAD])
def test_what_makes_no_sense_is_refused_where_it_is_written(options, text) -> None:
    """Not when it would be needed."""
    with pytest.raises(InvalidGraph, match=text):
        task(**options)(lambda: None)


def test_it_is_refused_where_nothing_of_the_graph_is_kept(way, log) -> None:
    """A subgraph with ``checkpointer=False`` begins anew with its caller, so nothing in it can be done once."""
    world = World(way, None)

    @way.flow
    def node(state):
        yield world.pay("bob", 5)

    inner = StateGraph(Trail).add_node("inner", node).add_edge(START, "inner").compile(False)
    graph = StateGraph(Trail).add_node("outer", inner).add_edge(START, "outer").compile(log)
    with pytest.raises(NoLog, match="nothing is kept"):
        way.invoke(graph, {"trail": []})
    assert world.keys == []


def test_without_any_log_it_is_called_once(way) -> None:
    """Nothing can be resumed, so nothing is in doubt; its keys differ from run to run."""
    world = World(way, None)
    assert world.invoke(5) == "5 to bob"
    assert world.invoke(5) == "5 to bob"
    assert len(set(world.keys)) == 2
