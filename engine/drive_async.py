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

from .drive_sync import clock_of
from .effect import Append, Done, Overrun, Perform
from .task import aperform

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from ..wal.record import Path
    from .job import Job
    from .loop import End, Loop
    from .run import Run
    from .step_timeout import StepClock
    from .stream import Sink


class AsyncPerformer:
    """Sees that tasks run on the event loop."""

    def __init__(self, limit: int | None, sink: Sink | None, clock: StepClock | None = None) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(limit) if limit else None
        self._sink = sink
        self._running: set[asyncio.Task[None]] = set()
        self._begun: set[Path] = set()
        self.ended: list[Done] = []
        self._changed = asyncio.Event()

    def is_alone(self, jobs: Sequence[Job]) -> bool:
        """Return whether one job is all there is, and nobody watches it live."""
        is_watched = self._sink is not None and self._sink.is_eager
        return len(jobs) == 1 and not self._running and not is_watched and self._clock is None

    def start(self, jobs: Sequence[Job]) -> None:
        """Start jobs."""
        if self._clock is not None:
            self._clock.begins(jobs)
        if self._sink is not None and self._sink.is_eager:
            loop = asyncio.get_running_loop()

            def wake() -> None:
                loop.call_soon_threadsafe(self._changed.set)

            self._sink.wake = wake
        self._begun.update(job.context.path for job in jobs)
        for job in jobs:
            task = asyncio.create_task(self._run(job))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def changed(self) -> None:
        """Wait until a task has ended or something is to be shown."""
        if not self.ended and not (self._sink is not None and self._sink.queue):
            self._changed.clear()
            if self._clock is None:
                await self._changed.wait()
            else:
                await self._in_time(self._clock)

    async def _in_time(self, clock: StepClock) -> None:
        """Do what ``changed`` does, for as long as the tasks have time; then stop what runs."""
        while clock.left() > 0:
            try:
                async with asyncio.timeout(clock.nap()):
                    await self._changed.wait()
            except TimeoutError:
                continue
            return
        self.ended = clock.outcomes(await self.cancel(), were_cancelled=True)

    def taken(self) -> list[Done]:
        """Return the outcomes that nobody has taken, and forget them."""
        ended, self.ended = self.ended, []
        self._begun.difference_update(done.path for done in ended)
        if self._clock is not None:
            self._clock.ended(ended)
        return ended

    async def perform(self, job: Job) -> Done:
        """Perform a job; if it ended though it was cancelled, its outcome is left for ``cancel`` to give."""
        try:
            return await aperform(job)
        except Overrun as overrun:
            self.ended.append(overrun.value)
        raise asyncio.CancelledError

    async def _run(self, job: Job) -> None:
        if self._slots is None:
            done = await self.perform(job)
        else:
            async with self._slots:
                done = await self.perform(job)
        self.ended.append(done)
        self._changed.set()

    async def cancel(self) -> list[Done]:
        """Cancel what still runs, wait until it has ended, and return the outcomes that nobody took."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        ended, self.ended = self.ended, []
        return ended

    async def stop(self, jobs: Sequence[Job], taken: Sequence[Done], error: BaseException) -> list[Done]:
        """Cancel all tasks of the step, and return their outcomes: ``error`` for those that did not come to one.

        Args:
            jobs: The tasks that were begun last.
            taken: The outcomes that were taken already.
            error: What stops them.
        """
        left = self._begun | {job.context.path for job in jobs}
        ended = [*taken, *await self.cancel()]
        self._begun.clear()
        stopped = [Done(path, (), error) for path in left.difference(done.path for done in ended)]
        for done in ended:
            is_stopped = isinstance(done.error, asyncio.CancelledError)
            stopped.append(done._replace(error=error) if is_stopped else done)
        return stopped


async def adrive(run: Run, loop: Loop, sink: Sink | None, ends: list[End]) -> AsyncGenerator[Any, None]:
    """Run a loop to its end, yielding what the sink collects.

    Args:
        run: The run.
        loop: Its loop.
        sink: Who watches, or None.
        ends: Takes how the run ended, since an asynchronous generator cannot return it.
    """
    run.is_async = True
    attendance = run.attendance if not run.scope else None
    performer = AsyncPerformer(run.max_concurrency, sink, clock_of(run))
    effects = loop.effects()
    send: Any = effects.send
    answer: Any = None
    # Asked for anew after each yield only, since the consumer may go on in another task; asking costs a microsecond.
    me = asyncio.current_task()
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
                        if attendance is not None:
                            attendance.performs(me)
                        answer = [await performer.perform(effect.jobs[0])]
                        if attendance is not None:
                            attendance.performs(None)
                    else:
                        performer.start(effect.jobs)
                        while not performer.ended:
                            if attendance is not None:
                                attendance.performs(me)
                            await performer.changed()
                            if attendance is not None:
                                attendance.performs(None)
                            while sink is not None and sink.queue:
                                yield sink.queue.popleft()
                                me = asyncio.current_task()
                        answer = performer.taken()
                    if attendance is not None and attendance.cancelled is not None:
                        answer = await performer.stop(effect.jobs, answer, attendance.cancelled.stopped())
                    if run.watch is not None:
                        run.watch.progress()
                    # No yield before the loop has the outcomes: the consumer may leave at it.
                    continue
            except asyncio.CancelledError:
                cancelled = None if attendance is None else attendance.took()
                if cancelled is None or effect.__class__ is not Perform:
                    raise
                answer = await performer.stop(effect.jobs, [], cancelled.stopped())
                continue
            except Exception as error:
                send, answer = effects.throw, error
            while sink is not None and sink.queue:
                yield sink.queue.popleft()
                me = asyncio.current_task()
    finally:
        # With outcomes left over the consumer went away, or was cancelled; what ended is recorded all the same.
        for done in await performer.cancel():
            if done.records:
                await run.recorder.arecord(done.records)
        run.close()
    while sink is not None and sink.queue:
        yield sink.queue.popleft()
