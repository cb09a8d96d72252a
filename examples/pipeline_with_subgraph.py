"""A pipeline that has a graph of its own as one of its nodes.

Watch for: the subgraph's steps lie in the log of the thread that called it, indented under its node by ``wal inspect``.
Kill the process inside of the subgraph and run it again: the subgraph goes on in its middle, and what it had done is
not done again.

    python examples/pipeline_with_subgraph.py [LOG]         # then: wal inspect LOG pipeline
"""

from __future__ import annotations

import sys
import time
from typing import TypedDict

from walgraph import START, Log, StateGraph


class Text(TypedDict, total=False):
    """What the pipeline's nodes share; the subgraph shares ``words`` with it."""

    raw: str
    words: list[str]
    answer: str


class Cleaning(TypedDict, total=False):
    """What the subgraph's nodes share; ``removed`` stays inside."""

    words: list[str]
    removed: int


def split(text: Text) -> Text:
    """Take the text apart."""
    print("· splitting")
    time.sleep(0.1)
    return {"words": text["raw"].split()}


def lower(cleaning: Cleaning) -> Cleaning:
    """Make all words small."""
    print("· cleaning: small letters")
    time.sleep(0.1)
    return {"words": [word.strip(".,").lower() for word in cleaning["words"]]}


def drop_doubles(cleaning: Cleaning) -> Cleaning:
    """Keep each word once."""
    print("· cleaning: doubles")
    time.sleep(0.1)
    kept = list(dict.fromkeys(cleaning["words"]))
    return {"words": kept, "removed": len(cleaning["words"]) - len(kept)}


def count(text: Text) -> Text:
    """Say what came out."""
    print("· counting")
    time.sleep(0.1)
    return {"answer": f"{len(text['words'])} different words: {' '.join(text['words'])}"}


clean = (
    StateGraph(Cleaning).add_sequence([lower, drop_doubles]).add_edge(START, "lower").compile(name="clean")
)

with Log.open(sys.argv[1] if sys.argv[1:] else "build/pipeline_with_subgraph.log") as log:
    nodes = [split, ("clean", clean), count]
    pipeline = StateGraph(Text).add_sequence(nodes).add_edge(START, "split").compile(log, name="pipeline")
    config = {"configurable": {"thread_id": "pipeline"}}
    given = {"raw": "The log, the fold, and the plan. The log comes first."}
    done = pipeline.invoke(given if log.head("pipeline") is None else None, config, durability="sync")
    print("result:", done["answer"])
