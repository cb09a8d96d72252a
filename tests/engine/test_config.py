"""Configs: what nodes see of them, what checkpoints keep of them, and graphs that have one of their own."""

from __future__ import annotations

import operator
import uuid
from typing import Annotated, Any, TypedDict

import pytest
from helpers import Way

from walgraph import (
    START,
    Command,
    InvalidGraph,
    Log,
    MemoryLog,
    MissingThreadId,
    StateGraph,
    get_config,
    interrupt,
    task,
)
from walgraph.engine.config import merged
from walgraph.tools.mortal import deaths


class State(TypedDict):
    """A trail."""

    trail: Annotated[list[str], operator.add]


class Seen:
    """A graph of one node that keeps the configs it saw, and asks if it is told to."""

    def __init__(self, log: Any = None, *, asks: bool = False) -> None:
        self.configs: list[dict[str, Any]] = []
        self.asks = asks
        self.graph = StateGraph(State).add_node("n", self.node).add_edge(START, "n").compile(log)

    def node(self, state: State, config: dict[str, Any]) -> dict[str, Any]:
        """Keep the config."""
        assert config == get_config()
        self.configs.append(config)
        if self.asks:
            interrupt("?")
        return {"trail": ["n"]}


THREAD = {"thread_id": "t"}
EMPTY: dict[str, Any] = {"trail": []}


def notes(graph: Any, config: Any = None) -> list[dict[str, Any]]:
    """Return what the checkpoints of a thread note, newest first, without what each has."""
    history = graph.get_state_history(config or {"configurable": THREAD})
    own = {"source", "step", "parents"}
    return [{key: value for key, value in one.metadata.items() if key not in own} for one in history]


def test_nodes_see_the_callers_config(way: Way) -> None:
    """Tags, metadata and limits come along; what names the run stays with the run (LC-1)."""
    seen = Seen()
    given = {
        "tags": ["t"],
        "metadata": {"m": 1, "listed": [1]},
        "configurable": {"user": "ada"},
        "max_concurrency": 2,
        "recursion_limit": 9,
        "run_name": "nightly",
        "run_id": uuid.uuid4(),
        "callbacks": [],
    }
    way.invoke(seen.graph, EMPTY, given)
    config = seen.configs[0]
    assert config["tags"] == ["t"]
    assert (config["recursion_limit"], config["max_concurrency"], config["callbacks"]) == (9, 2, [])
    assert config["configurable"]["user"] == "ada"
    metadata = config["metadata"]
    assert (metadata["m"], metadata["listed"]) == (1, [1])
    assert metadata["langgraph_node"] == "n"
    assert metadata["langgraph_step"] == 1
    assert metadata["langgraph_triggers"] == ("branch:to:n",)
    assert metadata["langgraph_path"] == ("__pregel_pull", "n")
    assert metadata["langgraph_checkpoint_ns"] == config["configurable"]["checkpoint_ns"]
    assert "run_id" not in config
    assert "run_name" not in config


def test_checkpoints_keep_scalars(way: Way, log: Log) -> None:
    """Scalars of metadata and configurable are kept, but for those of the engine and private ones (§1.10, K-5)."""
    seen = Seen(log)
    configurable = {
        **THREAD,
        "user": "ada",
        "number": 3,
        "object": {},
        "__private": 1,
        "checkpoint_style": "x",
    }
    metadata = {
        "m": 1,
        "yes": True,
        "listed": [1],
        "nul": "a\0b",
        "langgraph_x": 1,
        "langgraph_node": "q",
        "user": "b",
    }
    way.invoke(seen.graph, EMPTY, {"configurable": configurable, "metadata": metadata})
    kept = {
        "m": 1,
        "yes": True,
        "nul": "ab",
        "langgraph_x": 1,
        "user": "b",
        "number": 3,
        "checkpoint_style": "x",
    }
    assert notes(seen.graph) == [kept] * 3


def test_what_a_resume_notes_is_kept_from_then_on(way: Way, log: Log, durability: str) -> None:
    """Checkpoints from before keep their notes; what the run was started with stays unless it is noted anew."""
    seen = Seen(log, asks=True)
    way.invoke(
        seen.graph, EMPTY, {"configurable": THREAD, "metadata": {"a": 1, "b": 1}}, durability=durability
    )
    assert notes(seen.graph)[0] == {"a": 1, "b": 1}
    config = {"configurable": THREAD, "metadata": {"b": 2, "by": "ada"}}
    way.invoke(seen.graph, Command(resume="yes"), config, durability=durability)
    before = [] if durability == "exit" else [{"a": 1, "b": 1}] * 2
    assert notes(seen.graph) in (
        [{"a": 1, "b": 2, "by": "ada"}, *before],
        [{"a": 1, "b": 2, "by": "ada"}, {"a": 1, "b": 1}],
    )
    assert seen.configs[1]["metadata"]["by"] == "ada"


def test_notes_survive_a_resume_that_notes_nothing(way: Way, log: Log) -> None:
    """Whoever recovers a run need not know what it was started with; LangGraph forgets it."""
    seen = Seen(log, asks=True)
    way.invoke(seen.graph, EMPTY, {"configurable": THREAD, "metadata": {"order": 7}})
    way.invoke(seen.graph, Command(resume="yes"), {"configurable": THREAD})
    assert notes(seen.graph) == [{"order": 7}] * 3
    way.invoke(seen.graph, EMPTY, {"configurable": THREAD})
    assert notes(seen.graph)[0] == {}


def test_what_an_edit_notes_is_kept(log: Log) -> None:
    """The checkpoint of an edit notes what its call notes, beside what is noted already; an input begins anew."""
    seen = Seen(log)
    seen.graph.invoke(EMPTY, {"configurable": THREAD, "metadata": {"a": 1, "b": 1}})
    config = {"configurable": THREAD, "metadata": {"b": 2}}
    seen.graph.update_state(config, {"trail": ["u"]}, as_node="n")
    assert notes(seen.graph)[:2] == [{"a": 1, "b": 2}, {"a": 1, "b": 1}]
    seen.graph.update_state(config, EMPTY, as_node="__input__")
    assert notes(seen.graph)[0] == {"b": 2}


def test_notes_outlive_a_kill_at_each_append(durability: str) -> None:
    """Whether the resume was recorded or not, what the run ends with is what the last call noted."""
    resumed = {"configurable": THREAD, "metadata": {"by": "ada"}}

    def prepare(log: Log) -> None:
        started = {"configurable": THREAD, "metadata": {"order": 7}}
        Seen(log, asks=True).graph.invoke(EMPTY, started, durability="sync")

    def act(log: Log, _: Any) -> None:
        Seen(log, asks=True).graph.invoke(Command(resume="yes"), resumed, durability=durability)

    for disk, _, fate in deaths(prepare, act):
        with disk.process() as log:
            graph = Seen(log, asks=True).graph
            if graph.get_state({"configurable": THREAD}).interrupts:
                graph.invoke(Command(resume="yes"), resumed)
            else:
                graph.invoke(None, {"configurable": THREAD})
            assert graph.get_state({"configurable": THREAD}).next == (), fate
            assert notes(graph) == [{"order": 7, "by": "ada"}, {"order": 7}, {"order": 7}], fate


def test_a_graph_can_have_a_config_of_its_own(way: Way) -> None:
    """The call's is laid over it: tags add up, metadata and configurable go by key, the rest is replaced."""
    seen = Seen(MemoryLog())
    own = {
        "tags": ["w"],
        "metadata": {"w": 1, "m": 5},
        "configurable": {**THREAD, "z": 1},
        "recursion_limit": 7,
    }
    graph = seen.graph.with_config(own, max_concurrency=3)
    assert seen.graph.config is None
    assert graph.config == {**own, "max_concurrency": 3}
    assert graph.with_config(tags=["more"]).config["tags"] == ["w", "more"]
    way.invoke(graph, EMPTY, {"tags": ["t", "w"], "metadata": {"m": 7}, "recursion_limit": 9})
    config = seen.configs[0]
    assert config["tags"] == ["w", "t"]
    assert {key: config["metadata"][key] for key in ("w", "m")} == {"w": 1, "m": 7}
    assert (config["recursion_limit"], config["max_concurrency"]) == (9, 3)
    assert config["configurable"]["z"] == 1
    assert way.stream(graph, EMPTY, None) == [{"n": {"trail": ["n"]}}]


def test_a_graphs_own_config_names_the_thread_for_looking_too(log: Log) -> None:
    """What can be left out of a call can be left out of ``get_state`` and its kin."""
    seen = Seen(log)
    graph = seen.graph.with_config(configurable=THREAD)
    graph.invoke(EMPTY)
    assert graph.get_state({}).values == {"trail": ["n"]}
    assert len(list(graph.get_state_history({}))) == 3
    graph.update_state({}, {"trail": ["u"]}, as_node="n")
    assert seen.graph.get_state({"configurable": THREAD}).values == {"trail": ["n", "u"]}
    with pytest.raises(MissingThreadId):
        seen.graph.get_state({})


def test_a_subgraph_with_a_config_of_its_own(way: Way, log: Log) -> None:
    """Its config lies between that of the task that runs it and that of the call."""
    inner = Seen()
    outer = StateGraph(State).add_node(
        "sub", inner.graph.with_config(tags=["inner"], metadata={"who": "inner"})
    )
    graph = outer.add_edge(START, "sub").compile(log)
    way.invoke(
        graph, EMPTY, {"configurable": THREAD, "tags": ["outer"], "metadata": {"who": "outer", "o": 1}}
    )
    config = inner.configs[0]
    assert sorted(config["tags"]) == ["inner", "outer"]
    assert (config["metadata"]["who"], config["metadata"]["o"]) == ("outer", 1)


def test_a_copy_differs_where_it_is_told_to(log: Log) -> None:
    """``copy(update)`` takes the attributes of a compiled graph; the original stays as it was."""
    seen = Seen()
    graph = seen.graph.copy(
        {"name": "other", "checkpointer": log, "interrupt_before_nodes": ["n"], "store": 1}
    )
    assert (graph.name, seen.graph.name) == ("other", "LangGraph")
    assert (graph.checkpointer, graph.store, seen.graph.checkpointer) == (log, 1, None)
    config = {"configurable": THREAD}
    graph.invoke(EMPTY, config)
    assert seen.configs == []
    assert next(iter(log.threads())).graph == "other"
    graph.copy({"interrupt_before_nodes": None}).invoke(None, config)
    assert graph.get_state(config).values == {"trail": ["n"]}
    assert seen.graph.copy({"stream_mode": "values"}).invoke(EMPTY) == {"trail": ["n"]}
    assert list(seen.graph.copy({"stream_mode": "values"}).stream(EMPTY)) == [{"trail": []}, {"trail": ["n"]}]


def test_a_copy_is_checked() -> None:
    """Unknown attributes are an error, and so is what ``compile`` would refuse."""
    graph = Seen().graph
    with pytest.raises(ValueError, match="has no 'checkpoint' to change; it has cache, checkpointer"):
        graph.copy({"checkpoint": None})
    with pytest.raises(TypeError, match="Invalid checkpointer"):
        graph.copy({"checkpointer": "log"})
    with pytest.raises(TypeError, match="Invalid cache"):
        graph.copy({"cache": "redis"})
    with pytest.raises(InvalidGraph, match="`m` not found"):
        graph.copy({"interrupt_after_nodes": ["m"]})


def test_configs_are_laid_over_one_another() -> None:
    """Lists of tags and callbacks add up; None takes nothing back."""
    one = {"tags": ["a"], "callbacks": [1], "metadata": {"x": 1}, "recursion_limit": 5}
    other = {"tags": ["b", "a"], "callbacks": [2, 1], "metadata": {"y": 2}, "recursion_limit": None}
    assert merged(one, None, other) == {
        "tags": ["a", "b"],
        "callbacks": [1, 2],
        "metadata": {"x": 1, "y": 2},
        "configurable": {},
        "recursion_limit": 5,
    }
    assert merged({"callbacks": [1]}, {"callbacks": "manager"})["callbacks"] == "manager"
    assert one["tags"] == ["a"]


def test_tasks_see_the_config_too() -> None:
    """A ``@task`` is called within its node's config."""
    seen: list[Any] = []

    @task
    def note() -> None:
        seen.append(get_config()["tags"])

    graph = StateGraph(State).add_node("n", lambda _: note().result()).add_edge(START, "n").compile()
    graph.invoke(EMPTY, {"tags": ["t"]})
    assert seen == [["t"]]


def test_callbacks_reach_langchain_runnables() -> None:
    """A runnable that is a node is told the caller's handlers, tags and metadata."""
    base = pytest.importorskip("langchain_core.callbacks").BaseCallbackHandler
    runnables = pytest.importorskip("langchain_core.runnables")
    told: list[tuple[Any, Any]] = []

    class Handler(base):  # type: ignore[misc]  # the base is found at run time
        def on_chain_start(self, *_: Any, tags: Any = None, metadata: Any = None, **__: Any) -> None:
            told.append((tags, metadata))

    node = runnables.RunnableLambda(lambda _: {"trail": ["r"]})
    graph = StateGraph(State).add_node("n", node).add_edge(START, "n").compile()
    graph.invoke(
        EMPTY, {"callbacks": [Handler()], "tags": ["t"], "metadata": {"m": 1}, "run_id": uuid.uuid4()}
    )
    mine = [(tags, metadata) for tags, metadata in told if metadata and metadata.get("langgraph_node") == "n"]
    assert mine
    assert all("t" in tags and metadata["m"] == 1 for tags, metadata in mine)
