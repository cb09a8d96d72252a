"""What ``get_graph`` returns: a graph, and the ways to draw it.

    graph.draw_mermaid() .draw_ascii() .draw_svg()      each made by a module of its own, imported when it is asked for

Invariants:
1. Drawing changes nothing, and never asks the network.

It must not know compiled graphs (``draw_trace``) nor how a picture is made.
"""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

from .drawable import NodeStyles, Sketch
from .errors import NotAvailable

if TYPE_CHECKING:
    from pathlib import Path


class CurveStyle(Enum):
    """How mermaid bends lines."""

    BASIS = "basis"
    BUMP_X = "bumpX"
    BUMP_Y = "bumpY"
    CARDINAL = "cardinal"
    CATMULL_ROM = "catmullRom"
    LINEAR = "linear"
    MONOTONE_X = "monotoneX"
    MONOTONE_Y = "monotoneY"
    NATURAL = "natural"
    STEP = "step"
    STEP_AFTER = "stepAfter"
    STEP_BEFORE = "stepBefore"


class Graph(Sketch):
    """Nodes and edges, and ways to draw them.

    Args:
        nodes: Id → node, in the order they are drawn.
        edges: In the order they are drawn.
    """

    def draw_mermaid(
        self,
        *,
        with_styles: bool = True,
        curve_style: CurveStyle = CurveStyle.LINEAR,
        node_colors: NodeStyles | None = None,
        wrap_label_n_words: int = 9,
        frontmatter_config: dict[str, Any] | None = None,
    ) -> str:
        """Return the graph as mermaid text, which GitHub and many editors draw.

        Args:
            with_styles: Whether to say how it looks; else only nodes' names and lines.
            curve_style: How lines bend.
            node_colors: The styles of nodes.
            wrap_label_n_words: After how many words a label goes on in the next line.
            frontmatter_config: What to set at the top, such as ``{"config": {"theme": "neutral"}}``.
        """
        from .draw_mermaid import mermaid

        if not with_styles:
            return mermaid(self, wrap_label_n_words)
        header = {"curve": CurveStyle(curve_style).value, "given": frontmatter_config}
        return mermaid(self, wrap_label_n_words, header, node_colors or NodeStyles())

    def draw_ascii(self) -> str:
        """Return the graph as text, for terminals: boxes and lines, dotted where an edge may not be taken."""
        from .draw_ascii import ascii_art

        return ascii_art(self)

    def print_ascii(self) -> None:
        """Print ``draw_ascii``."""
        sys.stdout.write(self.draw_ascii() + "\n")

    def draw_svg(self, output_file_path: str | Path | None = None) -> str:
        """Return the graph as an SVG picture; it refers to nothing outside itself.

        Args:
            output_file_path: Where to write it, too.
        """
        from .draw_svg import svg

        text = svg(self)
        if output_file_path is not None:
            from pathlib import Path

            Path(output_file_path).write_text(text, "utf-8")
        return text

    def draw_mermaid_png(self, *_: Any, **__: Any) -> bytes:
        """Refuse: LangGraph has a server on the network draw it.

        Raises:
            NotAvailable: Always; the hint says what to do instead.
        """
        message = "draw_mermaid_png would send the graph to a server on the network, and walgraph does not"
        raise NotAvailable(
            message,
            hint='Write graph.draw_svg("graph.svg"), or give graph.draw_mermaid() to mermaid-cli: '
            "mmdc -i graph.mmd -o graph.png.",
        )

    def draw_png(self, *_: Any, **__: Any) -> bytes:
        """Refuse: LangGraph uses graphviz for it.

        Raises:
            NotAvailable: Always; the hint says what to do instead.
        """
        message = "draw_png needs graphviz, which walgraph does not use"
        raise NotAvailable(message, hint='Write graph.draw_svg("graph.svg"), which needs nothing.')

    def _repr_svg_(self) -> str:
        """Return what notebooks show."""
        return self.draw_svg()
