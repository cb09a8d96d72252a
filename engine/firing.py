"""Firing schedules: which of their times are due, and what is handed over for them.

    Clockwork.tick()     look at what is due ──► decide ──► one transaction: runs handed over, row changed
    decide (pure)        a schedule, its due times, whether its run is under way ──► what is handed over and skipped

MISSED     A time is on time when it is seen at most ``grace`` late; those are all fired. Of older ones, which nobody
           was there to see, ``missed`` says: ``skip`` none, ``latest`` one (unless one is on time, which stands for
           them), ``all`` each; none of them if it is older than ``catch_up``, and at most ``MOST`` at once, the newest.

OVERLAP    When the run before is still under way (queued, running, sleeping or waiting; not parked): ``skip`` the time,
           ``buffer_one`` or ``buffer_all`` to fire when that run is over, ``cancel_other`` to cancel it first, or
           ``allow_all``. These are the overlap policies of Temporal's schedules.

CLOCK      Times are dealt with once, in order. A clock that is set back by up to ``BACK`` makes a schedule wait until
           it is where it was, as cron does; one that is set back further makes it go on from the time that is shown,
           and what was handed over under a time that comes again is not handed over again.

Invariants:
1. A nominal time is handed over in the same transaction that says so, under a run id that is made of it.
2. What cannot be decided here, since its zone is not known, is left as it is, and reported.

It must not run anything.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from ..wal.errors import NotAvailable, RunNotFound, ScheduleProblem, ThreadNotFound
from ..wal.fault import reach
from ..wal.head import moment
from ..wal.submission_layout import Submission
from . import clock
from .assignment import LEFT, Carried
from .cron import times_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..wal.log import Log
    from ..wal.schedule_layout import Schedule
    from .cron import Times

MOST = 1000
"""How many times one look deals with, and how many a buffer holds; what is beyond is skipped."""
BACK = 3 * 3600 * 10**9
"""How far, in nanoseconds, a clock may be set back before schedules go by what it shows; three hours, as in cron(8)."""
SWEEP = 1.0
"""Seconds between two looks at whether the clock was set back."""
UNDER_WAY = frozenset({"waiting", "started", "suspended"})
"""States of a handed-over run that is not over; a parked one is not going on, so the next one does not wait for it."""


class Decision(NamedTuple):
    """What a look at a schedule came to: the row that it is to be, and the nominal times to hand over."""

    wanted: Schedule
    fires: tuple[int, ...] = ()
    cancels: bool = False


def decide(schedule: Schedule, times: Times, now: int, *, is_under_way: bool) -> Decision:
    """Return what is to be done about a schedule now.

    Args:
        schedule: It, as it is kept.
        times: Its times.
        now: The time.
        is_under_way: Whether the run that it handed over last is not over.
    """
    if schedule.seen > now + BACK:
        return Decision(from_now(schedule, now))
    end = min(now, schedule.ends_at) if schedule.ends_at else now
    due = times.newest(schedule.last, end, MOST) if schedule.next and schedule.next <= now else []
    chosen = _made_up_for(schedule, due, now)
    fires, buffered, is_to_cancel = _in_turn(schedule, chosen, is_under_way=is_under_way)
    wanted = schedule._replace(buffered=tuple(buffered))
    if due or (schedule.next and schedule.next <= now):
        wanted = _going_on(wanted, times, max(now, schedule.last))._replace(seen=now)
    gone = len(schedule.buffered) + len(due) - len(fires) - len(buffered)
    if fires or gone:
        wanted = wanted._replace(fires=schedule.fires + len(fires), skips=schedule.skips + gone)
    if fires:
        wanted = wanted._replace(run=name_of(schedule, fires[-1]), fired=fires[-1])
    return Decision(wanted, tuple(fires), is_to_cancel)


def _made_up_for(schedule: Schedule, due: list[int], now: int) -> list[int]:
    """Return which of the due times are fired, were there no other run."""
    on_time = [at for at in due if now - at <= schedule.grace]
    late = [at for at in due if schedule.grace < now - at <= schedule.catch_up]
    match schedule.missed:
        case "all":
            return late + on_time
        case "latest":
            return on_time or late[-1:]
        case _:
            return on_time


def _in_turn(
    schedule: Schedule, chosen: list[int], *, is_under_way: bool
) -> tuple[list[int], list[int], bool]:
    """Return which times are fired now, which are kept for later, and whether the run before is to be cancelled."""
    line = [*schedule.buffered, *chosen]
    match schedule.overlap:
        case "allow_all":
            return line, [], False
        case "skip":
            return ([] if is_under_way else line[:1]), [], False
        case "cancel_other":
            line = line[-1:]
            return ([], line, bool(chosen)) if is_under_way else (line, [], False)
        case overlap:
            held = 1 if overlap == "buffer_one" else MOST
            if is_under_way:
                return [], line[:held], False
            return line[:1], line[1 : held + 1], False


def _going_on(schedule: Schedule, times: Times, after: int) -> Schedule:
    """Return a schedule all of whose times up to a moment have been dealt with."""
    following = times.first_after(after)
    if following is None or (schedule.ends_at and following > schedule.ends_at):
        following = 0
    return schedule._replace(last=after, next=following, seen=after)


def from_now(schedule: Schedule, now: int) -> Schedule:
    """Return a schedule whose next time is the first one from now on; nothing before it is made up for."""
    times = times_of(schedule.cron, schedule.zone)
    # A time that is the start itself counts; one that is now has passed.
    return _going_on(schedule, times, max(now, schedule.starts_at - 1))._replace(seen=now)


def begun(schedule: Schedule, now: int) -> Schedule:
    """Return a schedule that begins now.

    Raises:
        ScheduleProblem: It would never fire.
    """
    going = from_now(schedule, now)
    if not going.next:
        message = (
            f"The schedule {schedule.name!r} would never fire: {schedule.cron!r} has no time before its end."
        )
        raise ScheduleProblem(message, hint="Give another ends_at.", schedule=schedule.name)
    return going


def stamp(nominal: int) -> str:
    """Return a nominal time as it stands in the ids of runs and threads."""
    at = moment(nominal)
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond:06}" if at.microsecond else "") + "Z"


def name_of(schedule: Schedule, nominal: int) -> str:
    """Return the id of the run that is handed over for a nominal time."""
    return f"{schedule.name}@{stamp(nominal)}"


def submission_of(schedule: Schedule, nominal: int, now: int) -> Submission:
    """Return the run that is handed over for a nominal time.

    Args:
        schedule: The schedule.
        nominal: The time.
        now: The time that it is.
    """
    run = name_of(schedule, nominal)
    local = times_of(schedule.cron, schedule.zone).local(nominal)
    return Submission(
        0,
        run,
        schedule.thread or run,
        schedule.graph,
        schedule.queue,
        schedule.priority,
        schedule.given,
        xxhash.xxh3_128_digest(schedule.digest + run.encode()),
        max(1, now),
        notes=(("schedule", schedule.name), ("scheduled_at", local.isoformat())),
    )


class Clockwork:
    """Hands over what schedules are due, of those whose graphs and queues are served here.

    Args:
        log: The log.
        serves: Tells of a queue's and a graph's name whether they are ours.
    """

    def __init__(self, log: Log, serves: Callable[[str, str], bool]) -> None:
        self.left: dict[str, Carried] = {}
        """Schedules that cannot be fired here, and why."""
        self._log = log
        self._serves = serves
        self._seen = -1
        self._next: int | None = None
        self._swept_at = -SWEEP
        self._latest = 0

    def is_due(self) -> bool:
        """Tell, cheaply, whether there may be something to hand over."""
        schedules = self._log.schedules()
        if not schedules.is_there():
            return False
        now = clock.now()
        return (
            schedules.last_change() != self._seen
            or (self._next is not None and now >= self._next)
            or time.monotonic() - self._swept_at >= SWEEP
        )

    def tick(self, upto: int | None = None) -> list[str]:
        """Hand over what is due, and return the ids of the runs.

        Args:
            upto: The time up to which it is looked at; None for now.

        Raises:
            LogError: The log cannot be read or written.
        """
        if not self.is_due():
            return []
        schedules = self._log.schedules()
        fired: list[str] = []
        now = clock.now() if upto is None else upto
        self._seen = schedules.last_change()
        rows = {row.name: row for row in schedules.due(now)}
        if time.monotonic() - self._swept_at >= SWEEP:
            self._swept_at = time.monotonic()
            if now + BACK < self._latest or not self._latest:
                # It was set back, or this is the first look, and nobody knows what it showed before.
                rows |= {row.name: row for row in schedules.all() if row.seen > now + BACK}
                self._latest = now
        self._latest = max(self._latest, now)
        for row in rows.values():
            if not row.paused_at and self._serves(row.queue, row.graph):
                fired += self._fired(row, now)
        self._next = schedules.next_look(now)
        return fired

    def _fired(self, row: Schedule, now: int) -> Sequence[str]:
        """Fire one schedule, and return the ids of the runs."""
        schedules = self._log.schedules(write=True)
        try:
            times = times_of(row.cron, row.zone)
            decision = decide(row, times, now, is_under_way=is_under_way(self._log, row))
            runs = [submission_of(row, nominal, now) for nominal in decision.fires]
        except (ScheduleProblem, NotAvailable) as error:
            reason = f"schedule {row.name!r} cannot be fired here: {error.message}"
            self.left[row.name] = Carried(row.thread or row.name, row.graph, LEFT, "", reason, None, error)
            return ()
        self.left.pop(row.name, None)
        if decision.cancels:
            cancel_run(self._log, row)
        reach("schedule: decided")
        if decision.wanted == row or not schedules.change(row, decision.wanted, runs):
            return ()
        reach("schedule: handed over")
        return [run.run for run in runs]


def is_under_way(log: Log, schedule: Schedule) -> bool:
    """Tell whether the run that a schedule handed over last is not over."""
    found = log.submissions().get(schedule.run) if schedule.run else None
    return found is not None and found.state in UNDER_WAY


def cancel_run(log: Log, schedule: Schedule) -> None:
    """Cancel the run that a schedule handed over last."""
    found = log.submissions().get(schedule.run)
    if found is None or found.state not in UNDER_WAY:
        return
    try:
        log.cancel(found.thread, run_id=found.run, reason=f"the next time of schedule {schedule.name!r}")
    except (ThreadNotFound, RunNotFound):
        # It was over, and is gone, since we looked.
        return
