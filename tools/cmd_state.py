"""``wal state``: what a thread's records add up to, at its head or at an earlier moment.

    --at 17                     after record 17
    --at 00000000000000000017   the checkpoint with that id, as its step began
    --at step:4                 the newest checkpoint of step 4
    --scope 'agent:…'           a subgraph's state

Values are folded with the reducers that everybody has. Where one is only in the user's code, the newest value that is
known is shown, and what was written since; ``--app`` brings the code.

It must not change anything, nor run nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from ..replay.blueprint import Blueprint
from ..replay.errors import CheckpointNotFound, EmptyChannelError, InvalidUpdateError
from ..replay.fold import apply_writes
from ..replay.identity import checkpoint_id, task_id
from ..replay.plan import unfinished
from ..replay.questions import open_questions
from ..replay.state import FINISHED, GraphState, Outcome, ThreadState
from ..wal.head import moment
from ..wal.record import Path
from ..wal.saved_thread import is_saved
from ..wal.steady import steady
from ..wal.still import still
from .folding import Lens, gathered_graph
from .gathered import Gathered
from .options import app_option, as_json, graph_of, opened, placed, words
from .render import Column, Page
from .saved_show import show_state
from .words import path_text, plain, preview, shortened, writes_text

CHANNELS = (Column("channel"), Column("value"))
TASKS = (Column("task"), Column("status"), Column("id"), Column("what"))
QUESTIONS = (Column("question"), Column("task"), Column("asks"))
VALUE = 2000
ID_LENGTH = 20


class Moment(NamedTuple):
    """A thread's state at the moment asked for, and whether the open step's writes count as seen."""

    state: ThreadState
    live: bool


@click.command("state")
@words("[LOG] THREAD")
@click.option(
    "--at", metavar="SEQ|CHECKPOINT_ID|step:N", help="An earlier moment; a checkpoint id has 20 digits."
)
@click.option("--scope", default="", metavar="NAMESPACE", help="The state of a subgraph.")
@app_option
@as_json
def command(words: tuple[str, ...], at: str | None, scope: str, app: str | None, *, as_json: bool) -> None:
    """Show what a thread's records add up to."""
    path, (thread,) = placed(words, ("THREAD",), 1)
    assert thread is not None, "it was asked for"
    page = Page(as_json=as_json)
    graph = graph_of(app)
    with opened(path) as log:
        if is_saved(log, log.head(thread)):
            with still(log) as held:
                show_state(page, held, thread, at, scope)
            return
        lens = Lens(log, graph)
        found = find_moment(lens, thread, at)
        _show(page, lens, thread, found, scope)


def find_moment(lens: Lens, thread: str, at: str | None) -> Moment:
    """Return the state at the moment that ``--at`` names.

    Raises:
        CheckpointNotFound: There is none.
    """
    if at is None:
        return Moment(lens.state_at(thread), live=True)
    kind, _, number = at.rpartition(":")
    digits = number.removeprefix("-") if kind else number
    if kind not in {"", "step", "seq"} or not (digits.isascii() and digits.isdecimal()):
        raise click.UsageError(f"--at {at!r}: write a seq, a checkpoint id of {ID_LENGTH} digits, or step:N.")
    if kind == "step":
        return Moment(_checkpoint(lens, thread, step=int(number)), live=False)
    if not kind and len(number) == ID_LENGTH:
        return Moment(_checkpoint(lens, thread, base=int(number)), live=False)
    head = lens.log.head(thread)
    seq = int(number)
    state = lens.state_at(thread, seq)
    if head is not None and (seq > head.seq or not state.seq):
        raise _no_moment(thread, f"seq {seq}; its head is at {head.seq}")
    return Moment(state, live=True)


def _checkpoint(lens: Lens, thread: str, *, base: int | None = None, step: int | None = None) -> ThreadState:
    """Return the state as the step after a checkpoint had just begun: the newest such checkpoint."""
    found = steady(lens.log, thread, lambda: _found(lens, thread, base, step))
    if found is None:
        raise _no_moment(thread, f"checkpoint {base}" if step is None else f"checkpoint of step {step}")
    return found


def _found(lens: Lens, thread: str, base: int | None, step: int | None) -> ThreadState | None:
    found: ThreadState | None = None
    last = 0
    for state in _states(lens, thread, base):
        root = state.root()
        if root is not None and root.base != last:
            last = root.base
            if base == root.base or (step is not None and root.step == step):
                found = state
    return found


def _states(lens: Lens, thread: str, base: int | None) -> Iterator[ThreadState]:
    """Yield the states from the oldest on, until one is behind the checkpoint."""
    begin, following = lens.since(thread, cached=False)
    yield begin
    for folded in following:
        yield folded.state
        if base is not None and folded.seq > base:
            return


def _no_moment(thread: str, what: str) -> CheckpointNotFound:
    message = f"thread {thread!r} has no {what}"
    return CheckpointNotFound(message, hint="wal inspect LOG THREAD lists what it has.", thread=thread)


def _show(page: Page, lens: Lens, thread: str, found: Moment, scope: str) -> None:
    state = found.state
    graph, blueprint = graph_in(lens, state, scope)
    if graph is None:
        if scope:
            known = sorted(name for name in {*state.scopes, *state.unread} if name)
            raise _no_moment(
                thread, f"graph in the namespace {scope!r}; there is {', '.join(known) or 'no subgraph'}"
            )
        graph = GraphState({}, -2, 0, 0, "", None, (), (), {}, frozenset(), ())
    values = values_of(blueprint, graph, live=found.live)
    unfolded = sorted(key for key, value in values.items() if isinstance(value, Gathered))
    questions = open_questions(state)
    nested = sorted(name for name in {*state.scopes, *state.unread} if name and name != scope)
    if page.as_json:
        page.emit(
            "state",
            thread=thread,
            scope=scope,
            **_facts(graph, state, live=found.live),
            values={key: plain(value) for key, value in values.items()},
            unfolded=unfolded,
            tasks=_tasks(thread, scope, graph),
            questions=[
                {
                    "id": item.question.id,
                    "scope": item.scope,
                    "task": path_text(item.path),
                    "value": plain(item.question.value),
                }
                for item in questions
            ],
            subgraphs=nested,
        )
        return
    facts = _facts(graph, state, live=found.live)
    following = ", ".join(facts["next"]) or "-"
    page.line(
        f"thread {thread}{f' · {scope}' if scope else ''} · seq {state.seq} · checkpoint {facts['checkpoint'] or '-'}"
    )
    page.line(f"step {graph.step} · source {graph.source or '-'} · {facts['at'] or '-'} · next {following}")
    page.table(CHANNELS, [(key, preview(value, VALUE)) for key, value in values.items()])
    _show_open_step(page, thread, scope, graph)
    if questions:
        page.line()
        asked = [(item.question.id, path_text(item.path), preview(item.question.value)) for item in questions]
        page.table(QUESTIONS, asked)
    for name in nested:
        page.talk(f"subgraph: --scope {name!r}")
    if unfolded:
        text = "only your code has the reducer, so what was written is shown beside the last known value"
        page.talk(f"{', '.join(unfolded)}: {text}; --app module:graph folds it.")


def graph_in(lens: Lens, state: ThreadState, scope: str) -> tuple[GraphState | None, Blueprint | None]:
    """Return the state of a graph; one that nobody knows here is shown by what was written in it."""
    blueprint = lens.blueprints(state.graph)(scope)
    graph, unread = state.scopes.get(scope), state.unread.get(scope)
    return (graph, blueprint) if unread is None else (gathered_graph(graph, unread), None)


def _facts(graph: GraphState, state: ThreadState, *, live: bool) -> dict[str, Any]:
    following = unfinished(graph) if live else tuple(graph.node_of(path) for path in graph.paths())
    return {
        "seq": state.seq,
        "checkpoint": checkpoint_id(graph.base) if graph.base else None,
        "parent": checkpoint_id(graph.parent) if graph.parent else None,
        "step": graph.step,
        "source": graph.source,
        "at": moment(graph.at).isoformat() if graph.at else None,
        "next": list(following),
        "run": state.run,
        "epoch": state.epoch,
        "durability": state.durability,
        "ended": graph.ended,
        "reason": graph.reason,
        "metadata": plain(graph.metadata),
    }


def values_of(blueprint: Blueprint | None, graph: GraphState, *, live: bool) -> dict[str, Any]:
    """Return the values as a node would read them; live ones with what finished siblings wrote (GS-1)."""
    if blueprint is None:
        return dict(graph.values)
    values = graph.values
    if live:
        for path in sorted(graph.paths(), key=lambda each: (isinstance(each[0], int), each[0])):
            outcome = graph.standing(path)
            if outcome is not None and outcome.status == FINISHED:
                writes = [
                    (graph.node_of(path), write) for write in outcome.writes if write[0] in blueprint.channels
                ]
                try:
                    values = apply_writes(blueprint, values, writes, bump=False)
                except InvalidUpdateError:
                    # Writes that conflict are shown as outcomes below; the values stay as they were.
                    continue
    shown = {}
    for key, channel in blueprint.channels.items():
        value = values.get(key, channel.initial())
        if isinstance(value, Gathered):
            shown[key] = value
            continue
        try:
            shown[key] = channel.get(value)
        except EmptyChannelError:
            continue
    return shown


def _tasks(thread: str, scope: str, graph: GraphState) -> list[dict[str, Any]]:
    """Return the tasks of the open step, those without an outcome and the calls within them included."""
    shown = []
    for path in _paths(graph):
        outcome = graph.outcomes.get(path)
        shown.append(
            {
                "id": task_id(thread, scope, graph.base, path),
                "task": path_text(path),
                "node": graph.node_of(path),
                "status": "due" if outcome is None else outcome.status,
                "writes": [] if outcome is None else [[key, plain(value)] for key, value in outcome.writes],
                "error": _error(outcome) or None,
            }
        )
    return shown


def _paths(graph: GraphState) -> list[Path]:
    return [*graph.paths(), *(path for path, _ in graph.outcomes.items() if len(path) > 1)]


def _error(outcome: Outcome | None) -> str:
    """Return why a task failed, or why it waits for another answer; empty if neither is so."""
    if outcome is None:
        return ""
    if outcome.failure is not None:
        return f"{outcome.failure.type}: {outcome.failure.text}"
    return "" if outcome.refused is None else f"answer refused: {outcome.refused}"


def _show_open_step(page: Page, thread: str, scope: str, graph: GraphState) -> None:
    rows = []
    for path in _paths(graph):
        outcome = graph.outcomes.get(path)
        what = _error(outcome) or ("" if outcome is None else writes_text(outcome.writes))
        status = "due" if outcome is None else outcome.status
        rows.append(
            (path_text(path), status, task_id(thread, scope, graph.base, path), shortened(what, VALUE))
        )
    if rows:
        page.line()
        page.table(TASKS, rows)
