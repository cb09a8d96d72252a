"""``wal compact``: cut off history that nobody needs any more.

    online    per thread: plan (``tools.cutting``) ─► cut; then sweep blobs and expired items, forget ended runs
    --rekey   online: cut what lies under an old key, and write the rest of that anew (``tools.rekeying``)
    --shrink  offline: copy what is live into a new file, and give the free space back

Without ``--apply`` nothing is changed and the plan is shown. A thread that cannot be folded exactly here, since its
reducers or classes are only in the user's code, is cut at a snapshot that the run itself made, or left alone;
``--app`` brings the code.

Invariants:
1. What is shown before is what is done, as far as nobody wrote in between.
2. One process at a time makes a log smaller.

It must not decide what may go: ``tools.cutting`` and ``replay.retention`` do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, NamedTuple

import click

from ..wal.codec import references
from ..wal.compaction import alone, follow, named_blobs, shrink, sweep
from ..wal.errors import ThreadNotFound
from ..wal.head import ThreadHead
from ..wal.log import Log
from .cutting import Cut, apply_cut, plan_cut
from .options import app_option, as_json, graph_of, named, opened, placed, words
from .progress import progress
from .render import Column, Page
from .retention import ENDED_KEPT, STATUSES, Retention, forget_ended

PLAN = (
    Column("thread"),
    Column("status"),
    Column("records", right=True),
    Column("kept", right=True),
    Column("bytes", right=True),
    Column("kept", right=True),
    Column("cut at", right=True),
    Column("why"),
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Age(click.ParamType[timedelta]):
    """A span of time: a number and its unit."""

    name = "age"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read ``90m``, ``12h``, ``7d`` or ``2w``."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,6})([smhdw])", value)
        if found is None:
            self.fail(f"{value!r} is not an age; write 90m, 12h, 7d or 2w.", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


class Gone(NamedTuple):
    """What went, or would go, beside records: large values, items whose time is over, and ended runs."""

    blobs: int
    blob_bytes: int
    items: int
    runs: int


@click.command("compact")
@words("[LOG]")
@click.option("--thread", "threads", multiple=True, metavar="T", help="Only this thread; may be given again.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(sorted(STATUSES)),
    help="Only threads that stand so; may be given again.",
)
@click.option(
    "--keep-last", type=click.IntRange(min=1), help="How many checkpoints of each thread stay; 1 unless said."
)
@click.option("--older-than", type=Age(), metavar="AGE", help="Only what is older goes: 90m, 12h, 7d, 2w.")
@click.option(
    "--ended-runs",
    type=Age(),
    metavar="AGE",
    help="Forget handed-over runs that ended longer ago; 30d unless said.",
)
@click.option(
    "--rekey",
    metavar="KEY",
    help="Rewrite what is encrypted with this old key, so that the key can be dropped; needs --keys.",
)
@click.option(
    "--shrink", "as_shrink", is_flag=True, help="Offline: give the file's free space back. Cuts nothing."
)
@click.option(
    "--apply", "as_apply", is_flag=True, help="Do it; without, the plan is shown and nothing is changed."
)
@app_option
@as_json
def command(
    words: tuple[str, ...],
    app: str | None,
    rekey: str | None,
    *,
    as_shrink: bool,
    as_apply: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Cut off history before each thread's newest checkpoint, and what nobody names or needs any more.

    That are large values, store and cache items whose time is over, and what came of handed-over runs that ended long
    ago. Works beside running graphs. A dry run, unless --apply is given.
    """
    path, _ = placed(words)
    page = Page(as_json=as_json)
    if as_shrink:
        if app is not None or rekey is not None or any(value not in (None, ()) for value in chosen.values()):
            message = (
                "--shrink only rewrites the file; it takes none of --thread, --status, --keep-last, "
                "--older-than, --ended-runs, --rekey, --app."
            )
            raise click.UsageError(message)
        _shrink(page, path, apply=as_apply)
        return
    if rekey is not None:
        if any(value not in (None, ()) for name, value in chosen.items() if name != "keep_last"):
            message = (
                "--rekey takes all that lies under a key; "
                "it takes none of --thread, --status, --older-than, --ended-runs."
            )
            raise click.UsageError(message)
        from .rekeying import rekeyed

        rekeyed(page, path, rekey, graph_of(app), keep_last=chosen["keep_last"] or 1, apply=as_apply)
        return
    _compact(page, path, app, apply=as_apply, **chosen)


def _compact(
    page: Page,
    path: str,
    app: str | None,
    *,
    apply: bool,
    **chosen: Any,
) -> None:
    policy = Retention(
        keep_last=chosen["keep_last"] or 1,
        older_than=chosen["older_than"],
        status=chosen["statuses"],
        ended_runs=ENDED_KEPT if chosen["ended_runs"] is None else chosen["ended_runs"],
    )
    threads: tuple[str, ...] = chosen["threads"]
    graph = graph_of(app)
    rule = policy.rule(time.time_ns())
    with opened(path, write=apply) as log, alone(log) if apply else nullcontext(), progress(page) as tell:
        cuts: list[tuple[ThreadHead, Cut]] = []
        made: set[bytes] = set()
        whole = len(threads) or log.store.position().threads
        for count, head in enumerate(_heads(log, threads)):
            tell("threads", count, whole)
            if not policy.concerns(head):
                continue
            cut = plan_cut(log, head, rule, graph)
            if apply and cut.seq:
                apply_cut(log, cut)
            if cut.packed is not None:
                digests = {blob.digest for blob in cut.packed.blobs} | references(cut.packed.data)
                made |= {log.stored_name(cut.thread, digest) for digest in digests}
            # The snapshot's bytes are needed no longer, and those of all threads together may be many.
            cuts.append((head, cut._replace(packed=None)))
        blobs, size = sweep(log.store) if apply else _unnamed(log, [cut for _, cut in cuts], made)
        gone = Gone(
            blobs, size, _expired(log, apply=apply), forget_ended(log, policy.ended_runs, apply=apply)
        )
    _show(page, cuts, gone, applied=apply)


def _expired(log: Log, *, apply: bool) -> int:
    """Remove, or count, the items of stores and caches whose time is over."""
    if apply:
        return sum(log.items(cached=cached, write=True).sweep() for cached in (False, True))
    count, now = 0, time.time_ns()
    for cached in (False, True):
        with log.items(cached=cached).view() as view:
            count += sum(0 < item.expires_at <= now for item in view.scan(expired=True))
    return count


def _heads(log: Log, threads: tuple[str, ...]) -> Iterable[ThreadHead]:
    if not threads:
        yield from log.threads()
        return
    for thread in dict.fromkeys(map(named, threads)):
        head = log.head(thread)
        if head is None:
            message = f"the log holds no thread {thread!r}"
            raise ThreadNotFound(message, hint="wal threads LOG lists those it holds.", thread=thread)
        yield head


def _unnamed(log: Log, cuts: list[Cut], made: set[bytes]) -> tuple[int, int]:
    """Return how many blobs nobody would name after the cuts, and their bytes; ``made``: what snapshots would name."""
    store = log.store
    named = named_blobs(store, {cut.thread: cut.seq for cut in cuts if cut.seq})
    named = follow(made, store.blob, named)
    unnamed = [digest for digest in store.digests() if digest not in named]
    return len(unnamed), sum(len(store.blob(digest) or b"") for digest in unnamed)


def _show(page: Page, cuts: list[tuple[ThreadHead, Cut]], gone: Gone, *, applied: bool) -> None:
    freed = sum(cut.freed for _, cut in cuts) + gone.blob_bytes
    if page.as_json:
        threads = [
            {name: value for name, value in cut._asdict().items() if name not in {"packed", "keep_last"}}
            | {"status": head.status}
            for head, cut in cuts
        ]
        swept = {"count": gone.blobs, "bytes": gone.blob_bytes}
        page.emit(
            "compact",
            applied=applied,
            threads=threads,
            blobs=swept,
            items=gone.items,
            runs=gone.runs,
            freed=freed,
        )
        return
    rows = [
        (
            cut.thread,
            head.status,
            str(cut.records),
            str(cut.kept_records),
            page.size(cut.bytes),
            page.size(cut.kept_bytes),
            str(cut.seq or "-"),
            cut.why or "-",
        )
        for head, cut in cuts
    ]
    page.table(PLAN, rows)
    page.line(f"large values that nobody names: {gone.blobs}, {page.size(gone.blob_bytes)}")
    if gone.items or gone.runs:
        page.line(f"items whose time is over: {gone.items}; ended runs to forget: {gone.runs}")
    if applied:
        page.line(f"freed {page.size(freed)} inside the file")
        page.talk("The file keeps its size and uses the space again; wal compact --shrink gives it back.")
    else:
        page.line(f"dry run: nothing was changed; would free {page.size(freed)} inside the file")
        page.talk("Run it with --apply to do it. What is cut off cannot be brought back.")


def _shrink(page: Page, path: str, *, apply: bool) -> None:
    if apply:
        with opened(path):
            pass  # So that a path without a log is said to be one before anything is locked.
        before, after = shrink(path)
    else:
        with opened(path) as log:
            facts = log.store.facts()
            before, after = _whole(facts["size"]), _whole(facts["live"])
    if page.as_json:
        page.emit("shrink", applied=apply, before=before, after=after)
    elif apply:
        page.line(f"the file was {page.size(before)} and is {page.size(after)}")
    else:
        page.line(
            f"dry run: nothing was changed; the file is {page.size(before)}, of which {page.size(after)} are live"
        )
        page.talk("Run it with --apply, while nobody has the log open, to give the rest back.")


def _whole(fact: object) -> int:
    assert isinstance(fact, int), "sizes are numbers"
    return fact
