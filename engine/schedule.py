"""Schedules: a graph is handed over again and again, at the times of a cron expression.

    schedule(cron, graph, input) ──► a row of the log ──► workers hand runs over at its times (``engine.firing``)
                     └──► ScheduleHandle: info, upcoming, pause, resume, trigger, delete

Invariants:
1. When ``schedule`` returns, the schedule is durable; it fires while some worker, in any process, serves its graph.
2. The same schedule again changes nothing; another one under its name is refused, unless ``replace`` is given.
3. What cannot be kept, or would never fire, is refused before anything is kept.

It must not decide what is due.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from ..wal.errors import ScheduleConflict, ScheduleNotFound, ScheduleProblem
from ..wal.head import moment, nanoseconds
from ..wal.log_reading import as_thread_id
from ..wal.schedule_layout import Schedule
from . import clock
from .config import merged
from .cron import times_of, zone_name
from .firing import begun, from_now, submission_of
from .settings import checked_durability, checked_options
from .submit import DEFAULT_QUEUE, Offer, RunHandle, line_of, log_of, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from ..wal.log import Log
    from ..wal.log_reading import ThreadId
    from .graph import CompiledGraph

MISSED = ("skip", "latest", "all")
OVERLAP = ("skip", "buffer_one", "buffer_all", "cancel_other", "allow_all")
GRACE, CATCH_UP = timedelta(minutes=1), timedelta(days=365)
SAID = (
    *("cron", "zone", "graph", "thread", "queue", "priority", "missed", "overlap"),
    *("grace", "catch_up", "starts_at", "ends_at"),
)
"""The parts of a schedule that a conflict names; the others are the input and how the run is called."""


class ScheduleOptions(TypedDict, total=False):
    """The options of ``schedule``, by name."""

    zone: str | ZoneInfo
    thread_id: ThreadId | None
    missed: str
    overlap: str
    grace: timedelta | float
    catch_up: timedelta | float
    starts_at: datetime | None
    ends_at: datetime | None
    queue: str
    priority: int
    config: dict[str, Any] | None
    context: Any
    durability: str | None


class ScheduleInfo(NamedTuple):
    """A schedule as it stands.

    ``next_at`` is its next time, None when it is paused or over; ``last_at`` the nominal time that it handed over last,
    as the run ``last_run``. ``waiting`` are times that wait for that run to be over. ``skips`` counts the times that
    were missed or would have overlapped, up to a thousand for each look.
    """

    name: str
    cron: str
    zone: str
    graph: str
    thread_id: str | None
    missed: str
    overlap: str
    next_at: datetime | None
    last_at: datetime | None
    last_run: str | None
    waiting: tuple[datetime, ...]
    fires: int
    skips: int
    paused: str | None


def schedule(
    cron: str,
    graph: CompiledGraph[Any, Any, Any, Any] | str,
    input: Any,
    *,
    name: str | None = None,
    log: Log | None = None,
    replace: bool = False,
    **options: Unpack[ScheduleOptions],
) -> ScheduleHandle:
    """Hand a graph over to the workers of a log again and again, at the times of a cron expression.

    Each of its times is handed over once, as the run ``name@time`` (in UTC), whatever dies meanwhile. The run finds its
    nominal time in ``get_config()["metadata"]["scheduled_at"]``, as text with its zone.

    Args:
        cron: Minute, hour, day of month, month and day of week, or six fields with seconds in front.
        graph: The graph, or its name where its code is not at hand.
        input: What each run is given; it is kept, so it cannot be a function.
        name: What the schedule is called; like the graph if None.
        log: The log; that of the graph if None.
        replace: Whether to take the place of another schedule of that name; what it did and its pause stay.
        options: ``zone``: the time zone, "UTC" if not given. ``thread_id``: the thread of all runs; each has one of its
            own, called like the run, if None. ``missed``: ``"latest"``, ``"all"`` or ``"skip"``: what is made up for of
            times that came while no worker was there. ``grace``: by how much a time may be late and not be missed, in
            seconds or as a timedelta; a minute. ``catch_up``: how old a time may be that is made up for; a year.
            ``overlap``: ``"skip"``, ``"buffer_one"``, ``"buffer_all"``, ``"cancel_other"`` or ``"allow_all"``: what to
            do when the run before is not over. ``starts_at``, ``ends_at``: the first and the last moment at which it
            may fire. ``queue``, ``priority``, ``config``, ``context`` and ``durability``: as for ``submit``.

    Returns:
        A handle: ``info()``, ``upcoming(n)``, ``pause()``, ``resume()``, ``trigger()``, ``delete()``.

    Raises:
        ScheduleProblem: The expression cannot be read or would never fire, the time zone is not known, an option makes
            no sense, or the input is a function.
        ScheduleConflict: There is another schedule of that name, and ``replace`` was not given.
        NoLog: The graph has no log, and none was given.
        NotSerializable: The input, the config or the context cannot be written.
        NotAvailable: cronsim is not installed.
        TypeError: There is no such option.
    """
    checked_options("schedule", ScheduleOptions, options)
    place = log_of(graph, log)
    now = clock.now()
    asked = _asked(cron, graph, input, name, options, now)
    fresh = begun(asked, now)
    schedules = place.schedules(write=True)
    while True:
        known = schedules.get(asked.name)
        if known is None:
            wanted = fresh
        elif _said(known) == _said(asked):
            break
        elif not replace:
            raise _conflict(asked, known)
        else:
            kept = {field: getattr(known, field) for field in ("made_at", "paused_at", "reason", "buffered")}
            done = {field: getattr(known, field) for field in ("run", "fired", "fires", "skips")}
            wanted = fresh._replace(**kept, **done)
        if schedules.change(known, wanted):
            break
    return ScheduleHandle(place, asked.name)


async def aschedule(
    cron: str,
    graph: CompiledGraph[Any, Any, Any, Any] | str,
    input: Any,
    *,
    name: str | None = None,
    log: Log | None = None,
    replace: bool = False,
    **options: Unpack[ScheduleOptions],
) -> ScheduleHandle:
    """Schedule a graph without blocking the event loop while it is written; see ``schedule``."""
    return await asyncio.to_thread(
        lambda: schedule(cron, graph, input, name=name, log=log, replace=replace, **options)
    )


def schedules(log: Log) -> list[ScheduleInfo]:
    """Return all schedules of a log, in the order of their names."""
    return [info_of(row) for row in log.schedules().all()]


class ScheduleHandle:
    """A schedule; made by ``schedule``, and anywhere else of its log and name.

    Args:
        log: The log.
        name: The schedule's name.

    Raises:
        ScheduleNotFound: There is no schedule of that name.
    """

    def __init__(self, log: Log, name: str) -> None:
        self.name = name
        self._log = log
        self._row()

    def __repr__(self) -> str:
        """Return its name."""
        return f"<ScheduleHandle {self.name!r}>"

    def info(self) -> ScheduleInfo:
        """Return how it stands.

        Raises:
            ScheduleNotFound: It was deleted.
        """
        return info_of(self._row())

    def upcoming(self, count: int = 5) -> list[datetime]:
        """Return its next times, in its own zone, as they would be if it were not paused.

        Args:
            count: How many, at most; fewer if it ends before.

        Raises:
            ScheduleNotFound: It was deleted.
        """
        row = self._row()
        times = times_of(row.cron, row.zone)
        found: list[datetime] = []
        at = from_now(row, clock.now()).next if row.paused_at else row.next
        while at and len(found) < count and not (row.ends_at and at > row.ends_at):
            found.append(times.local(at))
            at = times.first_after(at) or 0
        return found

    def pause(self, reason: str = "") -> None:
        """Let it not fire until it is resumed; its times until then pass, and are not made up for.

        Args:
            reason: Why, for those who look.

        Raises:
            ScheduleNotFound: It was deleted.
        """
        self._change(lambda row, now: row._replace(paused_at=now, reason=reason, changed_at=now))

    def resume(self) -> None:
        """Let it fire again, from its next time on.

        Raises:
            ScheduleNotFound: It was deleted.
        """

        def resumed(row: Schedule, now: int) -> Schedule:
            if not row.paused_at:
                return row
            return from_now(row, now)._replace(paused_at=0, reason="", changed_at=now)

        self._change(resumed)

    def trigger(self) -> RunHandle:
        """Hand a run over now, besides its times, paused or not, and whether or not another one is under way.

        Returns:
            The run; its nominal time is now.

        Raises:
            ScheduleNotFound: It was deleted.
        """
        while True:
            row, now = self._row(), clock.now() // 1000 * 1000
            run = submission_of(row, now, now)
            wanted = row._replace(run=run.run, fired=now, fires=row.fires + 1)
            if self._log.schedules(write=True).change(row, wanted, [run]):
                return RunHandle(self._log, run.run)

    def delete(self) -> bool:
        """Delete it, and return whether it was there; runs that were handed over go on."""
        table = self._log.schedules(write=True)
        while (row := table.get(self.name)) is not None:
            if table.change(row, None):
                return True
        return False

    def _row(self) -> Schedule:
        row = self._log.schedules().get(self.name)
        if row is None:
            message = f"The log has no schedule {self.name!r}."
            raise ScheduleNotFound(message, hint="List them with `wal schedules`.", schedule=self.name)
        return row

    def _change(self, changed: Callable[[Schedule, int], Schedule]) -> None:
        while True:
            row = self._row()
            wanted = changed(row, clock.now())
            if wanted == row or self._log.schedules(write=True).change(row, wanted):
                return


def info_of(row: Schedule) -> ScheduleInfo:
    """Return how a schedule stands, for users."""
    return ScheduleInfo(
        row.name,
        row.cron,
        row.zone,
        row.graph,
        row.thread or None,
        row.missed,
        row.overlap,
        moment(row.next) if row.next and not row.paused_at else None,
        moment(row.fired) if row.fired else None,
        row.run or None,
        tuple(map(moment, row.buffered)),
        row.fires,
        row.skips,
        (row.reason or "paused") if row.paused_at else None,
    )


def _asked(
    cron: str, graph: Any, input: Any, name: str | None, options: ScheduleOptions, now: int
) -> Schedule:
    """Return the schedule that was asked for, before it has a time.

    Raises:
        ScheduleProblem: It makes no sense.
        NotSerializable: The input, the config or the context cannot be written.
    """
    if not isinstance(cron, str):
        message = f"A cron expression is text, not {cron!r}."
        raise ScheduleProblem(message, hint="For example '0 2 * * *'.")
    if callable(input):
        message = f"The input of a schedule is kept in the log, and a function cannot be: {input!r}."
        hint = "Give a value; the run finds its nominal time in get_config()['metadata']['scheduled_at']."
        raise ScheduleProblem(message, hint=hint)
    graph_name = graph if isinstance(graph, str) else graph.name
    called = graph_name if name is None else name
    if not isinstance(called, str) or not called:
        message = f"A schedule's name is text, and not empty: {called!r} is none."
        raise ScheduleProblem(message, hint="name='nightly-report'.")
    called.encode()
    zone = zone_name(options.get("zone", "UTC"))
    times_of(cron, zone)
    configurable = dict((options.get("config") or {}).get("configurable") or {})
    named = configurable.pop("thread_id", None) if options.get("thread_id") is None else options["thread_id"]
    thread = "" if named is None else as_thread_id(named)
    config = {**merged(options.get("config")), "configurable": configurable}
    offer = Offer(input, config, options.get("context"), checked_durability(options.get("durability")))
    given, digest = written(offer, thread, graph_name)
    queue, priority = line_of(options.get("queue", DEFAULT_QUEUE), options.get("priority", 0))
    return Schedule(
        called,
        cron,
        zone,
        graph_name,
        thread,
        queue,
        priority,
        given,
        digest,
        _one_of("missed", options.get("missed", "latest"), MISSED),
        _one_of("overlap", options.get("overlap", "skip"), OVERLAP),
        _duration("grace", options.get("grace", GRACE)),
        _duration("catch_up", options.get("catch_up", CATCH_UP)),
        _moment("starts_at", options.get("starts_at")),
        _moment("ends_at", options.get("ends_at")),
        now,
        now,
    )


def _one_of(option: str, given: Any, known: tuple[str, ...]) -> str:
    if given not in known:
        message = f"{option}={given!r} is not known."
        raise ScheduleProblem(message, hint=f"One of {', '.join(map(repr, known))}.", option=option)
    return str(given)


def _duration(option: str, given: Any) -> int:
    """Return a duration in nanoseconds.

    Raises:
        ScheduleProblem: It is none, or negative.
    """
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        message = f"{option}={given!r} is no duration."
        raise ScheduleProblem(message, hint="Seconds, or a timedelta; not negative.", option=option)
    return int(seconds * clock.SECOND)


def _moment(option: str, given: Any) -> int:
    """Return a moment in nanoseconds since 1970; 0 for None.

    Raises:
        ScheduleProblem: It is no datetime with a zone.
    """
    if given is None:
        return 0
    try:
        return nanoseconds(given)
    except (ValueError, AttributeError, TypeError):
        message = f"{option}={given!r} is no datetime with a time zone."
        raise ScheduleProblem(message, hint="For example datetime(2027, 1, 1, tzinfo=UTC).") from None


def _said(row: Schedule) -> tuple[Any, ...]:
    """Return what somebody said of a schedule, to be compared."""
    return (*(getattr(row, field) for field in SAID), row.digest)


def _conflict(asked: Schedule, known: Schedule) -> ScheduleConflict:
    others = [
        f"{field} {getattr(known, field)!r}, not {getattr(asked, field)!r}"
        for field in SAID
        if getattr(known, field) != getattr(asked, field)
    ]
    said = "; ".join(others) or "another input, config, context or durability"
    message = f"There is a schedule {asked.name!r} already, with {said}. Nothing was changed."
    hint = "Give another name, or replace=True to change it."
    return ScheduleConflict(message, hint=hint, schedule=asked.name)
