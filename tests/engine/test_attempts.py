"""Attempts that are counted across processes: what a crash between two of them leaves (RT-3, better)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from helpers import THREAD, Trail, killed, steps_of

from walgraph import (
    START,
    InvalidUpdateError,
    Log,
    MemoryLog,
    NotSerializable,
    RetryPolicy,
    StateGraph,
    entrypoint,
    get_runtime,
    task,
)
from walgraph.engine.attempt import Attempts
from walgraph.engine.context import TaskContext
from walgraph.replay.state import Outcome, Retry
from walgraph.wal.record import AttemptFailed

QUICK = RetryPolicy(initial_interval=0, jitter=False, max_attempts=4, retry_on=KeyError)


def attempted(seen: list[Any]) -> int:
    """Note the attempt that runs, and return its number."""
    info = get_runtime().execution_info
    assert info is not None
    seen.append((info.node_attempt, info.node_first_attempt_time))
    return info.node_attempt


def fails_until(number: int, seen: list[Any]) -> Any:
    """Return a node that fails before its n-th attempt."""

    def f(state: Any) -> Any:
        if attempted(seen) < number:
            raise KeyError("not yet")
        return {"trail": [f"attempt {seen[-1][0]}"]}

    return f


def retried(way: Any, body: Any, policy: Any = QUICK) -> StateGraph:
    """Return a builder with one node, which is retried."""
    return StateGraph(Trail).add_node("f", way.node(body), retry_policy=policy).add_edge(START, "f")


def test_each_failed_attempt_is_on_record(way, log, durability) -> None:
    """And only those: a run without failures records nothing of the kind."""
    seen: list[Any] = []
    graph = retried(way, fails_until(3, seen)).compile(log)
    assert way.invoke(graph, {"trail": []}, durability=durability) == {"trail": ["attempt 3"]}
    assert [number for number, _ in seen] == [1, 2, 3]
    if durability == "exit":
        assert steps_of(log) == ["ThreadCreated", "StateFolded"]
        return
    failed = failures_in(log)
    assert [record.attempt for record in failed] == [1, 2]
    assert {record.failure.text for record in failed} == {"KeyError('not yet')"}
    assert all(record.first_at <= record.at <= record.due_at for record in failed)


def test_all_attempts_know_when_the_first_began(way, maybe_log) -> None:
    """``node_first_attempt_time`` is in seconds since 1970, and the same for all attempts of a task."""
    seen: list[Any] = []
    before = time.time()
    way.invoke(retried(way, fails_until(3, seen)).compile(maybe_log), {"trail": []})
    [first] = {moment for _, moment in seen}
    assert before - 1 <= first <= time.time()


def test_a_node_without_retries_knows_when_it_began(way) -> None:
    """However often it asks."""
    seen: list[Any] = []

    def node(state: Any) -> Any:
        attempted(seen)
        time.sleep(0.001)
        attempted(seen)

    way.invoke(StateGraph(Trail).add_node("f", way.node(node)).add_edge(START, "f").compile(), {"trail": []})
    assert seen[0] == seen[1]


CRASH = """
import os, signal
from walgraph import START, Log, RetryPolicy, StateGraph, get_runtime
from helpers import Trail, THREAD

def f(state):
    info = get_runtime().execution_info
    print(info.node_attempt, info.node_first_attempt_time, flush=True)
    if info.node_attempt == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    raise KeyError("not yet")

policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=4, retry_on=KeyError)
graph = StateGraph(Trail).add_node("f", f, retry_policy=policy).add_edge(START, "f")
graph.compile(Log.open({path!r})).invoke({{"trail": []}}, THREAD, durability="sync")
"""


def test_attempts_count_on_after_a_crash(way, tmp_path) -> None:
    """Killed in its third attempt a task is tried a third time, and a fourth, and no more; since when is known too."""
    path = str(tmp_path / "log.wal")
    said = [line.split() for line in killed(CRASH.format(path=path)).splitlines()]
    assert [number for number, _ in said] == ["1", "2", "3"]
    seen: list[Any] = []
    with Log.open(path) as log:
        graph = retried(way, fails_until(9, seen)).compile(log)
        with pytest.raises(KeyError, match="not yet"):
            way.invoke(graph, None)
        assert [number for number, _ in seen] == [3, 4]
        assert {str(moment) for _, moment in seen} == {moment for _, moment in said}
        # It has failed for good, and whoever resumes it now has mended the cause: all attempts are given again.
        seen.clear()
        with pytest.raises(KeyError, match="not yet"):
            way.invoke(graph, None)
        assert [number for number, _ in seen] == [1, 2, 3, 4]


TASK_CRASH = """
import os, signal
from walgraph import Log, RetryPolicy, entrypoint, get_runtime, task
from helpers import THREAD

policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=3, retry_on=KeyError)

@task(retry_policy=policy)
def fetch():
    if get_runtime().execution_info.node_attempt == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    raise KeyError("not yet")

@entrypoint(checkpointer=Log.open({path!r}))
def flow(given):
    return fetch().result()

flow.invoke(1, THREAD, durability="sync")
"""


def test_attempts_of_a_task_count_on_after_a_crash(way, tmp_path) -> None:
    """The same for a ``@task``, whose policy may be its entrypoint's."""
    path = str(tmp_path / "log.wal")
    killed(TASK_CRASH.format(path=path))
    seen: list[Any] = []

    @task
    @way.node
    def fetch():
        return fails_until(3, seen)({})

    with Log.open(path) as log:

        @entrypoint(checkpointer=log, retry_policy=QUICK)
        @way.flow
        def flow(given):
            return (yield fetch())

        assert way.invoke(flow, None) == {"trail": ["attempt 3"]}
    assert [number for number, _ in seen] == [2, 3]


def context_at(now: int) -> Any:
    """Return the context of a task for which it is ``now``."""

    class Clock:
        """A recorder that only knows the time."""

        def now(self) -> int:
            """Return it."""
            return now

    class Still:
        """A run that only knows the time."""

        scope, recorder = "", Clock()

    return TaskContext(Still(), ("f",), "f", 0, 1)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("now", "seconds"), [(10, 4.0), (12, 2.0), (14, 0.0), (99, 0.0), (-100, 4.0)], ids=str
)
def test_the_rest_of_a_pause_is_waited_for_after_a_crash(now, seconds) -> None:
    """An attempt failed at 10, the next was due at 14; never is more waited for than the pause, whatever clocks say."""
    second = 1_000_000_000
    outcome = Outcome("due", retry=Retry(2, 1 * second, 10 * second, 14 * second))
    attempts = Attempts(context_at(now * second), (QUICK,), outcome)
    assert attempts.rest() == seconds
    assert attempts.next() == 3


def test_the_pause_is_what_the_policy_says(way, log) -> None:
    """What is recorded is what is waited for."""
    seen: list[Any] = []
    policy = RetryPolicy(initial_interval=0.05, jitter=False, retry_on=KeyError)
    way.invoke(retried(way, fails_until(2, seen), policy).compile(log), {"trail": []})
    [failed] = failures_in(log)
    assert failed.due_at - failed.at == 50_000_000
    assert time.time_ns() >= failed.due_at


def test_a_resumed_run_waits_for_the_rest_of_the_pause(way, log) -> None:
    """A run that was stopped in a pause does not try again at once when it is resumed."""
    seen: list[Any] = []
    begun: list[int] = []

    def f(state: Any) -> Any:
        begun.append(time.time_ns())
        return fails_until(2, seen)(state)

    async def stopped(graph: Any) -> None:
        run = asyncio.create_task(graph.ainvoke({"trail": []}, THREAD))
        while not failures_in(log):  # noqa: ASYNC110 - a log tells nobody that it grew
            await asyncio.sleep(0.001)
        run.cancel()
        await asyncio.wait([run])

    policy = RetryPolicy(initial_interval=0.3, jitter=False, retry_on=KeyError)
    asyncio.run(stopped(retried(way, f, policy).compile(log, durability="sync")))
    assert len(begun) == 1
    assert way.invoke(retried(way, f, policy).compile(log), None) == {"trail": ["attempt 2"]}
    [failed] = failures_in(log)
    assert begun[1] >= failed.due_at


def failures_in(log: Log) -> list[AttemptFailed]:
    """Return what the log holds of failed attempts."""
    if log.head("t") is None:
        return []
    return [stored.record for stored in log.read("t") if isinstance(stored.record, AttemptFailed)]


def test_a_return_that_means_nothing_is_an_attempt_that_failed(way, log) -> None:
    """RT-1: what a node returned was refused, and a policy that matches lets it answer again."""
    answers = [5, {"trail": ["fine"]}]
    policy = RetryPolicy(initial_interval=0, jitter=False)
    graph = retried(way, lambda _: answers.pop(0), policy).compile(log)
    assert way.invoke(graph, {"trail": []}) == {"trail": ["fine"]}
    answers = [5, 5]
    with pytest.raises(InvalidUpdateError, match="Expected dict, got 5"):
        way.invoke(retried(way, lambda _: answers.pop(0), ()).compile(log), {"trail": []})


def test_a_router_is_retried_alone(way, log, durability) -> None:
    """The node's policy holds for its routers; its body, which returned, is not run again for their sake."""
    ran: list[str] = []

    def body(state: Any) -> Any:
        ran.append("body")
        return {"trail": ["body"]}

    def router(state: Any) -> str:
        ran.append(f"router {len(ran)}")
        if len(ran) < 4:
            raise KeyError("not yet")
        return "b"

    builder = retried(way, body).add_node("b", way.node(lambda _: {"trail": ["b"]}))
    graph = builder.add_conditional_edges("f", way.node(router)).compile(log)
    assert way.invoke(graph, {"trail": []}, durability=durability) == {"trail": ["body", "b"]}
    assert ran == ["body", "router 1", "router 2", "router 3"]
    if durability != "exit":
        kinds = steps_of(log)
        assert kinds.count("AttemptFailed") == 2
        assert kinds.count("TaskRouted") == 1


def test_a_router_that_fails_for_good_is_asked_anew_on_resume(way, log) -> None:
    """All its attempts are used up, the body's return is on record, and the resume repeats the routing alone."""
    ran: list[str] = []

    def body(state: Any) -> Any:
        ran.append("body")
        return {"trail": ["body"]}

    def router(state: Any) -> str:
        ran.append("router")
        if len(ran) < 7:
            raise KeyError("not yet")
        return "__end__"

    graph = retried(way, body).add_conditional_edges("f", way.node(router)).compile(log)
    with pytest.raises(KeyError):
        way.invoke(graph, {"trail": []})
    assert ran == ["body"] + ["router"] * 4
    assert way.invoke(graph, None) == {"trail": ["body"]}
    assert ran == ["body"] + ["router"] * 6


def test_an_unwritable_return_whose_router_fails_is_a_failure(way, log) -> None:
    """The body's return is to be recorded before the router is asked again; it cannot be, and that is what is told."""

    def router(state: Any) -> str:
        raise KeyError("not yet")

    graph = retried(way, lambda _: {"x": object()}).add_conditional_edges("f", way.node(router)).compile(log)
    with pytest.raises(NotSerializable):
        way.invoke(graph, {"trail": []})

    assert graph.get_state(THREAD).next == ("f",)


def test_a_useless_policy_of_a_router_is_reported(way) -> None:
    """§3.3: the message is that of a useless policy, at the first failure."""

    def router(state: Any) -> str:
        raise KeyError("not yet")

    policy = RetryPolicy(retry_on="KeyError")  # type: ignore[arg-type]
    graph = (
        retried(way, lambda _: {}, policy).add_conditional_edges("f", way.node(router)).compile(MemoryLog())
    )
    with pytest.raises(TypeError, match="retry_on must be an Exception class"):
        way.invoke(graph, {"trail": []})
