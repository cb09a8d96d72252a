"""Survey the Python standard library of this machine, in a way that survives being killed at any instruction.

    list_modules ─► survey_module × N ─► rank ─► write_report
                      measure(module)    a @task: parse the source, count what is in it
                      store(row)         a @task: write the row to a database

Watch for: run it, kill it, and run it again. It goes on where it was, and no module whose measurement is in the log is
parsed again. ``demo.py`` does that for you and proves it; what it looks at is the ledger, a file beside the log in
which every task leaves a line when it starts, whether it gets to its end or not.

    python examples/survey.py [FOLDER] [--modules N] [--durability sync|async|exit]

FOLDER (build/survey) gets: log, a walgraph log · survey.db · report.md · ledger.txt
"""

from __future__ import annotations

import argparse
import ast
import operator
import os
import platform
import sqlite3
import sysconfig
import threading
import time
from pathlib import Path
from typing import Annotated, TypedDict

from walgraph import START, CompiledGraph, Log, Send, StateGraph, get_runtime, idempotency_key, task

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
THREAD = "survey"
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
COUNTS = ("lines", "functions", "classes", "imports", "branches")
TOP = 15

FORKS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
"""Where control may go two ways; ``and``, ``or`` and a comprehension's ``if`` are counted on their own."""


class Row(TypedDict):
    """What is known of one module; ``problem`` says why it could not be parsed, and is mostly empty."""

    module: str
    lines: int
    functions: int
    classes: int
    imports: int
    branches: int
    problem: str


class Survey(TypedDict, total=False):
    """The state of the graph."""

    limit: int
    modules: list[str]
    rows: Annotated[list[Row], operator.add]
    totals: dict[str, int]
    ranking: list[str]


class Place:
    """The folder that the survey writes to. It is the run's context: each run is told it, and no record holds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ledger = os.open(folder / "ledger.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._database = self._opened()
        self._one_at_a_time = threading.Lock()

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self.folder / "survey.db", check_same_thread=False, isolation_level=None, timeout=30
        )
        # With FULL a row is on disk before its task ends: what the log calls done is not lost with the power.
        database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        counts = ", ".join(f"{name} INTEGER" for name in COUNTS)
        database.execute(
            f"CREATE TABLE IF NOT EXISTS module (module TEXT PRIMARY KEY, {counts}, problem TEXT, key TEXT)"
        )
        return database

    def note(self, task_name: str, module: str) -> None:
        """Leave a line in the ledger: a single write, which no kill can tear or take back."""
        os.write(self._ledger, f"{os.getpid()} {task_name} {module}\n".encode())

    def upsert(self, row: Row, key: str) -> None:
        """Write a row, in place of one that an attempt before a crash may have left."""
        columns = [*row, "key"]
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
        with self._one_at_a_time:
            self._database.execute(
                f"INSERT INTO module ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
                f"ON CONFLICT (module) DO UPDATE SET {changes}",
                [*row.values(), key],
            )


def here() -> Place:
    """Return the place of the run that the calling task belongs to."""
    return get_runtime(Place).context


def discover(limit: int = 0) -> list[str]:
    """Return the paths of the library's modules, without tests; with a limit so many of them, evenly spread."""
    found = [path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py")]
    modules = sorted(path.as_posix() for path in found if not LEFT_OUT & set(path.parts))
    if not 0 < limit < len(modules):
        return modules
    return [modules[number * len(modules) // limit] for number in range(limit)]


def count(module: str, source: bytes) -> Row:
    """Return what is in a module's source."""
    row = Row(module=module, lines=0, functions=0, classes=0, imports=0, branches=0, problem="")
    row["lines"] = len(source.splitlines())
    try:
        tree = ast.parse(source, module)
    except (SyntaxError, ValueError) as error:
        row["problem"] = f"{type(error).__name__}: {error}"
        return row
    for node in ast.walk(tree):
        row["functions"] += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        row["classes"] += isinstance(node, ast.ClassDef)
        row["imports"] += isinstance(node, ast.Import | ast.ImportFrom)
        row["branches"] += isinstance(node, FORKS)
        if isinstance(node, ast.BoolOp):
            row["branches"] += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            row["branches"] += len(node.ifs)
    return row


@task
def measure(module: str) -> Row:
    """Parse one module and count."""
    here().note("measure", module)
    return count(module, (LIBRARY / module).read_bytes())


@task
def store(row: Row) -> str:
    """Write one row to the database."""
    here().note("store", row["module"])
    here().upsert(row, idempotency_key())
    return row["module"]


@task
def write_file(name: str, text: str) -> str:
    """Write a file so that it is there whole or not at all."""
    here().note("write_file", name)
    unfinished = here().folder / f"{name}.unfinished"
    unfinished.write_text(text, "utf-8")
    unfinished.replace(here().folder / name)
    return name


def list_modules(state: Survey) -> Survey:
    """Find what there is to survey; recorded, so that a run that is resumed surveys the same."""
    return {"modules": discover(state["limit"])}


def to_each_module(state: Survey) -> list[Send]:
    """Fan out: one task for each module."""
    return [Send("survey_module", module) for module in state["modules"]]


def survey_module(module: str) -> Survey:
    """Measure one module and store its row; a call that is in the log returns what it returned then."""
    row = measure(module).result()
    store(row).result()
    return {"rows": [row]}


def rank(state: Survey) -> Survey:
    """Join: add up, and order the modules by their branches."""
    rows = sorted(state["rows"], key=lambda row: (-row["branches"], row["module"]))
    totals = {name: sum(row[name] for row in rows) for name in COUNTS}
    return {"totals": totals, "ranking": [row["module"] for row in rows]}


def write_report(state: Survey) -> None:
    """Write the report."""
    write_file("report.md", report(state)).result()


def report(state: Survey) -> str:
    """Return the report as markdown."""
    rows = {row["module"]: row for row in state["rows"]}
    sums = ", ".join(f"{state['totals'][name]:,} {name}" for name in COUNTS)
    lines = [
        f"# The standard library of Python {platform.python_version()}",
        "",
        f"{len(rows):,} modules: {sums}.",
        "",
        f"| rank | module | {' | '.join(COUNTS)} |",
        "|---:|:---|" + "---:|" * len(COUNTS),
    ]
    for place, module in enumerate(state["ranking"][:TOP], 1):
        numbers = " | ".join(f"{rows[module][name]:,}" for name in COUNTS)
        lines.append(f"| {place} | {module} | {numbers} |")
    problems = [f"- {row['module']}: {row['problem']}" for row in rows.values() if row["problem"]]
    lines += ["", f"{len(problems)} modules could not be parsed.", *problems]
    return "\n".join(lines) + "\n"


def build(log: Log) -> CompiledGraph:
    """Return the survey as a graph over a log."""
    return (
        StateGraph(Survey)
        .add_node(list_modules)
        .add_node(survey_module)
        .add_node(rank)
        .add_node(write_report)
        .add_edge(START, "list_modules")
        .add_conditional_edges("list_modules", to_each_module, ["survey_module"])
        .add_edge("survey_module", "rank")
        .add_edge("rank", "write_report")
        .compile(log, name="survey")
    )


def main() -> None:
    """Survey, or carry on with a survey."""
    parser = argparse.ArgumentParser(description="Survey the Python standard library of this machine.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/survey"))
    parser.add_argument("--modules", type=int, default=0, help="only so many; 0 for all")
    parser.add_argument("--durability", choices=["sync", "async", "exit"], default="sync")
    chosen = parser.parse_args()
    config = {"configurable": {"thread_id": THREAD}}
    began = time.perf_counter()
    measured = 0
    with Log.open(chosen.folder / "log") as log:
        graph, place = build(log), Place(chosen.folder)
        # An input begins a run; None carries on with the one that is there.
        given = {"limit": chosen.modules} if log.head(THREAD) is None else None
        print("beginning" if given else "carrying on", flush=True)
        for update in graph.stream(given, config, context=place, durability=chosen.durability):
            measured += "measure" in update
            if "measure" in update and measured % 50 == 0:
                print(f"{measured:5} measured, now {update['measure']['module']}", flush=True)
        modules = len(graph.get_state(config).values["rows"])
    seconds = time.perf_counter() - began
    print(
        f"{measured} of {modules} modules measured by this process, in {seconds:.1f} s: see {chosen.folder}/report.md"
    )


if __name__ == "__main__":
    main()
