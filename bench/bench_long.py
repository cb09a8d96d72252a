"""What do 100,000 calls of ``@task`` in one function cost in memory, and what does it cost to resume it?

A function makes its calls and is killed with SIGKILL; a fresh process resumes it, finds every call recorded, and ends.
Both say the peak of their memory, and the resumed one how long it took. The same with 10,000 calls: what 90,000 more of
them add is what a call costs. ``anonymous`` leaves out the mapped file, which the system takes back when it likes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from measuring import own_memory, peak_memory

from walgraph import Log, entrypoint, task

CONFIG = {"configurable": {"thread_id": "t"}}
FEW, MANY = 10_000, 100_000
ran: list[int] = []


@task
def step(number: int) -> dict[str, Any]:
    """Do one task, and leave a trace of it."""
    ran[:] = [number]
    return {"number": number, "text": f"result {number}"}


def function(log: Any, how: str, *, dies: bool) -> Any:
    """Return a function that makes calls, by their numbers or with keys."""

    @entrypoint(checkpointer=log)
    def flow(count: int) -> int:
        found = 0
        for number in range(count):
            call = step.with_key(f"key {number}") if how == "keyed" else step
            found += call(number).result()["number"]
        if dies:
            log.flush()
            print(json.dumps(memory()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return flow


def memory() -> list[float]:
    """Return the peak of this process, and what is anonymous of it now, in MB."""
    return [peak_memory() / 2**20, own_memory() / 2**20]


def lives(tools: Any, place: Path, how: str) -> tuple[list[Any], list[Any]]:
    """Make few and many calls, die, and resume; return what both lives of each said."""
    live, resumed = [], []
    for count in (FEW, MANY):
        path = str(place / f"{how}-{count}")
        live.append(json.loads(tools.life(Path(__file__), "die", path, how, str(count), dies=True)))
        resumed.append(json.loads(tools.life(Path(__file__), "resume", path, how, str(count))))
    return live, resumed


def test_long(race: Any, table: Any, tools: Any, place: Path) -> None:
    """Make few and many calls, die, and resume."""
    contenders = {how: tools.bare(partial(lives, tools, place, how)) for how in ("numbered", "keyed")}
    for how, found in race(contenders, 1, MANY).items():
        title = f"{MANY:,} {how} calls in one function"
        live, resumed = found.answers[0]
        took, again = resumed[1][2], resumed[1][3]
        table.figure(
            title, "resume", f"{took:.1f} µs", tools.at_most(15, took, " µs"), "a call, on the processor"
        )
        table.figure(title, "resume", f"{again}", tools.at_most(0, again), "tasks run again")
        for name, (few, many) in {"run": live, "resume": resumed}.items():
            growth = many[0] - few[0]
            table.figure(
                title, name, f"{growth:.0f} MB", tools.at_most(30, growth, " MB"), "peak beyond 10,000's"
            )
            growth = many[1] - few[1]
            table.figure(
                title,
                name,
                f"{growth:.0f} MB",
                tools.at_most(10, growth, " MB"),
                "anonymous, beyond 10,000's",
            )


def main() -> None:
    """Be the process that is killed, or the one that resumes."""
    what, path, how, count = sys.argv[1:]
    with Log.open(path) as log:
        flow = function(log, how, dies=what == "die")
        start = time.process_time()
        flow.invoke(int(count) if what == "die" else None, CONFIG)
        took = time.process_time() - start
        print(json.dumps([*memory(), took / int(count) * 1e6, len(ran)]))


if __name__ == "__main__":
    main()
