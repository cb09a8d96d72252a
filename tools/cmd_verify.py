"""``wal verify``: is the log what was written, and does it keep its promises?

    pages, checksums, chains, counts, blobs    ``wal.verify``, which also hands us each snapshot
    snapshots equal the fold before them       here, with the reducers that everybody has, or those of ``--app``
    steps and tasks in order                   here (``laws``)

Invariants:
1. Nothing is changed, and damage is reported, not raised: the exit code tells (0 none, 1 some).
2. A log whose pages are damaged is not opened, since that can end a process.
3. What somebody writes meanwhile is not taken for damage: one moment is looked at, and pages are walked again in a
   copy of one moment if they changed under the walk.

It must not repair anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import lmdb

from ..replay.errors import ReplayProblem
from ..wal.directory import walk_pages
from ..wal.errors import KeyMissing, LogCorrupt, LogNotFound, WalgraphError
from ..wal.head import ThreadHead
from ..wal.lmdb_store import LmdbStore, translate
from ..wal.log import Log
from ..wal.progress import Progress
from ..wal.saved_thread import is_saved
from ..wal.still import still
from ..wal.verify import Problem, Report
from ..wal.verify import verify as walk
from .folding import Lens
from .laws import Order, snapshot_difference
from .options import app_option, as_json, graph_of, opened, placed, words
from .progress import progress
from .render import Column, Page
from .saved_show import wrong_order, wrong_snapshot

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph

PROBLEMS = (Column("thread"), Column("seq", right=True), Column("lsn", right=True), Column("problem"))


@click.command("verify")
@words("[LOG]")
@app_option
@as_json
def command(words: tuple[str, ...], app: str | None, *, as_json: bool) -> int:
    """Look for damage, and for broken promises.

    Exits with 0 if there is none, with 1 if there is.
    """
    path, _ = placed(words)
    page = Page(as_json=as_json)
    graph = graph_of(app)
    if not Path(path).exists():
        raise LogNotFound(f"There is no log at {path}.", hint="Check the path.", path=path)
    stamp = _stamp(path)
    with progress(page) as tell:
        report, notes = _verify(path, graph, tell)
        if not report.ok and _stamp(path) != stamp:
            # Somebody wrote meanwhile, so what was found may only be what changed between two looks.
            with tempfile.TemporaryDirectory(prefix="wal-verify-") as place:
                _copy(path, place)
                report, notes = _verify(place, graph, tell)
                notes.append("somebody is writing to the log, so a copy of one moment was looked at")
    _show(page, path, report, notes)
    return 0 if report.ok else 1


def _stamp(path: str) -> tuple[int, int]:
    """Return what changes with every commit."""
    data = Path(path, "data.mdb")
    if not data.exists():
        return 0, 0
    stat = data.stat()
    return stat.st_mtime_ns, stat.st_size


def _copy(path: str, place: str) -> None:
    """Copy the log as it is at one moment, page by page, damage included."""
    with opened(path) as log:
        store = log.store
        assert isinstance(store, LmdbStore), "a path was given"
        try:
            store.environment.lmdb.copy(place)
        except lmdb.Error as error:
            raise translate(error, path) from error


def _verify(path: str, graph: CompiledGraph | None, tell: Progress) -> tuple[Report, list[str]]:
    """Return what was found, and what is worth knowing about it."""
    found = walk_pages(path) if Path(path, "data.mdb").exists() else []
    if found:
        report = Report(tuple(Problem(text) for text in found), 0, 0, 0, 0, 0)
        return report, ["the file's pages are damaged, so it was not opened and nothing else was looked at"]
    try:
        with opened(path) as log, still(log) as moment:
            return examine(moment, graph, tell)
    except LogCorrupt as error:
        return Report((Problem(error.message),), 0, 0, 0, 0, 0), []


def examine(
    log: Log, graph: CompiledGraph | None = None, tell: Progress | None = None
) -> tuple[Report, list[str]]:
    """Check everything but the file's pages; return what was found, and what is worth knowing about it."""
    audit = Audit(log, graph)
    report = walk(log, structure=False, check=audit.check, progress=tell)
    damaged = {problem.thread for problem in report.problems}
    broken: list[Problem] = []
    for count, head in enumerate(log.threads()):
        if head.thread_id not in damaged:
            broken.extend(audit.order(head))
        if tell is not None:
            tell("steps and tasks", count, report.threads)
    return report._replace(problems=(*report.problems, *broken)), audit.notes()


class Audit:
    """Checks that need the meaning of records.

    Args:
        log: The log.
        graph: The user's graph, if it was given.
    """

    def __init__(self, log: Log, graph: CompiledGraph | None) -> None:
        self.log = log
        self.lens = Lens(log, graph)
        self.anchors = 0
        self.unknown: set[str] = set()
        self.closed: dict[str, set[str]] = {}
        self.changed: set[str] = set()

    def check(self, thread: str, seq: int, data: bytes) -> str | None:
        """Return what is wrong with a snapshot, or None (law G6)."""
        head = self.log.head(thread)
        if head is None or seq <= head.horizon:
            # The records before it are gone: it is the oldest truth there is.
            self.anchors += 1
            return None
        if is_saved(self.log, head):
            return wrong_snapshot(self.log, thread, seq, data)
        try:
            recorded = self.lens.decode(data, seq)
            folded = self.lens.state_at(thread, seq, cached=False)
        except ReplayProblem as error:
            return error.message
        if not self.lens.is_exact(folded) or folded.unread:
            self.unknown.add(thread)
        wrong = snapshot_difference(recorded, folded)
        if wrong is None:
            return None
        if not self._is_one_graph(thread, seq):
            # Who made the snapshot folded all records with the graph of that day, which only the user's code has.
            self.changed.add(thread)
            return None
        return f"the snapshot differs from its records: {wrong}"

    def _is_one_graph(self, thread: str, seq: int) -> bool:
        begin, following = self.lens.since(thread, seq, cached=False)
        graphs = {begin.graph, *(each.state.graph for each in following)}
        return self.lens.is_one_graph(graphs)

    def order(self, head: ThreadHead) -> Sequence[Problem]:
        """Return what is wrong with the order of a thread's records."""
        problems: list[Problem] = []
        thread = head.thread_id
        if is_saved(self.log, head):
            wrong = wrong_order(self.log, thread)
            return [Problem(wrong, thread)] if wrong else []
        try:
            begin, following = self.lens.since(thread, cached=False)
            laws = Order(lambda seq, what: problems.append(Problem(what, thread, seq)), begin)
            for folded in following:
                laws.see(folded.seq, folded.record, folded.state)
        except KeyMissing as error:
            self.closed.setdefault(str(error.details["key"]), set()).add(thread)
        except WalgraphError as error:
            problems.append(Problem(f"it cannot be folded: {error.message}", thread))
        return problems

    def notes(self) -> list[str]:
        """Return what was not looked at, and why."""
        said = []
        for key, threads in sorted(self.closed.items()):
            said.append(
                f"the records of {len(threads)} threads are encrypted with key {key!r}, which is not here"
            )
        if self.unknown:
            names = ", ".join(sorted(self.unknown))
            said.append(f"parts of snapshots need your code to be folded (--app module:graph), in: {names}")
        if self.changed:
            names = ", ".join(sorted(self.changed))
            said.append(f"the graph changed, so that snapshots could not be compared, in: {names}")
        if self.anchors:
            said.append(f"{self.anchors} snapshots stand for records that were compacted away")
        return said


def _show(page: Page, path: str, report: Report, notes: list[str]) -> None:
    counts: dict[str, Any] = dict(zip(Report._fields[1:], report[1:], strict=True))
    if page.as_json:
        problems = [problem._asdict() for problem in report.problems]
        page.emit("verify", ok=report.ok, path=path, counts=counts, problems=problems, notes=notes)
        return
    rows = [
        (problem.thread, _number(problem.seq), _number(problem.lsn), problem.what)
        for problem in report.problems
    ]
    if rows:
        page.table(PROBLEMS, rows)
    # Most logs are not encrypted, so that nothing of them can be closed.
    counted = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name != "closed")
    page.line(f"damaged: {len(rows)} problems in {counted}" if rows else f"ok: no problem in {counted}")
    for note in notes:
        page.talk(f"note: {note}")
    if rows:
        page.talk("Make a copy of the directory before anything else. What is not listed is intact.")


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
