"""A process that dies at a commit that is chosen, over a disk that outlives it; all within the test's own process.

    disk = Disk()
    with disk.process() as log: ...                      a life without an accident
    with disk.process(dies=(3, "before")) as log: ...    killed when the third commit of this life is to be written
    for disk, fate in deaths(prepare, act): ...          each commit of ``act``, before and after

Under ``sync`` each append that is waited for is one commit, so this is: killed before and after each append.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from walgraph import Log, MemoryLog
from walgraph.wal.claim import Claims
from walgraph.wal.core import Core
from walgraph.wal.errors import LogClosed
from walgraph.wal.memory_store import MemoryStore

Fate = tuple[int, str]


class Killed(BaseException):
    """The process was killed here."""


class Disk:
    """What a log's process leaves behind."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.commits = 0

    @contextlib.contextmanager
    def process(self, dies: Fate | None = None) -> Iterator[Log]:
        """Open the log in a new process; if it dies, what follows in the block is not done, and nobody hears of it."""
        self.commits, dead = 0, False
        log = MemoryLog(strict=True)
        core = log._core = Core(self.store, Claims(), interval=0.05, flush_bytes=4 << 20, name="")
        # The flusher never looks, so that only what somebody waits for is committed, and commits can be counted.
        core.committer.flusher.wake = lambda: None  # type: ignore[method-assign]
        core.committer.flusher.asleep = False

        def maybe_die(place: Fate) -> None:
            nonlocal dead
            if dead or place == dies:
                dead = True
                core.committer.failure = LogClosed("The process is gone.")
                raise Killed(place)

        def commit(group: Any) -> Any:
            self.commits += 1
            maybe_die((self.commits, "before"))
            verdicts = MemoryStore.commit(self.store, group)
            maybe_die((self.commits, "after"))
            return verdicts

        self.store.commit = commit  # type: ignore[method-assign]
        try:
            yield log
        except BaseException:
            # Whatever a dying process says, nobody hears it.
            if not dead:
                raise
        finally:
            del self.store.commit
        assert dies is None or dead, f"nothing was committed for the {dies[0]}. time"


def deaths(prepare: Callable[[Log], Any], act: Callable[[Log, Any], Any]) -> Iterator[tuple[Disk, Any, Fate]]:
    """Yield a disk for each way in which the process can die while it acts.

    Args:
        prepare: What happened before, without an accident; returns what ``act`` is to know of it.
        act: What the process dies of.

    Returns:
        Triples of disk, what ``prepare`` returned, and where the process died.
    """
    whole = Disk()
    with whole.process() as log:
        known = prepare(log)
    with whole.process() as log:
        act(log, known)
    commits = whole.commits
    assert commits, "it commits nothing"
    for number in range(1, commits + 1):
        for when in ("before", "after"):
            disk = Disk()
            with disk.process() as log:
                known = prepare(log)
            with disk.process((number, when)) as log:
                act(log, known)
            yield disk, known, (number, when)
