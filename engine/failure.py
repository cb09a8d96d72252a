"""What is recorded and told of an exception that user code raised.

    exception ── failure_of ──► Failure: text, for people, in every TaskFailed and AttemptFailed
              ── packed ──────► bytes: the exception itself, for an error handler after a crash
              ── add_notes ───► the exception, as the caller sees it: where it happened, what is safe, how to go on

Invariants:
1. An exception of user code keeps its type and is never wrapped; it gains notes.
2. Recording a failure never fails: an exception that cannot be written is kept as text.

It must not decide what follows from a failure.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from typing import TYPE_CHECKING, Any

from ..wal.codec import Decoder, Encoder, Registry
from ..wal.errors import ValueProblem
from ..wal.record import Failure, TaskFailed, TaskInterrupted
from .effect import Done
from .errors import GraphInterrupt, NodeCancelledError, OutcomeUnknown, RecordedError
from .failed_calls import given_up, settled_by
from .job import Job, before
from .response import refused_question

if TYPE_CHECKING:
    from ..replay.state import Outcome
    from .context import TaskContext
    from .run import Run

PLACES = ("During task with name", "Before task with name")
"""How the note begins that says in which task an exception was raised: in its body, or while its input was made."""
TRACEBACK_FRAMES = 16
"""How many of the innermost frames a recorded failure keeps."""


def self_cancelled(error: BaseException, name: str) -> BaseException:
    """Return what a body raised while nobody cancelled its run: a cancellation is then a failure (CN-2)."""
    if not isinstance(error, asyncio.CancelledError):
        return error
    failure = NodeCancelledError(name)
    failure.__cause__ = error
    return failure


def handed_over(record: TaskFailed, handler: str, error: BaseException) -> TaskFailed:
    """Return the record of a failure that an error handler takes over."""
    return record._replace(handler=handler, error=packed(error))


def packed(error: BaseException) -> bytes:
    """Return an exception as the log can hold it; empty where it is large or holds what cannot be written."""
    try:
        value = Encoder().value(error)
    except ValueProblem:
        return b""
    return b"" if value.blobs else value.data


class _Loaded(Registry):
    """A registry that also knows the exceptions of the modules that this process has imported.

    Code that catches an exception has imported its class, and making one does not run its ``__init__``. Nothing is
    imported because data names it.
    """

    __slots__ = ()

    def find(self, name: str) -> type | None:
        """Return the class of that name, or None when nobody registered one and no loaded exception is called so."""
        found = super().find(name)
        if found is not None:
            return found
        module, _, qualname = name.partition(":")
        held: Any = sys.modules.get(module)
        for part in qualname.split("."):
            held = getattr(held, part, None)
        return held if isinstance(held, type) and issubclass(held, Exception) else None


def unpacked(data: bytes, failure: Failure, registry: Registry) -> BaseException:
    """Return a recorded exception: as it was if it could be written and its class is known here, else its text."""
    try:
        error = Decoder(_Loaded(registry)).value(data) if data else None
    except Exception:
        error = None
    return error if isinstance(error, BaseException) else RecordedError(failure)


def add_notes(
    run: Run,
    context: TaskContext[Run],
    error: BaseException,
    *,
    has_returned: bool = False,
    handler: str | None = None,
) -> None:
    """Say on a user's exception where it happened, what is safe, and how to go on.

    Args:
        run: The run.
        context: The task.
        error: The exception.
        has_returned: Whether the task's body returned, so that only its routers are to be asked again.
        handler: The node that runs in the task's place now, if it has an error handler.
    """
    notes, prepared = getattr(error, "__notes__", ()), before(context.name, context.path)
    if any(note.startswith(PLACES) and note != prepared for note in notes):
        # What was raised further in says where.
        return
    if prepared not in notes:
        error.add_note(f"{PLACES[0]} '{context.name}' and id '{context.id}'")
    if handler is not None:
        error.add_note(f"it has failed for good, and {handler!r} runs in its place")
    elif run.recorder.writer is not None:
        tries = f", attempt {context.attempt}" if context.attempt > 1 else ""
        safe, again = (
            ("what its body returned is recorded", "asks its routers again")
            if has_returned
            else ("it has no outcome yet; what it called by @task is kept", "runs this task again")
        )
        if isinstance(error, OutcomeUnknown):
            safe, again = "nobody knows what became of it", "asks again what did, and does not begin it"
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


def ended(job: Job, error: BaseException, *, has_returned: bool = False) -> Done:
    """Return the outcome of a node's task that raised: if it failed and has an error handler, that takes over."""
    handler = job.node.handler
    done = ended_by(error, job.run, job.context, job.outcome, has_returned=has_returned, handler=handler)
    if handler is None or not done.records or not isinstance(record := done.records[-1], TaskFailed):
        return done
    return done._replace(records=(handed_over(record, handler, error),))


def ended_by(
    error: BaseException,
    run: Run,
    context: TaskContext[Run],
    outcome: Outcome | None,
    *,
    has_returned: bool = False,
    handler: str | None = None,
) -> Done:
    """Return the outcome of a task whose body raised."""
    path = context.path
    if isinstance(error, GraphInterrupt):
        known = {question.id for question in outcome.questions} if outcome is not None else set()
        questions = tuple(question for question in context.asked if question.id not in known)
        # Who asks after a call has failed went on.
        went_on = settled_by(context, context.failures) if context.asked and context.failures else ()
        return Done(path, (*went_on, TaskInterrupted(run.scope, path, questions)), error)
    if (refused := refused_question(error)) is not None:
        # The answer was at fault and not the task: it asks again, or waits for what asks in it.
        task, question = refused
        held = outcome is not None and any(question.id == known.id for known in outcome.questions)
        asked = (question,) if task == context.id or held else ()
        return Done(path, (TaskInterrupted(run.scope, path, asked, None, repr(error)),), error)
    if isinstance(error, Exception):
        add_notes(run, context, error, has_returned=has_returned, handler=handler)
        failed = TaskFailed(run.scope, path, failure_of(error), context.attempt)
        return Done(path, (*given_up(context, error), failed), error)
    # Drained, cancelled or aborted: nothing can be said of the task, so it is simply not finished.
    return Done(path, (), error)
