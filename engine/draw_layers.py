"""Where nodes stand: in layers, ordered so that few lines cross, and above one another where lines can be straight.

    edges ─► without cycles ─► layers (longest path) ─► places held for long edges ─► order ─► columns

                 a            layer 0
               ┌─┴──┐
               b    ·         layer 1; the dot holds a place for the edge from a to d
               └─┬──┘
                 d            layer 2

Invariants:
1. An edge that is not turned leads from a layer to a later one.
2. Two items of a layer never overlap.
3. Everything is a whole number, so that terminals and pictures can share it.

It must not know lines (``draw_wires``) nor how anything looks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SWEEPS = 8
"""How often layers are reordered, and columns moved, after their neighbours."""


class Item:
    """Something that takes room in a layer.

    Args:
        key: Its name.
        width: How much room it takes from left to right.
        height: And from top to bottom.
        enter: How far from its left side lines enter; None for the middle.
        leave: How far from its left side lines leave; None for the middle.
    """

    __slots__ = ("above", "below", "enter", "height", "is_fixed", "key", "layer", "leave", "left", "width")

    def __init__(
        self, key: str, width: int, height: int, enter: int | None = None, leave: int | None = None
    ) -> None:
        self.key = key
        self.width = width
        self.height = height
        self.enter = width // 2 if enter is None else enter
        self.leave = width // 2 if leave is None else leave
        self.is_fixed = enter is not None or leave is not None
        """Whether lines can enter and leave nowhere else."""
        self.layer = 0
        self.left = 0
        self.above: list[Item] = []
        self.below: list[Item] = []

    @property
    def right(self) -> int:
        """The first column beyond it."""
        return self.left + self.width


def acyclic(keys: Sequence[str], edges: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the edges that lead back, without which there is no cycle: those that a walk from the top finds so.

    Args:
        keys: The nodes, the first ones at the top.
        edges: Pairs of nodes.
    """
    below: dict[str, list[str]] = {key: [] for key in keys}
    for source, target in edges:
        below[source].append(target)
    back: set[tuple[str, str]] = set()
    done: set[str] = set()
    for root in keys:
        if root in done:
            continue
        # The way from the root to where the walk is, and beside each node what is still to be visited from it.
        way: dict[str, list[str]] = {root: list(reversed(below[root]))}
        while way:
            here, left = next(reversed(way.items()))
            if not left:
                done.add(here)
                way.popitem()
                continue
            there = left.pop()
            if there in way:
                back.add((here, there))
            elif there not in done:
                way[there] = list(reversed(below[there]))
    return back


def layers_of(keys: Sequence[str], edges: Sequence[tuple[str, str]], last: set[str]) -> dict[str, int]:
    """Return the layer of each node: one more than that of the latest node that leads to it.

    Args:
        keys: The nodes.
        edges: Pairs of nodes, without cycles.
        last: Nodes that stand below all others.
    """
    below: dict[str, list[str]] = {key: [] for key in keys}
    waits = dict.fromkeys(keys, 0)
    for source, target in edges:
        below[source].append(target)
        waits[target] += 1
    layer = dict.fromkeys(keys, 0)
    ready = [key for key in keys if not waits[key]]
    for key in ready:
        for target in below[key]:
            layer[target] = max(layer[target], layer[key] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    lowest = max((layer[key] for key in keys if key not in last), default=-1)
    for key in keys:
        if key in last:
            layer[key] = max(layer[key], lowest + 1)
    return layer


def arrange(
    items: Sequence[Item], edges: Sequence[tuple[Item, Item]], gap: int
) -> tuple[list[list[Item]], list[tuple[Item, ...]]]:
    """Give each item its place.

    Args:
        items: With their layers set.
        edges: From a layer to a later one.
        gap: How much room to leave between two items of a layer.

    Returns:
        The layers from the top, places held for long edges among them; and for each edge its items from end to end.
    """
    ways: list[tuple[Item, ...]] = []
    layers: list[list[Item]] = [[] for _ in range(1 + max((item.layer for item in items), default=-1))]
    for item in items:
        layers[item.layer].append(item)
    for source, target in edges:
        way = [source]
        for depth in range(source.layer + 1, target.layer):
            held = Item("", 1, 0)
            held.layer = depth
            layers[depth].append(held)
            way.append(held)
        way.append(target)
        for above, below in pairwise(way):
            _join(above, below)
        ways.append(tuple(way))
    _order(layers)
    _spread(layers, gap)
    return layers, ways


def _join(above: Item, below: Item) -> None:
    above.below.append(below)
    below.above.append(above)


def _order(layers: list[list[Item]]) -> None:
    """Order the items of each layer so that few lines cross; the best of several tries is kept."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        # The first layer of a sweep has no layer before it to follow.
        for before, layer in pairwise(layers) if downwards else pairwise(reversed(layers)):
            _follow(before, layer, downwards=downwards)
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _follow(before: list[Item], layer: list[Item], *, downwards: bool) -> None:
    """Order a layer by where its neighbours stand in the layer beside it."""
    place = {id(item): number for number, item in enumerate(before)}
    standing = {id(item): number for number, item in enumerate(layer)}

    def middle(item: Item) -> float:
        joined = item.above if downwards else item.below
        return _mean([place[id(other)] for other in joined], standing[id(item)])

    layer.sort(key=middle)


def _mean(numbers: list[int], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise


def _crossings(layers: list[list[Item]]) -> int:
    """Return how many pairs of lines cross."""
    total = 0
    for upper, lower in pairwise(layers):
        place = {id(item): number for number, item in enumerate(lower)}
        seen: list[int] = []
        for item in upper:
            ends = sorted(place[id(other)] for other in item.below)
            total += sum(1 for end in ends for other in seen if other > end)
            seen.extend(ends)
    return total


def _spread(layers: list[list[Item]], gap: int) -> None:
    """Give the items their columns: near those they are joined to, and never over one another."""
    for layer in layers:
        column = 0
        for item in layer:
            item.left = column
            column = item.right + gap
    for sweep in range(2 * SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers if downwards else reversed(layers):
            wanted = [_wanted(item, both=sweep >= SWEEPS, downwards=downwards) for item in layer]
            for item, left in zip(layer, _apart(layer, wanted, gap), strict=True):
                item.left = left
    leftmost = min((item.left for layer in layers for item in layer), default=0)
    for layer in layers:
        for item in layer:
            item.left -= leftmost


def _wanted(item: Item, *, both: bool, downwards: bool) -> float:
    """Return where an item's left side should be for its lines to be straight."""
    columns: list[int] = []
    if downwards or both:
        columns += [other.left + other.leave - item.enter for other in item.above]
    if not downwards or both:
        columns += [other.left + other.enter - item.leave for other in item.below]
    return _mean(columns, item.left)


def _apart(layer: list[Item], wanted: list[float], gap: int) -> list[int]:
    """Return columns as near to the wanted ones as can be in this order (by pooling those in each other's way)."""
    offsets: list[int] = []
    column = 0
    for item in layer:
        offsets.append(column)
        column += item.width + gap
    # Without their widths, items may stand in one column but not pass each other; a group stands at its mean.
    groups: list[tuple[float, int]] = []
    for left, offset in zip(wanted, offsets, strict=True):
        mean, count = left - offset, 1
        while groups and groups[-1][0] > mean:
            before, many = groups.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        groups.append((mean, count))
    starts = [round(mean) for mean, count in groups for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]
