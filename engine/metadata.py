"""What is known about a task besides its input: where it stands, and what the user noted.

    config["metadata"], node's metadata ──┐
    step, name, path, triggers, namespace ─┴─► metadata of the task's config, of its messages, and of callbacks
    scalars of metadata and configurable ────► metadata of checkpoints

The names ``langgraph_…`` are LangGraph's, so that handlers and dashboards that read them go on working.

It must not read state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wal.record import HANDLER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..replay.state import GraphState
    from ..wal.record import Path
    from .program import Program

CALLED = ("__pregel_push",)
"""What triggers a ``Send``'s task and a call of a ``@task``: its caller, and no edge."""
OURS = frozenset(
    (
        "thread_id",
        "checkpoint_id",
        "checkpoint_ns",
        "checkpoint_map",
        "langgraph_step",
        "langgraph_node",
        "langgraph_triggers",
        "langgraph_path",
        "langgraph_checkpoint_ns",
    )
)
"""The keys of metadata that the engine puts there."""


SCALARS = (str, int, float, bool)
"""What checkpoints show of a config."""


def public_path(path: Path) -> tuple[Any, ...]:
    """Return a path as users see it: a tuple that says how the task came about."""
    head = path[0]
    shown: tuple[Any, ...] = (
        ("__pregel_push", head, False) if isinstance(head, int) else ("__pregel_pull", head)
    )
    for number in path[1:]:
        handles = number == HANDLER
        shown = (*shown, "node_error_handler", False) if handles else ("__pregel_push", shown, number, True)
    return shown


def triggers_of(program: Program, path: Path) -> tuple[str, ...]:
    """Return what makes the task at a path run, in LangGraph's words: an edge, a join, or its caller."""
    head = path[0]
    return program.triggers(head) if isinstance(head, str) and len(path) == 1 else CALLED


def place_of(program: Program, path: Path, name: str, step: int, namespace: str) -> dict[str, Any]:
    """Return where a task stands, as metadata.

    Args:
        program: The graph.
        path: The task's path.
        name: The node's or the task function's name.
        step: The superstep.
        namespace: The task's own namespace.
    """
    return {
        "langgraph_step": step,
        "langgraph_node": name,
        "langgraph_triggers": triggers_of(program, path),
        "langgraph_path": public_path(path),
        "langgraph_checkpoint_ns": namespace,
    }


def noted(program: Program, config: dict[str, Any], path: Path, name: str) -> dict[str, Any]:
    """Return what the user noted about a call and about the node that it runs, without what the engine put there."""
    given = {key: value for key, value in (config.get("metadata") or {}).items() if key not in OURS}
    node = program.nodes.get(name) if len(path) == 1 or path[-1] == HANDLER else None
    return {**given, **node.metadata} if node is not None and node.metadata else given


def tags_of(config: dict[str, Any]) -> list[str]:
    """Return the tags that the user gave a call; those that langchain numbers its sequences with are none."""
    return [tag for tag in config.get("tags") or () if not tag.startswith("seq:step")]


def checkpoint_metadata(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's checkpoints show of its config: scalars, without what the engine put there (K-5)."""
    kept: dict[str, Any] = {}
    for part in (config.get("metadata", {}), config.get("configurable", {})):
        for key, value in part.items():
            if isinstance(value, SCALARS) and not key.startswith("__") and key not in OURS:
                kept.setdefault(key, value.replace("\0", "") if isinstance(value, str) else value)
    return kept


def new_notes(config: Mapping[str, Any], graph: GraphState | None) -> dict[str, Any] | None:
    """Return what the config of a call that goes on with a thread notes and its checkpoints do not show yet."""
    shown = {} if graph is None else graph.noted
    given = checkpoint_metadata(config)
    return {key: value for key, value in given.items() if shown.get(key) != value} or None
