"""What came of a handed-over run whose process died between the run's end and the note of it.

It must not run anything: the thread's records say how the run ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.recover import recover
from ..wal.record import Failure
from . import clock
from .assignment import Carried, result_of
from .errors import DeadlineExceeded, RecordedError
from .reading import Reading

if TYPE_CHECKING:
    from ..wal.log import Log
    from ..wal.submission_layout import Submission
    from .settings import Compiled


def ended_before(log: Log, graph: Compiled, submission: Submission, how: str) -> None:
    """Note how a run ended, as its thread's records tell it.

    Args:
        log: The log.
        graph: The graph.
        submission: The run.
        how: How it ended.
    """
    reason, output, error = "", None, None
    if how == "superseded":
        reason = "another input took its place"
    else:
        snapshot = Reading(graph, {"configurable": {"thread_id": submission.thread}}).state()
        state, _ = recover(log, submission.thread, {"": graph.program.blueprint}.get, graph.program.registry)
        root = state.root()
        task = next((task.error for task in snapshot.tasks if task.error), "")
        reason = (root.reason if root is not None else None) or task
        output = _output(graph, snapshot.values)
        if how == "failed":
            is_late = state.deadline is not None and reason.startswith(f"{DeadlineExceeded.__name__}(")
            error = (
                DeadlineExceeded.of(submission.thread, state.deadline or 0)
                if is_late
                else RecordedError(Failure("", reason, "", ()))
            )
        if how == "interrupted":
            shown = output if isinstance(output, dict) and not graph.program.is_entrypoint else {}
            output = {**shown, "__interrupt__": list(snapshot.interrupts)}
    carried = Carried(submission.thread, submission.graph, how, submission.run, reason, output, error)
    result, problem = result_of(carried)
    log.submissions(write=True).end(
        submission.run, how, reason=reason or problem, result=result, now=clock.now()
    )


def _output(graph: Compiled, values: Any) -> Any:
    """Return what the caller of a run is given of a thread's values."""
    keys = graph.program.output.keys
    return {key: values[key] for key in keys if key in values} if isinstance(values, dict) else values
