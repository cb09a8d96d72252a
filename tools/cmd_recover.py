"""``wal recover``: carry on what crashed, was drained, or is due.

Without ``--apply`` it shows what would be carried on, and what would not and why. A thread that is named goes on also
if it was parked or has failed: that is how a person releases it.

It must not decide what is to go on: ``engine.finding`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .cli import PROBLEM
from .options import apps_option, as_json, attempts_option, graph_of, opened, placed, words
from .render import Column, Page

if TYPE_CHECKING:
    from ..engine.assignment import Carried
    from ..wal.log import Log

PLAN = (Column("thread"), Column("status"), Column("graph"), Column("run"), Column("next"), Column("why not"))
TOLD = (Column("thread"), Column("how"), Column("graph"), Column("run"), Column("reason"))
WELL = frozenset({"done", "interrupted", "sleeping", "waiting", "drained", "cancelled", "superseded"})


@click.command("recover")
@words("[LOG] [THREAD]...")
@apps_option()
@attempts_option
@click.option(
    "--apply", "as_apply", is_flag=True, help="Do it; without, the plan is shown and nothing is changed."
)
@as_json
@click.pass_context
def command(
    context: click.Context,
    words: tuple[str, ...],
    apps: tuple[str, ...],
    attempts: int,
    *,
    as_apply: bool,
    as_json: bool,
) -> None:
    """Carry on what crashed, was drained, or is due, schedules too: all of it, or the threads that are named.

    A dry run, unless --apply is given. Threads that were parked or have failed go on if they are named.
    """
    path, named = placed(words, ("THREAD",) * len(words))
    threads = [thread for thread in named if thread is not None] or None
    graphs = [graph_of(app) for app in apps]
    page = Page(as_json=as_json)
    if not as_apply:
        with opened(path) as log:
            _show_plan(page, log, graphs, threads)
        return
    if not graphs:
        raise click.UsageError("--apply needs the code: --app MODULE:GRAPH.")
    from ..engine.recovering import recover

    with opened(path, write=True) as log:
        _check_named(log, threads)
        told = recover(log, graphs, threads=threads, attempts=attempts)
    if as_json:
        page.emit("recover", applied=True, threads=[plain(each) for each in told])
    elif told:
        rows = [(e.thread_id, e.how, e.graph, e.run_id or "-", first_line(e.reason) or "-") for e in told]
        page.table(TOLD, rows)
    else:
        page.talk("Nothing was left unfinished.")
    if any(each.how not in WELL for each in told):
        context.exit(PROBLEM)


def _show_plan(page: Page, log: Log, graphs: list[Any], threads: list[str] | None) -> None:
    from ..engine.survey import unfinished

    _check_named(log, threads)
    found = list(unfinished(log, [graph.name for graph in graphs] if graphs else None, threads))
    if page.as_json:
        shapes = [
            {
                "thread": e.thread_id,
                "status": e.status,
                "graph": e.graph,
                "run": e.run_id or None,
                "why": e.why or None,
            }
            for e in found
        ]
        page.emit("recover", applied=False, threads=shapes)
        return
    if found:
        rows = [
            (e.thread_id, e.status, e.graph or "-", e.run_id or "-", ", ".join(e.next) or "-", e.why or "-")
            for e in found
        ]
        page.table(PLAN, rows)
    if not found:
        page.talk("Nothing was left unfinished.")
    elif graphs:
        page.talk("Nothing was changed. --apply carries on those without a reason not to.")
    else:
        page.talk("Nothing was changed. --app MODULE:GRAPH --apply carries on what belongs to that graph.")


def _check_named(log: Log, threads: list[str] | None) -> None:
    """See that the threads that were named are there.

    Raises:
        ThreadNotFound: One is not.
    """
    from ..wal.keyspace import not_found

    for thread in threads or ():
        if log.head(thread) is None and log.submissions().first(thread) is None:
            raise not_found(thread)


def plain(carried: Carried) -> dict[str, Any]:
    """Return what became of a thread as JSON can have it."""
    return {
        "thread": carried.thread_id,
        "graph": carried.graph,
        "run": carried.run_id or None,
        "how": carried.how,
        "reason": carried.reason or None,
    }


def first_line(text: str) -> str:
    """Return what of a text fits into a table."""
    return text.partition("\n")[0]
