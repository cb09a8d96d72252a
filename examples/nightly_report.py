"""A schedule: a report is made each night, whoever is awake; here a night lasts a second, and there are three of them.

Watch for: the schedule is in the log, so this program need not run all the time. Kill it and run it again: a night that
passed meanwhile is made up for, none is reported twice, and a report that was half made goes on where it was. Start it
in two terminals at once on the same log, and each night is still handed over once.

    python examples/nightly_report.py [LOG]
"""

from __future__ import annotations

import operator
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypedDict

from walgraph import (
    START,
    CompiledGraph,
    Log,
    RunHandle,
    ScheduleHandle,
    ScheduleNotFound,
    StateGraph,
    Worker,
    get_config,
    schedule,
)

NIGHTS = 3


class Report(TypedDict, total=False):
    """What the report says."""

    lines: Annotated[list[str], operator.add]


def gather(report: Report) -> Report:
    """Look up the figures of the night that this run is for, however late it runs."""
    night = get_config()["metadata"]["scheduled_at"]
    print(f"· gathering for {night}\n", end="")
    return {"lines": [f"figures of {night}"]}


def publish(report: Report) -> Report:
    """Stand for sending it to whoever reads it."""
    print(f"· publishing {report['lines'][0]}\n", end="")
    return {"lines": ["published"]}


def made(log: Log) -> CompiledGraph:
    """Return the graph that makes one report."""
    graph = StateGraph(Report).add_sequence([gather, publish]).add_edge(START, "gather")
    return graph.compile(log, name="report", durability="sync")


def scheduled(log: Log, graph: CompiledGraph, cron: str, ends_at: datetime) -> ScheduleHandle:
    """Return the schedule: the one that an earlier life has made, or a new one."""
    try:
        return ScheduleHandle(log, "report")
    except ScheduleNotFound:
        # Each night has its report, however long nobody was there, and one is made after the other.
        how = {"missed": "all", "overlap": "buffer_all", "zone": "Europe/Oslo"}
        return schedule(cron, graph, {}, ends_at=ends_at, **how)


if __name__ == "__main__":
    with Log.open(sys.argv[1] if sys.argv[1:] else "build/nightly_report.log") as opened:
        report = made(opened)
        end = datetime.now(UTC) + timedelta(seconds=NIGHTS)
        nightly = scheduled(opened, report, "* * * * * *", end)
        with Worker(opened, report):
            while nightly.info().fires < NIGHTS:
                time.sleep(0.02)
            RunHandle(opened, nightly.info().last_run or "").result()
            runs = [each.thread_id for each in opened.threads(prefix="report@")]
            reports = [RunHandle(opened, run).result()["lines"] for run in runs]
        print("result:", len(reports), "nights, each with a report of its own")
        print(len({figures for figures, _ in reports}), "figures,", *{published for _, published in reports})
