"""``wal upgrade``: bring a log of an older format to the newest.

It must not know formats: ``wal.upgrade`` does.
"""

from __future__ import annotations

import click

from ..wal.upgrade import upgrade
from .options import as_json, placed, words
from .progress import progress
from .render import Page


@click.command("upgrade")
@words("[LOG]")
@click.option("--apply", "as_apply", is_flag=True, help="Do it; without, it is only told what would be done.")
@as_json
def command(words: tuple[str, ...], *, as_apply: bool, as_json: bool) -> None:
    """Bring a log of an older format to the newest; the old one is kept beside it.

    Nobody may have the log open. A dry run, unless --apply is given.
    """
    path, _ = placed(words)
    page = Page(as_json=as_json)
    with progress(page) as tell:
        made = upgrade(path, apply=as_apply, progress=tell)
    if as_json:
        page.emit("upgrade", path=path, applied=bool(made.kept), **made._asdict())
    elif made.before == made.after:
        page.line(f"{path} has format {made.before}, the newest: nothing to do")
    elif made.kept:
        page.line(f"{path} had format {made.before} and has {made.after}; the old one is kept at {made.kept}")
    else:
        page.line(
            f"dry run: nothing was changed; {path} has format {made.before}, the newest is {made.after}"
        )
