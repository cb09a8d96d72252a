"""Which compiled graph runs in a namespace: what readings, edits and branches must know of subgraphs.

    node: a compiled graph                found in the program
    node: a function that calls one       found where this process saw the call, or in its code (``discover``)
    anything else                         not found; its records are kept, and nobody can say what they mean

Invariants:
1. Nothing is called and nothing is imported to find a graph.

It must not read logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.identity import LEVEL_SEPARATOR, TASK_SEPARATOR, lasting_scope

if TYPE_CHECKING:
    from ..replay.blueprint import Blueprint
    from ..replay.fold import Blueprints
    from .node import Node
    from .program import Program
    from .settings import Compiled


def find_program(program: Program, scope: str) -> Program | None:
    """Return the program that runs in a namespace below a graph's, or None if it cannot be known here."""
    return _found(program, None, _names(scope))


def sure_program(program: Program, scope: str) -> Program | None:
    """Return the program that runs in a namespace; None also if a function around it may call one of several graphs."""
    return _found(program, None, _names(scope), sure=True)


def _names(scope: str) -> list[str]:
    parts = [part for part in scope.split(LEVEL_SEPARATOR) if not part.isdigit()] if scope else []
    return [part.partition(TASK_SEPARATOR)[0] for part in parts]


def _found(program: Program, around: Any, names: list[str], *, sure: bool = False) -> Program | None:
    """Return the program behind the names, from a graph down, or from a function that one of its tasks runs."""
    if not names:
        return program if around is None else None
    name, *rest = names
    node = program.nodes.get(name) if around is None else None
    if (inner := _subgraph(program, name, around, sure=sure)) is not None and (
        found := _found(inner.program, None, rest, sure=sure)
    ) is not None:
        return found
    # A part may stand for a function that calls a @task, which runs the graph.
    function = _function(node, name, around)
    return None if function is None else _found(program, function, rest, sure=sure)


def _subgraph(program: Program, name: str, around: Any, *, sure: bool = False) -> Compiled | None:
    """Return the graph that a node, or a @task that the function ``around`` calls, runs; if ``sure``, the only one."""
    node = program.nodes.get(name) if around is None else None
    if node is not None and (parts := getattr(node.subgraph, "parts", None)) is not None:
        return parts  # type: ignore[no-any-return]  # looked up
    found: list[Compiled] = []
    if name in program.called:
        # Put there by a session.
        found.append(program.called[name])
    if (sure or not found) and (function := _function(node, name, around)) is not None:
        from .discover import graphs_in

        found += (graph.parts for graph in graphs_in(function))
    if sure and any(graph.program is not found[0].program for graph in found):
        return None
    return found[0] if found else None


def _function(node: Node | None, name: str, around: Any) -> Any:
    """Return the function of a node, or of the @task of that name that the function ``around`` refers to."""
    if node is not None:
        return None if node.callee is None else node.callee.function
    from .discover import referred

    tasks = (part for part in referred(around) if _is_task(part) and part.name == name)
    return next((part.callee.function for part in tasks), None)


def program_at(program: Program, scope: str) -> Program:
    """Return the program that runs in a namespace.

    Raises:
        ValueError: No graph that could be found runs there.
    """
    found = find_program(program, scope)
    if found is None:
        names = (part.partition(TASK_SEPARATOR)[0] for part in scope.split(LEVEL_SEPARATOR))
        message = f"Subgraph {LEVEL_SEPARATOR.join(names)} not found"
        raise ValueError(message)
    return found


def blueprints_of(program: Program) -> Blueprints:
    """Return scope → the blueprint of its graph, as far as it can be known here; each is looked for once."""
    found: dict[str, Blueprint | None] = {}

    def blueprint(scope: str) -> Blueprint | None:
        if scope not in found:
            inner = find_program(program, scope)
            found[scope] = None if inner is None else inner.blueprint
        return found[scope]

    return blueprint


def lasting(program: Program, scope: str) -> str:
    """Return the namespace in which a graph's records lie: a persistent one's has no task id, whoever asks for it.

    Nor have those around it, in its namespace, since it outlives them.
    """
    parts: list[str] = []
    for part in scope.split(LEVEL_SEPARATOR) if scope else ():
        name = part.partition(TASK_SEPARATOR)[0]
        inner = subgraph_of(program, name)
        parts.append(part)
        if inner is not None and inner.settings.log is True:
            parts = [lasting_scope(LEVEL_SEPARATOR.join(parts))]
        program = program if inner is None else inner.program
    return LEVEL_SEPARATOR.join(parts)


def subgraph_of(program: Program, name: str) -> Compiled | None:
    """Return the graph that a node runs, itself or in its function."""
    return _subgraph(program, name, None)


def _is_task(thing: Any) -> bool:
    return hasattr(thing, "callee") and hasattr(thing, "policies")
