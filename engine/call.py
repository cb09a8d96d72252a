"""The future of one ``@task`` call, and what identifies what was called.

    future.result()    synchronous code: runs the call here if no worker took it yet
    await future       coroutines

It must not record.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import xxhash

from ..wal.codec import Encoder
from ..wal.errors import ValueProblem
from .context import current
from .failed_calls import note_met

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from .workers import Pool, Work

R = TypeVar("R")

_ENCODER = Encoder()
"""Encodes the arguments of all calls; one of its own would cost each call as much as encoding does."""

PREVIEW = 80
"""How many characters of a call's arguments are kept to be shown."""


class SyncAsyncFuture(concurrent.futures.Future[R]):
    """What a ``@task`` call returns."""

    _work: Work[R] | None = None
    _task: asyncio.Task[R] | None = None

    @classmethod
    def finished(cls, value: R) -> SyncAsyncFuture[R]:
        """Return a future of a call that is recorded."""
        future: SyncAsyncFuture[R] = cls()
        future.set_result(value)
        return future

    @classmethod
    def failed(cls, error: BaseException) -> SyncAsyncFuture[R]:
        """Return a future of a call that cannot go on."""
        future: SyncAsyncFuture[R] = cls()
        future.set_exception(error)
        return future

    @classmethod
    def of_work(cls, pool: Pool, call: Callable[[], R]) -> SyncAsyncFuture[R]:
        """Return the future of a call that a pool will make, unless its caller does first."""
        future: SyncAsyncFuture[R] = cls()
        future._work = pool.submit(call, future)
        return future

    @classmethod
    def of_coroutine(cls, coroutine: Coroutine[Any, Any, R]) -> SyncAsyncFuture[R]:
        """Return the future of a call that is made on this event loop."""
        future: SyncAsyncFuture[R] = cls()
        future._task = asyncio.get_running_loop().create_task(coroutine)
        future._task.add_done_callback(future._copy)
        return future

    def _copy(self, other: Any) -> None:
        if other.cancelled():
            self._give_up()
        elif (error := other.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(other.result())

    def result(self, timeout: float | None = None) -> R:
        """Return what the call returned, or raise what it raised.

        Args:
            timeout: Seconds to wait; None for as long as it takes.
        """
        if self._work is not None and timeout is None:
            self._work.run_if_free()
        try:
            return super().result(timeout)
        except BaseException as error:
            note_met(error)
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None if it returned.

        Args:
            timeout: Seconds to wait; None for as long as it takes.
        """
        if self._work is not None and timeout is None:
            self._work.run_if_free()
        error = super().exception(timeout)
        if error is not None:
            note_met(error)
        return error

    def wait(self) -> None:
        """Return when the call has ended, however it ended."""
        if self._work is not None:
            self._work.run_if_free()
        with suppress(concurrent.futures.CancelledError):
            super().exception()

    def cancel(self) -> bool:
        """Cancel the call if it is a coroutine's, or if nobody has begun it; a thread that makes it goes on.

        Returns:
            Whether it was cancelled, or is going to be.
        """
        if self._task is not None:
            return self._task.cancel()
        if self.cancelled():
            return True
        return (self._work is None or self._work.take()) and self._give_up()

    def _give_up(self) -> bool:
        if not super().cancel():
            return False
        # Only then do those who wait for several futures learn of it.
        self.set_running_or_notify_cancel()
        return True

    async def settled(self) -> None:
        """Return when a call that is made on this event loop has ended, or raise what it raised."""
        assert self._task is not None, "it is made on an event loop"
        await asyncio.shield(self._task)

    async def awaited(self) -> None:
        """Return when the call has ended, however it ended; for coroutines."""
        if not self.done():
            waited = asyncio.wait([self._task or asyncio.wrap_future(self)])
            caller = current.get()
            await (waited if caller is None or caller.slot is None else caller.slot.lent(waited))

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the call in a coroutine."""
        waited = self._task if self._task is not None else asyncio.wrap_future(self)
        caller = current.get()
        try:
            if caller is None or caller.slot is None:
                return (yield from waited.__await__())
            # Who waits for its own call does not run, so the call may take its place (T-10).
            return (yield from caller.slot.lent(waited).__await__())
        except BaseException as error:
            note_met(error)
            raise


def fingerprint(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, bytes, str]:
    """Return what is recorded of a call: its name, a digest of its arguments, and a preview of them.

    Of an argument that cannot be encoded, a client or a function, only its class counts.
    """
    try:
        # Keyword arguments have no order, so the order they are written in must not tell calls apart.
        packed = _ENCODER.value([list(args), dict(sorted(kwargs.items())) if kwargs else kwargs])
    except ValueProblem:
        args = tuple(map(_or_class, args))
        kwargs = {key: _or_class(value) for key, value in kwargs.items()}
        packed = _ENCODER.value([list(args), dict(sorted(kwargs.items()))])
    digest = xxhash.xxh3_128_digest(packed.data)
    if len(packed.data) > PREVIEW:
        return name, digest, f"(… {len(packed.data)} bytes)"
    shown = [*map(repr, args), *[f"{key}={value!r}" for key, value in kwargs.items()]]
    return name, digest, f"({', '.join(shown)})"


class _OfClass(NamedTuple):
    """Stands for an argument that cannot be encoded."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _or_class(value: Any) -> Any:
    """Return a value that can be encoded, or what stands for its class."""
    try:
        _ENCODER.value(value)
    except ValueProblem:
        return _OfClass(f"{type(value).__module__}.{type(value).__qualname__}")
    return value
