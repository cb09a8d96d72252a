"""Lives that end, or stand still, at a fault point; each in a forked child.

    lived(body)                          to its end
    lived(body, Fate(name, 3, SIGKILL))  until it reaches the point for the third time
    reached(body)                        to its end: which points it reached, and how often

Commits are fault points as well, and no call stands there, so they are wrapped here.
"""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from walgraph.wal import fault
from walgraph.wal.lmdb_store import LmdbTransaction


class Fate(NamedTuple):
    """What happens to a life: a signal, when it reaches a point for the n-th time."""

    name: str
    time: int
    signal: signal.Signals


def arm(hook: Callable[[str], None]) -> None:
    """Have a function called with the name of each fault point that this process reaches, until it ends."""
    if fault.hook is None:
        end = LmdbTransaction._end

        def reaching(self, kind, error):
            is_commit = kind is None and self._write and not self._abandoned
            if is_commit:
                fault.reach("commit: before")
            end(self, kind, error)
            if is_commit:
                fault.reach("commit: after")

        LmdbTransaction._end = reaching
    fault.hook = hook


def strike(fate: Fate) -> Callable[[str], None]:
    """Return a hook that sends this process a signal."""
    counts: Counter[str] = Counter()

    def hook(name: str) -> None:
        counts[name] += 1
        if name == fate.name and counts[name] == fate.time:
            os.kill(os.getpid(), fate.signal)

    return hook


def born(body: Callable[[], object], hook: Callable[[str], None] | None, errors: Path) -> int:
    """Fork a child that does this and nothing else; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        if hook is not None:
            arm(hook)
        body()
        os._exit(0)
    except BaseException:
        errors.write_text(traceback.format_exc())
    finally:
        os._exit(1)


def lived(body: Callable[[], object], fate: Fate | None, errors: Path) -> int:
    """Live in a child; return what ``ended`` does.

    Raises:
        AssertionError: It raised something.
    """
    child = born(body, None if fate is None else strike(fate), errors)
    return ended(child, errors, os.WUNTRACED)


def ended(child: int, errors: Path, options: int = 0) -> int:
    """Wait for a child; return 0 if it came to its end, the signal that killed it, or minus its id if it stopped.

    Raises:
        AssertionError: It raised something.
    """
    status = os.waitpid(child, options)[1]
    if os.WIFSTOPPED(status):
        return -child
    code = os.waitstatus_to_exitcode(status)
    assert code <= 0, (
        f"it ended with {code}: {errors.read_text() if errors.exists() else 'nothing was raised'}"
    )
    return -code


def reached(body: Callable[[], object], folder: Path) -> Counter[str]:
    """Live to the end in a child; return which points it reached, and how often."""
    counts: Counter[str] = Counter()
    told = folder / "reached"

    def noted() -> None:
        body()
        told.write_text(json.dumps(counts))

    child = born(noted, lambda name: counts.update([name]), folder / "errors")
    assert ended(child, folder / "errors") == 0
    return Counter(json.loads(told.read_text()))
