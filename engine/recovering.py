"""``recover``: carries on, here and now, whatever was left unfinished, and says what became of it.

It must not wait for anything to come: that is a worker's business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Unpack

from ..wal.log_reading import as_thread_id
from . import clock
from .finding import Finder
from .firing import Clockwork
from .worker import WorkerOptions, served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..wal.log import Log
    from ..wal.log_reading import ThreadId
    from ..wal.submission_layout import Submission
    from .assignment import Assignment, Carried


def recover(
    log: Log, graphs: Any, *, threads: Sequence[ThreadId] | None = None, **options: Unpack[WorkerOptions]
) -> list[Carried]:
    """Carry on what crashed, was drained, or is due, one after another, and return what became of each.

    Schedules that are due hand over their runs, and these are carried out too; other runs that wait for their turn are
    left to workers.

    Args:
        log: The log.
        graphs: A graph, several, or a mapping from names to graphs; what needs another one is left alone, and said.
        threads: The threads that are meant; None for all.
        options: Those of a ``Worker``.

    Returns:
        A ``Carried`` for each thread: ``how`` its run ended, or ``left alone`` or ``parked`` with the ``reason``.

    Raises:
        TypeError: There is no such option.
        ValueError: Two graphs have one name, or an option makes no sense.
        LogError: The log cannot be read or written.
    """
    finder = Finder(log, served(log, graphs, None, options))
    clockwork = Clockwork(log, finder.served.serves)
    ended = []
    for assignment in _found(finder, clockwork, threads):
        carried = assignment.carry_out()
        finder.left.pop(carried.thread_id, None)
        ended.append(carried)
    return _told([*ended, *finder.parked, *finder.left.values(), *clockwork.left.values()], options)


async def arecover(
    log: Log, graphs: Any, *, threads: Sequence[ThreadId] | None = None, **options: Unpack[WorkerOptions]
) -> list[Carried]:
    """Carry on what crashed, was drained, or is due, on the event loop; see ``recover``."""
    finder = Finder(log, served(log, graphs, None, options))
    clockwork = Clockwork(log, finder.served.serves)
    ended = []
    found = _found(finder, clockwork, threads)
    while (assignment := await asyncio.to_thread(next, found, None)) is not None:
        carried = await assignment.acarry_out()
        finder.left.pop(carried.thread_id, None)
        ended.append(carried)
    return _told([*ended, *finder.parked, *finder.left.values(), *clockwork.left.values()], options)


def _found(finder: Finder, clockwork: Clockwork, threads: Sequence[ThreadId] | None) -> Iterator[Assignment]:
    wanted = None if threads is None else {as_thread_id(thread) for thread in threads}
    yield from finder.lost(wanted)
    yield from finder.due(wanted)
    yield from finder.unfinished(wanted)
    yield from finder.drained(wanted)
    if threads is None:
        yield from _scheduled(finder, clockwork)


def _scheduled(finder: Finder, clockwork: Clockwork) -> Iterator[Assignment]:
    """Claim what schedules have handed over, now or before, one after another as they come to be over."""
    now = clock.now()
    begun: set[str] = set()

    def is_wanted(submission: Submission) -> bool:
        return bool(submission.notes) and submission.run not in begun

    while True:
        clockwork.tick(now)
        count = len(begun)
        for assignment in finder.queued(is_wanted):
            begun.add(assignment.run_id)
            yield assignment
        if len(begun) == count:
            return


def _told(told: list[Carried], options: WorkerOptions) -> list[Carried]:
    if (on_end := options.get("on_end")) is not None:
        for carried in told:
            on_end(carried)
    return told
