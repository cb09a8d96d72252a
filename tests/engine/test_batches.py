"""Several runs of one graph at once, ``batch`` and its kin, and one of an input in parts: ``transform`` (§1.9)."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import pytest
from helpers import Way

from walgraph import START, Command, Log, MemoryLog, StateGraph, ThreadBusy, interrupt


class State(TypedDict):
    """A trail."""

    trail: Annotated[list[Any], operator.add]


def one_node(action: Any, log: Any = None) -> Any:
    """Return a graph of one node."""
    return StateGraph(State).add_node("n", action).add_edge(START, "n").compile(log)


def shout(state: State, config: dict[str, Any]) -> dict[str, Any]:
    """Fail, or leave what the config notes."""
    if state["trail"] == ["bad"]:
        raise ValueError("bad")
    return {"trail": [config["metadata"].get("note")]}


def batch(way: Way, graph: Any, *args: Any, **options: Any) -> list[Any]:
    """Run ``batch`` or ``abatch``."""
    if way.name == "sync":
        return graph.batch(*args, **options)
    return asyncio.run(graph.abatch(*args, **options))


def as_completed(way: Way, graph: Any, *args: Any, **options: Any) -> list[Any]:
    """Run ``batch_as_completed`` or its twin to its end."""

    async def collect() -> list[Any]:
        return [pair async for pair in graph.abatch_as_completed(*args, **options)]

    if way.name == "sync":
        return list(graph.batch_as_completed(*args, **options))
    return asyncio.run(collect())


def trail(*items: Any) -> dict[str, Any]:
    """Return a state."""
    return {"trail": list(items)}


def test_outputs_come_in_the_order_of_the_inputs(way: Way) -> None:
    """One config for all, or one for each."""
    graph = one_node(shout)
    assert batch(way, graph, [trail(1), trail(2)]) == [trail(1, None), trail(2, None)]
    assert batch(way, graph, [trail(1), trail(2)], {"metadata": {"note": "x"}}) == [
        trail(1, "x"),
        trail(2, "x"),
    ]
    configs = [{"metadata": {"note": 0}}, {"metadata": {"note": 1}}]
    assert batch(way, graph, [trail("a"), trail("b")], configs) == [trail("a", 0), trail("b", 1)]
    assert batch(way, graph, []) == []


def test_configs_and_inputs_are_as_many(way: Way) -> None:
    """The message is langchain-core's."""
    with pytest.raises(ValueError, match="got 1 configs for 2 inputs"):
        batch(way, one_node(shout), [trail(1), trail(2)], [{}])


def test_exceptions_are_raised_or_take_the_place_of_outputs(way: Way) -> None:
    """The others end first, and their outputs are there on request."""
    graph = one_node(shout)
    with pytest.raises(ValueError, match="bad"):
        batch(way, graph, [trail(1), trail("bad"), trail(3)])
    first, second, third = batch(way, graph, [trail(1), trail("bad"), trail(3)], return_exceptions=True)
    assert (first, third) == (trail(1, None), trail(3, None))
    assert isinstance(second, ValueError)


def test_options_are_those_of_invoke(way: Way) -> None:
    """Output keys and stream modes go to every run."""
    graph = one_node(shout)
    assert batch(way, graph, [trail(1)] * 2, output_keys="trail") == [[1, None]] * 2
    assert batch(way, graph, [trail(1)], stream_mode="updates") == [[{"n": trail(None)}]]


def test_runs_are_made_at_once() -> None:
    """Each run waits here until the other has begun."""
    both = threading.Barrier(2)
    graph = one_node(lambda _: {"trail": [both.wait(20) >= 0]})
    assert graph.batch([trail(), trail()]) == [trail(True), trail(True)]


def test_no_more_runs_at_once_than_max_concurrency(way: Way) -> None:
    """The limit of the first config is that of the batch."""
    running: list[int] = []
    most: list[int] = []

    async def acount(state: State) -> dict[str, Any]:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.005)
        running.pop()
        return {}

    def count(state: State) -> dict[str, Any]:
        running.append(1)
        most.append(len(running))
        running.pop()
        return {}

    graph = one_node(count if way.name == "sync" else acount)
    batch(way, graph, [trail()] * 5, {"max_concurrency": 1})
    assert most == [1] * 5


def test_pairs_come_as_runs_end() -> None:
    """What ends first comes first, with the number of its input."""
    second_ended = threading.Event()

    def wait_turn(state: State) -> dict[str, Any]:
        if state["trail"] == [0]:
            second_ended.wait(20)
        return {}

    pairs = one_node(wait_turn).batch_as_completed([trail(0), trail(1)])
    assert next(pairs) == (1, trail(1))
    second_ended.set()
    assert list(pairs) == [(0, trail(0))]


async def test_pairs_come_as_runs_end_on_an_event_loop() -> None:
    """The same, for coroutines."""
    second_ended = asyncio.Event()

    async def wait_turn(state: State) -> dict[str, Any]:
        if state["trail"] == [0]:
            await second_ended.wait()
        return {}

    pairs = one_node(wait_turn).abatch_as_completed([trail(0), trail(1)])
    assert await anext(pairs) == (1, trail(1))
    second_ended.set()
    assert [pair async for pair in pairs] == [(0, trail(0))]


def test_pairs_hold_exceptions_on_request(way: Way) -> None:
    """Otherwise the exception is raised when its run ends."""
    graph = one_node(shout)
    pairs = dict(as_completed(way, graph, [trail(1), trail("bad")], return_exceptions=True))
    assert pairs[0] == trail(1, None)
    assert isinstance(pairs[1], ValueError)
    with pytest.raises(ValueError, match="bad"):
        as_completed(way, graph, [trail("bad")])


def test_each_run_has_its_thread(way: Way, log: Log) -> None:
    """With a log, each config names a thread, and each thread can be looked at afterwards."""
    graph = one_node(shout, log)
    configs = [{"configurable": {"thread_id": f"t{number}"}} for number in range(4)]
    batch(way, graph, [trail(number) for number in range(4)], configs)
    assert [graph.get_state(config).values for config in configs] == [
        trail(number, None) for number in range(4)
    ]


def test_two_runs_of_one_thread_do_not_mix() -> None:
    """One of them is refused, or waits (CC-1)."""
    both = threading.Barrier(2)
    calls = iter(range(9))

    def meet(state: State) -> dict[str, Any]:
        if next(calls) == 0:
            both.wait(20)
        return {"trail": ["ran"]}

    graph = one_node(meet, MemoryLog())
    config = {"configurable": {"thread_id": "t"}}
    ended = threading.Thread(target=lambda: both.wait(20))
    pairs = graph.batch_as_completed([trail(), trail()], config, return_exceptions=True)
    _, refused = next(pairs)
    assert isinstance(refused, ThreadBusy)
    ended.start()
    assert next(pairs)[1] == trail("ran")
    assert graph.batch([trail(), trail()], config, if_busy="wait")[-1]["trail"].count("ran") >= 2


def test_an_id_names_one_run(way: Way) -> None:
    """``run_id`` goes to the first run; the others get ids of their own."""
    seen: list[Any] = []

    def note(state: State, runtime: Any) -> dict[str, Any]:
        seen.append(runtime.execution_info.run_id)
        return {}

    batch(way, one_node(note), [trail()] * 3, {"run_id": "mine", "max_concurrency": 1})
    assert seen[0] == "mine"
    assert len(set(seen)) == 3


def test_a_batch_within_a_node_is_found_again(way: Way, log: Log) -> None:
    """Its runs are subgraphs of the task, each in its place, whichever began first: those that ended stay ended."""
    calls: list[Any] = []

    def work(state: State) -> dict[str, Any]:
        calls.append(state["trail"][0])
        if state["trail"] == [1] and calls.count(1) == 1:
            raise RuntimeError("the first time")
        return {"trail": [f"done {state['trail'][0]}"]}

    inner = StateGraph(State).add_node("work", work).add_edge(START, "work").compile()

    def outer(state: State) -> dict[str, Any]:
        outputs = inner.batch([trail(number) for number in range(4)])
        return {"trail": [output["trail"][1] for output in outputs]}

    async def aouter(state: State) -> dict[str, Any]:
        outputs = await inner.abatch([trail(number) for number in range(4)])
        return {"trail": [output["trail"][1] for output in outputs]}

    graph = one_node(outer if way.name == "sync" else aouter, log)
    config = {"configurable": {"thread_id": "t"}}
    with pytest.raises(RuntimeError, match="the first time"):
        way.invoke(graph, trail("in"), config)
    ended = way.invoke(graph, None, config)
    assert ended == trail("in", "done 0", "done 1", "done 2", "done 3")
    assert sorted(calls) == [0, 1, 1, 2, 3]


@pytest.mark.parametrize("kept", [None, False])
def test_questions_of_a_batch_within_a_node_reach_the_caller(way: Way, log: Log, kept: Any) -> None:
    """Each run asks in its own name, and each answer goes where it belongs."""

    def ask(state: State) -> dict[str, Any]:
        return {"trail": [interrupt(f"{state['trail'][0]}?")]}

    inner = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(kept)

    def outer(state: State) -> dict[str, Any]:
        return {"trail": [output["trail"] for output in inner.batch([trail("a"), trail("b")])]}

    async def aouter(state: State) -> dict[str, Any]:
        return {"trail": [output["trail"] for output in await inner.abatch([trail("a"), trail("b")])]}

    graph = one_node(outer if way.name == "sync" else aouter, log)
    config = {"configurable": {"thread_id": "t"}}
    result = way.invoke(graph, trail(), config)
    while asked := result.get("__interrupt__"):
        result = way.invoke(graph, Command(resume={one.id: one.value.upper() for one in asked}), config)
    assert result == trail(["a", "A?"], ["b", "B?"])


def transform(way: Way, graph: Any, parts: list[Any], *args: Any, **options: Any) -> list[Any]:
    """Run ``transform`` or its twin to its end."""

    async def collect() -> list[Any]:
        async def given() -> AsyncIterator[Any]:
            for part in parts:
                yield part

        return [chunk async for chunk in graph.atransform(given(), *args, **options)]

    if way.name == "sync":
        return list(graph.transform(iter(parts), *args, **options))
    return asyncio.run(collect())


def test_the_parts_of_an_input_are_added_up_and_run_once(way: Way) -> None:
    """What comes out is what ``stream`` yields for their sum (§1.9)."""
    graph = StateGraph(list).add_node("n", lambda given: [*given, "n"]).add_edge(START, "n").compile()
    assert transform(way, graph, [["a"], ["b"], ["c"]]) == [{"n": ["a", "b", "c", "n"]}]
    options = {"stream_mode": "values", "subgraphs": True}
    assert transform(way, graph, [["a"]], None, **options) == [((), ["a"]), ((), ["a", "n"])]


def test_of_parts_that_cannot_be_added_the_last_one_counts(way: Way) -> None:
    """Dicts cannot (§1.9)."""
    graph = one_node(shout)
    config = {"metadata": {"note": "noted"}}
    assert transform(way, graph, [trail(1), trail(2)], config, stream_mode="values") == [
        trail(2),
        trail(2, "noted"),
    ]


def test_an_input_without_parts_runs_nothing(way: Way, log: Log) -> None:
    """Nor does it leave a trace; a part that is None resumes (§1.9, R-1)."""
    config = {"configurable": {"thread_id": "t"}}
    graph = one_node(shout, log)
    assert transform(way, graph, [], config) == []
    assert log.head("t") is None
    way.invoke(graph, trail(), config, interrupt_before=["n"])
    assert transform(way, graph, [None], config) == [{"n": trail(None)}]


def test_a_transform_that_is_left_gives_the_thread_back(log: Log) -> None:
    """As a stream that is left does (CC-1)."""
    config = {"configurable": {"thread_id": "t"}}
    graph = one_node(shout, log)

    async def leave() -> None:
        async def given() -> AsyncIterator[Any]:
            yield trail()

        chunks = graph.atransform(given(), config, stream_mode="values")
        await anext(chunks)
        await chunks.aclose()

    asyncio.run(leave())
    assert graph.invoke(None, config) == trail(None)
