"""The programs of the porting guide, with either library, and all that they show, as plain data.

    loaded("two_approvals", "langgraph") ──► the program as a module, its imports rewritten
    Recorder(graph, ...)                     stands in for the graph, and writes down what each call shows

Ids are numbered in the order in which they appear, so which of them are equal is compared too. Times are left out.

Invariants:
1. A program is the same text for both libraries but for its import lines and the line that opens the log.
2. Events of one task stay in their order; tasks of one superstep may come in any order, so they are sorted.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

PROGRAMS = Path(__file__).resolve().parent.parent.parent / "examples" / "ported"
MODES = ["values", "updates", "custom", "tasks", "checkpoints", "debug", "messages"]
IMPORTS = {
    "END": "langgraph.graph",
    "START": "langgraph.graph",
    "StateGraph": "langgraph.graph",
    "MessagesState": "langgraph.graph",
    "Command": "langgraph.types",
    "Send": "langgraph.types",
    "interrupt": "langgraph.types",
    "get_stream_writer": "langgraph.config",
}
"""Where LangGraph has the names that the programs import from walgraph."""
IMPORT = re.compile(r"^from walgraph import (.+)$", re.MULTILINE)
OPENING = re.compile(r"Log\.open\(.+\)(?= as log:$)", re.MULTILINE)
SAVER = (
    "from contextlib import nullcontext\nfrom langgraph.checkpoint.memory import InMemorySaver",
    "nullcontext(InMemorySaver())",
)
"""What takes the place of the log: an import, and what opens it."""
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b|\b\d{20}\b")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def source(program: str, library: str) -> str:
    """Return a program's text, written for a library."""
    text = (PROGRAMS / f"{program}.py").read_text("utf-8")
    if library == "walgraph":
        return text

    def imports(found: re.Match[str]) -> str:
        names = [name for name in found[1].split(", ") if name != "Log"]
        return "\n".join([*(f"from {IMPORTS[name]} import {name}" for name in names), SAVER[0]])

    return OPENING.sub(SAVER[1], IMPORT.sub(imports, text))


def loaded(program: str, library: str, *, name: str | None = None) -> ModuleType:
    """Run a program's text as a module.

    Args:
        program: Its name.
        library: For which library.
        name: What it finds in ``__name__``.
    """
    module = ModuleType(name or f"{library}_{program}")
    # Annotations that are texts are looked up where the module is listed.
    sys.modules[module.__name__] = module
    exec(compile(source(program, library), f"{library}/{program}.py", "exec"), module.__dict__)
    return module


class Call(NamedTuple):
    """What one call showed, and the thread after it."""

    returned: Any
    chunks: list[Any]
    state: Any
    history: list[Any]


class Recorder:
    """Stands in for a graph: does what it is asked to, and writes down all that can be seen of it.

    Args:
        graph: The graph.
        asynchronous: Whether the asynchronous methods are called.
        streamed: Whether runs are streamed in all modes, and not just invoked.
        durability: What runs are recorded with; by default what the program says.
    """

    def __init__(
        self, graph: Any, *, asynchronous: bool = False, streamed: bool = False, durability: str | None = None
    ) -> None:
        self.graph = graph
        self.asynchronous = asynchronous
        self.streamed = streamed
        self.durability = durability
        self.calls: list[Call] = []

    def get_state(self, config: Any) -> Any:
        """Look at the thread."""
        if self.asynchronous:
            return asyncio.run(self.graph.aget_state(config))
        return self.graph.get_state(config)

    def invoke(self, given: Any, config: Any, **options: Any) -> None:
        """Run the graph."""
        if self.durability is not None:
            options["durability"] = self.durability
        chunks: list[Any] = []
        returned = None
        if not self.streamed:
            if self.asynchronous:
                returned = asyncio.run(self.graph.ainvoke(given, config, **options))
            else:
                returned = self.graph.invoke(given, config, **options)
        else:
            options |= {"stream_mode": MODES, "subgraphs": True}
            if self.asynchronous:

                async def collect() -> list[Any]:
                    return [chunk async for chunk in self.graph.astream(given, config, **options)]

                chunks = asyncio.run(collect())
            else:
                chunks = list(self.graph.stream(given, config, **options))
        if type(self.graph).__module__.startswith("langgraph") and isinstance(returned, dict):
            returned = in_the_steps_order(returned, self.get_state(config))
        plain = Plain()
        self.calls.append(
            Call(
                plain.value(returned),
                [plain.value(chunk) for chunk in in_one_order(chunks)],
                plain.value(self.graph.get_state(config, subgraphs=True)),
                self.history(config, plain),
            )
        )

    def history(self, config: Any, plain: Plain) -> list[Any]:
        """Return the thread's checkpoints."""
        if not self.asynchronous:
            return [plain.value(snapshot) for snapshot in self.graph.get_state_history(config)]

        async def collect() -> list[Any]:
            return [snapshot async for snapshot in self.graph.aget_state_history(config)]

        return [plain.value(snapshot) for snapshot in asyncio.run(collect())]


def in_the_steps_order(returned: dict[str, Any], state: Any) -> dict[str, Any]:
    """Sort the questions that LangGraph returns as the tasks of their step are: it returns them as threads came to ask.

    With us the order is that of the step, whoever asks first; so ours are compared as they are.
    """
    tasks = sorted(state.tasks, key=lambda task: (task.path[0] == "__pregel_push", task.path[1]))
    places = {asked.id: place for place, task in enumerate(tasks) for asked in task.interrupts}
    asked = returned.get("__interrupt__")
    if asked is None:
        return returned
    return {**returned, "__interrupt__": sorted(asked, key=lambda item: places[item.id])}


def in_one_order(chunks: list[Any]) -> list[Any]:
    """Sort what tasks of one superstep show by what it says; what a single task shows keeps its order."""
    ordered: list[Any] = []
    step: list[Any] = []
    for chunk in chunks:
        is_between = chunk[1] == "checkpoints" or (chunk[1] == "values" and "__interrupt__" not in chunk[2])
        if is_between and not chunk[0]:
            ordered += [*_by_origin(step), chunk]
            step = []
        else:
            step.append(chunk)
    return ordered + _by_origin(step)


def _by_origin(chunks: list[Any]) -> list[Any]:
    tasks = {_task(chunk) for chunk in chunks} - {None}
    if len(tasks) < 2:
        return chunks
    parts: dict[Any, list[Any]] = {}
    for number, chunk in enumerate(chunks):
        # A namespace is one task's; what the root shows of several tasks, without saying of which, is apart.
        task = _task(chunk) or chunk[0] or number
        parts.setdefault((chunk[0], chunk[1], task), []).append(chunk)

    def content(part: list[Any]) -> str:
        return json.dumps(Plain(is_blind=True).value(part), sort_keys=True, default=repr)

    ordered = sorted(parts.values(), key=content)
    return [chunk for part in ordered for chunk in part]


def _task(chunk: Any) -> str | None:
    """Return the id of the task that a chunk is about, if it says so."""
    _, mode, payload = chunk
    if mode == "debug":
        payload = payload["payload"]
    return payload.get("id") if mode in {"debug", "tasks"} else None


class Plain:
    """Makes plain data of what the libraries show.

    Args:
        is_blind: Whether all ids are taken for equal; by default they are numbered as they appear.
    """

    def __init__(self, *, is_blind: bool = False) -> None:
        self.is_blind = is_blind
        self.ids: dict[str, str] = {}

    def value(self, value: Any) -> Any:
        """Return a value as plain data."""
        match value:
            case str() if TIME.match(value):
                return "<time>"
            case str():
                return ID.sub(self._number, value)
            case Mapping():
                return {self.value(key): self.value(value[key]) for key in sorted(value)}
            case tuple() if hasattr(value, "_fields"):
                return {"class": type(value).__name__} | self.value(value._asdict())
            case list() | tuple():
                return type(value)(self.value(item) for item in value)
            case _ if hasattr(value, "model_dump"):
                return {"class": type(value).__name__} | self.value(value.model_dump())
            case _ if type(value).__name__ in {"Interrupt", "Send"}:
                shown = {
                    name: getattr(value, name)
                    for name in ("id", "value", "node", "arg")
                    if hasattr(value, name)
                }
                return {"class": type(value).__name__} | self.value(shown)
        return value

    def _number(self, found: re.Match[str]) -> str:
        return "#" if self.is_blind else self.ids.setdefault(found[0], f"#{len(self.ids) + 1}")
