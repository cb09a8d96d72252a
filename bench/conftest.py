"""How everything here is measured, and the one table that is printed at the end.

    contender   a context manager over a fresh folder; yields the call to be timed
        │ race: each round runs every contender once, in turn, and starts with another one each time
        ▼
    Measured    median of the rounds, in µs per step; bytes on the disk
        │ table.row(workload, mode, measured, floor, …)
        ▼
    one table   µs per step, the floor, the ratio between them, the target, whether it is met

Invariants:
1. A figure and its floor come from the same rounds, so that a busy machine slows both.
2. Opening, closing and making a graph are outside the clock; the last flush is inside it.
3. Stores lie below ``build`` on the disk of the checkout, since /tmp may be memory, where a flush costs nothing.

A contender must not share anything with another one.
"""

from __future__ import annotations

import gc
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import msgpack
import pytest

import walgraph

# Workloads are shared with `peers.py`, which runs them as programs: they find one another in this folder.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from measuring import bytes_below, human, written
from targets import Verdict, save, summary, verdict

PLACE = Path(__file__).resolve().parent.parent / "build" / "bench"

Call = Callable[[], Any]
Contender = Callable[[Path], AbstractContextManager[Call]]


class Seconds(float):
    """What a call answers when it has timed itself, in another process for example."""


@dataclass
class Measured:
    """One contender's rounds."""

    steps: int
    samples: list[float] = field(default_factory=list)
    """Seconds of each round."""
    answers: list[Any] = field(default_factory=list)
    """What the call returned in each round."""
    bytes_on_disk: int = 0
    bytes_written: list[int] = field(default_factory=list)
    """What each round handed to the disk, where the system says so, and the work ran in this process."""

    @property
    def micros(self) -> float:
        """Median µs per step."""
        return statistics.median(self.samples) / self.steps * 1e6


def at_most(limit: float, figure: float, unit: str = "", *, goal: str = "") -> Verdict:
    """Return what becomes of the target that a figure stays at or below a limit; ``goal`` is its name, S1 to S15."""
    return verdict(goal, "", figure, limit, unit, at_least=False)


class Row(NamedTuple):
    """One line of the table."""

    workload: str
    mode: str
    figure: str
    floor: str
    ratio: str
    target: str
    met: str
    disk: str


HEADINGS = Row("workload", "mode", "µs/step", "floor", "ratio", "target", "reached", "on disk")


class Table:
    """Collects rows while the benchmarks run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.verdicts: list[Verdict] = []

    def row(
        self,
        workload: str,
        mode: str,
        measured: Measured,
        floor: tuple[str, Measured] | None = None,
        target: Callable[[float], Verdict] | None = None,
        payload: int = 0,
    ) -> None:
        """Add a contender beside its floor.

        Args:
            workload: What is run.
            mode: How it is recorded.
            measured: The contender.
            floor: Name and rounds of what it is compared with.
            target: From the ratio to the target, if there is one.
            payload: Bytes of what the functions returned, which what lies on the disk is compared with.
        """
        ratio = measured.micros / floor[1].micros if floor is not None else 0.0
        disk = ""
        if measured.bytes_on_disk:
            disk = human(measured.bytes_on_disk)
            if payload:
                disk += f" = {measured.bytes_on_disk / payload:.2f} × payload"
            if any(measured.bytes_written):
                disk += f", written {human(statistics.median(measured.bytes_written))}"
        wanted = target(ratio) if target is not None else None
        self.line(
            Row(
                workload,
                mode,
                f"{measured.micros:,.2f}",
                f"{floor[0]} {floor[1].micros:,.2f}" if floor is not None else "",
                f"{ratio:,.2f} ×" if floor is not None else "",
                *self.judged(wanted, f"{workload}, {mode}"),
                disk,
            )
        )

    def figure(
        self, workload: str, mode: str, text: str, target: Verdict | None = None, note: str = ""
    ) -> None:
        """Add a figure that is no time per step."""
        judged = self.judged(target, f"{workload}, {mode}: {note}")
        self.line(Row(workload, mode, text, note, "", *judged, ""))

    def judged(self, target: Verdict | None, what: str) -> tuple[str, str]:
        """Return the table's cells for a target, what it is and whether it is reached; keep it for the summary."""
        if target is None:
            return "", ""
        if target.goal:
            self.verdicts.append(target._replace(what=what))
        return f"{target.goal} {target.wanted}".strip(), "yes" if target.reached else "NO"

    def line(self, row: Row) -> None:
        """Add a finished row."""
        self.rows.append(row)

    def text(self) -> str:
        """Return the table, with a line between workloads."""
        widths = [max(len(row[column]) for row in (HEADINGS, *self.rows)) for column in range(len(HEADINGS))]
        right = {2, 4}
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [rule]
        before = HEADINGS.workload
        for row in (HEADINGS, *self.rows):
            if row.workload != before:
                lines.append(rule)
            shown = row if row.workload != before or row is HEADINGS else row._replace(workload="")
            before = row.workload
            cells = [
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(shown, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, rule])


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    """Return the table that is printed at the end."""
    collected: Table = request.config.stash[TABLE]
    return collected


@pytest.fixture
def race(benchmark: Any) -> Callable[[dict[str, Contender], int, int], dict[str, Measured]]:
    """Return a function that runs contenders in turn, round after round, and returns what each came to.

    pytest-benchmark counts the rounds and keeps the medians with its own storage; its own figure is the time of a
    whole round of all contenders, which means nothing by itself.
    """

    def run(contenders: dict[str, Contender], rounds: int, steps: int) -> dict[str, Measured]:
        measured = {name: Measured(steps) for name in contenders}
        names = list(contenders)

        def round_of_all() -> None:
            for name in names:
                once(contenders[name], measured[name])
            names.append(names.pop(0))

        most = int(os.environ.get("ROUNDS") or rounds)
        benchmark.pedantic(round_of_all, rounds=min(rounds, most), warmup_rounds=0)
        benchmark.extra_info.update({name: each.micros for name, each in measured.items()})
        return measured

    return run


def once(contender: Contender, measured: Measured) -> None:
    """Run a contender once, in a fresh folder."""
    PLACE.mkdir(parents=True, exist_ok=True)
    place = PLACE / "store"
    shutil.rmtree(place, ignore_errors=True)
    with contender(place) as call:
        gc.collect()
        before, start = written(), time.perf_counter()
        answer = call()
        seconds = time.perf_counter() - start
        measured.bytes_written.append(written() - before)
    measured.samples.append(answer if isinstance(answer, Seconds) else seconds)
    measured.answers.append(answer)
    if place.exists():
        measured.bytes_on_disk = bytes_below(place)
        shutil.rmtree(place)


class Tools:
    """Floors and small things that several benchmarks need."""

    Seconds = Seconds
    at_most = staticmethod(at_most)
    human = staticmethod(human)

    @staticmethod
    def bare(work: Call) -> Contender:
        """Return a contender that writes nothing: a plain loop."""

        @contextmanager
        def contender(_: Path) -> Iterator[Call]:
            yield work

        return contender

    @staticmethod
    def logged(work: Callable[[walgraph.Log], Call]) -> Contender:
        """Return a contender with a log; the call flushes it before the clock stops."""

        @contextmanager
        def contender(place: Path) -> Iterator[Call]:
            with walgraph.Log.open(place) as log:
                call = work(log)

                def flushed() -> Any:
                    answer = call()
                    log.flush()
                    return answer

                yield flushed

        return contender

    @staticmethod
    def raw_lmdb(bodies: Sequence[bytes], group: int = 1) -> Contender:
        """Return a contender that writes these bytes with plain py-lmdb, ``group`` of them a full-sync commit."""

        @contextmanager
        def contender(place: Path) -> Iterator[Call]:
            place.mkdir()
            with lmdb.open(str(place / "data.mdb"), subdir=False, map_size=1 << 32, max_dbs=1) as env:
                database = env.open_db(b"log")

                def commits() -> None:
                    for first in range(0, len(bodies), group):
                        with env.begin(write=True, db=database) as transaction:
                            for number, body in enumerate(bodies[first : first + group], first):
                                transaction.put(number.to_bytes(8), body, append=True)

                yield commits

        return contender

    @staticmethod
    def raw_lmdb_from(workers: int, bodies: Sequence[bytes]) -> Contender:
        """Return a contender that writes these bytes from several threads, each with a full-sync commit of its own."""

        @contextmanager
        def contender(place: Path) -> Iterator[Call]:
            place.mkdir()
            with lmdb.open(str(place / "data.mdb"), subdir=False, map_size=1 << 32, max_dbs=1) as env:
                database = env.open_db(b"log")
                numbers = itertools.count()

                def commit(body: bytes) -> None:
                    with env.begin(write=True, db=database) as transaction:
                        # The writer's lock is held, so numbers go up with the transactions.
                        transaction.put(next(numbers).to_bytes(8), body, append=True)

                def commits() -> None:
                    with ThreadPoolExecutor(workers) as pool:
                        for _ in pool.map(commit, bodies):
                            pass

                yield commits

        return contender

    @staticmethod
    def raw_append(bodies: Sequence[bytes]) -> Contender:
        """Return a contender that appends these bytes to a plain file, with one fdatasync each."""

        @contextmanager
        def contender(place: Path) -> Iterator[Call]:
            place.mkdir()
            file = os.open(place / "data", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            try:

                def appends() -> None:
                    for body in bodies:
                        os.write(file, body)
                        os.fdatasync(file)

                yield appends
            finally:
                os.close(file)

        return contender

    @staticmethod
    def bodies_of(work: Callable[[walgraph.Log], Call], threads: Sequence[str] = ("t",)) -> list[bytes]:
        """Run once without the clock, and return the bodies of the frames that were recorded: what floors write."""
        place = PLACE / "sample"
        shutil.rmtree(place, ignore_errors=True)
        PLACE.mkdir(parents=True, exist_ok=True)
        with walgraph.Log.open(place) as log:
            work(log)()
            found = [body for thread in threads for _, body in log.frames(thread)]
        shutil.rmtree(place)
        return found

    @staticmethod
    def commits_of(work: Callable[[walgraph.Log], Call]) -> int:
        """Return how many commits a run makes: a full sync each, which is what a flush is to LMDB."""
        place = PLACE / "sample"
        shutil.rmtree(place, ignore_errors=True)
        PLACE.mkdir(parents=True, exist_ok=True)
        with walgraph.Log.open(place) as log:
            call = work(log)
            log.flush()
            before = log._core.committer.groups
            call()
            commits: int = log._core.committer.groups - before
        shutil.rmtree(place)
        return commits

    @staticmethod
    def packed(values: Iterable[Any]) -> int:
        """Return how many bytes these values are in msgpack: the payload of a run whose functions return them."""
        return sum(len(msgpack.packb(value)) for value in values)

    @staticmethod
    def environment() -> dict[str, str]:
        """Return the environment of fresh processes: as users have it, compiled modules are kept and found again."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPYCACHEPREFIX": str(PLACE.parent / "bench-bytecode")}

    @staticmethod
    def life(program: Path, *arguments: str, dies: bool = False) -> str:
        """Run a program in a fresh process and return what it printed.

        Raises:
            CalledProcessError: It failed, or it lived when it was to be killed.
        """
        command = [sys.executable, str(program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=Tools.environment())
        if done.returncode != (-9 if dies else 0):
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Return what several benchmarks need."""
    return Tools()


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder on the disk of the checkout, for what outlives one contender."""
    folder = PLACE / "kept"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


TABLE: pytest.StashKey[Table] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Keep a table for the session, and leave out the plugin's own, whose figures are of whole rounds."""
    config.stash[TABLE] = Table()
    config.option.benchmark_quiet = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    table = config.stash[TABLE]
    if not table.rows:
        return
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    terminalreporter.write_line("")
    terminalreporter.write_line(table.text())
    terminalreporter.write_line(
        f"Medians of interleaved rounds. Python {platform.python_version()}, lmdb {lmdb.__version__}, "
        f"{os.cpu_count()} processors, load {load}. How to read this: bench/README.md"
    )
    save("floor", table.verdicts, rows=[list(row) for row in table.rows])
    terminalreporter.write_line("")
    terminalreporter.write_line(summary())
