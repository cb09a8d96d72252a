"""From a cron expression and a time zone to points in time.

    "30 2 * * *", "Europe/Oslo"  ──►  Times: first_after(t), newest(after, upto, most)

The expression has five fields (minute, hour, day of month, month, day of week) or six, with seconds in front, as
cronsim reads them; ``@hourly``, ``@daily``, ``@weekly``, ``@monthly`` and ``@yearly`` are known.

SUMMER TIME    As in Debian's cron (crontab(5), "Daylight Saving Time"), with or without seconds:

    a fixed minute and hour (neither begins with ``*``)      one time a day: when the clock skips it, the first moment
                                                             after the gap; when it comes twice, the first of the two
    a ``*`` in minute or hour                                by time as it passes: what is skipped does not come, what
                                                             comes twice does so twice

Invariants:
1. Times strictly increase, and are the same whoever asks and from wherever they are counted.

It must not read a clock, nor know what is to be done at these times.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ..wal.errors import NotAvailable, ScheduleProblem
from ..wal.head import moment, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MINUTE = timedelta(minutes=1)
FIRST_SPAN = 60 * 10**9
"""The nanoseconds before the end that are looked through first when only the newest times are asked for."""
FIELDS = "minute hour day-of-month month day-of-week, for example '0 2 * * *'; or six, with seconds in front"


class Times:
    """The points in time that an expression means in a zone.

    Args:
        cron: The expression.
        zone: The name of the time zone.

    Raises:
        ScheduleProblem: The expression cannot be read or never comes true, or the zone is not known.
        NotAvailable: cronsim is not installed.
    """

    def __init__(self, cron: str, zone: str) -> None:
        self._cron = ALIASES.get(cron.strip().lower(), cron)
        self._zone = zone_of(zone)
        self._simulator = _simulator()
        self._check(cron)
        minute, hour = self._cron.split()[-5:-3]
        self._is_fixed = not minute.startswith("*") and not hour.startswith("*")

    def first_after(self, after: int) -> int | None:
        """Return the first time after a moment, in nanoseconds since 1970; None if there is none."""
        return next(self._from(after), None)

    def newest(self, after: int, upto: int, most: int) -> list[int]:
        """Return the times with after < time ≤ upto, oldest first; of more than ``most`` the newest."""
        span = FIRST_SPAN
        while True:
            start = max(after, upto - span)
            found = []
            for time in self._from(start):
                if time > upto:
                    break
                found.append(time)
            if start == after or len(found) >= most:
                return found[-most:]
            span *= 4

    def local(self, time: int) -> datetime:
        """Return a time as the zone's clocks show it."""
        return moment(time).astimezone(self._zone)

    def _check(self, given: str) -> None:
        from cronsim import CronSimError

        start = datetime(2024, 1, 1)  # noqa: DTZ001  # it is the expression that is looked at
        try:
            next(self._simulator(self._cron, start))
        except StopIteration:
            raise _never(given) from None
        except CronSimError as error:
            if self._could_be_read():
                raise _never(given) from None
            message = f"The cron expression {given!r} cannot be read: {error}."
            raise ScheduleProblem(message, hint=f"Five fields: {FIELDS}.", cron=given) from None

    def _could_be_read(self) -> bool:
        """Tell whether all fields can be read, so that it is their days and months that do not go together."""
        from cronsim import CronSimError

        parts = self._cron.split()
        if len(parts) not in {5, 6}:
            return False
        every_month = [*parts[:-2], "*", parts[-1]]
        try:
            for part in (every_month, [*parts[:-3], "*", *parts[-2:]]):
                self._simulator(" ".join(part), datetime(2024, 1, 1))  # noqa: DTZ001  # as above
        except CronSimError:
            return False
        return True

    def _from(self, after: int) -> Iterator[int]:
        """Yield the times after a moment."""
        last, start = after, self.local(after)
        try:
            if not self._is_fixed:
                for found in self._simulator(self._cron, start):
                    if (time := nanoseconds(found)) > last:
                        yield time
                        last = time
                return
            for naive in self._simulator(self._cron, start.replace(tzinfo=None, fold=0)):
                time = nanoseconds(self._shown(naive))
                # What was moved out of a gap may meet what stands there; and where the clock was just set back, what
                # comes first in the fold is over.
                if time > last:
                    yield time
                    last = time
        except OverflowError:
            # The calendar ends.
            return

    def _shown(self, naive: datetime) -> datetime:
        """Return when the zone's clocks first show a time, or when the gap ends in which they would have."""
        while True:
            time = naive.replace(tzinfo=self._zone)
            if time.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None, fold=0) == naive:
                return time
            naive = naive.replace(second=0) + MINUTE


@functools.lru_cache(maxsize=256)
def times_of(cron: str, zone: str) -> Times:
    """Return the times that an expression means in a zone; see ``Times``."""
    return Times(cron, zone)


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name.

    Raises:
        ScheduleProblem: There is none of that name.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = f"There is no time zone {name!r}."
        hint = "Give a name of the IANA database, for example 'Europe/Oslo'; where it is missing: pip install tzdata."
        raise ScheduleProblem(message, hint=hint, zone=name) from None


def zone_name(given: Any) -> str:
    """Return the name of a time zone that was given by name or as a ``ZoneInfo``.

    Raises:
        ScheduleProblem: It has no name, or there is none of that name.
    """
    name = "UTC" if given is UTC else given.key if isinstance(given, ZoneInfo) else given
    if not isinstance(name, str) or not name:
        message = f"A time zone must be given by its name, not as {given!r}."
        raise ScheduleProblem(message, hint="zone='Europe/Oslo', or a ZoneInfo made of a name.")
    zone_of(name)
    return name


def _simulator() -> Any:
    try:
        from cronsim import CronSim
    except ImportError:
        message = "Schedules need the package cronsim, which is not installed."
        raise NotAvailable(message, hint="pip install 'walgraph[cron]'") from None
    return CronSim


def _never(cron: str) -> ScheduleProblem:
    message = f"The cron expression {cron!r} never comes true: no month of the next 50 years has such a day."
    return ScheduleProblem(message, hint="Mend its days or months.", cron=cron)
