"""How a run begins: from what the caller passed and what the log holds to the records that open it.

    input                         thread unknown       unfinished step            finished
    a value                       RunStarted           RunStarted (N-2)           RunStarted
    None                          EmptyInputError      RunResumed                 nothing: the values as they are (R-4)
    Command(resume=…)             AnswerError          RunResumed, TaskAnswered   AnswerError
    Command(update=…, goto=…)     StateEdited          RunResumed, StateEdited    RunResumed, StateEdited

    with a checkpoint id that is not the head a branch (``replay.branch``) comes first. It begins as the thread was at
    the checkpoint, or, if an old question is answered anew, as it was before it was answered; then the row "unfinished
    step" follows.

Invariants:
1. What does not fit is refused before anything is recorded: unknown ids, answers without a question, no input.
2. An answer is bound to the question it was given for; None is an answer.

It must not append.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..replay.branch import adopted, branch, is_copied, stripped
from ..replay.errors import CheckpointNotFound
from ..replay.fold import attach_all, fold
from ..replay.identity import checkpoint_id, question_id, task_id
from ..replay.plan import Finish, plan
from ..replay.questions import Asked, answering, open_questions
from ..replay.recover import recover
from ..replay.scopes import is_current
from ..wal.head import nanoseconds
from ..wal.record import Edit, Question, RunResumed, RunStarted, StateEdited, TaskAnswered, ThreadCreated
from . import clock
from .control import NO_ANSWER, Command
from .errors import AnswerError, EmptyInputError, InvalidUpdateError, RunCancelled
from .metadata import checkpoint_metadata, new_notes
from .nested import blueprints_of
from .outcome import target_of, writes_of
from .recorder import PARKED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..replay.branch import Branch
    from ..replay.history import Origin
    from ..replay.state import GraphState, ThreadState
    from ..wal.record import Record, Reference
    from .run import Run

QUESTION_ID = re.compile(r"[0-9a-f]{32}")


def opening(run: Run, given: Any, graph: Reference | None, fork: Origin | None) -> list[Record]:
    """Return the records that open a run of the root graph; none when there is nothing to do.

    Args:
        run: The run, with the state as recovered.
        given: The caller's input.
        graph: Where the log keeps the graph's description.
        fork: The checkpoint to begin at, if it is not the head.

    Raises:
        EmptyInputError: There is neither an input nor anything unfinished.
        AnswerError: Answers and open questions do not match.
    """
    recorder = run.recorder
    state = recorder.state
    now = recorder.now()
    records: list[Record] = []
    renamed: dict[str, str] = {}
    if state.seq == 0 and recorder.writer is not None:
        records.append(ThreadCreated(now, run.thread, None))
    elif is_copied(state, run.thread):
        records.append(ThreadCreated(now, run.thread, state.thread))
        state, renamed = adopted(run.thread, state)
        state = state._replace(seq=state.seq + 1)
    deadline = _deadline(run, now)
    if given is None or isinstance(given, Command):
        _refuse_cancelled(run, state, fork)
        notes = new_notes(run.config, state.root())
        run.deadline = state.deadline if deadline is None else deadline
        resume = RunResumed("", now, run.run_id, graph, recorder.durability, _epoch(run), notes, deadline)
        if isinstance(given, Command):
            return records + _commanded(run, given, resume, fork, state, renamed)
        if state.root() is None:
            message = "Received no input for __start__"
            raise EmptyInputError(message, hint=f"Thread {run.thread!r} has no run to resume: pass an input.")
        if fork is not None:
            return [*records, *_branch(run, fork, fork.begun(), state.seq).records, resume]
        return [] if _is_finished(state.scopes[""]) else _resumed(run, records, resume, state)
    if fork is not None:
        records.extend(_branch(run, fork, fork.begun(), state.seq, "branch").records)
    metadata = checkpoint_metadata(run.config)
    run.deadline = deadline
    started = RunStarted("", now, run.run_id, given, graph, recorder.durability, _epoch(run), metadata)
    records.append(started if deadline is None else started._replace(deadline=deadline))
    return records


def nested_opening(run: Run, given: Any, call: str, caller: tuple[str | int, ...]) -> list[Record] | None:
    """Return the records that open a subgraph's run; None when the call has ended before and its end stands.

    Args:
        run: The subgraph's run, attached to its scope.
        given: The input of the call.
        call: Identifies the call: the parent's task and how many subgraphs it called before.
        caller: The path of the parent's task.
    """
    now = run.recorder.now()
    graph = run.recorder.state.scopes.get(run.scope)
    if graph is not None and graph.run == call:
        if graph.ended in {"done", "parent"} and (graph.ended == "parent" or _is_finished(graph)):
            return None
        return [RunResumed(run.scope, now, call, None, "", 0, new_notes(run.config, graph))]
    if isinstance(given, Command):
        edit = edit_of(run, given)
        return [
            RunStarted(run.scope, now, call, {}, None, "", 0, {}, caller, run.above),
            StateEdited(run.scope, now, "command", (edit,)),
        ]
    if given is None:
        message = "Received no input for __start__"
        raise EmptyInputError(
            message, hint=f"The call of subgraph {run.program.name!r} has nothing to resume."
        )
    metadata = checkpoint_metadata(run.config)
    return [RunStarted(run.scope, now, call, given, None, "", 0, metadata, caller, run.above)]


def edit_of(run: Run, command: Command[Any]) -> Edit:
    """Return what a command given as input changes (N-4)."""
    if command.graph is not None and not run.program.is_called(command.graph):
        message = "There is no parent graph"
        raise InvalidUpdateError(
            message, hint="Command(graph=...) as an input can only name the graph itself."
        )
    plain: Command[Any] = Command(update=command.update)
    writes, _ = writes_of(run.program, "input", plain)
    goto = command.goto if isinstance(command.goto, list | tuple) else (command.goto,)
    targets = tuple(target_of(run.program, item, "Command(goto=...)") for item in goto)
    return Edit(None, tuple(writes), tuple(target for target in targets if target != "__end__"))


def _commanded(
    run: Run,
    command: Command[Any],
    resume: RunResumed,
    fork: Origin | None,
    state: ThreadState,
    renamed: dict[str, str],
) -> list[Record]:
    """Open a run by a command: answers, edits, or both; ``renamed`` has the new ids of questions that got some."""
    has_edit = command.update is not None or bool(command.goto)
    if not has_edit and command.resume is NO_ANSWER:
        message = "Received empty Command input"
        raise EmptyInputError(message, hint="Give the command a resume, an update or a goto.")
    records: list[Record] = []
    if state.root() is None:
        if command.resume is not NO_ANSWER:
            if run.recorder.writer is None:
                message = "Cannot use Command(resume=...) without checkpointer"
                raise AnswerError(message, hint="compile(checkpointer=Log.open(path)) gives the graph a log.")
            message = f"thread {run.thread!r} has asked nothing, so there is nothing to answer"
            raise AnswerError(message, hint="Start it with an input first.")
        # On a fresh thread the update is the first checkpoint, and the goto is what runs (N-5, once).
        return [StateEdited("", resume.at, "update", (edit_of(run, command),), resume.metadata), resume]
    if fork is not None:
        moment = fork.begun() if command.resume is NO_ANSWER else fork.asked(_named(command.resume))
        begun = _branch(run, fork, moment, state.seq)
        records.extend(begun.records)
        renamed = {**{old: begun.questions.get(new, new) for old, new in renamed.items()}, **begun.questions}
        for record in begun.records:
            state = fold(run.recorder.blueprints.get, state, state.seq + 1, record)
    records.append(resume)
    if fork is None:
        records.extend(_woken(run, state))
    if command.resume is not NO_ANSWER:
        records.extend(_answers(run, state, command.resume, renamed))
    if has_edit:
        records.append(StateEdited("", resume.at, "command", (edit_of(run, command),)))
    return records


def _resumed(run: Run, records: list[Record], resume: RunResumed, state: ThreadState) -> list[Record]:
    """Take up what is unfinished: nothing is recorded if all of it waits for its time or a signal."""
    woken = _woken(run, state)
    if not woken and resume.deadline is None and _is_at_rest(run, state):
        return []
    return [*records, resume, *woken]


def _woken(run: Run, state: ThreadState) -> list[Record]:
    """Return the records of what tasks of the thread waited for until now; most threads wait for nothing."""
    root = state.root()
    if root is None or root.ended not in PARKED:
        return []
    from .waking import wake_ups

    return wake_ups(run, state)


def _is_at_rest(run: Run, state: ThreadState) -> bool:
    root = state.root()
    if root is None or root.ended not in PARKED or (run.deadline is not None and clock.now() >= run.deadline):
        return False
    from .waking import is_at_rest

    return is_at_rest(state)


def _answers(run: Run, state: ThreadState, given: Any, renamed: Mapping[str, str]) -> Sequence[TaskAnswered]:
    """Bind answers to open questions; ``renamed`` has the new ids of questions that a fork took along."""
    asked = open_questions(state)
    by_id: dict[str, Asked] = {item.question.id: item for item in asked}
    pending = tuple(by_id)
    listed = ", ".join(pending) or "none"
    if given == {} and isinstance(given, dict) and len(by_id) > 1:
        message = f"The resume map names no interrupt; open in thread {run.thread!r}: {listed}"
        hint = "Command(resume={id: answer}) answers the question of that id."
        raise AnswerError(message, hint=hint, reason="empty_map", pending_ids=pending)
    if _named(given) is not None:
        given = {renamed.get(key, key): answer for key, answer in given.items()}
        if unknown := sorted(given.keys() - by_id.keys()):
            where = f"open in thread {run.thread!r}: {listed}"
            message = f"Unknown or already-consumed interrupt: {', '.join(unknown)}; {where}"
            hint = "get_state(config).interrupts lists the open questions."
            raise AnswerError(message, hint=hint, interrupt_ids=unknown, pending_ids=pending)
        return [record for key, answer in given.items() for record in answering(state, by_id[key], answer)]
    if not asked:
        root = state.root()
        if root is not None and root.ended == "parked":
            # At a static breakpoint there is no question; the command only says to go on (I-14).
            return []
        if (ahead := _ahead(run, state)) is not None:
            return answering(state, ahead, given)
        message = f"thread {run.thread!r} has no open question, so Command(resume=...) has nothing to answer"
        raise AnswerError(
            message, hint="invoke(None, config) resumes a run that is unfinished for another reason."
        )
    if len(by_id) > 1:
        message = (
            "When there are multiple pending interrupts, you must specify the interrupt id when resuming."
        )
        hint = f"Command(resume={{id: answer}}); open are {listed}."
        raise AnswerError(message, hint=hint, reason="ambiguous", pending_ids=pending, thread=run.thread)
    return answering(state, asked[0], given)


def _ahead(run: Run, state: ThreadState) -> Asked | None:
    """Return the question that an edit displaced, if it left one task due, which is about to ask again (U-10).

    People who look at a question often mend the state before they answer. The edit makes the asking task begin anew,
    and its first question will have the id that is made here.
    """
    blueprint = blueprints_of(run.program)
    whole = attach_all(blueprint, state)
    for scope, graph in whole.scopes.items():
        paths = graph.paths()
        if graph.source != "update" or graph.opened or len(paths) != 1 or not is_current(whole, scope):
            continue
        recorder = run.recorder
        if recorder.log is None or graph.base > recorder.state.seq:
            continue
        try:
            before = recover(
                recorder.log, run.thread, blueprint, recorder.registry, upto=graph.base - 1
            ).state
        except CheckpointNotFound:
            # What was asked before the edit was compacted away.
            return None
        if any(item.scope == scope for item in open_questions(before)):
            task = task_id(run.thread, scope, graph.base, paths[0])
            return Asked(scope, paths[0], Question(question_id(task, 0), 0, None, None))
    return None


def _refuse_cancelled(run: Run, state: ThreadState, fork: Origin | None) -> None:
    """See that nobody takes a cancelled run up: not by None, nor by an answer to what it once asked.

    Raises:
        RunCancelled: It is to be.
    """
    root = state.root()
    if root is not None and root.ended == "cancelled" and fork is None:
        raise was_cancelled(run.thread, root.reason or "")


def _named(given: Any) -> set[str] | None:
    """Return the ids of the questions that answers are for; None if it is one answer, for the one open question."""
    if isinstance(given, dict) and given:
        keys = set(given)
        if all(isinstance(key, str) and QUESTION_ID.fullmatch(key) for key in keys):
            return keys
    return None


def _branch(run: Run, fork: Origin, moment: ThreadState | None, seq: int, how: str = "fork") -> Branch:
    """Return the branch that begins at a checkpoint.

    Args:
        run: The run.
        fork: The checkpoint.
        moment: The thread as the branch is to begin.
        seq: The seq that it follows.
        how: ``"fork"`` for a checkpoint of its own; ``"branch"`` if an input follows, which then is the checkpoint.

    Raises:
        CheckpointNotFound: There is no such checkpoint.
    """
    if moment is None:
        raise not_found(run.thread, checkpoint_id(fork.seq))
    if how == "branch":
        # An input begins the graph anew, whatever its subgraphs were at.
        moment = moment._replace(scopes={**moment.scopes, "": stripped(moment.scopes[""])})
    return branch(run.thread, seq, run.recorder.now(), moment, how=how)


def _deadline(run: Run, now: int) -> int | None:
    """Return when the config says that the run is to have ended: a time, or so long from now.

    Raises:
        ValueError: It is a time without a zone, or no positive number of seconds.
        TypeError: It is something else.
    """
    given = run.config.get("deadline")
    if given is None:
        return None
    from .timer import length_of

    if isinstance(given, datetime):
        return nanoseconds(given)
    length = length_of(given, "config['deadline']")
    if length <= 0:
        message = f"config['deadline'] must be a time, or how long from now, not {given!r}"
        raise ValueError(message)
    return now + length


def _is_finished(graph: GraphState) -> bool:
    return isinstance(plan(graph), Finish)


def _epoch(run: Run) -> int:
    return run.recorder.writer.epoch if run.recorder.writer is not None else 0


def was_cancelled(thread: str, why: str) -> RunCancelled:
    """Return the error for whoever called a run that was cancelled, or wants to go on with it."""
    message = f"The run of thread {thread!r} was cancelled: {why}. What it had recorded is kept."
    hint = "Give the thread a new input, or begin at one of its checkpoints by checkpoint_id."
    return RunCancelled(message, hint=hint, thread=thread)


def not_found(thread: str, text: str) -> CheckpointNotFound:
    """Return the error for a checkpoint id that the thread does not have."""
    message = f"thread {thread!r} has no checkpoint {text!r}"
    return CheckpointNotFound(message, hint="get_state_history(config) lists those it has.", thread=thread)
