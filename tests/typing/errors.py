"""Type-checked with ``mypy --strict``, never run: mistakes of users, each of which a type checker must find.

Every mistake carries an ignore with its code. One that is not found is an unused ignore, which is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from walgraph import (
    START,
    Command,
    CompiledGraph,
    CompiledStateGraph,
    MemoryLog,
    Runtime,
    StateGraph,
    entrypoint,
    get_runtime,
    task,
)


class State(TypedDict):
    """A state of users."""

    left: int


class Other(TypedDict):
    """What is not the state."""

    right: str


@dataclass
class Context:
    """A context of users."""

    user: str


def step(state: State) -> State:
    """Return a state."""
    return {"left": state["left"] - 1}


def steering(state: State) -> Command[Literal["step"]]:
    """Go somewhere else than announced."""
    return Command[Literal["step"]](goto="step")


def reading(state: State, runtime: Runtime[Context]) -> State:
    """Ask the context for what it has not."""
    print(runtime.context.nobody)  # type: ignore[attr-defined]
    print(get_runtime(Context).context.nobody)  # type: ignore[attr-defined]
    state["right"]  # type: ignore[typeddict-item]
    return state


builder = StateGraph(State, Context)
builder.add_node(3)  # type: ignore[arg-type]
builder.add_node("step", "step")  # type: ignore[arg-type]
builder.add_node("step", step, defer="yes")  # type: ignore[arg-type]
builder.add_node("step", step, input_schema=Other)  # type: ignore[arg-type]
builder.add_node(step, retries=3)  # type: ignore[call-arg]
builder.add_edge(START, step)  # type: ignore[arg-type]
builder.add_edge(["step", 3], "step")  # type: ignore[list-item]
builder.add_sequence([step, 3])  # type: ignore[list-item]
builder.compile("log.wal")  # type: ignore[arg-type]
builder.compile(durability="never")  # type: ignore[arg-type]

graph = builder.compile(MemoryLog())
graph.invoke({"right": "x"})  # type: ignore[call-overload]
graph.invoke(3)  # type: ignore[call-overload]
graph.invoke({"left": 1}, context="ada")  # type: ignore[call-overload]
graph.stream({"left": "one"})  # type: ignore[arg-type]
graph.invoke({"left": 1}, durability="never")  # type: ignore[call-overload]
graph.invoke({"left": 1}, if_busy="push")  # type: ignore[call-overload]
graph.batch(3)  # type: ignore[arg-type]
graph.get_graph().draw_mermaid(colour="red")  # type: ignore[call-arg]

narrow = StateGraph(State, input_schema=Other).compile()
narrow.invoke({"left": 1})  # type: ignore[call-overload]
wrong: CompiledGraph[Other] = graph  # type: ignore[assignment]
wrong_too: CompiledStateGraph[State, Context, Other, State] = graph  # type: ignore[assignment]


@task
def double(number: int) -> int:
    """Return twice as much."""
    return number * 2


@task(name="triple")
async def triple(number: int) -> int:
    """Return three times as much."""
    return number * 3


@entrypoint(MemoryLog(), context_schema=Context)
def flow(number: int) -> str:
    """Call tasks as they cannot be called."""
    double("two")  # type: ignore[arg-type]
    triple(number, 3)  # type: ignore[call-arg]
    text: str = double(number).result()  # type: ignore[assignment]
    other: str = triple(number).result()  # type: ignore[assignment]
    return text + other


flow.invoke("three")  # type: ignore[call-overload]
flow.invoke(3, context={"user": "ada"})  # type: ignore[call-overload]
entrypoint.final(value=1)  # type: ignore[call-arg]
