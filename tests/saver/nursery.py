"""Lives of a LangGraph program that are ended by SIGKILL, one after another, on one log.

    python nursery.py LOG PROGRAM DURABILITY LIVES SEED

LangGraph takes a second to import, so it is imported once: each life is a fork of this process, which has no threads
and no log open. A life says what LangGraph acknowledged to it on a pipe that outlives it; when it is dead, what it said
is compared with what the log holds, in a life of its own that is not killed. At the end the program is finished.

The program is a chat (``turns``) or an entrypoint with tasks (``tasks``): both say which call has returned, and tasks
say when they ran, so that a task that ran again though its checkpoint was acknowledged is seen.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from walgraph.tools.langgraph_saver import WalSaver

CONFIG: Any = {"configurable": {"thread_id": "t"}}
TURNS = 12


def say(pipe: int, *words: Any) -> None:
    """Write a line that stays, whatever happens to this process."""
    os.write(pipe, (json.dumps(words) + "\n").encode())


def turns(saver: WalSaver, durability: Any, pipe: int) -> None:
    """A chat: each turn asks for approval between two nodes; what was acknowledged is said."""

    def draft(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"draft {len(state['messages'])}")]}

    def approve(state: MessagesState) -> Any:
        return {"messages": [AIMessage(interrupt("fine?"))]}

    builder = StateGraph(MessagesState)
    builder.add_node("draft", draft)
    builder.add_node("approve", approve)
    builder.add_edge(START, "draft")
    builder.add_edge("draft", "approve")
    graph = builder.compile(checkpointer=saver)
    if graph.get_state(CONFIG).created_at is not None:
        # A step whose tasks all ended may lack its checkpoint: LangGraph drops what they wrote when a new input comes.
        graph.invoke(None, CONFIG, durability=durability)
    while True:
        state = graph.get_state(CONFIG)
        held = [message.content for message in state.values.get("messages", ())]
        say(pipe, "holds", held)
        if state.interrupts:
            graph.invoke(Command(resume=f"yes {len(held)}"), CONFIG, durability=durability)
        elif state.next:
            graph.invoke(None, CONFIG, durability=durability)
        elif len(held) >= 3 * TURNS:
            return
        else:
            graph.invoke({"messages": [HumanMessage(f"turn {len(held)}")]}, CONFIG, durability=durability)
        state = graph.get_state(CONFIG)
        say(pipe, "acknowledged", [message.content for message in state.values["messages"]])


def tasks(saver: WalSaver, durability: Any, pipe: int) -> None:
    """An entrypoint whose tasks say that they ran, with a question after every third of them."""

    @task
    def step(n: int) -> int:
        say(pipe, "ran", n)
        return n

    @entrypoint(checkpointer=saver)
    def work(n: int) -> Any:
        done = []
        for each in range(n):
            done.append(step(each).result())
            if each % 3 == 2:
                done.append(interrupt(each))
        return done

    while True:
        state = work.get_state(CONFIG)
        if state.values is not None and not state.next and state.values:
            say(pipe, "holds", state.values)
            return
        if state.interrupts:
            say(pipe, "asked", state.interrupts[0].value)
            work.invoke(Command(resume=f"yes {state.interrupts[0].value}"), CONFIG, durability=durability)
        else:
            work.invoke(None if state.next else TURNS, CONFIG, durability=durability)
        asked = work.get_state(CONFIG).interrupts
        say(pipe, "acknowledged", asked[0].value if asked else "end")


PROGRAMS = {"turns": turns, "tasks": tasks}


def lived(path: str, program: str, durability: str, seconds: float | None) -> tuple[list[list[Any]], int]:
    """Live once, for so many seconds at most; return what was said, and how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            with WalSaver(path) as saver:
                PROGRAMS[program](saver, durability, writing)
            os._exit(0)
        except BaseException as error:
            say(writing, "failed", repr(error))
            os._exit(1)
    os.close(writing)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as lines:
        said = [json.loads(line) for line in lines]
    return said, os.waitpid(child, 0)[1]


def main() -> None:
    """Live, die, compare."""
    path, program, durability, lives, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    everything: list[list[Any]] = []
    killed = 0
    for _ in range(int(lives)):
        said, status = lived(path, program, durability, chance.uniform(0.01, 0.25))
        everything += said
        killed += os.WIFSIGNALED(status)
    said, status = lived(path, program, durability, None)
    everything += said
    print(json.dumps({"said": everything, "killed": killed, "status": status}))


if __name__ == "__main__":
    main()
