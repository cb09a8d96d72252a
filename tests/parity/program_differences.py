"""Where programs of the functional API differ on purpose; as ``differences`` says it of graphs."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

from parity import evened, partings
from parity.differences import Difference, first_difference
from parity.looking import repeated
from parity.programs import Program, ProgramStory, entrypoint
from parity.showing import Chunk, Snapshot
from parity.watching import Seen, Watch


class ProgramWatch(Watch):
    """One thread of a program."""

    def built(self) -> Any:
        """Build the program."""
        program = self.story.program
        caught = {name for step in program.steps if step.kind == "caught" for name in step.names}
        failed = failing(program)
        self.facts["wavering"] = frozenset(caught & failed)
        self.facts["repeated"] = frozenset(
            name
            for task in program.tasks
            if task.retried and not failed.isdisjoint(task.calls)
            for name in below(program, task.name)
        )
        self.nodes = ("main",)
        self.is_flat = False
        return entrypoint(self.library, self.story.program, self.world, self.saver)

    def given(self, number: int) -> Any:
        """Return an input."""
        return number


def failing(program: Program) -> set[str]:
    """Return the names of the tasks that fail at first, themselves or by a task that they call."""
    found: set[str] = set()
    for task in reversed(program.tasks):
        if not found.isdisjoint(task.calls) or (task.fails and not task.retried):
            found.add(task.name)
    return found


def below(program: Program, name: str) -> set[str]:
    """Return the names of the tasks that a task calls, itself or by one that it calls."""
    calls = next(task.calls for task in program.tasks if task.name == name)
    return set(calls).union(*(below(program, called) for called in calls))


def mismatches_are_errors(theirs: Seen, ours: Seen) -> bool:
    """T-3: a call that is not the recorded one is an error; LangGraph hands over what another call returned."""
    return bool(theirs.wavering) and ours.outcome[:2] == ("raised", "NonDeterminism")


def caught_failures_are_raised_again(theirs: Seen, ours: Seen) -> bool:
    """T-5: a failure that was caught is what the call came to; LangGraph makes the call again, and it may work."""
    again = Counter(theirs.ran) - Counter(ours.ran)
    return not theirs.wavering.isdisjoint(ran.partition("(")[0] for ran in again)


def answers_outlive_attempts(theirs: Seen, ours: Seen) -> bool:
    """T-1: a call is known by its place in the attempt; LangGraph numbers on, finds no answer, and asks once more."""
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    again = [each for each in theirs.state.interrupts if each not in ours.state.interrupts]
    return theirs.did.startswith("answer") and any(
        question.partition(" ")[0] in theirs.repeated for _, question in again
    )


def heads_are_resumed(theirs: Seen, ours: Seen) -> bool:
    """TT-3: None at the id of the newest checkpoint goes on; LangGraph begins the function anew, with all its tasks."""
    return partings.heads_are_resumed(theirs, ours)


def waiting_calls_do_not_run_again(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """I-6: a run without answers repeats the calls that wait for one in LangGraph; with us only what is around them."""
    if theirs.did not in {"none", "resume"} or not isinstance(ours.state, Snapshot):
        return theirs, ours
    asking = {question[1].partition(" ")[0] for question in ours.state.interrupts}
    again = Counter(theirs.ran) - Counter(ours.ran)
    if {ran.partition("(")[0] for ran in again} <= asking - theirs.wavering:
        theirs = theirs._replace(ran=ours.ran)
    return theirs, ours


def failed_calls_show_no_update(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """LangGraph shows an empty update of a call that failed after it was given an answer; no task here returns None."""
    more = repeated(theirs.chunks) - repeated(ours.chunks)

    def is_shown(chunk: Chunk) -> bool:
        is_empty = chunk.mode == "updates" and list(chunk.shown.values()) == [None]
        return not (is_empty and "main" not in chunk.shown and more[repr(chunk)])

    return theirs._replace(chunks=tuple(filter(is_shown, theirs.chunks))), ours


PARTINGS = {
    mismatches_are_errors: (),
    caught_failures_are_raised_again: (),
    answers_outlive_attempts: (),
    partings.answered_questions_are_not_open: partings.CALL,
    partings.finished_heads_are_not_forked: ("outcome", "ran"),
    heads_are_resumed: (),
}
EVENED = (
    evened.failed_tasks_show_no_update,
    failed_calls_show_no_update,
    waiting_calls_do_not_run_again,
    evened.all_questions_are_on_record,
    evened.past_errors_are_not_shown,
    evened.answered_questions_are_over,
    evened.exit_shows_no_parents,
)


def watch_program(library: Any, story: ProgramStory) -> list[Seen]:
    """Return what is seen of a program's story with one library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(ProgramWatch(library, story).events())


def first_program_difference(theirs: list[Seen], ours: list[Seen]) -> Difference | None:
    """Return the first difference that is not one on purpose, or None."""
    return first_difference(theirs, ours, EVENED, PARTINGS)
