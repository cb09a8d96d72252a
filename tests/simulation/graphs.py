"""Random graphs: what they look like, and how they are built.

    a pick ──► Shape (plain data, printable) ──► build(shape, outside) ──► StateGraph

``pick(n)`` answers with a number below n. Hypothesis draws it, so that a failing graph shrinks; the crash loops take
a seeded random number, so that a child process can make the same graph from the seed alone.

A node's result depends on nothing but the state it was given, its children's results and its answers, so every life
of a graph comes to the same end, however often it dies on the way. What a node *does* besides, it does to an
``Outside``: a world that crashes cannot take back, which counts.

Invariants:
1. Equal shapes build equal graphs, in any process.
2. Every graph ends: edges lead forward, but for one that leads back at most a few times.

It must not know what is tested with the graphs.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Protocol, TypedDict

from hypothesis import strategies

from walgraph import (
    END,
    START,
    Command,
    NodeError,
    RetryPolicy,
    Send,
    StateGraph,
    entrypoint,
    idempotency_key,
    interrupt,
    register_type,
    task,
)

Pick = Callable[[int], int]

AGAIN_BELOW = 8
"""The edge that leads back is taken only while the trace is shorter than this."""
RETRIED = 2
"""How often a node fails that is retried."""
LARGE = 40_000
"""Characters of a value that goes out of line in the log."""


class Outside(Protocol):
    """The world beyond the log: it sees what is done, and remembers how often."""

    def did(self, key: str, name: str) -> int:
        """Take note that the task of this id does what its name says; return how often it did before."""
        ...


class Flaky(ConnectionError):
    """What a node raises the first time that it is tried."""


@register_type
class Broken(ValueError):
    """What a node raises whose error handler is to run; known in every process that handles it."""


class CallShape(NamedTuple):
    """One ``@task`` that a node calls; ``calls`` are those that it calls in turn."""

    kind: str
    calls: tuple[CallShape, ...] = ()


class NodeShape(NamedTuple):
    """One node: what its body does, and how it is reached."""

    name: str
    kind: str
    deferred: bool = False
    calls: tuple[CallShape, ...] = ()
    questions: int = 0
    goto: tuple[str, ...] = ()
    inner: Shape | None = None


class EdgeShape(NamedTuple):
    """How control comes to ``ends``: a plain ``edge``, a ``join`` of several, a ``router`` that may be ``flaky``."""

    kind: str
    starts: tuple[str, ...]
    ends: tuple[str, ...]


class Shape(NamedTuple):
    """A graph, as plain data."""

    nodes: tuple[NodeShape, ...]
    edges: tuple[EdgeShape, ...]
    turns: int = 1


class State(TypedDict, total=False):
    """The state of all graphs: the order of writes shows in the trace, lost or doubled ones in the total."""

    trace: Annotated[list[str], operator.add]
    total: Annotated[int, operator.add]
    large: Annotated[str, max]


KINDS = (
    "plain", "plain", "plain", "calls", "calls", "asks", "commands", "sends", "flaky", "retried", "spoiled",
    "large", "inner", "invokes", "aborts", "steers", "handled", "handled asks", "handled flaky", "handled goes",
    "checks",
)  # fmt: skip
CALL_KINDS = ("plain", "plain", "plain", "flaky", "retried", "asks", "spoiled", "nested", "checks", "invokes")


def a_shape(pick: Pick, *, depth: int = 0) -> Shape:
    """Make up a graph."""
    count = 1 + pick(6 if depth == 0 else 3)
    names = [f"n{index}" for index in range(count)]
    nodes: list[NodeShape] = []
    edges = [EdgeShape("edge", (START,), (names[0],))]
    for index in range(count):
        nodes.append(_a_node(pick, names, index, depth))
        if index:
            edges.extend(_edges_to(pick, names, index))
    if not depth and count > 1 and pick(4) == 0:
        edges.append(EdgeShape("again", (names[-1],), (names[pick(count)],)))
    return Shape(tuple(nodes), tuple(edges), 1 if depth else 1 + (pick(4) == 0))


def _a_node(pick: Pick, names: list[str], index: int, depth: int) -> NodeShape:
    name, later = names[index], names[index + 1 :]
    kind = KINDS[pick(len(KINDS))]
    if (
        (kind in {"inner", "invokes"} and depth)
        or (kind == "steers" and not depth)
        or (kind in {"commands", "sends", "handled goes"} and not later)
    ):
        kind = "plain"
    return NodeShape(
        name,
        kind,
        deferred=index > 0 and pick(6) == 0,
        calls=tuple(_a_call(pick, 0) for _ in range(1 + pick(3))) if kind == "calls" else (),
        questions=1 + pick(2) if kind in {"asks", "handled asks"} else 0,
        goto=tuple(later[pick(len(later))] for _ in range(1 + pick(2)))
        if kind in {"commands", "sends", "handled goes"}
        else (),
        inner=a_shape(pick, depth=depth + 1) if kind in {"inner", "invokes"} else None,
    )


def _a_call(pick: Pick, depth: int) -> CallShape:
    kind = CALL_KINDS[pick(len(CALL_KINDS))]
    if kind == "nested":
        if depth > 1:
            return CallShape("plain")
        return CallShape(kind, tuple(_a_call(pick, depth + 1) for _ in range(1 + pick(2))))
    return CallShape(kind)


def _edges_to(pick: Pick, names: list[str], index: int) -> list[EdgeShape]:
    before, name = names[:index], names[index]
    match pick(8):
        case 0 | 1 | 2:
            return [EdgeShape("edge", (before[pick(index)],), (name,))]
        case 3 | 4:
            members = {before[pick(index)] for _ in range(2 + pick(2))}
            return [EdgeShape("join", tuple(sorted(members)), (name,))]
        case 5:
            others = tuple(names[pick(len(names) - index) + index] for _ in range(pick(3)))
            kind = ("router", "flaky router", "sending router")[pick(3)]
            return [EdgeShape(kind, (before[pick(index)],), (name, *others))]
        case 6:
            return [EdgeShape("edge", (START,), (name,))]
        case _:
            # Nothing leads here but a goto or a Send, if there is one.
            return []


@strategies.composite
def shapes(draw: strategies.DrawFn) -> Shape:
    """Draw a graph; it shrinks towards few plain nodes."""
    return a_shape(lambda below: draw(strategies.integers(0, below - 1)))


def names_in(shape: Shape) -> list[str]:
    """Return the names of the graph's nodes."""
    return [node.name for node in shape.nodes]


def build(shape: Shape, outside: Outside, *, asynchronous: bool = False, prefix: str = "") -> StateGraph:
    """Draw the graph of a shape.

    Args:
        shape: The shape.
        outside: What its nodes act on.
        asynchronous: Whether every second body is a coroutine function.
        prefix: What its nodes' entries in the trace begin with.
    """
    graph = StateGraph(State)
    for index, node in enumerate(shape.nodes):
        body = _body(node, outside, prefix, asynchronous=asynchronous)
        if asynchronous and index % 2 and node.kind not in {"inner", "invokes", "calls"}:
            body = _as_coroutine_function(body)
        retry = (
            RetryPolicy(initial_interval=0, jitter=False, retry_on=Flaky) if node.kind == "retried" else None
        )
        handler = _handler(node, outside, prefix) if node.kind.startswith("handled") else None
        if handler is not None and asynchronous and index % 2:
            handler = _as_coroutine_handler(handler)
        graph.add_node(node.name, body, defer=node.deferred, retry_policy=retry, error_handler=handler)
    for number, edge in enumerate(shape.edges):
        match edge.kind:
            case "edge":
                graph.add_edge(edge.starts[0], edge.ends[0])
            case "join":
                graph.add_edge(list(edge.starts), edge.ends[0])
            case _:
                graph.add_conditional_edges(edge.starts[0], _router(edge, number, outside))
    return graph


def start_of(turn: int) -> dict[str, Any]:
    """Return the input of a graph's run."""
    return {"trace": [f"input {turn}"], "total": 1}


def answer_to(question: Any) -> str:
    """Return the answer that the user always gives to a question."""
    return f"answer to {question}"


def _seen(state: Any) -> str:
    """Say what a body was given, so that a wrong state leaves a trace."""
    return f"{len(state.get('trace', ()))}/{state.get('total', 0)}"


def _body(node: NodeShape, outside: Outside, prefix: str, *, asynchronous: bool) -> Any:
    """Return what a node calls."""
    name = prefix + node.name
    if node.kind == "inner":
        assert node.inner is not None
        return build(node.inner, outside, asynchronous=asynchronous, prefix=f"{name}.").compile(name=name)
    if node.kind == "invokes":
        return _invoking(node, outside, name, asynchronous=asynchronous)
    if node.kind == "calls":
        return _calling(node, outside, name, asynchronous=asynchronous)

    def body(state: State) -> Any:
        times = outside.did(idempotency_key(), name)
        entry = f"{name}({_seen(state)})"
        match node.kind:
            case "flaky" if not times:
                raise Flaky(name)
            case "retried" if times < RETRIED:
                raise Flaky(name)
            case "handled" | "handled asks" | "handled flaky" | "handled goes":
                raise Broken(entry)
            case "spoiled" if not times:
                return {"trace": [object()]}
            case "aborts" if not times:
                raise KeyboardInterrupt(name)
            case "asks":
                answers = [interrupt(f"{entry} asks {number}") for number in range(node.questions)]
                return {"trace": [entry, *answers], "total": 1}
            case "checks":
                return {"trace": [entry, interrupt(f"{entry} checks", response_schema=str)], "total": 1}
            case "commands":
                return Command(update={"trace": [entry], "total": 1}, goto=list(node.goto))
            case "steers":
                return Command(graph=Command.PARENT, update={"trace": [entry], "total": 1})
            case "sends":
                sends = [Send(end, {"trace": [f"sent {n}"], "total": n}) for n, end in enumerate(node.goto)]
                return Command(update={"trace": [entry], "total": 1}, goto=sends)
            case "large":
                return {"trace": [entry], "total": 1, "large": entry[-1] * LARGE}
            case _:
                return {"trace": [entry], "total": 1}

    return body


def _as_coroutine_function(body: Any) -> Any:
    async def coroutine_body(state: State) -> Any:
        await asyncio.sleep(0)
        return body(state)

    return coroutine_body


def _handler(node: NodeShape, outside: Outside, prefix: str) -> Any:
    """Return what runs in the place of a node, which always fails."""
    name = f"{prefix}{node.name}!"

    def handle(state: State, error: NodeError) -> Any:
        times = outside.did(idempotency_key(), name)
        entry = f"{name}({_seen(state)} {error.node}: {error.error})"
        match node.kind:
            case "handled flaky" if not times:
                raise Flaky(name)
            case "handled asks":
                answers = [interrupt(f"{entry} asks {number}") for number in range(node.questions)]
                return {"trace": [entry, *answers], "total": 1}
            case "handled goes":
                return Command(update={"trace": [entry], "total": 1}, goto=list(node.goto))
            case _:
                return {"trace": [entry], "total": 1}

    return handle


def _as_coroutine_handler(handle: Any) -> Any:
    async def coroutine_handler(state: State, error: NodeError) -> Any:
        await asyncio.sleep(0)
        return handle(state, error)

    return coroutine_handler


def _invoking(node: NodeShape, outside: Outside, name: str, *, asynchronous: bool) -> Any:
    """Return a body that calls a graph, and then does something of its own."""
    assert node.inner is not None
    inner = build(node.inner, outside, asynchronous=asynchronous, prefix=f"{name}.").compile(name=name)

    def body(state: State) -> Any:
        outside.did(idempotency_key(), name)
        found = inner.invoke({"trace": [], "total": len(state.get("trace", ()))})
        return {"trace": [f"{name}({_seen(state)}, {_seen(found)})"], "total": found["total"]}

    async def coroutine_body(state: State) -> Any:
        outside.did(idempotency_key(), name)
        found = await inner.ainvoke({"trace": [], "total": len(state.get("trace", ()))})
        return {"trace": [f"{name}({_seen(state)}, {_seen(found)})"], "total": found["total"]}

    return coroutine_body if asynchronous else body


def _calling(node: NodeShape, outside: Outside, name: str, *, asynchronous: bool) -> Any:
    """Return a body that calls tasks, all at once, and waits for them in order."""
    functions = [_task(call, outside, f"{name}/{number}") for number, call in enumerate(node.calls)]
    coroutine_functions = [
        _coroutine_task(call, outside, f"{name}/{number}") for number, call in enumerate(node.calls)
    ]

    def body(state: State) -> Any:
        outside.did(idempotency_key(), name)
        futures = [function(_seen(state)) for function in functions]
        results = [future.result() for future in futures]
        return {"trace": [f"{name}({_seen(state)})", *results], "total": 1}

    async def coroutine_body(state: State) -> Any:
        outside.did(idempotency_key(), name)
        results = await asyncio.gather(*[function(_seen(state)) for function in coroutine_functions])
        return {"trace": [f"{name}({_seen(state)})", *results], "total": 1}

    return coroutine_body if asynchronous else body


def _asking_graph(outside: Outside, name: str) -> Any:
    """Return a graph that asks, to be called in a task."""

    def asker(state: State) -> Any:
        outside.did(idempotency_key(), f"{name}.asker")
        return {"trace": [interrupt(f"{name}.asker asks")], "total": 1}

    return StateGraph(State).add_node("asker", asker).add_edge(START, "asker").compile(name=name)


def _retry_of(call: CallShape) -> RetryPolicy | None:
    return RetryPolicy(initial_interval=0, jitter=False, retry_on=Flaky) if call.kind == "retried" else None


def _task(call: CallShape, outside: Outside, name: str) -> Any:
    """Return the ``@task`` of a call."""
    functions = [_task(inner, outside, f"{name}/{number}") for number, inner in enumerate(call.calls)]

    inner = _asking_graph(outside, name) if call.kind == "invokes" else None

    @task(name=name, retry_policy=_retry_of(call))
    def function(given: str) -> str:
        times = outside.did(idempotency_key(), name)
        if call.kind in {"flaky", "retried"} and not times:
            raise Flaky(name)
        if call.kind == "asks":
            return f"{name}:{interrupt(f'{name}({given}) asks')}"
        if call.kind == "checks":
            return f"{name}:{interrupt(f'{name}({given}) checks', response_schema=str)}"
        if inner is not None:
            found = inner.invoke({"trace": [], "total": 1})
            return f"{name}:{found['trace']}"
        if call.kind == "spoiled" and not times:
            return object()  # type: ignore[return-value]
        results = [inner(given).result() for inner in functions]
        return f"{name}[{given}{''.join(results)}]"

    return function


def _coroutine_task(call: CallShape, outside: Outside, name: str) -> Any:
    """Return the ``@task`` of a call as a coroutine function."""
    functions = [
        _coroutine_task(inner, outside, f"{name}/{number}") for number, inner in enumerate(call.calls)
    ]

    inner = _asking_graph(outside, name) if call.kind == "invokes" else None

    @task(name=name, retry_policy=_retry_of(call))
    async def function(given: str) -> str:
        times = outside.did(idempotency_key(), name)
        await asyncio.sleep(0)
        if call.kind in {"flaky", "retried"} and not times:
            raise Flaky(name)
        if call.kind == "asks":
            return f"{name}:{interrupt(f'{name}({given}) asks')}"
        if call.kind == "checks":
            return f"{name}:{interrupt(f'{name}({given}) checks', response_schema=str)}"
        if inner is not None:
            found = await inner.ainvoke({"trace": [], "total": 1})
            return f"{name}:{found['trace']}"
        if call.kind == "spoiled" and not times:
            return object()  # type: ignore[return-value]
        results = [await inner(given) for inner in functions]
        return f"{name}[{given}{''.join(results)}]"

    return function


def _router(edge: EdgeShape, number: int, outside: Outside) -> Any:
    """Return the function that says where an edge leads."""

    def route(state: State) -> Any:
        length = len(state.get("trace", ()))
        if edge.kind == "again":
            return edge.ends[0] if length < AGAIN_BELOW else END
        if edge.kind == "flaky router" and not outside.did(
            f"{idempotency_key()} {number}", f"router {number}"
        ):
            raise Flaky(f"router {number}")
        chosen = (*edge.ends, END)[length % (len(edge.ends) + 1)]
        if edge.kind == "sending router" and chosen != END:
            return [Send(chosen, {"trace": [f"routed {length}"], "total": 1})]
        return chosen

    route.__name__ = f"router_{number}"
    return route


def build_function(shape: Shape, outside: Outside, log: Any, durability: Any) -> Any:
    """Make an entrypoint of a shape: it calls one ``@task`` per node, in order, and asks where nodes ask."""
    functions = [
        _task(
            CallShape("nested", node.calls) if node.calls else CallShape(_call_kind(node)), outside, node.name
        )
        for node in shape.nodes
    ]

    @entrypoint(log, durability=durability, name="function")
    def function(given: Any, previous: Any = None) -> Any:
        outside.did(idempotency_key(), "function")
        futures = [call(str(given["total"])) for call in functions]
        results = [future.result() for future in futures]
        last = functions[0](f"{len(results)}").result()
        return {
            "trace": [*(previous or {}).get("trace", ()), *given["trace"], *results, last],
            "total": len(results),
        }

    return function


def _call_kind(node: NodeShape) -> str:
    return node.kind if node.kind in CALL_KINDS else "plain"
