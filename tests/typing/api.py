"""Type-checked with ``mypy --strict``, never run: the annotations of the public face, used as users use them."""

from __future__ import annotations

import functools
import operator
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal, TypedDict, assert_type

from walgraph import (
    END,
    START,
    BaseCache,
    BaseStore,
    Command,
    CompiledGraph,
    CompiledStateGraph,
    GraphOutput,
    InMemoryCache,
    InMemoryStore,
    Interrupt,
    Item,
    Log,
    LogCache,
    LogStore,
    MemoryLog,
    RetryPolicy,
    Runtime,
    SearchItem,
    Send,
    StateGraph,
    StateSnapshot,
    ThreadHead,
    WalgraphError,
    entrypoint,
    get_runtime,
    interrupt,
    open_log,
    task,
)


class State(TypedDict):
    """A state of users."""

    trail: Annotated[list[str], operator.add]
    left: int


class Context(TypedDict):
    """A context of users."""

    user: str


def plain(state: State) -> dict[str, Any]:
    """Return an update."""
    return {"left": state["left"] - 1}


async def coroutine(state: State, runtime: Runtime[Context]) -> State:
    """Return a whole state."""
    return {"trail": [runtime.context["user"]], "left": 0}


def steering(state: State) -> Command[Literal["plain"]]:
    """Return a command."""
    return Command(update={"left": 0}, goto="plain")


def spread(state: State) -> list[Send]:
    """Return sends."""
    return [Send("plain", state), Send("plain", {})]


def asking(state: State) -> None:
    """Ask."""
    assert_type(interrupt("who?"), Any)


def builder() -> StateGraph[State, Context]:
    """Draw; every method that draws returns the builder."""
    graph = StateGraph(State, Context, input_schema=State, output_schema=State)
    return (
        graph.add_node(plain)
        .add_node(
            "second", coroutine, defer=True, metadata={"a": 1}, retry_policy=RetryPolicy(max_attempts=2)
        )
        .add_node("third", steering, retry_policy=[RetryPolicy(retry_on=(OSError, ValueError))])
        .add_node("asking", asking, input_schema=State)
        .add_edge(START, "plain")
        .add_edge(["plain", "second"], "third")
        .add_edge("third", END)
        .add_conditional_edges("plain", spread, ["plain"])
        .add_conditional_edges("second", lambda _: "yes", {"yes": "plain", True: END})
        .add_sequence([plain, ("named", plain)])
        .set_entry_point("plain")
        .set_finish_point("third")
    )


def called(log: Log) -> None:
    """Call a graph in each of the synchronous ways."""
    graph = builder().compile(
        log, interrupt_before=["plain"], interrupt_after="*", durability="sync", name="g"
    )
    assert_type(graph, CompiledGraph[State, Context, State, State])
    config = {"configurable": {"thread_id": "1"}}
    started = graph.invoke({"trail": [], "left": 1}, config, durability="exit", if_busy="wait")
    assert_type(started, dict[str, Any] | Any)
    resumed = graph.invoke(Command(resume="yes"), config, stream_mode=["values", "updates"])
    assert_type(resumed, dict[str, Any] | Any)
    assert_type(graph.stream(None, config, stream_mode="custom", subgraphs=True), Iterator[Any])
    whole = graph.invoke(None, config, version="v2", context={"user": "ada"}, interrupt_after="*")
    assert_type(whole, GraphOutput[State])
    assert_type(whole.value["left"], int)
    assert_type(whole.interrupts, tuple[Interrupt, ...])
    assert_type(graph.invoke(None, config, stream_mode="updates", version="v2"), dict[str, Any] | Any)
    snapshot = graph.get_state(config)
    assert_type(snapshot, StateSnapshot)
    assert_type(snapshot.next, tuple[str, ...])
    assert_type(snapshot.interrupts, tuple[Interrupt, ...])
    assert_type(graph.get_state_history(config, filter={"source": "loop"}, limit=1), Iterator[StateSnapshot])
    assert_type(graph.update_state(config, {"left": 1}, as_node="plain"), dict[str, Any])


async def awaited(graph: CompiledGraph) -> None:
    """Call a graph in each of the asynchronous ways."""
    config = {"configurable": {"thread_id": 1}}
    assert_type(await graph.ainvoke({}, config, context={"user": "ada"}), dict[str, Any] | Any)
    assert_type(await graph.ainvoke({}, config, version="v2"), GraphOutput[Any])
    assert_type(await graph.ainvoke({}, config, stream_mode=["values"], version="v2"), dict[str, Any] | Any)
    assert_type(graph.astream({}, config), AsyncIterator[Any])
    assert_type(await graph.aget_state(config), StateSnapshot)
    assert_type(await graph.aupdate_state(config, None), dict[str, Any])


@task
def double(number: int) -> int:
    """Return twice as much."""
    return number * 2


@task(name="triple", retry_policy=RetryPolicy())
def triple(number: int) -> int:
    """Return three times as much."""
    return number * 3


@entrypoint(MemoryLog())
def workflow(number: int) -> int:
    """Call tasks and wait for them."""
    doubled = double(number).result()
    assert_type(doubled, int)
    tripled = triple(number).result()
    assert_type(tripled, int)
    return doubled + tripled


@task(retry_policy=RetryPolicy())
async def slowly(number: int, *, by: float = 1.0) -> str:
    """Return a text, later."""
    return str(number * by)


@entrypoint(MemoryLog(), context_schema=Context)
async def awaiting(number: int) -> entrypoint.final[str, int]:
    """Await a task; return one thing and save another."""
    assert_type(await slowly(number, by=2), str)
    return entrypoint.final(value="done", save=number)


assert_type(workflow, CompiledGraph[int, Any, int, int])
assert_type(awaiting, CompiledGraph[int, Context, int, str])


class Given(TypedDict):
    """What a graph is given."""

    left: int


class Parts:
    """Nodes as methods and as objects."""

    def method(self, state: State, config: dict[str, Any], *, runtime: Runtime[Context]) -> Given:
        """Return an update."""
        return {"left": len(runtime.context["user"])}

    async def __call__(self, state: Given) -> Command[Literal["method", "__end__"]] | None:
        """Return a command or nothing."""
        return Command(goto="method") if state["left"] else None


def subgraph() -> CompiledStateGraph[State, Context, Given]:
    """Build with every kind of node; the graph takes less than its state."""
    graph = StateGraph(State, Context, input_schema=Given)
    graph.add_node("method", Parts().method).add_node("object", Parts(), input_schema=Given)
    graph.add_node("lambda", lambda state: {"left": state["left"]}).add_node(
        "partial", functools.partial(plain)
    )
    graph.add_node("graph", builder().compile()).add_node("flow", workflow)
    compiled = graph.add_edge(START, "method").compile(True)
    compiled.invoke({"left": 1}, context={"user": "ada"})
    return compiled


def around(graph: CompiledStateGraph[State, Context, Given]) -> None:
    """Use what runs a graph several times, and what looks at it."""
    named = graph.with_config(tags=["a"]).copy({"name": "other"})
    assert_type(named, CompiledGraph[State, Context, Given, State])
    assert_type(graph.batch([{"left": 1}], [{"tags": ["a"]}], return_exceptions=True), list[Any])
    assert_type(graph.batch_as_completed([{"left": 1}]), Iterator[tuple[int, Any]])
    assert_type(graph.transform(iter([{"left": 1}])), Iterator[Any])
    assert_type(graph.get_graph(xray=True).draw_ascii(), str)
    assert_type(graph.get_graph().to_json(), dict[str, list[dict[str, Any]]])
    assert_type(graph.get_subgraphs(recurse=True), Iterator[tuple[str, Any]])
    assert_type(graph.get_input_jsonschema(), dict[str, Any])
    assert_type(graph.get_context_jsonschema(), dict[str, Any] | None)
    any_graph: CompiledGraph = graph
    assert_type(get_runtime(Context).context, Context)
    any_graph.invoke({})


async def around_awaited(graph: CompiledGraph[State, Context]) -> None:
    """Use the asynchronous twins."""
    assert_type(await graph.abatch([{}], max_concurrency=1), list[Any])
    async for number, _ in graph.abatch_as_completed([{}]):
        assert_type(number, int)
    async for name, _ in graph.aget_subgraphs():
        assert_type(name, str)


def logs() -> None:
    """Open logs and look at them."""
    with Log.open("a.wal", strict=True, fsync="data") as log, open_log("b.wal", create=False) as other:
        assert_type(log, Log)
        assert_type(other.head("t"), ThreadHead | None)
        called(log)
        log.copy_thread("a", "b")
    with MemoryLog(strict=True) as memory:
        called(memory)


def errors(error: WalgraphError) -> None:
    """Read an error as data."""
    assert_type(error.code, str)
    assert_type(error.hint, str)
    assert_type(error.details, dict[str, Any])


async def stores(store: BaseStore, cache: BaseCache[int]) -> None:
    """Remember across threads, and keep results."""
    assert_type(store.get(("users",), "ada"), Item | None)
    assert_type(await store.asearch((), query="who", filter={"age": {"$gt": 3}}), list[SearchItem])
    assert_type(store.list_namespaces(prefix=("*", "notes")), list[tuple[str, ...]])
    store.put(("users",), "ada", {"age": 5}, index=["name"], ttl=5)
    assert_type(cache.get([(("squares",), "2")]), dict[tuple[tuple[str, ...], str], int])
    kept: list[BaseStore] = [InMemoryStore(index={"dims": 3, "embed": len}), LogStore(MemoryLog())]
    caches: list[BaseCache[int]] = [InMemoryCache[int](), LogCache[int](MemoryLog())]
    assert kept
    assert caches
