"""What does a ``@task`` cost, and what does it cost to find 1,000 of them recorded?

An entrypoint calls 1,000 tasks, each after the other's result. Then, in a process of its own, the same entrypoint is
killed with SIGKILL after its last task; a fresh process resumes it. Its time is counted from the end of its imports
to the end of the run, and the tasks it ran again are counted by what they leave behind outside the log.

Floors: the bare loop, and one raw LMDB full-sync commit per task.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from libraries import LIBRARIES, Library, config, walgraph

TASKS = 1000
ROUNDS = 5
ran: list[int] = []


def square(number: int) -> int:
    """Do one task, and leave a trace of it."""
    ran.append(number)
    return number * number


def bare() -> int:
    """Call the same function in a loop."""
    ran.clear()
    return sum(square(number) for number in range(TASKS))


def total_of(library: Library, saver: Any, *, dies: bool = False) -> Any:
    """Return the entrypoint."""
    squared = library.functional.task(square)

    @library.functional.entrypoint(checkpointer=saver)
    def total(count: int) -> int:
        result = sum(squared(number).result() for number in range(count))
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return total


def run(library: Library, mode: str | None, saver: Any, *, dies: bool = False) -> Any:
    """Return a call that runs the entrypoint."""
    total = total_of(library, saver, dies=dies)

    def call() -> int:
        ran.clear()
        answer: int = total.invoke(TASKS, config(), durability=mode)
        return answer

    return call


def test_tasks(race: Any, table: Any, tools: Any) -> None:
    """Run the tasks in each mode."""
    ours = partial(run, walgraph())
    bodies = tools.bodies_of(partial(ours, "sync"))
    results = race(
        {
            "bare loop": tools.bare(bare),
            "LMDB commit": tools.raw_lmdb(bodies),
            **{mode: tools.logged(partial(ours, mode)) for mode in ("sync", "async", "exit")},
        },
        ROUNDS,
        TASKS,
    )
    payload = tools.packed(number * number for number in range(TASKS))
    title = "1,000 tasks one after another"
    table.row(
        title,
        "sync",
        results["sync"],
        ("LMDB commit", results["LMDB commit"]),
        partial(tools.at_most, 1.2, unit=" ×", goal="S6"),
        payload,
    )
    for mode in ("async", "exit"):
        table.row(title, mode, results[mode], ("bare loop", results["bare loop"]), payload=payload)
    took = results["async"].micros
    table.figure(title, "async", f"{took:.1f} µs", tools.at_most(15, took, " µs", goal="S6"), "a task")


def test_resume(race: Any, table: Any, tools: Any, place: Path) -> None:
    """Kill the entrypoint after its tasks, and resume it in a fresh process."""
    killed = place / "killed"
    tools.life(Path(__file__), "die", "walgraph", str(killed), dies=True)

    @contextmanager
    def resumed(copy: Path) -> Any:
        shutil.copytree(killed, copy)
        yield lambda: json.loads(tools.life(Path(__file__), "resume", "walgraph", str(copy)))

    results = race({"resume": resumed}, ROUNDS, TASKS)
    seconds, again = zip(*results["resume"].answers, strict=True)
    spent = statistics.median(seconds)
    title = "1,000 tasks one after another"
    text = f"{spent * 1000:.1f} ms"
    target = tools.at_most(8, spent * 1000, " ms", goal="S7")
    table.figure(title, "resume", text, target, "fresh process after SIGKILL, beyond imports")
    table.figure(title, "resume", f"{max(again)}", tools.at_most(0, max(again), goal="S7"), "tasks run again")


def main() -> None:
    """Be the process that is killed, or the one that resumes."""
    what, name, path = sys.argv[1:]
    library = LIBRARIES[name]()
    start = time.perf_counter()
    with library.opened(Path(path)) as saver:
        if what == "die":
            run(library, "sync", saver, dies=True)()
        answer = total_of(library, saver).invoke(None, config(), durability="sync")
        seconds = time.perf_counter() - start
    assert answer == sum(number * number for number in range(TASKS))
    print(json.dumps([seconds, len(ran)]))


if __name__ == "__main__":
    main()
