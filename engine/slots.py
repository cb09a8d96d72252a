"""How many ``@task`` calls run at once on an event loop: the twin of ``workers`` for coroutines.

    slot = Slot(semaphore)
    async with slot:                  a call waits for its turn, and runs
        await slot.lent(child)        while it waits for a call of its own, others may run in its place

Invariants:
1. No more calls run than the semaphore has places; those that only wait for their own calls do not count.
2. A call that waits for its own calls never keeps them from running (LangGraph rule T-10).

It must not know what runs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


class Slot:
    """One call's place among those that run.

    Args:
        semaphore: The places that there are.
    """

    __slots__ = ("_held", "_semaphore", "_waiting")

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore
        self._held = False
        self._waiting = 0

    async def __aenter__(self) -> None:
        """Wait for a place."""
        await self._semaphore.acquire()
        self._held = True

    async def __aexit__(self, *_: object) -> None:
        """Give the place back; a call that was cancelled while it got its place back has none."""
        self._give()

    async def lent(self, waited: Awaitable[T]) -> T:
        """Wait for something while others may have the place."""
        self._waiting += 1
        self._give()
        try:
            return await waited
        finally:
            self._waiting -= 1
            if not self._waiting and not self._held:
                await self._semaphore.acquire()
                if self._is_served():
                    # Meanwhile another of the call's coroutines began to wait, or got the place back.
                    self._semaphore.release()
                else:
                    self._held = True

    def _is_served(self) -> bool:
        """Return whether no place is wanted any more: things may have changed while one was waited for."""
        return self._waiting > 0 or self._held

    def _give(self) -> None:
        if self._held:
            self._held = False
            self._semaphore.release()
