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

PROGRAM = """
import sys
from typing import TypedDict
from walgraph import END, START, Log, StateGraph

class State(TypedDict):
    x: int

def node(state):
    return {"x": state["x"] + 1}

builder = StateGraph(State)
for name in "abc":
    builder.add_node(name, node)
for before, after in ((START, "a"), ("a", "b"), ("b", "c"), ("c", END)):
    builder.add_edge(before, after)
with Log.open(sys.argv[1]) as log:
    done = builder.compile(log).invoke({"x": 0}, {"configurable": {"thread_id": "t"}}, durability="sync")
assert done == {"x": 3}
"""


def children_cpu() -> float:
    """Return the seconds of CPU that ended child processes have used."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_first_run(race: Any, table: Any, tools: Any) -> None:
    """Run the program in a fresh process each time."""
    environment = tools.environment()

    def child(program: str) -> Any:
        @contextmanager
        def contender(place: Path) -> Any:
            def call() -> Any:
                before = children_cpu()
                subprocess.run([sys.executable, "-c", program, str(place)], check=True, env=environment)
                return tools.Seconds(children_cpu() - before)

            yield call

        return contender

    results = race({"walgraph": child(PROGRAM), "python": child("pass")}, ROUNDS, 1)
    spent = {name: each.micros / 1000 for name, each in results.items()}
    times = spent["walgraph"] / spent["python"]
    table.figure(
        "fresh process: first run",
        "CPU",
        f"{spent['walgraph']:.0f} ms",
        tools.at_most(TIMES, times, " ×"),
        f"bare interpreter {spent['python']:.0f} ms, {times:.1f} ×",
    )
