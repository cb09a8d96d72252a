"""Fan out over a list, each item a task of its own, and join.

Watch for: two files are read at a time. Kill the process while it reads, and run it again: files whose count is in the
log are not read again, only those that were being read and those that had not begun. The join waits for them all, and
has the counts in the order of the list, whichever file was done first.

    python examples/fan_out.py [LOG]
"""

from __future__ import annotations

import operator
import sys
import time
from pathlib import Path
from typing import Annotated, TypedDict

from walgraph import START, Log, Send, StateGraph

HERE = Path(__file__).parent


class Counts(TypedDict, total=False):
    """What the nodes share; what ``count_lines`` returns is added up by the reducer."""

    files: list[str]
    lines: Annotated[list[tuple[str, int]], operator.add]
    summary: str


def list_files(counts: Counts) -> Counts:
    """Find the work; recorded, so that a run that is resumed has the same list."""
    return {"files": sorted(path.name for path in HERE.glob("*.py"))}


def to_each_file(counts: Counts) -> list[Send]:
    """Make a task for each file; what is sent is all that the task is given."""
    return [Send("count_lines", name) for name in counts["files"]]


def count_lines(name: str) -> Counts:
    """Count the lines of one file."""
    print(f"· reading {name}\n", end="")  # one write, since two of these run at a time
    time.sleep(0.1)
    return {"lines": [(name, len((HERE / name).read_text("utf-8").splitlines()))]}


def summarise(counts: Counts) -> Counts:
    """Join: runs once, when every file is counted."""
    print("· adding up")
    return {"summary": f"{sum(lines for _, lines in counts['lines'])} lines in {len(counts['lines'])} files"}


with Log.open(sys.argv[1] if sys.argv[1:] else "build/fan_out.log") as log:
    graph = (
        StateGraph(Counts)
        .add_node(list_files)
        .add_node(count_lines)
        .add_node(summarise)
        .add_edge(START, "list_files")
        .add_conditional_edges("list_files", to_each_file, ["count_lines"])
        .add_edge("count_lines", "summarise")
        .compile(log)
    )
    config = {"configurable": {"thread_id": "count"}, "max_concurrency": 2}
    done = graph.invoke({} if log.head("count") is None else None, config, durability="sync")
    print("result:", done["summary"])
    for file, number in done["lines"]:
        print(f"{number:6} {file}")
