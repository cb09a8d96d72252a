"""From a body that returned to the outcome of its task: writes, and where control goes.

    writes, targets ─► no routers ──────────────────────────► TaskFinished(writes, goto)
                    ─► routers ─ all answer ────────────────► TaskFinished(writes, goto)
                               └ one raises ─► again? ─ yes ─► TaskFinished(writes, None), AttemptFailed … TaskRouted
                                                      └ no ──► TaskFinished(writes, None), TaskFailed

Invariants:
1. A body whose routers failed is on record as returned; from then on only the routers run (C-4).
2. A router sees the state with its own task's writes applied, and not those of its siblings.

It must not call anything or append: it yields wishes and returns records.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from ..replay.fold import apply_writes
from ..replay.state import GOTO_WRITE
from ..wal.named import new
from ..wal.record import TaskFinished, TaskRouted
from .attempt import Attempts
from .effect import Done
from .failure import ended
from .outcome import split_untracked, targets_of
from .retry import InvalidRetryPolicy
from .wish import Call, Note, Sleep

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..replay.state import Outcome
    from ..wal.record import Record, Target, Write
    from .job import Job
    from .wish import Wish


def routed(job: Job, writes: list[Write], targets: list[Target]) -> Generator[Wish, Any, Done]:
    """Run the routers of a body that returned, and make its outcome."""
    if not job.node.branches:
        return finished(job, writes, targets)
    kept, untracked = split_untracked(job.run.program, writes)
    done = yield from _route(job, writes, targets, kept)
    return done._replace(untracked=untracked) if done.error is None else done


def routed_again(job: Job, outcome: Outcome) -> Generator[Wish, Any, Done]:
    """Run only the routers of a task whose body's return is recorded."""
    own = [write for write in outcome.writes if write[0] != GOTO_WRITE]
    kept = [
        tuple(t) if isinstance(t, list) else t
        for key, value in outcome.writes
        if key == GOTO_WRITE
        for t in value
    ]
    attempts = Attempts(job.context, job.node.retry, outcome)
    if (rest := attempts.rest()) > 0:
        yield Sleep(rest)
    job.context.begin(attempts.next(), outcome)
    return (yield from _route(job, own, kept, None))


def _route(
    job: Job, writes: list[Write], targets: list[Target], kept: tuple[Write, ...] | None
) -> Generator[Wish, Any, Done]:
    """Ask the routers, as often as the node's retry policies allow; the body is not run again for their sake.

    Args:
        job: The task.
        writes: What the body wrote.
        targets: Where the body itself sent control.
        kept: What is to be recorded of the writes; None if it is recorded.
    """
    scope, path, context = job.run.scope, job.path, job.context
    calls = copy(context.calls)
    while True:
        try:
            chosen = yield from _ask_routers(job, writes)
        except BaseException as error:
            before = () if kept is None else (_body(job, kept, targets),)
            try:
                again = Attempts.of(context, job.node.retry).again(error)
            except InvalidRetryPolicy as useless:
                again, error = None, useless
            if again is None:
                done = ended(job, error, has_returned=True)
                return done._replace(records=(*before, *done.records))
        else:
            goto = (*targets, *job.node.targets, *chosen)
            record: Record = (
                TaskRouted(scope, path, goto) if kept is None else TaskFinished(scope, path, kept, goto)
            )
            return Done(path, (record,))
        try:
            yield Note((*before, *again.records))
        except Exception as refused:
            # What the body returned cannot be written, so the task has failed.
            return ended(job, refused)
        yield Sleep(again.pause)
        kept = None
        context.attempt += 1
        # Tasks that a router called are found again where they were.
        context.calls = copy(calls)


def _body(job: Job, kept: tuple[Write, ...], targets: list[Target]) -> TaskFinished:
    """Return the record of a body that returned, for when its routers have not.

    A command's goto is part of what the body returned and must survive them, so it is kept as a write of its own.
    """
    if targets:
        kept = (*kept, (GOTO_WRITE, [list(t) if isinstance(t, tuple) else t for t in targets]))
    return TaskFinished(job.run.scope, job.path, kept, None)


def finished(job: Job, writes: list[Write], targets: list[Target]) -> Done:
    """Return the outcome of a body that returned, for a node without routers."""
    node, path = job.node, job.path
    kept, untracked = split_untracked(job.run.program, writes)
    goto = (*targets, *node.targets) if targets else node.targets
    return new(
        Done, (path, (new(TaskFinished, (job.run.scope, path, kept, goto, None)),), None, untracked, False)
    )


def finished_plainly(job: Job, update: dict[str, Any]) -> Done:
    """Do what ``writes_of`` and ``finished`` do of a dict, where the program has nothing to settle in it."""
    run, node, path = job.run, job.node, job.path
    writable = run.program.writable
    writes = tuple([write for write in update.items() if write[0] in writable])
    record = new(TaskFinished, (run.scope, path, writes, node.targets, None))
    return new(Done, (path, (record,), None, (), False))


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
