"""``wal diff``: what is different between two moments of a thread, two threads, or a thread in two logs.

    wal diff LOG THREAD 17 step:4          two moments of a thread; the head, if the second is left out
    wal diff LOG THREAD --with OTHER       two threads, at their heads
    wal diff LOG THREAD --log OTHER_LOG    a thread in two logs, at the heads, and where its records part

Moments are written as for ``wal state --at``. Values are folded as ``wal state`` folds them.

Invariants:
1. Nothing is changed.
2. Values are compared by what is recorded of them where their classes do not compare.

It must not run nodes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..replay.plan import unfinished
from ..replay.questions import open_questions
from ..wal.errors import ThreadNotFound
from ..wal.log import Log
from .cmd_state import find_moment, graph_in, values_of
from .folding import Lens
from .laws import same
from .options import app_option, as_json, graph_of, opened, placed, words
from .render import Column, Page
from .timeline import entries
from .words import path_text, plain, preview, scope_text

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph

COLUMNS = (Column(""), Column("what"), Column("before"), Column("after"))
MARKS = {"added": "+", "removed": "-", "changed": "~"}
VALUE = 200


class Change(NamedTuple):
    """One difference: of a channel's value, or of a fact about a graph. ``before`` or ``after`` may be ABSENT."""

    scope: str
    what: str
    before: Any
    after: Any

    @property
    def how(self) -> str:
        """Whether it was added, removed or changed."""
        return "added" if self.before is ABSENT else "removed" if self.after is ABSENT else "changed"


class Side(NamedTuple):
    """One of the two things compared: what to call it, and what there is to compare."""

    name: str
    seq: int
    facts: dict[tuple[str, str], Any]


class _Absent:
    def __repr__(self) -> str:
        return "-"


ABSENT = _Absent()


@click.command("diff")
@words("[LOG] THREAD [A [B]]")
@click.option("--with", "other", metavar="THREAD", help="Compare with another thread, at the heads.")
@click.option(
    "--log", "other_log", metavar="LOG", help="Compare with the thread in another log, at the heads."
)
@click.option("--exit-code", "as_exit", is_flag=True, help="End with 1 if there is a difference.")
@app_option
@as_json
def command(
    words: tuple[str, ...],
    other: str | None,
    other_log: str | None,
    app: str | None,
    *,
    as_exit: bool,
    as_json: bool,
) -> int:
    """Compare two moments of a thread, two threads, or a thread in two logs."""
    path, (thread, first, second) = placed(words, ("THREAD", "A", "B"), 1)
    assert thread is not None, "it was asked for"
    elsewhere = other is not None or other_log is not None
    if elsewhere and first is not None:
        raise click.UsageError("--with and --log compare heads; leave A and B out.")
    if not elsewhere and first is None:
        raise click.UsageError(
            "Missing argument 'A': a seq, a checkpoint id, or step:N; or --with, or --log."
        )
    page = Page(as_json=as_json)
    graph = graph_of(app)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(opened(path))
        parts = None
        if elsewhere:
            beside = log if other_log is None else stack.enter_context(opened(other_log))
            name = other or thread
            _must_be_there(log, thread)
            _must_be_there(beside, name)
            before, after = _side(log, thread, None, graph), _side(beside, name, None, graph)
            # Records name their thread and their time, so those of two threads always differ.
            parts = _parting(log, beside, thread) if name == thread else None
        else:
            before, after = _side(log, thread, first, graph), _side(log, thread, second, graph)
    changes = list(_changes(before, after))
    _show(page, before, after, changes, parts)
    return int(as_exit and bool(changes))


def _must_be_there(log: Log, thread: str) -> None:
    if log.head(thread) is None:
        message = f"the log {log.path} holds no thread {thread!r}"
        raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)


def _side(log: Log, thread: str, at: str | None, graph: CompiledGraph | None) -> Side:
    """Return what there is to compare at one moment of a thread, graph by graph."""
    lens = Lens(log, graph)
    found = find_moment(lens, thread, at)
    state = found.state
    facts: dict[tuple[str, str], Any] = {}
    for scope in sorted({*state.scopes, *state.unread}):
        folded, blueprint = graph_in(lens, state, scope)
        if folded is None:
            continue
        for key, value in values_of(blueprint, folded, live=found.live).items():
            facts[scope, key] = value
        facts[scope, "(step)"] = folded.step
        facts[scope, "(next)"] = unfinished(folded)
    for item in open_questions(state):
        facts[item.scope, f"(question {path_text(item.path)})"] = item.question.value
    return Side(f"{thread} seq {state.seq}", state.seq, facts)


def _changes(before: Side, after: Side) -> Iterator[Change]:
    for place in sorted({*before.facts, *after.facts}):
        one, other = before.facts.get(place, ABSENT), after.facts.get(place, ABSENT)
        if one is ABSENT or other is ABSENT or not same(one, other):
            yield Change(*place, one, other)


def _parting(log: Log, beside: Log, thread: str) -> int | None:
    """Return the seq of the first record that only one of two logs has so; None if they hold the same."""
    mine = entries(log, thread, log.decoder(lenient=True))
    others = entries(beside, thread, beside.decoder(lenient=True))
    for one, two in itertools.zip_longest(mine, others):
        if one is None or two is None or (one.seq, one.data) != (two.seq, two.data):
            found: int = min(each.seq for each in (one, two) if each is not None)
            return found
    return None


def _show(page: Page, before: Side, after: Side, changes: list[Change], parting: int | None) -> None:
    if page.as_json:
        page.emit(
            "diff",
            before={"name": before.name, "seq": before.seq},
            after={"name": after.name, "seq": after.seq},
            parting=parting,
            changes=[_as_plain(change) for change in changes],
        )
        return
    page.line(f"{before.name} → {after.name}")
    if changes:
        page.table(COLUMNS, [_row(change) for change in changes])
    else:
        page.line("no difference in state")
    if parting is not None:
        page.line(f"its records are the same before seq {parting}")


def _row(change: Change) -> tuple[str, ...]:
    name = f"{scope_text(change.scope)} {change.what}" if change.scope else change.what
    shown = ["-" if each is ABSENT else preview(each, VALUE) for each in (change.before, change.after)]
    return (MARKS[change.how], name, *shown)


def _as_plain(change: Change) -> dict[str, Any]:
    shape: dict[str, Any] = {"scope": change.scope, "what": change.what, "how": change.how}
    for name, value in (("before", change.before), ("after", change.after)):
        if value is not ABSENT:
            shape[name] = plain(value)
    return shape
