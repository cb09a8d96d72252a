"""What ``recover`` would do, without doing it.

It must not claim anything, nor change anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..wal.errors import NotAvailable, ScheduleProblem
from ..wal.record import RunEnded
from . import clock
from .cron import times_of
from .finding import RELEASED, is_to_go_on
from .firing import decide, is_under_way, name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..wal.head import ThreadHead
    from ..wal.log import Log
    from ..wal.submission_layout import Submission


class Unfinished(NamedTuple):
    """A thread that is not finished and that nobody carries on; ``why`` says why it would be left alone, if so."""

    thread_id: str
    graph: str
    status: str
    run_id: str = ""
    next: tuple[str, ...] = ()
    why: str = ""


def unfinished(
    log: Log, graphs: Collection[str] | None, threads: Collection[str] | None = None
) -> Iterator[Unfinished]:
    """Yield what ``recover`` would carry on, and what it would leave alone.

    Args:
        log: The log.
        graphs: The names of the graphs that there are programs for; None for all.
        threads: The threads that are meant, of which parked and failed ones would go on too; None for all.
    """
    now = clock.now()
    runs = _begun(log)
    for head in log.threads():
        thread = head.thread_id
        run = runs.pop(thread, None)
        if threads is not None and thread not in threads:
            continue
        found = _of(log, head, run, now, is_named=threads is not None)
        if found is not None:
            yield _judged(found, graphs)
    if threads is None:
        for found in _scheduled(log, now):
            yield _judged(found, graphs)
    for thread, run in runs.items():
        if (threads is None or thread in threads) and not log.is_claimed(thread):
            status, why = ("parked", run.reason) if run.state == "parked" else ("crashed", "")
            found = Unfinished(thread, run.graph, status, run.run, (), "" if threads else why)
            yield _judged(found, graphs)


def _scheduled(log: Log, now: int) -> Iterator[Unfinished]:
    """Yield the runs that schedules have handed over and nobody has begun, and those that are due."""
    for each in log.submissions().unfinished({"waiting"}):
        if each.notes and not each.started_at:
            yield Unfinished(each.thread, each.graph, "queued", each.run)
    for schedule in log.schedules().due(now):
        try:
            times = times_of(schedule.cron, schedule.zone)
        except (NotAvailable, ScheduleProblem) as error:
            name = schedule.thread or schedule.name
            yield Unfinished(name, schedule.graph, "due", "", (), error.message)
            continue
        decision = decide(schedule, times, now, is_under_way=is_under_way(log, schedule))
        for nominal in decision.fires:
            run = name_of(schedule, nominal)
            yield Unfinished(schedule.thread or run, schedule.graph, "due", run)


def _begun(log: Log) -> dict[str, Submission]:
    """Return the handed-over runs that were begun and have not ended, by thread."""
    submissions = log.submissions()
    return {each.thread: each for each in submissions.unfinished() if each.started_at}


def _of(log: Log, head: ThreadHead, run: Submission | None, now: int, *, is_named: bool) -> Unfinished | None:
    thread, status, why = head.thread_id, head.status, ""
    if log.is_claimed(thread):
        return None
    is_lost = run is not None and run.state == "started"
    if status == "parked" or (run is not None and run.state == "parked"):
        why = run.reason if run is not None and run.state == "parked" else _reason(log, head)
        if not why and not is_named:
            # A breakpoint: somebody looks at it, and will go on.
            return None
        status, why = "parked", "" if is_named else why
    elif not (is_lost or is_to_go_on(log, head, now) or (is_named and status in RELEASED)):
        return None
    graph = head.graph if run is None else run.graph
    return Unfinished(thread, graph, status, "" if run is None else run.run, head.next, why)


def _judged(found: Unfinished, graphs: Collection[str] | None) -> Unfinished:
    if graphs is None or found.graph in graphs or found.why:
        return found
    return found._replace(why=f"no program here for graph {found.graph!r}")


def _reason(log: Log, head: ThreadHead) -> str:
    """Return why a thread was parked; empty at a breakpoint."""
    for stored in log.records(head.thread_id, after=max(0, head.seq - 1)):
        if isinstance(stored.record, RunEnded):
            return stored.record.reason or ""
    return ""
