"""Failures in graphs: what is kept, what runs again, how often (R, C and RT of the map; G2)."""

from __future__ import annotations

import time
from typing import TypedDict

import pydantic
import pytest
from helpers import THREAD, Trail, asks, drawn, leaves, on, silent

from walgraph import (
    END,
    START,
    Command,
    EmptyInputError,
    GraphChanged,
    InvalidGraph,
    RetryPolicy,
    Send,
    StateGraph,
    get_runtime,
)

QUICK = RetryPolicy(initial_interval=0, jitter=False)


class Less(TypedDict, total=False):
    """The state without its trail."""

    x: int


class Flaky:
    """A node's body that raises what it is given, one error a call, and then returns."""

    def __init__(self, name, *errors):
        self.__name__ = name
        self.errors = list(errors)
        self.runs = 0

    def __call__(self, state):
        """Raise, or leave a name."""
        self.runs += 1
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        return {"trail": [self.__name__]}


def plain(flaky):
    """Return a flaky body as a function, which can be wrapped."""

    def node(state):
        return flaky(state)

    node.__name__ = flaky.__name__
    return node


def test_a_failed_node_runs_again_and_its_siblings_do_not(way, log, durability) -> None:
    """R-5, R-3, C-2, G2: in every mode; LangGraph cancels siblings on an event loop."""
    bad, ok = Flaky("bad", KeyError("boom")), Flaky("ok")
    graph = drawn(way, plain(bad), plain(ok), leaves("c"), edges=">bad,ok bad+ok>c").compile(log)
    with pytest.raises(KeyError, match="boom"):
        way.invoke(graph, {"trail": ["in"]}, durability=durability)
    assert log.head("t").status == "failed"
    assert way.invoke(graph, None, durability=durability) == {"trail": ["in", "bad", "ok", "c"]}
    assert (bad.runs, ok.runs) == (2, 1)


def test_a_sibling_that_ends_after_the_failure_is_recorded(way, log) -> None:
    """C-2, D-9, decided: before the caller sees the exception."""
    bad, late = Flaky("bad", ValueError("first")), Flaky("late")

    def slow(state):
        time.sleep(0.02)
        return late(state)

    graph = StateGraph(Trail).add_node("bad", plain(bad)).add_node("slow", slow)
    graph = graph.add_edge(START, "bad").add_edge(START, "slow").compile(log)
    with pytest.raises(ValueError, match="first"):
        way.invoke(graph, {})
    assert graph.get_state(THREAD).values == {"trail": ["late"]}
    assert way.invoke(graph, None) == {"trail": ["bad", "late"]}
    assert late.runs == 1


def test_users_exceptions_keep_their_type_and_gain_notes(way, log) -> None:
    """§3: where it happened, what is safe, how to go on."""
    error = KeyError("mine")
    graph = drawn(way, plain(Flaky("bad", error)), edges=">bad").compile(log)
    with pytest.raises(KeyError) as caught:
        way.invoke(graph, {})
    assert caught.value is error
    notes = "\n".join(caught.value.__notes__)
    task = graph.get_state(THREAD).tasks[0]
    assert f"During task with name 'bad' and id '{task.id}'" in notes
    assert "thread 't'" in notes
    assert "invoke(None, config)" in notes


def test_an_input_that_cannot_be_made_says_so_in_its_note(way, log) -> None:
    """§3: such a task has not begun; the note names its path, once, also when it is a subgraph's."""

    class Strict(pydantic.BaseModel):
        x: int

    inner = drawn(way, edges="").add_node("n", way.node(silent("n")), input_schema=Strict)
    graph = drawn(way, edges="").add_node("sub", inner.add_edge("__start__", "n").compile())
    graph = graph.add_edge("__start__", "sub").compile(log)
    with pytest.raises(pydantic.ValidationError) as caught:
        way.invoke(graph, {})
    before, *others = caught.value.__notes__
    assert before == "Before task with name 'n' and path '('__pregel_pull', 'n')'"
    assert len(others) == 1
    assert "runs this task again" in others[0]


def test_of_several_failures_one_is_raised_and_all_are_shown(way, log) -> None:
    """C-2: and all run again."""
    one, two = Flaky("one", ValueError("1")), Flaky("two", ValueError("2"))
    graph = drawn(way, plain(one), plain(two), edges=">one,two").compile(log)
    with pytest.raises(ValueError, match="1"):
        way.invoke(graph, {})
    assert [task.error for task in graph.get_state(THREAD).tasks] == ["ValueError('1')", "ValueError('2')"]
    assert way.invoke(graph, None) == {"trail": ["one", "two"]}


def test_a_failed_router_is_asked_again_alone(way, log, durability) -> None:
    """C-4, mended: the body is not run again, and the routing is not skipped."""
    body = Flaky("a")
    answers = [ValueError("no route"), "b"]

    def route(state):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    builder = drawn(way, plain(body), leaves("b"), edges=">a").add_conditional_edges("a", way.node(route))
    graph = builder.compile(log)
    with pytest.raises(ValueError, match="no route"):
        way.invoke(graph, {}, durability=durability)
    assert graph.get_state(THREAD).next == ("a",)
    assert way.invoke(graph, None, durability=durability) == {"trail": ["a", "b"]}
    assert body.runs == 1


def test_a_failed_router_forgets_no_goto(way, log) -> None:
    """C-4: what the body commanded survives its router."""
    fails = [True]

    def a(state):
        return Command(update={"trail": ["a"]}, goto=[Send("s", "sent"), "c"])

    def s(given):
        return {"trail": [given]}

    def route(state):
        return "b" if not fails or not fails.pop() else 1 / 0

    builder = drawn(way, a, leaves("b"), leaves("c"), s, edges=">a").add_conditional_edges("a", route)
    graph = builder.compile(log)
    with pytest.raises(ZeroDivisionError):
        way.invoke(graph, {})
    assert way.invoke(graph, None) == {"trail": ["a", "b", "c", "sent"]}


def test_a_router_of_start_can_fail_and_be_mended(way, log) -> None:
    """C-4: the input is kept."""
    fails = [True]

    def route(state):
        return "a" if not fails or not fails.pop() else 1 / 0

    builder = drawn(way, leaves("a"), edges="").add_conditional_edges(START, way.node(route))
    graph = builder.compile(log)
    with pytest.raises(ZeroDivisionError):
        way.invoke(graph, {"x": 1})
    assert way.invoke(graph, None) == {"trail": ["a"], "x": 1}


@pytest.mark.parametrize("answer", [None, START, [None]])
def test_a_router_must_answer(way, maybe_log, answer) -> None:
    """§3.3."""
    builder = drawn(way, leaves("a"), edges=">a").add_conditional_edges("a", lambda _: answer)
    with pytest.raises(ValueError, match="Branch did not return a valid destination"):
        way.invoke(builder.compile(maybe_log), {})


def test_an_answer_that_the_path_map_lacks_is_refused(way) -> None:
    """§3.3: with the answers it has."""
    builder = drawn(way, leaves("a"), leaves("b"), edges=">a")
    builder.add_conditional_edges("a", lambda _: "w", {"yes": "b", True: END})
    with pytest.raises(
        InvalidGraph, match=r"answered 'w', which its path_map does not have; it has \['True', 'yes'\]"
    ):
        way.invoke(builder.compile(), {})


def test_end_need_not_be_in_the_path_map(way) -> None:
    """§3.3, mended: END means the same everywhere; LangGraph raises KeyError."""
    builder = drawn(way, leaves("a"), edges=">a").add_conditional_edges("a", lambda _: END, {"a": "a"})
    assert way.invoke(builder.compile(), {}) == {"trail": ["a"]}


def test_nothing_to_resume_is_an_error(way, maybe_log) -> None:
    """R-4, §3.2: on an unknown thread, which leaves no trace."""
    graph = drawn(way, leaves("a"), edges=">a").compile(maybe_log)
    with pytest.raises(EmptyInputError, match="Received no input for __start__"):
        way.invoke(graph, None)
    assert maybe_log is None or maybe_log.head("t") is None


def test_a_lost_node_is_reported_when_a_run_waits_for_it(way, log) -> None:
    """R-8, mended: LangGraph returns as if it were done."""
    drawn_with = lambda name: drawn(way, leaves(name), edges=f">{name}")  # noqa: E731 - one word, used twice
    way.invoke(drawn_with("old").compile(log), {}, interrupt_before=["old"])
    graph = drawn_with("new").compile(log)
    with pytest.raises(GraphChanged, match="node 'old' is due") as caught:
        way.invoke(graph, None)
    assert "update_state" in caught.value.hint
    assert way.invoke(graph, {}) == {"trail": ["new"]}


def test_a_lost_channel_is_reported_when_it_was_written(way, log) -> None:
    """R-8: writes are not dropped."""
    bad = Flaky("bad", ValueError("once"))
    full = drawn(way, plain(bad), leaves("ok"), edges=">bad,ok").compile(log)
    with pytest.raises(ValueError, match="once"):
        way.invoke(full, {})
    with pytest.raises(GraphChanged, match="channel 'trail' was written"):
        way.invoke(drawn(way, plain(bad), leaves("ok"), edges=">bad,ok", state=Less).compile(log), None)


def with_policy(way, body, policy, log=None):
    """Return a graph of one node with a retry policy."""
    builder = StateGraph(Trail).add_node(body.__name__, way.node(plain(body)), retry_policy=policy)
    return builder.add_edge(START, body.__name__).compile(log)


def test_a_policy_tries_again_and_only_the_outcome_is_recorded(way, maybe_log) -> None:
    """RT-2, RT-3."""
    body = Flaky("a", ConnectionError("1"), ConnectionError("2"))
    assert way.invoke(with_policy(way, body, QUICK, maybe_log), {}) == {"trail": ["a"]}
    assert body.runs == 3


def test_attempts_end(way, log) -> None:
    """RT-2, RT-3: and a resume begins at the first again."""
    body = Flaky("a", *(ConnectionError(str(i)) for i in range(4)))
    graph = with_policy(way, body, QUICK, log)
    with pytest.raises(ConnectionError, match="2") as caught:
        way.invoke(graph, {})
    assert any("attempt 3" in note for note in caught.value.__notes__)
    assert way.invoke(graph, None) == {"trail": ["a"]}
    assert body.runs == 5


def test_without_a_policy_nothing_is_tried_again(way) -> None:
    """RT-4."""
    body = Flaky("a", ConnectionError("1"))
    with pytest.raises(ConnectionError):
        way.invoke(with_policy(way, body, None), {})
    assert body.runs == 1


@pytest.mark.parametrize(
    ("retry_on", "error", "runs"),
    [
        (ValueError, ValueError("x"), 2),
        (ValueError, KeyError("x"), 1),
        ((KeyError, ValueError), KeyError("x"), 2),
        (lambda error: "again" in str(error), OSError("again"), 2),
        (lambda error: "again" in str(error), OSError("never"), 1),
    ],
)
def test_a_policy_says_what_it_is_for(way, retry_on, error, runs) -> None:
    """RT-1: a class, several, or a predicate."""
    body = Flaky("a", error)
    graph = with_policy(way, body, QUICK._replace(retry_on=retry_on))
    if runs == 1:
        with pytest.raises(type(error)):
            way.invoke(graph, {})
    else:
        way.invoke(graph, {})
    assert body.runs == runs


def test_the_first_policy_that_matches_counts(way) -> None:
    """RT-1."""
    body = Flaky("a", KeyError("x"), KeyError("x"))
    policies = [
        QUICK._replace(retry_on=ValueError, max_attempts=9),
        QUICK._replace(retry_on=KeyError, max_attempts=2),
    ]
    with pytest.raises(KeyError):
        way.invoke(with_policy(way, body, policies), {})
    assert body.runs == 2


def test_a_policy_that_is_none_is_reported_when_it_is_needed(way) -> None:
    """§3.3: the error that it was to judge is its cause."""
    with pytest.raises(
        TypeError, match="retry_on must be an Exception class, a list or tuple of Exception classes"
    ):
        way.invoke(with_policy(way, Flaky("a", KeyError("x")), QUICK._replace(retry_on=5)), {})


def test_an_attempt_knows_its_number(way) -> None:
    """RT-3: ``execution_info`` counts from one."""
    seen = []

    def a(state):
        seen.append(get_runtime().execution_info.node_attempt)
        if len(seen) < 3:
            raise ConnectionError

    builder = StateGraph(Trail).add_node("a", way.node(a), retry_policy=QUICK).add_edge(START, "a")
    way.invoke(builder.compile(), {})
    assert seen == [1, 2, 3]


def test_custom_events_of_a_failed_attempt_are_not_taken_back(way) -> None:
    """RT-5."""
    body = Flaky("a", ConnectionError("1"))

    def a(state, writer):
        writer(body.runs)
        return body(state)

    builder = StateGraph(Trail).add_node("a", way.node(a), retry_policy=QUICK).add_edge(START, "a")
    assert way.stream(builder.compile(), {}, stream_mode="custom") == [0, 1]


def test_a_question_is_not_retried(way, log) -> None:
    """RT-4: what parks a run is no failure."""
    builder = StateGraph(Trail).add_node(
        "a", way.node(asks("a", "q")), retry_policy=QUICK._replace(retry_on=Exception)
    )
    graph = builder.add_edge(START, "a").compile(log)
    assert len(way.invoke(graph, {})["__interrupt__"]) == 1
    assert way.invoke(graph, Command(resume=1)) == {"trail": [1]}


def test_a_run_that_raised_leaves_the_thread_free(way, log) -> None:
    """CC-1: the claim is given back however a run ends."""
    graph = drawn(way, plain(Flaky("a", ValueError("x"))), edges=">a").compile(log)
    with pytest.raises(ValueError, match="x"):
        way.invoke(graph, {}, on("t"))
    with log.writer("t") as writer:
        assert writer.thread_id == "t"
