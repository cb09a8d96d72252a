"""Several runs of one graph, at once; and one run of an input that comes in parts.

    batch abatch                           outputs in the order of the inputs
    batch_as_completed abatch_as_completed pairs of number and output, as the runs end
    transform atransform                   what ``stream`` yields for the sum of the inputs

Each input of a batch is a run of its own, made by ``invoke`` or ``ainvoke``; nothing of it is shared but the log.

Invariants:
1. Within a node the runs are subgraphs of its task. Their places are given out here, in the order of the inputs, so
   that each is found again when the task is repeated, whichever run began first.
2. All runs have ended when a call returns or raises.

It must not know what a run is.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import queue
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar

from .config import for_each
from .context import TaskContext, current
from .workers import Pool

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Generator,
        Iterator,
        Sequence,
    )

    from .workers import Work

    Config = dict[str, Any] | Sequence[dict[str, Any]] | None


class Places:
    """Where the runs of a batch stand within the task that makes it, if there is one.

    Args:
        count: How many runs there are.
    """

    def __init__(self, count: int) -> None:
        self.caller = current.get()
        self.own: list[TaskContext[Any]] = []
        if self.caller is not None:
            first, self.caller.subgraphs = self.caller.subgraphs, self.caller.subgraphs + count
            for number in range(first, first + count):
                own = copy.copy(self.caller)
                own.subgraphs, own.asked = number, ()
                self.own.append(own)

    def context(self, number: int) -> contextvars.Context:
        """Return the surroundings of a run."""
        context = contextvars.copy_context()
        if self.own:
            context.run(current.set, self.own[number])
        return context

    def close(self) -> None:
        """Hand the caller what its runs asked."""
        if self.caller is not None:
            self.caller.asked += tuple(question for own in self.own for question in own.asked)


class Batch:
    """The runs of one call.

    Args:
        inputs: One for each run.
        config: One for all, or one for each.
        return_exceptions: Whether an exception takes the place of its run's output.
    """

    def __init__(self, inputs: Sequence[Any], config: Config, *, return_exceptions: bool) -> None:
        self.inputs = list(inputs)
        self.configs = for_each(config, len(self.inputs))
        self.return_exceptions = return_exceptions
        self.limit = (self.configs[0] or {}).get("max_concurrency") if self.configs else None
        self.places = Places(len(self.inputs))

    def kept(self, error: BaseException) -> Any:
        """Return an exception as the output of its run, or raise it."""
        if self.return_exceptions and isinstance(error, Exception):
            return error
        raise error

    def ended(self, invoke: Callable[..., Any]) -> Generator[tuple[int, Work[Any]], None, None]:
        """Make the runs in threads and yield them as they end."""
        done: queue.SimpleQueue[tuple[int, Work[Any]]] = queue.SimpleQueue()
        pool = Pool(self.limit, "walgraph-batch")
        try:
            for number, (given, config) in enumerate(zip(self.inputs, self.configs, strict=True)):
                context = self.places.context(number)
                work = pool.submit(functools.partial(context.run, invoke, given, config))
                work.future.add_done_callback(_putting(done.put, (number, work)))
            for _ in self.inputs:
                yield done.get()
        finally:
            pool.close(drop=True)
            self.places.close()

    async def aended(
        self, ainvoke: Callable[..., Any]
    ) -> AsyncGenerator[tuple[int, asyncio.Task[Any]], None]:
        """Make the runs on the event loop and yield them as they end."""
        slots = asyncio.Semaphore(self.limit) if self.limit else None
        loop = asyncio.get_running_loop()
        done: asyncio.Queue[tuple[int, asyncio.Task[Any]]] = asyncio.Queue()

        async def run(given: Any, config: dict[str, Any] | None) -> Any:
            if slots is None:
                return await ainvoke(given, config)
            async with slots:
                return await ainvoke(given, config)

        tasks: list[asyncio.Task[Any]] = []
        try:
            for number, (given, config) in enumerate(zip(self.inputs, self.configs, strict=True)):
                task = loop.create_task(run(given, config), context=self.places.context(number))
                task.add_done_callback(_putting(done.put_nowait, (number, task)))
                tasks.append(task)
            for _ in self.inputs:
                yield await done.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.places.close()


class Batched:
    """The part of a compiled graph that runs it for several inputs."""

    if TYPE_CHECKING:
        # What a compiled graph has; this part is used with it only.
        invoke: Callable[..., Any]
        ainvoke: Callable[..., Any]
        stream: Callable[..., Iterator[Any]]
        astream: Callable[..., AsyncIterator[Any]]

    def batch(
        self, inputs: Sequence[Any], config: Config = None, *, return_exceptions: bool = False, **options: Any
    ) -> list[Any]:
        """Run the graph for several inputs at once, in threads.

        Args:
            inputs: One for each run.
            config: One for all, or a list with one for each; ``max_concurrency`` of the first says how many at once.
            return_exceptions: Whether to return an exception in the place of its run's output.
            options: As for ``invoke``.

        Returns:
            The outputs, in the order of the inputs.

        Raises:
            ValueError: There are not as many configs as inputs.
            Exception: What the first of the failed runs raised, once all have ended.
        """
        runs = Batch(inputs, config, return_exceptions=return_exceptions)
        ended = dict(runs.ended(functools.partial(self.invoke, **options)))
        return [
            _output(runs, ended[number].future.exception, ended[number].future.result)
            for number in sorted(ended)
        ]

    def batch_as_completed(
        self, inputs: Sequence[Any], config: Config = None, *, return_exceptions: bool = False, **options: Any
    ) -> Iterator[tuple[int, Any]]:
        """Run the graph for several inputs at once and yield pairs of number and output; see ``batch``."""
        runs = Batch(inputs, config, return_exceptions=return_exceptions)
        with closing(runs.ended(functools.partial(self.invoke, **options))) as ended:
            for number, work in ended:
                yield number, _output(runs, work.future.exception, work.future.result)

    async def abatch(
        self, inputs: Sequence[Any], config: Config = None, *, return_exceptions: bool = False, **options: Any
    ) -> list[Any]:
        """Run the graph for several inputs at once, on the event loop; see ``batch``."""
        runs = Batch(inputs, config, return_exceptions=return_exceptions)
        ended = {
            number: task async for number, task in runs.aended(functools.partial(self.ainvoke, **options))
        }
        return [_output(runs, ended[number].exception, ended[number].result) for number in sorted(ended)]

    async def abatch_as_completed(
        self, inputs: Sequence[Any], config: Config = None, *, return_exceptions: bool = False, **options: Any
    ) -> AsyncIterator[tuple[int, Any]]:
        """Run the graph for several inputs at once and yield pairs of number and output; see ``batch``."""
        runs = Batch(inputs, config, return_exceptions=return_exceptions)
        async with aclosing(runs.aended(functools.partial(self.ainvoke, **options))) as ended:
            async for number, task in ended:
                yield number, _output(runs, task.exception, task.result)

    def transform(
        self, input: Iterator[Any], config: dict[str, Any] | None = None, **options: Any
    ) -> Iterator[Any]:
        """Run the graph once, for all parts of an input together, and yield what happens; see ``stream``.

        Args:
            input: The parts. They are added up with ``+``; of parts that cannot be added the last one counts.
            config: As for ``stream``.
            options: As for ``stream``.
        """
        whole: tuple[Any, ...] = ()
        for part in input:
            whole = _added(whole, part)
        if whole:
            yield from self.stream(*whole, config, **options)

    async def atransform(
        self, input: AsyncIterator[Any], config: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """Run the graph once, for all parts of an input together, on the event loop; see ``transform``."""
        whole: tuple[Any, ...] = ()
        async for part in input:
            whole = _added(whole, part)
        if whole:
            chunks: Any = self.astream(*whole, config, **options)
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk


def _putting(put: Callable[[T], None], ended: T) -> Callable[[Any], None]:
    """Return a callback that says which run has ended."""
    return lambda _: put(ended)


def _added(whole: tuple[Any, ...], part: Any) -> tuple[Any]:
    """Return what came so far, in a tuple since it may be None, with one more part."""
    try:
        return (whole[0] + part,) if whole else (part,)
    except TypeError:
        # Dicts, for one, cannot be added.
        return (part,)


def _output(runs: Batch, exception: Callable[[], BaseException | None], result: Callable[[], Any]) -> Any:
    """Return what a run that has ended returned, or what is to stand for it."""
    error = exception()
    return result() if error is None else runs.kept(error)
