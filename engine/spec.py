"""What a drawing holds: nodes and conditional edges as they were added, before anything is compiled.

    add_node, add_conditional_edges ──► NodeSpec, BranchSpec ──► compile ──► Node, Branch (``node``)

It must not check what needs the whole graph, nor compile.
"""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any

from .control import Command
from .node import Callee
from .policy import NO_POLICIES, Policies


class NodeSpec(typing.NamedTuple):
    """A node as it was added.

    ``error_handler`` names the node that runs in its place when it has failed; ``is_error_handler`` says that it is
    such a node itself. ``destinations`` is what the user said about where it may go, ``ends`` what its return
    annotation ``Command[Literal[...]]`` says: both are for drawings only.
    """

    callee: Callee
    schema: Any
    policies: Policies = NO_POLICIES
    defer: bool = False
    metadata: dict[str, Any] | None = None
    error_handler: str | None = None
    is_error_handler: bool = False
    destinations: dict[str, str] | tuple[str, ...] | None = None
    ends: tuple[str, ...] = ()


class BranchSpec(typing.NamedTuple):
    """A conditional edge as it was added."""

    path: Any
    ends: dict[Any, str] | None
    schema: Any


def annotated_input(function: Any) -> Any:
    """Return the schema that a function's first parameter is annotated with, if it has fields."""
    hints = _hints(function)
    if hints is None:
        return None
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    if not parameters:
        return None
    hint = hints.get(parameters[0])
    return hint if isinstance(hint, type) and getattr(hint, "__annotations__", None) else None


def annotated_ends(function: Any) -> tuple[str, ...]:
    """Return the nodes that a function's return annotation names: ``Command[Literal["a", "b"]]``, also in a union."""
    returned = (_hints(function) or {}).get("return")
    is_union = typing.get_origin(returned) in {typing.Union, types.UnionType}
    for kind in typing.get_args(returned) if is_union else (returned,):
        if typing.get_origin(kind) is Command:
            for argument in typing.get_args(kind):
                if typing.get_origin(argument) is typing.Literal:
                    return typing.get_args(argument)
    return ()


def annotated_answers(function: Any) -> tuple[Any, ...]:
    """Return the answers that a router's return annotation lists: those of ``Literal["a", "b"]``."""
    returned = (_hints(function) or {}).get("return")
    return typing.get_args(returned) if typing.get_origin(returned) is typing.Literal else ()


def _hints(function: Any) -> dict[str, Any] | None:
    """Return a callable's annotations, resolved; None where it has none of its own or they cannot be resolved."""
    target = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004 - its annotations
    if target is None or hasattr(function, "invoke"):
        return None
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError):
        # An annotation that cannot be resolved says nothing; the node then reads the whole state.
        return None
