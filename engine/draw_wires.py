"""Where lines run: down from a node, along a track between two layers, and down into the next node.

        ┌───┐                    A line that leads back runs below its source to a lane at the right,
        │ a │                    up, and in again above its target.
        └─┬─┘
      ┌───┴────┐   track         Lines from one node share its stub and its track,
    ┌─┴─┐    ┌─┴─┐               lines into one node share the arrow.
    │ b │    │ c ├
    └───┘    └───┘

Invariants:
1. A line runs straight down, straight up or straight aside.
2. Lines lie between layers and in lanes, so they run over no node.
3. Two lines share a stretch only if they begin or end together.

It must not know how anything looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .draw_layers import Item


class Measures(NamedTuple):
    """Lengths that differ between terminals and pictures."""

    gap: int
    """Between two items of a layer."""
    stub: int
    """From a node down to the first track, and from the last track to the label or the arrow."""
    track: int
    """Between two tracks or lanes."""
    arrow: int
    """The arrow's length."""
    label: int
    """The height of one line of a label."""
    letter: float
    """The width of a letter, on average."""
    padding: int
    """Between a box and what is written in it, at the left and at the right."""
    line: int
    """The height of one line in a box."""
    frame: int
    """What the border of a box adds to its height."""
    inset: int
    """Between the border of a subgraph and what is in it."""
    title: int
    """The height of a subgraph's title."""


@dataclass
class Net:
    """The lines that leave one place together within one gap."""

    column: int
    """Where they come from: the column of a node above, or of a lane."""
    down: list[int] = field(default_factory=list)
    """The columns of the nodes below that they enter."""
    up: list[int] = field(default_factory=list)
    """The columns of the lanes that they go to."""
    track: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """The columns that the net takes on its track."""
        columns = [self.column, *self.down, *self.up]
        return min(columns), max(columns)


class Wire(NamedTuple):
    """One edge to be routed; the items between hold its places in the layers that it passes."""

    items: tuple[Item, ...]
    conditional: bool
    back: bool


class Gaps:
    """The room between layers: which columns lines use, and which tracks.

    Args:
        layers: From the top, with their columns.
        wires: What to route.
        measures: Lengths.
    """

    def __init__(self, layers: Sequence[Sequence[Item]], wires: Sequence[Wire], measures: Measures) -> None:
        self.layers = layers
        self.wires = wires
        self.measures = measures
        self.enters: dict[int, int] = {}
        """Item → the column in which lines enter it."""
        self.leaves: dict[tuple[int, bool], int] = {}
        """Item, and whether the lines are conditional → the column in which they leave it."""
        self.lanes: dict[Wire, int] = {}
        """Line that leads back → its lane's column."""
        self.nets: list[dict[Any, Net]] = [{} for _ in range(len(layers) + 1)]
        """For each gap, the first above all layers: where lines come from (item and kind, or a line back) → net."""
        self._set_ports()
        self._set_lanes()
        self._set_nets()
        self.tracks = [self._set_tracks(list(nets.values())) for nets in self.nets]
        """How many tracks each gap has."""

    def _set_ports(self) -> None:
        """Choose the columns in which lines leave and enter."""
        styles: dict[int, set[bool]] = {}
        items: dict[int, Item] = {id(item): item for layer in self.layers for item in layer}
        for wire in self.wires:
            for item in wire.items[:-1]:
                styles.setdefault(id(item), set()).add(wire.conditional)
        for key, item in items.items():
            self.enters[key] = item.left + item.enter
            kinds = sorted(styles.get(key, ()))
            shift = max(1, item.width // 4) if len(kinds) > 1 and not item.is_fixed else 0
            for number, kind in enumerate(kinds):
                self.leaves[key, kind] = item.left + item.leave + shift * (2 * number - 1)
        self._straighten(items)
        self._keep_apart()

    def _pairs(self) -> list[tuple[Item, Item, bool]]:
        """Return what is joined across each gap, downwards."""
        return [
            (above, below, wire.conditional)
            for wire in self.wires
            if not wire.back
            for above, below in pairwise(wire.items)
        ]

    def _straighten(self, items: dict[int, Item]) -> None:
        """Let a line that nearly meets its node's middle enter beside it, rather than bend for so little."""
        above: dict[int, set[int]] = {}
        for source, target, kind in self._pairs():
            above.setdefault(id(target), set()).add(self.leaves[id(source), kind])
        for key, columns in above.items():
            item = items[key]
            # Where lines leave a node that nothing wider stands around, they enter, too: a chain stays straight.
            if len(columns) == 1 and item.key and not item.is_fixed:
                (column,) = columns
                inner = max(1, item.width // 4)
                if item.left + inner <= column < item.right - inner:
                    self.enters[key] = column

    def _keep_apart(self) -> None:
        """Move a column in which one line leaves and an unrelated one enters, so that they do not run together."""
        above: dict[int, set[int]] = {}
        for source, target, kind in self._pairs():
            above.setdefault(id(target), set()).add(self.leaves[id(source), kind])
        for upper, lower in pairwise(self.layers):
            leaving = {
                self.leaves[id(item), kind]
                for item in upper
                for kind in (False, True)
                if (id(item), kind) in self.leaves
            }
            for below in lower:
                taken = leaving - above.get(id(below), set())
                column = self.enters[id(below)]
                for shift in (0, 1, -1, 2, -2, 3, -3, 4, -4):
                    moved = column + shift * self.measures.track // 2 if shift else column
                    inside = below.left < moved < below.right - 1 and not below.is_fixed
                    fits = not below.key or inside or not shift
                    if moved not in taken and fits:
                        self._move(below, moved)
                        break

    def _move(self, item: Item, column: int) -> None:
        """Let lines enter an item in another column; a held place moves as a whole."""
        if not item.key:
            for kind in (False, True):
                if (id(item), kind) in self.leaves:
                    self.leaves[id(item), kind] = column
        self.enters[id(item)] = column

    def _set_lanes(self) -> None:
        """Give lines that lead back their lanes, the shorter ones inside."""
        edge = max((item.right for layer in self.layers for item in layer), default=0)
        taken: list[list[tuple[int, int]]] = []
        back = [wire for wire in self.wires if wire.back]
        for wire in sorted(back, key=lambda wire: wire.items[0].layer - wire.items[-1].layer):
            span = (wire.items[-1].layer, wire.items[0].layer + 1)
            self.lanes[wire] = edge + (_first_free(taken, *span) + 1) * self.measures.track

    def _set_nets(self) -> None:
        for wire in self.wires:
            kind = wire.conditional
            if wire.back:
                source, target = wire.items
                lane = self.lanes[wire]
                leaving = self._net(source.layer + 1, source, kind)
                leaving.up.append(lane)
                self.nets[target.layer][wire] = Net(lane, [self.enters[id(target)]])
                continue
            for above, below in pairwise(wire.items):
                self._net(below.layer, above, kind).down.append(self.enters[id(below)])

    def _net(self, gap: int, item: Item, kind: bool) -> Net:  # noqa: FBT001 - one half of a key
        return self.nets[gap].setdefault((id(item), kind), Net(self.leaves[id(item), kind]))

    def _set_tracks(self, nets: list[Net]) -> int:
        """Put nets on the first track where they have room, those into one node together; straight ones need none."""
        bundles: dict[tuple[str, int], list[Net]] = {}
        for number, net in enumerate(nets):
            low, high = net.span
            if low == high:
                continue
            single = len(set(net.down)) == 1 and not net.up
            bundles.setdefault(("into", net.down[0]) if single else ("from", number), []).append(net)
        spans = [
            (min(net.span[0] for net in bundle), max(net.span[1] for net in bundle), bundle)
            for bundle in bundles.values()
        ]
        tracks: list[list[tuple[int, int]]] = []
        for low, high, bundle in sorted(spans, key=lambda span: (span[1] - span[0], span[0])):
            number = _first_free(tracks, low, high)
            for net in bundle:
                net.track = number
        return len(tracks)


def _first_free(tracks: list[list[tuple[int, int]]], low: int, high: int) -> int:
    """Take a stretch of the first track or lane where nothing else is, and return its number."""
    for number, others in enumerate(tracks):
        if all(high < other[0] or low > other[1] for other in others):
            others.append((low, high))
            return number
    tracks.append([(low, high)])
    return len(tracks) - 1
