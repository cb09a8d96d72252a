"""What running code is given by name, and what it finds through functions."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from helpers import THREAD, Trail, chain
from pydantic import BaseModel

from walgraph import (
    START,
    ExecutionInfo,
    OutsideOfRun,
    RetryPolicy,
    RunControl,
    Runtime,
    Send,
    StateGraph,
    entrypoint,
    get_config,
    get_runtime,
    get_store,
    get_stream_writer,
    idempotency_key,
    task,
)

KINDS = ["node", "entrypoint", "task", "router", "send"]


@dataclass
class Context:
    """What a run is about, as a dataclass."""

    user: str = "nobody"


class Model(BaseModel):
    """The same as a model."""

    user: str


def run_in(way, log, kind, look, **options):
    """Run a function as a node, an entrypoint, a task, a router, or a node that a Send reaches."""

    def plain(state):
        return {"trail": ["plain"]}

    call = options.pop("call", {})
    if kind == "node":
        graph = chain(way.node(look)).compile(log, **options)
    elif kind == "router":

        def route(state, *, config, runtime, store, writer, previous):
            look(state, config=config, runtime=runtime, store=store, writer=writer, previous=previous)
            return "plain"

        builder = chain(way.node(plain)).add_node("other", plain).add_edge("plain", "other")
        builder.add_node("first", plain).add_edge(START, "first")
        builder.add_conditional_edges("first", way.node(route), ["plain"])
        graph = builder.compile(log, **options)
    elif kind == "send":
        builder = StateGraph(Trail).add_node("look", way.node(look))
        builder.add_conditional_edges(START, lambda _: [Send("look", {})], ["look"])
        graph = builder.compile(log, **options)
    else:
        called = task(way.node(look))

        @way.flow
        def workflow(x):
            return (yield called(x))

        graph = entrypoint(log, **options)(workflow if kind == "task" else way.node(look))
    return way.invoke(graph, {"trail": []}, **call)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_code_is_given_what_it_names(way, log, kind) -> None:
    """config, runtime, store, writer and previous come by name, whatever runs."""
    seen: dict[str, Any] = {}

    def look(state, *, config, runtime, store, writer, previous):
        seen.update(config=config, runtime=runtime, store=store, writer=writer, previous=previous)
        seen["functions"] = (get_config()["configurable"], get_runtime().context, get_store())

    run_in(way, log, kind, look, store="a store", call={"context": "a context"})
    assert seen["config"]["configurable"]["thread_id"] == "t"
    assert seen["runtime"].context == "a context"
    assert seen["runtime"].store == seen["store"] == "a store"
    assert seen["runtime"].execution_info.thread_id == "t"
    assert callable(seen["writer"])
    assert seen["previous"] is None
    assert seen["functions"] == (seen["config"]["configurable"], "a context", "a store")


@pytest.mark.parametrize("kind", ["config", "runtime", "store", "writer", "previous"])
def test_one_alone_can_be_asked_for(way, maybe_log, kind) -> None:
    """By a positional or a keyword-only parameter."""
    seen: list[Any] = []

    def one(state, config=None):
        seen.append(config)

    def two(state, *, runtime):
        seen.append(runtime)

    graph = chain(way.node(one), way.node(two)).compile(maybe_log)
    way.invoke(graph, {"trail": []})
    assert seen[0]["metadata"]["langgraph_node"] == "one"
    assert seen[1].execution_info.node_attempt == 1


def test_a_parameter_of_another_name_is_not_injected(way) -> None:
    """Defaults of one's own stay as they are."""
    seen: list[Any] = []

    def node(state, limit=5, *, other="own"):
        seen.extend([limit, other])

    way.invoke(chain(way.node(node)).compile(), {"trail": []})
    assert seen == [5, "own"]


def test_a_node_may_take_nothing_but_what_is_injected(way) -> None:
    """A keyword-only parameter is enough."""
    seen: list[Any] = []

    def node(*, runtime):
        seen.append(runtime.context)

    way.invoke(chain(way.node(node)).compile(), {"trail": []}, context=1)
    assert seen == [1]


def test_the_config_says_where_it_is(way, log) -> None:
    """Step, node, path and namespace are in its metadata, what the caller gave is there as well."""
    seen: list[dict[str, Any]] = []

    def one(state, config):
        seen.append(config)

    def two(state, config):
        seen.append(config)

    config = {
        "configurable": {"thread_id": "t", "own": 1},
        "metadata": {"about": "this"},
        "tags": ["tag"],
        "recursion_limit": 9,
    }
    way.invoke(chain(way.node(one), way.node(two)).compile(log), {"trail": []}, config)
    assert [held["metadata"]["langgraph_step"] for held in seen] == [1, 2]
    assert [held["metadata"]["langgraph_node"] for held in seen] == ["one", "two"]
    for held in seen:
        assert held["configurable"]["own"] == 1
        assert held["metadata"]["about"] == "this"
        assert (held["tags"], held["recursion_limit"]) == (["tag"], 9)
    assert config["metadata"] == {"about": "this"}, "the caller's config is left alone"


def test_the_config_reaches_nodes_inside_of_subgraphs(way, log) -> None:
    """With the namespace of the task that looks at it."""
    seen: list[dict[str, Any]] = []

    def inside(state, config):
        seen.append(config)

    inner = chain(way.node(inside)).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log)
    way.invoke(graph, {"trail": []}, {"configurable": {"thread_id": "t", "own": 1}})
    assert seen[0]["configurable"]["own"] == 1
    parts = seen[0]["configurable"]["checkpoint_ns"].split("|")
    assert [part.partition(":")[0] for part in parts] == ["sub", "inside"]


def test_the_runtime_counts_attempts(way, maybe_log) -> None:
    """Ids stay the same from attempt to attempt, so they can serve as idempotency keys."""
    seen: list[Any] = []

    def node(state, *, runtime):
        seen.append((runtime.execution_info.node_attempt, runtime.execution_info.task_id, idempotency_key()))
        if len(seen) < 3:
            raise ValueError

    policy = RetryPolicy(0, 1, 0, 3, jitter=False, retry_on=ValueError)
    graph = StateGraph(Trail).add_node("node", way.node(node), retry_policy=policy).add_edge(START, "node")
    way.invoke(graph.compile(maybe_log), {"trail": []})
    assert [attempt for attempt, _, _ in seen] == [1, 2, 3]
    assert len({(held[1], held[2]) for held in seen}) == 1


def test_an_idempotency_key_outlives_a_failed_run(way, log) -> None:
    """The resume of the same task has the same key, its neighbour another."""
    keys: list[str] = []

    @task
    @way.node
    def pay():
        keys.append(idempotency_key())
        if len(keys) == 1:
            raise ConnectionError

    @entrypoint(log)
    @way.flow
    def workflow(x):
        yield pay()
        yield pay()

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0)
    way.invoke(workflow, None)
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("schema", [Context, Model])
def test_a_context_is_made_from_a_dict_by_its_schema(way, maybe_log, schema) -> None:
    """A dataclass or a model; what already is one is taken as it is (LC-2)."""
    seen: list[Any] = []

    def node(state, *, runtime):
        seen.append(runtime.context)

    builder = (
        StateGraph(Trail, context_schema=schema).add_node("node", way.node(node)).add_edge(START, "node")
    )
    graph = builder.compile(maybe_log)
    way.invoke(graph, {"trail": []}, context={"user": "Ada"})
    way.invoke(graph, {"trail": []}, context=schema(user="Bob"))
    assert seen == [schema(user="Ada"), schema(user="Bob")]


def test_a_context_is_not_recorded(way, log) -> None:
    """Every resume has to bring it again (LC-2); it may be anything, a client for instance."""
    seen: list[Any] = []

    def node(state, *, runtime):
        seen.append(runtime.context)
        if len(seen) == 1:
            raise ConnectionError

    graph = chain(way.node(node)).compile(log)
    with pytest.raises(ConnectionError):
        way.invoke(graph, {"trail": []}, context=print)
    way.invoke(graph, None)
    assert seen == [print, None]


OUTSIDE = [get_config, get_runtime, get_store, get_stream_writer, idempotency_key]


@pytest.mark.parametrize("function", OUTSIDE, ids=lambda function: function.__name__)
def test_outside_of_a_run_there_is_nothing_to_find(function) -> None:
    """A RuntimeError that names the function, as LangGraph's users expect."""
    with pytest.raises(
        OutsideOfRun, match=f"Called {function.__name__} outside of a runnable context"
    ) as caught:
        function()
    assert isinstance(caught.value, RuntimeError)


def test_a_thread_of_ones_own_is_outside_unless_it_is_given_the_context(way) -> None:
    """Threads that user code starts know nothing of the run by themselves."""
    seen: list[Any] = []

    def node(state):
        def look():
            try:
                seen.append(get_config())
            except OutsideOfRun:
                seen.append("outside")

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    way.invoke(chain(way.node(node)).compile(), {"trail": []})
    assert seen == ["outside"]


def test_after_a_run_its_caller_is_outside_again(way, maybe_log) -> None:
    """Nothing of the run's context is left behind."""
    graph = chain(way.node(lambda_node)).compile(maybe_log)
    way.invoke(graph, {"trail": []})
    with pytest.raises(OutsideOfRun):
        get_config()


def lambda_node(state):
    """A node that does nothing."""


def test_previous_reaches_the_tasks_of_an_entrypoint(way, log) -> None:
    """By name, in the function and in the tasks that it calls."""

    @task
    @way.node
    def look(*, previous=0):
        return previous

    @entrypoint(log)
    @way.flow
    def workflow(x, *, previous=0):
        return entrypoint.final(value=[previous, (yield look())], save=x)

    assert [way.invoke(workflow, 1), way.invoke(workflow, 2)] == [[None, None], [1, 1]]


def test_a_task_may_be_given_by_hand_what_would_be_injected(way) -> None:
    """An argument of the caller wins."""

    @task
    @way.node
    def look(x, *, store=None):
        return store

    @entrypoint(store="the store")
    @way.flow
    def workflow(x):
        return [(yield look(x)), (yield look(x, store="another"))]

    assert way.invoke(workflow, 1, THREAD) == ["the store", "another"]


def test_a_runtime_can_be_changed_for_what_it_calls() -> None:
    """A copy is changed; where two are merged the second says what it has to say."""
    info = ExecutionInfo(checkpoint_id="c", checkpoint_ns="n", task_id="t")
    control = RunControl()
    shown: list[object] = []
    runtime = Runtime(
        context="mine", store="s", stream_writer=shown.append, execution_info=info, control=control
    )
    merged = runtime.merge(Runtime(context="theirs"))
    assert (merged.context, merged.store, merged.stream_writer) == ("theirs", "s", shown.append)
    assert runtime.override(context="new").context == "new"
    assert runtime.patch_execution_info(node_attempt=3).execution_info == info.patch(node_attempt=3)
    assert (runtime.context, info.node_attempt) == ("mine", 1)
    with pytest.raises(RuntimeError, match="Cannot patch execution_info before it has been set"):
        Runtime().patch_execution_info(node_attempt=3)
    assert (runtime.drain_requested, runtime.drain_reason) == (False, None)
    control.request_drain("the host goes down")
    assert (runtime.drain_requested, runtime.drain_reason) == (True, "the host goes down")
    assert (Runtime().drain_requested, Runtime().drain_reason) == (False, None)
