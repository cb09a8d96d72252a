"""Many at once: threads of the operating system, coroutines, runs on one log, runs on one thread."""

from __future__ import annotations

import asyncio
import contextvars
import operator
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from helpers import THREAD, Trail, chain

from walgraph import (
    START,
    Command,
    InvalidUpdateError,
    Send,
    StateGraph,
    ThreadBusy,
    entrypoint,
    interrupt,
    task,
)


def config(number: object) -> dict[str, Any]:
    """Return the config of a thread of its own."""
    return {"configurable": {"thread_id": f"thread-{number}"}}


class Sum(TypedDict, total=False):
    """A number that grows."""

    total: Annotated[int, operator.add]


def adder(log):
    """Return a graph that adds one three times."""

    def one(state):
        return {"total": 1}

    def two(state):
        return {"total": 1}

    def three(state):
        return {"total": 1}

    return chain(one, two, three, state=Sum).compile(log)


def test_a_hundred_runs_on_one_event_loop_and_one_log(log, durability) -> None:
    """Each ends with its own values; afterwards the log holds all of them."""
    graph = adder(log)

    async def main() -> list[Any]:
        runs = [graph.ainvoke({"total": n}, config(n), durability=durability) for n in range(100)]
        return await asyncio.gather(*runs)

    assert asyncio.run(main()) == [{"total": n + 3} for n in range(100)]
    assert {head.status for head in log.threads()} == {"done"}
    assert [graph.get_state(config(n)).values["total"] for n in range(100)] == [n + 3 for n in range(100)]


def test_sixteen_threads_use_one_graph_and_one_log(log, durability) -> None:
    """The compiled graph and the log are shared, the runs are not."""
    graph = adder(log)
    ready = threading.Barrier(16, timeout=20)

    def use(number):
        ready.wait()
        return [graph.invoke({"total": 1}, config(number), durability=durability)["total"] for _ in range(3)]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(use, range(16)))
    assert found == [[4, 8, 12]] * 16


def test_threads_and_event_loops_use_one_graph_at_the_same_time(log) -> None:
    """Four loops in threads of their own, and four threads without."""
    graph = adder(log)

    def loop(number):
        async def main() -> list[Any]:
            return await asyncio.gather(*(graph.ainvoke({"total": 0}, config((number, n))) for n in range(5)))

        return asyncio.run(main())

    def plain(number):
        return [graph.invoke({"total": 0}, config((number, n))) for n in range(5)]

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(kind, n) for n, kind in enumerate([loop, plain] * 4)]
        assert [future.result() for future in found] == [[{"total": 3}] * 5] * 8


def blocking(entered: threading.Event, go: threading.Event):
    """Return a node that says that it runs, and waits until it may end."""

    def node(state):
        entered.set()
        assert go.wait(20)
        return {"trail": ["node"]}

    return node


def test_a_second_run_on_a_thread_is_refused_and_leaves_no_trace(log) -> None:
    """LangGraph lets both succeed and loses one (CC-1)."""
    entered, go = threading.Event(), threading.Event()
    graph = chain(blocking(entered, go)).compile(log)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(graph.invoke, {"trail": []}, THREAD)
        assert entered.wait(20)
        with pytest.raises(ThreadBusy):
            graph.invoke({"trail": ["second"]}, THREAD)
        with pytest.raises(ThreadBusy):
            asyncio.run(graph.ainvoke({"trail": ["third"]}, THREAD))
        with pytest.raises(ThreadBusy):
            graph.update_state(THREAD, {"trail": ["fourth"]})
        assert graph.get_state(THREAD).next == ("node",), "reading is not refused"
        go.set()
        assert first.result() == {"trail": ["node"]}
    assert graph.get_state(THREAD).values == {"trail": ["node"]}


def test_runs_that_wait_for_each_other_all_happen(way, log) -> None:
    """With ``if_busy="wait"`` eight runs on one thread lose no update."""
    graph = adder(log)
    if way.is_async:

        async def main() -> None:
            runs = (graph.ainvoke({"total": 1}, THREAD, if_busy="wait") for _ in range(8))
            await asyncio.gather(*runs)

        asyncio.run(main())
    else:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: graph.invoke({"total": 1}, THREAD, if_busy="wait"), range(8)))
    assert graph.get_state(THREAD).values == {"total": 8 * 4}


def test_a_sync_graph_can_be_called_inside_of_async_code(maybe_log) -> None:
    """``invoke`` in a coroutine blocks its loop and works, with tasks and without."""

    @task
    def double(x):
        return 2 * x

    @entrypoint(maybe_log)
    def workflow(x):
        return sum(future.result() for future in [double(x), double(x + 1)])

    async def main() -> int:
        return workflow.invoke(1, THREAD)

    assert asyncio.run(main()) == 6


def test_a_sync_graph_can_be_called_inside_of_an_async_node(log) -> None:
    """It is a subgraph as any other, though the loop stands still meanwhile."""

    @task
    def double(x):
        return 2 * x

    def inside(state):
        return {"trail": [str(double(2).result())]}

    inner = chain(inside).compile()

    async def node(state):
        return inner.invoke({"trail": []})

    graph = chain(node).compile(log)
    assert asyncio.run(graph.ainvoke({"trail": []}, THREAD)) == {"trail": ["4"]}


def test_parallel_nodes_run_side_by_side(way, maybe_log) -> None:
    """They wait for each other, which only works if both run at once."""
    both = threading.Barrier(2, timeout=20)

    def left(state):
        both.wait()
        return {"trail": ["left"]}

    def right(state):
        both.wait()
        return {"trail": ["right"]}

    builder = (
        StateGraph(Trail).add_node(left).add_node(right).add_edge(START, "left").add_edge(START, "right")
    )
    assert way.invoke(builder.compile(maybe_log), {"trail": []}) == {"trail": ["left", "right"]}


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_nodes_run_at_once_than_max_concurrency_allows(way, limit) -> None:
    """And all of them run."""
    lock, running, most = threading.Lock(), [0], [0]

    def node(state):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.003)
        with lock:
            running[0] -= 1
        return {"trail": ["x"]}

    builder = StateGraph(Trail).add_node("node", node)
    builder.add_conditional_edges(START, lambda _: [Send("node", {}) for _ in range(9)], ["node"])
    found = way.invoke(builder.compile(), {"trail": []}, {"max_concurrency": limit})
    assert len(found["trail"]) == 9
    assert 1 <= most[0] <= limit


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_tasks_see_the_callers_context_and_cannot_change_it(way, maybe_log) -> None:
    """Each node runs in a copy of it: neither its siblings nor its successors nor the caller see what it sets."""
    seen: list[str] = []

    def setter(name):
        def node(state):
            seen.append(variable.get())
            variable.set(name)

        node.__name__ = name
        return way.node(node)

    builder = chain(setter("one"), setter("two")).add_node("side", setter("side")).add_edge(START, "side")
    graph = builder.compile(maybe_log)

    def outside() -> str:
        variable.set("caller")
        way.invoke(graph, {"trail": []})
        return variable.get()

    assert contextvars.copy_context().run(outside) == "caller"
    assert seen == ["caller"] * 3


def test_task_calls_see_the_context_of_their_caller_as_it_was_then(way, maybe_log) -> None:
    """What the caller set before the call is seen in the task; what the task sets stays there."""
    seen: list[str] = []

    @task
    @way.node
    def look(name):
        seen.append(variable.get())
        variable.set(name)

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        variable.set("first")
        yield look("changed")
        variable.set("second")
        yield look("changed")
        seen.append(variable.get())

    way.invoke(workflow, 0)
    assert seen == ["first", "second", "second"]


def test_wide_fan_outs_are_recorded_whole(way, log, durability) -> None:
    """Two hundred tasks that end in any order are folded in theirs."""

    def each(state):
        return {"trail": [state["n"]]}

    builder = StateGraph(Trail).add_node("each", way.node(each))
    sends = [Send("each", {"n": str(n)}) for n in range(200)]
    graph = builder.add_conditional_edges(START, lambda _: sends, ["each"]).compile(log)
    expected = {"trail": [str(n) for n in range(200)]}
    assert way.invoke(graph, {"trail": []}, durability=durability) == expected
    assert graph.get_state(THREAD).values == expected


def test_many_tasks_of_one_entrypoint_are_recorded_whole(way, log, durability) -> None:
    """A hundred calls at once; a resume finds every one of them."""
    ran: list[int] = []

    @task
    @way.node
    def double(x):
        ran.append(x)
        return 2 * x

    @entrypoint(log)
    @way.flow
    def workflow(x):
        found = yield [double(n) for n in range(100)]
        return [sum(found), interrupt("?")]

    way.invoke(workflow, 0, durability=durability)
    assert way.invoke(workflow, Command(resume="!"), durability=durability) == [9900, "!"]
    assert sorted(ran) == list(range(100))


def test_an_answer_may_come_while_other_threads_run(log) -> None:
    """Runs on other threads do not see it, and are not disturbed."""

    def ask(state):
        return {"trail": [interrupt("?")]}

    graph = chain(ask).compile(log)

    def talk(number):
        graph.invoke({"trail": []}, config(number))
        return graph.invoke(Command(resume=str(number)), config(number))["trail"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(talk, range(24))) == [[str(n)] for n in range(24)]


def test_a_failure_of_one_run_leaves_the_others_alone(log) -> None:
    """Nine succeed, one raises, on one loop and one log."""

    async def node(state):
        await asyncio.sleep(0)
        if state["x"] == 5:
            raise ConnectionError
        return {"x": -state["x"]}

    graph = chain(node).compile(log)

    async def main() -> list[Any]:
        runs = (graph.ainvoke({"x": n}, config(n)) for n in range(10))
        return await asyncio.gather(*runs, return_exceptions=True)

    found = asyncio.run(main())
    assert isinstance(found[5], ConnectionError)
    assert [result["x"] for n, result in enumerate(found) if n != 5] == [-n for n in range(10) if n != 5]


def test_a_persistent_subgraph_is_not_run_twice_at_once(way, log) -> None:
    """Two tasks would share one state: the second call is refused, and runs when the first has ended.

    Two sends to such a subgraph once wrote to one scope side by side, and what it remembered was a mixture.
    """
    refused = threading.Event()

    def inside(state):
        assert refused.wait(20)
        return {"trail": ["inside"]}

    inner = chain(inside).compile(True)

    def sub(state):
        try:
            return {"trail": [str(len(inner.invoke({"trail": []})["trail"]))]}
        except InvalidUpdateError:
            refused.set()
            raise

    builder = StateGraph(Trail).add_node(sub)
    builder.add_conditional_edges(START, lambda _: [Send("sub", {}) for _ in range(2)], ["sub"])
    graph = builder.compile(log)
    with pytest.raises(InvalidUpdateError, match="subgraph 'sub' of thread 't' keeps its state"):
        way.invoke(graph, {"trail": []})
    assert sorted(way.invoke(graph, None)["trail"]) == ["1", "2"]


def test_user_threads_may_call_tasks_in_the_context_of_their_node(log) -> None:
    """With a copy of the node's context, a thread that the node started makes calls of that node."""

    @task
    def double(x):
        return 2 * x

    def in_thread(function: Callable[[], Any]) -> Any:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(context.run, function).result()

    @entrypoint(log)
    def workflow(x):
        return in_thread(lambda: double(x).result())

    assert workflow.invoke(4, THREAD) == 8
