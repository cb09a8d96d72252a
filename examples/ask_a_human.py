"""Stop in the middle of a graph to ask, for as long as it takes.

Watch for: the question is in the log, so the process need not wait for the answer. Press Ctrl-C at the prompt, or kill
it, and run it again: the draft is not written anew, and the same question is asked. Where nobody can type, the answer
is "yes".

    python examples/ask_a_human.py [LOG]
"""

from __future__ import annotations

import sys
import time
from typing import TypedDict

from walgraph import START, Command, Log, StateGraph, interrupt


class Letter(TypedDict, total=False):
    """What the nodes share."""

    to: str
    text: str
    answer: str


def draft(letter: Letter) -> Letter:
    """Stand for slow or expensive work."""
    print("· drafting a letter to", letter["to"])
    time.sleep(0.1)
    return {"text": f"Dear {letter['to']}, thank you."}


def review(letter: Letter) -> Command[str]:
    """Ask; when there is an answer this runs again from its top, and ``interrupt`` returns it."""
    answer = interrupt(f"Send {letter['text']!r}? (yes or no) ")
    return Command(update={"answer": answer}, goto="send" if answer == "yes" else "discard")


def send(letter: Letter) -> Letter:
    """Stand for something that cannot be taken back."""
    print("· sending it")
    time.sleep(0.1)
    return {"text": f"{letter['text']} (sent)"}


def discard(letter: Letter) -> Letter:
    """Do nothing, and say so."""
    print("· throwing it away")
    return {"text": "(no letter)"}


with Log.open(sys.argv[1] if sys.argv[1:] else "build/ask_a_human.log") as log:
    graph = StateGraph(Letter)
    graph.add_node(draft).add_node(review).add_node(send).add_node(discard)
    letters = graph.add_edge(START, "draft").add_edge("draft", "review").compile(log)
    config = {"configurable": {"thread_id": "letter"}}
    state = letters.invoke({"to": "Ada"} if log.head("letter") is None else None, config, durability="sync")
    while "__interrupt__" in state:
        question = state["__interrupt__"][0].value
        reply = input(question) if sys.stdin.isatty() else "yes"
        state = letters.invoke(Command(resume=reply), config, durability="sync")
    print("result:", state["text"])
