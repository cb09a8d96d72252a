"""One task: its body, its retries, its routers, and what is recorded of them.

The logic is one generator, ``attempts``. It yields what it wants called or how long it wants to sleep, and is sent
what came of it; ``perform`` (threads) and ``aperform`` (asyncio) are the two thin ways to do that.

    body ─ raises ─► retry policy ─ again ─► body
      │                    └─ give up ──────────────► TaskFailed
      ├─ asks ──────────────────────────────────────► TaskInterrupted
      └─ returns ─► writes ─► routers ─ all answered ► TaskFinished(writes, goto)
                                  └─ one raises ─────► TaskFinished(writes, goto=None), TaskFailed

Invariants:
1. A body whose return is recorded is not called again: with the outcome ``unrouted`` only the routers run (C-4).
2. An exception of user code keeps its type; it gains notes.
3. What parks (interrupts, commands for a parent, drain) and what aborts (KeyboardInterrupt) is never retried.

It must not append; it returns records.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from ..replay.errors import InvalidUpdateError
from ..replay.fold import apply_writes
from ..replay.state import GOTO_WRITE, UNROUTED
from ..wal.codec import Encoder
from ..wal.record import Failure, TaskFailed, TaskFinished, TaskInterrupted, TaskRouted
from .context import current
from .control import Command
from .effect import Done, Overrun
from .errors import GraphInterrupt, ParentCommand
from .node import not_stoppable
from .outcome import split_untracked, targets_of, writes_of
from .response import refused_question
from .retry import delay, policy_for
from .steering import is_meant, keep_command

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from ..replay.state import Outcome
    from ..wal.record import Record, Target, Write
    from .context import TaskContext
    from .job import Job
    from .node import Callee
    from .policy import TimeoutPolicy
    from .retry import RetryPolicy
    from .run import Run

TRACEBACK_FRAMES = 16
"""How many of the innermost frames a recorded failure keeps."""


class Call(NamedTuple):
    """Wanted: the callable's answer to this argument."""

    callee: Callee
    argument: Any
    timeout: TimeoutPolicy | None = None


class Sleep(NamedTuple):
    """Wanted: some seconds of rest."""

    seconds: float


class Join(NamedTuple):
    """Wanted: that these tasks, called by the body, have ended."""

    children: list[Any]


Wish: TypeAlias = Call | Sleep | Join
T = TypeVar("T")


def attempts(job: Job) -> Generator[Wish, Any, Done]:
    """Try a node's task until it ends one way or another, and say how."""
    node, context = job.node, job.context
    if job.outcome is not None and job.outcome.status == UNROUTED:
        return (yield from _route_again(job, job.outcome))
    if job.returned is not None:
        return (yield from _routed(job, job.returned, []))
    before = encoded_values(job)
    try:
        value = job.input()
        if node.callee is not None:
            wish = Call(node.callee, value, job.timeout)
            value = yield from tried(wish, context, node.retry, job.outcome)
    except BaseException as error:
        returned = _raised(job, error)
    else:
        returned = _returned(job, value, before)
    return returned if isinstance(returned, Done) else (yield from _routed(job, *returned))


def attempted_plainly(job: Job) -> Done:
    """Do what ``attempts`` does for a node without retries and routers, whose body only has to be called."""
    context, callee = job.context, job.node.callee
    assert callee is not None, "plain nodes have one"
    current.set(context)
    context.begin(1, job.outcome)
    before = encoded_values(job) if job.run.recorder.is_strict else None
    try:
        value = callee.function(job.input()) if callee.is_bare else call(callee, job.input(), context)
    except BaseException as error:
        _join(context)
        returned = _raised(job, error)
    else:
        if context.children:
            _join(context)
        returned = _returned(job, value, before)
    return returned if isinstance(returned, Done) else _finished(job, *returned)


def _returned(
    job: Job, value: Any, before: dict[str, bytes] | None
) -> tuple[list[Write], list[Target]] | Done:
    """Return what a body's value writes and where it goes, or how the task ends if that cannot be."""
    try:
        if before is not None:
            check_untouched(job, before)
        return writes_of(job.run.program, job.node.name, value)
    except ParentCommand as steering:
        return keep_command(job, steering)
    except BaseException as error:
        return ended_by(error, job.run, job.context, job.outcome)


def _raised(job: Job, error: BaseException) -> tuple[list[Write], list[Target]] | Done:
    """Return how a task ends whose body raised; a command from a subgraph is as good as a return."""
    if not isinstance(error, ParentCommand):
        return ended_by(error, job.run, job.context, job.outcome)
    if not is_meant(job, error):
        return keep_command(job, error)
    # A subgraph's node steers this graph: it is as if the subgraph had returned the command (G-3).
    return _returned(job, Command(update=error.command.update, goto=error.command.goto), None)


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
    call: Call, context: TaskContext[Run], retry: tuple[RetryPolicy, ...], outcome: Outcome | None
) -> Generator[Wish, Any, Any]:
    """Call a body, again and again as its retry policies allow, and return what it returned.

    Tasks that the body called and did not wait for are waited for here: they belong to it (T-7).
    """
    attempt = 0
    while True:
        attempt += 1
        context.begin(attempt, outcome)
        try:
            value = yield call
        except Exception as error:
            if context.children:
                yield Join(context.children)
            policy = policy_for(retry, error) if retry else None
            if policy is None or attempt >= policy.max_attempts:
                raise
            yield Sleep(delay(policy, attempt, random.random))
        except BaseException:
            if context.children:
                yield Join(context.children)
            raise
        else:
            if context.children:
                yield Join(context.children)
            return value


def ended_by(
    error: BaseException,
    run: Run,
    context: TaskContext[Run],
    outcome: Outcome | None,
    *,
    has_returned: bool = False,
) -> Done:
    """Return the outcome of a task whose body raised."""
    path = context.path
    if isinstance(error, GraphInterrupt):
        known = {question.id for question in outcome.questions} if outcome is not None else set()
        questions = tuple(question for question in context.asked if question.id not in known)
        return Done(path, (TaskInterrupted(run.scope, path, questions),), error)
    if (refused := refused_question(error)) is not None:
        # The answer was at fault and not the task: it asks again, or waits for what asks in it.
        task, question = refused
        held = outcome is not None and any(question.id == known.id for known in outcome.questions)
        asked = (question,) if task == context.id or held else ()
        return Done(path, (TaskInterrupted(run.scope, path, asked),), error)
    if isinstance(error, Exception):
        add_notes(run, context, error, has_returned=has_returned)
        return Done(path, (TaskFailed(run.scope, path, failure_of(error), context.attempt),), error)
    # Drained, cancelled or aborted: nothing can be said of the task, so it is simply not finished.
    return Done(path, (), error)


def _routed(job: Job, writes: list[Write], targets: list[Target]) -> Generator[Wish, Any, Done]:
    """Run the routers of a body that returned, and make its outcome."""
    node = job.node
    if not node.branches:
        return _finished(job, writes, targets)
    scope = job.run.scope
    kept, untracked = split_untracked(job.run.program, writes)
    # A command's goto is part of what the body returned. If the routers fail it must survive them, so it is
    # kept as a write of its own until they succeed.
    try:
        chosen = yield from _ask_routers(job, writes)
    except BaseException as error:
        ended = ended_by(error, job.run, job.context, job.outcome, has_returned=True)
        return _after_body(job, ended, kept, targets)
    goto = (*targets, *node.targets, *chosen)
    return Done(job.path, (TaskFinished(scope, job.path, kept, goto),), None, untracked)


def _finished(job: Job, writes: list[Write], targets: list[Target]) -> Done:
    """Return the outcome of a body that returned, for a node without routers."""
    node, path = job.node, job.path
    run = job.run
    kept, untracked = split_untracked(run.program, writes)
    goto = (*targets, *node.targets) if targets else node.targets
    return Done(path, (TaskFinished(run.scope, path, kept, goto),), None, untracked)


def _ask_routers(job: Job, writes: list[Write]) -> Generator[Wish, Any, list[Target]]:
    """Ask each router, showing it the state with the task's own writes applied but not its siblings'."""
    run, node = job.run, job.node
    before = {**job.graph.values, **run.untracked} if run.untracked else job.graph.values
    values = apply_writes(run.program.blueprint, before, [(node.name, write) for write in writes], bump=False)
    chosen: list[Target] = []
    for branch in node.branches:
        answer = yield Call(branch.call, branch.reader.read(values, run))
        chosen.extend(targets_of(run.program, branch, answer))
    return chosen


def _after_body(job: Job, ended: Done, writes: tuple[Write, ...], targets: list[Target]) -> Done:
    """Record that the body returned, before what became of its routers."""
    kept = (
        (*writes, (GOTO_WRITE, [list(t) if isinstance(t, tuple) else t for t in targets]))
        if targets
        else writes
    )
    body: Record = TaskFinished(job.run.scope, job.path, kept, None)
    return ended._replace(records=(body, *ended.records))


def _route_again(job: Job, outcome: Outcome) -> Generator[Wish, Any, Done]:
    """Run only the routers of a task whose body's return is recorded."""
    context = job.context
    context.begin(1, outcome)
    own = [write for write in outcome.writes if write[0] != GOTO_WRITE]
    kept = [
        tuple(t) if isinstance(t, list) else t
        for key, value in outcome.writes
        if key == GOTO_WRITE
        for t in value
    ]
    try:
        chosen = yield from _ask_routers(job, own)
    except BaseException as error:
        return ended_by(error, job.run, context, outcome, has_returned=True)
    goto = (*kept, *job.node.targets, *chosen)
    return Done(job.path, (TaskRouted(job.run.scope, job.path, goto),))


def add_notes(
    run: Run, context: TaskContext[Run], error: BaseException, *, has_returned: bool = False
) -> None:
    """Say on a user's exception where it happened, what is safe, and how to go on.

    Args:
        run: The run.
        context: The task.
        error: The exception.
        has_returned: Whether the task's body returned, so that only its routers are to be asked again.
    """
    if any(note.startswith("During task with name") for note in getattr(error, "__notes__", ())):
        return
    error.add_note(f"During task with name '{context.name}' and id '{context.id}'")
    if run.recorder.writer is not None:
        tries = f", attempt {context.attempt}" if context.attempt > 1 else ""
        safe, again = (
            ("what its body returned is recorded", "asks its routers again")
            if has_returned
            else ("it has no outcome yet; what it called by @task is kept", "runs this task again")
        )
        error.add_note(
            f"in step {context.step} of thread {run.thread!r}{tries}: {safe}, and so are outcomes of the step's other "
            f"tasks; after mending the cause, invoke(None, config) {again}"
        )


def failure_of(error: BaseException) -> Failure:
    """Return an exception as the text that is recorded of it."""
    kind = type(error)
    frames = traceback.format_tb(error.__traceback__)[-TRACEBACK_FRAMES:]
    return Failure(
        f"{kind.__module__}.{kind.__qualname__}",
        repr(error),
        "".join(frames),
        tuple(getattr(error, "__notes__", ())),
    )


def perform(job: Job) -> Done:
    """Perform a node's task in this thread."""
    surroundings, node = contextvars.copy_context(), job.node
    if node.is_plain and not node.branches and job.returned is None:
        return surroundings.run(attempted_plainly, job)
    done: Done = surroundings.run(carry_out, attempts(job), job.context)
    return done


def _join(context: TaskContext[Run]) -> None:
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
            return stop.value  # type: ignore[no-any-return]  # a generator's value
        send, answer = wishes.send, None
        if wish.__class__ is Call:
            try:
                answer = call(wish.callee, wish.argument, context, wish.timeout)
            except BaseException as error:
                send, answer = wishes.throw, error
        elif wish.__class__ is Sleep:
            time.sleep(wish.seconds)
        else:
            _join(context)


def call(
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
                            child.stop()
                    send, answer = wishes.throw, error
            elif wish.__class__ is Sleep:
                await asyncio.sleep(wish.seconds)
            else:
                for child in wish.children:
                    await child.awaited()
    finally:
        current.reset(token)


async def acall(callee: Callee, argument: Any, context: TaskContext[Run]) -> Any:
    """Call user code from the event loop."""
    if callee.is_async:
        arguments, injected = callee.bind(argument, context)
        return await callee.function(*arguments, **injected)
    if callee.is_runnable and hasattr(callee.function, "ainvoke"):
        return await callee.function.ainvoke(argument, context.config)
    result = await _in_thread(call, callee, argument, context)
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
