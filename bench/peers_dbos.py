"""DBOS with SQLite on the work of our benchmarks, in an environment of its own: one workflow, whose steps are recorded.

    python bench/peers_dbos.py chain|tasks|workers FOLDER  ──►  one line of JSON

Each step is a transaction of its own that is waited for, as under ``sync``.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dbos import DBOS
from measuring import bytes_below, peak_memory, written


@DBOS.step()
def count(state: dict[str, int]) -> dict[str, int]:
    """Count, as a node of the chain does."""
    return {"x": state["x"] + 1}


@DBOS.step()
def square(number: int) -> int:
    """Do one task."""
    return number * number


@DBOS.workflow()
def counted(steps: int) -> int:
    """Hand a state from step to step."""
    state = {"x": 0}
    for _ in range(steps):
        state = {**state, **count(state)}
    return state["x"]


@DBOS.workflow()
def summed(steps: int) -> int:
    """Do tasks, one after another."""
    return sum(square(number) for number in range(steps))


def workers() -> None:
    """Run 1,000 workflows of ten steps from 8 workers."""
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: counted(10), range(1000)):
            assert answer == 10


WORK = {"chain": lambda: counted(1000), "tasks": lambda: summed(1000), "workers": workers}


def main() -> None:
    """Run one workload, and print what it took."""
    what, folder = sys.argv[1:]
    place = Path(folder)
    place.mkdir(parents=True)
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{place / 'dbos.sqlite'}",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    before, start = written(), time.perf_counter()
    WORK[what]()
    seconds, handed = time.perf_counter() - start, written() - before
    DBOS.destroy()
    taken = {"seconds": seconds, "disk": bytes_below(place), "written": handed, "memory": peak_memory()}
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
