"""What the libraries show, as plain data: without ids and times, and in one order.

    plain(library, value)        any value
    ordered(library, chunks)     a stream: what tasks and checkpoints are made of is told apart by names

Ids differ from library to library, so they are blotted out; that they fit together is seen in ``porting``.

Invariants:
1. What ends at the same time may end in any order: what is shown within a superstep is sorted.
2. Nothing that is shown is left out, but for ids and times.
3. What is equal has equal text: dicts are sorted by key.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from parity.building import plain as fields_of

CODE = re.compile(r"WAL-E\d+: ")
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b|\b\d{20}\b")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*")


class Task(NamedTuple):
    """A task of a checkpoint."""

    name: str
    error: str | None = None
    interrupts: tuple[Any, ...] = ()
    result: Any = None
    state: Any = None


class Snapshot(NamedTuple):
    """A checkpoint; ``about`` is what else a stream shows of it."""

    values: Any
    next: tuple[str, ...]
    source: str | None
    step: int | None
    tasks: tuple[Task, ...]
    interrupts: tuple[Any, ...]
    parent: int | None
    about: Any = None


class Started(NamedTuple):
    """A task, as a stream shows that it begins."""

    name: str
    input: Any
    triggers: tuple[str, ...]
    about: Any


class Ended(NamedTuple):
    """A task, as a stream shows that it has ended."""

    name: str
    error: str | None
    result: Any
    interrupts: tuple[Any, ...]


class Chunk(NamedTuple):
    """One part of a stream; of a ``debug`` part, ``shown`` is the payload within, and ``about`` the rest."""

    namespace: tuple[str, ...]
    mode: str
    shown: Any
    about: Any = None


def plain(library: Any, value: Any) -> Any:
    """Return a value as plain data, without ids that are drawn."""

    def deep(item: Any) -> Any:
        return plain(library, item)

    match value:
        case dict():
            return {
                deep(key): in_any_order(deep(item)) if key == "__interrupt__" else deep(item)
                for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))
            }
        case tuple() if hasattr(value, "_fields"):
            return (type(value).__name__, *(deep(item) for item in value))
        case list() | tuple():
            return type(value)(deep(item) for item in value)
        case str():
            return TIME.sub("<time>", ID.sub("#", value))
        case BaseException():
            return first_line(repr(value))
        case _ if type(value).__name__ == "Interrupt":
            return ("Interrupt", deep(value.value))
        case _ if type(value).__name__ == "State":
            return ("State", deep(fields_of(value)))
        case _ if hasattr(value, "model_dump"):
            return (type(value).__name__, deep(value.model_dump()))
        case _ if isinstance(value, library.Overwrite):
            return ("Overwrite", deep(value.value))
        case _ if isinstance(value, library.Send):
            return ("Send", value.node, deep(value.arg))
    return value


def snapshot(library: Any, found: Any, places: dict[str, int] | None = None) -> Snapshot:
    """Return a checkpoint as plain data.

    Args:
        library: Whose it is.
        found: The checkpoint.
        places: Which number each checkpoint has, by its id.
    """
    parent = found.parent_config and found.parent_config["configurable"]["checkpoint_id"]

    def task(each: Any) -> Task:
        state = each.state
        if state is not None:
            is_snapshot = hasattr(state, "values") and hasattr(state, "next")
            state = snapshot(library, state) if is_snapshot else "config"
        return Task(
            each.name,
            None if each.error is None else first_line(each.error),
            in_any_order(tuple(plain(library, item) for item in each.interrupts)),
            plain(library, each.result),
            state,
        )

    return Snapshot(
        plain(library, found.values),
        tuple(found.next),
        (found.metadata or {}).get("source"),
        (found.metadata or {}).get("step"),
        tuple(task(each) for each in found.tasks),
        in_any_order(tuple(plain(library, asked) for asked in found.interrupts)),
        None if parent is None or places is None else places.get(parent, -1),
    )


def ordered(library: Any, chunks: list[Any]) -> tuple[Chunk, ...]:
    """Return a stream as plain data, what may come in any order sorted."""
    found: list[Chunk] = []
    pending: list[Chunk] = []
    for chunk in chunks:
        *where, mode, payload = chunk
        shown = _chunk(library, tuple(where[0]) if where else (), mode, payload)
        asks = isinstance(payload, dict) and "__interrupt__" in payload
        if mode == "values" and not shown.namespace and not asks:
            found.extend(sorted(pending, key=_place))
            pending.clear()
            found.append(shown)
        else:
            pending.append(shown)
    return (*found, *sorted(pending, key=_place))


def _chunk(library: Any, namespace: tuple[str, ...], mode: str, payload: Any) -> Chunk:
    names = tuple(ID.sub("id", part) for part in namespace)
    if mode == "debug":
        kind = {"checkpoint": "checkpoints"}.get(payload["type"], "tasks")
        about = {key: plain(library, item) for key, item in payload.items() if key != "payload"}
        return Chunk(names, mode, _shown(library, kind, payload["payload"]), about)
    return Chunk(names, mode, _shown(library, mode, payload))


def _shown(library: Any, mode: str, payload: Any) -> Any:
    """Return what one part of a stream says; what has no place in the tuple of its kind is in ``about``."""
    given = plain(library, payload)
    if mode == "checkpoints":
        metadata = dict(given.pop("metadata"))
        tasks = tuple(_task(task) for task in given.pop("tasks"))
        return Snapshot(
            given.pop("values"),
            tuple(given.pop("next")),
            metadata.pop("source"),
            metadata.pop("step"),
            tasks,
            (),
            None,
            (given, metadata),
        )
    if mode == "tasks" and "triggers" in given:
        return Started(given.pop("name"), given.pop("input"), _triggers(given.pop("triggers")), given)
    if mode == "tasks":
        error = given.pop("error")
        return Ended(
            given.pop("name"),
            error and first_line(error),
            given.pop("result"),
            _asked(given.pop("interrupts")),
        )
    return given


def _task(given: dict[str, Any]) -> Task:
    given.pop("id")
    error = given.pop("error", None)
    asked = _asked(given.pop("interrupts", ()))
    return Task(
        given.pop("name"),
        error and first_line(error),
        asked,
        *map(given.pop, ("result", "state"), (None,) * 2),
    )


def _triggers(given: Any) -> tuple[str, ...]:
    """Return what began a task; the order in which a join's members are listed means nothing (P-5)."""
    return tuple(
        ":".join(["join", "+".join(sorted(each.split(":")[1].split("+"))), each.split(":")[2]])
        if each.startswith("join:")
        else each
        for each in given
    )


def _asked(given: Any) -> tuple[Any, ...]:
    """Return questions that a stream shows as dicts as they are shown elsewhere."""
    return in_any_order(
        tuple(("Interrupt", item["value"]) if isinstance(item, dict) else item for item in given)
    )


def _place(chunk: Chunk) -> tuple[str, ...]:
    """Return by what a part of a stream is sorted: what names it comes first."""
    shown = chunk.shown
    name = str(getattr(shown, "name", getattr(shown, "step", "")))
    return repr(chunk.namespace), chunk.mode, type(shown).__name__, name, repr(shown), repr(chunk.about)


def in_any_order(items: Any) -> Any:
    """Sort what means the same in any order."""
    return type(items)(sorted(items, key=repr))


def first_line(error: Any) -> str:
    """Return what an error says first, without the code that ours begin with."""
    return re.split(r"\\n|\n", CODE.sub("", str(error)))[0].rstrip("'\")")
