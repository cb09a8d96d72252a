"""The same work on LangGraph with its SqliteSaver and on DBOS with SQLite, beside walgraph: `make bench-peers`.

    parent   for each workload: rounds; in each round every contender once, in a process of its own, in turn
    child    python bench/peers.py --one WORKLOAD CONTENDER MODE FOLDER  ──►  one line of JSON

Workloads are those of `bench_*.py`, run with LangGraph's names instead of ours. A process of its own for every run
keeps imports and memory apart: its peak is that of the run. `savers.py` compares checkpointers under LangGraph.

    time      median of the rounds, per step, from the first call to the last flush; compiling is not counted
    on disk   what the closed store takes
    written   what the process handed to the disk (``/proc/self/io``; 0 where the system does not say)
    memory    the peak of the process

    ROUNDS    at most so many rounds of each; one takes half of the time and tells less
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from libraries import LIBRARIES
from measuring import bytes_below, human, peak_memory, written
from targets import Verdict, save, summary, verdict

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent / "build" / "bench-peers"
DBOS = HERE.parent / "build" / "dbos" / "bin" / "python"
ROUNDS = int(os.environ.get("ROUNDS") or 5)


class Workload(NamedTuple):
    """What is run, how many steps it has, how often, and what is wanted of us against LangGraph."""

    where: str
    """Module and function, and the options of the function."""
    steps: int
    rounds: int
    wanted: dict[str, tuple[str, float]]
    """Mode → the target's name, and how many times faster we are to be."""
    fewer_bytes: tuple[str, float] | None = None
    options: dict[str, Any] = {}  # noqa: RUF012 - a default that nobody changes
    dbos: str | None = None
    """The function in `peers_dbos.py` that does the same."""
    is_async: bool = False

    def function(self) -> Callable[..., Callable[[], Any]]:
        """Return what makes the call of this workload from a library, a mode and a saver."""
        module, _, name = self.where.partition(":")
        return partial(getattr(importlib.import_module(module), name), **self.options)


ALL = {"none": ("", 0.0), "exit": ("", 0.0), "async": ("", 0.0), "sync": ("", 0.0)}
WORKLOADS = {
    "chain of 1,000": Workload(
        "bench_chain:run",
        1000,
        3,
        {"sync": ("S1", 6), "async": ("S2", 50), "exit": ("S2", 10), "none": ("S3", 15)},
        dbos="chain",
    ),
    "chat of 2,000 messages": Workload(
        "bench_chat:run", 2000, 1, {"sync": ("", 0), "async": ("", 0)}, ("S4", 500)
    ),
    "fan-out of 1,000": Workload("bench_fanout:run", 1000, 3, {"sync": ("S5", 20)}),
    "1,000 tasks in turn": Workload(
        "bench_tasks:run", 1000, 3, {"sync": ("", 0), "async": ("S6", 50)}, dbos="tasks"
    ),
    "1,000 threads × 10, 8 workers": Workload(
        "bench_threads:from_workers", 10_000, 1, {"sync": ("S8", 7)}, dbos="workers"
    ),
    "1,000 threads × 10, asyncio, 100 at once": Workload(
        "bench_threads:from_loop", 10_000, 1, {"sync": ("S9", 45)}, is_async=True
    ),
    "1 MB unchanged, 200 steps": Workload("bench_large_value:run", 200, 1, {"sync": ("", 0)}, ("S11", 150)),
    "history of 1,000": Workload("bench_history:run", 1000, 3, {"async": ("S12", 5)}),
    "one of 1,000 channels changes, 500 steps": Workload(
        "bench_wide:run", 500, 1, {"async": ("", 0)}, options={"width": 1000}
    ),
    "fanout_to_subgraph_100x": Workload("bench_subgraphs:run", 1300, 1, ALL),
    "react_agent, 50 calls": Workload("bench_react:run", 101, 1, ALL),
    "wide_state_15x600": Workload("bench_wide_state:run", 36, 2, ALL, options={"kind": "dataclass"}),
    "wide_dict_15x600": Workload("bench_wide_state:run", 36, 2, ALL, options={"kind": "dict"}),
    "pydantic_state_15x600": Workload("bench_wide_state:run", 36, 2, ALL, options={"kind": "pydantic"}),
    "sequential_10": Workload("bench_sequential:run", 10, 3, {"none": ("", 0)}, options={"size": 10}),
    "sequential_1000": Workload("bench_sequential:run", 1000, 3, {"none": ("", 0)}, options={"size": 1000}),
    "sequential_1000_compilation": Workload(
        "bench_sequential:make", 1000, 3, {"none": ("", 0)}, options={"size": 1000}
    ),
}
LIVES = {
    "killed after 1,000 tasks, resumed": ("bench_tasks.py", "resume", "S7", 25.0),
    "thread of 10,000 steps, fresh process": ("bench_recover.py", "recover", "S10", 1.0),
}
"""What is wanted of a fresh process after a kill: program, its part, target."""


def one(workload: str, contender: str, mode: str, place: Path) -> None:
    """Run one contender in this process, and print what it took."""
    place.mkdir(parents=True)
    found, library = WORKLOADS[workload], LIBRARIES[contender]()
    with contextlib.ExitStack() as stack:
        saver = None
        if mode != "none":
            saver = (library.aopened if found.is_async else library.opened)(place)
            if not (found.is_async and library.is_async_context):
                saver = stack.enter_context(saver)
        call = found.function()(library, None if mode == "none" else mode, saver)
        before, start = written(), time.perf_counter()
        call()
        if contender == "walgraph" and saver is not None:
            saver.flush()
        seconds = time.perf_counter() - start
        handed = written() - before
    report(seconds, place, handed)


def report(seconds: float, place: Path, handed: int) -> None:
    """Print what a run in this process took."""
    print(
        json.dumps(
            {"seconds": seconds, "disk": bytes_below(place), "written": handed, "memory": peak_memory()}
        )
    )


def child(*command: str, python: str = sys.executable) -> str:
    """Run an interpreter, and return what it printed.

    Raises:
        SystemExit: It failed; what it said is shown.
    """
    done = subprocess.run([python, *command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


def in_turn(
    contenders: dict[str, Callable[[Path], dict[str, float]]], rounds: int
) -> dict[str, dict[str, float]]:
    """Run contenders in turn, each in a fresh folder, and return the medians of each."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    names = list(contenders)
    for _ in range(max(1, min(rounds, ROUNDS))):
        for name in names:
            shutil.rmtree(PLACE, ignore_errors=True)
            PLACE.mkdir(parents=True)
            found[name].append(contenders[name](PLACE / "store"))
        names.append(names.pop(0))
    shutil.rmtree(PLACE, ignore_errors=True)
    return {
        name: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for name, results in found.items()
    }


class Page:
    """Prints what is found, and keeps it for the summary and the pages."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.rows: list[list[str]] = []

    def faster(self, title: str, results: dict[str, dict[str, float]], goal: str, wanted: float) -> None:
        """Say how many times faster we are than LangGraph."""
        times = results["langgraph"]["seconds"] / results["walgraph"]["seconds"]
        print(f"{title}: {times:.1f} × faster than LangGraph  {self.judged(goal, title, times, wanted)}")

    def judged(self, goal: str, what: str, figure: float, wanted: float) -> str:
        """Return a target as it is printed, and keep it."""
        if not goal:
            return ""
        found = verdict(goal, what, figure, wanted, " ×", at_least=True)
        self.verdicts.append(found)
        return f"{goal} {found.wanted}: {'reached' if found.reached else 'NOT reached'}"

    def row(self, workload: str, mode: str, contender: str, found: dict[str, float], steps: int) -> None:
        """Print one contender's figures."""
        micros = found["seconds"] / steps * 1e6
        disk, handed, memory = (human(found[key]) for key in ("disk", "written", "memory"))
        self.rows.append([workload, mode, contender, f"{micros:,.1f}", disk, handed, memory])
        print(
            f"    {contender:9} {micros:12,.1f} µs/step   on disk {disk:8}  written {handed:8}  peak {memory}"
        )
        sys.stdout.flush()


def compare(page: Page, name: str, workload: Workload) -> None:
    """Run a workload in each of its modes on all contenders."""

    def contender(library: str, mode: str, place: Path) -> dict[str, float]:
        found: dict[str, float] = json.loads(child(__file__, "--one", name, library, mode, str(place)))
        return found

    def dbos(place: Path) -> dict[str, float]:
        program = str(HERE / "peers_dbos.py")
        found: dict[str, float] = json.loads(child(program, str(workload.dbos), str(place), python=str(DBOS)))
        return found

    for mode, (goal, wanted) in workload.wanted.items():
        contenders: dict[str, Callable[[Path], dict[str, float]]] = {
            library: partial(contender, library, mode) for library in LIBRARIES
        }
        # A step of DBOS is always on disk before the next one begins.
        if workload.dbos and mode == "sync" and DBOS.exists():
            contenders["dbos"] = dbos
        results = in_turn(contenders, workload.rounds)
        page.faster(f"{name}, {mode}", results, goal, wanted)
        for each, found in results.items():
            page.row(name, mode, each, found, workload.steps)
        if workload.fewer_bytes is not None:
            saved, least = workload.fewer_bytes
            fewer = results["langgraph"]["disk"] / results["walgraph"]["disk"]
            said = page.judged(saved, f"{name}, {mode}: bytes on disk", fewer, least)
            print(f"    {fewer:.0f} × fewer bytes on disk  {said}")


def lives(page: Page, name: str) -> None:
    """Kill a process on each library, and take its thread up in fresh ones."""
    file, part, goal, wanted = LIVES[name]
    program, kept = str(HERE / file), PLACE.parent / "bench-peers-killed"
    shutil.rmtree(kept, ignore_errors=True)
    for library in LIBRARIES:
        (kept / library).mkdir(parents=True)
        command = [sys.executable, program, "die", library, str(kept / library)]
        assert subprocess.run(command, check=False, capture_output=True).returncode < 0, "it was to be killed"

    def resumed(library: str, place: Path) -> dict[str, float]:
        shutil.copytree(kept / library, place)
        said = json.loads(child(program, part, library, str(place)))
        seconds, again = said if isinstance(said, list) else (said, 0)
        return {"seconds": seconds, "again": again}

    results = in_turn({library: partial(resumed, library) for library in LIBRARIES}, 5)
    page.faster(name, results, goal, wanted)
    for library, found in results.items():
        again = f", {found['again']:.0f} tasks run again" if part == "resume" else ""
        print(f"    {library:9} {found['seconds'] * 1000:10.1f} ms beyond the imports{again}")
        page.rows.append([name, "sync", library, f"{found['seconds'] * 1000:.1f} ms{again}", "", "", ""])
    shutil.rmtree(kept)


def first_run(page: Page, name: str) -> None:
    """Start fresh processes that import a library, open a store and run three nodes."""
    from bench_first_run import program

    def started(library: str, place: Path) -> dict[str, float]:
        start = time.perf_counter()
        child("-c", program(library), str(place))
        return {"seconds": time.perf_counter() - start}

    results = in_turn({library: partial(started, library) for library in LIBRARIES}, 5)
    page.faster(name, results, "S13", 5)
    for library, found in results.items():
        print(f"    {library:9} {found['seconds'] * 1000:10.0f} ms")
        page.rows.append([name, "sync", library, f"{found['seconds'] * 1000:.0f} ms", "", "", ""])


FIRST = "fresh process: first run"
SAVERS = "savers"


def main(arguments: Sequence[str]) -> None:
    """Measure everything, and print the table."""
    parser = argparse.ArgumentParser(description="Run the same work on LangGraph and on walgraph.")
    parser.add_argument("--one", nargs=4, metavar=("WORKLOAD", "CONTENDER", "MODE", "FOLDER"))
    parser.add_argument("--only", choices=[*WORKLOADS, *LIVES, FIRST, SAVERS], help="one workload")
    given = parser.parse_args(arguments)
    if given.one:
        workload, contender, mode, place = given.one
        one(workload, contender, mode, Path(place))
        return
    page = Page()
    if not DBOS.exists():
        print(f"DBOS is left out: {DBOS} is not there; make bench-peers makes it where PyPI can be reached.")
    for name in [given.only] if given.only else [*WORKLOADS, *LIVES, FIRST, SAVERS]:
        if name in WORKLOADS:
            compare(page, name, WORKLOADS[name])
        elif name in LIVES:
            lives(page, name)
        elif name == FIRST:
            first_run(page, name)
        else:
            import savers

            savers.compare(page, in_turn, child)
        save("peer", page.verdicts, rows=page.rows)
    print()
    print(summary())


if __name__ == "__main__":
    main(sys.argv[1:])
