"""A drawing as mermaid text.

    Sketch ──► nodes, edges of the whole graph ──► ``subgraph`` blocks, each with its nodes and edges ──► styles

The text is LangGraph's to the letter where both draw the same graph, so that tools which read it go on working.

It must not decide what is drawn.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Any

from .drawable import LEVEL, outside_in

if TYPE_CHECKING:
    from .drawable import Edge, NodeStyles, Sketch

_PLAIN = frozenset(string.ascii_letters + string.digits + "_-")


def mermaid(
    graph: Sketch, words: int, header: dict[str, Any] | None = None, styles: NodeStyles | None = None
) -> str:
    """Return a graph as mermaid text.

    Args:
        graph: What to draw.
        words: After how many words a label goes on in the next line.
        header: ``curve`` for how lines bend, ``given`` for settings of the user; None for no header.
        styles: Colours of nodes; None to leave nodes and their shapes to mermaid.
    """
    lines = _front_matter(header["curve"], header["given"]) if header is not None else []
    lines.append("graph TD;")
    first, last = graph.first_node(), graph.last_node()
    ends = {
        **({last.id: "last"} if last is not None else {}),
        **({first.id: "first"} if first is not None else {}),
    }
    inside = outside_in(graph.nodes)
    edges: dict[tuple[str, ...], list[Edge]] = {path: [] for path in inside}
    for edge in graph.edges:
        edges[_common(edge)].append(edge)
    opened: list[str] = []
    for path in sorted(inside, key=_depth_first(list(inside))):
        while len(opened) > max(len(path) - 1, 0) or opened != list(path[:-1]):
            opened.pop()
            lines.append("\tend")
        if path:
            opened.append(path[-1])
            lines.append(f"\tsubgraph {path[-1]}")
        if styles is not None:
            lines.extend(
                f"\t{_node(graph.nodes[key].name, key, graph.nodes[key].metadata, ends)}"
                for key in inside[path]
            )
        lines.extend(f"\t{_line(edge, words)}" for edge in edges[path])
    lines.extend("\tend" for _ in opened)
    if styles is not None:
        lines.extend(f"\tclassDef {name} {style}" for name, style in styles._asdict().items())
    return "\n".join(lines) + "\n"


def _depth_first(paths: list[tuple[str, ...]]) -> Any:
    """Return a key that sorts paths of subgraphs so that each comes right after what it lies in."""
    place = {path: number for number, path in enumerate(paths)}
    return lambda path: tuple(place[path[: depth + 1]] for depth in range(len(path)))


def _common(edge: Edge) -> tuple[str, ...]:
    """Return the innermost subgraph that both ends of an edge lie in."""
    source, target = edge.source.split(LEVEL)[:-1], edge.target.split(LEVEL)[:-1]
    same = 0
    while same < min(len(source), len(target)) and source[same] == target[same]:
        same += 1
    return tuple(source[:same])


def _node(name: str, key: str, metadata: dict[str, Any] | None, ends: dict[str, str]) -> str:
    label = f"<p>{name}</p>" if name.startswith("__") and name.endswith("__") else name
    if metadata:
        notes = "\n".join(f"{note} = {value}" for note, value in metadata.items())
        label += f"<hr/><small><em>{notes}</em></small>"
    return f"{_safe(key)}([{label}]):::{ends[key]}" if key in ends else f"{_safe(key)}({label})"


def _line(edge: Edge, words: int) -> str:
    arrow = ".-" if edge.conditional else "--"
    if edge.data is None:
        arrow = "-.->" if edge.conditional else "-->"
    else:
        label = _wrapped(edge.data, words)
        arrow = f"-. &nbsp;{label}&nbsp; .->" if edge.conditional else f"-- &nbsp;{label}&nbsp; -->"
    return f"{_safe(edge.source)} {arrow} {_safe(edge.target)};"


def _wrapped(label: str, words: int) -> str:
    listed = label.split()
    if len(listed) <= words:
        return label
    parts = [" ".join(listed[at : at + words]) for at in range(0, len(listed), words)]
    return "&nbsp<br>&nbsp".join(parts)


def _safe(key: str) -> str:
    """Return an id that mermaid takes: what is no letter, digit, ``_`` or ``-`` becomes a backslash and its code."""
    return "".join(
        character if character in _PLAIN else "\\" + format(ord(character), "x") for character in key
    )


def _front_matter(curve: str, given: dict[str, Any] | None) -> list[str]:
    config: dict[str, Any] = {**(given or {})}
    inner = {**config.get("config", {})}
    inner["flowchart"] = {**inner.get("flowchart", {}), "curve": curve}
    config["config"] = inner
    return ["---", *_yaml(config, 0), "---"]


def _yaml(value: dict[str, Any], depth: int) -> list[str]:
    lines: list[str] = []
    for key, item in sorted(value.items()):
        if isinstance(item, dict):
            lines.extend([f"{'  ' * depth}{key}:", *_yaml(item, depth + 1)])
        else:
            lines.append(f"{'  ' * depth}{key}: {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if not isinstance(value, str) or re.fullmatch(r"[A-Za-z][\w .-]*", text) else f"'{text}'"
