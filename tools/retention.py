"""What a log keeps, as a policy: said once, and carried out in the background while the log is open.

    Log.open(path, retention=Retention(…)) ──► Keeper: a thread of its own
         every now and then:  claim ─► plan and cut thread by thread ─► sweep ─► forget
                                        └─ within a budget: used up ─► the claim goes back, and it waits

Invariants:
1. Nothing is cut but what ``tools.cutting`` allows; what a policy would do can be asked for (``Retention.plan``).
2. One process at a time does it for a log. Whoever finds another at it leaves it alone until next time.
3. No write transaction holds more than ``batch`` frames, so that commits wait for one of these at most.
4. A thread that cannot be cut is left as it is and told of in ``problems``; the others are still looked after.
5. Closing the log ends it, between two transactions.

It must not decide what may go.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ..wal.compaction import alone, sweep
from ..wal.errors import LogClosed, LogError, LogFailed, LogFull, LogInUse, ThreadNotFound, WalgraphError
from ..wal.fault import reach
from .cutting import Cut, Rule, apply_cut, plan_cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..engine.graph import CompiledGraph
    from ..wal.head import ThreadHead
    from ..wal.log import Log

ENDED_KEPT = timedelta(days=30)
"""How long what came of a handed-over run is kept, unless said otherwise; its ``run_id`` runs nothing twice as long."""
STATUSES = frozenset(
    [
        "running",
        "crashed",
        "interrupted",
        "sleeping",
        "waiting",
        "failed",
        "drained",
        "parked",
        "cancelled",
        "done",
    ]
)
_REMEMBERED = 100_000


def _no_graphs() -> Sequence[CompiledGraph]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What a log keeps; for ``Log.open(path, retention=...)``.

    Args:
        keep_last: How many checkpoints of each thread stay.
        older_than: Checkpoints made within this time stay as well; None for none.
        status: Only threads that stand so are cut, for example ``("done", "cancelled")``; empty for all.
        ended_runs: How long what came of a handed-over run is kept after it has ended; None for ever.
        graphs: Returns the graphs of this program, so that threads with reducers of their own can be cut.
        every: The time between two passes.
        seconds: How long one pass works at most; what is not done then is gone on with in the next.
        records: How many records one pass looks at, at most.
        batch: How many frames one transaction cuts off at most: commits wait for no more than one of these.

    Raises:
        ValueError: One of them makes no sense.
    """

    keep_last: int = 1
    older_than: timedelta | None = None
    status: tuple[str, ...] = ()
    ended_runs: timedelta | None = ENDED_KEPT
    graphs: Callable[[], Sequence[CompiledGraph]] = _no_graphs
    every: timedelta = timedelta(minutes=1)
    seconds: float = 0.5
    records: int = 20_000
    batch: int = 100

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in ("keep_last", "records", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}.")
        for name in ("older_than", "ended_runs"):
            given = getattr(self, name)
            if given is not None and given < timedelta():
                raise ValueError(f"{name} must not be negative, and is {given!r}.")
        if self.seconds <= 0 or self.every <= timedelta():
            raise ValueError("seconds and every must be greater than nothing.")
        if not STATUSES.issuperset(self.status):
            known = ", ".join(sorted(STATUSES))
            raise ValueError(f"status must be a tuple of some of {known}; it is {self.status!r}.")

    def rule(self, now: int) -> Rule:
        """Return what stays of a thread at a time, in nanoseconds since 1970."""
        if self.older_than is None:
            return Rule(self.keep_last)
        return Rule(self.keep_last, now - self.older_than // timedelta(microseconds=1) * 1000)

    def concerns(self, head: ThreadHead) -> bool:
        """Tell whether a thread is cut at all."""
        return not self.status or head.status in self.status

    def plan(self, log: Log) -> list[Cut]:
        """Return what would be cut now, and of each thread that would not, why; nothing is changed."""
        rule = self.rule(time.time_ns())
        known = {graph.name: graph for graph in self.graphs()}
        heads = [head for head in log.threads() if self.concerns(head)]
        return [plan_cut(log, head, rule, known.get(head.graph))._replace(packed=None) for head in heads]

    def begin(self, log: Log) -> Keeper:
        """Carry this out for a log from now on, until the keeper is closed; ``Log.open`` calls this."""
        keeper = Keeper(self, log)
        keeper.start()
        return keeper


@dataclass
class Kept:
    """What a keeper has done since it began."""

    passes: int = 0
    rounds: int = 0
    threads: int = 0
    frames: int = 0
    blobs: int = 0
    items: int = 0
    runs: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    """Thread → why it could not be looked after the last time."""


class _Over(Exception):
    """The round is over: the keeper was closed, or another process is at it."""


class Keeper(threading.Thread):
    """Carries a policy out in the background; made by ``Retention.begin``."""

    def __init__(self, policy: Retention, log: Log) -> None:
        super().__init__(name="walgraph-retention", daemon=True)
        self.policy = policy
        self.done = Kept()
        self._log = log
        self._closed = threading.Event()
        self._claim: ExitStack | None = None
        self._began = 0.0
        self._seen = 0
        self._known: dict[str, tuple[int, float]] = {}

    def close(self) -> None:
        """End between two transactions, and return when it has; idempotent."""
        self._closed.set()
        if threading.current_thread() is not self:
            self.join()

    def run(self) -> None:
        """Look after the log, again and again."""
        while not self._closed.wait(self.policy.every.total_seconds()):
            try:
                self.look_after()
            except LogClosed:
                return
            except (LogError, OSError) as error:
                # A full or failed disk is told to whoever writes; here it only means that nothing was done.
                self.done.problems[""] = str(error)

    def look_after(self) -> None:
        """Go through the whole log once, waiting wherever the budget is used up."""
        with ExitStack() as claim:
            try:
                claim.enter_context(alone(self._log))
            except LogInUse:
                return
            self._claim = claim
            self._begin_pass()
            try:
                self._round()
            except _Over:
                return
            finally:
                self._claim = None
        self.done.rounds += 1

    def _round(self) -> None:
        log, policy = self._log, self.policy
        known = {graph.name: graph for graph in policy.graphs()}
        cut = self.done.frames
        for head in self._due():
            try:
                self._cut(head, known.get(head.graph))
                self.done.problems.pop(head.thread_id, None)
            except ThreadNotFound:
                pass  # deleted meanwhile
            except (LogClosed, LogFailed, LogFull, LogInUse):
                raise
            except WalgraphError as error:
                self.done.problems[head.thread_id] = str(error)
            self._spend(1)
        if self.done.frames > cut:
            self.done.blobs += sweep(log.store, self._spend)[0]
        for cached in (False, True):
            self.done.items += log.items(cached=cached, write=True).sweep()
            self._spend(1)
        self.done.runs += forget_ended(log, policy.ended_runs)

    def _due(self) -> Iterator[ThreadHead]:
        """Yield the threads that may have got something to cut since they were looked at."""
        policy = self.policy
        wait = None if policy.older_than is None else policy.older_than.total_seconds() / 10
        for head in self._log.threads():
            seq, at = self._known.get(head.thread_id, (-1, 0.0))
            is_old = wait is not None and time.monotonic() - at >= wait
            if policy.concerns(head) and head.frames and (head.seq != seq or is_old):
                yield head

    def _cut(self, head: ThreadHead, graph: CompiledGraph | None) -> None:
        cut = plan_cut(self._log, head, self.policy.rule(time.time_ns()), graph, self._spend)
        if cut.seq:
            gone = apply_cut(self._log, cut, batch=self.policy.batch, pace=self._spend)
            self.done.frames += gone
            self.done.threads += gone > 0
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[head.thread_id] = (head.seq, time.monotonic())

    # The budget

    def _begin_pass(self) -> None:
        self._began, self._seen = time.monotonic(), 0
        self.done.passes += 1

    def _spend(self, records: int) -> None:
        """Count work; once the budget is used up, give the claim back and wait until the next pass."""
        self._seen += records
        policy, claim = self.policy, self._claim
        if self._closed.is_set():
            raise _Over
        if claim is None or (
            self._seen <= policy.records and time.monotonic() - self._began <= policy.seconds
        ):
            return
        claim.close()
        reach("retention: budget used up")
        if self._closed.wait(policy.every.total_seconds()):
            raise _Over
        try:
            claim.enter_context(alone(self._log))
        except LogInUse:
            raise _Over from None
        self._begin_pass()


def forget_ended(log: Log, kept: timedelta | None, *, apply: bool = True) -> int:
    """Forget handed-over runs that ended longer ago than they are kept; return how many.

    Until then the same ``run_id`` handed over again is answered with what came of it, and runs nothing.
    """
    if kept is None or not log.store.has_submissions():
        return 0
    before = time.time_ns() - kept // timedelta(microseconds=1) * 1000
    if apply:
        return log.submissions(write=True).forget(before)
    return sum(0 < each.ended_at < before for each in log.submissions().all())
