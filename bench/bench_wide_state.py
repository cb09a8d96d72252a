"""What does a wide state of large lists cost, by the kind of its schema? LangGraph's ``wide_state`` and its siblings.

Fifteen fields, lists, dicts and texts, of which nodes double some and bump others; two nodes run beside each other and
meet again, and all of it goes round until there are 600 messages. The state is a dataclass (``wide_state``), a
``TypedDict`` (``wide_dict``) or a pydantic model with a validator on each field (``pydantic_state``).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, TypedDict

from libraries import Library, config, walgraph

MESSAGES = 600
LEAVES = 15
ROUNDS = 3
LISTS = ("messages", "trigger_events", "primary_issue_medium", "autoresponse", "issue", "relevant_rules")
DICTS = ("memory_docs", "categorizations", "responses", "user_info", "crm_info", "email_thread_id")
TEXTS = ("slack_participants", "bot_id", "notified_assignees")
Kind = Literal["dataclass", "dict", "pydantic"]


def last(_: Any, new: Any) -> Any:
    """Keep what was written last."""
    return new


REDUCED: dict[str, Any] = {
    **dict.fromkeys(LISTS, Annotated[list, operator.add]),
    **dict.fromkeys(DICTS, Annotated[dict, operator.or_]),
    **dict.fromkeys(TEXTS, Annotated[str, last]),
}
DEFAULTS = {**dict.fromkeys(LISTS, list), **dict.fromkeys(DICTS, dict), **dict.fromkeys(TEXTS, str)}


def schema(kind: Kind) -> type:
    """Return the state's class."""
    if kind == "dict":
        return TypedDict("Wide", REDUCED)  # type: ignore[operator, no-any-return]  # made here
    if kind == "dataclass":
        fields = {name: field(default_factory=default) for name, default in DEFAULTS.items()}
        return dataclass(kw_only=True)(type("Wide", (), {"__annotations__": REDUCED, **fields}))
    from pydantic import Field, create_model, field_validator

    def checked(_: Any, value: Any) -> Any:
        assert value is not None
        return value

    given = {name: (REDUCED[name], Field(default_factory=default)) for name, default in DEFAULTS.items()}
    validators = {f"check_{name}": field_validator(name)(classmethod(checked)) for name in REDUCED}
    made: type = create_model("Wide", __validators__=validators, **given)  # type: ignore[call-overload]
    return made


def of(state: Any, name: str) -> Any:
    """Return a field of a state, whatever its class."""
    return state.get(name) if isinstance(state, dict) else getattr(state, name)


def one(state: Any) -> dict[str, Any]:
    """Double the messages."""
    return {"messages": list(of(state, "messages"))[:200] or ["m"] * 25}


def two(state: Any) -> dict[str, Any]:
    """Note what triggered it."""
    return {"trigger_events": ["event"] * 10, "memory_docs": {"two": ["doc"] * 25}}


def three(state: Any) -> dict[str, Any]:
    """Write one side."""
    return {"autoresponse": ["a" * 10] * 5, "categorizations": {"three": 3}, "bot_id": "three"}


def four(state: Any) -> dict[str, Any]:
    """Write the other side."""
    return {"relevant_rules": ["rule"] * 5, "responses": {"four": ["r"] * 25}}


def five(state: Any) -> dict[str, Any]:
    """Go on where both met."""
    return {"user_info": {"five": len(of(state, "messages"))}, "slack_participants": "five"}


def six(state: Any) -> dict[str, Any]:
    """End a round."""
    return {"crm_info": {"six": 6}, "notified_assignees": "six"}


NODES = {"one": one, "two": two, "three": three, "four": four, "five": five, "six": six}


def given() -> dict[str, Any]:
    """Return the input: a nested dict of lists, and 25 messages."""
    nested = {f"k{outer}": {f"j{inner}": ["v" * 20] * 25 for inner in range(5)} for outer in range(LEAVES)}
    return {"messages": ["m" * 20] * 25, "memory_docs": nested, "email_thread_id": {"id": "t" * 100}}


def steps() -> int:
    """Return how many tasks a run has, as the bare loop counts them."""
    return bare()


def bare() -> int:
    """Call the same functions in a loop."""
    state: dict[str, Any] = {name: default() for name, default in DEFAULTS.items()} | given()
    reducers: dict[str, Any] = {
        **dict.fromkeys(LISTS, operator.add),
        **dict.fromkeys(DICTS, operator.or_),
        **dict.fromkeys(TEXTS, last),
    }
    ran = 0
    while True:
        for node in NODES.values():
            for name, value in node(state).items():
                state[name] = reducers[name](state[name], value)
            ran += 1
        if len(state["messages"]) > MESSAGES:
            return ran


def run(library: Library, mode: str | None, saver: Any, *, kind: Kind) -> Any:
    """Return a call that runs the graph."""
    start, end = library.graph.START, library.graph.END
    builder = library.graph.StateGraph(schema(kind))
    for name, node in NODES.items():
        builder.add_node(name, node)
    builder.add_edge(start, "one").add_edge("one", "two").add_edge("two", "three").add_edge("two", "four")
    builder.add_edge(["three", "four"], "five").add_edge("five", "six")
    builder.add_conditional_edges(
        "six", lambda state: end if len(of(state, "messages")) > MESSAGES else "one", ["one", end]
    )
    graph = builder.compile(checkpointer=saver)

    def call() -> None:
        assert len(of(graph.invoke(given(), config(), durability=mode), "messages")) > MESSAGES

    return call


def test_wide_state(race: Any, table: Any, tools: Any) -> None:
    """Run the graph over each kind of state, under ``exit`` as LangGraph does, and under ``sync``."""
    kinds: tuple[Kind, ...] = ("dataclass", "dict", "pydantic")
    library = walgraph()
    results = race(
        {
            "bare loop": tools.bare(bare),
            **{
                f"{mode}, {kind}": tools.logged(partial(run, library, mode, kind=kind))
                for mode in ("exit", "sync")
                for kind in kinds
            },
        },
        ROUNDS,
        steps(),
    )
    for name, measured in results.items():
        if name != "bare loop":
            table.row("wide state of 15 fields", name, measured, ("bare loop", results["bare loop"]))
