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
import random
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from ..replay.fold import apply_writes
from ..replay.identity import parent_scope
from ..replay.state import UNROUTED
from ..wal.record import Failure, TaskFailed, TaskFinished, TaskInterrupted, TaskRouted
from .context import current
from .control import Command
from .effect import Done
from .errors import GraphInterrupt, ParentCommand
from .outcome import split_untracked, targets_of, writes_of
from .retry import delay, policy_for

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..replay.state import Outcome
    from ..wal.record import Record, Target, Write
    from .context import TaskContext
    from .job import Job
    from .node import Callee
    from .retry import RetryPolicy
    from .run import Run

PARENT_WRITE = "__parent__"
"""The write under which a command for the graph above is kept with the outcome of the task that gave it."""
TRACEBACK_FRAMES = 16
"""How many of the innermost frames a recorded failure keeps."""


class Call(NamedTuple):
    """Wanted: the callable's answer to this argument."""

    callee: Callee
    argument: Any


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
    try:
        try:
            value = job.input()
            if node.callee is not None:
                value = yield from tried(Call(node.callee, value), context, node.retry, job.outcome)
        except ParentCommand as steering:
            # A subgraph's node steers this graph: it is as if the subgraph had returned the command (G-3).
            if not _for_us(job, steering):
                return _steered(job, steering)
            value = Command(update=steering.command.update, goto=steering.command.goto)
        writes, targets = writes_of(job.run.program, node.name, value)
    except ParentCommand as steering:
        return _steered(job, steering)
    except BaseException as error:
        return ended_by(error, job.run, context, job.outcome)
    return (yield from _routed(job, writes, targets))


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


def ended_by(error: BaseException, run: Run, context: TaskContext[Run], outcome: Outcome | None) -> Done:
    """Return the outcome of a task whose body raised."""
    path = context.path
    if isinstance(error, GraphInterrupt):
        known = {question.id for question in outcome.questions} if outcome is not None else set()
        questions = tuple(question for question in context.asked if question.id not in known)
        return Done(path, (TaskInterrupted(run.scope, path, questions),), error)
    if isinstance(error, Exception):
        add_notes(run, context, error)
        return Done(path, (TaskFailed(run.scope, path, failure_of(error), context.attempt),), error)
    # Drained, cancelled or aborted: nothing can be said of the task, so it is simply not finished.
    return Done(path, (), error)


def _routed(job: Job, writes: list[Write], targets: list[Target]) -> Generator[Wish, Any, Done]:
    """Run the routers of a body that returned, and make its outcome."""
    node = job.node
    scope = job.run.scope
    kept, untracked = split_untracked(job.run.program, writes)
    if not node.branches:
        goto = (*targets, *node.targets) if targets else node.targets
        return Done(job.path, (TaskFinished(scope, job.path, kept, goto),), None, untracked)
    # A command's goto is part of what the body returned. If the routers fail it must survive them, so it is
    # kept as a write of its own until they succeed.
    try:
        chosen = yield from _ask_routers(job, writes)
    except BaseException as error:
        return _after_body(job, ended_by(error, job.run, job.context, job.outcome), kept, targets)
    goto = (*targets, *node.targets, *chosen)
    return Done(job.path, (TaskFinished(scope, job.path, kept, goto),), None, untracked)


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


GOTO_WRITE = "__goto__"
"""The write under which a body's own targets are kept while its routers have not succeeded."""


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
        return ended_by(error, job.run, context, outcome)
    goto = (*kept, *job.node.targets, *chosen)
    return Done(job.path, (TaskRouted(job.run.scope, job.path, goto),))


def _for_us(job: Job, steering: ParentCommand) -> bool:
    """Return whether a command that came up from below is meant for this task's graph."""
    if steering.target is not None:
        return steering.target == job.run.scope
    return steering.command.graph != Command.PARENT and job.run.program.is_called(steering.command.graph)


def _steered(job: Job, steering: ParentCommand) -> Done:
    """Keep a command for the graph above as this task's outcome, so that it is given again and not made again."""
    if steering.target is None and steering.command.graph == Command.PARENT:
        steering.target = parent_scope(job.run.scope) if job.run.scope else None
    if not job.run.scope:
        # There is no graph above; the command goes to the caller, and nothing is recorded of its task.
        return Done(job.path, (), steering)
    record = TaskFinished(job.run.scope, job.path, ((PARENT_WRITE, steering.command),), ())
    return Done(job.path, (record,), steering)


def add_notes(run: Run, context: TaskContext[Run], error: BaseException) -> None:
    """Say on a user's exception where it happened, what is safe, and how to go on."""
    if any(note.startswith("During task with name") for note in getattr(error, "__notes__", ())):
        return
    error.add_note(f"During task with name '{context.name}' and id '{context.id}'")
    if run.recorder.writer is not None:
        tries = f", attempt {context.attempt}" if context.attempt > 1 else ""
        error.add_note(
            f"in step {context.step} of thread {run.thread!r}{tries}: nothing of this task was recorded, outcomes of "
            "the step's other tasks are kept; after mending the cause, invoke(None, config) runs this task again"
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
    done: Done = contextvars.copy_context().run(carry_out, attempts(job), job.context)
    return done


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
                answer = call(wish.callee, wish.argument, context)
            except BaseException as error:
                send, answer = wishes.throw, error
        elif wish.__class__ is Sleep:
            time.sleep(wish.seconds)
        else:
            for child in wish.children:
                child.wait()


def call(callee: Callee, argument: Any, context: TaskContext[Run]) -> Any:
    """Call user code in this thread.

    Raises:
        TypeError: It is a coroutine function, and the run is a synchronous one.
    """
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
    """Do what a task wishes, on the event loop."""
    token = current.set(context)
    send: Any = wishes.send
    answer: Any = None
    try:
        while True:
            try:
                wish = send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # a generator's value
            send, answer = wishes.send, None
            if wish.__class__ is Call:
                try:
                    answer = await acall(wish.callee, wish.argument, context)
                except BaseException as error:
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
    result = await asyncio.to_thread(call, callee, argument, context)
    # A lambda that returns a coroutine cannot be told from other functions before it is called.
    return await result if asyncio.iscoroutine(result) else result
