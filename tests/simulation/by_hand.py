"""The third driver: single-threaded and seeded. It decides what ends when, and what breaks.

    graph.invoke ──► Session, Loop, Recorder, Writer, Committer: all real
                          │ effects
                          ▼
                     drive (here)      one thread; tasks end in an order that the seed chooses, also within each other
                          │            after every effect: the five laws (``laws``)
                     FaultyDisk        a commit may be killed, refused for lack of room, or done and not acknowledged

A kill is an exception that nothing in user code can stop (``Killed``), and from then on the world is dead: the store
takes no more, user code that runs on is stopped at its first act, and what no commit has written is gone. The next
life opens a new log over the same store, as a new process would.

Invariants:
1. The same seed gives the same world: there is no second thread, and no clock decides anything.
2. What the laws look at is read from below the log: the frames that the store holds and those that wait in the queue.
3. The flusher commits when the seed says so, and not otherwise.

It must not know graphs.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from unittest import mock

from simulation.laws import LawBroken, Laws

from walgraph import Log, LogFull, MemoryLog
from walgraph.engine import graph as engine_graph
from walgraph.engine.effect import Append, Done, Perform
from walgraph.engine.job import Job
from walgraph.engine.loop import End, Loop
from walgraph.engine.run import Run
from walgraph.engine.stream import Sink
from walgraph.engine.task import perform
from walgraph.tools.by_hand import Work
from walgraph.wal.claim import Claims
from walgraph.wal.core import Core
from walgraph.wal.errors import LogClosed
from walgraph.wal.memory_store import MemoryStore
from walgraph.wal.store import Group, Store, Verdict


class Killed(BaseException):
    """The process was killed here."""


class World:
    """Everything that outlives a process: the disk, what was done to the outside, and the seed of its fate.

    Args:
        seed: Decides order and faults.
        chaos: How many faults there may be, over all lives.
        path: Where an LMDB log lies; None for a log in memory.
        judged: Whether the laws are looked at.
    """

    def __init__(self, seed: int, chaos: int = 0, path: Path | None = None, *, judged: bool = True) -> None:
        self.random = random.Random(seed)
        self.chaos = chaos
        self.path = path
        self.store = MemoryStore() if path is None else None
        self.dead = False
        self.faulty = False
        self.effects: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.done: list[str] = []
        self.laws = Laws(self.store, judging=judged)
        self.performers: list[Performer] = []
        self.pools: list[ByHandPool] = []
        self.core: Core | None = None

    def did(self, key: str, name: str) -> int:
        """Take note of an effect of user code: the one thing that a crash cannot take back."""
        self.live()
        self.laws.task_runs(key.partition(" ")[0], name, is_router=" " in key)
        times = self.counts[key]
        self.counts[key] += 1
        self.done.append(name)
        self.maybe_killed("in a body")
        self.meanwhile()
        self.live()
        return times

    def live(self) -> None:
        """Stop whoever still runs in a dead process."""
        if self.dead:
            raise Killed

    def chance(self, of: float) -> bool:
        """Decide something that is no fault."""
        return self.random.random() < of

    def fault(self, likely: float) -> bool:
        """Decide whether a fault strikes here, while there are faults left."""
        if not self.faulty or self.dead or self.chaos <= 0 or self.random.random() >= likely:
            return False
        self.chaos -= 1
        return True

    def maybe_killed(self, where: str) -> None:
        """Let the process die here, if that is its fate."""
        if self.fault(0.06):
            self.effects[f"killed {where}"] += 1
            self.dead = True
            raise Killed(where)

    def meanwhile(self) -> None:
        """Let another task make progress within the one that runs, as another thread would."""
        if self.dead or not self.chance(0.2):
            return
        pools = [pool for pool in self.pools if pool.waiting]
        performers = [performer for performer in self.performers if performer.waiting]
        if pools and self.chance(0.5):
            self.random.choice(pools).run_one()
        elif performers:
            self.random.choice(performers).run_one()

    @contextlib.contextmanager
    def life(self, *, faulty: bool = True, strict: bool = True) -> Iterator[Log]:
        """Start a process: open the log, and drive its graphs by hand; afterwards the process is gone."""
        self.dead = False
        self.pools, self.performers = [], []
        log = self._opened(strict=strict)
        core = self.core = log._core
        store = core.store
        store.commit = FaultyDisk(store, self).commit  # type: ignore[method-assign]
        core.committer.flusher = NoFlusher()  # type: ignore[assignment]
        self.laws.begin(log, store)
        self.faulty = faulty
        try:
            with mock.patch.object(engine_graph, "drive", self.drive):
                yield log
        finally:
            self.faulty = False
            del store.commit
            if core.committer.failure is None:
                core.committer.failure = LogClosed("The process is gone.")
            if self.path is not None:
                core.close()

    def _opened(self, *, strict: bool) -> Log:
        if self.path is not None:
            return Log.open(self.path, fsync="off", strict=strict, map_size=1 << 26)
        log = MemoryLog(strict=strict)
        assert self.store is not None
        log._core = Core(self.store, Claims(), interval=0.02, flush_bytes=4 << 20, name="")
        return log

    def flush_sometimes(self, likely: float) -> None:
        """Let the flusher have a look, if it is its time."""
        if self.core is not None and self.chance(likely):
            self.core.committer.commit_queued()

    def drive(self, run: Run, loop: Loop, sink: Sink | None) -> Generator[Any, None, End]:
        """Run a loop to its end; the counterpart of the drivers for threads and asyncio."""
        run._pool = pool = ByHandPool(self)  # type: ignore[assignment]
        performer = Performer(self)
        self.pools.append(pool)
        self.performers.append(performer)
        watched = self.laws.watch(run)
        effects = loop.effects()
        send: Any = effects.send
        answer: Any = None
        try:
            while True:
                self.live()
                self.maybe_killed("before an effect")
                try:
                    effect = send(answer)
                except StopIteration as stop:
                    watched.ended(stop.value)
                    return stop.value  # type: ignore[no-any-return]
                send, answer = effects.send, None
                # What is drafted here waits while others record: so it goes with a loop among many threads.
                self.meanwhile()
                try:
                    answer = self._carry_out(effect, run, loop, performer)
                except LawBroken:
                    raise
                except Exception as error:
                    send, answer = effects.throw, error
                self.live()
                watched.check()
                self.flush_sometimes(0.1)
                while sink is not None and sink.queue:
                    yield sink.queue.popleft()
        finally:
            self.performers.remove(performer)
            self.pools.remove(pool)
            run.close()

    def _carry_out(self, effect: Any, run: Run, loop: Loop, performer: Performer) -> list[Done] | None:
        watched = self.laws.watch(run)
        if isinstance(effect, Append):
            with watched.appending():
                run.recorder.record(*effect)
        elif isinstance(effect, Perform):
            watched.performing(loop, effect.jobs)
            return performer.perform(effect.jobs)
        else:
            watched.publishing(loop)
            run.publish(effect.events)
        return None


class Performer:
    """Runs the jobs of one loop, one at a time, in an order of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: list[Job] = []
        self.ended: list[Done] = []

    def perform(self, jobs: Sequence[Job]) -> list[Done]:
        """Take jobs on, run some, and return outcomes that have not been returned, in any order."""
        world = self.world
        self.waiting.extend(jobs)
        while not self.ended or (self.waiting and world.chance(0.4)):
            self.run_one()
            world.live()
        world.random.shuffle(self.ended)
        count = world.random.randint(1, len(self.ended))
        taken, self.ended = self.ended[:count], self.ended[count:]
        return taken

    def run_one(self) -> None:
        """Run a job that waits, to its end."""
        job = self.waiting.pop(self.world.random.randrange(len(self.waiting)))
        self.ended.append(perform(job))


class ByHandPool:
    """Stands where a run's pool of threads stands: a call is made at once, later, or by whoever waits for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: list[Work] = []

    def submit(self, call: Callable[[], Any], future: Future[Any]) -> Work:
        """Take a call on."""
        work = Work(call, future)
        self.waiting.append(work)
        while self.waiting and self.world.chance(0.3):
            self.run_one()
        return work

    def run_one(self) -> None:
        """Make a call that waits, unless it was made meanwhile."""
        work = self.waiting.pop(self.world.random.randrange(len(self.waiting)))
        work.run_if_free()

    def close(self) -> None:
        """Forget the calls: those that a task waits for were made by it."""
        self.waiting.clear()


class NoFlusher:
    """Stands where the flusher's thread stands, and leaves it to the world to commit."""

    asleep = False

    def wake(self) -> None:
        """Do nothing."""

    def hurry(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class FaultyDisk:
    """Stands before a real store's commit, as a disk that fails as the world wants it."""

    def __init__(self, store: Store, world: World) -> None:
        self.store = store
        self.world = world

    def commit(self, group: Group) -> list[Verdict]:
        """Write a group, unless something happens before, after or instead."""
        world = self.world
        world.live()
        world.maybe_killed("before a commit")
        if world.fault(0.05):
            world.effects["full"] += 1
            raise LogFull("The disk is full.")
        verdicts = type(self.store).commit(self.store, group)
        world.maybe_killed("after a commit")
        if world.fault(0.03):
            world.effects["in doubt"] += 1
            raise OSError("The disk did not answer.")
        return verdicts
