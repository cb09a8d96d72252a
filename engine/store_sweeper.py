"""A thread that removes items whose time is over, now and then.

Invariants:
1. It never keeps a process from ending.
2. An error ends it, and is in its future.

It must not know what it sweeps.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Sweeper:
    """Calls a function every few minutes.

    Args:
        sweep: The function.
        minutes: How long to wait before each call.
    """

    def __init__(self, sweep: Callable[[], int], minutes: float) -> None:
        self._sweep = sweep
        self._seconds = minutes * 60
        self._stop = threading.Event()
        self.future: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="walgraph-sweeper", daemon=True)
        self._thread.start()

    def stop(self, timeout: float | None) -> bool:
        """Ask it to stop, wait for it, and tell whether it has."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._seconds):
                self._sweep()
        except Exception as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(None)
