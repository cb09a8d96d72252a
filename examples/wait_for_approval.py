"""An approval that may take a week: the process need not live so long, and a reminder goes out when nobody answers.

Watch for: the run parks while it waits, so this program could end and be started again at any time, or be killed; the
request is made once, the reminder is sent once, and the answer is received once. Here a week lasts five seconds, and
the one who is asked answers after the reminder.

    python examples/wait_for_approval.py [LOG [SECONDS]]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from walgraph import CompiledGraph, Log, SignalTimeout, entrypoint, task, wait_for

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "holiday-12"}, "park_after": 0}


def made(log: Log, patience: timedelta, reminded: Callable[[], object] = lambda: None) -> CompiledGraph:
    """Return the flow.

    Args:
        log: The log.
        patience: How long an answer may take before a reminder is sent.
        reminded: What the one who decides does when there is a reminder.
    """

    @task
    def tell(what: str) -> None:
        """Write to the one who decides."""
        print(f"· telling: {what}")
        if what.startswith("there is still"):
            reminded()

    @entrypoint(log, durability="sync")
    def approval(days: int) -> str:
        """Ask, remind, and say what came of it."""
        tell(f"please approve {days} days of holiday").result()
        reminders = 0
        while True:
            try:
                answer = wait_for("answer", timeout=patience)
            except SignalTimeout:
                reminders += 1
                tell("there is still a holiday to approve").result()
            else:
                return f"{answer} after {reminders} reminder"

    return approval


def run(log: Log, patience: timedelta) -> Any:
    """Carry the flow on until it is done; a ``Worker`` would do the waiting."""
    thread = CONFIG["configurable"]["thread_id"]
    graph = made(log, patience, lambda: log.signal(thread, "answer", "approved", id="answer-12"))
    outcome = graph.invoke(14 if log.head(thread) is None else None, CONFIG)
    while isinstance(outcome, dict):
        (asleep,) = outcome["__suspended__"]
        time.sleep(max(0.0, (asleep.until - datetime.now(UTC)).total_seconds()))
        outcome = graph.invoke(None, CONFIG)
    return outcome


if __name__ == "__main__":
    seconds = float(sys.argv[2]) if sys.argv[2:] else 5.0
    with Log.open(sys.argv[1] if sys.argv[1:] else "build/wait_for_approval.log") as opened:
        print("result:", run(opened, timedelta(seconds=seconds)))
