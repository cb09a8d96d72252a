"""Stories: the lives of one thread, from the first to the one that reaches the end, and what must hold after each.

    fork ──► life ──► killed at its fated event, or after a random while, or at its end
                          └──► the log and the ledger are read, and compared with what they were before

After each life:
1. The log is whole (``verify``), and holds all that it held before.
2. No body ran in this life that was recorded before it (guarantee G2, in every mode).
3. ``sync``: state as any body saw it is in the log. ``async``: so it is once the flush window has passed.
   ``exit``: a run that did not come to its end left nothing at all.
4. A call that came back had flushed what it did, in every mode; what it answered is not asked again.

At the end: the values are those of an undisturbed run.

Children are forked from a process that has everything loaded and no thread and no log open, since starting an
interpreter takes longer than a whole life; now and then one is started all the same.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz import life as life_module
from fuzz.life import UNEXPECTED, Plan, compact_and_exit, lines, live_and_exit, shape_of
from simulation.by_hand import World
from simulation.laws import Known
from simulation.lives import a_function, a_graph, live_through

from walgraph import Log
from walgraph.wal.verify import verify

LIVES = 300
"""A story that takes longer does not get on."""
LONGEST_SECONDS = 60.0
"""A life that takes longer hangs."""


class Broken(AssertionError):
    """A promise was not kept."""


class Tale:
    """One story: a folder with its log and its ledger, and what is known of them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = chance = random.Random(seed)
        self.folder = folder
        mode = chance.choice(["sync", "async", "exit"])
        # Without a flush the machine must stay up, and it does: only processes die here.
        fsync = chance.choices(["off", "data", "full"], [8, 1, 1])[0]
        kind = chance.choice(["graph", "graph", "async graph", "function"])
        self.compacts = mode != "exit" and chance.random() < 0.3
        self.crowded = chance.random() < 0.2
        self.plan = Plan(seed, mode, fsync, kind, 4 if self.compacts or chance.random() < 0.3 else 512)
        self.known = Known("thread")
        self.read_lines = 0
        self.answered: set[str] = set()
        self.seq = self.horizon = 0
        self.deaths: Counter[str] = Counter()

    def tell(self) -> int:
        """Live until the story is over; return how many lives it took."""
        if self.crowded:
            (self.folder / "crowd").touch()
        for number in range(LIVES):
            fate = self.random.choice(
                [0, self.random.randrange(1, 10), self.random.randrange(1, 25), self.random.randrange(1, 60)]
            )
            # Towards the end of its patience the world becomes kind, so that every story ends.
            plan = self.plan._replace(life=number, fate=fate if number < LIVES // 2 else 0)
            if plan.mode == "async" and fate and self.random.random() < 0.03:
                plan = plan._replace(lingers=True)
            elif fate and self.random.random() < 0.1:
                plan = plan._replace(stops=True)
            over = self._crowd(plan) if self.crowded and number else self._alone(plan)
            self.check(over=over)
            if over:
                self.ended()
                return number + 1
        raise Broken(f"{LIVES} lives and no end")

    def _alone(self, plan: Plan) -> bool:
        """Let one process live, perhaps beside one that compacts; tell whether it came to the end."""
        children = [
            self._fresh(plan) if self.random.random() < 0.01 else forked(live_and_exit, plan, self.folder)
        ]
        if self.compacts and self.random.random() < 0.6 and (self.folder / "log").exists():
            children.append(forked(compact_and_exit, self.folder))
        return self._watch(children, plan)[0] == 0

    def _crowd(self, plan: Plan) -> bool:
        """Let two processes live on the same thread; tell whether the one that may begin things came to the end."""
        if_busy = self.random.choice(["raise", "wait", "steal"])
        first = plan._replace(if_busy=if_busy)
        second = first._replace(guest=True, life=plan.life + LIVES, fate=self.random.randrange(0, 30))
        children = [forked(live_and_exit, each, self.folder) for each in (first, second)]
        return self._watch(children, plan)[0] == 0

    def _fresh(self, plan: Plan) -> int:
        """Start a life in an interpreter of its own."""
        command = [sys.executable, life_module.__file__, str(self.folder), repr(tuple(plan))]
        self.deaths["fresh interpreters"] += 1
        return subprocess.Popen(command).pid

    def _watch(self, children: list[int], plan: Plan) -> list[int]:
        """Wait for processes, and kill them if their time is up; return their exit codes."""
        start = time.monotonic()
        is_fated = plan.fate > 0 or plan.life >= LIVES // 2
        limit = (
            LONGEST_SECONDS if is_fated or self.random.random() < 0.3 else self.random.expovariate(1 / 0.01)
        )
        codes: dict[int, int] = {}
        while len(codes) < len(children):
            for child in children:
                if child not in codes:
                    ended, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
                    if ended and os.WIFSTOPPED(status):
                        self.deaths["stopped"] += 1
                        time.sleep(self.random.uniform(0, 0.02))
                        os.kill(child, self.random.choice([signal.SIGCONT, signal.SIGKILL]))
                    elif ended:
                        codes[child] = os.waitstatus_to_exitcode(status)
                        self.deaths["faults"] += os.WIFSIGNALED(status)
            if time.monotonic() - start > limit:
                for child in children:
                    if child not in codes:
                        os.kill(child, signal.SIGKILL)
                        codes[child] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if limit == LONGEST_SECONDS:
                    raise Broken(f"a life hangs: {plan}")
            time.sleep(0.0005)
        self.deaths.update("killed" if code == -signal.SIGKILL else f"exit {code}" for code in codes.values())
        if UNEXPECTED in codes.values() or (self.folder / "error").exists():
            with contextlib.suppress(FileNotFoundError):
                raise Broken((self.folder / "error").read_text())
        return [codes[child] for child in children]

    # What must hold

    def check(self, *, over: bool) -> None:
        """See that the log and the ledger keep the promises of this life."""
        recorded = set(self.known.recorded)
        before = self.seq
        status = self._read()
        fresh = lines(self.folder)[self.read_lines :]
        self.read_lines += len(fresh)
        for line in fresh:
            self.deaths["acknowledged"] += line.startswith(("back ", "answered "))
            match line.split(" "):
                case ["did", key, name, seq]:
                    if key in recorded:
                        raise Broken(f"{name} ran again, though it was recorded before this life")
                    if self.plan.mode == "sync" and int(seq) > self.seq:
                        raise Broken(f"sync: {name} saw state at seq {seq}, the log ends at {self.seq}")
                case ["back", seq] if int(seq) > self.seq:
                    raise Broken(f"a call came back at seq {seq}, the log ends at {self.seq}")
                case ["old", seq] if int(seq) > self.seq:
                    raise Broken(f"async: state was at seq {seq} long ago, the log ends at {self.seq}")
                case ["answered", *keys]:
                    self.answered.update(keys)
                case ["asks", *keys] if not self.crowded and not self.answered.isdisjoint(keys):
                    raise Broken("a question was asked again, though the call that answered it had come back")
                case _:
                    pass
        if self.plan.mode == "exit" and self.seq > before and status in {"running", "crashed"}:
            raise Broken(f"exit: a run that did not end went from seq {before} to {self.seq}")
        if over and status in {"running", "crashed"}:
            raise Broken(f"the story is over, and the thread is {status}")

    def _read(self) -> str:
        """Read what the log holds beyond what was read; return the thread's status."""
        if not (self.folder / "log" / "data.mdb").exists():
            return "done"
        with Log.open(self.folder / "log", create=False, readonly=True) as log:
            report = verify(log, structure=False)
            if not report.ok:
                raise Broken(f"the log is not whole: {report.problems}")
            head = log.head("thread")
            if head is None:
                if self.seq:
                    raise Broken(f"the thread was at seq {self.seq}, and is gone")
                return "done"
            if head.seq < self.seq:
                raise Broken(f"the thread was at seq {self.seq}, and is at {head.seq}")
            decoder = log.decoder(lenient=True)
            if head.horizon > self.known.seq:
                found = log.snapshot("thread", head.horizon)
                assert found is not None, "verify has seen it"
                self.known._folded(decoder.value(found[1]))
            for seq, record in log.read("thread", self.known.seq, decoder=decoder):
                self.known.take(seq, record)
            self.seq = head.seq
            self.horizon = head.horizon
            return head.status

    def ended(self) -> None:
        """See that the end is that of an undisturbed run."""
        self.deaths["cut by a compaction"] += self.horizon > 0
        self.deaths["crowded"] += self.crowded
        make = a_function if self.plan.kind == "function" else a_graph
        expected = repr(live_through(World(0, judged=False), shape_of(self.plan), "sync", make).values)
        found = (self.folder / "values").read_text()
        if found != expected:
            raise Broken(f"the values are\n{found[:3000]}\nundisturbed they are\n{expected[:3000]}")
        if self.random.random() < 0.05 and not verify(self.folder / "log").ok:
            raise Broken(f"the file is not whole: {verify(self.folder / 'log').problems}")


def forked(do: Callable[..., None], *arguments: Any) -> int:
    """Fork a child that does this and nothing else; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        do(*arguments)
    finally:
        os._exit(UNEXPECTED)


def tell_stories(seeds: Callable[[], int | None], folder: Path) -> tuple[int, int, Counter[str]]:
    """Tell stories while there are seeds; return how many, how many lives they took, and how these ended.

    Raises:
        Broken: A promise was not kept; the message names the seed, and the story's folder stays.
    """
    stories = lives = 0
    deaths: Counter[str] = Counter()
    while (seed := seeds()) is not None:
        place = folder / f"story-{seed}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        tale = Tale(seed, place)
        try:
            lives += tale.tell()
        except BaseException as error:
            error.add_note(
                f"WALGRAPH_FUZZ_SEED={seed} replays it; crowded: {tale.crowded}; {tale.plan}; {place}"
            )
            raise
        deaths += tale.deaths
        stories += 1
        shutil.rmtree(place)
    return stories, lives, deaths
