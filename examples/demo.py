"""Kill a survey of the standard library again and again, and prove from outside that nothing was done twice.

    1  the survey of ``survey.py``, undisturbed             what there should be in the end
    2  the same as a child process, each step on disk       SIGKILL at a random moment, look at the log, start again …
    3  the proofs                                           what the log held at each kill against the ledger of starts
    4  the log itself                                       ``wal inspect`` and ``wal verify``

Watch for: what the log holds at a kill is recovered by the next life; only what was under way is done again.

    python examples/demo.py [--modules N] [--kills N] [--seed N] [--folder build/demo]

The exit code is 0 if every proof holds, else 1. The log stays in the folder, for you to look into.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from survey import COUNTS, LIBRARY, THREAD, discover

from walgraph import Log
from walgraph.wal.record import TaskFinished

SURVEY = Path(__file__).with_name("survey.py")
ATTEMPTS = 5
"""How often to begin anew if a child got to its end before the kill reached it."""

BOLD, RED, GREEN, YELLOW, CYAN = 1, 31, 32, 33, 36

Call = tuple[str, str]
"""A task and what it was called for: ``("measure", "json/decoder.py")``."""


class TooLate(Exception):
    """The child got to its end before the kill reached it."""


class Life(NamedTuple):
    """One process: the calls whose results it found in the log, those it started, and those it left there."""

    found: list[Call]
    started: list[Call]
    left: list[Call]
    killed: bool


class Screen:
    """Talks to whoever watches; colours and a moving line are for terminals only."""

    def __init__(self) -> None:
        self.moves = sys.stdout.isatty()
        self.coloured = self.moves and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self.failures = 0
        self._drawn = 0

    def say(self, text: str = "", colour: int = 0) -> None:
        """Print a line, in place of the progress."""
        shown = f"\x1b[{colour}m{text}\x1b[0m" if self.coloured and colour else text
        print(f"\r\x1b[K{shown}" if self.moves else shown, flush=True)

    def progress(self, done: int, total: int) -> None:
        """Draw how many modules have been begun."""
        if self.moves and done != self._drawn:
            self._drawn = done
            filled = 40 * done // total
            print(f"\r\x1b[K     {'█' * filled}{'░' * (40 - filled)} {done} of {total}", end="", flush=True)

    def prove(self, claim: str, *, holds: bool, otherwise: object = "") -> None:
        """Print a claim and whether it holds."""
        self.failures += not holds
        self.say(f"   ✓ {claim}" if holds else f"   ✗ NOT: {claim}: {otherwise}", GREEN if holds else RED)


class Subject:
    """One folder with a survey in it, looked at from outside.

    Args:
        folder: The folder.
        modules: The modules that are to be surveyed.
        limit: What the survey is told of how many that is.
        durability: How the survey is run.
    """

    def __init__(self, folder: Path, modules: list[str], limit: int, durability: str) -> None:
        self.folder = folder
        self.modules = modules
        self.log = folder / "log"
        self._ledger = folder / "ledger.txt"
        self.command = [sys.executable, str(SURVEY), str(folder)]
        self.command += ["--modules", str(limit), "--durability", durability]

    def started(self) -> list[tuple[int, Call]]:
        """Return the ledger: which process started which call, in order."""
        text = self._ledger.read_text("utf-8") if self._ledger.exists() else ""
        lines = [line.split(" ", 2) for line in text.splitlines()]
        return [(int(process), (task, module)) for process, task, module in lines]

    def begun(self, process: int) -> int:
        """Return how many modules a process has begun to measure."""
        return self._ledger.read_bytes().count(b"%d measure " % process) if self._ledger.exists() else 0

    def recorded(self) -> list[Call]:
        """Return the calls whose results the log holds, in order."""
        if not self.log.exists():
            return []
        with Log.open(self.log, create=False, readonly=True) as log:
            if log.head(THREAD) is None:
                return []
            records = [stored.record for stored in log.read(THREAD)]
        ended = [record for record in records if isinstance(record, TaskFinished) and record.call is not None]
        return [(record.call[0], _about(record.writes[0][1])) for record in ended]

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the database's rows; the key that wrote one is another in every log."""
        with closing(sqlite3.connect(self.folder / "survey.db")) as database:
            return database.execute(
                f"SELECT module, {', '.join(COUNTS)}, problem FROM module ORDER BY module"
            ).fetchall()

    def report(self) -> str:
        """Return the report."""
        return (self.folder / "report.md").read_text("utf-8")

    def live(self, screen: Screen, begin: int = 0, wait: float = 0.0) -> Life:
        """Run the survey in a process of its own.

        Args:
            screen: Where to show progress.
            begin: How many modules it may begin before it is killed; 0 lets it live.
            wait: Seconds between the begin of the last of them and the kill.

        Raises:
            TooLate: It was to be killed, and was done before.
        """
        found = self.recorded()
        known = sum(task == "measure" for task, _ in found)
        told = self.folder.parent / f"{self.folder.name}.txt"
        with told.open("a", encoding="utf-8") as output:
            child = subprocess.Popen(self.command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while child.poll() is None:
                begun = self.begun(child.pid)
                screen.progress(min(known + begun, len(self.modules)), len(self.modules))
                if 0 < begin <= begun:
                    time.sleep(wait)
                    break
                time.sleep(0.002 if begin else 0.05)
        finally:
            child.kill()
            child.wait()
        if child.returncode not in {0, -signal.SIGKILL}:
            screen.say(told.read_text("utf-8"), RED)
            raise SystemExit(f"the survey ended with exit code {child.returncode}")
        if begin and child.returncode == 0:
            raise TooLate
        mine = [call for pid, call in self.started() if pid == child.pid]
        return Life(found, mine, self.recorded(), killed=child.returncode != 0)


def _about(result: Any) -> str:
    """Return which module the result of a task is about."""
    return result["module"] if isinstance(result, dict) else result


def _counted(calls: Iterable[Call]) -> str:
    """Return how many calls of which task there are, in words."""
    tasks = Counter(task for task, _ in calls)
    return ", ".join(f"{number} {task}" for task, number in tasks.items()) or "none"


def killed_and_resumed(screen: Screen, subject: Subject, kills: int, chance: random.Random) -> list[Life]:
    """Run a survey to its end through as many kills as told, and show each life."""
    lives: list[Life] = []
    while not lives or lives[-1].killed:
        begin, wait = 0, 0.0
        if len(lives) < kills:
            known = sum(task == "measure" for task, _ in lives[-1].left) if lives else 0
            # Of what is left to do, some share; then some instant within the module that comes next.
            begin = max(1, round((len(subject.modules) - known) * chance.uniform(0.02, 0.6)))
            wait = chance.uniform(0, 0.01)
        screen.say(f"   life {len(lives) + 1}", CYAN)
        began = time.perf_counter()
        life = subject.live(screen, begin, wait)
        lives.append(life)
        seconds = time.perf_counter() - began
        added = life.left[len(life.found) :]
        screen.say(
            f"     recovered  {len(life.found):5}  tasks from the log, not run: {_counted(life.found)}"
        )
        screen.say(f"     ran        {len(life.started):5}  tasks: {_counted(life.started)}")
        screen.say(f"     recorded   {len(added):5}  of them")
        if life.killed:
            why = f"{begin} modules begun, and {wait * 1000:.1f} ms"
            lost = len(set(life.started) - set(added))
            screen.say(f"   ✗ SIGKILL after {seconds:.1f} s ({why}); {lost} tasks were under way", RED)
            if len(lives) == 1:
                wal(screen, subject.log, "inspect")
                screen.say()
        else:
            screen.say(f"   ✓ ended by itself after {seconds:.1f} s", GREEN)
    return lives


def prove_tasks(screen: Screen, subject: Subject, lives: list[Life]) -> None:
    """Prove of every task that it was run until it was recorded, and never after."""
    idle = [life for life in lives if not life.started]
    screen.prove(f"it was killed {len(lives) - 1} times, each time at work", holds=not idle, otherwise=idle)
    for number, life in enumerate(lives[:-1], 1):
        later = {call for after in lives[number:] for call in after.started}
        again = later & set(life.left)
        claim = f"kill {number}: of {len(life.left)} tasks in the log at that moment, none was run again"
        screen.prove(claim, holds=not again, otherwise=sorted(again)[:5])
    kept = all(after.left[: len(life.left)] == life.left for life, after in itertools.pairwise(lives))
    screen.prove("no record that was there at a kill is missing or changed later", holds=kept)
    twice = [call for life in lives for call, times in Counter(life.started).items() if times > 1]
    screen.prove("no task was run twice in one life", holds=not twice, otherwise=twice[:5])
    expected = {(task, module) for task in ("measure", "store") for module in subject.modules}
    expected.add(("write_file", "report.md"))
    ended = Counter(lives[-1].left)
    every = set(ended) == expected and set(ended.values()) == {1}
    screen.prove(
        f"each of {len(expected)} tasks is in the log once", holds=every, otherwise=ended.most_common(3)
    )
    starts = Counter(call for life in lives for call in life.started)
    under_way = Counter(call for life in lives for call in set(life.started) - set(life.left))
    explained = (
        all(times == 1 + under_way[call] for call, times in starts.items()) and set(starts) == expected
    )
    repeated = sum(under_way.values())
    once = sum(starts["measure", module] == 1 for module in subject.modules)
    claim = (
        f"{once} of {len(subject.modules)} modules were measured once; {repeated} tasks were under way at a kill, "
        "and only these were run again"
    )
    screen.prove(claim, holds=explained, otherwise=starts.most_common(5))


def prove_results(screen: Screen, calm: Subject, killed: Subject) -> None:
    """Prove that the outcome is that of the undisturbed survey."""
    rows, expected = killed.rows(), calm.rows()
    claim = f"the database has the same {len(expected)} rows as that of the undisturbed survey"
    holds = rows == expected and len(rows) == len(calm.modules)
    screen.prove(claim, holds=holds, otherwise=sorted(set(rows) ^ set(expected))[:3])
    same = killed.report() == calm.report()
    screen.prove(f"the report is the same, {len(calm.report())} characters", holds=same)


def wal(screen: Screen, log: Path, verb: str, *more: str) -> None:
    """Run ``wal`` as a user would, and see that it is content."""
    screen.say(f"\n$ wal {' '.join([verb, str(log), *more])}", CYAN)
    code = subprocess.run([sys.executable, "-m", "walgraph", verb, str(log), *more], check=False).returncode
    if code:
        screen.prove(f"wal {verb} is content", holds=False, otherwise=f"exit code {code}")


def survey_twice(screen: Screen, chosen: argparse.Namespace, modules: list[str]) -> None:
    """Tell the story: undisturbed, killed, proved, looked into."""
    calm = Subject(chosen.folder / "undisturbed", modules, chosen.modules, "exit")
    screen.say('\n1  The survey, undisturbed, under durability "exit"', BOLD)
    began = time.perf_counter()
    life = calm.live(screen)
    screen.say(f"     ran        {len(life.started):5}  tasks: {_counted(life.started)}")
    screen.say(f"   ✓ ended after {time.perf_counter() - began:.1f} s", GREEN)

    screen.say(
        f'\n2  The same under durability "sync", killed {chosen.kills} times (--seed {chosen.seed})', BOLD
    )
    chance = random.Random(chosen.seed)
    for attempt in range(1, ATTEMPTS + 1):
        name = "killed" if attempt == 1 else f"killed-{attempt}"
        killed = Subject(chosen.folder / name, modules, chosen.modules, "sync")
        try:
            lives = killed_and_resumed(screen, killed, chosen.kills, chance)
            break
        except TooLate:
            screen.say("   It was done before the kill reached it. Once more, from the beginning.", YELLOW)
    else:
        screen.prove(
            "a kill reaches the survey while it works", holds=False, otherwise=f"not in {ATTEMPTS} attempts"
        )
        return

    screen.say("\n3  Proofs from outside: the log at each kill against the ledger of what was started", BOLD)
    prove_tasks(screen, killed, lives)
    prove_results(screen, calm, killed)

    screen.say("\n4  The log itself", BOLD)
    wal(screen, killed.log, "inspect")
    wal(screen, killed.log, "inspect", THREAD, "--limit", "12")
    wal(screen, killed.log, "verify")
    screen.say(
        f"\nTo look around: {killed.folder / 'report.md'} · {killed.folder / 'ledger.txt'} · {killed.log}"
    )


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(
        description="Kill a survey, resume it, and prove that nothing was done twice."
    )
    parser.add_argument("--modules", type=int, default=0, help="survey only so many; 0 for all")
    parser.add_argument("--kills", type=int, default=3, help="how often to kill it")
    parser.add_argument(
        "--seed", type=int, help="draws the moments of the kills; printed, to try the same again"
    )
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="made anew")
    chosen = parser.parse_args()
    if chosen.seed is None:
        chosen.seed = int.from_bytes(os.urandom(4), "big")
    began = time.perf_counter()
    shutil.rmtree(chosen.folder, ignore_errors=True)
    chosen.folder.mkdir(parents=True)
    screen = Screen()
    modules = discover(chosen.modules)
    screen.say(f"{len(modules)} modules of Python {platform.python_version()} in {LIBRARY}", BOLD)
    survey_twice(screen, chosen, modules)
    seconds = time.perf_counter() - began
    if screen.failures:
        screen.say(f"{screen.failures} proofs failed, after {seconds:.1f} s", RED)
        return 1
    screen.say(f"Every proof holds, after {seconds:.1f} s.", GREEN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
