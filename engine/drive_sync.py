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
    from .stream import Sink


class Performer:
    """Sees that tasks run, in this thread or in a pool."""

    def __init__(self, limit: int | None, sink: Sink | None) -> None:
        self._limit = limit
        self._sink = sink
        self._is_watched = sink is not None and sink.is_eager
        self._pool: Pool | None = None
        self._running = 0
        self._ended: list[Done] = []
        self._changed = threading.Condition()

    def is_inline(self, jobs: Sequence[Job]) -> bool:
        """Return whether jobs are one task alone, which runs in the run's own thread unless it is watched live."""
        return len(jobs) == 1 and not self._running and not self._is_watched

    def perform(self, jobs: Sequence[Job]) -> Generator[Any, None, list[Done]]:
        """Start jobs, wait until some task has ended, and return the outcomes; yields chunks meanwhile."""
        sink, is_watched = self._sink, self._is_watched
        if jobs and self._pool is None:
            self._pool = Pool(self._limit)
        if sink is not None and is_watched:
            sink.wake = self._wake
        self._running += len(jobs)
        for job in jobs:
            assert self._pool is not None
            # Nodes see the context variables of whoever called the graph, in whatever thread they run.
            self._pool.submit(functools.partial(contextvars.copy_context().run, self._run, job))
        while True:
            with self._changed:
                while not self._ended and not (sink is not None and sink.queue):
                    self._changed.wait()
            while sink is not None and sink.queue:
                yield sink.queue.popleft()
            # Outcomes are taken only now: the consumer may leave at any yield, and then ``close`` gives them.
            with self._changed:
                ended, self._ended = self._ended, []
            if ended:
                self._running -= len(ended)
                return ended

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
        return self._ended


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
    performer = Performer(run.max_concurrency, sink)
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
                    if performer.is_inline(jobs):
                        answer = [perform(jobs[0])]
                    else:
                        answer = yield from performer.perform(jobs)
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
