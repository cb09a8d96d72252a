"""Words that the tests of schedules share: a schedule that fires each minute, and who looks at it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from helpers import chain
from timer_helpers import NOON

from walgraph import Log, ScheduleHandle, get_config, schedule, sleep
from walgraph.engine.firing import Clockwork

MINUTELY = "* * * * *"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def notes(state: Any) -> dict[str, Any]:
    """Note for which time this is."""
    return {"trail": [get_config()["metadata"]["scheduled_at"]]}


def naps(state: Any) -> dict[str, Any]:
    """Be under way for ten minutes."""
    sleep(timedelta(minutes=10))
    return {"trail": ["slept"]}


def noting(log: Log | None, *nodes: Any, name: str = "nightly") -> Any:
    """A graph that notes its nominal time."""
    return chain(*(nodes or (notes,))).compile(log, name=name)


def runs_of(log: Log) -> list[str]:
    """The runs that were handed over, in order."""
    return [each.run for each in log.submissions().all()]


def at(minute: int, name: str = "nightly") -> str:
    """The run of a minute after noon."""
    return f"{name}@{NOON + minute * MINUTE:%Y-%m-%dT%H:%M:%S}Z"


def anything(*_: str) -> bool:
    """Serve every queue and graph."""
    return True


def only(queue: str = "mail", graph: str = "nightly") -> Callable[[str, str], bool]:
    """Serve one queue and graph."""
    return lambda *asked: asked == (queue, graph)


def looked(log: Log) -> list[str]:
    """Let somebody look who has not looked before; return what was handed over."""
    return Clockwork(log, anything).tick()


def made(log: Log, cron: str = MINUTELY, **options: Any) -> ScheduleHandle:
    """A schedule of a graph whose code is not here."""
    return schedule(cron, "nightly", {"trail": []}, log=log, **options)
