"""Where the two libraries differ on purpose: each difference is a function with its reason, and there are no others.

    first_difference(theirs, ours)     compares event by event and field by field

    PARTINGS    from here on the thread goes different ways: what is still equal of this call is compared, by the names
                of the fields, and nothing more of the story
    EVENED      what is shown otherwise, but means the same: it is made equal before it is compared

Invariants:
1. A parting is recognised by what both libraries did, and ours must have done what is promised.
2. What is evened out is no more than what the function's docstring says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from langchain_core.messages import convert_to_messages
from parity.comparing import differs
from parity.watching import Seen, Snapshot, Task

FORGETFUL = ("any", "fleeting")
"""Keys of channels that hold their value for one step."""
TOLD: Counter[str] = Counter()
"""How often each difference on purpose was met."""


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
        their.interrupts != our.interrupts and our.result is None and (their.error or not our.interrupts)
        for their, our in pairs
    )


def looking_runs_no_user_code(theirs: Seen, ours: Seen) -> bool:
    """GS-6: LangGraph's ``get_state`` raises if a task's input does not fit its schema; ours shows the thread."""
    raised = not isinstance(theirs.state, Snapshot) and theirs.state[1] == "ValidationError"
    return raised and isinstance(ours.state, Snapshot) and theirs.outcome == ours.outcome


def siblings_of_failures_are_recorded(theirs: Seen, ours: Seen) -> bool:
    """C-2: what ends after a sibling failed is lost in LangGraph, and runs again; with us it is recorded.

    If several fail at the same time, it depends on their order what LangGraph records and shows.
    """
    if theirs.outcome[0] != "raised" or not isinstance(theirs.state, Snapshot):
        return False
    if sum(task.error is not None for task in ours.state.tasks) > 1:
        return (
            differs((theirs.chunks, theirs.ran, theirs.state), (ours.chunks, ours.ran, ours.state))
            is not None
        )
    if theirs.chunks != ours.chunks and not _repeated(theirs.chunks) - _repeated(ours.chunks):
        # A sibling was cut off in LangGraph, and maybe neither library has come to its end.
        return any(not (task.result or task.error or task.interrupts) for task in theirs.state.tasks)
    pairs = zip(theirs.state.tasks, ours.state.tasks, strict=False)
    return any(
        their.result is None
        and not their.interrupts
        and (their.error is None or their.error.startswith("CancelledError"))
        and (our.result is not None or our.interrupts or our.error)
        for their, our in pairs
    )


def _repeated(items: Iterable[Any]) -> Counter[str]:
    """Return how often there is each of what cannot be hashed."""
    return Counter(map(repr, items))


def finished_runs_are_no_recursion_errors(theirs: Seen, ours: Seen) -> bool:
    """RL-1: LangGraph raises if a run has taken as many steps as it may, even if nothing is left to do."""
    return (
        theirs.outcome[:2] == ("raised", "GraphRecursionError")
        and ours.outcome[0] == "returned"
        and ours.state.next == ()
        and theirs.ran == ours.ran
        and theirs.chunks == ours.chunks
    )


def commands_stay_due(theirs: Seen, ours: Seen) -> bool:
    """N-4: what a goto made due, and asks, is neither shown nor resumed in LangGraph if nothing else was due."""
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    return _is_steered(theirs.state) and len(theirs.state.tasks) < len(ours.state.tasks)


def edits_keep_what_commands_wrote(theirs: Seen, ours: Seen) -> bool:
    """N-4: on a thread with nothing due LangGraph loses what a command wrote as soon as the state is edited."""
    if not theirs.did.startswith(("edit", "rewrite")) or theirs.outcome != ours.outcome:
        return False
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    lost = _commands(ours.state) - _commands(theirs.state)
    return lost > 0


def edits_take_the_place_of_all_that_was_due(theirs: Seen, ours: Seen) -> bool:
    """U-3: an edit takes the place of all that was due; in LangGraph what joins or deferral made due stays."""
    if not theirs.did.startswith(("edit", "rewrite")) or theirs.outcome != ours.outcome:
        return False
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    return (
        set(theirs.state.next) - set(ours.state.next) <= set(theirs.lasting)
        and differs(theirs.state._replace(next=(), tasks=()), ours.state._replace(next=(), tasks=())) is None
        and len(theirs.state.next) > len(ours.state.next)
    )


def heads_are_resumed(theirs: Seen, ours: Seen) -> bool:
    """TT-3: None at the id of the newest checkpoint goes on; LangGraph forks it, and repeats what had ended."""
    if theirs.did != "travel 0" or not isinstance(theirs.history, tuple):
        return False
    new = [item.source for item in theirs.history[: len(theirs.history) - len(ours.history)]]
    return new == ["fork"] or bool(new and theirs.ran != ours.ran)


def answers_are_used_once(theirs: Seen, ours: Seen) -> bool:
    """I-10: in LangGraph an answer that was given before can answer the next question of a run without answers."""
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    if theirs.did.startswith(("answer", "input", "branch", "edit", "rewrite")):
        return False
    left = _repeated(ours.state.interrupts) - _repeated(theirs.state.interrupts)
    return bool(left) and not _is_steered(theirs.state)


def gotos_return_open_questions(theirs: Seen, ours: Seen) -> bool:
    """I-18: LangGraph leaves out of a goto's result what a node goes on asking that was given one answer before."""
    if not theirs.did.startswith("goto") or not isinstance(theirs.state, Snapshot):
        return False
    (how, given), (_, our) = theirs.outcome[:2], ours.outcome[:2]
    if how != "returned" or not isinstance(given, dict) or not isinstance(our, dict):
        return False
    asked = our.get("__interrupt__", [])
    return bool(asked) and "__interrupt__" not in given and list(theirs.state.interrupts) == asked


def gotos_do_not_put_off(theirs: Seen, ours: Seen) -> bool:
    """A-7: after a goto to a deferred node that is due already LangGraph ends, and the node stays due."""
    name = theirs.did.removeprefix("goto ")
    return name != theirs.did and not theirs.ran and name in {ran.partition("(")[0] for ran in ours.ran}


def exit_keeps_what_subgraphs_did(theirs: Seen, ours: Seen) -> bool:
    """D-8: under ``exit`` LangGraph may forget what a subgraph had done when the run failed."""
    if theirs.durability != "exit" or theirs.did.startswith(("input", "branch")):
        return False
    return theirs.ran != ours.ran and _outer(theirs) == _outer(ours)


def _outer(seen: Seen) -> list[str]:
    """Return what ran in the graph, but not in its subgraphs: their nodes have longer names."""
    return [ran for ran in seen.ran if "_" not in ran.partition("(")[0]]


def finished_heads_are_not_forked(theirs: Seen, ours: Seen) -> bool:
    """TT-3: None at the id of the newest checkpoint does nothing if nothing is due; LangGraph adds an equal one."""
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    return (
        theirs.did == "travel 0" and not ours.ran and theirs.state.source == "fork" and not ours.state.tasks
    )


def _is_steered(found: Snapshot) -> bool:
    return "steered" in (_plain_values(found).get("trace") or ())


def _commands(found: Snapshot) -> int:
    trace = _plain_values(found).get("trace") or ()
    return sum(entry in {"steered", "updated"} for entry in trace)


def _plain_values(found: Snapshot) -> dict[str, Any]:
    """Return the values of a checkpoint by key."""
    return found.values if isinstance(found.values, dict) else {}


def commands_show_what_they_made_due(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """N-4: a checkpoint that a goto continued has the goto's values in LangGraph, but not the tasks it led to."""

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot) or not _is_steered(their):
            return their
        names = [task.name for task in their.tasks]
        kept = iter(task.name for task in our.tasks)
        if len(names) < len(our.tasks) and all(name in kept for name in names):
            return their._replace(tasks=our.tasks, next=our.next, interrupts=our.interrupts)
        return their

    return _in_history(evened, theirs, ours)


def edits_take_the_place_of_results(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """U-7: an edit is shown as its task's result; LangGraph mixes it with what the task had written before."""

    def task(their: Task, our: Task) -> Task:
        is_edit = isinstance(our.result, dict) and our.result.get("trace") == ["edited"]
        return their._replace(result=our.result) if is_edit and their.result is not None else their

    return _in_history(_tasks(task), theirs, ours)


def all_questions_are_on_record(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """GS-2: of a task's questions, one after another, LangGraph's history shows the last; ours shows all."""

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot):
            return their
        their = _tasks(task)(their, our)
        asked = [item for task in their.tasks for item in task.interrupts]
        return their._replace(interrupts=tuple(sorted(asked, key=repr)))

    def task(their: Task, our: Task) -> Task:
        if their.interrupts and all(item in our.interrupts for item in their.interrupts):
            return their._replace(interrupts=our.interrupts)
        return their

    return _in_history(evened, theirs, ours)


def _tasks(evened: Callable[[Task, Task], Task]) -> Callable[[Any, Any], Any]:
    """Return what evens out the tasks of a checkpoint, one by one."""

    def snapshot(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot):
            return their
        if len(their.tasks) != len(our.tasks):
            return their
        return their._replace(tasks=tuple(map(evened, their.tasks, our.tasks)))

    return snapshot


def failed_tasks_show_no_update(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """LangGraph shows an empty update of a task that failed after it was given an answer, also in a subgraph."""
    if ours.outcome[0] == "raised" and isinstance(ours.state, Snapshot):
        failed = {task.name for task in ours.state.tasks if task.error}
        shown = _repeated(ours.chunks)
        chunks = []
        for chunk in theirs.chunks:
            shown[repr(chunk)] -= 1
            is_empty = chunk[-2] == "updates" and list(chunk[-1].values()) == [None]
            is_failed = is_empty and (
                (bool(chunk[0]) and len(chunk) == 3) or not failed.isdisjoint(chunk[-1])
            )
            if not is_failed or shown[repr(chunk)] >= 0:
                chunks.append(chunk)
        theirs = theirs._replace(chunks=tuple(chunks))
    return theirs, ours


def waiting_tasks_do_not_run_again(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """I-6: a run without answers repeats all tasks that wait for one in LangGraph, and none with us."""
    if not isinstance(ours.state, Snapshot) or not ours.state.interrupts or theirs.did.startswith("answer"):
        return theirs, ours
    if not isinstance(theirs.state, Snapshot) or (
        len(theirs.state.tasks) == len(ours.state.tasks) and theirs.state.interrupts != ours.state.interrupts
    ):
        return theirs, ours
    asking = {task.name for task in ours.state.tasks if task.interrupts}
    again = Counter(theirs.ran) - Counter(ours.ran)
    names = [ran.partition("(")[0] for ran in again.elements()]
    # A subgraph's names begin with that of the node that runs it.
    if not all(name in asking or any(name.startswith(f"{task}_") for task in asking) for name in names):
        return theirs, ours
    chunks = list(theirs.chunks)
    for name in names:
        said = next((chunk for chunk in chunks if chunk[-2:] == ("custom", f"{name} runs")), None)
        if said is not None:
            chunks.remove(said)
    ran = tuple(sorted((Counter(theirs.ran) - again).elements()))
    return theirs._replace(ran=ran, chunks=tuple(chunks)), ours


def any_of_several_errors_is_raised(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """If several tasks of a step fail, LangGraph raises what failed first, we what comes first in the step."""
    if theirs.outcome[0] == ours.outcome[0] == "raised" and isinstance(ours.state, Snapshot):
        errors = [task.error for task in ours.state.tasks if task.error]
        if len(errors) > 1 and any(theirs.outcome[2] in error for error in errors):
            theirs = theirs._replace(outcome=ours.outcome)
    return theirs, ours


def past_errors_are_not_shown(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """C-1: LangGraph shows the error of an earlier attempt also of a task that has finished, or that asks, since."""

    def task(their: Task, our: Task) -> Task:
        is_past = our.error is None and (
            theirs.outcome[0] == "returned" or theirs.outcome[-1] not in (their.error or "")
        )
        return their._replace(error=None) if is_past else their

    return _in_snapshots(_tasks(task), theirs, ours)


def exit_keeps_the_states_of_subgraphs(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """D-8: under ``exit`` LangGraph may have stored an older state of a subgraph, or none."""
    if theirs.durability != "exit":
        return theirs, ours

    def task(their: Task, our: Task) -> Task:
        return their._replace(state=our.state) if isinstance(our.state, Snapshot) else their

    return theirs._replace(state=_tasks(task)(theirs.state, ours.state)), ours


def answered_questions_are_over(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """I-10: LangGraph shows what a task asked also once it was answered and the task has finished."""

    def task(their: Task, our: Task) -> Task:
        return their if our.interrupts or our.result is None else their._replace(interrupts=())

    return _in_state(_tasks(task), theirs, ours)


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
                key: _messages(held) if key == "messages" else _with_messages(held)
                for key, held in value.items()
            }
        case tuple() if hasattr(value, "_fields"):
            return type(value)(*(_with_messages(item) for item in value))
        case list() | tuple():
            return type(value)(_with_messages(item) for item in value)
    return value


def _messages(held: Any) -> Any:
    """Return what a key of messages holds, or the several writes to it."""
    if isinstance(held, dict):
        return {key: [_messages(write) for write in writes] for key, writes in held.items()}
    return [_message(item) for item in held] if isinstance(held, list) else held


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


def _in_history(evened: Callable[[Any, Any], Any], theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Even out each checkpoint of the history."""
    history = theirs.history
    if isinstance(history, tuple) and len(history) == len(ours.history):
        history = tuple(map(evened, history, ours.history))
    return theirs._replace(history=history), ours


def _in_snapshots(evened: Callable[[Any, Any], Any], theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Even out the live state and each checkpoint of the history."""
    theirs, ours = _in_history(evened, theirs, ours)
    return _in_state(evened, theirs, ours)


def _in_state(evened: Callable[[Any, Any], Any], theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Even out the live state, and those of subgraphs in it."""

    def deep(their: Any, our: Any) -> Any:
        their = evened(their, our)
        return _tasks(lambda each, other: each._replace(state=deep(each.state, other.state)))(their, our)

    return theirs._replace(state=deep(theirs.state, ours.state)), ours


CALL = ("outcome", "chunks", "ran")
"""The fields that say what a call did, without how the thread is shown after it."""
PARTINGS: dict[Callable[[Seen, Seen], bool], tuple[str, ...]] = {
    failed_routers_are_repeated: ("outcome",),
    conflicts_do_not_poison: (),
    looking_runs_no_user_code: ("outcome",),
    siblings_of_failures_are_recorded: ("outcome",),
    answered_questions_are_not_open: CALL,
    finished_runs_are_no_recursion_errors: ("chunks", "ran"),
    commands_stay_due: CALL,
    edits_keep_what_commands_wrote: CALL,
    edits_take_the_place_of_all_that_was_due: CALL,
    exit_keeps_what_subgraphs_did: (),
    finished_heads_are_not_forked: CALL,
    heads_are_resumed: ("outcome",),
    answers_are_used_once: (),
    gotos_return_open_questions: ("ran",),
    gotos_do_not_put_off: (),
}
EVENED: tuple[Callable[[Seen, Seen], tuple[Seen, Seen]], ...] = (
    failed_tasks_show_no_update,
    waiting_tasks_do_not_run_again,
    any_of_several_errors_is_raised,
    fleeting_values_are_gone_when_the_run_ends,
    commands_show_what_they_made_due,
    edits_take_the_place_of_results,
    all_questions_are_on_record,
    exit_keeps_the_states_of_subgraphs,
    answered_questions_are_over,
    past_errors_are_not_shown,
    open_steps_keep_fleeting_values,
    messages_are_made_at_once,
)


def first_difference(theirs: list[Seen], ours: list[Seen]) -> Difference | None:
    """Return the first difference that is not one on purpose, or None."""
    for number, pair in enumerate(zip(theirs, ours, strict=False)):
        their, our = pair
        for even in EVENED:
            evened = even(their, our)
            TOLD[even.__name__] += evened != (their, our)
            their, our = evened
        part = next((part for part in PARTINGS if part(their, our)), None)
        if part is not None:
            TOLD[part.__name__] += 1
            their, our = (tuple(getattr(seen, field) for field in PARTINGS[part]) for seen in (their, our))
        found = differs(their, our)
        if found is not None:
            return Difference(number, *found)
        if part is not None:
            return None
    if len(theirs) != len(ours):
        return Difference(min(len(theirs), len(ours)), "length", len(theirs), len(ours))
    return None
