"""What is said about retries, caches and time when a graph is drawn: what is taken, what is refused, and what wins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import pytest
from helpers import Trail, Way, leaves

from walgraph import (
    START,
    CachePolicy,
    Command,
    InvalidGraph,
    NotSerializable,
    RetryPolicy,
    StateGraph,
    TimeoutPolicy,
    entrypoint,
    task,
)
from walgraph.engine.policy import default_cache_key


async def waits(state: Any) -> Any:
    """Be a node that can be stopped."""


@pytest.mark.parametrize(
    ("given", "run", "idle"),
    [
        (2, 2.0, None),
        (timedelta(minutes=1), 60.0, None),
        (TimeoutPolicy(run_timeout=3, idle_timeout=timedelta(seconds=1)), 3.0, 1.0),
        (TimeoutPolicy(idle_timeout=0.5), None, 0.5),
    ],
)
def test_a_time_out_is_seconds_or_a_timedelta(given: Any, run: float | None, idle: float | None) -> None:
    """A bare time is a run_timeout; all times become floats."""
    policy = TimeoutPolicy.coerce(given)
    assert policy is not None
    assert (policy.run_timeout, policy.idle_timeout, policy.refresh_on) == (run, idle, "auto")


@pytest.mark.parametrize("given", [None, TimeoutPolicy()])
def test_no_time_is_no_time_out(given: Any) -> None:
    """A policy that limits nothing is none."""
    assert TimeoutPolicy.coerce(given) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, "run_timeout must be greater than 0"),
        (-1.5, "run_timeout must be greater than 0"),
        (float("nan"), "run_timeout must be greater than 0"),
        (TimeoutPolicy(idle_timeout=timedelta()), "idle_timeout must be greater than 0"),
        (TimeoutPolicy(run_timeout=1, refresh_on="never"), "refresh_on must be 'auto' or 'heartbeat'"),  # type: ignore[arg-type]
    ],
)
def test_a_time_out_that_makes_no_sense_is_refused(given: Any, message: str) -> None:
    """Wherever a time-out may be given, it is looked at then, and not when it would have been too late (§3.1)."""
    for refused in (
        lambda: StateGraph(Trail).add_node("a", waits, timeout=given),
        lambda: StateGraph(Trail).set_node_defaults(timeout=given),
        lambda: task(timeout=given),
        lambda: entrypoint(timeout=given),
    ):
        with pytest.raises(ValueError) as raised:
            refused()
        assert raised.value.args[0] == message


SYNC = (
    "Node timeouts are only supported for async nodes because sync Python execution cannot be safely cancelled "
    "in-process. {} is sync."
)


def test_what_is_synchronous_cannot_have_a_time_out() -> None:
    """A thread cannot be stopped, so nobody is promised that it will be (TO-1)."""
    builder = StateGraph(Trail).add_node("c", leaves("c"), timeout=1).add_edge(START, "c")
    with pytest.raises(InvalidGraph) as raised:
        builder.compile()
    assert raised.value.args[0] == SYNC.format("Node 'c'")
    with pytest.raises(InvalidGraph) as raised:
        task(timeout=1)(leaves("d"))
    assert raised.value.args[0] == SYNC.format("Task 'd'")
    with pytest.raises(InvalidGraph) as raised:
        entrypoint(timeout=1)(leaves("e"))
    assert raised.value.args[0] == SYNC.format("Node 'e'")


def test_a_default_time_out_is_refused_for_a_synchronous_node() -> None:
    """The default holds for every node, so every node must be able to have it (TO-1)."""
    builder = StateGraph(Trail).set_node_defaults(timeout=1)
    builder.add_node("waits", waits).add_node("c", leaves("c")).add_edge(START, "waits")
    with pytest.raises(InvalidGraph, match="Node 'c' is sync"):
        builder.compile()


def test_what_a_node_was_told_wins_over_the_defaults() -> None:
    """Defaults fill in what a node was not told, each kind by itself."""
    often, never = RetryPolicy(max_attempts=9), CachePolicy(ttl=1)
    builder = StateGraph(Trail).set_node_defaults(retry_policy=often, cache_policy=CachePolicy(), timeout=5)
    builder.add_node("told", waits, retry_policy=[], cache_policy=never, timeout=1)
    builder.add_node("untold", waits).add_edge(START, "told")
    nodes = builder.compile().nodes
    told, untold = nodes["told"], nodes["untold"]
    assert (told.retry, told.cache_policy, told.timeout) == ((), never, TimeoutPolicy(run_timeout=1.0))
    assert (untold.retry, untold.cache_policy) == ((often,), CachePolicy())
    assert untold.timeout == TimeoutPolicy(run_timeout=5.0)


def test_defaults_add_up_and_hold_for_nodes_added_before() -> None:
    """They are applied when the graph is compiled, so the order of the calls does not matter."""
    often = RetryPolicy(max_attempts=9)
    builder = StateGraph(Trail).add_node("a", waits).add_edge(START, "a")
    node = builder.set_node_defaults(retry_policy=often).set_node_defaults(timeout=5).compile().nodes["a"]
    assert (node.retry, node.timeout) == ((often,), TimeoutPolicy(run_timeout=5.0))
    assert builder.nodes["a"].policies.retry is None


def test_destinations_are_kept_for_drawings() -> None:
    """What the user said, and what the return annotation says."""

    def steers(state: Trail) -> Command[Literal["b", "c"]]:
        return Command(goto="b")

    def perhaps(state: Trail) -> dict[str, Any] | Command[Literal["b"]]:
        return {}

    builder = StateGraph(Trail).add_node(steers).add_node(perhaps)
    builder.add_node("d", leaves("d"), destinations={"b": "if so"}).add_node(
        "e", leaves("e"), destinations=("b",)
    )
    assert builder.nodes["steers"].ends == ("b", "c")
    assert builder.nodes["perhaps"].ends == ("b",)
    assert builder.nodes["d"].destinations == {"b": "if so"}
    assert builder.nodes["e"].destinations == ("b",)
    assert builder.nodes["d"].ends == ()


def test_the_default_cache_key_tells_calls_apart_by_their_arguments() -> None:
    """Equal arguments, equal key, in whatever order the named ones come; no pickle is made of them."""
    assert default_cache_key({"a": 1}, x=1, y=2) == default_cache_key({"a": 1}, y=2, x=1)
    assert default_cache_key(1) != default_cache_key("1")
    with pytest.raises(NotSerializable):
        default_cache_key(object())


def test_an_entrypoints_policy_holds_for_its_tasks(way: Way) -> None:
    """A task that was told nothing is retried as its entrypoint is; one that was told is not (§1.3)."""
    tried: list[str] = []

    def fails(name: str, **told: Any) -> Any:
        @task(name=name, **told)
        @way.node
        def called() -> None:
            tried.append(name)
            raise ConnectionError(name)

        return called

    untold, told = fails("untold"), fails("told", retry_policy=[])

    @entrypoint(retry_policy=RetryPolicy(0, 1, 0, 3, jitter=False, retry_on=ConnectionError))
    @way.flow
    def flow(given: Any) -> Any:
        for function in (untold, told):
            with pytest.raises(ConnectionError):
                yield function()

    way.invoke(flow, 1)
    assert tried == ["untold"] * 3 + ["told"]
