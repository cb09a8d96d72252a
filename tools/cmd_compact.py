"""``wal compact``: cut off history that nobody needs any more.

    online    per thread: survey ─► choose (``replay.retention``) ─► fold up to there ─► snapshot ─► cut ─► sweep blobs
    --shrink  offline: copy what is live into a new file, and give the free space back

Without ``--apply`` nothing is changed and the plan is shown. A thread that cannot be folded exactly here, since its
reducers or classes are only in the user's code, is cut at a snapshot that the run itself made, or left alone;
``--app`` brings the code.

Invariants:
1. Every checkpoint that is kept folds to the same state as before.
2. A kill at any instant leaves a log that is whole; so does a run that writes at the same time.
3. A snapshot that would weigh more than what it replaces is not made.

It must not decide what may go: ``replay.retention`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from ..replay.plain import thread_to_plain
from ..replay.retention import Choice, Entry, choose, is_unfinished, survey
from ..wal.codec import Encoder, Packed, references
from ..wal.compaction import follow, named_blobs, shrink, sweep
from ..wal.errors import LogCorrupt, ThreadNotFound, WalgraphError
from ..wal.frame import HEADER_BYTES
from ..wal.head import ThreadHead
from ..wal.log import Log
from ..wal.record import StateFolded
from .folding import Lens
from .options import app_option, as_json, graph_of, named, opened, placed, words
from .progress import progress
from .render import Column, Page
from .saved_drop import all_but, drop
from .saved_lanes import lanes_of
from .saved_show import is_saved, plan_saved

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph

PLAN = (
    Column("thread"),
    Column("records", right=True),
    Column("kept", right=True),
    Column("bytes", right=True),
    Column("kept", right=True),
    Column("cut at", right=True),
    Column("why"),
)


class Cut(NamedTuple):
    """What is to be done to one thread. ``seq`` is 0 if it stays as it is; ``packed`` is the snapshot to make first."""

    thread: str
    seq: int
    records: int
    kept_records: int
    bytes: int
    kept_bytes: int
    checkpoints: int
    why: str
    freed: int = 0
    packed: Packed | None = None
    keep_last: int = 0
    """For a thread that LangGraph runs: how many checkpoints of each namespace stay, once the others are dropped."""


@click.command("compact")
@words("[LOG]")
@click.option("--thread", "threads", multiple=True, metavar="T", help="Only this thread; may be given again.")
@click.option(
    "--keep-last", type=click.IntRange(min=1), help="How many checkpoints of each thread stay; 1 unless said."
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
    threads: tuple[str, ...],
    keep_last: int | None,
    app: str | None,
    *,
    as_shrink: bool,
    as_apply: bool,
    as_json: bool,
) -> None:
    """Cut off history before each thread's newest checkpoint, and large values that nobody names any more.

    Works beside running graphs. A dry run, unless --apply is given.
    """
    path, _ = placed(words)
    page = Page(as_json=as_json)
    if as_shrink:
        if threads or keep_last is not None or app is not None:
            raise click.UsageError(
                "--shrink only rewrites the file; it takes none of --thread, --keep-last, --app."
            )
        _shrink(page, path, apply=as_apply)
        return
    graph = graph_of(app)
    with opened(path, write=as_apply) as log, progress(page) as tell:
        cuts: list[Cut] = []
        made: set[bytes] = set()
        whole = len(threads) or log.store.position().threads
        for count, head in enumerate(_heads(log, threads)):
            cut = plan_cut(log, head, keep_last or 1, graph)
            if as_apply and cut.seq:
                apply_cut(log, cut)
            if cut.packed is not None:
                made |= {blob.digest for blob in cut.packed.blobs} | references(cut.packed.data)
            # The snapshot's bytes are needed no longer, and those of all threads together may be many.
            cuts.append(cut._replace(packed=None))
            tell("threads", count, whole)
        blobs, blob_bytes = sweep(log.store) if as_apply else _unnamed(log, cuts, made)
    _show(page, cuts, (blobs, blob_bytes), applied=as_apply)


def plan_cut(log: Log, head: ThreadHead, keep_last: int, graph: CompiledGraph | None = None) -> Cut:
    """Return what can be cut off one thread."""
    thread = head.thread_id
    whole = Cut(thread, 0, head.records, head.records, head.bytes, head.bytes, 0, "")
    if is_saved(log, head):
        return _plan_saved_cut(log, head, whole, keep_last)
    lenient = Lens(log, graph)
    try:
        begin = lenient.start(thread, cached=False)
        stations = survey(_entries(log, lenient, thread, begin.seq), begin)
        unfinished = head.status in {"running", "crashed"} or is_unfinished(lenient.state_at(thread))
    except LogCorrupt:
        raise
    except WalgraphError as error:
        return whole._replace(why=f"left alone: {error.message}")
    choice = choose(stations, keep_last=keep_last, unfinished=unfinished, horizon=head.horizon)
    whole = whole._replace(checkpoints=len(stations), why=choice.why)
    if not choice.seq:
        return whole
    packed, reason = _snapshot(log, thread, choice.seq, graph)
    if packed is None:
        # The run that wrote the thread had the code; where it made a snapshot, the log can be cut all the same.
        made = [seq for seq in log.store.snapshots(thread) if head.horizon < seq <= choice.seq]
        if not made:
            return whole._replace(why=f"left alone: {reason}")
        choice = Choice(made[-1], choice.kept, f"cut at the run's own snapshot: {reason}")
    frames = [header for header, _ in log.frames(thread, 0, choice.seq + 1) if header.last <= choice.seq]
    records, size = sum(each.records for each in frames), sum(each.length for each in frames)
    # The thread's run may have gone on since it was listed.
    head = log.head(thread) or head
    whole = whole._replace(records=head.records, bytes=head.bytes)
    freed = size + len(frames) * HEADER_BYTES + _replaced(log, thread, choice.seq)
    if packed is not None:
        freed -= len(packed.data)
    if not frames or freed <= 0:
        return whole._replace(why=choice.why or "a snapshot would weigh more than what it replaces")
    return whole._replace(
        seq=choice.seq,
        kept_records=head.records - records,
        kept_bytes=head.bytes - size,
        checkpoints=choice.kept,
        why=choice.why,
        freed=freed,
        packed=packed,
    )


def apply_cut(log: Log, cut: Cut) -> int:
    """Make the snapshot durable, then cut off the frames that it stands for; return how many went."""
    if cut.keep_last:
        lane = lanes_of(log).lane(log, cut.thread)
        drop(lane, lambda state: all_but(state, cut.keep_last))
        return lane.cut()
    if cut.packed is not None:
        log.put_snapshot(cut.thread, cut.seq, cut.packed)
        log.flush()
    return log.truncate(cut.thread, cut.seq)


def _plan_saved_cut(log: Log, head: ThreadHead, whole: Cut, keep_last: int) -> Cut:
    """Return what can be cut off a thread that LangGraph runs: a snapshot holds all checkpoints that stay."""
    plan = plan_saved(log, head.thread_id, keep_last)
    new = {blob.digest for blob in plan.packed.blobs} - set(log.store.digests())
    weight = len(plan.packed.data) + sum(len(blob.data) for blob in plan.packed.blobs if blob.digest in new)
    freed = head.bytes + head.frames * HEADER_BYTES + _replaced(log, head.thread_id, head.seq + 1) - weight
    whole = whole._replace(checkpoints=plan.checkpoints)
    if freed <= 0:
        return whole._replace(why="a snapshot would weigh more than what it replaces")
    return whole._replace(
        seq=head.seq, kept_records=0, kept_bytes=0, freed=freed, packed=plan.packed, keep_last=keep_last
    )


def _snapshot(log: Log, thread: str, seq: int, graph: CompiledGraph | None) -> tuple[Packed | None, str]:
    """Return the encoded state at ``seq``, or None and why it cannot be made here."""
    strict = Lens(log, graph, lenient=False)
    try:
        state = strict.start(thread, seq)
        graphs = {state.graph}
        for folded in strict.states(thread, state, seq):
            state = folded.state
            graphs.add(state.graph)
        if not strict.is_one_graph(graphs):
            return None, "its graph changed on the way; today's is needed (--app module:graph)"
        if not strict.is_exact(state):
            return None, "its graph or reducers are only in your code (--app module:graph)"
        return Encoder().value(thread_to_plain(state)), ""
    except LogCorrupt:
        raise
    except WalgraphError as error:
        return None, error.message


def _entries(log: Log, lens: Lens, thread: str, after: int) -> Iterator[Entry]:
    for header, body in log.frames(thread, after):
        seq = header.after
        records = lens.decoder.records(body)
        for index, record in enumerate(records):
            seq = record.seq if isinstance(record, StateFolded) else seq + 1
            if seq > after:
                yield Entry(seq, record, index == len(records) - 1)


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


def _replaced(log: Log, thread: str, seq: int) -> int:
    """Return the bytes of the snapshots that a cut at ``seq`` drops."""
    return sum(
        len(found[1])
        for each in log.store.snapshots(thread)
        if each < seq and (found := log.store.snapshot(thread, each)) is not None
    )


def _unnamed(log: Log, cuts: list[Cut], made: set[bytes]) -> tuple[int, int]:
    """Return how many blobs nobody would name after the cuts, and their bytes; ``made``: what snapshots would name."""
    store = log.store
    named = named_blobs(store, {cut.thread: cut.seq for cut in cuts if cut.seq})
    named = follow(made, store.blob, named)
    unnamed = [digest for digest in store.digests() if digest not in named]
    return len(unnamed), sum(len(store.blob(digest) or b"") for digest in unnamed)


def _show(page: Page, cuts: list[Cut], blobs: tuple[int, int], *, applied: bool) -> None:
    freed = sum(cut.freed for cut in cuts) + blobs[1]
    if page.as_json:
        threads = [
            {name: value for name, value in cut._asdict().items() if name not in {"packed", "keep_last"}}
            for cut in cuts
        ]
        swept = {"count": blobs[0], "bytes": blobs[1]}
        page.emit("compact", applied=applied, threads=threads, blobs=swept, freed=freed)
        return
    rows = [
        (
            cut.thread,
            str(cut.records),
            str(cut.kept_records),
            page.size(cut.bytes),
            page.size(cut.kept_bytes),
            str(cut.seq or "-"),
            cut.why or "-",
        )
        for cut in cuts
    ]
    page.table(PLAN, rows)
    page.line(f"large values that nobody names: {blobs[0]}, {page.size(blobs[1])}")
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
