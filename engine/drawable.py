"""Nodes and edges to be drawn, as data.

    Sketch ── nodes   id → Node(id, name, data, metadata)
           └─ edges   Edge(source, target, data, conditional)

The names are those of langchain-core's graph, so that code which walks over one works; nothing of it is needed.

Invariants:
1. Every edge's ends are nodes of the graph.

It must not know compiled graphs (``draw_trace``) nor how a picture is made (``drawing``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEVEL = ":"
"""What stands between the name of a subgraph and those of its nodes, where it is drawn in its place."""


class NodeStyles(NamedTuple):
    """The mermaid style of nodes in general, of the first and of the last."""

    default: str = "fill:#f2f0ff,line-height:1.2"
    first: str = "fill-opacity:0"
    last: str = "fill:#bfb6fc"


class Node(NamedTuple):
    """A node of a drawing; ``data`` is what it calls."""

    id: str
    name: str
    data: Any = None
    metadata: dict[str, Any] | None = None


class Edge(NamedTuple):
    """A line of a drawing; ``data`` is its label, and a conditional one may not be taken."""

    source: str
    target: str
    data: str | None = None
    conditional: bool = False


@dataclass
class Sketch:
    """Nodes and edges.

    Args:
        nodes: Id → node, in the order they are drawn.
        edges: In the order they are drawn.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def add_node(self, data: Any, id: str, *, metadata: dict[str, Any] | None = None) -> Node:
        """Add a node.

        Args:
            data: What it calls, or None.
            id: Its name.
            metadata: Notes that are drawn below the name.

        Raises:
            ValueError: There is one of that name.
        """
        if id in self.nodes:
            message = f"Node with id {id} already exists"
            raise ValueError(message)
        node = self.nodes[id] = Node(id, id, data, metadata)
        return node

    def add_edge(
        self, source: Node, target: Node, data: str | None = None, *, conditional: bool = False
    ) -> Edge:
        """Add an edge between two nodes of the graph.

        Args:
            source: Where it begins.
            target: Where it ends.
            data: Its label.
            conditional: Whether it may not be taken.

        Raises:
            ValueError: A node is not there.
        """
        for end, node in (("Source", source), ("Target", target)):
            if node.id not in self.nodes:
                message = f"{end} node {node.id} not in graph"
                raise ValueError(message)
        edge = Edge(source.id, target.id, None if data is None else str(data), conditional)
        self.edges.append(edge)
        return edge

    def remove_node(self, node: Node) -> None:
        """Remove a node and its edges."""
        self.nodes.pop(node.id)
        self.edges = [edge for edge in self.edges if node.id not in {edge.source, edge.target}]

    def first_node(self) -> Node | None:
        """Return the one node that no edge leads to; None if there is none, or several."""
        return self._only({edge.target for edge in self.edges})

    def last_node(self) -> Node | None:
        """Return the one node that no edge leaves; None if there is none, or several."""
        return self._only({edge.source for edge in self.edges})

    def _only(self, others: set[str], *, but: Node | None = None) -> Node | None:
        """Return the one node that is none of ``others``, nor the one to leave out."""
        found = [node for key, node in self.nodes.items() if key not in others and node is not but]
        return found[0] if len(found) == 1 else None

    def trim_first_node(self) -> None:
        """Remove the first node if it does nothing but hand on to another, which is then the first."""
        first = self.first_node()
        if first is not None:
            leaving = [edge for edge in self.edges if edge.source == first.id]
            others = {edge.target for edge in self.edges if edge.source != first.id}
            plain = len(leaving) == 1 and not leaving[0].conditional
            if plain and self._only(others, but=first) is not None:
                self.remove_node(first)

    def trim_last_node(self) -> None:
        """Remove the last node if just one other hands on to it, which is then the last."""
        last = self.last_node()
        if last is not None:
            coming = [edge for edge in self.edges if edge.target == last.id]
            others = {edge.source for edge in self.edges if edge.target != last.id}
            plain = len(coming) == 1 and not coming[0].conditional
            if plain and self._only(others, but=last) is not None:
                self.remove_node(last)

    def replace(self, node: Node, inner: Sketch) -> None:
        """Draw another graph where a node stands; edges to the node lead to its first, edges from it leave its last.

        Args:
            node: The node, which is removed.
            inner: What it stands for; left as it is if it has no first and last node.
        """
        inner = Sketch(dict(inner.nodes), list(inner.edges))
        inner.trim_first_node()
        inner.trim_last_node()
        first, last = inner.first_node(), inner.last_node()
        if first is None or last is None:
            return
        prefix = node.id + LEVEL
        self.nodes.pop(node.id)
        self.nodes |= {
            prefix + key: held._replace(id=prefix + key, name=held.name) for key, held in inner.nodes.items()
        }
        self.edges = [
            edge._replace(
                source=prefix + last.id if edge.source == node.id else edge.source,
                target=prefix + first.id if edge.target == node.id else edge.target,
            )
            for edge in self.edges
        ]
        self.edges.extend(
            edge._replace(source=prefix + edge.source, target=prefix + edge.target) for edge in inner.edges
        )

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return the graph as plain data, in the form that langchain-core's graphs have."""
        return {
            "nodes": [_described(node) for node in self.nodes.values()],
            "edges": [_edge_described(edge) for edge in self.edges],
        }


def outside_in(nodes: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Return, for each subgraph that is drawn in its place, the ids of the nodes right inside it.

    Args:
        nodes: Ids of nodes, those within subgraphs as ``subgraph:node``.

    Returns:
        Path of the subgraph (``()`` for the whole graph) → ids, in order; outer ones come before inner ones.
    """
    inside: dict[tuple[str, ...], list[str]] = {(): []}
    for key in nodes:
        path = tuple(key.split(LEVEL)[:-1])
        for depth in range(len(path)):
            inside.setdefault(path[: depth + 1], [])
        inside[path].append(key)
    return inside


def _described(node: Node) -> dict[str, Any]:
    described: dict[str, Any] = {"id": node.id}
    if node.data is not None:
        described |= {"type": "runnable", "data": {"id": _home(node.data), "name": node.id}}
    if node.metadata:
        described["metadata"] = node.metadata
    return described


def _home(data: Any) -> Sequence[str]:
    """Return where the code of a node is: its module's path and its name."""
    named = data if hasattr(data, "__qualname__") else type(data)
    return [*str(getattr(named, "__module__", None) or "").split("."), named.__qualname__]


def _edge_described(edge: Edge) -> dict[str, Any]:
    described: dict[str, Any] = {"source": edge.source, "target": edge.target}
    if edge.data is not None:
        described["data"] = edge.data
    if edge.conditional:
        described["conditional"] = True
    return described
