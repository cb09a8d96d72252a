"""How long until a fresh process has run its first graph? Import, open a log, run three nodes under ``sync``, end.

The floor is an interpreter that does nothing. Both are counted as CPU of the child process, which a busy disk or a busy
machine changes least.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROUNDS = 9
TIMES = 3

BEGINNINGS = {
    "walgraph": "from walgraph import END, START, Log, StateGraph; opened = Log.open",
    "langgraph": """
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
opened = SqliteSaver.from_conn_string
""",
}
PROGRAM = """
import sys
from typing import TypedDict

class State(TypedDict):
    x: int

def node(state):
    return {"x": state["x"] + 1}

builder = StateGraph(State)
for name in "abc":
    builder.add_node(name, node)
for before, after in ((START, "a"), ("a", "b"), ("b", "c"), ("c", END)):
    builder.add_edge(before, after)
with opened(sys.argv[1]) as saver:
    done = builder.compile(checkpointer=saver).invoke({"x": 0}, {"configurable": {"thread_id": "t"}}, durability="sync")
assert done == {"x": 3}
"""


def program(library: str) -> str:
    """Return the program on a library: import, open, run, end."""
    return BEGINNINGS[library] + PROGRAM


def children_cpu() -> float:
    """Return the seconds of CPU that ended child processes have used."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_first_run(race: Any, table: Any, tools: Any) -> None:
    """Run the program in a fresh process each time."""
    environment = tools.environment()

    def child(text: str) -> Any:
        @contextmanager
        def contender(place: Path) -> Any:
            def call() -> Any:
                before = children_cpu()
                subprocess.run([sys.executable, "-c", text, str(place)], check=True, env=environment)
                return tools.Seconds(children_cpu() - before)

            yield call

        return contender

    results = race({"walgraph": child(program("walgraph")), "python": child("pass")}, ROUNDS, 1)
    spent = {name: each.micros / 1000 for name, each in results.items()}
    times = spent["walgraph"] / spent["python"]
    table.figure(
        "fresh process: first run",
        "CPU",
        f"{spent['walgraph']:.0f} ms",
        tools.at_most(TIMES, times, " ×", goal="S13"),
        f"bare interpreter {spent['python']:.0f} ms, {times:.1f} ×",
    )
