"""``wal worker``: a service that carries on what is handed over to a log, and what others left unfinished.

It must not decide what is carried on, or when: ``engine.worker`` does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .cmd_recover import first_line, plain
from .options import apps_option, as_json, attempts_option, graph_of, opened, placed, words
from .render import Page

if TYPE_CHECKING:
    from ..engine.assignment import Carried


@click.command("worker")
@words("[LOG]")
@apps_option(required=True)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="How many runs are carried out at once.",
)
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Only this queue; may be given again.")
@attempts_option
@as_json
def command(
    words: tuple[str, ...],
    apps: tuple[str, ...],
    concurrency: int,
    queues: tuple[str, ...],
    attempts: int,
    *,
    as_json: bool,
) -> None:
    """Carry out what is handed over, fire schedules, and carry on what crashed or is due, until SIGTERM or Ctrl-C.

    Then running tasks end, their runs are drained, and the next worker goes on with them. With --json each run that
    ends is one object on one line.
    """
    path, _ = placed(words)
    graphs = [graph_of(app) for app in apps]
    page = Page(as_json=as_json)
    from ..engine.worker import Worker

    def told(carried: Carried) -> None:
        if as_json:
            page.emit("worker", **plain(carried))
        else:
            reason = first_line(carried.reason)
            page.line(f"{carried.thread_id} {carried.how}{f': {reason}' if reason else ''}")
        # Whoever reads along wants to know now.
        sys.stdout.flush()

    with opened(path, write=True) as log:
        worker = Worker(
            log, graphs, concurrency=concurrency, queues=queues or None, attempts=attempts, on_end=told
        )
        page.talk(
            f"Carrying on {', '.join(graph.name for graph in graphs if graph)} in {path}; SIGTERM drains."
        )
        worker.run()
        page.talk("Stopped; what was under way is drained.")
