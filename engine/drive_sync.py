"""The driver for threads: carries out the loop's effects and hands on what is to be shown.

    Append    recorder.record      in this thread, until it is as durable as the run asks
    Perform   one task alone       in this thread (P-14), unless somebody watches it live
              several              in a pool; answered as soon as some have ended
    Publish   the sinks

It is a generator of stream chunks, so the consumer's pace is the run's (ST-3), and it must not decide anything: an
``if`` about graphs belongs in the loop.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from typing import TYPE_CHECKING, Any

from .effect import Append, Perform
from .task import perform
from .workers import Pool

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from .effect import Done
    from .job import Job
    from .loop import End, Loop
    from .run import Run
    from .step_timeout import StepClock
    from .stream import Sink


class Performer:
    """Sees that tasks run, in this thread or in a pool."""

    def __init__(self, limit: int | None, sink: Sink | None, clock: StepClock | None = None) -> None:
        self._limit = limit
        self._clock = clock
        self._sink = sink
        self._is_watched = sink is not None and sink.is_eager
        self.is_idle = self._may_be_inline = not self._is_watched and clock is None
        """Whether a task alone may run in the run's own thread: nothing else runs, and nobody watches or times it."""
        self._pool: Pool | None = None
        self._running = 0
        self._ended: list[Done] = []
        self._changed: threading.Condition
        """What tells that a task has ended; made with the pool, since most runs perform task by task."""

    def perform(self, jobs: Sequence[Job]) -> Generator[Any, None, list[Done]]:
        """Start jobs, wait until some task has ended, and return the outcomes; yields chunks meanwhile."""
        sink, is_watched, clock = self._sink, self._is_watched, self._clock
        if jobs and self._pool is None:
            self._pool, self._changed = Pool(self._limit), threading.Condition()
        if sink is not None and is_watched:
            sink.wake = self._wake
        if clock is not None:
            clock.begins(jobs)
        self._running += len(jobs)
        self.is_idle = False
        if self._pool is not None:
            # Nodes see the context variables of whoever called the graph, in whatever thread they run.
            self._pool.start(
                [functools.partial(contextvars.copy_context().run, self._run, job) for job in jobs]
            )
        while True:
            with self._changed:
                while not self._ended and not (sink is not None and sink.queue):
                    if not self._changed.wait(None if clock is None else clock.nap()):
                        break
            while sink is not None and sink.queue:
                yield sink.queue.popleft()
            # Outcomes are taken only now: the consumer may leave at any yield, and then ``close`` gives them.
            with self._changed:
                ended, self._ended = self._ended, []
            if ended:
                self._running -= len(ended)
                self.is_idle = self._may_be_inline and not self._running
                if clock is not None:
                    clock.ended(ended)
                return ended
            if clock is not None and clock.left() <= 0:
                return clock.outcomes(self.close(), were_cancelled=False)

    def _run(self, job: Job) -> None:
        done = perform(job)
        with self._changed:
            self._ended.append(done)
            self._changed.notify()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def close(self) -> list[Done]:
        """Let running tasks end, forget those not begun, and return the outcomes that nobody took."""
        if self._pool is not None:
            self._pool.close(drop=True)
        ended, self._ended = self._ended, []
        return ended


def clock_of(run: Run) -> StepClock | None:
    """Return what limits the time of the run's tasks; it is loaded only if something does."""
    # Who is within another run is stopped with it.
    until = None if run.scope else run.deadline
    if run.step_timeout is None and until is None:
        return None
    from .step_timeout import StepClock

    return StepClock(run, run.step_timeout, until)


def drive(run: Run, loop: Loop, sink: Sink | None) -> Generator[Any, None, End]:
    """Run a loop to its end, yielding what the sink collects.

    Args:
        run: The run.
        loop: Its loop.
        sink: Who watches, or None.

    Returns:
        How the run ended.
    """
    recorder = run.recorder
    performer = Performer(run.max_concurrency, sink, clock_of(run))
    effects = loop.effects()
    send: Any = effects.send
    answer: Any = None
    try:
        while True:
            try:
                effect = send(answer)
            except StopIteration as stop:
                end: End = stop.value
                break
            send, answer = effects.send, None
            try:
                if effect.__class__ is Append:
                    recorder.record(*effect)
                elif effect.__class__ is Perform:
                    jobs = effect.jobs
                    if len(jobs) == 1 and performer.is_idle:
                        answer = [perform(jobs[0])]
                    else:
                        answer = yield from performer.perform(jobs)
                    if run.watch is not None:
                        run.watch.progress()
                    # No yield before the loop has the outcomes: the consumer may leave at it.
                    continue
                else:
                    run.publish(effect.events)
            except Exception as error:
                send, answer = effects.throw, error
            while sink is not None and sink.queue:
                yield sink.queue.popleft()
    finally:
        # With outcomes left over the consumer went away, or was interrupted; what ended is recorded all the same.
        for done in performer.close():
            if done.records:
                recorder.record(done.records)
        run.close()
    while sink is not None and sink.queue:
        yield sink.queue.popleft()
    return end


def unseen(chunks: Generator[Any, None, End]) -> End:
    """Run a driver that nobody watches to its end."""
    try:
        while True:
            next(chunks)
    except StopIteration as stop:
        end: End = stop.value
        return end
