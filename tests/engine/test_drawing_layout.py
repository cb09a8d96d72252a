"""That every drawing is sound, whatever the graph: nothing overlaps, and lines can be followed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walgraph.engine.draw_ascii import MEASURES as LETTERS
from walgraph.engine.draw_ascii import ascii_art
from walgraph.engine.draw_layout import Box, Picture, layout
from walgraph.engine.draw_svg import MEASURES as PIXELS
from walgraph.engine.drawable import Edge, Node
from walgraph.engine.drawing import Graph

NAMES = [
    "__start__",
    "a",
    "bb",
    "a long name",
    "d",
    "e",
    "sub:x",
    "sub:yy",
    "sub:in:z",
    "sub:in:w",
    "__end__",
]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Return a graph of up to eleven nodes, some in subgraphs, with any edges."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    pair = st.tuples(st.sampled_from(names), st.sampled_from(names))
    edges = draw(
        st.lists(st.tuples(pair, st.sampled_from([None, "yes", "a label"]), st.booleans()), max_size=14)
    )
    nodes = {
        name: Node(name, name.rpartition(":")[2], None, {"k": "v"} if name == "d" else None) for name in names
    }
    return Graph(nodes, [Edge(*ends, label, conditional) for ends, label, conditional in edges])


def overlaps(one: Box, other: Box) -> bool:
    """Return whether two boxes share room."""
    return (
        one.left < other.left + other.width
        and other.left < one.left + one.width
        and one.top < other.top + other.height
        and other.top < one.top + one.height
    )


def check(picture: Picture, graph: Graph) -> None:
    """Check what holds for every picture."""
    nodes = [box for box in picture.boxes if not box.is_group]
    assert sorted(box.key for box in nodes) == sorted(graph.nodes)
    for number, box in enumerate(picture.boxes):
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= picture.width
        assert box.top + box.height <= picture.height
        for other in picture.boxes[number + 1 :]:
            within = other.key.startswith(box.key + ":") or box.key.startswith(other.key + ":")
            assert overlaps(box, other) == within, (box, other)
    for line in picture.lines:
        for (x, y), (to_x, to_y) in pairwise(line.points):
            assert x == to_x or y == to_y
            assert 0 <= x <= picture.width
            assert 0 <= y <= picture.height
            for box in nodes:
                across = box.left < max(x, to_x) and min(x, to_x) < box.left + box.width - 1
                along = box.top < max(y, to_y) and min(y, to_y) < box.top + box.height
                assert not (across and along), (line, box)


@pytest.mark.parametrize("measures", [LETTERS, PIXELS], ids=["letters", "pixels"])
@given(graph=graphs())
@settings(deadline=None)
def test_nothing_overlaps(measures: object, graph: Graph) -> None:
    """Boxes lie apart or within one another, lines are straight pieces, and none runs over a node."""
    check(layout(graph, measures), graph)  # type: ignore[arg-type]


@given(graph=graphs())
@settings(deadline=None)
def test_each_edge_is_a_line_between_its_nodes(graph: Graph) -> None:
    """Without subgraphs, each edge begins below its source and ends above its target."""
    flat = {key: node for key, node in graph.nodes.items() if ":" not in key}
    edges = [edge for edge in graph.edges if edge.source in flat and edge.target in flat]
    picture = layout(Graph(flat, edges), LETTERS)
    boxes = {box.key: box for box in picture.boxes}
    drawn = {
        (source, target, line.conditional)
        for line in picture.lines
        for source in boxes
        for target in boxes
        if line.points[0][1] == boxes[source].top + boxes[source].height
        and boxes[source].left < line.points[0][0] < boxes[source].left + boxes[source].width - 1
        and line.points[-1][1] == boxes[target].top
        and boxes[target].left < line.points[-1][0] < boxes[target].left + boxes[target].width - 1
    }
    assert drawn == {(edge.source, edge.target, edge.conditional) for edge in edges}
    assert all(line.arrow for line in picture.lines)


@given(graph=graphs())
@settings(deadline=None)
def test_text_shows_every_name(graph: Graph) -> None:
    """A drawing for terminals has each node's name, and as many arrows as nodes that are entered, at most."""
    text = ascii_art(graph)
    for node in graph.nodes.values():
        assert f" {node.name} " in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_large_graph_is_drawn_in_reasonable_time() -> None:
    """Hundreds of nodes in a chain with shortcuts and loops are no trouble."""
    names = [f"n{number}" for number in range(300)]
    edges = [Edge(one, other) for one, other in pairwise(names)]
    edges += [Edge(names[number], names[number + 7]) for number in range(0, 290, 10)]
    edges += [Edge(names[number + 5], names[number]) for number in range(0, 290, 10)]
    graph = Graph({name: Node(name, name) for name in names}, edges)
    check(layout(graph, LETTERS), graph)


def test_lines_run_together_only_if_they_begin_or_end_together() -> None:
    """Two lines that cross are told from two that meet: a bus of one node does not touch that of another."""
    names = ["s", "a", "b", "c", "d"]
    edges = [Edge("s", "a"), Edge("s", "b"), Edge("a", "c"), Edge("a", "d"), Edge("b", "d"), Edge("b", "c")]
    picture = layout(Graph({name: Node(name, name) for name in names}, edges), LETTERS)
    tracks: dict[int, set[tuple[int, int]]] = {}
    for line in picture.lines:
        for (x, y), (to_x, to_y) in pairwise(line.points):
            if y == to_y and x != to_x:
                tracks.setdefault(y, set()).add(line.points[0])
    assert all(len(sources) == 1 for y, sources in tracks.items())
