"""Each book is read by a graph of its own, all at once, and the best is put first.

Watch for: a ``Send`` gives each book to a compiled graph. What the readers find is added up by a reducer, in the order
of the list and not in that of the clock. A process that is killed goes on inside of the graphs that were not done.

    python examples/ported/rank_the_books.py [LOG]
"""

from __future__ import annotations

import operator
import sys
from typing import Annotated, Any, TypedDict

from walgraph import END, START, Log, Send, StateGraph, get_stream_writer

BOOKS = {
    "A Walk": "The road was long. The rain was cold. Nobody spoke.",
    "The Cook": "Bread! Butter! Salt! And again bread, and again butter, and a song about salt.",
    "Clocks": "It ticks. It tocks.",
}


class Book(TypedDict, total=False):
    """What the graph of one book works on."""

    title: str
    text: str
    words: list[str]
    notes: Annotated[list[str], operator.add]
    scores: list[tuple[str, float]]


class Output(TypedDict):
    """What the graph of one book gives to the graph above."""

    scores: list[tuple[str, float]]
    notes: list[str]


class Shelf(TypedDict, total=False):
    """What all books have in common."""

    titles: list[str]
    notes: Annotated[list[str], operator.add]
    scores: Annotated[list[tuple[str, float]], operator.add]
    ranking: list[str]


def read(book: Book) -> Book:
    """Take the book apart."""
    get_stream_writer()({"reading": book["title"]})
    words = [word.strip(".,!").lower() for word in book["text"].split()]
    return {"words": words, "notes": [f"{book['title']} has {len(words)} words"]}


def judge(book: Book) -> Book:
    """A book is better the fewer of its words come twice."""
    score = round(len(set(book["words"])) / len(book["words"]), 2)
    return {"scores": [(book["title"], score)], "notes": [f"{book['title']} is worth {score}"]}


def choose(shelf: Shelf) -> Shelf:
    """List the books; recorded, so that a run that is resumed has the same list."""
    return {"titles": sorted(BOOKS)}


def to_each(shelf: Shelf) -> list[Send]:
    """Make a task for each book."""
    return [Send("review", {"title": title, "text": BOOKS[title]}) for title in shelf["titles"]]


def rank(shelf: Shelf) -> Shelf:
    """Put the best first."""
    best = sorted(shelf["scores"], key=operator.itemgetter(1), reverse=True)
    return {"ranking": [title for title, _ in best]}


def compiled(saver: Any) -> Any:
    """Return the graph."""
    review = StateGraph(Book, output_schema=Output).add_node(read).add_node(judge)
    review.add_edge(START, "read").add_edge("read", "judge").add_edge("judge", END)
    shelf = StateGraph(Shelf).add_node(choose).add_node("review", review.compile()).add_node(rank)
    shelf.add_edge(START, "choose").add_conditional_edges("choose", to_each, ["review"])
    shelf.add_edge("review", "rank").add_edge("rank", END)
    return shelf.compile(checkpointer=saver)


def run(graph: Any) -> dict[str, Any]:
    """Rank the books, from wherever the thread is."""
    config = {"configurable": {"thread_id": "books"}}
    state = graph.get_state(config)
    if state.created_at is None or state.next:
        graph.invoke({} if state.created_at is None else None, config, durability="sync")
    return graph.get_state(config).values


if __name__ == "__main__":
    with Log.open(sys.argv[1] if sys.argv[1:] else "build/rank_the_books.log") as log:
        found = run(compiled(log))
        print(*found["notes"], *found["ranking"], sep="\n")
