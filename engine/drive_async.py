"""The driver for asyncio: the same effects, carried out without blocking the event loop.

    Append    recorder.arecord     in place, unless it must be durable first; then the flusher says when it is
    Perform   one task alone       awaited in place
              several              asyncio tasks, at most ``max_concurrency`` at once
    Publish   the sinks

It must not decide anything: an ``if`` about graphs belongs in the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .effect import Append, Perform
from .task import aperform

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from .effect import Done
    from .job import Job
    from .loop import End, Loop
    from .run import Run
    from .stream import Sink


class AsyncPerformer:
    """Sees that tasks run on the event loop."""

    def __init__(self, limit: int | None, sink: Sink | None) -> None:
        self._slots = asyncio.Semaphore(limit) if limit else None
        self._sink = sink
        self._running: set[asyncio.Task[None]] = set()
        self.ended: list[Done] = []
        self._changed = asyncio.Event()

    def is_alone(self, jobs: Sequence[Job]) -> bool:
        """Return whether one job is all there is, and nobody watches it live."""
        return len(jobs) == 1 and not self._running and not (self._sink is not None and self._sink.is_eager)

    def start(self, jobs: Sequence[Job]) -> None:
        """Start jobs."""
        if self._sink is not None and self._sink.is_eager:
            loop = asyncio.get_running_loop()

            def wake() -> None:
                loop.call_soon_threadsafe(self._changed.set)

            self._sink.wake = wake
        for job in jobs:
            task = asyncio.create_task(self._run(job))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def changed(self) -> None:
        """Wait until a task has ended or something is to be shown."""
        if not self.ended and not (self._sink is not None and self._sink.queue):
            self._changed.clear()
            await self._changed.wait()

    async def _run(self, job: Job) -> None:
        if self._slots is None:
            done = await aperform(job)
        else:
            async with self._slots:
                done = await aperform(job)
        self.ended.append(done)
        self._changed.set()

    async def cancel(self) -> list[Done]:
        """Cancel what still runs, wait until it has ended, and return the outcomes that nobody took."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return self.ended


async def adrive(run: Run, loop: Loop, sink: Sink | None, ends: list[End]) -> AsyncGenerator[Any, None]:
    """Run a loop to its end, yielding what the sink collects.

    Args:
        run: The run.
        loop: Its loop.
        sink: Who watches, or None.
        ends: Takes how the run ended, since an asynchronous generator cannot return it.
    """
    run.is_async = True
    performer = AsyncPerformer(run.max_concurrency, sink)
    effects = loop.effects()
    send: Any = effects.send
    answer: Any = None
    try:
        while True:
            try:
                effect = send(answer)
            except StopIteration as stop:
                ends.append(stop.value)
                break
            send, answer = effects.send, None
            try:
                if effect.__class__ is Append:
                    await run.recorder.arecord(*effect)
                elif effect.__class__ is not Perform:
                    run.publish(effect.events)
                else:
                    if performer.is_alone(effect.jobs):
                        answer = [await aperform(effect.jobs[0])]
                    else:
                        performer.start(effect.jobs)
                        while not performer.ended:
                            await performer.changed()
                            while sink is not None and sink.queue:
                                yield sink.queue.popleft()
                        answer, performer.ended = performer.ended, []
                    # No yield before the loop has the outcomes: the consumer may leave at it.
                    continue
            except Exception as error:
                send, answer = effects.throw, error
            while sink is not None and sink.queue:
                yield sink.queue.popleft()
    finally:
        # With outcomes left over the consumer went away, or was cancelled; what ended is recorded all the same.
        for done in await performer.cancel():
            if done.records:
                await run.recorder.arecord(done.records)
        run.close()
    while sink is not None and sink.queue:
        yield sink.queue.popleft()
