"""Graphs of stories, built with either library.

    build(library, graph, world) ──► StateGraph

A ``World`` counts what bodies did: which ran with what, and which failed before.

It must not know what is compared.
"""

from __future__ import annotations

import asyncio
import dataclasses
import operator
import time
from collections import Counter
from typing import Annotated, Any

import pydantic
from parity.shapes import END, START, Edge, Goto, Graph, Node, Write
from typing_extensions import TypedDict

AGAIN_BELOW = 8
"""The edge that leads back is taken only while the trace is shorter than this."""
TRACE = 30
"""The trace keeps so many entries: graphs that hand it to subgraphs and get it back would double it otherwise."""
PAUSE = 0.03
"""Seconds that a body waits before it fails for good, less in subgraphs, so that its siblings have ended: LangGraph
records only these."""


class Flaky(ConnectionError):
    """What a body raises that works when tried again."""


class World:
    """What bodies act on: it counts, and says whether they fail.

    Args:
        asynchronous: Whether bodies are coroutine functions.
    """

    def __init__(self, *, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.ran: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def fails(self, name: str, times: int) -> bool:
        """Say whether the body fails this time, and count it."""
        if self.failed[name] < times:
            self.failed[name] += 1
            return True
        return False


def capped(old: list[str], new: list[str]) -> list[str]:
    """Add to a list that keeps its last entries only."""
    return (old + new)[-TRACE:]


def greater(old: int, new: int) -> int:
    """Keep the greater number."""
    return max(old, new)


def schemas(library: Any, kind: str, *, is_inner: bool) -> dict[str, Any]:
    """Return the schemas of a graph: of its state, its input and output, and those that nodes read."""
    fields = {
        "trace": Annotated[list[str], capped],
        "total": Annotated[int, operator.add],
        "x": str,
        "last": Any,
        "best": Annotated[int, greater],
        "items": Annotated[list[Any], operator.add],
        "messages": Annotated[list[Any], library.add_messages],
        "topic": Annotated[list[str], library.Topic(str, accumulate=True)],
        "fleeting": Annotated[str, library.EphemeralValue(str, guard=False)],
        "any": Annotated[str, library.AnyValue],
        "untracked": Annotated[str, library.UntrackedValue(str, guard=False)],
    }
    if is_inner:
        # What a graph returns of these depends, in LangGraph, on whether its last step wrote something else.
        fields = {key: typ for key, typ in fields.items() if key not in FLEETING}
    some = {key: fields[key] for key in ("trace", "total", "x")}
    own = {"trace": fields["trace"], **PRIVATE}
    if kind == "dataclass":
        defaults = [(key, typ, dataclasses.field(default=None)) for key, typ in fields.items()]
        state: Any = dataclasses.make_dataclass("State", defaults)
    elif kind == "pydantic":
        state = pydantic.create_model(
            "State",
            **{key: (typ, DEFAULTS[key]) for key, typ in fields.items()},
        )
    else:
        state = TypedDict("State", fields, total=False)
    return {
        "state": state,
        "some": TypedDict("Some", some, total=False),
        "own": TypedDict("Own", own, total=False),
        "input": TypedDict("Input", {key: fields[key] for key in ("trace", "x", "messages")}, total=False),
        "output": TypedDict("Output", {key: fields[key] for key in OUTPUT}, total=False),
    }


DEFAULTS = {
    "trace": [], "total": 0, "x": "", "last": None, "best": 0, "items": [], "messages": [], "topic": [],
    "fleeting": "", "any": "", "untracked": "",
}  # fmt: skip
FLEETING = ("fleeting", "any", "untracked")
PRIVATE = {"secret": str, "private": Annotated[list[str], operator.add]}
"""The keys that are only in a node's own schema, so no graph returns them."""
OUTPUT = ("trace", "total", "last")
"""The keys that a graph with an output schema of its own returns."""


def build(library: Any, graph: Graph, world: World, *, is_inner: bool = False) -> Any:
    """Draw a graph with a library."""
    kinds = schemas(library, graph.schema, is_inner=is_inner)
    narrow = {"input_schema": kinds["input"], "output_schema": kinds["output"]} if graph.narrow else {}
    builder = library.StateGraph(kinds["state"], **narrow)
    for node in graph.nodes:
        options: dict[str, Any] = {"defer": node.deferred}
        if node.retried:
            options["retry_policy"] = library.RetryPolicy(initial_interval=0, jitter=False, retry_on=Flaky)
        if node.reads != "state" and node.inner is None:
            options["input_schema"] = kinds[node.reads]
        builder.add_node(node.name, _body(library, node, world), **options)
    for number, edge in enumerate(graph.edges):
        match edge.kind:
            case "edge":
                builder.add_edge(edge.starts[0], edge.ends[0].name)
            case "join":
                builder.add_edge(list(edge.starts), edge.ends[0].name)
            case _:
                _route(library, builder, edge, number, world)
    return builder


def compiled(library: Any, graph: Graph, world: World, saver: Any, *, name: str, is_inner: bool) -> Any:
    """Compile a graph with what it stops at."""
    return build(library, graph, world, is_inner=is_inner).compile(
        checkpointer=saver, name=name, interrupt_before=list(graph.before), interrupt_after=list(graph.after)
    )


def plain(given: Any) -> dict[str, Any]:
    """Return what a body was given as a dict."""
    if dataclasses.is_dataclass(given):
        return {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    return dict(given)


def seen(given: Any) -> str:
    """Say what a body was given, so that a wrong state leaves a trace."""
    return ",".join(
        f"{key}={_brief(value)}" for key, value in sorted(plain(given).items()) if value is not None
    )


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return f"[{len(value)}]"
    return str(value)[:12]


def _value(library: Any, write: Write, name: str, state: dict[str, Any]) -> Any:
    """Return what a write writes."""
    number = len(state.get("trace") or ())
    match write.key:
        case "trace":
            entry = [f"{name}{number}"]
            return library.Overwrite(entry) if write.variant == 2 else entry
        case "total":
            return 1 + write.variant
        case "best":
            return (number * 7 + write.variant) % 5
        case "items":
            return [[name], [{"n": number}, None], library.Overwrite([number])][write.variant]
        case "messages":
            return _messages(library, write.variant, name, state)
        case "topic":
            return [name, [name, name], []][write.variant]
        case "last":
            return [name, None, {"from": [name, number]}][write.variant]
        case _:
            return f"{name}{write.variant}"


def _messages(library: Any, variant: int, name: str, state: dict[str, Any]) -> Any:
    from langchain_core.messages import AIMessage, RemoveMessage

    held = state.get("messages") or []
    match variant:
        case 0:
            return [{"role": "user", "content": name, "id": name}]
        case 1:
            return AIMessage(f"{name} {len(held)}", id="said")
        case _:
            return [RemoveMessage(id=held[0].id)] if held else [("human", f"{name}!")][:0]


def _goto(library: Any, goto: Goto, name: str, number: int) -> Any:
    if not goto.sent:
        return goto.name
    return library.Send(goto.name, {"trace": [f"from {name}"], "x": f"sent{number}"})


def _result(library: Any, node: Node, given: dict[str, Any], answers: list[Any]) -> Any:
    """Return what a node returns."""
    name = node.name
    pairs = [(write.key, _value(library, write, name, given)) for write in node.writes]
    pairs.extend(("trace", [str(answer)]) for answer in answers)
    update = dict(pairs)
    if node.reads == "own":
        update["secret"] = f"{name} knows"
        update["private"] = [name]
    goto = [_goto(library, each, name, number) for number, each in enumerate(node.goto)]
    match node.form:
        case "none":
            return None
        case "empty":
            return {}
        case "command":
            return library.Command(update=update, goto=goto[0] if len(goto) == 1 else goto)
        case "list":
            return [{"total": 5}, library.Command(update=update, goto=goto)]
        case "pairs":
            return library.Command(update=pairs)
        case "extra":
            return {**update, "no_such_key": 1}
        case "bad":
            return 5
        case _:
            return update


def _body(library: Any, node: Node, world: World) -> Any:
    """Return what a node calls."""
    if node.inner is not None:
        # LangGraph takes a graph that is called in a node of the same name for that node, and shows the messages of its
        # result as the node's. So here a called graph has a name of its own.
        name = f"graph of {node.name}" if node.called else node.name
        inner = compiled(library, node.inner, world, node.saves, name=name, is_inner=True)
        return _calling(inner, node, world) if node.called else inner

    pause = PAUSE / (1 + node.name.count("_"))

    def before(given: Any) -> bool:
        world.ran[f"{node.name}({seen(given)})"] += 1
        library.get_stream_writer()(f"{node.name} runs")
        return world.fails(node.name, node.fails)

    def is_final(fails: bool) -> bool:
        return not node.retried if fails else node.form == "bad"

    def after(given: Any) -> Any:
        answers = [library.interrupt(f"{node.name} asks {number}") for number in range(node.questions)]
        return _result(library, node, plain(given), answers)

    def body(state: Any) -> Any:
        fails = before(state)
        if is_final(fails):
            time.sleep(pause)
        if fails:
            raise Flaky(f"{node.name} fails")
        return after(state)

    async def coroutine_body(state: Any) -> Any:
        fails = before(state)
        if is_final(fails):
            await asyncio.sleep(pause)
        if fails:
            raise Flaky(f"{node.name} fails")
        return after(state)

    return coroutine_body if world.asynchronous else body


def _calling(inner: Any, node: Node, world: World) -> Any:
    """Return a body that calls a graph, and then writes something of its own."""

    def result(given: Any, found: Any) -> Any:
        return {"trace": [f"{node.name} got {seen(found)}"], "total": 1}

    def body(state: Any) -> Any:
        world.ran[f"{node.name}({seen(state)})"] += 1
        return result(state, inner.invoke({"trace": ["called"], "x": "in"}))

    async def coroutine_body(state: Any) -> Any:
        world.ran[f"{node.name}({seen(state)})"] += 1
        return result(state, await inner.ainvoke({"trace": ["called"], "x": "in"}))

    return coroutine_body if world.asynchronous else body


def _route(library: Any, builder: Any, edge: Edge, number: int, world: World) -> None:
    """Add a conditional edge."""

    def route(state: Any) -> Any:
        length = len(plain(state).get("trace") or ())
        if world.fails(f"router {number} of {edge.starts}", edge.fails):
            raise Flaky(f"router {number} fails")
        if edge.form == "again":
            return edge.ends[0].name if length < AGAIN_BELOW else END
        names = [end.name for end in edge.ends]
        if edge.path_map == "dict":
            names = [f"to {name}" for name in names]
        names.append(END if edge.path_map != "dict" else "to the end")
        chosen = names[length % len(names)]
        is_end = chosen in {END, "to the end"}
        match edge.form:
            case "list":
                return names[: 1 + length % len(names)]
            case "sends" if not is_end:
                return [library.Send(end.name, {"trace": [f"routed {length}"]}) for end in edge.ends]
            case "mixed" if not is_end:
                return [chosen, library.Send(edge.ends[0].name, {"trace": ["mixed"]})]
            case _:
                return chosen

    route.__name__ = f"router_{number}"
    path_map: Any = None
    if edge.path_map == "dict":
        path_map = {**{f"to {end.name}": end.name for end in edge.ends}, "to the end": END}
    elif edge.path_map == "list":
        path_map = [*(end.name for end in edge.ends), END]
    builder.add_conditional_edges(START if edge.starts[0] == START else edge.starts[0], route, path_map)
