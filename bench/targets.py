"""The targets S1 to S15: what is wanted beside the floor, and beside LangGraph with its SqliteSaver.

    make bench        ──► verdicts of the column "floor" ──┐
    make bench-peers  ──► verdicts of the column "peer" ───┴──► build/bench-results ──► summary, and the pages

A target that was not measured says so: nothing counts as reached that was not looked at.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).resolve().parent.parent / "build" / "bench-results"

GOALS = {
    "S1": ("chain of 1,000, sync", "≤ 1.2 × raw LMDB commits", "≥ 6 ×"),
    "S2": ("chain of 1,000, async and exit", "≤ 70 × bare loop", "≥ 50 × async, ≥ 10 × exit"),
    "S3": ("chain of 1,000, no log", "≤ 45 × bare loop", "≥ 15 ×"),
    "S4": ("chat of 2,000", "disk ≤ 1.6 × payload; last tenth ≤ 1.15 × first", "≥ 500 × fewer bytes"),
    "S5": ("fan-out of 1,000, sync", "≤ 20 µs a task", "≥ 20 ×"),
    "S6": ("1,000 tasks in turn", "sync ≤ 1.2 × raw LMDB; async ≤ 15 µs", "≥ 50 × async"),
    "S7": ("killed after 1,000 tasks, resumed", "≤ 8 ms beyond the import, 0 run again", "≥ 25 ×"),
    "S8": ("1,000 threads × 10 steps, 8 workers", "≤ 1.8 × raw LMDB, grouped", "≥ 7 ×"),
    "S9": ("the same, asyncio, 100 at once", "≤ 30 µs a step", "≥ 45 ×"),
    "S10": ("thread of 10,000 steps, fresh process", "≤ 5 ms beyond the import", "faster"),
    "S11": ("1 MB unchanged, 200 steps", "≤ 1.15 MB on disk", "≥ 150 × fewer bytes"),
    "S12": ("history of 1,000 checkpoints", "≤ 10 µs each", "≥ 5 ×"),
    "S13": ("fresh process: first run", "≤ 3 × bare interpreter", "≥ 5 ×"),
    "S14": ("flushes per step, sync", "one commit per step", ""),
    "S15": ("growth of time and bytes", "exponents ≤ 0.02", ""),
    "savers": ("WalSaver under LangGraph", "", "≥ 2 × faster than SqliteSaver, ≥ 10 × fewer bytes of a chat"),
}
COLUMNS = {"floor": "make bench", "peer": "make bench-peers"}


class Verdict(NamedTuple):
    """One figure against its target."""

    goal: str
    what: str
    figure: str
    wanted: str
    reached: bool


def verdict(goal: str, what: str, figure: float, limit: float, unit: str, *, at_least: bool) -> Verdict:
    """Return a figure against a limit."""
    sign, reached = ("≥", figure >= limit) if at_least else ("≤", figure <= limit)
    return Verdict(goal, what, f"{figure:,.4g}{unit}", f"{sign} {limit:g}{unit}", reached)


def machine() -> str:
    """Return what the figures were taken on."""
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    system = f"{platform.system()} {platform.release()}"
    return (
        f"{when} UTC, {os.cpu_count()} processors, load {load}, {system}, Python {platform.python_version()}"
    )


def save(column: str, verdicts: list[Verdict], **more: list[list[str]]) -> None:
    """Keep what a run found: its verdicts, and rows for the pages, whose first cell says of which workload they are."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    # A run of some of the benchmarks takes the place of what these found before, and of nothing else.
    before = load(column)
    names = {each.goal for each in verdicts}
    verdicts = [*(each for each in before["verdicts"] if each.goal not in names), *verdicts]
    for name, rows in more.items():
        shown = {row[0] for row in rows}
        more[name] = [*(row for row in before.get(name, ()) if row[0] not in shown), *rows]
    kept = {**before, "machine": machine(), "verdicts": [each._asdict() for each in verdicts], **more}
    (RESULTS / f"{column}.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1))


def load(column: str) -> dict[str, Any]:
    """Return what the last run of a column found; nothing if there was none."""
    try:
        found: dict[str, Any] = json.loads((RESULTS / f"{column}.json").read_text())
    except OSError:
        return {"machine": "", "verdicts": []}
    return {**found, "verdicts": [Verdict(**each) for each in found["verdicts"]]}


def summary() -> str:
    """Return every target with what the last run of each column found, and whether it is reached."""
    runs = {column: load(column) for column in COLUMNS}
    lines = []
    for goal, (workload, *wanted) in GOALS.items():
        lines.append(f"{goal:6} {workload}")
        for (column, command), text in zip(COLUMNS.items(), wanted, strict=True):
            if not text:
                continue
            found = [each for each in runs[column]["verdicts"] if each.goal == goal]
            if not found:
                lines.append(f"     {column:5}  not measured: {command}  (wanted: {text})")
            for each in found:
                said = "reached" if each.reached else "NOT reached"
                lines.append(f"     {column:5}  {said:11}  {each.figure:>12}  {each.wanted:12}  {each.what}")
    for column, command in COLUMNS.items():
        if runs[column]["machine"]:
            lines.append(f"{command}: {runs[column]['machine']}")
    return "\n".join(lines)
