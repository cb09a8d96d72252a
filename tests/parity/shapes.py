"""Random stories of random graphs, as plain data: what is built and what is done to it.

    a pick ──► Story ──► the same code builds and runs it with either library (``building``, ``watching``)

``pick(n)`` answers with a number below n. Hypothesis draws it, so that a story that tells two libraries apart shrinks;
small numbers stand for plain things.

Invariants:
1. Equal stories build equal graphs, with either library.
2. What a node does depends on nothing but what it is given, its answers, and how often its world has seen it fail.

It must not import either library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies

Pick = Callable[[int], int]

START, END = "__start__", "__end__"
SEEN_BY_MOST = ("values", "updates", "custom")
ALL_MODES = (*SEEN_BY_MOST, "tasks", "checkpoints", "debug", "messages")


class Write(NamedTuple):
    """One write of a node: to which key, and which of the values that go with it."""

    key: str
    variant: int = 0


class Goto(NamedTuple):
    """Where a node or a router leads: a node's name, or with ``sent`` a ``Send`` to it."""

    name: str
    sent: bool = False


class Node(NamedTuple):
    """One node.

    Args:
        name: Its name.
        form: What it returns: see ``FORMS``.
        writes: What its update holds.
        goto: Where its command leads.
        questions: How many questions it asks, one after another.
        fails: How often it fails before it works.
        retried: Whether it has a retry policy.
        deferred: Whether it waits until nothing else is due.
        reads: The schema it reads: ``"state"``, ``"some"`` keys, or keys of its ``"own"``, which the state lacks.
        inner: The graph that it is or calls.
        called: Whether it calls the graph, rather than being it.
        saves: The graph's ``checkpointer``.
    """

    name: str
    form: str = "dict"
    writes: tuple[Write, ...] = ()
    goto: tuple[Goto, ...] = ()
    questions: int = 0
    fails: int = 0
    retried: bool = False
    deferred: bool = False
    reads: str = "state"
    inner: Graph | None = None
    called: bool = False
    saves: bool | None = None


class Edge(NamedTuple):
    """How control moves on.

    Args:
        kind: A plain ``"edge"``, a ``"join"``, or a ``"router"``.
        starts: Where it begins; several for a join.
        ends: Where it may lead.
        form: What a router answers with: one ``"name"``, a ``"list"``, ``"sends"``, or a ``"mixed"`` list.
        path_map: A router's: ``None``, ``"dict"`` or ``"list"``.
        fails: How often the router fails before it works.
    """

    kind: str
    starts: tuple[str, ...]
    ends: tuple[Goto, ...]
    form: str = "name"
    path_map: str | None = None
    fails: int = 0


class Graph(NamedTuple):
    """A graph: its drawing, the kind of its schema, and where it stops.

    Args:
        nodes: Its nodes.
        edges: Its edges.
        schema: ``"dict"``, ``"dataclass"`` or ``"pydantic"``.
        narrow: Whether it has input and output schemas of their own.
        before: Nodes it stops before.
        after: Nodes it stops after.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    schema: str = "dict"
    narrow: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Act(NamedTuple):
    """One thing that is done to the thread: see ``ACTS``; the number chooses among what there is then."""

    kind: str
    number: int = 0


class Story(NamedTuple):
    """A graph and what is done to it.

    Args:
        graph: The graph.
        acts: What is done, in order; between them the thread is carried on until it rests.
        durability: The mode of all runs.
        asynchronous: Whether coroutine functions run on an event loop.
        limit: The recursion limit.
        modes: The modes in which runs are streamed; none if they are invoked.
        subgraphs: Whether streams show subgraphs.
    """

    graph: Graph
    acts: tuple[Act, ...]
    durability: str = "sync"
    asynchronous: bool = False
    limit: int = 25
    modes: tuple[str, ...] = SEEN_BY_MOST
    subgraphs: bool = False


FORMS = (
    "dict",
    "dict",
    "dict",
    "dict",
    "none",
    "command",
    "command",
    "list",
    "pairs",
    "empty",
    "extra",
    "bad",
)
"""What a node returns: ``extra`` has a key that is no channel, ``bad`` is not an update at all."""
KEYS = (
    "trace", "trace", "total", "x", "best", "items", "messages", "topic", "fleeting", "any", "last",
)  # fmt: skip
ACTS = ("input", "goto", "update", "travel", "branch", "rewrite", "none", "edit")


def a_story(pick: Pick, acts: tuple[str, ...] = ACTS) -> Story:
    """Make up a story."""
    graph = a_graph(pick)
    durability = ("sync", "exit", "async")[pick(3)]
    if keeps_state(graph):
        # On a branch such a subgraph is what it was there, in LangGraph what it is at the end (TT-9); and there it
        # ignores its input if it is called first thing after anything but an input.
        acts = ("input",)
        graph = _unsent(graph)
    return Story(
        _unbroken(graph if durability != "sync" else _saving(graph)),
        (Act("input"), *(Act(acts[pick(len(acts))], pick(50)) for _ in range(pick(4)))),
        durability=durability,
        asynchronous=bool(pick(2)),
        limit=25 if pick(6) or any(node.inner for node in graph.nodes) else 1 + pick(4),
        modes=((), SEEN_BY_MOST, ALL_MODES)[pick(3)],
        subgraphs=bool(pick(2)),
    )


def _saving(graph: Graph) -> Graph:
    """Return the graph without subgraphs that save nothing, which LangGraph cannot run under ``sync`` (SG-2)."""
    return graph._replace(
        nodes=tuple(
            node._replace(inner=_saving(node.inner), saves=node.saves or None) if node.inner else node
            for node in graph.nodes
        )
    )


def _unbroken(graph: Graph) -> Graph:
    """Return the graph without breakpoints, if a subgraph keeps its state.

    In LangGraph such a subgraph ignores its input if it is called first thing after a resume.
    """
    return _without_breakpoints(graph) if keeps_state(graph) else graph


def _unsent(graph: Graph) -> Graph:
    """Return the graph without sends, if it holds subgraphs that keep their state.

    Two tasks that run such a subgraph at once overwrite what each other did in LangGraph; we refuse if they overlap.
    """
    if not keeps_state(graph):
        return graph
    return graph._replace(
        nodes=tuple(
            node._replace(
                goto=tuple(goto._replace(sent=False) for goto in node.goto),
                inner=_unsent(node.inner) if node.inner else None,
            )
            for node in graph.nodes
        ),
        edges=tuple(
            edge._replace(form="list") if edge.form in {"sends", "mixed"} else edge for edge in graph.edges
        ),
    )


def keeps_state(graph: Graph) -> bool:
    """Say whether the graph holds subgraphs that keep their state."""
    return any(node.inner and (node.saves or keeps_state(node.inner)) for node in graph.nodes)


def unsaved(graph: Graph) -> frozenset[str]:
    """Return the names of the nodes whose subgraphs save nothing, at any depth."""
    names = {node.name for node in graph.nodes if node.inner and node.saves is False}
    return frozenset(names).union(*(unsaved(node.inner) for node in graph.nodes if node.inner))


def pairing(graph: Graph) -> frozenset[str]:
    """Return the names of the nodes that return commands whose updates are pairs, at any depth."""
    names = {node.name for node in graph.nodes if node.form == "pairs"}
    return frozenset(names).union(*(pairing(node.inner) for node in graph.nodes if node.inner))


def _without_breakpoints(graph: Graph) -> Graph:
    nodes = tuple(
        node._replace(inner=_without_breakpoints(node.inner)) if node.inner else node for node in graph.nodes
    )
    return graph._replace(before=(), after=(), nodes=nodes)


def _steady(graph: Graph) -> Graph:
    """Return the graph without what would run again from its top in a subgraph that saves nothing."""
    return graph._replace(
        before=(),
        after=(),
        nodes=tuple(
            node._replace(
                questions=0,
                fails=0,
                inner=_steady(node.inner) if node.inner else None,
                saves=False if node.saves is False else None,
            )
            for node in graph.nodes
        ),
        edges=tuple(edge._replace(fails=0) for edge in graph.edges),
    )


def a_graph(pick: Pick, depth: int = 0, prefix: str = "") -> Graph:
    """Make up a graph; those at a depth are smaller."""
    count = 1 + pick((6, 3, 2)[depth])
    # Where nodes are listed by name and where in the order of the drawing must show.
    names = [f"{prefix}{letter}" for letter in ("abcdef", "abcdef", "fbeadc")[pick(3)][:count]]
    nodes = tuple(_a_node(pick, names, index, depth) for index in range(count))
    edges = [Edge("edge", (START,), (Goto(names[0]),))]
    for index in range(1, count):
        edges.extend(_edges_to(pick, names, index))
    if pick(5) == 0:
        edges.append(Edge("router", (names[-1],), (Goto(names[pick(count)]),), "again"))
    if depth == 0 and pick(8) == 0:
        edges.append(Edge("edge", (names[-1],), (Goto(END),)))
    stops = [tuple(names[n] for n in range(count) if pick(4) == 0) if pick(10) == 9 else () for _ in range(2)]
    return Graph(
        nodes,
        tuple(edges),
        schema=("dict", "dict", "dict", "dict", "dataclass", "pydantic")[pick(6)],
        narrow=pick(6) == 5,
        before=stops[0],
        after=stops[1],
    )


def _a_node(pick: Pick, names: list[str], index: int, depth: int) -> Node:
    name, later = names[index], names[index + 1 :]
    if depth < 2 and pick(7) == 6:
        inner = a_graph(pick, depth + 1, f"{name}_")
        saves = (None, None, None, False, True)[pick(5)]
        return Node(
            name,
            deferred=index > 0 and pick(8) == 7,
            inner=_steady(inner) if saves is False else inner,
            called=bool(pick(2)),
            saves=saves,
        )
    form = FORMS[pick(len(FORMS))] if pick(12) else "bad"
    if form == "bad" and pick(5):
        form = "dict"
    goto = ()
    if form in {"command", "list"}:
        goto = tuple(_a_goto(pick, later) for _ in range(pick(3)))
    return Node(
        name,
        form,
        writes=(Write("trace"), *(Write(KEYS[pick(len(KEYS))], pick(3)) for _ in range(pick(3)))),
        goto=goto,
        questions=(0, 0, 0, 0, 0, 0, 1, 2)[pick(8)],
        fails=int(pick(12) == 11),
        retried=pick(6) == 5,
        deferred=index > 0 and pick(7) == 6,
        reads=("state", "state", "state", "some", "own")[pick(5)],
    )


def _a_goto(pick: Pick, later: list[str]) -> Goto:
    if not later or pick(12) == 11:
        return Goto(END)
    return Goto(later[pick(len(later))], sent=bool(pick(2)))


def _edges_to(pick: Pick, names: list[str], index: int) -> list[Edge]:
    before, name = names[:index], names[index]
    match pick(8):
        case 0 | 1 | 2:
            return [Edge("edge", (before[pick(index)],), (Goto(name),))]
        case 3 | 4:
            members = {before[pick(index)] for _ in range(2 + pick(2))}
            return [Edge("join", tuple(sorted(members)), (Goto(name),))]
        case 5:
            ends = (name, *(names[pick(len(names) - index) + index] for _ in range(pick(3))))
            start = START if pick(6) == 5 else before[pick(index)]
            return [
                Edge(
                    "router",
                    (start,),
                    tuple(Goto(end) for end in dict.fromkeys(ends)),
                    form=("name", "list", "sends", "mixed")[pick(4)],
                    path_map=(None, "dict", "list")[pick(3)],
                    fails=int(pick(15) == 14),
                )
            ]
        case 6:
            return [Edge("edge", (START,), (Goto(name),))]
        case _:
            # Nothing leads here but a goto or a Send, if there is one.
            return []


@strategies.composite
def stories(draw: strategies.DrawFn, acts: tuple[str, ...] = ACTS) -> Story:
    """Draw a story; it shrinks towards a few plain nodes that are run once."""
    return a_story(lambda below: draw(strategies.integers(0, below - 1)), acts)
