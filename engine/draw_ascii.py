"""A drawing as text: boxes of ``+``, ``-`` and ``|``, lines between them, dotted where they may not be taken.

          +-------+
          | check |
          +-------+
              :
        ......+.....
        :          :
       yes        no
        v          v
     +------+   +------+

Lines of one net meet in ``+``; where two lines only cross, the one that runs down is drawn through.

It must not decide where anything stands (``draw_layout``).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from .draw_layout import Box, Label, Line, layout, lines_of
from .draw_wires import Measures
from .drawable import LEVEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .drawable import Sketch

MEASURES = Measures(
    gap=3, stub=1, track=2, arrow=1, label=1, letter=1, padding=2, line=1, frame=2, inset=2, title=1
)
UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
UPRIGHT, LEVELLED = UP | DOWN, LEFT | RIGHT


class Canvas:
    """A grid of characters, and of the directions in which lines leave each of its cells."""

    def __init__(self, width: int, height: int) -> None:
        self.cells = [[" "] * (width + 1) for _ in range(height + 1)]
        self.strokes: dict[tuple[int, int], list[tuple[int, bool]]] = {}

    def write(self, x: int, y: int, text: str) -> None:
        """Write from a cell to the right."""
        for number, character in enumerate(text):
            if 0 <= x + number < len(self.cells[0]) and 0 <= y < len(self.cells):
                self.cells[y][x + number] = character

    def stroke(self, line: Line) -> None:
        """Note the directions of a line in each of its cells."""
        cells: dict[tuple[int, int], int] = {}
        for here, there in pairwise(line.points):
            for cell, mask in _straight(here, there):
                cells[cell] = cells.get(cell, 0) | mask
        for cell, mask in cells.items():
            self.strokes.setdefault(cell, []).append((mask, line.conditional))

    def ink(self) -> None:
        """Draw the lines."""
        for (x, y), strokes in self.strokes.items():
            self.write(x, y, _character(strokes))

    def text(self) -> str:
        """Return the rows, without the blanks at their ends."""
        rows = ["".join(row).rstrip() for row in self.cells]
        while rows and not rows[-1]:
            rows.pop()
        return "\n".join(rows)


def _straight(here: tuple[int, int], there: tuple[int, int]) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the cells of a straight line, and the directions in which it leaves each."""
    (x, y), (to_x, to_y) = here, there
    if x == to_x:
        low, high = min(y, to_y), max(y, to_y)
        for row in range(low, high + 1):
            yield (x, row), (UP if row > low else 0) | (DOWN if row < high else 0)
    else:
        low, high = min(x, to_x), max(x, to_x)
        for column in range(low, high + 1):
            yield (column, y), (LEFT if column > low else 0) | (RIGHT if column < high else 0)


def ascii_art(graph: Sketch) -> str:
    """Return a graph as text.

    Args:
        graph: What to draw.
    """
    picture = layout(graph, MEASURES)
    canvas = Canvas(picture.width + 1, picture.height)
    for line in picture.lines:
        canvas.stroke(line)
    canvas.ink()
    for box in picture.boxes:
        _draw_box(canvas, box, graph, picture.lines)
    for line in picture.lines:
        if line.arrow:
            x, y = line.points[-1]
            canvas.write(x, y - 1, "v")
    for label in picture.labels:
        _draw_label(canvas, label)
    return canvas.text()


def _draw_box(canvas: Canvas, box: Box, graph: Sketch, lines: list[Line]) -> None:
    border = "+" + "-" * (box.width - 2) + "+"
    if not box.is_group:
        canvas.write(box.left, box.top, border)
        for number, text in enumerate(lines_of(graph, box.key)):
            canvas.write(box.left, box.top + 1 + number, f"|{text:^{box.width - 2}}|")
        canvas.write(box.left, box.top + box.height - 1, border)
        return
    bottom = box.top + box.height - 1
    held = {
        (x, y)
        for line in lines
        for x, y in (line.points[0], line.points[-1])
        if box.left < x < box.left + box.width - 1
    }
    for y in range(box.top, bottom + 1):
        canvas.write(box.left, y, "|")
        canvas.write(box.left + box.width - 1, y, "|")
    canvas.write(box.left, box.top, border)
    canvas.write(box.left, bottom, border)
    title = f" {box.key.rpartition(LEVEL)[2]} "
    entering = [x for x, y in held if y == box.top]
    at_left = not entering or min(entering) > box.left + len(title) + 2
    canvas.write(
        box.left + 2 if at_left else box.left + box.width - len(title) - 2,
        box.top,
        title,
    )
    for x, y in held:
        if y in {box.top, bottom + 1}:
            canvas.write(x, min(y, bottom), "+")


def _draw_label(canvas: Canvas, label: Label) -> None:
    canvas.write(label.column - (len(label.text) - 1) // 2, label.top, label.text)


def _character(strokes: list[tuple[int, bool]]) -> str:
    """Return what is drawn in a cell that lines leave in these directions."""
    masks = {mask for mask, _ in strokes}
    together = 0
    for mask in masks:
        together |= mask
    dotted = all(conditional for _, conditional in strokes)
    if together in {UP, DOWN, UPRIGHT}:
        return ":" if dotted else "|"
    if together in {LEFT, RIGHT, LEVELLED}:
        return "." if dotted else "-"
    if masks == {UPRIGHT, LEVELLED}:
        return ":" if all(conditional for mask, conditional in strokes if mask == UPRIGHT) else "|"
    return "+"
