"""What a function's code refers to, read without running it: graphs that it may call, nodes that it may name.

    def node(state):              graphs_in(node)   ──► [research]
        return research.invoke(state)

    def router(state):            names_in(router)  ──► {"again", "__end__"}
        return "again" if state["left"] else END

Code is looked through for constants and for the names that it loads; those are looked up in the function's closure and
globals, as attributes of modules found there, and as attributes of the object that a method is bound to.

Invariants:
1. Nothing is called and nothing is imported.
2. What is found may be used, what is used need not be found: a graph that is handed around in a dict is not seen.

It must not know drawings or runs.
"""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, Any

from .settings import Compiled

if TYPE_CHECKING:
    from collections.abc import Iterator


def subgraphs_of(
    graph: Any, namespace: str | None = None, *, recurse: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yield the graphs that a compiled graph's nodes are or call.

    Args:
        graph: A compiled graph.
        namespace: The one to yield, as names of nodes with ``|`` between; None for all.
        recurse: Whether to yield those within them, too.

    Returns:
        Pairs of namespace and graph; of a node that calls several graphs, the first that its code names.
    """
    yield from _below(graph, namespace, recurse=recurse, above=(graph,))


def _below(
    graph: Any, namespace: str | None, *, recurse: bool, above: tuple[Any, ...]
) -> Iterator[tuple[str, Any]]:
    for name, node in graph.nodes.items():
        if node.callee is None:
            continue
        # A node may look at its own graph; that does not make the graph a part of itself. And of a graph that saves
        # nothing there is no state to look at.
        found = [
            inner
            for inner in graphs_in(node.callee.function)
            if inner.parts.settings.log is not False and all(inner is not one for one in above)
        ]
        if not found:
            continue
        inner = found[0]
        if namespace is None or namespace == name:
            yield name, inner
        if recurse and (namespace is None or namespace.startswith(f"{name}|")):
            rest = None if namespace is None else namespace.removeprefix(f"{name}|")
            for deeper, found_there in _below(inner, rest, recurse=True, above=(*above, inner)):
                yield f"{name}|{deeper}", found_there


def is_compiled(value: Any) -> bool:
    """Return whether a value is a compiled graph."""
    return isinstance(getattr(value, "parts", None), Compiled)


def graphs_in(called: Any) -> list[Any]:
    """Return the compiled graphs that something callable is or refers to, each once, in the order of the code."""
    if is_compiled(called):
        return [called]
    found: list[Any] = []
    for value in (*_steps(called), *referred(called)):
        if is_compiled(value) and all(value is not one for one in found):
            found.append(value)
    return found


def names_in(called: Any) -> set[str]:
    """Return every text that a function's code holds or refers to by a name."""
    found = {value for value in referred(called) if isinstance(value, str)}
    function = _function(called)
    for code in _codes(function) if function is not None else ():
        for constant in code.co_consts:
            parts = constant if isinstance(constant, tuple | frozenset) else (constant,)
            found.update(part for part in parts if isinstance(part, str))
    return found


def refers_to(called: Any, wanted: type) -> bool:
    """Return whether a function's code loads a class by a name."""
    return any(value is wanted for value in referred(called))


def _steps(called: Any) -> Iterator[Any]:
    """Yield what a runnable made of others is made of."""
    for attribute in ("steps", "steps__"):
        steps = getattr(called, attribute, None)
        if isinstance(steps, list | tuple | dict) and not isinstance(called, type):
            yield from steps.values() if isinstance(steps, dict) else steps


def _function(called: Any) -> types.FunctionType | None:
    """Return the Python function behind a callable, if there is one."""
    while True:
        if isinstance(called, functools.partial):
            called = called.func
        elif isinstance(called, types.MethodType):
            called = called.__func__
        elif isinstance(called, types.FunctionType):
            return inspect.unwrap(called) if hasattr(called, "__wrapped__") else called
        elif isinstance(wrapped := getattr(called, "__wrapped__", None), types.FunctionType):
            called = wrapped
        elif isinstance(method := getattr(type(called), "__call__", None), types.FunctionType):  # noqa: B004
            return method
        else:
            return None


def _owner(called: Any) -> Any:
    """Return the object whose attributes a callable's code reads as ``self``."""
    while isinstance(called, functools.partial):
        called = called.func
    if isinstance(called, types.MethodType):
        return called.__self__
    return None if isinstance(called, types.FunctionType) else called


def _codes(function: types.FunctionType) -> Iterator[types.CodeType]:
    """Yield a function's code and that of the functions defined within it."""
    pending = [function.__code__]
    for code in pending:
        yield code
        pending.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))


def referred(called: Any) -> Iterator[Any]:
    """Yield the values of the names that a function's code loads."""
    function = _function(called)
    if function is None:
        return
    names = [name for code in _codes(function) for name in code.co_names]
    values = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    values += [function.__globals__[name] for name in names if name in function.__globals__]
    owner = _owner(called)
    for value in values:
        yield value
        if isinstance(value, types.ModuleType):
            yield from (vars(value)[name] for name in names if name in vars(value))
    held = getattr(owner, "__dict__", {})
    yield from (held[name] for name in names if name in held)


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        # The variable is given its value later; nobody has called the function yet.
        return False
    return True
