"""A process that dies at a commit that is chosen, over a disk that outlives it; all within one real process.

    disk = Disk()
    with disk.process() as log: ...                      a life without an accident
    with disk.process(dies=(3, "before")) as log: ...    killed when the third commit of this life is to be written
    for disk, fate in deaths(prepare, act): ...          each commit of ``act``, before and after

Under ``sync`` each append that is waited for is one commit, so this is: killed before and after each append. What user
code did to the outside stays done, as with a real kill; what it has not begun is not begun any more.

Invariants:
1. A process that died commits nothing more, and nothing of what it raises while it dies is heard.
2. Commits are made only when somebody waits for them, so that their number is the same each time.

It must not know what is run.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from ..wal.claim import Claims
from ..wal.core import Core
from ..wal.errors import LogClosed
from ..wal.log import Log, MemoryLog
from ..wal.memory_store import MemoryStore
from ..wal.store import Group, Verdict

Fate: TypeAlias = tuple[int, str]
"""Which commit of a life, counted from one, and whether the process dies ``before`` or ``after`` it."""


class Killed(BaseException):
    """The process was killed here."""


class PatientFlusher:
    """Stands where the flusher stands, and never looks by itself: it commits only when somebody waits.

    Args:
        commit: The committer's work.
    """

    asleep = False

    def __init__(self, commit: Callable[[], bool]) -> None:
        self._commit = commit

    def wake(self) -> None:
        """Do nothing: what nobody waits for stays in the queue."""

    def hurry(self) -> None:
        """Commit, in a thread, since whoever asks holds the committer's lock."""
        threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        """Do nothing."""

    release = stop

    def _work(self) -> None:
        with contextlib.suppress(Killed):
            self._commit()


class Disk:
    """What a log's process leaves behind."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.commits = 0
        self.lost: Group | None = None
        """What was to be written when the process died before a commit."""

    @contextlib.contextmanager
    def process(self, dies: Fate | None = None) -> Iterator[Log]:
        """Open the log in a new process; if it dies, what follows in the block is not done, and nobody hears of it."""
        self.commits, dead, self.lost = 0, False, None
        log = MemoryLog(strict=True)
        core = log._core = Core(self.store, Claims(), interval=0.05, flush_bytes=4 << 20, name="")  # noqa: SLF001 - a log whose disk is ours
        committer = core.committer
        committer.flusher = PatientFlusher(committer.commit_queued)  # type: ignore[assignment]

        def maybe_die(place: Fate) -> None:
            nonlocal dead
            if dead or place == dies:
                dead = True
                committer.failure = LogClosed("The process is gone.")
                raise Killed(place)

        def commit(group: Group) -> list[Verdict]:
            self.commits += 1
            if not dead:
                self.lost = group
            maybe_die((self.commits, "before"))
            verdicts = MemoryStore.commit(self.store, group)
            self.lost = None
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
