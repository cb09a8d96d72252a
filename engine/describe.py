"""What a compiled graph tells of itself, without running: its drawing and the graphs within it.

    get_graph _repr_svg_          what it looks like                 draw_trace
    get_subgraphs                 which graphs its nodes run         discover

Each method is a line; what it needs is imported when it is called, since most programs never draw.

It must not run anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .drawing import Graph


class Described:
    """The part of a compiled graph that only looks at it."""

    def get_graph(self, config: dict[str, Any] | None = None, *, xray: int | bool = False) -> Graph:
        """Return the graph as something to be drawn.

        Args:
            config: Not used; LangGraph's signature.
            xray: Whether to draw subgraphs in the place of the nodes that run them; a number says how many levels.

        Returns:
            Nodes and edges, with ``draw_mermaid()``, ``draw_ascii()`` and ``draw_svg()``.
        """
        from .draw_trace import trace

        return trace(self, xray=xray)

    async def aget_graph(self, config: dict[str, Any] | None = None, *, xray: int | bool = False) -> Graph:
        """Return the graph as something to be drawn; see ``get_graph``."""
        return self.get_graph(config, xray=xray)

    def get_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Yield the graphs that nodes are, or that their code names.

        Args:
            namespace: The one to yield, as names of nodes with ``|`` between; None for all.
            recurse: Whether to yield those within them, too.

        Returns:
            Pairs of namespace and compiled graph.
        """
        from .discover import subgraphs_of

        return subgraphs_of(self, namespace, recurse=recurse)

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, Any]]:
        """Yield the graphs that nodes are, or that their code names; see ``get_subgraphs``."""
        for found in self.get_subgraphs(namespace=namespace, recurse=recurse):
            yield found

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return what notebooks show: the drawing, made here."""
        return {"text/plain": repr(self), "image/svg+xml": self._repr_svg_()}

    def _repr_svg_(self) -> str:
        """Return the drawing."""
        return self.get_graph().draw_svg()
