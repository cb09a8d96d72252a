"""``recover``: carries on, here and now, whatever was left unfinished, and says what became of it.

It must not wait for anything to come: that is a worker's business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Unpack

from ..wal.log_reading import as_thread_id
from .finding import Finder
from .worker import WorkerOptions, served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..wal.log import Log
    from ..wal.log_reading import ThreadId
    from .assignment import Assignment, Carried


def recover(
    log: Log, graphs: Any, *, threads: Sequence[ThreadId] | None = None, **options: Unpack[WorkerOptions]
) -> list[Carried]:
    """Carry on what crashed, was drained, or is due, one after another, and return what became of each.

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
    ended = []
    for assignment in _found(finder, threads):
        carried = assignment.carry_out()
        finder.left.pop(carried.thread_id, None)
        ended.append(carried)
    return _told(finder, ended, options)


async def arecover(
    log: Log, graphs: Any, *, threads: Sequence[ThreadId] | None = None, **options: Unpack[WorkerOptions]
) -> list[Carried]:
    """Carry on what crashed, was drained, or is due, on the event loop; see ``recover``."""
    finder = Finder(log, served(log, graphs, None, options))
    ended = []
    found = _found(finder, threads)
    while (assignment := await asyncio.to_thread(next, found, None)) is not None:
        carried = await assignment.acarry_out()
        finder.left.pop(carried.thread_id, None)
        ended.append(carried)
    return _told(finder, ended, options)


def _found(finder: Finder, threads: Sequence[ThreadId] | None) -> Iterator[Assignment]:
    wanted = None if threads is None else {as_thread_id(thread) for thread in threads}
    yield from finder.lost(wanted)
    yield from finder.due(wanted)
    yield from finder.unfinished(wanted)
    yield from finder.drained(wanted)


def _told(finder: Finder, ended: list[Carried], options: WorkerOptions) -> list[Carried]:
    told = [*ended, *finder.parked, *finder.left.values()]
    if (on_end := options.get("on_end")) is not None:
        for carried in told:
            on_end(carried)
    return told
