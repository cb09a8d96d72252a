"""Scenarios with one more accident than is written: the process is killed at one of their commits, and it goes on.

    Outliving(7, "before")     a stage whose process dies before the seventh commit of all

Whoever gave the command that was cut off does what a user would do, who knows no more than the log:

    nothing of it is in the log          gives the command again
    its outcome is in the log            takes it from there: an edit was made, a task has failed
    it is under way, or nobody heard     resumes

Then the command has shown what it shows in a calm life, and so do all that follow.

Invariants:
1. A body runs once more than in a calm life if it was cut off, and not otherwise: what was recorded is not run again.
2. Records are those of a calm life, but for those that say that somebody took the run up again.

It must not look at what the transcript expects.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from stage import Stage

from walgraph.wal.record import RunResumed, StateFolded, TaskFailed, TaskFinished, TaskInterrupted
from walgraph.wal.store import Store

TAKEN_UP = RunResumed.__name__
RECORD = re.compile(r"^\d+ (?=[A-Z]\w+$)")
FAILURE = re.compile(r"^(\w+)\('(.*)'\)$")
DRAWN = re.compile(r"\b[0-9a-f]{32}\b|(?<=epoch )\d+")
"""Ids of questions, which are made of the numbers of records, and how often the thread was claimed."""


class Outliving(Stage):
    """A stage whose process dies once more.

    Args:
        number: At which commit of the whole scenario, from one.
        when: ``"before"`` or ``"after"``.
        store: The disk; by default one in memory.
    """

    def __init__(self, number: int, when: str, store: Store | None = None) -> None:
        self.number, self.when = number, when
        self.is_over = False
        """Whether the accident has happened."""
        self.lost: Counter[str] = Counter()
        """Bodies that were cut off, since this was asked last."""
        super().__init__(store)

    def die_at(self, place: str) -> None:
        """Die where the scenario says, or at the commit that was chosen."""
        if place.startswith(f"{self.when} commit") and self.commits_of_all == self.number:
            self.is_over = True
            self.die(place)
        super().die_at(place)

    def __call__(self, verb: str, values: list[Any], options: dict[str, Any]) -> list[str]:
        """Do what a command says, whatever it takes, and return what it shows at last."""
        was_over, before, ran, failed_before = self.is_over, self.length(), len(self.ran), set(self.failing)
        shown = super().__call__(verb, values, dict(options))
        if was_over or not self.is_over:
            return shown
        new = [stored.record for stored in self.log.read("t", before)] if self.length() > before else []
        ended = Counter(
            str(record.path[0])
            for record in new
            if isinstance(record, TaskFinished | TaskFailed | TaskInterrupted)
        )
        is_whole = any(isinstance(record, StateFolded) for record in new)
        cut_off = Counter() if is_whole else Counter(self.ran[ran:]) - ended
        self.lost += cut_off
        # A failure that nobody heard of happens again.
        self.failing -= set(cut_off) - failed_before
        failed = [record.failure for record in new if isinstance(record, TaskFailed)]
        if not new:
            return super().__call__(verb, values, options)
        if verb == "edit":
            return ["ok"]
        if failed:
            return [FAILURE.sub(r"\1: \2", failed[0].text)]
        return super().__call__("resume", [], {key: options[key] for key in options.keys() & {"crash"}})

    def length(self) -> int:
        """Return how many records the thread has."""
        head = self.log.head("t")
        return 0 if head is None else head.seq

    def do_ran(self) -> str:
        """Show which bodies ran since this was asked last, without those that the accident cut off."""
        again = Counter(self.ran) - self.lost
        self.ran, self.lost = [], Counter()
        return " ".join(sorted(again.elements())) or "nothing"


def without_the_accident(verb: str, shown: list[str]) -> list[str]:
    """Return what a command showed without what one life more may change: order, numbers, and who took the run up."""
    match verb:
        case "ran":
            return sorted(shown[0].split())
        case "records":
            return [kind for kind in (RECORD.sub("", line) for line in shown) if kind != TAKEN_UP]
    return [DRAWN.sub("#", line) for line in shown]
