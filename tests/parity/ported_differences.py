"""What the programs of the porting guide show otherwise on purpose: each difference is a function with its reason.

Each takes the calls of a program as both libraries show them, and returns them evened out.

Invariants:
1. What is evened out is no more than what the function's docstring says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.porting import Call

Calls = list[Call]


def changed(change: Callable[[Any], Any], value: Any) -> Any:
    """Change every dict within plain data."""
    match value:
        case Call():
            return Call(*(changed(change, item) for item in value))
        case dict():
            return change({key: changed(change, item) for key, item in value.items()})
        case list() | tuple():
            return type(value)(changed(change, item) for item in value)
    return value


def waiting_tasks_do_not_run_again(theirs: Calls, ours: Calls) -> tuple[Calls, Calls]:
    """I-6: LangGraph runs a task again that waits for another answer, and it ends with its question once more."""

    def results(call: Call) -> set[str]:
        return {chunk[2]["name"] for chunk in call.chunks if chunk[1] == "tasks" and "result" in chunk[2]}

    def evened(their: Call, our: Call) -> Call:
        again = results(their) - results(our)

        def is_again(chunk: Any) -> bool:
            payload = chunk[2].get("payload", chunk[2])
            return payload.get("name") in again and bool(payload.get("interrupts"))

        chunks = [
            chunk for chunk in their.chunks if chunk[1] not in {"tasks", "debug"} or not is_again(chunk)
        ]
        return their._replace(chunks=chunks)

    return [evened(*pair) for pair in zip(theirs, ours, strict=True)], ours


def joins_are_named_in_order(theirs: Calls, ours: Calls) -> tuple[Calls, Calls]:
    """P-5: the order in which a join's members are listed means nothing, and so its trigger does not show it."""

    def name(trigger: str) -> str:
        kind, _, rest = trigger.partition(":")
        members, _, end = rest.partition(":")
        return f"join:{'+'.join(sorted(members.split('+')))}:{end}" if kind == "join" else trigger

    def change(found: dict[str, Any]) -> dict[str, Any]:
        return {
            key: tuple(map(name, item)) if key.endswith("triggers") and isinstance(item, tuple) else item
            for key, item in found.items()
        }

    return changed(change, theirs), ours


def tuples_stay_tuples(theirs: Calls, ours: Calls) -> tuple[Calls, Calls]:
    """A tuple that LangGraph stored comes back as a list; with us values keep their type."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        return {
            key: [list(score) for score in item] if key == "scores" and isinstance(item, list) else item
            for key, item in found.items()
        }

    def evened(calls: Calls) -> Calls:
        return [
            call._replace(state=changed(change, call.state), history=changed(change, call.history))
            for call in calls
        ]

    assert all(isinstance(score, tuple) for call in ours for score in call.state["values"].get("scores", ()))
    return evened(theirs), evened(ours)


def nothing_is_said_to_tracers(theirs: Calls, ours: Calls) -> tuple[Calls, Calls]:
    """The metadata of LangGraph's messages say to a tracing service who made them; there is no tracing here."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        return {key: item for key, item in found.items() if (key, item) != ("ls_integration", "langgraph")}

    return changed(change, theirs), ours


def messages_have_their_ids_at_once(theirs: Calls, ours: Calls) -> tuple[Calls, Calls]:
    """A message gets its id before it is recorded; a task's result in LangGraph's history may show none."""

    def evened(their: Any, our: Any) -> Any:
        match their, our:
            case dict(), dict():
                return {
                    key: our["id"]
                    if key == "id" and item is None and "content" in our
                    else evened(item, our.get(key))
                    for key, item in their.items()
                }
            case (list(), list()) | (tuple(), tuple()) if len(their) == len(our):
                return type(their)(evened(*pair) for pair in zip(their, our, strict=True))
        return their

    return [
        their._replace(history=evened(their.history, our.history))
        for their, our in zip(theirs, ours, strict=True)
    ], ours


DIFFERENCES: tuple[Callable[[Calls, Calls], tuple[Calls, Calls]], ...] = (
    waiting_tasks_do_not_run_again,
    joins_are_named_in_order,
    tuples_stay_tuples,
    nothing_is_said_to_tracers,
    messages_have_their_ids_at_once,
)
