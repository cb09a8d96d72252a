"""What a node, a task or an entrypoint is told about time, caches and further attempts.

    RetryPolicy      ``retry``: when a failed attempt is followed by another
    CachePolicy      under which key, and for how long, a result may be used again
    TimeoutPolicy    how long one attempt may take, or go without a sign of life

    own ──► Policies.over(defaults) ──► what a compiled node has: of each kind its own, else the default

Invariants:
1. What is given is checked here, when the graph is drawn, and not when it runs.
2. A policy is frozen, so that one may stand at many nodes.

It must not act on any of them: ``task`` retries, others watch the clock and look into caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from ..wal.named import NamedTuple
from .errors import InvalidGraph
from .retry import RetryPolicy, policies_of

Timeout = float | timedelta | None


def default_cache_key(*args: Any, **kwargs: Any) -> bytes:
    """Return a key for a call: its arguments as the log would hold them, dicts in an order of their own.

    Raises:
        NotSerializable: An argument cannot be written, so calls cannot be told apart by it.
    """
    from .canonical import canonical

    return canonical(args, kwargs)


@dataclass(frozen=True, kw_only=True, slots=True)
class CachePolicy:
    """How results of a node or task are kept, to be used again for equal input.

    Args:
        key_func: From the call's arguments to the key under which its result is found.
        ttl: Seconds for which a result may be used; None for ever.
    """

    key_func: Callable[..., str | bytes] = default_cache_key
    ttl: int | None = None

    def __post_init__(self) -> None:
        """See that the time makes sense.

        Raises:
            InvalidGraph: It does not.
        """
        if self.ttl is not None and not self.ttl > 0:
            message = "ttl must be greater than 0"
            raise InvalidGraph(message, hint="Leave it out to keep results for ever.")


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeoutPolicy:
    """How long one attempt at a node or task may take.

    Args:
        run_timeout: Seconds or a timedelta that an attempt may take, whatever it does.
        idle_timeout: Seconds or a timedelta that it may go without a sign of progress.
        refresh_on: ``auto``: anything that the attempt writes, streams or calls is a sign; ``heartbeat``: only
            ``runtime.heartbeat()`` is.
    """

    run_timeout: Timeout = None
    idle_timeout: Timeout = None
    refresh_on: Literal["auto", "heartbeat"] = "auto"

    @classmethod
    def coerce(cls, value: Timeout | TimeoutPolicy) -> TimeoutPolicy | None:
        """Return a policy whose times are positive floats; a bare time is a ``run_timeout``, and no time no policy.

        Raises:
            InvalidGraph: A time is not positive, or ``refresh_on`` unknown.
        """
        if value is None:
            return None
        policy = value if isinstance(value, TimeoutPolicy) else cls(run_timeout=value)
        if policy.refresh_on not in {"auto", "heartbeat"}:
            message = "refresh_on must be 'auto' or 'heartbeat'"
            raise InvalidGraph(message)
        run = seconds_of("run_timeout", policy.run_timeout)
        idle = seconds_of("idle_timeout", policy.idle_timeout)
        if run is None and idle is None:
            return None
        return cls(run_timeout=run, idle_timeout=idle, refresh_on=policy.refresh_on)

    def plain(self) -> list[Any]:
        """Return the policy as a log holds it; its times are seconds, as ``coerce`` makes them."""
        return [self.run_timeout, self.idle_timeout, self.refresh_on]

    @classmethod
    def of_plain(cls, plain: list[Any]) -> TimeoutPolicy:
        """Return the policy that ``plain`` was made of."""
        return cls(run_timeout=plain[0], idle_timeout=plain[1], refresh_on=plain[2])


class Policies(NamedTuple):
    """Everything of this kind that one node, task or entrypoint was told; None where it was told nothing."""

    retry: tuple[RetryPolicy, ...] | None = None
    cache: CachePolicy | None = None
    timeout: TimeoutPolicy | None = None

    @classmethod
    def of(
        cls,
        retry: RetryPolicy | Sequence[RetryPolicy] | None,
        cache: CachePolicy | None,
        timeout: Timeout | TimeoutPolicy,
    ) -> Policies:
        """Return what users pass as ``retry_policy``, ``cache_policy`` and ``timeout``, checked.

        Raises:
            InvalidGraph: A time-out makes no sense.
        """
        return cls(None if retry is None else policies_of(retry), cache, TimeoutPolicy.coerce(timeout))

    def over(self, defaults: Policies) -> Policies:
        """Return these, and the defaults where nothing was said."""
        return Policies(
            defaults.retry if self.retry is None else self.retry,
            defaults.cache if self.cache is None else self.cache,
            defaults.timeout if self.timeout is None else self.timeout,
        )


NO_POLICIES = Policies()


def seconds_of(field: str, value: Timeout) -> float | None:
    """Return a time as seconds.

    Raises:
        InvalidGraph: It is not positive; the message names the field.
    """
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not seconds > 0:
        message = f"{field} must be greater than 0"
        raise InvalidGraph(message)
    return seconds
