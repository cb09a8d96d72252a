"""One task: its body, its retries, its routers, and what is recorded of them.

The logic is one generator, ``attempts``. It yields what it wants called or how long it wants to sleep, and is sent
what came of it; ``perform`` (threads) and ``aperform`` (asyncio) are the two thin ways to do that.

    body ─ raises ─► retry policy ─ again ──► AttemptFailed; body
      │                    └─ give up ──────────────► TaskFailed, which names the node's error handler
      ├─ asks ──────────────────────────────────────► TaskInterrupted
      └─ returns ─► writes ─► routers ─ all answered ► TaskFinished(writes, goto)
                                  └─ one raises ─────► TaskFinished(writes, goto=None), then as for the body

Invariants:
1. A body whose return is recorded is not called again: with the outcome ``unrouted`` only the routers run (C-4).
2. An exception of user code keeps its type; it gains notes.
3. What parks (interrupts, commands for a parent, drain) and what aborts (KeyboardInterrupt) is never retried.

It must not append: it returns records, and wishes for those that are to be in the log before it goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from ..replay.errors import InvalidUpdateError, NonDeterminism
from ..replay.state import UNROUTED
from ..wal.codec import Encoder
from ..wal.named import new
from . import clock
from .attempt import Attempts
from .context import OVER, current
from .control import Command
from .effect import Done, Overrun
from .errors import ParentCommand
from .failure import ended, self_cancelled
from .node import not_stoppable
from .outcome import writes_of
from .routing import finished, finished_plainly, routed, routed_again
from .steering import is_meant, keep_command
from .wish import Ask, Call, Join, Note, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence

    from ..replay.state import Outcome
    from ..wal.record import Target, Write
    from .caching import Place
    from .call import SyncAsyncFuture
    from .context import TaskContext
    from .job import Job
    from .node import Callee
    from .policy import CachePolicy, TimeoutPolicy
    from .retry import RetryPolicy
    from .run import Run
    from .wish import Wish


T = TypeVar("T")


def attempts(job: Job) -> Generator[Wish, Any, Done]:
    """Try a node's task until it ends one way or another, and say how."""
    node, context = job.node, job.context
    if job.outcome is not None and job.outcome.status == UNROUTED:
        return (yield from routed_again(job, job.outcome))
    if job.returned is not None:
        context.begin(1, None)
        return (yield from routed(job, job.returned, []))
    before = encoded_values(job)
    kept: list[Any] = []
    place: Place | None = None
    returned: tuple[list[Write], list[Target]] | Done

    def meant(value: Any) -> tuple[list[Write], list[Target]] | Done:
        kept[:] = [value]
        return _meant(job, value, before)

    try:
        value = job.input()
        if node.callee is None:
            context.begin(1, job.outcome)
            returned = _meant(job, value, before)
        else:
            if node.cache_policy is not None and may_cache(job.run, job.outcome):
                place = place_of(job.run, node.cache_policy, node.callee, node.name, (value,))
                found = yield Ask(place.look, place.alook)
                # A result that means nothing to the graph any more is as good as none.
                if found is not None and not isinstance(fitting := _returned(job, found[0], None), Done):
                    return (yield from routed(job, *fitting))._replace(is_cached=True)
            wish = new(Call, (node.callee, value, job.timeout))
            # A return that means nothing fails the attempt, as if the body had raised.
            returned = yield from tried(wish, context, node.retry, job.outcome, meant)
            if not node.branches:
                # Routers go on with the calls, so of these nobody can say what is left.
                check_calls(context)
    except BaseException as error:
        returned = _raised(job, error)
    if isinstance(returned, Done):
        return returned
    if place is not None and kept and not context.questions:
        yield Ask(functools.partial(place.keep, *kept), functools.partial(place.akeep, *kept))
    return (yield from routed(job, *returned))


def may_cache(run: Run, outcome: Outcome | None) -> bool:
    """Return whether a result may be looked for and kept: not if it depends on an answer, which is the thread's own."""
    if run.cache is None or outcome is None:
        return run.cache is not None
    has_failed = outcome.attempts > 0 or outcome.retry is not None
    return has_failed and not outcome.questions


def place_of(
    run: Run,
    policy: CachePolicy,
    callee: Callee,
    name: str,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any] | None = None,
) -> Place:
    """Return where a call's result is cached; most programs cache nothing and never load what knows."""
    from .caching import Place

    assert run.cache is not None
    return Place(run.cache, policy, callee, name, arguments, keywords)


def attempted_plainly(job: Job) -> Done:
    """Do what ``attempts`` does for a node without retries and routers, whose body only has to be called."""
    context, callee = job.context, job.node.callee
    assert callee is not None, "plain nodes have one"
    current.set(context)
    context.begin(1, job.outcome)
    before = encoded_values(job) if job.run.recorder.is_strict else None
    try:
        value = callee.function(job.input()) if callee.is_bare else call_here(callee, job.input(), context)
    except BaseException as error:
        context.calls = OVER
        join(context)
        returned = _raised(job, self_cancelled(error, context.name))
    else:
        try:
            check_calls(context)
        except NonDeterminism as error:
            return _raised(job, error)  # type: ignore[return-value]  # it is no command
        context.calls = OVER
        if context.children:
            join(context)
        if value.__class__ is dict and job.run.program.is_plain and before is None and not context.pushed:
            return finished_plainly(job, value)
        returned = _returned(job, value, before)
    return returned if isinstance(returned, Done) else finished(job, *returned)


def handed_on(job: Job) -> Done:
    """Do what ``attempts`` does for the hidden START without routers: the input becomes its writes."""
    current.set(job.context)
    job.context.begin(1, None)
    try:
        value = job.input()
    except BaseException as error:
        return ended(job, error)
    returned = _returned(job, value, None)
    return returned if isinstance(returned, Done) else finished(job, *returned)


def _returned(
    job: Job, value: Any, before: dict[str, bytes] | None
) -> tuple[list[Write], list[Target]] | Done:
    """Return what a body's value writes and where it goes, or how the task ends if that cannot be."""
    try:
        return _meant(job, value, before)
    except BaseException as error:
        return ended(job, error)


def _meant(job: Job, value: Any, before: dict[str, bytes] | None) -> tuple[list[Write], list[Target]] | Done:
    """Return what a body's value writes and where it goes; or how the task ends, if that steers the graph above.

    Raises:
        InvalidUpdateError: The value means nothing to the graph.
    """
    try:
        if before is not None:
            check_untouched(job, before)
        writes, targets = writes_of(job.run.program, job.node.name, value)
        pushed = job.context.pushed
        return ([*pushed, *writes], targets) if pushed else (writes, targets)
    except ParentCommand as steering:
        return keep_command(job, steering)


def _raised(job: Job, error: BaseException) -> tuple[list[Write], list[Target]] | Done:
    """Return how a task ends whose body raised; a command from a subgraph is as good as a return."""
    if not isinstance(error, ParentCommand):
        return ended(job, error)
    if not is_meant(job, error):
        return keep_command(job, error)
    # A subgraph's node steers this graph: it is as if the subgraph had returned the command (G-3).
    return _returned(job, Command(update=error.command.update, goto=error.command.goto), None)


def check_calls(context: TaskContext[Run]) -> None:
    """See that a body that has returned asked for every call that is recorded of it.

    Raises:
        NonDeterminism: It did not, or it was refused a call and went on all the same.
    """
    if context.run.is_resumed or context.calls.__class__ is not count:
        from .determinism import check_all_asked

        check_all_asked(context)


def encoded_values(job: Job) -> dict[str, bytes] | None:
    """Return the step's values as the log would hold them, if the log is strict; else None."""
    if not job.run.recorder.is_strict:
        return None
    return {key: Encoder().value(value).data for key, value in job.graph.values.items()}


def check_untouched(job: Job, before: dict[str, bytes]) -> None:
    """See that a body left its input as it was; changed in place, the state would hold what the log does not.

    Raises:
        InvalidUpdateError: It did not; only a strict log looks.
    """
    after = encoded_values(job)
    changed = sorted(key for key in before if after is not None and after.get(key) != before[key])
    if changed:
        message = (
            f"node {job.node.name!r} changed its input in place at {', '.join(map(repr, changed))}; the log knows "
            "nothing of that, so it would be gone after a restart"
        )
        raise InvalidUpdateError(
            message, hint="Return the change as an update, and change copies.", channels=changed
        )


def tried(
    call: Call,
    context: TaskContext[Run],
    retry: tuple[RetryPolicy, ...],
    outcome: Outcome | None,
    meant: Callable[[Any], T] | None = None,
) -> Generator[Wish, Any, Any]:
    """Call a body, again and again as its retry policies allow, and return what it returned, or what that means.

    Tasks that the body called and did not wait for are waited for here: they belong to it (T-7).
    """
    attempts = None
    if retry or (outcome is not None and outcome.retry is not None):
        attempts = Attempts(context, retry, outcome)
        if (rest := attempts.rest()) > 0:
            yield Sleep(rest)
    while True:
        context.begin(1 if attempts is None else attempts.next(), outcome)
        try:
            value = yield call
            calls, context.calls = context.calls, OVER
            if context.children:
                yield Join(context.children)
            # Routers may call tasks as well.
            context.calls = calls
            return value if meant is None else meant(value)
        except Exception as error:
            context.calls = OVER
            if context.children:
                yield Join(context.children)
            again = None if attempts is None else attempts.again(error)
            if again is None:
                raise
        except BaseException:
            context.calls = OVER
            if context.children:
                yield Join(context.children)
            raise
        yield Note(again.records)
        # The failed attempt is on record, and with it when the next one is due.
        context.stop_if_asked()
        yield Sleep(again.pause)


def perform(job: Job) -> Done:
    """Perform a node's task in this thread."""
    surroundings, node = contextvars.copy_context(), job.node
    if node.is_plain and not node.branches and job.returned is None:
        return surroundings.run(attempted_plainly, job)
    if node.callee is None and not node.branches and job.outcome is None and job.returned is None:
        return surroundings.run(handed_on, job)
    done: Done = surroundings.run(carry_out, attempts(job), job.context)
    return done


def join(context: TaskContext[Run]) -> None:
    """Wait for the tasks that a body called."""
    for child in context.children:
        child.wait()


def carry_out(wishes: Generator[Wish, Any, T], context: TaskContext[Run]) -> T:
    """Do what a task wishes, in this thread; run it in a context of its own."""
    current.set(context)
    send: Any = wishes.send
    answer: Any = None
    while True:
        try:
            wish = send(answer)
        except StopIteration as stop:
            context.calls = OVER
            return stop.value  # type: ignore[no-any-return]  # a generator's value
        send, answer = wishes.send, None
        if wish.__class__ is Call:
            try:
                answer = call_here(wish.callee, wish.argument, context, wish.timeout)
            except BaseException as error:
                send, answer = wishes.throw, self_cancelled(error, context.name)
        elif wish.__class__ is Sleep:
            clock.pause(wish.seconds)
        elif wish.__class__ is Note:
            try:
                if wish.records:
                    context.run.recorder.record(wish.records)
                if wish.is_durable:
                    context.run.recorder.harden()
            except BaseException as error:
                send, answer = wishes.throw, error
        elif wish.__class__ is Ask:
            try:
                answer = wish.ask()
            except BaseException as error:
                send, answer = wishes.throw, error
        else:
            join(context)


def call_here(
    callee: Callee, argument: Any, context: TaskContext[Run], timeout: TimeoutPolicy | None = None
) -> Any:
    """Call user code in this thread.

    Raises:
        InvalidGraph: Its time is limited, and a thread cannot be stopped.
        TypeError: It is a coroutine function, and the run is a synchronous one.
    """
    if timeout is not None:
        raise not_stoppable("Node", context.name)
    if callee.is_async:
        message = (
            f'No synchronous function provided to "{context.name}".\nEither initialize with a synchronous function '
            "or invoke via the async API (ainvoke, astream, etc.)"
        )
        raise TypeError(message)
    if callee.is_runnable:
        return callee.function.invoke(argument, context.config)  # type: ignore[attr-defined]  # looked up by Callee
    arguments, injected = callee.bind(argument, context)
    return callee.function(*arguments, **injected)


async def aperform(job: Job) -> Done:
    """Perform a node's task on the event loop; synchronous code goes to a thread."""
    return await acarry_out(attempts(job), job.context)


async def _cancelled(children: Sequence[SyncAsyncFuture[Any]]) -> None:
    """Cancel calls, and return when they have ended: however often who waits is cancelled, they end before it."""
    for child in children:
        child.cancel()
    for child in children:
        is_over = False
        while not is_over:
            with suppress(asyncio.CancelledError):
                await child.awaited()
                is_over = True


async def acarry_out(wishes: Generator[Wish, Any, T], context: TaskContext[Run]) -> T:
    """Do what a task wishes, on the event loop.

    Raises:
        Overrun: It was cancelled and came to something all the same, which is to be recorded.
    """
    token = current.set(context)
    send: Any = wishes.send
    answer: Any = None
    overrun = False
    try:
        while True:
            try:
                wish = send(answer)
            except StopIteration as stop:
                context.calls = OVER
                if overrun:
                    raise Overrun(stop.value) from None
                return stop.value  # type: ignore[no-any-return]  # a generator's value
            send, answer = wishes.send, None
            if wish.__class__ is Call:
                try:
                    if overrun:
                        raise asyncio.CancelledError  # noqa: TRY301 - as the call that was not made would
                    called = acall(wish.callee, wish.argument, context)
                    answer = await (
                        called if wish.timeout is None else _in_time(called, wish.timeout, context)
                    )
                except Overrun as late:
                    # The body has ended, so its outcome is made; nothing else of the task is begun.
                    overrun, answer = True, late.value
                except BaseException as error:
                    if isinstance(error, asyncio.CancelledError):
                        # What the body called belongs to it, so it is cancelled too.
                        for child in context.children:
                            child.cancel()
                        task = asyncio.current_task()
                        if task is None or not task.cancelling():
                            error = self_cancelled(error, context.name)
                    send, answer = wishes.throw, error
            elif wish.__class__ is Sleep:
                await clock.apause(wish.seconds)
            elif wish.__class__ is Note:
                try:
                    if wish.records:
                        await context.run.recorder.arecord(wish.records)
                    if wish.is_durable:
                        await context.run.recorder.aharden()
                except BaseException as error:
                    send, answer = wishes.throw, error
            elif wish.__class__ is Ask:
                try:
                    answer = await wish.aask()
                except BaseException as error:
                    send, answer = wishes.throw, error
            else:
                try:
                    for child in wish.children:
                        await child.awaited()
                except asyncio.CancelledError as error:
                    await _cancelled(wish.children)
                    send, answer = wishes.throw, error
    finally:
        current.reset(token)
        if context.entered is not None:
            context.leave()


async def acall(callee: Callee, argument: Any, context: TaskContext[Run]) -> Any:
    """Call user code from the event loop."""
    if callee.is_async:
        arguments, injected = callee.bind(argument, context)
        return await callee.function(*arguments, **injected)
    if callee.is_runnable and hasattr(callee.function, "ainvoke"):
        return await callee.function.ainvoke(argument, context.config)
    result = await _in_thread(call_here, callee, argument, context)
    # A lambda that returns a coroutine cannot be told from other functions before it is called.
    return await result if asyncio.iscoroutine(result) else result


async def _in_time(called: Coroutine[Any, Any, T], limits: TimeoutPolicy, context: TaskContext[Run]) -> T:
    """Wait for a call for as long as it may take; most programs have no time-outs and never load what limits them."""
    from .timeout import timed

    return await timed(called, limits, context)


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call synchronous code in a thread.

    A thread cannot be stopped. What it does belongs to the run, so a run that is cancelled waits until it has ended
    before it gives the thread's claim back: else the next run could do the same at the same time.

    Raises:
        Overrun: It was cancelled, and the code returned all the same.
    """
    run_here = contextvars.copy_context().run
    work = asyncio.get_running_loop().run_in_executor(None, functools.partial(run_here, function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if work.cancelled() or work.exception() is not None:
            raise
        raise Overrun(work.result()) from None
