"""Small programs for LangGraph itself, each with a bit of everything that a checkpointer is asked to do.

    STORIES[name](saver, recorded)    runs the program on a saver; ``recorded`` wraps its graph in a ``Recorder``

A story calls graphs through recorders, whose calls are then compared, and may show more through ``note``.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

Recorded = Callable[[Any], Any]


class Trail(TypedDict, total=False):
    """A list that everybody adds to, and a value that the last one sets."""

    trail: Annotated[list, operator.add]
    last: Any


def config(thread: str = "t", **more: Any) -> dict[str, Any]:
    """The config of a thread."""
    return {"configurable": {"thread_id": thread, **more}}


def fan_out(saver: Any, recorded: Recorded) -> None:
    """Branches in parallel, a fan-out with Send, and a join."""
    builder = StateGraph(Trail)
    builder.add_node("one", lambda _: {"trail": ["one"]})
    builder.add_node("two", lambda _: {"trail": ["two"], "last": {"deep": (1, 2)}})
    builder.add_node("part", lambda part: {"trail": [f"part {part['last']}"]})
    builder.add_node("join", lambda state: {"trail": [len(state["trail"])]})
    builder.add_edge(START, "one")
    builder.add_edge(START, "two")
    builder.add_conditional_edges("one", lambda _: [Send("part", {"last": n}) for n in range(7)], ["part"])
    builder.add_edge("part", "join")
    builder.add_edge("two", "join")
    builder.add_edge("join", END)
    graph = recorded(builder.compile(checkpointer=saver))
    graph.invoke({"trail": ["in"]}, config())
    graph.invoke({"trail": ["again"]}, config())


def questions(saver: Any, recorded: Recorded) -> None:
    """Two tasks ask at once; their answers come one by one, by id."""

    def asks(name: str) -> Callable[[Trail], Any]:
        def node(state: Trail) -> Any:
            first = interrupt(f"{name}?")
            second = interrupt({"again": name, "got": first})
            return {"trail": [(name, first, second)]}

        return node

    builder = StateGraph(Trail)
    builder.add_node("a", asks("a"))
    builder.add_node("b", asks("b"))
    builder.add_node("end", lambda state: {"last": len(state["trail"])})
    builder.add_edge(START, "a")
    builder.add_edge(START, "b")
    builder.add_edge(["a", "b"], "end")
    graph = recorded(builder.compile(checkpointer=saver))
    graph.invoke({"trail": []}, config())
    for turn in range(4):
        asked = sorted(graph.get_state(config()).interrupts, key=lambda each: str(each.value))
        if asked:
            graph.invoke(Command(resume={asked[0].id: f"answer {turn}"}), config())


def nested(saver: Any, recorded: Recorded) -> None:
    """A subgraph of each call, one that remembers, and a question below."""

    def child(keep: Any) -> Any:
        builder = StateGraph(Trail)
        builder.add_node("ask", lambda _: {"trail": [interrupt("go on?")]})
        builder.add_node("more", lambda _: {"trail": ["more"]})
        builder.add_edge(START, "ask")
        builder.add_edge("ask", "more")
        return builder.compile(checkpointer=keep)

    builder = StateGraph(Trail)
    builder.add_node("child", child(None))
    builder.add_node("keeper", child(True))
    builder.add_edge(START, "child")
    builder.add_edge("child", "keeper")
    graph = recorded(builder.compile(checkpointer=saver))
    graph.invoke({"trail": ["in"]}, config())
    graph.invoke(Command(resume="yes"), config())
    graph.invoke(Command(resume="well"), config())
    graph.invoke({"trail": ["anew"]}, config())
    graph.invoke(Command(resume="once more"), config())


def travels(saver: Any, recorded: Recorded) -> None:
    """Looking back, going on from there, changing what was, and going on again."""
    builder = StateGraph(Trail)
    for name, following in (("a", "b"), ("b", "c"), ("c", END)):
        builder.add_node(name, lambda state, name=name: {"trail": [name], "last": len(state["trail"])})
        builder.add_edge(name, following)
    builder.add_edge(START, "a")
    graph = recorded(builder.compile(checkpointer=saver))
    graph.invoke({"trail": ["in"]}, config())
    history = list(graph.graph.get_state_history(config()))
    # Durability "exit" leaves only the end to go on from.
    before_b = next((each for each in history if each.next == ("b",)), history[0])
    graph.invoke(None, before_b.config)
    changed = graph.graph.update_state(before_b.config, {"trail": ["changed"]}, as_node="a")
    graph.invoke(None, changed)
    graph.graph.update_state(config(), {"last": "by hand"})
    graph.invoke({"trail": ["last"]}, config())


def failures(saver: Any, recorded: Recorded) -> None:
    """One of two nodes fails at first; the other is not run again."""
    runs: list[str] = []
    finished = threading.Event()

    def fails(state: Trail) -> Any:
        runs.append("fails")
        finished.wait(20)
        if runs.count("fails") < 3:
            raise ValueError("not yet")
        return {"trail": ["at last"]}

    def works(state: Trail) -> Any:
        runs.append("works")
        threading.Timer(0.1, finished.set).start()
        return {"trail": ["works"]}

    builder = StateGraph(Trail)
    builder.add_node("fails", fails)
    builder.add_node("works", works)
    builder.add_node("end", lambda _: {"last": [*runs]})
    builder.add_edge(START, "fails")
    builder.add_edge(START, "works")
    builder.add_edge(["fails", "works"], "end")
    graph = recorded(builder.compile(checkpointer=saver, interrupt_before=["end"]))
    for given in ({"trail": ["in"]}, None, None, None):
        try:
            graph.invoke(given, config())
        except ValueError as error:
            graph.note(str(error))
    graph.note(runs.count("fails"))


def functions(saver: Any, recorded: Recorded) -> None:
    """An entrypoint with tasks, a question, and a value that it keeps."""

    @task
    def double(n: int) -> int:
        return 2 * n

    @entrypoint(checkpointer=saver)
    def work(n: int, *, previous: Any = None) -> Any:
        doubled = [double(each) for each in range(n)]
        found = [future.result() for future in doubled]
        answer = interrupt({"found": found, "previous": previous})
        return entrypoint.final(value=[found, answer], save={"n": n, "answer": answer})

    graph = recorded(work)
    graph.invoke(4, config())
    graph.invoke(Command(resume="fine"), config())
    graph.invoke(2, config())
    graph.invoke(Command(resume="good"), config())


def chat(saver: Any, recorded: Recorded) -> None:
    """A chat that grows, in which messages are replaced and removed."""

    def reply(state: MessagesState) -> Any:
        said = state["messages"]
        found: list[Any] = [AIMessage(f"{len(said)}: {said[-1].content} {'.' * 400}", id=f"ai {len(said)}")]
        if len(said) == 5:
            found.append(RemoveMessage(id=said[1].id))
        if len(said) == 8:
            found.append(HumanMessage("changed " * 30, id=said[2].id))
        return {"messages": found}

    builder = StateGraph(MessagesState)
    builder.add_node("reply", reply)
    builder.add_edge(START, "reply")
    graph = recorded(builder.compile(checkpointer=saver))
    for turn in range(7):
        graph.invoke({"messages": [HumanMessage(f"turn {turn} {'!' * 300}", id=f"human {turn}")]}, config())


STORIES: dict[str, Callable[[Any, Recorded], None]] = {
    story.__name__: story for story in (fan_out, questions, nested, travels, failures, functions, chat)
}
