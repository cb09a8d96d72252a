"""Several worker processes on one log, killed and stopped at random instants, and what they should have left behind.

    crowd = Crowd(path, seed=1)
    crowd.work(runs=40, seconds=3)        hand runs over while workers come and go
    crowd.settle()                        let one last worker finish what is left
    crowd.check()                         every run ended once, with the right result; every step ran at least once

A schedule fires each second meanwhile, and is checked in the same way.

Each step of a run adds a line to a file outside, which is how often its body ran.
"""

from __future__ import annotations

import operator
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypedDict

from walgraph import END, START, CompiledGraph, Log, StateGraph, Worker, define_queue, schedule, submit
from walgraph.wal.record import RunEnded, RunStarted

STEPS = ("one", "two", "three")

LIFE = """
import sys
sys.path.insert(0, sys.argv[1])
from crowd import workflow
from walgraph import Log, Worker
with Log.open(sys.argv[2]) as log:
    print("ready", flush=True)
    Worker(log, workflow(log, sys.argv[3]), concurrency=4, attempts=1000, durability=sys.argv[4]).run()
"""


class Trail(TypedDict, total=False):
    """Who did what, and the run that is under way."""

    run: str
    trail: Annotated[list[str], operator.add]


def workflow(log: Log, outside: str) -> CompiledGraph[Any, Any, Any, Any]:
    """Return a graph of three steps, each of which leaves a line outside and one in the state."""

    def step(name: str) -> Any:
        def body(state: Any) -> dict[str, Any]:
            line = f"{state['run']}:{name}"
            descriptor = os.open(outside, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, f"{line}\n".encode())
            os.close(descriptor)
            time.sleep(0.005)
            return {"trail": [line]}

        return body

    builder = StateGraph(Trail)
    for before, name in zip((START, *STEPS), STEPS, strict=False):
        builder.add_node(name, step(name)).add_edge(before, name)
    return builder.add_edge(STEPS[-1], END).compile(log, name="workflow")


class Crowd:
    """Workers that come and go.

    Args:
        path: Where the log is to be.
        seed: What the instants are drawn from.
        durability: The mode of the runs.
        workers: How many processes there are at a time.
    """

    def __init__(self, path: Path, *, seed: int, durability: str = "async", workers: int = 3) -> None:
        self.outside = str(path.with_suffix(".txt"))
        self.log = Log.open(path)
        self.path = str(path)
        self.graph = workflow(self.log, self.outside)
        self.random = random.Random(seed)
        self.durability = durability
        self.given: dict[str, list[str]] = {}
        self.processes = [self._process() for _ in range(workers)]
        self.kills = self.stops = 0
        define_queue(self.log, "narrow", concurrency=2)
        given, how = {"run": "tick"}, {"missed": "all", "overlap": "allow_all"}
        self.ticks = schedule("* * * * * *", self.graph, given, name="tick", **how)

    def _process(self) -> subprocess.Popen[bytes]:
        here = str(Path(__file__).parent)
        return subprocess.Popen(
            [sys.executable, "-c", LIFE, here, self.path, self.outside, self.durability],
            stdout=subprocess.PIPE,
        )

    def work(self, runs: int, seconds: float) -> None:
        """Hand runs over, and let workers be killed and stopped meanwhile."""
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        end = time.monotonic() + seconds
        handed = 0
        while time.monotonic() < end:
            share = 1 - (end - time.monotonic()) / seconds
            while handed < runs * share:
                thread, run = f"t{self.random.randrange(max(2, runs // 4))}", f"r{handed}"
                queue = self.random.choice(["default", "narrow"])
                submit(self.graph, {"run": run}, thread, run_id=run, queue=queue)
                self.given.setdefault(thread, []).append(run)
                handed += 1
            time.sleep(self.random.uniform(0.01, 0.12))
            self._strike()

    def _strike(self) -> None:
        place = self.random.randrange(len(self.processes))
        process = self.processes[place]
        if self.random.random() < 0.4:
            self.stops += 1
            process.send_signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(0.0, 0.05))
            if self.random.random() < 0.5:
                process.send_signal(signal.SIGCONT)
                return
        self.kills += 1
        self._kill(process)
        self.processes[place] = self._process()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def settle(self, timeout: float = 60) -> None:
        """Kill whoever is left, end the schedule, and let a worker of this process finish."""
        for process in self.processes:
            self._kill(process)
        self.ticks.pause()
        worker = Worker(self.log, self.graph, attempts=1000, durability=self.durability)
        end = time.monotonic() + timeout
        with worker:
            while list(self.log.submissions().unfinished()) and time.monotonic() < end:
                time.sleep(0.01)

    def check(self) -> None:
        """See that what was promised was kept."""
        assert list(self.log.submissions().unfinished()) == []
        assert self.log.submissions().started() == []
        steps = Counter(Path(self.outside).read_text().split())
        for thread, runs in self.given.items():
            expected: list[str] = []
            for run in runs:
                expected += [f"{run}:{name}" for name in STEPS]
                row = self.log.submissions().get(run)
                assert row is not None
                assert row.how == "done", row
                assert self.log.decoder().value(row.result) == {"run": run, "trail": expected}
                assert all(steps[f"{run}:{name}"] >= 1 for name in STEPS)
            records = [stored.record for stored in self.log.read(thread)]
            if self.durability != "exit":
                assert [r.run for r in records if isinstance(r, RunStarted)] == runs
                assert sum(isinstance(r, RunEnded) and r.how == "done" for r in records) == len(runs)
            head = self.log.head(thread)
            assert head is not None
            assert head.status == "done"

        self._check_ticks()

    def _check_ticks(self) -> None:
        """See that the schedule has handed over each second once, and that each of these runs is done."""
        runs = [each for each in self.log.submissions().all() if each.run.startswith("tick@")]
        times = [datetime.fromisoformat(each.run.removeprefix("tick@")) for each in runs]
        assert times == [times[0] + n * timedelta(seconds=1) for n in range(len(times))]
        info = self.ticks.info()
        assert (info.fires, info.skips) == (len(times), 0)
        for each in runs:
            assert each.how == "done", each
            trail = [f"tick:{name}" for name in STEPS]
            assert self.log.decoder().value(each.result) == {"run": "tick", "trail": trail}

    def close(self) -> None:
        """Close the log."""
        for process in self.processes:
            if process.poll() is None:
                self._kill(process)
        self.log.close()
