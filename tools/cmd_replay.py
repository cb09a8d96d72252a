"""``wal replay``: does today's code still fit what is recorded?

    LOG THREAD --app module:graph     one thread
    LOG --all --app module:graph      all of them, a line each; for a build, over a copy of the log

Invariants:
1. Nothing is appended, and no body of a task runs (``engine.replaying``).
2. Exit code 1 if any thread diverges, also if it cannot be read with this code; else 0.

It must not decide what a divergence is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..wal.errors import WalgraphError
from .cli import PROBLEM
from .options import as_json, graph_of, opened, placed, words
from .render import Column, Page
from .words import path_text, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.graph import CompiledGraph
    from ..engine.replaying import Replay
    from ..wal.log import Log

COLUMNS = (
    Column("thread"),
    Column("records", right=True),
    Column("bodies", right=True),
    Column("result"),
    Column("seq", right=True),
    Column("what"),
)


@click.command("replay")
@words("LOG [THREAD]")
@click.option("--app", metavar="MODULE:GRAPH", required=True, help="The graph to check, as it is now.")
@click.option("--all", "as_all", is_flag=True, help="All threads of the log that this graph wrote.")
@click.option(
    "--node",
    "nodes",
    metavar="NAME",
    multiple=True,
    help="Run this node's body too; it has no effects but tasks.",
)
@as_json
def command(words: tuple[str, ...], app: str, nodes: tuple[str, ...], *, as_all: bool, as_json: bool) -> int:
    """Run recorded threads past the code as it is now, without executing any effect.

    Exits with 0 if code and history agree, with 1 if they part somewhere.
    """
    path, (thread,) = placed(words, ("THREAD",))
    if as_all == (thread is not None):
        raise click.UsageError("Name a thread, or give --all.")
    page = Page(as_json=as_json)
    graph = graph_of(app)
    assert graph is not None, "--app is required"
    with opened(path) as log:
        threads = [thread] if thread is not None else _written_by(log, graph)
        found = [_replayed(log, graph, each, nodes) for each in threads]
    page_rows = [row for row in found if row["result"] != "ok"]
    if as_json:
        page.emit("replay", ok=not page_rows, path=path, threads=found)
    else:
        if found:
            page.table(COLUMNS, [_cells(row) for row in found])
        for row in page_rows:
            page.talk(f"{row['thread']}: {row['message']}")
        page.talk(
            f"{len(page_rows)} of {len(found)} threads diverge" if page_rows else "code and history agree"
        )
    return PROBLEM if page_rows else 0


def _written_by(log: Log, graph: CompiledGraph) -> list[str]:
    """Return the threads that a graph of this name wrote."""
    return [head.thread_id for head in log.threads() if head.graph == graph.name and head.seq]


def _replayed(log: Log, graph: CompiledGraph, thread: str, nodes: Sequence[str]) -> dict[str, Any]:
    """Return what is shown of one thread."""
    from ..engine.errors import InvalidGraph
    from ..engine.replaying import replay_thread
    from ..wal.errors import ThreadNotFound

    try:
        done = replay_thread(log, graph, thread, nodes=nodes)
    except (InvalidGraph, ThreadNotFound):
        raise
    except WalgraphError as error:
        nothing: dict[str, Any] = {
            "records": 0,
            "bodies": 0,
            "seq": None,
            "path": [],
            "recorded": None,
            "attempted": None,
        }
        return {"thread": thread, **nothing, "result": "unreadable", "message": error.message}
    return _row(done)


def _row(done: Replay) -> dict[str, Any]:
    found = done.divergence
    return {
        "thread": done.thread,
        "records": done.records,
        "bodies": done.bodies,
        "result": "ok" if found is None else found.cause,
        "seq": None if found is None else found.seq,
        "path": [] if found is None else list(found.path),
        "recorded": None if found is None else found.recorded,
        "attempted": None if found is None else found.attempted,
        "message": None if found is None else found.message,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    what = row["message"] or "-"
    if row["recorded"] is not None:
        what = f"{path_text(tuple(row['path']))}: {shortened(row['recorded'])}, now {shortened(row['attempted'])}"
    seq = "-" if row["seq"] is None else str(row["seq"])
    return row["thread"], str(row["records"]), str(row["bodies"]), row["result"], seq, what
