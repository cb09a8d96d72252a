"""Killed before and after every commit while questions are asked and answered: each time it comes to the same end.

The world is the simulation's (``simulation.by_hand``), so its laws are looked at after every effect: nothing that is
recorded runs again, and no answered question is asked again.
"""

from __future__ import annotations

from typing import Any

import pytest
from helpers import THREAD, Trail, leaves
from pydantic import ValidationError
from simulation.by_hand import Killed, World
from simulation.doomed import Doomed

from walgraph import (
    START,
    Command,
    LogFailed,
    Send,
    StateGraph,
    entrypoint,
    idempotency_key,
    interrupt,
    is_invalid_resume,
    task,
)

MANY = 200
"""More commits than any of these takes."""


def carried_on(graph: Any, mode: str, *, answers: dict[str, list[Any]]) -> dict[str, Any]:
    """Call the graph as a user does, until nothing is left: one question at a time, the next answer for each."""
    while True:
        state = graph.get_state(THREAD)
        given: Any = None
        if state.created_at is None:
            given = {}
        elif state.interrupts:
            asked = state.interrupts[0]
            left = answers[asked.value]
            given = Command(resume={asked.id: left[0] if len(left) == 1 else left.pop(0)})
        elif not state.next:
            return {"values": state.values}
        try:
            graph.invoke(given, THREAD, durability=mode)
        except ValidationError as error:
            if not is_invalid_resume(error):
                raise


def lived(make: Any, mode: str, answers: dict[str, list[Any]], fatal: int = 0) -> tuple[Any, World]:
    """Return what a graph comes to in a world with this fate."""
    world = Doomed(fatal)
    left = {key: list(values) for key, values in answers.items()}
    while True:
        with world.life() as log:
            try:
                return carried_on(make(world, log), mode, answers=left), world
            except (Killed, LogFailed):
                continue


def said(world: World, name: str) -> None:
    """Let user code act on the world, so that the laws see that it runs."""
    world.did(idempotency_key(), name)


def asking(world: World, name: str, **options: Any) -> Any:
    """Return a node that asks its name."""

    def node(state: Any) -> Any:
        said(world, name)
        return {"trail": [interrupt(name, **options)]}

    node.__name__ = name
    return node


def tasks_in_parallel(world: World, log: Any) -> Any:
    """Two tasks ask at once, and are answered one by one; a third has finished."""

    @task
    def ask(what: str) -> Any:
        said(world, what)
        return interrupt(what)

    @task
    def done() -> str:
        said(world, "done")
        return "done"

    @entrypoint(log)
    def flow(given: Any) -> Any:
        said(world, "flow")
        futures = [done(), ask("a"), ask("b")]
        return [future.result() for future in futures]

    return flow


def a_subgraph(checkpointer: Any, kind: str) -> Any:
    """Return what makes a graph whose subgraph asks twice, with a step in between."""

    def make(world: World, log: Any) -> Any:
        inner = StateGraph(Trail).add_sequence([asking(world, "a"), leaves("between"), asking(world, "b")])
        compiled = inner.add_edge(START, "a").compile(checkpointer)

        def call(state: Any) -> Any:
            return {"trail": compiled.invoke({})["trail"]}

        called = task(call)

        def in_task(state: Any) -> Any:
            return called(state).result()

        node = {"node": compiled, "function": call, "task": in_task}[kind]
        return StateGraph(Trail).add_node("sub", node).add_edge(START, "sub").compile(log)

    return make


def subgraphs_in_parallel(world: World, log: Any) -> Any:
    """Three Sends to one subgraph, each of which asks, and a node beside them."""

    def ask(state: Any) -> Any:
        said(world, f"ask {state['x']}")
        return {"trail": [interrupt(state["x"])]}

    inner = StateGraph(Trail).add_node("ask", ask).add_edge(START, "ask").compile()

    def sub(state: Any) -> Any:
        return {"trail": inner.invoke(state)["trail"]}

    builder = StateGraph(Trail).add_node("sub", sub).add_node("beside", leaves("beside"))
    sends = [Send("sub", {"x": x}) for x in ("a", "b", "c")]
    return builder.add_conditional_edges(START, lambda _: [*sends, "beside"], ["sub", "beside"]).compile(log)


def a_command_for_the_parent(world: World, log: Any) -> Any:
    """A subgraph steers its parent, after it asked; beside the command another node asks."""

    def steer(state: Any) -> Any:
        said(world, "steer")
        return Command(graph=Command.PARENT, update={"trail": ["steered"]}, goto="there")

    inner = (
        StateGraph(Trail)
        .add_node("a", asking(world, "a"))
        .add_node("steer", steer)
        .add_node("b", asking(world, "b"))
    )
    inner.add_edge(START, "a").add_edge("a", "steer").add_edge("a", "b")
    builder = StateGraph(Trail).add_node("sub", inner.compile()).add_node("there", leaves("there"))
    return builder.add_edge(START, "sub").compile(log)


def answers_that_do_not_fit(world: World, log: Any) -> Any:
    """Questions that want a number, in a node, in a subgraph and in a task; each is answered wrongly first."""

    @task
    def ask() -> Any:
        said(world, "task")
        return interrupt("c", response_schema=int)

    def call(state: Any) -> Any:
        said(world, "call")
        return {"trail": [ask().result()]}

    inner = (
        StateGraph(Trail)
        .add_node("b", asking(world, "b", response_schema=int))
        .add_edge(START, "b")
        .compile()
    )

    def sub(state: Any) -> Any:
        return {"trail": inner.invoke({})["trail"]}

    builder = StateGraph(Trail).add_node("a", asking(world, "a", response_schema=int))
    builder.add_node("sub", sub).add_node("call", call)
    return builder.add_edge(START, "a").add_edge(START, "sub").add_edge("a", "call").compile(log)


STORIES: dict[str, tuple[Any, dict[str, list[Any]], Any]] = {
    "tasks": (tasks_in_parallel, {"a": [1], "b": [None]}, ["done", 1, None]),
    "sends": (
        subgraphs_in_parallel,
        {"a": [1], "b": [2], "c": [3]},
        {"trail": ["beside", 1, 2, 3]},
    ),
    "parent": (a_command_for_the_parent, {"a": [1], "b": [2]}, {"trail": ["steered", "there"]}),
    "schema": (
        answers_that_do_not_fit,
        {"a": ["x", 1], "b": ["x", 2], "c": ["x", 3]},
        {"trail": [1, 2, 3]},
    ),
    **{
        f"{kind} {checkpointer}": (
            a_subgraph(checkpointer, kind),
            {"a": [1], "b": [2]},
            {"trail": [1, "between", 2]},
        )
        for kind in ("node", "function", "task")
        for checkpointer in (None, True)
    },
}


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
@pytest.mark.parametrize("name", STORIES)
def test_a_kill_around_any_commit_changes_nothing(name, mode) -> None:
    """I-1, I-12, I-13, G-3, SG: whenever the process dies, the next one asks what is open and ends the same."""
    make, answers, expected = STORIES[name]
    end, world = lived(make, mode, answers)
    assert end == {"values": expected}
    moments = world.moments
    assert 2 <= moments < MANY
    for fatal in range(1, moments + 1):
        end, world = lived(make, mode, answers, fatal)
        assert end == {"values": expected}, f"killed at moment {fatal} of {moments}"
        assert world.moments >= fatal


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
@pytest.mark.parametrize("kind", ["node", "function", "task"])
def test_a_subgraph_that_keeps_nothing_survives_kills_too(kind, mode) -> None:
    """§2.11: it begins again from its input, as often as it must, and its questions are the same each time.

    The laws are not looked at: nothing of it is recorded, so its nodes run again.
    """
    make = a_subgraph(False, kind)
    answers: dict[str, list[Any]] = {"a": [1], "b": [2]}

    def lived_unjudged(fatal: int) -> tuple[Any, World]:
        world = Doomed(fatal)
        world.laws.judging = False
        while True:
            with world.life() as log:
                try:
                    return carried_on(make(world, log), mode, answers=answers), world
                except (Killed, LogFailed):
                    continue

    end, world = lived_unjudged(0)
    assert end == {"values": {"trail": [1, "between", 2]}}
    for fatal in range(1, world.moments + 1):
        assert lived_unjudged(fatal)[0] == end
