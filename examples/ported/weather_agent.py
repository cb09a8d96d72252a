"""A chat model that calls tools until it knows what to say.

Watch for: the model is scripted, so that this runs without a key; put a real one in its place. Its tokens are streamed
while it speaks. A process that is killed asks neither the model nor a tool for what is in the log.

    python examples/ported/weather_agent.py [LOG]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool

from walgraph import END, START, Log, MessagesState, StateGraph


@tool
def temperature(city: str) -> int:
    """Measure the temperature of a city."""
    return {"Ghent": 11, "Siena": 24}[city]


@tool
def warmer(first: int, second: int) -> str:
    """Compare two temperatures."""
    return "the first" if first > second else "the second"


TOOLS = {each.name: each for each in (temperature, warmer)}


class Scripted(BaseChatModel):
    """A model that says the next line of its script; what was said before is in the messages."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Scripted:
        """Know the tools already."""
        return self

    def _generate(self, messages: list[BaseMessage], *rest: Any, **options: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=next_line(messages))])

    def _stream(
        self, messages: list[BaseMessage], *rest: Any, **options: Any
    ) -> Iterator[ChatGenerationChunk]:
        line = next_line(messages)
        for word in str(line.content).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(f"{word} "))
        yield ChatGenerationChunk(message=AIMessageChunk("", tool_calls=line.tool_calls))


def next_line(messages: list[BaseMessage]) -> AIMessage:
    """Return what the model says after these messages."""
    results = [message.content for message in messages if isinstance(message, ToolMessage)]
    match results:
        case []:
            calls = [
                {"name": "temperature", "args": {"city": city}, "id": city} for city in ("Ghent", "Siena")
            ]
            return AIMessage("I ask for both cities.", tool_calls=calls)
        case [first, second]:
            arguments = {"first": int(str(first)), "second": int(str(second))}
            return AIMessage(
                "I compare.", tool_calls=[{"name": "warmer", "args": arguments, "id": "compare"}]
            )
        case _:
            return AIMessage(f"Take {results[-1]}.")


model = Scripted().bind_tools(list(TOOLS.values()))


def ask_model(state: MessagesState) -> Any:
    """Let the model speak."""
    return {"messages": [model.invoke(state["messages"])]}


def use_tools(state: MessagesState) -> Any:
    """Do what the model asked for."""
    calls = state["messages"][-1].tool_calls
    results = [(call, TOOLS[call["name"]].invoke(call["args"])) for call in calls]
    return {"messages": [ToolMessage(str(result), tool_call_id=call["id"]) for call, result in results]}


def has_calls(state: MessagesState) -> str:
    """Go on for as long as the model calls tools."""
    return "use_tools" if state["messages"][-1].tool_calls else END


def compiled(saver: Any) -> Any:
    """Return the graph."""
    builder = StateGraph(MessagesState).add_node(ask_model).add_node(use_tools)
    builder.add_edge(START, "ask_model").add_conditional_edges("ask_model", has_calls, ["use_tools", END])
    return builder.add_edge("use_tools", "ask_model").compile(checkpointer=saver)


def run(graph: Any) -> dict[str, Any]:
    """Ask one question, or go on with it."""
    config = {"configurable": {"thread_id": "weather"}}
    state = graph.get_state(config)
    question = {"messages": [HumanMessage("Where is it warmer, in Ghent or in Siena?")]}
    if state.created_at is None or state.next:
        graph.invoke(question if state.created_at is None else None, config, durability="sync")
    return graph.get_state(config).values


if __name__ == "__main__":
    with Log.open(sys.argv[1] if sys.argv[1:] else "build/weather_agent.log") as log:
        for message in run(compiled(log))["messages"]:
            message.pretty_print()
