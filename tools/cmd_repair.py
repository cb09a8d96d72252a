"""``wal repair``: make a whole log of what is left of a damaged one.

    wal repair LOG                          what would be kept, and exactly what would be lost
    wal repair LOG --apply                  do it; the damaged log is kept as LOG.damaged-N
    wal repair LOG --salvage OUT --apply    make the new log OUT, and leave LOG as it is

Invariants:
1. Nothing is changed without --apply, and the damaged file is kept in any case.
2. A log that is whole is left alone.

It must not decide what can be kept: ``wal.repair`` does.
"""

from __future__ import annotations

from typing import Any

import click

from ..wal.mending import examined, replace, salvage
from ..wal.repair import Plan
from .options import as_json, key_ring, named, placed, words
from .progress import progress
from .render import Column, Page
from .restoring import summary_of

LOSSES = (Column("thread"), Column("lost"), Column("kept up to", right=True), Column("why"))


@click.command("repair")
@words("[LOG]")
@click.option("--salvage", "out", metavar="OUT", help="Make a new log there, and leave LOG as it is.")
@click.option("--apply", "as_apply", is_flag=True, help="Do it; without, it is only told what would be lost.")
@as_json
def command(words: tuple[str, ...], out: str | None, *, as_apply: bool, as_json: bool) -> int:
    """Make a whole log of what is left of a damaged one. A dry run, unless --apply is given.

    Nobody may have the log open. Ends with 1 if something is damaged and was not repaired.
    """
    path, _ = placed(words)
    page = Page(as_json=as_json)
    target = None if out is None else named(out)
    keys = key_ring()
    aside = ""
    lost: list[str] = []
    with progress(page) as tell, examined(path, tell) as (pages, plan):
        wanted = plan.is_damaged or target is not None
        if as_apply and target is not None:
            _, lost = salvage(pages, plan, target, summarise=summary_of, keys=keys, progress=tell)
        elif as_apply and wanted:
            _, lost, aside = replace(pages, plan, path, summarise=summary_of, keys=keys, progress=tell)
    _show(page, path, plan, lost, applied=as_apply and wanted, made=target or path, aside=aside)
    return int(plan.is_damaged and not as_apply)


def _show(
    page: Page, path: str, plan: Plan, lost: list[str], *, applied: bool, made: str, aside: str
) -> None:
    pages = {table: count for table, count in plan.pages.items() if count}
    if page.as_json:
        losses: list[dict[str, Any]] = [loss._asdict() for loss in plan.losses]
        page.emit(
            "repair",
            path=path,
            damaged=plan.is_damaged,
            applied=applied,
            made=made if applied else None,
            replaced=aside or None,
            threads={"kept": len(plan.kept), "whole": sum(kept.is_whole for kept in plan.kept.values())},
            losses=losses,
            large_values=list(plan.lost_blobs),
            pages=pages,
            notes=[*plan.notes, *lost],
        )
        return
    if not plan.is_damaged:
        page.line(f"ok: nothing of {path} is lost, so there is nothing to repair")
    if plan.losses:
        kept = {each.thread: each.stretch.seq for each in plan.kept.values()}
        rows = []
        for loss in plan.losses:
            what = f"seq {loss.first} to {loss.last}" + (", history only" if loss.history else "")
            rows.append((loss.thread, what, str(kept.get(loss.thread, "nothing")), loss.why))
        page.table(LOSSES, rows)
    for name in plan.lost_blobs:
        page.line(f"large value {name} is damaged")
    for table, count in pages.items():
        page.line(f"{count} pages of the table {table!r} cannot be read")
    for note in (*plan.notes, *lost):
        page.line(note)
    whole = sum(kept.is_whole for kept in plan.kept.values())
    if applied:
        page.line(f"made {made}: {len(plan.kept)} threads, {whole} of them whole; it verifies")
        if aside:
            page.line(f"the damaged log is kept at {aside}")
    elif plan.is_damaged:
        page.line(
            f"dry run: nothing was changed; {len(plan.kept)} threads can be kept, {whole} of them whole"
        )
        page.talk("Make a backup of the directory first. --apply repairs it; --salvage OUT makes a new log.")
