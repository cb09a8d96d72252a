"""Words of the tests of streams: chunks in which ids are names, so that they can be compared with literals.

What LangGraph 1.2.22 streams of the same graphs was recorded with the same words; the literals are its answers.
"""

from __future__ import annotations

import re
from typing import Any

from walgraph import Interrupt

ID = re.compile(
    r"(?P<task>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?P<question>[0-9a-f]{32})|(?P<checkpoint>\d{20})"
)


class Names:
    """Gives ids names, in the order in which they are met: ``task 1``, ``checkpoint 1``, ``question 1``."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def of(self, value: Any) -> Any:
        """Return a value with names for ids, and texts for exceptions."""
        match value:
            case str():
                return ID.sub(self._name, value)
            case Interrupt():
                return f"Interrupt({value.value!r})"
            case dict():
                return {self.of(key): self.of(item) for key, item in value.items()}
            case list():
                return [self.of(item) for item in value]
            case tuple():
                return tuple(self.of(item) for item in value)
            case BaseException():
                return repr(value)
        return value

    def _name(self, match: re.Match[str]) -> str:
        kind = str(match.lastgroup)
        count = sum(name.startswith(kind) for name in self.known.values())
        return self.known.setdefault(match[0], f"{kind} {count + 1}")


def address(number: int) -> dict[str, Any]:
    """Return the config of the checkpoint that was met as the given one."""
    return {
        "configurable": {
            "thread_id": "t",
            "checkpoint_ns": "",
            "checkpoint_id": f"checkpoint {number}",
        }
    }


def checkpoint(number: int, parent: int | None, values: Any, step: int, *tasks: dict[str, Any]) -> Any:
    """Return the payload of a checkpoint, whose tasks are those that are next."""
    return {
        "config": address(number),
        "parent_config": None if parent is None else address(parent),
        "values": values,
        "metadata": {"source": "loop", "step": step, "parents": {}},
        "next": [task["name"] for task in tasks],
        "tasks": list(tasks),
    }


def first(number: int, values: Any, *tasks: dict[str, Any]) -> Any:
    """Return the payload of the checkpoint of an input."""
    made = checkpoint(number, None, values, -1, *tasks)
    return {**made, "metadata": {"source": "input", "step": -1, "parents": {}}}


def due(number: int, name: str, **more: Any) -> dict[str, Any]:
    """Return a task as checkpoints show it."""
    return {"id": f"task {number}", "name": name, "interrupts": (), "state": None, **more}


def started(number: int, name: str, given: Any, *triggers: str, **more: Any) -> dict[str, Any]:
    """Return the payload of a task that starts."""
    edges = triggers or (f"branch:to:{name}",)
    return {"id": f"task {number}", "name": name, "input": given, "triggers": edges, **more}


def ended(number: int, name: str, result: Any, error: str | None = None, asked: tuple[Any, ...] = ()) -> Any:
    """Return the payload of a task that has ended."""
    interrupts = [
        {"value": value, "id": f"question {place}", "response_schema": None}
        for place, value in enumerate(asked, 1)
    ]
    return {"id": f"task {number}", "name": name, "error": error, "result": result, "interrupts": interrupts}
