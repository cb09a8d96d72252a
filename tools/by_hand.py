"""Runs whose tasks end in the order that a test chooses, one after another, in the test's own thread.

    with by_hand(["slow", "fast"]): graph.invoke(…)      these names end in this order
    with by_hand(7): graph.invoke(…)                     an order that a seed makes, the same each time
    with by_hand(choose): graph.invoke(…)                ``choose(names)`` returns which of the names ends next

In place of the driver for threads (``engine.drive_sync``) stands one that performs one task at a time. A ``@task`` that
is called runs when somebody waits for it, or when its caller ends. So a race that happens once in a million runs
happens in each.

Invariants:
1. There is no second thread, so the same choices give the same run.
2. The loop, the recorder and the log are the real ones.

It must not change what a run means: only when its tasks end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from ..engine import graph as graphs
from ..engine.effect import Append, Perform
from ..engine.task import perform

if TYPE_CHECKING:
    from ..engine.effect import Done
    from ..engine.job import Job
    from ..engine.loop import End, Loop
    from ..engine.run import Run
    from ..engine.stream import Sink

Order: TypeAlias = int | Sequence[str] | Callable[[Sequence[str]], str]


@contextmanager
def by_hand(order: Order = 0) -> Iterator[None]:
    """Let the tasks of all synchronous runs of this block end in an order of the test's own.

    Args:
        order: A seed; names of nodes in the order in which they are to end, those not named last; or a function that
            is given the names of the tasks that are due, and returns the one that ends next.

    Raises:
        LookupError: ``order`` is a function, and chose what is not due.
    """
    choose = _chooser(order)

    def drive(run: Run, loop: Loop, sink: Sink | None) -> Generator[Any, None, End]:
        return _drive(run, loop, sink, choose)

    # The one name by which the graph's methods know their driver.
    usual = vars(graphs)["drive"]
    vars(graphs)["drive"] = drive
    try:
        yield
    finally:
        vars(graphs)["drive"] = usual


def _chooser(order: Order) -> Callable[[Sequence[str]], str]:
    if callable(order):
        return order
    if isinstance(order, int):
        return random.Random(order).choice  # noqa: S311 - the same each time is what is wanted
    places = {name: place for place, name in reversed(list(enumerate(order)))}
    return lambda names: min(names, key=lambda name: places.get(name, len(places)))


def _drive(
    run: Run, loop: Loop, sink: Sink | None, choose: Callable[[Sequence[str]], str]
) -> Generator[Any, None, End]:
    """Run a loop to its end; the counterpart of the drivers for threads and asyncio."""
    run._pool = Pool()  # type: ignore[assignment]  # noqa: SLF001 - its pool is as much the driver's as its tasks are
    waiting: list[Job] = []
    effects = loop.effects()
    send: Any = effects.send
    answer: Any = None
    try:
        while True:
            try:
                effect = send(answer)
            except StopIteration as stop:
                end: End = stop.value
                return end
            send, answer = effects.send, None
            try:
                if isinstance(effect, Append):
                    run.recorder.record(*effect)
                elif isinstance(effect, Perform):
                    waiting.extend(effect.jobs)
                    answer = _perform_one(waiting, choose)
                else:
                    run.publish(effect.events)
            except Exception as error:  # noqa: BLE001 - the loop is told of whatever went wrong
                send, answer = effects.throw, error
            while sink is not None and sink.queue:
                yield sink.queue.popleft()
    finally:
        run.close()


def _perform_one(waiting: list[Job], choose: Callable[[Sequence[str]], str]) -> list[Done]:
    names = [job.node.name for job in waiting]
    chosen = choose(names)
    if chosen not in names:
        message = f"{chosen!r} was chosen to end next, but due are {', '.join(map(repr, names))}"
        raise LookupError(message)
    return [perform(waiting.pop(names.index(chosen)))]


class Work:
    """A call that is made once, by whoever wants it first."""

    def __init__(self, call: Callable[[], Any], future: Future[Any]) -> None:
        self.future = future
        self._call = call
        self._is_taken = False

    def run_if_free(self) -> bool:
        """Make the call here, unless it was made or is being made; return whether it was made."""
        if not self.take():
            return False
        try:
            self.future.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
            self.future.set_exception(error)
        return True

    def take(self) -> bool:
        """Take the call, so that nobody else makes it; return whether it was still free."""
        was_free, self._is_taken = not self._is_taken, True
        return was_free


class Pool:
    """Stands where a run's pool of threads stands: a call is made by whoever waits for it."""

    def submit(self, call: Callable[[], Any], future: Future[Any]) -> Work:
        """Take a call on, whose future learns what comes of it."""
        return Work(call, future)

    def close(self, *, drop: bool = False) -> None:
        """Do nothing: the calls that a task made were made when it ended."""
