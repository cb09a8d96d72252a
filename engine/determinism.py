"""When replayed code asks for another call than the log holds: what is said of it, and what is done.

    the log      a(1)  b(2)  c(3)
    this run     a(1)  c(3)          ──► place 1 has b(2) on record; c(3) has place 2: b(2) was removed, or they swapped
    this run     a(1)  b(2)  <end>   ──► c(3) is recorded, and was never asked for

    on_mismatch  "raise"    NonDeterminism, and whoever catches it gets no further: each later call raises it again
                 "rerun"    what is recorded of the call is dropped, on record, and the call is made
                 "accept"   what is recorded counts, whatever was called

Invariants:
1. Under ``raise`` nothing is executed from the first difference on.
2. A mismatch that the code swallows fails its task all the same.

It must not compare: callers say what differs, since that is done for every call and this module is loaded for few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..replay.errors import NonDeterminism
from ..replay.state import FINISHED, KEPT

if TYPE_CHECKING:
    from ..replay.state import Outcome
    from ..wal.record import Path
    from .context import TaskContext
    from .run import Run

CallMade = tuple[str, bytes, str]
"""A call: its name, the digest of its arguments, and a preview of them."""

HINT = (
    "Code between two calls must not depend on clock, randomness or changed code: now(), random() and uuid4() are "
    "recorded, and so is what a @task returns. on_mismatch='rerun' makes such calls again, 'accept' takes what is "
    "recorded; to run the new code from its beginning, start the thread anew with an input."
)


class EndOfHistory(BaseException):
    """Code that is checked against history asks for something of which nothing is recorded."""

    def __init__(self, path: Path, call: CallMade | None) -> None:
        super().__init__()
        self.path = path
        self.call = call


class Refused:
    """Stands for a task's calls once one of them was refused: nothing is executed from there on."""

    def __init__(self, error: NonDeterminism) -> None:
        self.error = error

    def __iter__(self) -> Refused:
        """Return itself, as iterators do."""
        return self

    def __next__(self) -> int:
        """Raise the error that the first of the refused calls raised."""
        raise self.error


def is_rerun(
    caller: TaskContext[Run], path: Path, recorded: CallMade, attempted: CallMade, *, must_match: bool = False
) -> bool:
    """Decide what becomes of a call that is not the recorded one.

    Args:
        caller: The task that makes it.
        path: Its place.
        recorded: What the log holds there.
        attempted: What is called.
        must_match: Whether neither will do, whatever ``on_mismatch`` says.

    Returns:
        True if it is to be made, False if what is recorded counts.

    Raises:
        NonDeterminism: Neither; it says what is recorded, what was called, and what is the likely cause.
    """
    if caller.run.on_mismatch != "raise" and not must_match:
        return caller.run.on_mismatch == "rerun"
    cause, why = _likely(caller, path, recorded, attempted)
    place = "/".join(map(str, path))
    message = (
        f"task {place} in step {caller.step} of thread {caller.run.thread!r}: the log holds a call of "
        f"{shown(recorded)} here, this run calls {shown(attempted)}; nothing was executed"
    )
    error = NonDeterminism(
        message, hint=f"{why} {HINT}", recorded=recorded, attempted=attempted, path=path, cause=cause
    )
    caller.calls = Refused(error)
    raise error


def check_all_asked(context: TaskContext[Run]) -> None:
    """See that a body that has returned asked for every call that the log holds of it, and was refused none.

    Raises:
        NonDeterminism: It did not ask for one, or it was refused one and swallowed that.
    """
    calls = context.calls
    if isinstance(calls, Refused):
        raise calls.error
    run = context.run
    if not run.is_resumed or context.attempt > 1 or run.on_mismatch != "raise":
        return
    last, keys = run.recorded_calls().get(context.path, (-1, frozenset()))
    outcomes = run.graph.outcomes
    if last < 0 and not keys and outcomes.pages is None:
        return
    made, asked = next(calls), context.keys or ()
    left: list[int | str] = [
        *outcomes.calls_left(context.path, made, asked),
        *range(made, last + 1),
        *sorted(key for key in keys if key not in asked),
    ]
    for part in left:
        path = (*context.path, part)
        outcome = run.graph.outcomes.get(path)
        if outcome is None or outcome.call is None or outcome.status not in {FINISHED, KEPT}:
            continue
        place = "/".join(map(str, path))
        message = (
            f"task {place} in step {context.step} of thread {run.thread!r}: the log holds a call of "
            f"{shown(outcome.call)} here, this run has returned without it; what it returned was not recorded"
        )
        why = "Likely cause: the call was removed, or is made under a condition that has changed."
        raise NonDeterminism(
            message, hint=f"{why} {HINT}", recorded=outcome.call, attempted=None, path=path, cause="removed"
        )


def shown(call: CallMade) -> str:
    """Return a call as it is shown."""
    return f"{call[0]}{call[2]}"


def _likely(caller: TaskContext[Run], path: Path, recorded: CallMade, attempted: CallMade) -> tuple[str, str]:
    """Return a word for what probably happened, and a sentence about it, from the calls recorded around the place."""
    elsewhere = [
        held[-1]
        for held, outcome in caller.run.graph.outcomes.items()
        if held[:-1] == caller.path and held != path and _is(outcome, attempted)
    ]
    if elsewhere:
        where = "/".join(map(str, (*caller.path, elsewhere[0])))
        return "moved", (
            f"Likely cause: this call is recorded at {where}: a call before it was removed or added, or their order "
            "changed. Calls that race, in threads or coroutines, come in another order each time: give each a key, "
            f"{attempted[0]}.with_key(...)(...)."
        )
    if recorded[0] == attempted[0]:
        return "arguments", "Likely cause: an argument changed."
    if recorded[1] == attempted[1]:
        return "renamed", "Likely cause: the task was renamed; @task(name=...) keeps the old name in the log."
    return "added", "Likely cause: a call was added before this one, or replaced."


def _is(outcome: Outcome, call: CallMade) -> bool:
    return outcome.call is not None and outcome.call[:2] == call[:2]
