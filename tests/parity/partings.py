"""From here on a thread goes different ways: what both libraries did, by which each difference on purpose is known.

    PARTINGS    each recogniser with the fields of the call that are still equal; nothing more of the story is compared

Invariants:
1. A parting is recognised by what both libraries did, and ours must have done what is promised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.comparing import differs
from parity.looking import commands, is_steered, repeated
from parity.showing import Chunk, Snapshot
from parity.watching import Seen


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
    if theirs.chunks != ours.chunks and not repeated(theirs.chunks) - repeated(ours.chunks):
        # A sibling was cut off in LangGraph, and maybe neither library has come to its end.
        return any(not (task.result or task.error or task.interrupts) for task in theirs.state.tasks)
    return _was_cut_off(theirs.state, ours.state)


def _was_cut_off(theirs: Any, ours: Any) -> bool:
    """Say whether a task, here or in a subgraph, came to an end with us that it did not come to in LangGraph."""
    if not isinstance(theirs, Snapshot) or not isinstance(ours, Snapshot):
        return False
    return any(
        (
            their.result is None
            and not their.interrupts
            and (their.error is None or their.error.startswith("CancelledError"))
            and (our.result is not None or our.interrupts or our.error)
        )
        or _was_cut_off(their.state, our.state)
        for their, our in zip(theirs.tasks, ours.tasks, strict=False)
    )


def finished_runs_are_no_recursion_errors(theirs: Seen, ours: Seen) -> bool:
    """RL-1: LangGraph raises if a run has taken as many steps as it may, even if nothing is left to do.

    It may raise before it has shown the last messages.
    """

    def shown(seen: Seen) -> list[Chunk]:
        return [chunk for chunk in seen.chunks if chunk.mode != "messages"]

    return (
        theirs.outcome[:2] == ("raised", "GraphRecursionError")
        and ours.outcome[0] == "returned"
        and ours.state.next == ()
        and theirs.ran == ours.ran
        and shown(theirs) == shown(ours)
    )


def large_numbers_are_kept(theirs: Seen, ours: Seen) -> bool:
    """LangGraph's serialiser takes integers of 64 bits, and a larger one ends its run; ours are kept exactly."""
    return (
        theirs.outcome == ("raised", "TypeError", "Integer exceeds 64-bit range")
        and theirs.outcome != ours.outcome
    )


def commands_stay_due(theirs: Seen, ours: Seen) -> bool:
    """N-4: what a goto made due, and asks, is neither shown nor resumed in LangGraph if nothing else was due."""
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    # What the step wrote so far may have taken the place of the goto's own write, which its checkpoint still has.
    newest = theirs.history[:1] if isinstance(theirs.history, tuple) else ()
    return any(map(is_steered, (theirs.state, *newest))) and len(theirs.state.tasks) < len(ours.state.tasks)


def edits_keep_what_commands_wrote(theirs: Seen, ours: Seen) -> bool:
    """N-4: on a thread with nothing due LangGraph loses what a command wrote as soon as the state is edited."""
    if not theirs.did.startswith(("edit", "rewrite")) or theirs.outcome != ours.outcome:
        return False
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    lost = commands(ours.state) - commands(theirs.state)
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
    sources = [item.source for item in theirs.history]
    if "fork" not in sources:
        return False
    new = sources[: sources.index("fork") + 1]
    our_new = [item.source for item in ours.history[: len(ours.history) - len(sources) + len(new)]]
    return "fork" not in our_new and (new == ["fork"] or theirs.ran != ours.ran)


def heads_do_not_begin_subgraphs_anew(theirs: Seen, ours: Seen) -> bool:
    """TT-3: None at the newest checkpoint's id goes on where a subgraph stopped; LangGraph begins that subgraph anew.

    So what the subgraph comes to, and whether it stops at its breakpoint once more, may differ.
    """
    if not heads_are_resumed(theirs, ours):
        return False
    otherwise = set(theirs.ran) ^ set(ours.ran)
    return any("_" in ran.partition("(")[0] for ran in otherwise)


def heads_keep_their_answers(theirs: Seen, ours: Seen) -> bool:
    """TT-3: None at the newest checkpoint's id keeps the answers given there; LangGraph asks those questions again."""
    if not heads_are_resumed(theirs, ours) or not isinstance(theirs.state, Snapshot):
        return False
    again, still = theirs.state.interrupts, ours.state.interrupts
    return bool(again) and bool(still) and again != still


def answers_are_used_once(theirs: Seen, ours: Seen) -> bool:
    """I-10: in LangGraph an answer that was given before can answer the next question of a run without answers."""
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    if theirs.did.startswith(("answer", "input", "branch", "edit", "rewrite")):
        return False
    left = repeated(ours.state.interrupts) - repeated(theirs.state.interrupts)
    return bool(left) and not is_steered(theirs.state)


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


def exit_keeps_what_gotos_made_due(theirs: Seen, ours: Seen) -> bool:
    """N-4, D-8: under ``exit`` LangGraph forgets what a goto made due in a step that had begun, when the run failed."""
    if theirs.durability != "exit" or not theirs.did.startswith("goto ") or theirs.outcome[0] != "raised":
        return False
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    due = [task.name for task in ours.state.tasks]
    led = theirs.did.partition(" ")[2]
    return led in due and sorted([*(task.name for task in theirs.state.tasks), led]) == sorted(due)


def _outer(seen: Seen) -> list[str]:
    """Return what ran in the graph, but not in its subgraphs: their nodes have longer names."""
    return [ran for ran in seen.ran if "_" not in ran.partition("(")[0]]


def finished_heads_are_not_forked(theirs: Seen, ours: Seen) -> bool:
    """TT-3: None at the id of the newest checkpoint does nothing if nothing is due; LangGraph adds an equal one."""
    if not isinstance(theirs.state, Snapshot) or not isinstance(ours.state, Snapshot):
        return False
    if theirs.did != "travel 0" or theirs.state.source != "fork":
        return False
    return not ours.ran and not ours.state.tasks and not theirs.state.tasks


def kept_subgraphs_take_their_input(theirs: Seen, ours: Seen) -> bool:
    """R-6: a subgraph that keeps its state, called first thing after a resume, ignores its input in LangGraph."""
    if not theirs.keeps_state or theirs.did != "resume" or _outer(theirs) != _outer(ours):
        return False
    return repeated(theirs.ran) < repeated(ours.ran)


CALL = ("outcome", "chunks", "ran")
"""The fields that say what a call did, without how the thread is shown after it."""
PARTINGS: dict[Callable[[Seen, Seen], bool], tuple[str, ...]] = {
    failed_routers_are_repeated: ("outcome",),
    conflicts_do_not_poison: (),
    looking_runs_no_user_code: ("outcome",),
    siblings_of_failures_are_recorded: ("outcome",),
    answered_questions_are_not_open: CALL,
    finished_runs_are_no_recursion_errors: ("ran",),
    large_numbers_are_kept: (),
    commands_stay_due: CALL,
    edits_keep_what_commands_wrote: CALL,
    edits_take_the_place_of_all_that_was_due: CALL,
    exit_keeps_what_subgraphs_did: (),
    exit_keeps_what_gotos_made_due: CALL,
    kept_subgraphs_take_their_input: (),
    finished_heads_are_not_forked: ("outcome", "ran"),
    heads_do_not_begin_subgraphs_anew: (),
    heads_keep_their_answers: (),
    heads_are_resumed: ("outcome",),
    answers_are_used_once: (),
    gotos_return_open_questions: ("ran",),
    gotos_do_not_put_off: (),
}
