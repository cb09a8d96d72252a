"""A drawing as boxes, lines and labels with places, for whoever paints them.

    Sketch ─► one picture for the nodes of each subgraph, from the inside out ─► the whole
                 draw_layers: where its boxes stand    draw_wires: where its lines run

A subgraph is a box to the picture around it. An edge from outside to one of its nodes is drawn in two pieces: one to
the box's border, and one from there.

Invariants:
1. Boxes overlap only if one lies within the other.
2. Everything lies between (0, 0) and the picture's size.

It must not know how anything looks beyond its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ..replay.identity import END
from .draw_layers import Item, acyclic, arrange, layers_of
from .draw_wires import Gaps, Measures, Wire
from .drawable import LEVEL, outside_in

if TYPE_CHECKING:
    from .drawable import Sketch

ENTER, LEAVE = ":enter", ":leave"
"""The places on a subgraph's border where lines come in and go out."""


class Box(NamedTuple):
    """A node, or a subgraph that is drawn in its place."""

    key: str
    left: int
    top: int
    width: int
    height: int
    is_group: bool


class Line(NamedTuple):
    """A line through some points, straight down, up or aside from each to the next."""

    points: tuple[tuple[int, int], ...]
    conditional: bool
    arrow: bool


class Label(NamedTuple):
    """Words on a line: the column of their middle, and the top of their row."""

    column: int
    top: int
    text: str


@dataclass
class Picture:
    """What is to be painted."""

    width: int = 0
    height: int = 0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    enter: int | None = None
    """The column in which lines come in from outside, if they do."""
    leave: int | None = None

    def take(self, other: Picture, left: int, top: int) -> None:
        """Put another picture into this one."""
        self.boxes += [box._replace(left=box.left + left, top=box.top + top) for box in other.boxes]
        self.lines += [
            line._replace(points=tuple((x + left, y + top) for x, y in line.points)) for line in other.lines
        ]
        self.labels += [
            label._replace(column=label.column + left, top=label.top + top) for label in other.labels
        ]


class Link(NamedTuple):
    """An edge as one picture sees it: between two of its boxes."""

    source: str
    target: str
    conditional: bool
    label: str | None


def lines_of(graph: Sketch, key: str) -> list[str]:
    """Return what is written in a node's box: its name, and a line for each note."""
    node = graph.nodes[key]
    return [node.name, *(f"{name} = {value}" for name, value in (node.metadata or {}).items())]


def layout(graph: Sketch, measures: Measures) -> Picture:
    """Return where everything of a graph goes.

    Args:
        graph: What to draw.
        measures: Lengths, in characters or pixels.
    """
    inside = outside_in(graph.nodes)
    done: dict[tuple[str, ...], Picture] = {}
    for path in sorted(inside, key=len, reverse=True):
        within = {other: done[other] for other in inside if other[:-1] == path and other}
        done[path] = _Level(graph, path, inside[path], within, measures).picture
    return done[()]


class _Level:
    """The picture of one graph: its nodes, and the subgraphs in it as boxes."""

    def __init__(
        self,
        graph: Sketch,
        path: tuple[str, ...],
        nodes: list[str],
        within: dict[tuple[str, ...], Picture],
        measures: Measures,
    ) -> None:
        self.graph = graph
        self.path = path
        self.measures = measures
        self.groups = {LEVEL.join(other): picture for other, picture in within.items()}
        self.links = self._links()
        self.labels = self._labels()
        ends = [key for link in self.links for key in link[:2]]
        keys = [
            *([ENTER] if ENTER in ends else []),
            *self._in_order([*nodes, *self.groups]),
            *([LEAVE] if LEAVE in ends else []),
        ]
        self.items = {key: self._item(key) for key in keys}
        self.picture = self._drawn(keys)

    def _in_order(self, keys: list[str]) -> list[str]:
        """Return the nodes and subgraphs, what edges enter from outside or from START first."""
        targets = {link.target for link in self.links if link.source != ENTER}
        return sorted(keys, key=lambda key: key in targets)

    def _links(self) -> list[Link]:
        """Return the edges of this picture, each once."""
        links: dict[Link, None] = {}
        depth = len(self.path)
        for edge in self.graph.edges:
            source, target = edge.source.split(LEVEL), edge.target.split(LEVEL)
            starts, ends = tuple(source[:depth]) == self.path, tuple(target[:depth]) == self.path
            begin = LEVEL.join(source[: depth + 1]) if starts and len(source) > depth else ENTER
            end = LEVEL.join(target[: depth + 1]) if ends and len(target) > depth else LEAVE
            if (begin, end) == (ENTER, LEAVE) or (
                begin == end and begin in self.groups and len(source) > depth + 1
            ):
                continue
            label = None if ENTER in {begin, end} or LEAVE in {begin, end} else edge.data
            links[Link(begin, end, edge.conditional, label)] = None
        # The border has one place for lines to come in, and one to go out; there, plain ones cover the others.
        plain = {link[:2] for link in links if not link.conditional}
        return [
            link
            for link in links
            if not (link.conditional and link[:2] in plain and {ENTER, LEAVE} & set(link[:2]))
        ]

    def _labels(self) -> dict[str, list[str]]:
        """Return what is written above each box: the labels of the lines that enter it."""
        sources: dict[str, set[str]] = {}
        for link in self.links:
            sources.setdefault(link.target, set()).add(link.source)
        labels: dict[str, list[str]] = {}
        for link in self.links:
            if link.label is not None:
                # Lines share their arrow, so the label says whose it is.
                whose = f"{link.source.rpartition(LEVEL)[2]}: " if len(sources[link.target]) > 1 else ""
                labels.setdefault(link.target, []).append(whose + link.label)
        return labels

    def _item(self, key: str) -> Item:
        measures = self.measures
        if key in {ENTER, LEAVE}:
            return Item(key, 1, 0, 0, 0)
        label = max((math.ceil(len(text) * measures.letter) for text in self.labels.get(key, ())), default=0)
        if key in self.groups:
            picture = self.groups[key]
            enter, leave = picture.enter, picture.leave
            return Item(key, max(picture.width, label), picture.height, enter, leave)
        lines = lines_of(self.graph, key)
        width = max(math.ceil(len(line) * measures.letter) for line in lines) + 2 * measures.padding
        width += 1 - width % 2
        return Item(key, max(width, label + 1 - label % 2), len(lines) * measures.line + measures.frame)

    def _drawn(self, keys: list[str]) -> Picture:
        pairs = [link[:2] for link in self.links]
        back = acyclic(keys, [pair for pair in pairs if pair[0] != pair[1]])
        back |= {pair for pair in pairs if pair[0] == pair[1]}
        forward = list(dict.fromkeys(pair for pair in pairs if pair not in back))
        left = {source for source, _ in forward}
        last = {LEAVE} if LEAVE in keys else {key for key in keys if key.endswith(END) and key not in left}
        layers = layers_of(keys, forward, last)
        for key, item in self.items.items():
            item.layer = layers[key]
        down = [link for link in self.links if link[:2] not in back]
        up = [link for link in self.links if link[:2] in back]
        edges = [(self.items[link.source], self.items[link.target]) for link in down]
        placed, ways = arrange(list(self.items.values()), edges, self.measures.gap)
        wires = [Wire(way, link.conditional, back=False) for way, link in zip(ways, down, strict=True)]
        wires += [
            Wire((self.items[link.source], self.items[link.target]), link.conditional, back=True)
            for link in up
        ]
        gaps = Gaps(placed, wires, self.measures)
        return self._painted(placed, gaps)

    def _painted(self, layers: list[list[Item]], gaps: Gaps) -> Picture:
        measures = self.measures
        picture = Picture()
        tops: list[int] = []
        starts: list[int] = []
        y = 0
        for depth, layer in enumerate([*layers, []]):
            starts.append(y)
            y += self._gap_height(layer, gaps, depth)
            tops.append(y)
            y += max((item.height for item in layer), default=0)
        middles: dict[int, tuple[int, int]] = {}
        for depth, layer in enumerate(layers):
            tallest = max((item.height for item in layer), default=0)
            for item in layer:
                top = tops[depth] + (tallest - item.height) // 2
                middles[id(item)] = (top, top + item.height)
                self._put(picture, item, top)
                for number, text in enumerate(reversed(self.labels.get(item.key, ()) if item.key else ())):
                    row = tops[depth] - measures.arrow - (number + 1) * measures.label
                    picture.labels.append(Label(gaps.enters[id(item)], row, text))
        for wire in gaps.wires:
            points = self._points(wire, gaps, starts, middles)
            target = wire.items[-1].key
            arrow = target not in self.groups and target != LEAVE
            picture.lines.append(Line(tuple(points), wire.conditional, arrow))
        lanes = max((lane + measures.track for lane in gaps.lanes.values()), default=0)
        right = max((item.right for layer in layers for item in layer), default=0)
        picture.width, picture.height = max(right, lanes), y
        if ENTER in self.items:
            picture.enter = gaps.leaves.get((id(self.items[ENTER]), False), self.items[ENTER].left)
        if LEAVE in self.items:
            picture.leave = gaps.enters[id(self.items[LEAVE])]
        return self._framed(picture) if self.path else picture

    def _gap_height(self, layer: list[Item], gaps: Gaps, depth: int) -> int:
        if not gaps.nets[depth]:
            return 0
        measures, tracks = self.measures, gaps.tracks[depth]
        labels = max((len(self.labels.get(item.key, ())) for item in layer if item.key), default=0)
        between = measures.stub + (tracks - 1) * measures.track if tracks else 0
        arrow = measures.arrow if any(item.key != LEAVE for item in layer) else 0
        return measures.stub + between + labels * measures.label + arrow

    def _put(self, picture: Picture, item: Item, top: int) -> None:
        if not item.key or item.key in {ENTER, LEAVE}:
            return
        if item.key not in self.groups:
            picture.boxes.append(Box(item.key, item.left, top, item.width, item.height, is_group=False))
            return
        group = self.groups[item.key]
        picture.boxes.append(Box(item.key, item.left, top, group.width, group.height, is_group=True))
        picture.take(group, item.left, top)

    def _points(
        self, wire: Wire, gaps: Gaps, starts: list[int], middles: dict[int, tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Return the corners of a line."""
        kind, measures = wire.conditional, self.measures

        def track(gap: int, origin: Any) -> int:
            return starts[gap] + measures.stub + gaps.nets[gap][origin].track * measures.track

        first, last = wire.items[0], wire.items[-1]
        x = gaps.leaves[id(first), kind]
        points = [(x, middles[id(first)][1])]
        if wire.back:
            lane, enter = gaps.lanes[wire], gaps.enters[id(last)]
            below = track(first.layer + 1, (id(first), kind))
            above = track(last.layer, wire)
            points += [(x, below), (lane, below), (lane, above), (enter, above)]
        else:
            for one, other in pairwise(wire.items):
                x = gaps.leaves[id(one), kind]
                there = gaps.enters[id(other)]
                if x != there:
                    y = track(other.layer, (id(one), kind))
                    points += [(x, y), (there, y)]
        points.append((gaps.enters[id(last)], middles[id(last)][0]))
        return points

    def _framed(self, picture: Picture) -> Picture:
        """Return the picture with a border around it and room for the subgraph's title."""
        measures = self.measures
        title = math.ceil((len(self.path[-1]) + 4) * measures.letter)
        # The title stands beside the line that comes in, on whichever side there is room for it.
        width = max(picture.width + 2 * measures.inset, 2 * title + 1)
        left = (width - picture.width) // 2
        framed = Picture(width, picture.height + measures.title + measures.inset // 2)
        framed.take(picture, left, measures.title)
        for name, row, end in (
            ("enter", 0, measures.title),
            ("leave", framed.height, picture.height + measures.title),
        ):
            column = getattr(picture, name)
            if column is not None:
                setattr(framed, name, column + left)
                if row != end:
                    points = ((column + left, min(row, end)), (column + left, max(row, end)))
                    framed.lines.append(Line(points, self._crossed(name), arrow=False))
        return framed

    def _crossed(self, name: str) -> bool:
        """Return whether all the lines that come in, or go out, may not be taken."""
        port = ENTER if name == "enter" else LEAVE
        return all(link.conditional for link in self.links if port in link[:2])
