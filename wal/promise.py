"""What the committer owes: futures to resolve once a ticket is durable, and errors to raise if it never will be.

    a future of ``concurrent.futures``    resolved by whoever commits
    a future of an event loop             resolved inside its loop; one wake-up for all of a commit

Invariants:
1. A future is resolved once, and one that was cancelled meanwhile is left alone.
2. Each raise of a kept failure raises a new object, since every raise adds its own traceback.

This module must not know what is committed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from .errors import LogCorrupt, LogFailed, LogFull, WalgraphError
from .named import NamedTuple

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future


class Owner(Protocol):
    """What the committer needs to know of a writer."""

    thread_id: str
    epoch: int
    failure: WalgraphError | None
    lost: bool
    ticket: int
    received: list[tuple[str, int]]
    """Signals that the records of the next append receive."""


class Promise(NamedTuple):
    """A future to resolve when a ticket is durable; ``loop`` is the event loop that it belongs to, if any."""

    ticket: int
    future: Future[None] | asyncio.Future[None]
    owner: Owner | None
    loop: asyncio.AbstractEventLoop | None


def deliver(promises: list[Promise], durable: int, failure: WalgraphError | None) -> None:
    """Settle promises: those of an event loop inside it, all others here."""
    loops: dict[asyncio.AbstractEventLoop | None, list[Promise]] = {}
    for promise in promises:
        loops.setdefault(promise.loop, []).append(promise)
    for loop, those in loops.items():
        if loop is None:
            settle_all(those, durable, failure)
            continue
        # A loop that was closed meanwhile has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle_all, those, durable, failure)


def settle_all(promises: list[Promise], durable: int, failure: WalgraphError | None) -> None:
    """Give each future its result: the owner's own failure, the log's, or none."""
    for ticket, future, owner, loop in promises:
        if future.done() if loop is not None else not future.set_running_or_notify_cancel():  # type: ignore[union-attr]
            continue
        problem = failure if ticket > durable else owner.failure if owner is not None else None
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(renewed(problem, own=True))


def renewed(failure: WalgraphError, *, own: bool = False) -> WalgraphError:
    """Return the error for a call after a failure: a fresh object, since each raise adds its own traceback."""
    if not own and isinstance(failure, (LogFull, LogFailed, LogCorrupt)):
        hint = "Close the log and open it again; what was recorded before is still there."
        error: WalgraphError = LogFailed(f"An earlier commit failed: {failure.message}", hint=hint)
        error.details.update(failure.details)
        error.__cause__ = failure
        return error
    fresh = type(failure)(failure.message, hint=failure.hint)
    fresh.details.update(failure.details)
    fresh.__cause__ = failure.__cause__
    return fresh
