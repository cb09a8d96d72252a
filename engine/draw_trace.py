"""From a compiled graph to its drawing.

    what was said                              how it is drawn
    add_edge(a, b), a list of edges            a ──► b
    add_conditional_edges with a path_map      a ┄┄► each of its nodes, labelled with the answer where it differs
      … or ``-> Literal["b", "c"]``            a ┄┄► b, c
      … or neither                             a ┄┄► each node that the router's code names; each node if it names none
    ``-> Command[Literal[...]]``, destinations a ┄┄► those nodes
    an error handler                           a ┄ error ┄► the handler
    a node that leads nowhere                  a ──► END

Invariants:
1. What is drawn is what was compiled; changes to the builder since then do not show.
2. No code of the user is run.

It must not make pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.identity import END, START
from .control import Command
from .discover import names_in, refers_to, subgraphs_of
from .drawable import Edge, Node
from .drawing import Graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .node import Branch
    from .node import Node as Compiled


def trace(graph: Any, *, xray: int | bool = False) -> Graph:
    """Return the drawing of a compiled graph.

    Args:
        graph: A compiled graph.
        xray: Whether to draw subgraphs in the place of the nodes that run them; a number says how many levels.
    """
    return _traced(graph, xray, (graph,))


def _traced(graph: Any, xray: int | bool, above: tuple[Any, ...]) -> Graph:  # noqa: FBT001 - LangGraph's type
    drawn = Graph()
    drawn.nodes[START] = Node(START, START, graph.nodes[START].callee if START in graph.nodes else None)
    for name, node in graph.nodes.items():
        if name != START:
            called = node.callee.function if node.callee is not None else None
            drawn.nodes[name] = Node(name, name, called, _notes(graph, node))
    drawn.nodes[END] = Node(END, END)
    edges = set(_edges(graph))
    left = {edge.source for edge in edges}
    edges |= {
        Edge(name, node.handler, "error", conditional=True)
        for name, node in graph.nodes.items()
        if node.handler
    }
    if graph.program.is_entrypoint:
        edges.add(Edge(START, graph.program.entry))
    drawn.edges = sorted(
        edges, key=lambda edge: (edge.source, edge.target, edge.conditional, edge.data or "")
    )
    # A node after which nothing comes ends the graph, whether or not an edge says so.
    drawn.edges.extend(Edge(name, END) for name in graph.nodes if name not in left)
    if xray:
        for name, inner in subgraphs_of(graph):
            if all(inner is not one for one in above):
                deeper = xray if isinstance(xray, bool) else xray - 1
                drawn.replace(drawn.nodes[name], _traced(inner, deeper, (*above, inner)))
    return drawn


def _notes(graph: Any, node: Compiled) -> dict[str, Any] | None:
    """Return what is noted below a node's name: the user's notes, and where a run waits."""
    settings = graph.settings
    notes = dict(node.metadata)
    if node.deferred:
        notes["defer"] = True
    if node.name in _listed(settings.interrupt_before) or settings.interrupt_before == "*":
        notes["__interrupt"] = "before"
    if node.name in _listed(settings.interrupt_after) or settings.interrupt_after == "*":
        notes["__interrupt"] = "before,after" if "__interrupt" in notes else "after"
    return notes or None


def _listed(names: Any) -> tuple[str, ...]:
    return () if isinstance(names, str) else tuple(names)


def _edges(graph: Any) -> Iterator[Edge]:
    """Yield the edges that were drawn by the user; those to END only where a node has others beside them."""
    for name, node in graph.nodes.items():
        described = graph.program.blueprint.nodes.get(name, {})
        plain = [*described.get("to", ()), *described.get("joins", ())]
        steered = list(_steered(graph, name, node))
        routed = [edge for branch in node.branches for edge in _routed(graph, name, branch)]
        others = bool(steered or routed or [end for end in plain if end != END])
        yield from (Edge(name, end) for end in plain if end != END or others)
        yield from steered
        yield from routed


def _routed(graph: Any, name: str, branch: Branch) -> Iterator[Edge]:
    """Yield where a router may lead; several answers that lead to one node share its edge."""
    if branch.ends is None:
        everywhere = [*(node for node in graph.nodes if node != START), END]
        named = names_in(branch.call.function)
        ends = [end for end in everywhere if end in named] or everywhere
        yield from (Edge(name, end, None, conditional=True) for end in ends)
        return
    labels: dict[str, list[str]] = {}
    for answer, end in branch.ends.items():
        labels.setdefault(end, []).append(str(answer))
    for end, answers in labels.items():
        yield Edge(name, end, None if answers == [end] else ", ".join(answers), conditional=True)


def _steered(graph: Any, name: str, node: Compiled) -> Iterator[Edge]:
    """Yield where a node's commands may lead."""
    spec = getattr(graph.builder, "nodes", {}).get(name)
    ends: Any = getattr(spec, "destinations", None) or getattr(spec, "ends", None)
    if not ends and node.callee is not None and refers_to(node.callee.function, Command):
        named = names_in(node.callee.function)
        ends = tuple(end for end in (*graph.nodes, END) if end in named and end != START)
    for end in ends or ():
        label = ends[end] if isinstance(ends, dict) else None
        yield Edge(name, end, None if label in {None, end} else str(label), conditional=True)
