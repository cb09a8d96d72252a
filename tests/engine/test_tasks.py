"""Calls of ``@task`` functions: results, failures, retries, and that a recorded call is not made again."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from helpers import THREAD, chain, steps_of

from walgraph import (
    MemoryLog,
    NotSerializable,
    OutsideOfRun,
    RetryPolicy,
    entrypoint,
    task,
)
from walgraph.wal.record import TaskFailed, TaskFinished

EAGER = RetryPolicy(initial_interval=0, jitter=False, max_attempts=3, retry_on=ValueError)


class Counter:
    """Counts what was called, from any thread."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, what: object) -> int:
        """Note a call and return how many there were of the same."""
        self.calls.append(what)
        return self.calls.count(what)


def test_a_task_returns_a_future_with_its_result(way, maybe_log) -> None:
    """One call, one result, in a graph with a log or without."""

    @task
    @way.node
    def double(x):
        return 2 * x

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        return (yield double(x))

    assert way.invoke(workflow, 21) == 42


def test_a_task_may_call_tasks(way, maybe_log) -> None:
    """Three levels deep, each level sees its own result."""

    @task
    @way.node
    def leaf(x):
        return x + 1

    @task
    @way.flow
    def branch(x):
        left, right = yield [leaf(x), leaf(10 * x)]
        return left + right

    @task
    @way.flow
    def trunk(x):
        return (yield branch(x)) + (yield branch(2 * x))

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        return (yield trunk(x))

    assert way.invoke(workflow, 1) == (2 + 11) + (3 + 21)


def test_a_task_nobody_waits_for_is_waited_for_by_the_step(way, log) -> None:
    """The run does not end before it; its result is recorded (T-7)."""
    done: list[int] = []
    go = threading.Event()

    @task
    def slowly(x):
        go.wait(20)
        done.append(x)

    @entrypoint(log)
    @way.flow
    def workflow(x):
        slowly(x)
        go.set()
        return "ended"
        yield

    assert way.invoke(workflow, 7) == "ended"
    assert done == [7]
    assert steps_of(log).count("TaskFinished") == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_task_ends_after_the_calls_that_it_started(way, log, fails) -> None:
    """Whether it returns or raises: what it did not wait for is recorded before its own outcome is."""

    @task
    def slowly(x):
        time.sleep(0.05)
        return x

    @task
    @way.node
    def starts():
        slowly(1)
        if fails:
            raise ValueError("no luck")

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return (yield starts())

    with pytest.raises(ValueError, match="no luck") if fails else contextlib.nullcontext():
        way.invoke(workflow, 0)
    ended = [
        record.path
        for _, record in log.read("t")
        if isinstance(record, TaskFinished | TaskFailed) and len(record.path) > 1
    ]
    assert ended == [("workflow", 0, 0), ("workflow", 0)]


def test_a_failed_task_that_nobody_waits_for_does_not_fail_the_run(way, log) -> None:
    """Its exception goes to its future, and to nobody else (T-7)."""

    @task
    @way.node
    def fail():
        raise ValueError("unseen")

    @entrypoint(log)
    @way.flow
    def workflow(x):
        fail()
        return x
        yield

    assert way.invoke(workflow, 1) == 1


def test_the_caller_may_catch_what_a_task_raised(way, maybe_log) -> None:
    """The exception keeps its type and its text, and carries a note that says where it happened."""

    @task
    @way.node
    def fail():
        raise ValueError("no")

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        try:
            yield fail()
        except ValueError as error:
            return [str(error), error.__notes__[0][:33]]

    assert way.invoke(workflow, 0) == ["no", "During task with name 'fail' and "]


def test_a_finished_task_is_not_called_again_when_the_run_is_resumed(way, log, durability) -> None:
    """After a failure in the caller its recorded calls give back what they gave, in every mode."""
    count = Counter()

    @task
    @way.node
    def once(x):
        count(x)
        return 10 * x

    @entrypoint(log)
    @way.flow
    def workflow(x):
        found = yield [once(1), once(2)]
        if count("workflow") == 1:
            raise ConnectionError
        return found

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0, durability=durability)
    assert way.invoke(workflow, None, durability=durability) == [10, 20]
    assert sorted(map(str, count.calls)) == ["1", "2", "workflow", "workflow"]


def test_a_failed_task_is_called_again_when_the_run_is_resumed(way, log, durability) -> None:
    """What failed is not finished; its finished siblings are (T-5)."""
    count = Counter()

    @task
    @way.node
    def good():
        return count("good")

    @task
    @way.node
    def flaky():
        if count("flaky") == 1:
            raise ConnectionError
        return "well"

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return [(yield good()), (yield flaky())]

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0, durability=durability)
    assert way.invoke(workflow, None, durability=durability) == [1, "well"]
    assert sorted(count.calls) == ["flaky", "flaky", "good"]


def test_a_failure_is_shown_by_get_state_until_the_task_succeeds(way, log) -> None:
    """The entrypoint's task carries the error's text, and is still due."""

    @task
    @way.node
    def fail():
        raise ValueError("no")

    @entrypoint(log)
    @way.flow
    def workflow(x):
        yield fail()

    with pytest.raises(ValueError, match="no"):
        way.invoke(workflow, 0)
    state = workflow.get_state(THREAD)
    assert state.next == ("workflow",)
    assert [held.error for held in state.tasks] == ["ValueError('no')"]


def test_retrying_the_caller_does_not_repeat_its_finished_tasks(way, maybe_log) -> None:
    """An attempt counts its calls from zero, so it finds what the one before recorded (G2; LangGraph: T-6)."""
    count = Counter()

    @task
    @way.node
    def once(x):
        return count(x)

    @entrypoint(maybe_log, retry_policy=EAGER)
    @way.flow
    def workflow(x):
        found = yield [once("a"), once("b")]
        if count("workflow") < 3:
            raise ValueError
        return found

    assert way.invoke(workflow, 0) == [1, 1]
    assert count.calls.count("workflow") == 3


def test_a_task_has_a_retry_policy_of_its_own(way, maybe_log) -> None:
    """Only the task is tried again, its caller is not."""
    count = Counter()

    @task(retry_policy=EAGER)
    @way.node
    def flaky():
        if count("flaky") < 3:
            raise ValueError
        return "well"

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        count("workflow")
        return (yield flaky())

    assert way.invoke(workflow, 0) == "well"
    assert sorted(count.calls) == ["flaky"] * 3 + ["workflow"]


def test_a_task_gives_up_after_its_last_attempt(way, maybe_log) -> None:
    """The exception of the last attempt is the one that is raised."""
    count = Counter()

    @task(retry_policy=EAGER)
    @way.node
    def flaky():
        raise ValueError(count("flaky"))

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        yield flaky()

    with pytest.raises(ValueError, match="3"):
        way.invoke(workflow, 0)
    assert len(count.calls) == 3


def test_a_task_cannot_be_called_outside_of_a_run() -> None:
    """There is nothing to record it in."""

    @task
    def lonely(x):
        return x

    with pytest.raises(OutsideOfRun, match="Called task outside"):
        lonely(1)


def test_a_value_that_cannot_be_written_fails_its_task(way, log) -> None:
    """The error names it, the caller sees it, and nothing is recorded as finished (T-12)."""
    seen: list[BaseException] = []

    @task
    @way.node
    def make_function():
        return print

    @entrypoint(log)
    @way.flow
    def workflow(x):
        try:
            yield make_function()
        except NotSerializable as error:
            seen.append(error)
            raise

    with pytest.raises(NotSerializable, match=r"print|builtin") as caught:
        way.invoke(workflow, 0)
    assert seen == [caught.value]
    assert any("make_function" in note for note in caught.value.__notes__)
    assert "TaskFinished" not in steps_of(log)


def test_a_value_that_cannot_be_written_can_be_dealt_with_by_the_caller(way, log) -> None:
    """The caller may catch the error and go on."""

    @task
    @way.node
    def make(x):
        return print if x else "fine"

    @entrypoint(log)
    @way.flow
    def workflow(x):
        try:
            return (yield make(1))
        except NotSerializable:
            return (yield make(0))

    assert way.invoke(workflow, 0) == "fine"


def test_tasks_can_be_called_in_the_nodes_of_a_graph(way, log) -> None:
    """A node that fails after its tasks finished does not repeat them."""
    count = Counter()

    @task
    @way.node
    def once(x):
        return f"{x}{count(x)}"

    @way.flow
    def first(state):
        found = yield [once("a"), once("b")]
        if count("first") == 1:
            raise ConnectionError
        return {"trail": found}

    @way.flow
    def second(state):
        return {"trail": [(yield once("a"))]}

    graph = chain(first, second).compile(log)
    with pytest.raises(ConnectionError):
        way.invoke(graph, {"trail": []})
    assert way.invoke(graph, None) == {"trail": ["a1", "b1", "a2"]}


def test_parallel_nodes_do_not_share_the_places_of_their_calls(way, log) -> None:
    """The same call in two nodes of a step is two calls."""

    @task
    @way.node
    def say(x):
        return x

    @way.flow
    def left(state):
        return {"trail": [(yield say("left"))]}

    @way.flow
    def right(state):
        return {"trail": [(yield say("right"))]}

    graph = chain(left).add_node(right).add_edge("__start__", "right").compile(log)
    assert way.invoke(graph, {"trail": []}) == {"trail": ["left", "right"]}


def test_a_task_can_be_a_method_and_take_keywords(way) -> None:
    """Arguments arrive as they were given, by place and by name."""

    @task(name="shown")
    @way.node
    def show(first, *rest, key, **more):
        return [first, list(rest), key, more]

    @entrypoint(MemoryLog(strict=True))
    @way.flow
    def workflow(x):
        return (yield show(1, 2, 3, key="k", other="o"))

    assert way.invoke(workflow, 0) == [1, [2, 3], "k", {"other": "o"}]
    assert show.name == "shown"
