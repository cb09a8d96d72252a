"""A payment that is made at most once, to be lost in all ways: what the tests of effects play with."""

from __future__ import annotations

import pytest

from walgraph import RetryPolicy, entrypoint, idempotency_key, task

MODES = ["sync", "async", "exit"]
QUICKLY = RetryPolicy(initial_interval=0, jitter=False, retry_on=ConnectionError)


class Killed(BaseException):
    """Ends a process as far as the run can see: nothing is recorded of what was running."""


class World:
    """What happens outside: who was paid under which key, and what becomes of the attempts."""

    def __init__(self, way, log, **options):
        self.way, self.log = way, log
        self.keys, self.asked, self.fates = [], [], []
        self.fate = None

        @task(effect="at_most_once", **options)
        @way.node
        def pay(name, amount):
            self.keys.append(idempotency_key())
            fate = self.fates.pop(0) if self.fates else None
            if fate is not None:
                raise fate
            return f"{amount} to {name}"

        @entrypoint(log)
        @way.flow
        def flow(amount):
            return (yield pay("bob", amount))

        self.pay, self.flow = pay, flow

    def invoke(self, given=None, **options):
        """Call the flow on its one thread."""
        return self.way.invoke(self.flow, given, **options)

    def lose(self, given=5, **options):
        """Begin, and let the process die in the body."""
        self.fates.append(Killed())
        with pytest.raises(Killed):
            self.invoke(given, **options)


def says(*verdicts, asked=None):
    """Return a ``reconcile`` that gives one verdict after another, and notes what it was asked."""
    left = list(verdicts)

    def reconcile(key, call):
        if asked is not None:
            asked.append((key, call))
        verdict = left.pop(0)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    return reconcile
