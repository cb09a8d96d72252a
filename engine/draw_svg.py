"""A drawing as an SVG picture: one text, which refers to no font, script or picture outside itself.

    <svg> ground ─► borders of subgraphs ─► lines ─► arrows ─► nodes ─► labels </svg>

It must not decide where anything stands (``draw_layout``).
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from .draw_layout import Box, Label, Line, layout, lines_of
from .draw_wires import Measures
from .drawable import LEVEL

if TYPE_CHECKING:
    from .drawable import Sketch

MEASURES = Measures(
    gap=32,
    stub=14,
    track=16,
    arrow=10,
    label=20,
    letter=7.7,
    padding=16,
    line=18,
    frame=18,
    inset=24,
    title=30,
)
MARGIN = 16
RADIUS = 7
"""How far before a corner a line begins to bend."""

STYLE = (
    "text{font:13px ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "fill:#25233a;text-anchor:middle;dominant-baseline:central}"
    ".note{font-size:11px;font-style:italic;fill:#6a6785}"
    ".label{font-size:12px;fill:#4a4766}"
    ".title{font-size:12px;font-weight:600;fill:#6a6785}"
    ".node{fill:#f2f0ff;stroke:#9d94d6;stroke-width:1.2}"
    ".start{fill:#ffffff}.end{fill:#bfb6fc}"
    ".group{fill:#8f86c9;fill-opacity:.06;stroke:#b8b1de;stroke-width:1;stroke-dasharray:2 3}"
    ".line{fill:none;stroke:#77738f;stroke-width:1.4}"
    ".maybe{stroke-dasharray:5 4}"
    ".arrow{fill:#77738f}"
    ".paper{fill:#ffffff}"
)


def svg(graph: Sketch) -> str:
    """Return a graph as SVG.

    Args:
        graph: What to draw.
    """
    picture = layout(graph, MEASURES)
    beside = [_label_box(label) for label in picture.labels]
    left = min([0, *(x for x, _, _ in beside)]) - MARGIN
    right = max([picture.width, *(x + width for x, _, width in beside)]) + MARGIN
    width, height = right - left, picture.height + 2 * MARGIN
    size = f'width="{width}" height="{height}" viewBox="{left} {-MARGIN} {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(', '.join(node.name for node in graph.nodes.values()))}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x="{left}" y="{-MARGIN}" width="{width}" height="{height}" rx="6"/>',
        *(_group(box, picture.lines) for box in picture.boxes if box.is_group),
        *(_line(line) for line in picture.lines),
        *(_arrow(line) for line in picture.lines if line.arrow),
        *(_node(box, graph) for box in picture.boxes if not box.is_group),
        *(_label(label) for label in picture.labels),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _node(box: Box, graph: Sketch) -> str:
    lines = lines_of(graph, box.key)
    kind = {"__start__": " start", "__end__": " end"}.get(lines[0], "")
    round_off = box.height // 2 if kind else 8
    middle = box.left + box.width / 2
    top = box.top + box.height / 2 - (len(lines) - 1) * MEASURES.line / 2
    written = [
        f'<text{" class=" + chr(34) + "note" + chr(34) if number else ""} x="{middle}" '
        f'y="{top + number * MEASURES.line}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    shape = (
        f'<rect class="node{kind}" x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}" '
        f'rx="{round_off}"/>'
    )
    return f"<g>{shape}{''.join(written)}</g>"


def _group(box: Box, lines: list[Line]) -> str:
    name = box.key.rpartition(LEVEL)[2]
    entering = [x for line in lines for x, y in (line.points[-1],) if y == box.top and x > box.left]
    room = math.ceil((len(name) + 2) * MEASURES.letter)
    at_left = not entering or min(entering) > box.left + room
    x, anchor = (box.left + 12, "start") if at_left else (box.left + box.width - 12, "end")
    return (
        f'<rect class="group" x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}" rx="10"/>'
        f'<text class="title" style="text-anchor:{anchor}" x="{x}" y="{box.top + 16}">{escape(name)}</text>'
    )


def _line(line: Line) -> str:
    """Return a line whose corners are round."""
    points = [
        point for number, point in enumerate(line.points) if not number or point != line.points[number - 1]
    ]
    if line.arrow:
        # The line ends where the arrow begins, so that its end does not show at the tip.
        points[-1] = (points[-1][0], points[-1][1] - MEASURES.arrow // 2)
    path = [f"M{points[0][0]} {points[0][1]}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        near, far = _towards(corner, before), _towards(corner, after)
        path.append(f"L{near[0]:g} {near[1]:g}Q{corner[0]} {corner[1]} {far[0]:g} {far[1]:g}")
    path.append(f"L{points[-1][0]} {points[-1][1]}")
    return f'<path class="line{" maybe" if line.conditional else ""}" d="{"".join(path)}"/>'


def _towards(corner: tuple[int, int], other: tuple[int, int]) -> tuple[float, float]:
    """Return the point on the way from a corner where the line stops or begins to bend."""
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])
    share = min(RADIUS, length / 2) / length
    return corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share


def _arrow(line: Line) -> str:
    x, y = line.points[-1]
    return f'<path class="arrow" d="M{x} {y}l-4.5 {-MEASURES.arrow}h9z"/>'


def _label_box(label: Label) -> tuple[int, int, int]:
    width = math.ceil(len(label.text) * MEASURES.letter) + 8
    return label.column - width // 2, label.top, width


def _label(label: Label) -> str:
    left, top, width = _label_box(label)
    return (
        f'<rect class="paper" x="{left}" y="{top + 1}" width="{width}" height="{MEASURES.label - 2}" rx="4"/>'
        f'<text class="label" x="{label.column}" y="{top + MEASURES.label / 2}">{escape(label.text)}</text>'
    )
