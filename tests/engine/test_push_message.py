"""``push_message``: shown at once, and in the state when the node returns.

The order of what is shown is that of LangGraph 1.2.22.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers import THREAD, Way, chain
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from timeout_helpers import SHORT

from walgraph import (
    START,
    InvalidUpdateError,
    MessagesState,
    OutsideOfRun,
    StateGraph,
    TimeoutPolicy,
    entrypoint,
    push_message,
    task,
)


def graph_of(*nodes, log=None):
    """Return a graph of messages whose nodes run one after another."""
    return chain(*nodes, state=MessagesState).compile(log)


def texts(chunks):
    """Return what the messages of chunks say."""
    return [message["content"] if isinstance(message, dict) else message.content for message, _ in chunks]


def test_a_pushed_message_is_shown_at_once_and_kept_with_the_nodes_update(way, maybe_log) -> None:
    """Before what the node returns; with ``state_key=None`` it is only shown."""

    def node(state):
        push_message(AIMessage("pushed", id="1"))
        push_message({"role": "ai", "content": "only shown", "id": "2"}, state_key=None)
        return {"messages": [AIMessage("returned", id="3")]}

    graph = graph_of(way.node(node), log=maybe_log)
    chunks = way.stream(graph, {"messages": []}, stream_mode=["messages", "updates", "tasks", "values"])
    shown = [(mode, payload) for mode, payload in chunks if not (mode == "tasks" and "input" in payload)][1:]
    assert [mode for mode, _ in shown] == ["messages", "messages", "messages", "updates", "tasks", "values"]
    assert texts(payload for _, payload in shown[:3]) == ["pushed", "only shown", "returned"]
    pushed, returned = AIMessage("pushed", id="1"), AIMessage("returned", id="3")
    ((_, update),) = shown[3][1].items()
    assert [list(part) for part in update] == [["messages"], ["messages"]]
    assert set(shown[4][1]["result"]["messages"]) == {"$writes"}
    assert shown[5][1] == {"messages": [pushed, returned]}


def test_a_node_that_only_pushes_has_written(way, log) -> None:
    """What it pushed is recorded, and is there in the next run."""

    def node(state):
        push_message(AIMessage("pushed", id="1"))

    graph = graph_of(way.node(node), log=log)
    expected = {"messages": [AIMessage("pushed", id="1")]}
    assert way.invoke(graph, {"messages": []}) == expected
    assert graph.get_state(THREAD).values == expected


def test_an_attempt_that_fails_keeps_nothing_of_what_it_pushed(way, log) -> None:
    """RT-5: what was shown stays shown, the state has it once."""
    fails = [True]

    def node(state):
        push_message(AIMessage("pushed", id="1"))
        if fails.pop():
            raise ValueError

    graph = graph_of(way.node(node), log=log)
    chunks: list = []
    with pytest.raises(ValueError):
        way.stream_to(chunks, graph, {"messages": []}, stream_mode="messages")
    assert texts(chunks) == ["pushed"]
    assert graph.get_state(THREAD).values == {"messages": []}
    fails.append(False)
    assert way.invoke(graph, None) == {"messages": [AIMessage("pushed", id="1")]}


def test_the_parts_of_a_message_can_be_pushed(way, maybe_log) -> None:
    """Each is shown though their id is the same; the state keeps what was pushed last of it."""

    def node(state):
        for text in ("a", "b"):
            push_message(AIMessageChunk(text, id="1"))

    graph = graph_of(way.node(node), log=maybe_log)
    chunks = way.stream(graph, {"messages": []}, stream_mode=["messages", "values"])
    assert texts(payload for mode, payload in chunks if mode == "messages") == ["a", "b"]
    assert [(type(m), m.content) for m in chunks[-1][1]["messages"]] == [(AIMessage, "b")]


@pytest.mark.parametrize(
    ("message", "options", "error", "reason"),
    [
        (AIMessage("no id"), {}, ValueError, "Message ID is required"),
        (("ai", "no id"), {}, ValueError, "Message ID is required"),
        ({"id": "1"}, {}, ValueError, "must contain"),
        (AIMessage("x", id="1"), {"state_key": "nope"}, InvalidUpdateError, "no channel of that name"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_it_is_shown(
    way, maybe_log, message, options, error, reason
) -> None:
    """LangGraph drops what is written to a channel that is not there."""

    def node(state):
        push_message(message, **options)

    chunks: list = []
    graph = graph_of(way.node(node), log=maybe_log)
    with pytest.raises(error, match=reason):
        way.stream_to(chunks, graph, {"messages": []}, stream_mode="messages")
    assert chunks == []


def test_a_task_may_push_to_the_stream_but_not_to_the_state(way, maybe_log) -> None:
    """Its caller writes; an entrypoint has no state, so there it is only shown."""

    @task
    @way.node
    def says(**options):
        push_message({"role": "ai", "content": "said", "id": "1"}, **options)

    @entrypoint(maybe_log)
    @way.flow
    def workflow(_):
        push_message({"role": "ai", "content": "begun", "id": "0"})
        yield says(state_key=None)
        return 1

    assert texts(way.stream(workflow, 1, stream_mode="messages")) == ["begun", "said"]

    @way.flow
    def node(state):
        yield says()

    with pytest.raises(InvalidUpdateError, match="only nodes do"):
        way.invoke(graph_of(node), {"messages": []})


@pytest.mark.parametrize("mode", ["messages", "updates"])
def test_what_is_pushed_or_said_is_progress_of_an_attempt_that_may_not_idle(mode) -> None:
    """TO-2: as is what it writes to the stream; pushed messages also where nobody is shown any."""

    class Slow(FakeListChatModel):
        async def _astream(self, *args: Any, **options: Any) -> Any:
            async for chunk in super()._astream(*args, **options):
                await asyncio.sleep(SHORT)
                yield chunk

    async def pushes(state):
        for number in range(4):
            await asyncio.sleep(SHORT)
            push_message({"role": "ai", "content": "x", "id": str(number)})

    async def asks_slow(state):
        await Slow(responses=["abcd"]).ainvoke("hi")

    builder = StateGraph(MessagesState).add_edge(START, "node")
    builder.add_node(
        "node", asks_slow if mode == "messages" else pushes, timeout=TimeoutPolicy(idle_timeout=3 * SHORT)
    )
    chunks = Way("async").stream(builder.compile(), {"messages": []}, stream_mode=mode)
    assert len(chunks) == (4 if mode == "messages" else 1)


def test_nothing_is_pushed_outside_of_a_run() -> None:
    """As for everything that a run offers."""
    with pytest.raises(OutsideOfRun, match="Called push_message outside of a runnable context"):
        push_message({"role": "ai", "content": "x", "id": "1"})
