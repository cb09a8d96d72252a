"""``wal schedules``: what is handed over again and again: when next, when last, and by hand.

    LOG                            all schedules
    LOG NAME                       one of them, with its next times
    LOG NAME --pause               let it not fire for a while           --reason TEXT says why
    LOG NAME --resume              let it fire again, from its next time on
    LOG NAME --trigger             hand a run over now, besides its times
    LOG NAME --delete --apply      delete it; what was handed over stays

Invariants:
1. Nothing is deleted without ``--apply``.
2. The user's code is not needed.

It must not decide what is due: ``engine.firing`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import as_json, opened, placed, words
from .render import Column, Page
from .words import visible

if TYPE_CHECKING:
    from ..engine.schedule import ScheduleHandle, ScheduleInfo

COLUMNS = (
    Column("schedule"),
    Column("cron"),
    Column("zone"),
    Column("graph"),
    Column("stands"),
    Column("next"),
    Column("last fired"),
    Column("fired", right=True),
    Column("skipped", right=True),
)
UPCOMING = 5
"""How many next times are shown of one schedule."""


@click.command("schedules")
@words("[LOG [NAME]]")
@click.option("--pause", "action", flag_value="pause", help="Let it not fire until it is resumed.")
@click.option("--resume", "action", flag_value="resume", help="Let it fire again, from its next time on.")
@click.option("--trigger", "action", flag_value="trigger", help="Hand a run over now, besides its times.")
@click.option("--delete", "action", flag_value="delete", help="Delete it; what was handed over stays.")
@click.option("--reason", metavar="TEXT", help="Why it is paused, for those who look.")
@click.option("--apply", "as_apply", is_flag=True, help="With --delete: do it; else it is only said.")
@as_json
def command(
    words: tuple[str, ...], action: str | None, reason: str | None, *, as_apply: bool, as_json: bool
) -> None:
    """List schedules; of one also its next times. Or pause, resume, trigger or delete it."""
    path, (name,) = placed(words, ("NAME",))
    if action is not None and name is None:
        raise click.UsageError(f"--{action} needs the NAME of a schedule.")
    if reason is not None and action != "pause":
        raise click.UsageError("--reason goes with --pause.")
    if as_apply and action != "delete":
        raise click.UsageError("--apply goes with --delete.")
    is_to_change = action is not None and (action != "delete" or as_apply)
    page = Page(as_json=as_json)
    from ..engine.schedule import ScheduleHandle, schedules

    with opened(path, write=is_to_change) as log:
        if name is None:
            _list(page, schedules(log))
            return
        handle = ScheduleHandle(log, name)
        if action is None:
            _show(page, handle)
        else:
            _act(page, handle, action, reason, as_apply=as_apply)


def _list(page: Page, found: list[ScheduleInfo]) -> None:
    if page.as_json:
        page.emit("schedules", schedules=[plain(info) for info in found])
    elif found:
        page.table(COLUMNS, [_row(info) for info in found])
    else:
        page.talk("There are no schedules.")


def _show(page: Page, handle: ScheduleHandle) -> None:
    info, upcoming = handle.info(), handle.upcoming(UPCOMING)
    if page.as_json:
        following = [at.isoformat() for at in upcoming]
        page.emit("schedules", schedules=[{**plain(info), "upcoming": following}])
        return
    page.table(COLUMNS, [_row(info)])
    page.line()
    for at in upcoming:
        page.line(f"{'would be' if info.paused else 'next'} {at.isoformat()}")
    for waiting in info.waiting:
        page.line(f"waits for the run before: {waiting.isoformat()}")


def _act(page: Page, handle: ScheduleHandle, action: str, reason: str | None, *, as_apply: bool) -> None:
    run = None
    match action:
        case "pause":
            handle.pause(reason or "")
        case "resume":
            handle.resume()
        case "trigger":
            run = handle.trigger().run_id
        case _ if as_apply:
            handle.delete()
    name, is_done = handle.name, action != "delete" or as_apply
    if page.as_json:
        page.emit("schedules", schedule=name, action=action, applied=is_done, run=run)
    elif not is_done:
        page.line(f"would delete schedule {visible(name)}")
        page.talk("Nothing was changed. --apply deletes it; what was handed over stays.")
    elif run is not None:
        page.line(f"handed over run {visible(run)}")
    else:
        page.line(f"{action}d schedule {visible(name)}")


def plain(info: ScheduleInfo) -> dict[str, Any]:
    """Return a schedule as JSON has it."""
    shape: dict[str, Any] = info._asdict()
    for field in ("next_at", "last_at"):
        shape[field] = None if shape[field] is None else shape[field].isoformat()
    shape["waiting"] = [at.isoformat() for at in info.waiting]
    return shape


def _row(info: ScheduleInfo) -> tuple[str, ...]:
    stands = "over" if info.next_at is None and not info.waiting else "ready"
    return (
        info.name,
        info.cron,
        info.zone,
        info.graph,
        f"paused: {info.paused}" if info.paused not in {None, "paused"} else info.paused or stands,
        info.next_at.isoformat() if info.next_at else "-",
        info.last_at.isoformat() if info.last_at else "-",
        str(info.fires),
        str(info.skips),
    )
