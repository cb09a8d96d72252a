"""Signals that ask runs to stop between two steps, as a deployment does with SIGTERM.

    first signal ───► control.request_drain("sigterm") ─► running tasks finish ─► GraphDrained
    second signal ──► the handler that was there before: by default the process ends

Invariants:
1. A handler only sets a flag, so it is safe wherever Python runs it: between two instructions of the main thread, also
   while an event loop waits.
2. Afterwards the handlers are those of before, unless somebody set others meanwhile.

It must not end a run: the loop does that, before its next step.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .run_control import RunControl


@contextmanager
def drain_on_signals(
    control: RunControl | None = None, signals: Iterable[int] = (signal.SIGTERM,)
) -> Iterator[RunControl]:
    """Let runs drain at the first signal; the next one does what it would have done without this.

    Use it in the main thread, around programs with threads and with event loops alike, and pass what it yields to the
    runs: ``graph.invoke(..., control=control)``. What was set by ``add_signal_handler`` of an event loop is called as
    well, from the first signal on.

    Args:
        control: What is asked to drain; a new one if None. One control may serve many runs.
        signals: The signals, for example ``(signal.SIGTERM, signal.SIGINT)``.

    Yields:
        The control.

    Raises:
        ValueError: It is not the main thread, where alone Python sets handlers.
    """
    drained = control or RunControl()
    before: dict[int, Any] = {}
    was_asked = False

    def handler(number: int, frame: Any) -> None:
        nonlocal was_asked
        if was_asked:
            _fall_through(number, frame, before[number])
        else:
            was_asked = True
            drained.request_drain(signal.Signals(number).name.lower())

    try:
        for number in signals:
            before[number] = signal.signal(number, handler)
        yield drained
    finally:
        for number, previous in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, _settable(previous))


def _fall_through(number: int, frame: Any, previous: Any) -> None:
    """Do what the handler before would have done."""
    if callable(previous):
        previous(number, frame)
    elif previous != signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _settable(previous: Any) -> Any:
    """Return a handler that can be set; one that was not set from Python cannot, and gives way to the default."""
    return signal.SIG_DFL if previous is None else previous
