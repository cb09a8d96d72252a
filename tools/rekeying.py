"""Taking a log off an old key: what is cut, what is written anew, and what has to wait.

    threads with frames under the key ─► plan as compaction does ─► snapshot under the present key ─► cut
    their snapshots ─► written anew         items, signals, runs, schedules ─► written anew
    large values that only those named ─► swept

What somebody still needs is not cut here either, so a thread that waits for an answer, or has run only half way, may
keep frames under the old key; it is named, with why, and a later call takes it.

Invariants:
1. Without ``apply`` nothing is changed.
2. What the ring itself says is to be written with the key stays as it is.
3. One process at a time does this, as for every compaction.

It must not decide what may go: ``tools.cutting`` does.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import click

from ..wal.compaction import alone, sweep
from ..wal.rekeying import KINDS, THREADED, key_of, of_thread, rewrite_rows, rewrite_snapshots, uses
from ..wal.vault import missing
from .cutting import Rule, apply_cut, plan_cut
from .options import key_ring, opened
from .progress import progress
from .render import Column, Page

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph
    from ..wal.log import Log

COLUMNS = (
    Column("thread"),
    Column("frames", right=True),
    Column("snapshots", right=True),
    Column("left", right=True),
    Column("key"),
    Column("why"),
)


class Moved(NamedTuple):
    """One thread: what of it was under the old key, how many frames stay so, its present key, and why they stay."""

    thread: str
    frames: int
    snapshots: int
    left: int
    key: str
    why: str


def rekeyed(
    page: Page, path: str, key: str, graph: CompiledGraph | None, *, keep_last: int, apply: bool
) -> None:
    """Write anew what lies under a key, or tell what would be, and show it.

    Raises:
        UsageError: There are no keys, or that one is the newest.
        KeyMissing: The old key is not among them.
        LogInUse: The log is being compacted.
    """
    ring = key_ring(follow=False)
    if ring is None:
        raise click.UsageError(
            "--rekey reads with the old key and writes with the new: give both with --keys FILE."
        )
    if key == ring.newest:
        message = (
            f"--rekey {key!r}: that is the newest key. Add a new one to the keys file, and let it say so."
        )
        raise click.UsageError(message)
    if key and ring.get(key) is None:
        raise missing(key)
    with (
        opened(path, write=apply, follow=False) as log,
        alone(log) if apply else nullcontext(),
        progress(page) as tell,
    ):
        log.flush()
        before = uses(log)
        old = before.threads.get(key, {})
        rule = Rule(keep_last, at_any_weight=True)
        threads = []
        for count, (thread, held) in enumerate(old.items()):
            tell("threads", count, len(old))
            threads.append(_thread(log, thread, held, key, rule, graph, apply=apply))
        rows = Counter({kind: before.counts[key][kind] for kind in KINDS if kind not in THREADED})
        left: Counter[str] = Counter(frames=sum(each.left for each in threads))
        if apply:
            rewrite_rows(log, key)
            sweep(log.store)
            left = uses(log).counts[key]
    _show(page, key, threads, rows, left, applied=apply)


def _thread(
    log: Log,
    thread: str,
    held: Counter[str],
    key: str,
    rule: Rule,
    graph: CompiledGraph | None,
    *,
    apply: bool,
) -> Moved:
    """Take one thread off the key as far as that is possible."""
    vault = log.core.vault
    assert vault is not None, "it was opened with keys"
    target = vault.ring.of_thread(thread)
    moved = Moved(thread, held["frames"], held["snapshots"], 0, target, "")
    head = log.head(thread)
    if target == key:
        return moved._replace(
            left=moved.frames, why="kept: the keys file says that it is written with this key"
        )
    if head is None:
        return moved
    cut = plan_cut(log, head, rule, graph) if moved.frames else None
    if not apply:
        beyond = 0 if cut is None else cut.seq
        frames = [header for header, body in log.store.frames(thread) if key_of(body) == key]
        left = sum(header.last > beyond for header in frames)
    else:
        if cut is not None and cut.seq:
            apply_cut(log, cut)
        rewrite_snapshots(log, thread, key)
        left = of_thread(log.store, thread)[key]["frames"]
    return moved._replace(left=left, why=cut.why if cut is not None and left else "")


def _show(
    page: Page, key: str, threads: list[Moved], rows: Counter[str], left: Counter[str], *, applied: bool
) -> None:
    if page.as_json:
        page.emit(
            "rekey",
            applied=applied,
            key=key,
            threads=[each._asdict() for each in threads],
            rewritten=dict(rows),
            left={kind: left[kind] for kind in KINDS} if applied else {"frames": left["frames"]},
        )
        return
    if threads:
        page.table(
            COLUMNS,
            [
                (
                    each.thread,
                    str(each.frames),
                    str(each.snapshots),
                    str(each.left),
                    each.key,
                    each.why or "-",
                )
                for each in threads
            ],
        )
    said = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in rows.items() if count)
    page.line(f"beside records: {said or 'nothing'}")
    if not applied:
        page.line(f"dry run: nothing was changed; {left['frames']} frames would stay under key {key!r}")
        page.talk("Run it with --apply to do it. What is cut off cannot be brought back.")
    elif left.total():
        still = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in left.items() if count)
        page.line(f"still under key {key!r}: {still}")
        page.talk(
            "Keep the key. Let those threads go on or end, or give --app for their code, and call this again."
        )
    else:
        page.line(f"nothing in the log needs key {key!r} any more")
        page.talk("Backups and exports that were made before still need it.")
