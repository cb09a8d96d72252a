"""What does a fan-out to subgraphs cost? LangGraph's bench ``fanout_to_subgraph``, rebuilt: 100 jokes, each refined.

The beginning sends each subject to a subgraph of its own, which edits a text, makes a joke and then bumps it ten times,
one step each; the parent gathers the jokes. That is 13 supersteps, of which 12 have a task per subject. The floor is
the same functions in a loop. As in the original, subjects are lists of 1,000 letters, and no node does more than
join strings; a figure is of a whole run divided by its 1,300 tasks.
"""

from __future__ import annotations

import operator
import random
import string
from functools import partial
from typing import Annotated, Any, TypedDict

from libraries import Library, config, walgraph

SUBJECTS = 100
TASKS = SUBJECTS * 13
ROUNDS = 3
BUMPS = " a" * 10


class Overall(TypedDict):
    """All subjects, and the jokes about them."""

    subjects: list[list[str]]
    jokes: Annotated[list[str], operator.add]


class Joke(TypedDict):
    """One joke in the making."""

    subject: list[str]
    text: str
    jokes: Annotated[list[str], operator.add]


def subjects() -> list[list[str]]:
    """Return the subjects, the same in each run."""
    letters = random.Random(1)
    return [letters.choices(string.ascii_letters, k=1000) for _ in range(SUBJECTS)]


def edit(state: Any) -> dict[str, Any]:
    """Begin a text."""
    return {"text": "".join(state["subject"][:10])}


def generate(state: Any) -> dict[str, Any]:
    """Make a joke of it."""
    return {"text": f"{state['text']} walks into a bar"}


def bump(state: Any) -> dict[str, Any]:
    """Make it a little longer, and hand it over when it is long enough."""
    text = state["text"] + " a"
    return {"text": text, "jokes": [text]} if text.endswith(BUMPS) else {"text": text}


def bare() -> None:
    """Call the same functions in a loop."""
    jokes: list[str] = []
    for subject in subjects():
        state: dict[str, Any] = {"subject": subject}
        state |= edit(state)
        state |= generate(state)
        while "jokes" not in state:
            state |= bump(state)
        jokes += state["jokes"]


def run(library: Library, mode: str | None, saver: Any) -> Any:
    """Return a call that makes the jokes."""
    start, end = library.graph.START, library.graph.END
    inner = library.graph.StateGraph(Joke)
    for name, node in (("edit", edit), ("generate", generate), ("bump", bump)):
        inner.add_node(name, node)
    inner.add_edge(start, "edit").add_edge("edit", "generate").add_edge("generate", "bump")
    inner.add_conditional_edges(
        "bump", lambda state: end if state["text"].endswith(BUMPS) else "bump", ["bump", end]
    )
    outer = library.graph.StateGraph(Overall).add_node("generate_joke", inner.compile())
    outer.add_conditional_edges(
        start,
        lambda state: [library.send("generate_joke", {"subject": subject}) for subject in state["subjects"]],
        ["generate_joke"],
    )
    graph = outer.add_edge("generate_joke", end).compile(checkpointer=saver)
    given = {"subjects": subjects()}

    def call() -> None:
        assert len(graph.invoke(given, config(), durability=mode)["jokes"]) == SUBJECTS

    return call


def test_subgraphs(race: Any, table: Any, tools: Any) -> None:
    """Make the jokes without a log and in each mode."""
    ours = partial(run, walgraph())
    results = race(
        {
            "bare loop": tools.bare(bare),
            "no log": tools.bare(ours(None, None)),
            **{mode: tools.logged(partial(ours, mode)) for mode in ("sync", "async", "exit")},
        },
        ROUNDS,
        TASKS,
    )
    for mode in ("no log", "sync", "async", "exit"):
        table.row("100 Sends to subgraphs", mode, results[mode], ("bare loop", results["bare loop"]))
