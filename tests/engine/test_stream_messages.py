"""The mode ``messages``: tokens of langchain's models, what nodes return, and what they push.

The orders and metadata are what LangGraph 1.2.22 gives for the same graphs, without the ``ls_integration`` that it
puts to its own name.
"""

from __future__ import annotations

import operator
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from helpers import THREAD, Trail, chain, leaves
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableLambda
from stream_helpers import Names

from walgraph import (
    START,
    TAG_NOSTREAM,
    Command,
    MessagesState,
    Send,
    StateGraph,
    entrypoint,
    interrupt,
    push_message,
    task,
)
from walgraph.engine import messages as module


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make langchain_core impossible to import."""
    monkeypatch.setitem(sys.modules, "langchain_core", None)
    module._langchain.cache_clear()
    yield
    monkeypatch.undo()
    module._langchain.cache_clear()


def model(*texts: str) -> GenericFakeChatModel:
    """Return a model that says these texts, word by word."""
    return GenericFakeChatModel(messages=iter([AIMessage(text) for text in texts]))


def asks_model(way, chat, key="messages"):
    """Return a node that lets a model answer."""

    def call(state):
        return {key: [chat.invoke(state["messages"])]}

    async def acall(state):
        return {key: [await chat.ainvoke(state["messages"])]}

    function = acall if way.is_async else call
    function.__name__ = "call"
    return function


def graph_of(*nodes, log=None):
    """Return a graph of messages whose nodes run one after another."""
    return chain(*nodes, state=MessagesState).compile(log)


def texts(chunks):
    """Return what the messages of chunks say."""
    return [message["content"] if isinstance(message, dict) else message.content for message, _ in chunks]


def test_tokens_of_a_model_are_shown_and_its_whole_message_is_not(way, maybe_log) -> None:
    """The node returns what was shown in parts already; metadata says who speaks."""
    builder = StateGraph(MessagesState).add_node(
        "call", asks_model(way, model("hello there")), metadata={"why": 1}
    )
    graph = builder.add_edge(START, "call").compile(maybe_log)
    config = {**THREAD, "metadata": {"who": "me"}, "tags": ["tag"]}
    chunks = way.stream(graph, {"messages": [("user", "hi")]}, config, stream_mode="messages")
    assert [(type(message), message.content) for message, _ in chunks] == [
        (AIMessageChunk, "hello"),
        (AIMessageChunk, " "),
        (AIMessageChunk, "there"),
    ]
    assert len({message.id for message, _ in chunks}) == 1
    for _, metadata in chunks:
        own = {key: value for key, value in metadata.items() if not key.startswith(("ls_", "lc_"))}
        assert Names().of(own) == {
            "who": "me",
            "why": 1,
            "thread_id": "t",
            "tags": ["tag"],
            "langgraph_step": 1,
            "langgraph_node": "call",
            "langgraph_triggers": ("branch:to:call",),
            "langgraph_path": ("__pregel_pull", "call"),
            "langgraph_checkpoint_ns": "call:task 1",
            "checkpoint_ns": "call:task 1",
        }
        assert metadata["ls_provider"] == "genericfakechatmodel"
        assert metadata["ls_model_type"] == "chat"


def test_tokens_come_while_the_model_speaks(maybe_log) -> None:
    """The consumer has the first token before the model has said its last."""
    heard = threading.Event()

    class Slow(FakeListChatModel):
        def _stream(self, *args: Any, **options: Any) -> Iterator[Any]:
            for number, chunk in enumerate(super()._stream(*args, **options)):
                assert not number or heard.wait(20)
                yield chunk

    def call(state):
        return {"messages": [Slow(responses=["ab"]).invoke(state["messages"])]}

    graph = chain(call, state=MessagesState).compile(maybe_log)
    seen = []
    for message, _ in graph.stream({"messages": ["hi"]}, THREAD, stream_mode="messages"):
        seen.append(message.content)
        heard.set()
    assert "".join(seen) == "ab"


def test_messages_stand_before_the_update_that_holds_them(way, maybe_log) -> None:
    """What a node returns is shown whole, under ``sync`` when it is recorded; what it was given is not."""

    def more(state):
        return {"messages": [AIMessage("one", id="1"), AIMessage("two", id="2")]}

    def again(state):
        return {"messages": [*state["messages"], AIMessage("three", id="3")]}

    def by_command(state):
        return Command(update={"messages": AIMessage("four", id="4")})

    graph = graph_of(*(way.node(node) for node in (more, again, by_command)), log=maybe_log)
    given = {"messages": [HumanMessage("hi", id="0")]}
    chunks = way.stream(graph, given, stream_mode=["messages", "updates"], durability="sync")
    shown = [payload[0].id if mode == "messages" else next(iter(payload)) for mode, payload in chunks]
    assert shown == ["1", "2", "more", "3", "again", "4", "by_command"]
    metadata = chunks[0][1][1]
    assert Names().of(metadata) == {
        "thread_id": "t",
        "langgraph_step": 1,
        "langgraph_node": "more",
        "langgraph_triggers": ("branch:to:more",),
        "langgraph_path": ("__pregel_pull", "more"),
        "langgraph_checkpoint_ns": "more:task 1",
    }


def test_a_message_in_any_channel_is_shown(way, maybe_log) -> None:
    """Of whatever reducer, and also if it came as a Send's argument it is not shown again."""

    class State(TypedDict, total=False):
        kept: Annotated[list[Any], operator.add]
        last: Any

    def first(state):
        return {"last": AIMessage("last", id="1"), "kept": [1, "text", AIMessage("kept", id="2")]}

    def each(given):
        return {"kept": [given["last"], AIMessage("new", id="3")]}

    builder = StateGraph(State).add_node("first", way.node(first)).add_node("each", way.node(each))
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", lambda state: [Send("each", {"last": state["last"]})], ["each"])
    chunks = way.stream(builder.compile(maybe_log), {}, stream_mode="messages")
    assert texts(chunks) == ["last", "kept", "new"]
    assert chunks[-1][1]["langgraph_triggers"] == ("__pregel_push",)
    assert chunks[-1][1]["langgraph_path"] == ("__pregel_push", 0, False)


def test_the_tag_nostream_keeps_tokens_back(way, maybe_log) -> None:
    """The message is shown if the node returns it, and not at all otherwise."""
    quiet = model("not in parts", "not at all").with_config(tags=[TAG_NOSTREAM])

    def silent(state):
        quiet.invoke("hi")

    async def asilent(state):
        await quiet.ainvoke("hi")

    nodes = asks_model(way, quiet), asilent if way.is_async else silent
    chunks = way.stream(graph_of(*nodes, log=maybe_log), {"messages": ["hi"]}, stream_mode="messages")
    assert [(type(message), message.content) for message, _ in chunks] == [(AIMessage, "not in parts")]


def test_a_model_that_does_not_stream_shows_its_message_whole(way, maybe_log) -> None:
    """Once, though the node returns it as well."""

    class Whole(FakeListChatModel):
        disable_streaming: bool = True

    graph = graph_of(asks_model(way, Whole(responses=["all at once"])), log=maybe_log)
    chunks = way.stream(graph, {"messages": ["hi"]}, stream_mode="messages")
    assert texts(chunks) == ["all at once"]
    assert chunks[0][1]["ls_model_type"] == "chat"


def test_metadata_and_tags_of_the_models_own_call_are_added(way, maybe_log) -> None:
    """Those of the graph's call stay."""

    def call(state):
        model("hi").invoke("hi", {"metadata": {"mine": 1}, "tags": ["own"]})

    async def acall(state):
        await model("hi").ainvoke("hi", {"metadata": {"mine": 1}, "tags": ["own"]})

    graph = graph_of(acall if way.is_async else call, log=maybe_log)
    config = {**THREAD, "tags": ["all"]}
    ((_, metadata),) = way.stream(graph, {"messages": ["hi"]}, config, stream_mode="messages")
    assert (metadata["mine"], sorted(metadata["tags"])) == (1, ["all", "own"])
    assert metadata["langgraph_node"] == ("acall" if way.is_async else "call")


def test_a_model_that_is_given_the_nodes_config_is_heard_once(way, maybe_log) -> None:
    """As code does that had to run on older Pythons."""

    def call(state, config):
        return {"messages": [model("hi").invoke("hi", config)]}

    async def acall(state, config):
        return {"messages": [await model("hi").ainvoke("hi", config)]}

    graph = graph_of(acall if way.is_async else call, log=maybe_log)
    assert texts(way.stream(graph, {"messages": ["hi"]}, stream_mode="messages")) == ["hi"]


def test_a_runnable_as_a_node_shows_the_tokens_of_its_models(way, maybe_log) -> None:
    """The tags that langchain numbers its sequences with are not shown."""
    sequence = RunnableLambda(lambda state: state["messages"]) | model("in a chain")
    node = sequence | RunnableLambda(lambda message: {"messages": [message]})
    builder = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node")
    chunks = way.stream(builder.compile(maybe_log), {"messages": ["hi"]}, stream_mode="messages")
    assert "".join(texts(chunks)) == "in a chain"
    assert all("tags" not in metadata for _, metadata in chunks)


def test_subgraphs_are_heard_if_they_are_asked_for(way, log) -> None:
    """Under their namespace; else only what the node above returns is shown, whole."""
    inner = graph_of(asks_model(way, model("from within", "from within")))
    graph = StateGraph(MessagesState).add_node("sub", inner).add_edge(START, "sub").compile(log)
    chunks = way.stream(graph, {"messages": ["hi"]}, stream_mode="messages", subgraphs=True)
    assert "".join(message.content for _, (message, _) in chunks) == "from within"
    (namespace,) = {namespace for namespace, _ in chunks}
    metadata = chunks[0][1][1]
    assert (len(namespace), metadata["langgraph_node"]) == (1, "call")
    assert metadata["langgraph_checkpoint_ns"].startswith(f"{namespace[0]}|call:")
    (whole,) = way.stream(graph, {"messages": ["hi"]}, stream_mode="messages")
    assert (type(whole[0]), whole[0].content) == (AIMessage, "from within")
    assert whole[1]["langgraph_node"] == "sub"


def test_a_graph_called_in_a_node_does_not_take_the_nodes_voice(way, maybe_log) -> None:
    """What its nodes' models say is silent; what the node's own model says before and after is the node's."""
    inner = graph_of(asks_model(way, model("inner")))
    own = model("before", "after")

    def call(state):
        own.invoke("hi")
        inner.invoke({"messages": ["hi"]})
        own.invoke("hi")

    async def acall(state):
        await own.ainvoke("hi")
        await inner.ainvoke({"messages": ["hi"]})
        await own.ainvoke("hi")

    outer = acall if way.is_async else call
    outer.__name__ = "outer"
    chunks = way.stream(graph_of(outer, log=maybe_log), {"messages": ["hi"]}, stream_mode="messages")
    assert [(message.content, metadata["langgraph_node"]) for message, metadata in chunks] == [
        ("before", "outer"),
        ("after", "outer"),
    ]


def test_a_graph_streamed_in_a_node_is_heard_by_the_node(way, maybe_log) -> None:
    """And not by whoever streams the outer graph."""
    inner = graph_of(asks_model(way, model("inner")))
    heard = []

    def call(state):
        heard.extend(inner.stream({"messages": ["hi"]}, stream_mode="messages"))

    async def acall(state):
        heard.extend([chunk async for chunk in inner.astream({"messages": ["hi"]}, stream_mode="messages")])

    graph = graph_of(acall if way.is_async else call, log=maybe_log)
    assert way.stream(graph, {"messages": ["hi"]}, stream_mode="messages") == []
    assert texts(heard) == ["inner"]


def test_tasks_speak_under_their_own_name(way, maybe_log) -> None:
    """Their tokens, what they return, and what the entrypoint returns and nobody said before."""
    chat = model("by model")

    @task
    @way.node
    def plainly():
        return AIMessage("returned", id="1")

    @task
    def asked():
        return chat.invoke("hi")

    @task
    async def aasked():
        return await chat.ainvoke("hi")

    @entrypoint(maybe_log)
    @way.flow
    def workflow(_):
        said = yield (aasked if way.is_async else asked)()
        yield plainly()
        return [said, AIMessage("end", id="2")]

    chunks = way.stream(workflow, "hi", stream_mode=["messages", "updates"])
    shown = [
        (p[0].content, p[1]["langgraph_node"]) if mode == "messages" else next(iter(p)) for mode, p in chunks
    ]
    name = "aasked" if way.is_async else "asked"
    assert shown == [
        ("by", name),
        (" ", name),
        ("model", name),
        name,
        ("returned", "plainly"),
        "plainly",
        ("end", "workflow"),
        "workflow",
    ]
    (path,) = {
        p[1]["langgraph_path"] for mode, p in chunks if mode == "messages" and p[0].content == "returned"
    }
    assert path == ("__pregel_push", ("__pregel_pull", "workflow"), 1, True)


def test_what_was_said_before_a_resume_is_not_said_again(way, log) -> None:
    """A restored sibling's messages were shown when it ended."""

    def ask(state):
        return {"messages": [AIMessage(interrupt("?"), id="1")]}

    def other(state):
        return {"messages": [AIMessage("other", id="2")]}

    builder = StateGraph(MessagesState).add_node("ask", way.node(ask)).add_node("other", way.node(other))
    graph = builder.add_edge(START, "ask").add_edge(START, "other").compile(log)
    assert texts(way.stream(graph, {"messages": ["hi"]}, stream_mode="messages")) == ["other"]
    assert texts(way.stream(graph, Command(resume="!"), stream_mode="messages")) == ["!"]


def test_version_2_shows_pairs_as_data(way, maybe_log) -> None:
    """As LangGraph does."""
    graph = graph_of(asks_model(way, model("hi")), log=maybe_log)
    (part,) = way.stream(graph, {"messages": ["hi"]}, stream_mode="messages", version="v2")
    assert (part["type"], part["ns"], part["data"][0].content) == ("messages", (), "hi")


class Counting(BaseCallbackHandler):
    """A handler of the user's."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []

    def on_chat_model_start(self, serialized, messages, *, metadata=None, **_: Any) -> None:
        """Note who calls."""
        self.nodes.append((metadata or {}).get("langgraph_node"))


@pytest.mark.parametrize("mode", ["updates", "messages"])
def test_the_callers_callbacks_hear_the_models_of_all_nodes(way, maybe_log, mode) -> None:
    """In subgraphs too, once each, and whatever is streamed."""
    inner = graph_of(asks_model(way, model("inner")))
    builder = (
        StateGraph(MessagesState).add_node("outer", asks_model(way, model("outer"))).add_node("sub", inner)
    )
    graph = builder.add_edge(START, "outer").add_edge("outer", "sub").compile(maybe_log)
    handler = Counting()
    way.stream(graph, {"messages": ["hi"]}, {**THREAD, "callbacks": [handler]}, stream_mode=mode)
    assert handler.nodes == ["outer", "call"]


def test_a_run_that_shows_no_messages_leaves_models_alone(way, maybe_log) -> None:
    """A model that is asked for a whole message is not made to stream, and finds no callbacks."""
    found = []

    def node(state, config):
        found.append(config.get("callbacks"))

    graph = graph_of(way.node(node), log=maybe_log)
    way.stream(graph, {"messages": ["hi"]}, stream_mode=["values", "updates", "tasks", "custom", "debug"])
    assert found == [None]


def test_langchain_is_imported_only_for_who_asks_for_messages() -> None:
    """A run without messages and without the mode pays nothing."""
    program = """
import sys
from typing import TypedDict
from walgraph import START, StateGraph
class State(TypedDict, total=False):
    x: int
graph = StateGraph(State).add_node("one", lambda state: {"x": 1}).add_edge(START, "one").compile()
list(graph.stream({}, stream_mode=["values", "updates", "tasks", "checkpoints", "debug", "custom"]))
assert "langchain_core" not in sys.modules
list(graph.stream({}, stream_mode="messages"))
assert "langchain_core" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("plain")
def test_without_langchain_messages_are_dicts(way, maybe_log) -> None:
    """Returned and pushed ones are shown alike; what was given is not."""

    def node(state):
        push_message({"role": "assistant", "content": "thinking", "id": "1"})
        return {"messages": [*state["messages"], {"role": "assistant", "content": "done", "id": "2"}]}

    graph = graph_of(way.node(node), log=maybe_log)
    chunks = way.stream(graph, {"messages": [{"role": "user", "content": "hi"}]}, stream_mode="messages")
    assert texts(chunks) == ["thinking", "done"]
    assert chunks[0][1]["langgraph_node"] == "node"


def test_a_graph_without_messages_shows_none(way, maybe_log) -> None:
    """Dicts that only look like messages are values like others."""

    class State(TypedDict, total=False):
        rows: Annotated[list[Any], operator.add]

    def node(state):
        return {"rows": [{"id": "1", "content": "a row"}]}

    graph = chain(way.node(node), state=State)
    assert way.stream(graph.compile(maybe_log), {}, stream_mode="messages") == []
    trail = chain(way.node(leaves("one")), state=Trail).compile(maybe_log)
    assert (
        way.stream(trail, {"trail": []}, {"configurable": {"thread_id": "u"}}, stream_mode="messages") == []
    )
