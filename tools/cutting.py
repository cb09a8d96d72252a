"""Cutting the history of one thread off: what may go, the snapshot that stands for it, and the cut itself.

    records ──► survey ──► choose (``replay.retention``) ──► fold up to there ──► snapshot ──► cut

Who calls this says what is to stay; what somebody still needs stays in any case: open steps and questions, origins of
branches, effects in doubt, and the records that tell how a handed-over run ended.

Invariants:
1. Every checkpoint that is kept folds to the same state as before.
2. The snapshot is durable before a record goes that it stands for; a kill at any instant leaves a log that is whole.
3. A snapshot that would weigh more than what it replaces is not made, unless the caller wants it at any weight.

It must not show anything, nor decide which threads are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..replay.intents import effects
from ..replay.plain import thread_to_plain
from ..replay.retention import Choice, Entry, choose, is_unfinished, survey
from ..wal.codec import Decoder, Encoder, Packed
from ..wal.errors import LogCorrupt, WalgraphError
from ..wal.fault import reach
from ..wal.frame import HEADER_BYTES
from ..wal.head import ThreadHead, nanoseconds
from ..wal.log import Log
from ..wal.record import StateFolded, TaskStarted
from ..wal.saved_thread import is_saved
from .folding import Lens
from .saved_drop import all_but, drop
from .saved_lanes import lanes_of
from .saved_show import plan_saved

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph

Pace = Callable[[int], None]
"""Is told of each frame how many records it holds, before it is looked at: whoever has a budget may wait there."""


class Rule(NamedTuple):
    """What stays of a thread: its newest checkpoints, and those made at ``young`` (nanoseconds) or later.

    With ``at_any_weight`` a snapshot is made even if it takes more room than what it replaces.
    """

    keep_last: int = 1
    young: int | None = None
    at_any_weight: bool = False


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


def _unpaced(records: int) -> None:
    """Look at a frame without waiting."""


def plan_cut(
    log: Log, head: ThreadHead, rule: Rule, graph: CompiledGraph | None = None, pace: Pace = _unpaced
) -> Cut:
    """Return what can be cut off one thread.

    Args:
        log: The log.
        head: The thread.
        rule: What stays in any case.
        graph: The user's graph, for reducers and classes that only it has.
        pace: Called before each frame is looked at.
    """
    thread = head.thread_id
    whole = Cut(thread, 0, head.records, head.records, head.bytes, head.bytes, 0, "")
    if is_saved(log, head):
        if rule.young is not None and nanoseconds(head.updated_at) >= rule.young:
            return whole._replace(why="kept: not old enough")
        return _plan_saved_cut(log, head, whole, rule)
    lenient = Lens(log, graph)
    doubts: list[int] = []
    try:
        begin, _ = lenient.since(thread, cached=False)
        stations = survey(_entries(log, lenient, thread, begin.seq, pace, doubts), begin)
        unfinished = head.status in {"running", "crashed"} or is_unfinished(lenient.state_at(thread))
        limit = _limit(log, thread, lenient.decoder, bool(doubts))
    except LogCorrupt:
        raise
    except WalgraphError as error:
        return whole._replace(why=f"left alone: {error.message}")
    choice = choose(
        stations,
        keep_last=rule.keep_last,
        unfinished=unfinished,
        horizon=head.horizon,
        young=rule.young,
        limit=limit,
    )
    whole = whole._replace(checkpoints=len(stations), why=choice.why)
    if not choice.seq:
        return whole
    packed, reason = _snapshot(log, thread, choice.seq, graph, pace)
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
    if not frames or (freed <= 0 and not rule.at_any_weight):
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


def apply_cut(log: Log, cut: Cut, *, batch: int | None = None, pace: Pace = _unpaced) -> int:
    """Make the snapshot durable, then cut off the frames that it stands for; return how many went.

    Args:
        log: The log.
        cut: What ``plan_cut`` returned.
        batch: How many frames one transaction removes at most, while which writers wait.
        pace: Called before each transaction but the first.
    """
    if cut.keep_last:
        lane = lanes_of(log).lane(log, cut.thread)
        drop(lane, lambda state: all_but(state, cut.keep_last))
        return lane.cut()
    if cut.packed is not None:
        log.put_snapshot(cut.thread, cut.seq, cut.packed)
        log.flush()
        reach("retention: snapshot durable")
    return log.truncate(cut.thread, cut.seq, batch=batch, pace=pace)


def _limit(log: Log, thread: str, decoder: Decoder, has_effects: bool) -> int | None:  # noqa: FBT001
    """Return the seq after which somebody else needs a thread's records, or None if nobody does."""
    needed: list[int] = []
    if has_effects:
        # What nobody knows the end of is looked up in the records, by people too, until it is settled.
        held = effects(log, thread, decoder)
        needed += [each.seq - 1 for each in held if each.standing in {"in doubt", "asked", "running"}]
    if log.store.has_submissions():
        submissions = log.submissions()
        # Whoever takes over from a process that died looks there for how the run ended.
        needed += [each.since for each in submissions.of_thread(thread) if each.started_at]
        tried = submissions.tried(thread)
        if tried.times:
            needed.append(tried.seq)
    return min(needed, default=None)


def _plan_saved_cut(log: Log, head: ThreadHead, whole: Cut, rule: Rule) -> Cut:
    """Return what can be cut off a thread that LangGraph runs: a snapshot holds all checkpoints that stay."""
    plan = plan_saved(log, head.thread_id, rule.keep_last)
    new = {blob.digest for blob in plan.packed.blobs} - set(log.store.digests())
    weight = len(plan.packed.data) + sum(len(blob.data) for blob in plan.packed.blobs if blob.digest in new)
    freed = head.bytes + head.frames * HEADER_BYTES + _replaced(log, head.thread_id, head.seq + 1) - weight
    whole = whole._replace(checkpoints=plan.checkpoints)
    if freed <= 0 and not rule.at_any_weight:
        return whole._replace(why="a snapshot would weigh more than what it replaces")
    return whole._replace(
        seq=head.seq, kept_records=0, kept_bytes=0, freed=freed, packed=plan.packed, keep_last=rule.keep_last
    )


def _snapshot(
    log: Log, thread: str, seq: int, graph: CompiledGraph | None, pace: Pace
) -> tuple[Packed | None, str]:
    """Return the encoded state at ``seq``, or None and why it cannot be made here."""
    strict = Lens(log, graph, lenient=False)
    try:
        state, following = strict.since(thread, seq)
        graphs = {state.graph}
        for folded in following:
            pace(1)
            state = folded.state
            graphs.add(state.graph)
        if not strict.is_one_graph(graphs):
            return None, "its graph changed on the way; today's is needed (--app module:graph)"
        if not strict.is_exact(state):
            return None, "its graph or reducers are only in your code (--app module:graph)"
        return Encoder().value(thread_to_plain(state, in_pages=True)), ""
    except LogCorrupt:
        raise
    except WalgraphError as error:
        return None, error.message


def _entries(log: Log, lens: Lens, thread: str, after: int, pace: Pace, doubts: list[int]) -> Iterator[Entry]:
    """Yield a thread's records; the seqs of those that begin what is done at most once are put into ``doubts``."""
    for header, body in log.frames(thread, after, whole=True):
        pace(header.records)
        seq = header.after
        records = lens.decoder.records(body)
        for index, record in enumerate(records):
            seq = record.seq if isinstance(record, StateFolded) else seq + 1
            if isinstance(record, TaskStarted):
                doubts.append(seq)
            if seq > after:
                yield Entry(seq, record, index == len(records) - 1)


def _replaced(log: Log, thread: str, seq: int) -> int:
    """Return the bytes of the snapshots that a cut at ``seq`` drops."""
    return sum(
        len(found[1])
        for each in log.store.snapshots(thread)
        if each < seq and (found := log.store.snapshot(thread, each)) is not None
    )
