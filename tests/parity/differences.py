"""Where the two libraries differ on purpose: each difference is a function with its reason, and there are no others.

    first_difference(theirs, ours)     compares event by event and field by field

    PARTINGS    from here on the thread goes different ways, so that nothing more of the story is compared
    EVENED      what is shown otherwise, but means the same: it is made equal before it is compared

Invariants:
1. A parting is recognised by what both libraries did, and ours must have done what is promised.
2. What is evened out is no more than what the function's docstring says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from langchain_core.messages import convert_to_messages
from parity.watching import Seen, Snapshot, Task

HISTORIES = False
FORGETFUL = ("any", "fleeting")
"""Keys of channels that hold their value for one step."""


class Difference(NamedTuple):
    """The first difference between two runs of a story."""

    event: int
    where: str
    theirs: Any
    ours: Any


def failed_routers_are_repeated(theirs: Seen, ours: Seen) -> bool:
    """C-4: LangGraph takes a node whose router failed for finished, and never routes; we repeat the routing alone."""
    return theirs.has_misrouted and ours.has_misrouted


def conflicts_do_not_poison(theirs: Seen, ours: Seen) -> bool:
    """A-11: after conflicting writes LangGraph's ``get_state`` raises; ours shows the rest. Both told the same.

    LangGraph tells of a conflict also when a sibling asks, with us the questions come first.
    """
    if not isinstance(theirs.state, Snapshot) and theirs.state[:2] == ("raised", "InvalidUpdateError"):
        return isinstance(ours.state, Snapshot)
    if (
        theirs.outcome[:2] != ("raised", "InvalidUpdateError")
        or "can receive only one" not in theirs.outcome[2].lower()
    ):
        return False
    return isinstance(ours.state, Snapshot) and (
        theirs.outcome == ours.outcome or bool(ours.state.interrupts)
    )


def answered_questions_are_not_open(theirs: Seen, ours: Seen) -> bool:
    """I-10: in LangGraph what was answered stays open if its task fails or stops afterwards; with us it does not.

    Nor does a task of LangGraph show what its subgraph asks now, if something else in the subgraph fails. What the call
    returned and showed must have been the same.
    """
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    if differs((theirs.outcome, theirs.chunks, theirs.ran), (ours.outcome, ours.chunks, ours.ran)):
        return False
    pairs = zip(theirs.state.tasks, ours.state.tasks, strict=False)
    return any(
        their.interrupts
        and our.result is None
        and (not our.interrupts or (their.error and their.interrupts != our.interrupts))
        for their, our in pairs
    )


def persistent_subgraphs_run_once_at_a_time(theirs: Seen, ours: Seen) -> bool:
    """§2.11: two tasks that run a ``checkpointer=True`` subgraph at once overwrite each other; we refuse."""
    return isinstance(ours.state, Snapshot) and any(
        task.error and "keeps its state (checkpointer=True)" in task.error for task in ours.state.tasks
    )


def looking_runs_no_user_code(theirs: Seen, ours: Seen) -> bool:
    """GS-6: LangGraph's ``get_state`` raises if a task's input does not fit its schema; ours shows the thread."""
    raised = not isinstance(theirs.state, Snapshot) and theirs.state[1] == "ValidationError"
    return raised and isinstance(ours.state, Snapshot) and theirs.outcome == ours.outcome


def siblings_of_failures_are_recorded(theirs: Seen, ours: Seen) -> bool:
    """C-2: what ends after a sibling failed is lost in LangGraph, and runs again; with us it is recorded."""
    if theirs.outcome[0] != "raised" or not isinstance(theirs.state, Snapshot):
        return False
    pairs = zip(theirs.state.tasks, ours.state.tasks, strict=False)
    return any(
        their.result is None
        and not their.interrupts
        and (their.error is None or their.error.startswith("CancelledError"))
        and (our.result is not None or our.interrupts or our.error)
        for their, our in pairs
    )


def finished_runs_are_no_recursion_errors(theirs: Seen, ours: Seen) -> bool:
    """RL-1: LangGraph raises if a run has taken as many steps as it may, even if nothing is left to do."""
    return (
        theirs.outcome[:2] == ("raised", "GraphRecursionError")
        and ours.outcome[0] == "returned"
        and ours.state.next == ()
        and theirs.ran == ours.ran
        and theirs.chunks == ours.chunks
    )


def failed_tasks_show_no_update(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """LangGraph shows an empty update of a task that failed after it was given an answer."""
    if ours.outcome[0] == "raised" and isinstance(ours.state, Snapshot):
        failed = {task.name for task in ours.state.tasks if task.error}
        chunks = tuple(
            chunk
            for chunk in theirs.chunks
            if not (chunk[-2] == "updates" and any(chunk[-1] == {name: None} for name in failed))
        )
        theirs = theirs._replace(chunks=chunks)
    return theirs, ours


def any_of_several_errors_is_raised(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """If several tasks of a step fail, LangGraph raises what failed first, we what comes first in the step."""
    if theirs.outcome[0] == ours.outcome[0] == "raised" and isinstance(ours.state, Snapshot):
        errors = [task.error for task in ours.state.tasks if task.error]
        if len(errors) > 1 and any(theirs.outcome[2] in error for error in errors):
            theirs = theirs._replace(outcome=ours.outcome)
    return theirs, ours


def past_errors_are_not_shown(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """C-1: LangGraph shows the error of an earlier attempt also of a task that has finished, or that asks, since."""

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot):
            return their
        if len(their.tasks) != len(our.tasks):
            return their
        return their._replace(tasks=tuple(map(task, their.tasks, our.tasks)))

    def task(their: Task, our: Task) -> Task:
        if their.interrupts and not our.interrupts and our.result is not None:
            their = their._replace(interrupts=())
        is_past = our.error is None and (
            theirs.outcome[0] == "returned" or theirs.outcome[-1] not in (their.error or "")
        )
        return their._replace(error=None) if is_past else their

    return _in_snapshots(evened, theirs, ours)


def open_steps_keep_fleeting_values(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """GS-1: LangGraph shows nothing in forgetful channels once a task of the step has ended or was given up."""

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot) or not our.tasks:
            return their
        kept = {key: our.values[key] for key in FORGETFUL if key in our.values and key not in their.values}
        return their._replace(values={**their.values, **kept})

    return _in_snapshots(evened, theirs, ours)


def messages_are_made_at_once(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """A message gets its class and id before it is recorded, so streams and results show it as the state will."""
    return _with_messages(theirs), ours


def _with_messages(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: [_message(item) for item in held]
                if key == "messages" and isinstance(held, list)
                else _with_messages(held)
                for key, held in value.items()
            }
        case tuple() if hasattr(value, "_fields"):
            return type(value)(*(_with_messages(item) for item in value))
        case list() | tuple():
            return type(value)(_with_messages(item) for item in value)
    return value


def _message(value: Any) -> Any:
    if isinstance(value, dict):
        message = convert_to_messages([value])[0]
        return (type(message).__name__, message.model_dump())
    return value


def fleeting_values_are_gone_when_the_run_ends(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """LangGraph returns what it showed last, which is older than the state if the last step wrote nothing shown."""
    if theirs.outcome[0] == ours.outcome[0] == "returned" and isinstance(theirs.outcome[1], dict):
        kept = {
            key: value
            for key, value in theirs.outcome[1].items()
            if key not in FORGETFUL or (ours.outcome[1] and key in ours.outcome[1])
        }
        theirs = theirs._replace(outcome=("returned", kept))
    return theirs, ours


def _no_questions(found: Any) -> Any:
    if not isinstance(found, tuple) or isinstance(found, Snapshot):
        return found
    return tuple(
        item._replace(
            interrupts=(), tasks=tuple(task._replace(interrupts=(), error=None) for task in item.tasks)
        )
        if isinstance(item, Snapshot)
        else item
        for item in found
    )


def past(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Not compared yet: questions and errors of older checkpoints."""
    return theirs._replace(history=_no_questions(theirs.history)), ours._replace(
        history=_no_questions(ours.history)
    )


def _in_snapshots(evened: Callable[[Any, Any], Any], theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Even out the live state and each checkpoint of the history."""
    history = theirs.history
    if isinstance(history, tuple) and len(history) == len(ours.history):
        history = tuple(map(evened, history, ours.history))
    return theirs._replace(state=evened(theirs.state, ours.state), history=history), ours


PARTINGS: tuple[Callable[[Seen, Seen], bool], ...] = (
    failed_routers_are_repeated,
    conflicts_do_not_poison,
    persistent_subgraphs_run_once_at_a_time,
    looking_runs_no_user_code,
    siblings_of_failures_are_recorded,
    answered_questions_are_not_open,
    finished_runs_are_no_recursion_errors,
)
EVENED: tuple[Callable[[Seen, Seen], tuple[Seen, Seen]], ...] = (
    failed_tasks_show_no_update,
    any_of_several_errors_is_raised,
    fleeting_values_are_gone_when_the_run_ends,
    past,
    past_errors_are_not_shown,
    open_steps_keep_fleeting_values,
    messages_are_made_at_once,
)


def first_difference(theirs: list[Seen], ours: list[Seen]) -> Difference | None:
    """Return the first difference that is not one on purpose, or None."""
    for number, pair in enumerate(zip(theirs, ours, strict=False)):
        their, our = pair
        for even in EVENED:
            their, our = even(their, our)
        if any(parting(their, our) for parting in PARTINGS):
            return None
        found = differs(their, our)
        if found is not None:
            return Difference(number, *found)
    if len(theirs) != len(ours):
        return Difference(min(len(theirs), len(ours)), "length", len(theirs), len(ours))
    return None


def differs(theirs: Any, ours: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """Return where two pieces of plain data differ first, and how."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if set(theirs) != set(ours):
            return f"{where}: keys", theirs, ours
        pairs = [(f"{where}[{key!r}]", theirs[key], ours[key]) for key in theirs]
    elif isinstance(theirs, list | tuple) and type(theirs) is type(ours):
        if len(theirs) != len(ours):
            return f"{where}: length", theirs, ours
        names = getattr(theirs, "_fields", None)
        pairs = [
            (f"{where}.{names[index]}" if names else f"{where}[{index}]", their, our)
            for index, (their, our) in enumerate(zip(theirs, ours, strict=True))
        ]
    else:
        return None if type(theirs) is type(ours) and theirs == ours else (where, theirs, ours)
    return next((found for place, their, our in pairs if (found := differs(their, our, place))), None)
