"""What is shown otherwise by LangGraph, but means the same: it is made equal before it is compared.

    EVENED    each takes what both libraries showed of a call, and returns both

Invariants:
1. What is evened out is no more than what the function's docstring says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from parity.building import OUTPUT, PRIVATE
from parity.evened_messages import (
    messages_are_made_at_once,
    messages_in_pairs_are_messages,
    metadata_are_the_tasks_own,
    what_tasks_were_given_is_not_shown_again,
)
from parity.looking import is_steered, repeated, rival_errors
from parity.showing import Chunk, Ended, Snapshot, Started, Task
from parity.watching import Seen

FORGETFUL = ("any", "fleeting")
"""Keys of channels that hold their value for one step."""


def commands_show_what_they_made_due(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """N-4: a checkpoint that a goto continued has the goto's values in LangGraph, but not the tasks it led to."""

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot) or not is_steered(their):
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
        if their.about is not None:
            # A stream shows what its tasks asked, and nothing besides.
            return their
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
        shown = repeated(ours.chunks)
        chunks = []
        for chunk in theirs.chunks:
            shown[repr(chunk)] -= 1
            is_empty = chunk.mode == "updates" and list(chunk.shown.values()) == [None]
            is_failed = is_empty and (bool(chunk.namespace) or not failed.isdisjoint(chunk.shown))
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

    def waits(name: str) -> bool:
        # A subgraph's names begin with that of the node that runs it.
        return name in asking or any(name.startswith(f"{task}_") for task in asking)

    again = Counter(theirs.ran) - Counter(ours.ran)
    names = [ran.partition("(")[0] for ran in again.elements()]
    if not all(map(waits, names)):
        return theirs, ours
    more = repeated(theirs.chunks) - repeated(ours.chunks)
    chunks = []
    for chunk in theirs.chunks:
        is_said = chunk.mode == "custom" and chunk.shown.removesuffix(" runs") in names
        is_task = isinstance(chunk.shown, Started | Ended) and waits(chunk.shown.name)
        if (is_said or is_task) and more[repr(chunk)] > 0:
            more[repr(chunk)] -= 1
        else:
            chunks.append(chunk)
    ran = tuple(sorted((Counter(theirs.ran) - again).elements()))
    return theirs._replace(ran=ran, chunks=tuple(chunks)), ours


def all_that_ended_is_shown(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """C-2: what tasks of a step show that has failed is shown; LangGraph may raise before it has shown all of it.

    Of the tasks themselves that is how they ended, what they wrote and what they asked; of a subgraph, all of it.
    """
    if not theirs.outcome[0] == ours.outcome[0] == "raised" or not isinstance(ours.state, Snapshot):
        return theirs, ours
    more = repeated(ours.chunks) - repeated(theirs.chunks)
    names = {task.name for task in ours.state.tasks}
    if repeated(theirs.chunks) - repeated(ours.chunks) or not any(task.error for task in ours.state.tasks):
        return theirs, ours

    def is_of_the_step(chunk: Chunk) -> bool:
        if chunk.namespace:
            return chunk.namespace[0].partition(":")[0] in names
        match chunk.mode, chunk.shown:
            case "tasks" | "debug", Ended(name=name):
                return name in names
            case "updates" | "values", {"__interrupt__": _}:
                return True
            case "updates", dict() as shown:
                return names >= shown.keys() - {"__metadata__"}
            case "messages", (_, about):
                return about["langgraph_node"] in names
        return False

    if all(is_of_the_step(chunk) for chunk in ours.chunks if more[repr(chunk)]):
        theirs = theirs._replace(chunks=ours.chunks)
    return theirs, ours


def any_of_several_errors_is_raised(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """If several tasks of a step fail, LangGraph raises what failed first, we what comes first in the step.

    If it is a subgraph's step, the task that runs the subgraph fails with it.
    """
    if theirs.outcome[0] != "raised" or ours.outcome[0] != "raised":
        return theirs, ours
    rivals = rival_errors(ours.state)
    if any(theirs.outcome[2] in error for error in rivals) and any(
        ours.outcome[2] in error for error in rivals
    ):
        theirs = theirs._replace(outcome=ours.outcome)

    def task(their: Task, our: Task) -> Task:
        return their._replace(error=our.error) if {their.error, our.error} <= rivals else their

    return _in_snapshots(_tasks(task), theirs, ours)


def past_errors_are_not_shown(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """C-1: LangGraph shows the error of an earlier attempt also of a task that has finished, or that asks, since.

    Its streams show such a task with the error in place of its result and its questions.
    """

    def is_past(their: Task, our: Task) -> bool:
        said = (their.error or "").partition("(")[2].lstrip("'\"")
        is_new = theirs.outcome[0] == "raised" and said.startswith(theirs.outcome[-1][: len(said)])
        return our.error is None and not (said and is_new)

    def task(their: Task, our: Task) -> Task:
        return their._replace(error=None) if is_past(their, our) else their

    def streamed(their: Task, our: Task) -> Task:
        if not their.error or not is_past(their, our):
            return their
        return their._replace(error=None, interrupts=our.interrupts, result=our.result)

    theirs, ours = _in_chunks(_tasks(streamed), theirs, ours)
    return _in_snapshots(_tasks(task), theirs, ours)


def exit_keeps_the_states_of_subgraphs(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """D-8: under ``exit`` LangGraph may have stored an older step of a subgraph, or none; the same step is the same."""
    if theirs.durability != "exit":
        return theirs, ours

    def task(their: Task, our: Task) -> Task:
        if not isinstance(our.state, Snapshot) or not isinstance(their.state, Snapshot):
            return their
        is_older = their.state.step is None or (
            our.state.step is not None and their.state.step < our.state.step
        )
        return their._replace(state=our.state if is_older else deep(their.state, our.state))

    deep = _tasks(task)
    return theirs._replace(state=deep(theirs.state, ours.state)), ours


def answered_questions_are_over(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """I-10: LangGraph shows what a task asked also once it was answered and the task has finished."""

    def task(their: Task, our: Task) -> Task:
        return their if our.interrupts or our.result is None else their._replace(interrupts=())

    return _in_state(_tasks(task), *_in_chunks(_tasks(task), theirs, ours))


def open_steps_keep_fleeting_values(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """GS-1: LangGraph shows nothing in forgetful channels once a task of the step has ended or was given up.

    Nor in what a run shows first that goes back to where tasks were given up.
    """

    def filled(their: Any, our: Any) -> Any:
        kept = {key: our[key] for key in FORGETFUL if key in our and key not in their}
        return {**their, **kept}

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot) or not our.tasks:
            return their
        return their._replace(values=filled(their.values, our.values))

    theirs, ours = _in_snapshots(evened, theirs, ours)
    if theirs.did.startswith("travel") and theirs.chunks and ours.chunks:
        first, our_first = theirs.chunks[0], ours.chunks[0]
        if first[:2] == our_first[:2] == ((), "values"):
            first = first._replace(shown=filled(first.shown, our_first.shown))
            theirs = theirs._replace(chunks=(first, *theirs.chunks[1:]))
    return theirs, ours


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


def _in_chunks(evened: Callable[[Any, Any], Any], theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Even out each checkpoint that a stream shows."""
    chunks = theirs.chunks
    if len(chunks) == len(ours.chunks):
        chunks = tuple(
            their._replace(shown=evened(their.shown, our.shown))
            for their, our in zip(chunks, ours.chunks, strict=True)
        )
    return theirs._replace(chunks=chunks), ours


def _in_history(evened: Callable[[Any, Any], Any], theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Even out each checkpoint of the history, and those that a stream shows."""
    history = theirs.history
    if isinstance(history, tuple) and len(history) == len(ours.history):
        history = tuple(map(evened, history, ours.history))
    return _in_chunks(evened, theirs._replace(history=history), ours)


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


def exit_shows_no_parents(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """D-8: under ``exit`` LangGraph's stream names a parent that the thread's history does not; ours names none."""

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot):
            return their
        place, *others = their.about
        return their._replace(about=({**place, "parent_config": our.about[0]["parent_config"]}, *others))

    return _in_chunks(evened, theirs, ours) if theirs.durability == "exit" else (theirs, ours)


def tasks_are_listed_by_name(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """P-3: a run that goes on from an edit or a fork shows its tasks as their nodes were added in LangGraph.

    With us every run shows them by name, as LangGraph does after each step of its own.
    """

    def evened(their: Any, our: Any) -> Any:
        if not isinstance(their, Snapshot) or not isinstance(our, Snapshot):
            return their
        if their.source not in {"fork", "update"} or Counter(their.next) != Counter(our.next):
            return their
        if [task.name for task in our.tasks] != sorted(task.name for task in their.tasks):
            return their
        return their._replace(next=our.next, tasks=tuple(sorted(their.tasks, key=lambda task: task.name)))

    return _in_chunks(evened, theirs, ours)


def kept_subgraphs_are_where_they_are(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """SG: LangGraph's streams place a subgraph that keeps its state where its task is, and there is nothing there."""

    def task(their: Task, our: Task) -> Task:
        place = isinstance(our.state, dict) and our.state["configurable"]["checkpoint_ns"]
        is_kept = isinstance(place, str) and not place.endswith("#")
        return their._replace(state=our.state) if is_kept and their.state else their

    return _in_chunks(_tasks(task), theirs, ours)


def messages_of_kept_subgraphs_come_from_there(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """SG: as ``kept_subgraphs_are_where_they_are`` says of checkpoints, for what messages are shown with."""

    def evened(chunk: Chunk) -> Chunk:
        if chunk.mode != "messages" or "checkpoint_ns" not in chunk.shown[1]:
            return chunk
        message, metadata = chunk.shown
        outermost = metadata["checkpoint_ns"].removesuffix(":#")
        return chunk._replace(shown=(message, {**metadata, "checkpoint_ns": outermost}))

    if theirs.keeps_state:
        theirs, ours = (seen._replace(chunks=tuple(map(evened, seen.chunks))) for seen in (theirs, ours))
    return theirs, ours


def results_are_what_tasks_wrote(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """LangGraph's streams leave out of a result in a checkpoint what its graph does not return; not so of an end."""

    def task(their: Task, our: Task) -> Task:
        if isinstance(our.result, dict) and isinstance(their.result, dict):
            whole = {key: value for key, value in our.result.items() if key not in PRIVATE}
            narrow = {key: value for key, value in whole.items() if key in OUTPUT}
            if their.result in (whole, narrow):
                return their._replace(result=our.result)
        return their

    return _in_chunks(_tasks(task), theirs, ours)


def what_saves_nothing_has_no_checkpoints(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """K-3: LangGraph streams checkpoints of a subgraph that saves nothing, which nobody can go back to."""

    def is_lost(chunk: Chunk) -> bool:
        names = {part.partition(":")[0] for part in chunk.namespace}
        return isinstance(chunk.shown, Snapshot) and not names.isdisjoint(theirs.unsaved)

    if any(map(is_lost, ours.chunks)):
        return theirs, ours
    return theirs._replace(chunks=tuple(chunk for chunk in theirs.chunks if not is_lost(chunk))), ours


EVENED: tuple[Callable[[Seen, Seen], tuple[Seen, Seen]], ...] = (
    messages_are_made_at_once,
    metadata_are_the_tasks_own,
    what_saves_nothing_has_no_checkpoints,
    tasks_are_listed_by_name,
    messages_in_pairs_are_messages,
    messages_of_kept_subgraphs_come_from_there,
    what_tasks_were_given_is_not_shown_again,
    failed_tasks_show_no_update,
    waiting_tasks_do_not_run_again,
    any_of_several_errors_is_raised,
    all_that_ended_is_shown,
    fleeting_values_are_gone_when_the_run_ends,
    commands_show_what_they_made_due,
    edits_take_the_place_of_results,
    all_questions_are_on_record,
    exit_keeps_the_states_of_subgraphs,
    answered_questions_are_over,
    past_errors_are_not_shown,
    open_steps_keep_fleeting_values,
    exit_shows_no_parents,
    kept_subgraphs_are_where_they_are,
    results_are_what_tasks_wrote,
)
