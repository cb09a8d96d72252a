"""A conversation that grows: one thread, one run for each thing that is said.

Watch for: each run is given the new message only; ``add_messages`` appends it to what the thread holds. The log gets
each message once, however long the conversation is. Kill the process anywhere and run it again: it counts in the state
what has been said, lets an unfinished reply be finished, and goes on from there.

    python examples/chat.py [LOG]                   # then: wal state LOG chat
"""

from __future__ import annotations

import sys
import time
from typing import Any

from walgraph import START, Log, MessagesState, StateGraph

LINES = ["Hello!", "What is a log?", "And a snapshot?", "Thank you."]
REPLIES = {
    "Hello!": "Hello. Ask me something.",
    "What is a log?": "What happened, in order, never changed.",
    "And a snapshot?": "What it all adds up to, so far.",
}


def said(message: Any) -> tuple[str, str]:
    """Return who said what; messages are langchain_core's where that is installed, and dicts where it is not."""
    if isinstance(message, dict):
        return message["role"], message["content"]
    return {"human": "user", "ai": "assistant"}[message.type], message.content


def reply(state: MessagesState) -> dict[str, Any]:
    """Stand for a model: answer what was said last."""
    _, text = said(state["messages"][-1])
    print("· replying to", repr(text))
    time.sleep(0.1)
    number = len(state["messages"]) // 2 + 1
    answer = REPLIES.get(text, f"You are welcome. That was reply {number}.")
    return {"messages": [{"role": "assistant", "content": answer}]}


with Log.open(sys.argv[1] if sys.argv[1:] else "build/chat.log") as log:
    chat = StateGraph(MessagesState).add_node(reply).add_edge(START, "reply").compile(log)
    config = {"configurable": {"thread_id": "chat"}}
    if log.head("chat") is not None:
        # A reply may have been under way when the process died; if none was, this does nothing.
        chat.invoke(None, config, durability="sync")
    messages = chat.get_state(config).values.get("messages", [])
    asked = sum(said(message)[0] == "user" for message in messages)
    for line in LINES[asked:]:
        new = {"messages": [{"role": "user", "content": line}]}
        messages = chat.invoke(new, config, durability="sync")["messages"]
    print("result:", len(messages), "messages")
    for message in messages:
        print(*said(message), sep=": ")
