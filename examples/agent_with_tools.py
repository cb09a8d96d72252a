"""An agent: a model that calls tools until it knows the answer. The model is a fake, so no network is needed.

Watch for: every call of the model and of a tool is a @task, recorded when it returned. Kill the process anywhere and
run it again: no answer of the model is paid for twice, and no tool is used twice for the same request.

    python examples/agent_with_tools.py [LOG]
"""

from __future__ import annotations

import operator
import sys
import time
from typing import Annotated, Any, TypedDict

from walgraph import END, START, Log, StateGraph, task

BORN = {"Ada Lovelace": 1815, "Grace Hopper": 1906}
TOOLS = {"year_of_birth": lambda name: BORN[name], "subtract": lambda a, b: a - b}
QUESTION = "How many years before Grace Hopper was Ada Lovelace born?"


class Talk(TypedDict):
    """A conversation that only grows."""

    messages: Annotated[list[dict[str, Any]], operator.add]


@task
def ask_model(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Stand for a model: what it says depends on the results that it has seen."""
    print("· asking the model, with", len(messages), "messages")
    time.sleep(0.1)
    results = [message["result"] for message in messages if message["role"] == "tool"]
    if not results:
        calls = [("year_of_birth", ["Grace Hopper"]), ("year_of_birth", ["Ada Lovelace"])]
        return {"role": "model", "calls": calls}
    if len(results) == 2:
        return {"role": "model", "calls": [("subtract", results)]}
    return {"role": "model", "calls": [], "text": f"{results[-1]} years before."}


@task
def use_tool(name: str, arguments: list[Any]) -> dict[str, Any]:
    """Use one tool."""
    print(f"· using {name} {arguments}\n", end="")  # one write, since two of these may run at a time
    time.sleep(0.1)
    return {"role": "tool", "name": name, "result": TOOLS[name](*arguments)}


def model(talk: Talk) -> Talk:
    """Let the model say what to do next."""
    return {"messages": [ask_model(talk["messages"]).result()]}


def tools(talk: Talk) -> Talk:
    """Make all calls that the model asked for, at the same time."""
    used = [use_tool(name, arguments) for name, arguments in talk["messages"][-1]["calls"]]
    return {"messages": [future.result() for future in used]}


def needs_tools(talk: Talk) -> str:
    """Go on until the model calls nothing any more."""
    return "tools" if talk["messages"][-1]["calls"] else END


with Log.open(sys.argv[1] if sys.argv[1:] else "build/agent_with_tools.log") as log:
    graph = (
        StateGraph(Talk).add_node(model).add_node(tools).add_edge(START, "model").add_edge("tools", "model")
    )
    agent = graph.add_conditional_edges("model", needs_tools, ["tools", END]).compile(log)
    config = {"configurable": {"thread_id": "agent"}}
    question = {"messages": [{"role": "user", "text": QUESTION}]}
    done = agent.invoke(question if log.head("agent") is None else None, config, durability="sync")
    print("result:", QUESTION, done["messages"][-1]["text"])
