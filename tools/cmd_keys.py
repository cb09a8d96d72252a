"""``wal keys``: what is encrypted with which key, so that it is known which one can be dropped.

It must not need a key: ids of keys stand in front of what is encrypted.
"""

from __future__ import annotations

import click

from ..wal.rekeying import CLEAR, KINDS, uses
from .options import as_json, key_ring, opened, placed, words
from .render import Column, Page

COLUMNS = (Column("key"), Column("here"), *[Column(kind.replace("_", " "), right=True) for kind in KINDS])
THREADS = (Column("thread"), Column("frames", right=True), Column("snapshots", right=True))


@click.command("keys")
@words("[LOG]")
@click.option("--key", metavar="KEY", help="Also list the threads that still need this key; '' for none.")
@as_json
def command(words: tuple[str, ...], key: str | None, *, as_json: bool) -> None:
    """Count what is encrypted with which key. Works beside running graphs, and without any key."""
    path, _ = placed(words)
    page = Page(as_json=as_json)
    ring = key_ring()
    with opened(path) as log:
        found, is_encrypted = uses(log), log.is_encrypted
    here = [] if ring is None else ring.names()
    names = list(dict.fromkeys([*here, *sorted(found.counts)]))
    unused = [name for name in here if not found.counts[name].total()]
    if as_json:
        keys = [
            {"key": name if name != CLEAR else None, "here": name in here, "newest": here[:1] == [name]}
            | {kind: found.counts[name][kind] for kind in KINDS}
            | {"threads": sorted(found.threads[name])}
            for name in names
        ]
        page.emit("keys", keys=keys, unused=unused)
        return
    rows = []
    for name in names:
        standing = (
            "-" if name == CLEAR else "newest" if here[:1] == [name] else "yes" if name in here else "no"
        )
        counts = [str(found.counts[name][kind]) for kind in KINDS]
        rows.append((name or "not encrypted", standing, *counts))
    page.table(COLUMNS, rows)
    if key is not None:
        held = found.threads[key]
        page.table(
            THREADS, [(each, str(held[each]["frames"]), str(held[each]["snapshots"])) for each in held]
        )
    for name in unused:
        if name != here[0]:
            page.line(f"nothing in the log needs key {name!r}")
    if is_encrypted and any(found.counts[name].total() for name in names if name not in here[:1]):
        page.talk("wal compact --rekey KEY writes anew what lies under an old key.")
