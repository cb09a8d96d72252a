"""What does an agent with tools cost, whose messages grow large? LangGraph's bench ``react_agent``, rebuilt.

A model that is none asks 50 times for a tool, with 3.6 kB of arguments, and gets 36 kB of text back each time; then it
answers. The graph is the usual one of an agent and its tools, over messages that are merged by their ids. The floor is
the same functions and the same merging in a loop.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from libraries import Library, config, merging, walgraph

CALLS = 50
STEPS = 2 * CALLS + 1
ROUNDS = 3
QUERY = str(uuid.UUID(int=1)) * 100


def agent(state: dict[str, Any]) -> dict[str, Any]:
    """Ask for the tool, until it has been asked for often enough."""
    said = len(state["messages"])
    if said >= 2 * CALLS:
        return {"messages": [{"role": "assistant", "content": "done", "id": f"m{said}"}]}
    call = {"name": "search", "args": {"query": QUERY}, "id": f"c{said}", "type": "tool_call"}
    return {"messages": [{"role": "assistant", "content": "", "tool_calls": [call], "id": f"m{said}"}]}


def tools(state: dict[str, Any]) -> dict[str, Any]:
    """Answer the newest call."""
    said = len(state["messages"])
    text = ("result for query: " + QUERY) * 10
    return {"messages": [{"role": "tool", "content": text, "tool_call_id": f"c{said - 1}", "id": f"m{said}"}]}


def run(library: Library, mode: str | None, saver: Any) -> Any:
    """Return a call that runs the agent."""
    start, end = library.graph.START, library.graph.END
    builder = library.graph.StateGraph(merging(library)).add_node("agent", agent).add_node("tools", tools)
    builder.add_edge(start, "agent").add_edge("tools", "agent")
    builder.add_conditional_edges(
        "agent", lambda state: "tools" if state["messages"][-1].tool_calls else end, ["tools", end]
    )
    graph = builder.compile(checkpointer=saver)
    # The classes of messages are imported when the first one is made, which is not what is measured.
    library.graph.add_messages([], [{"role": "user", "content": "hi"}])

    def call() -> None:
        given = {"messages": [{"role": "user", "content": "hi", "id": "m0"}]}
        assert len(graph.invoke(given, config(), durability=mode)["messages"]) >= 2 * CALLS

    return call


def bare(merge: Any) -> None:
    """Call the same functions in a loop."""
    messages = merge([], [{"role": "user", "content": "hi", "id": "m0"}])
    while True:
        messages = merge(messages, agent({"messages": messages})["messages"])
        if not messages[-1].tool_calls:
            return
        messages = merge(messages, tools({"messages": messages})["messages"])


def test_react(race: Any, table: Any, tools: Any) -> None:
    """Run the agent without a log and in each mode."""
    library = walgraph()
    ours = partial(run, library)
    results = race(
        {
            "bare loop": tools.bare(partial(bare, library.graph.add_messages)),
            "no log": tools.bare(ours(None, None)),
            **{mode: tools.logged(partial(ours, mode)) for mode in ("sync", "async", "exit")},
        },
        ROUNDS,
        STEPS,
    )
    for mode in ("no log", "sync", "async", "exit"):
        table.row("agent, 50 calls of a tool", mode, results[mode], ("bare loop", results["bare loop"]))
