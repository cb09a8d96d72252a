"""A failure that the caller of a task caught is what the call came to; one that ended the run is tried again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
import textwrap

import pytest

from walgraph import Command, RecordedError, RetryPolicy, entrypoint, interrupt, task


class Declined(Exception):
    """What a user's task raises."""

    def __init__(self, code, *, card) -> None:
        super().__init__(code)
        self.card = card


class Shop:
    """A workflow that falls back when its first call fails, and then fails itself.

    Args:
        way: How graphs are called.
        log: The log.
    """

    def __init__(self, way, log) -> None:
        self.ran: list[str] = []
        self.seen: list[Exception] = []
        self.pays = False
        self.broken = True

        @task
        @way.node
        def pay(amount):
            self.ran.append("pay")
            if not self.pays:
                raise Declined(51, card="visa")
            return amount

        @task
        @way.node
        def invoice(amount):
            self.ran.append("invoice")
            return f"bill over {amount}"

        self.pay, self.invoice = pay, invoice


def gets_beyond(way, workflow, shop, raised="") -> None:
    """Check that a run which a failed call ended goes on once the call works."""
    with pytest.raises(Declined) if not raised else pytest.raises(RuntimeError, match=raised):
        way.invoke(workflow, 3)
    shop.pays = True
    assert way.invoke(workflow, None) == 3


def test_a_caught_failure_is_raised_again(way, log) -> None:
    """With its type and attributes, and without another attempt, so that the caller goes the way it went."""
    shop = Shop(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        try:
            paid = yield shop.pay(amount)
        except Declined as error:
            shop.seen.append(error)
            paid = yield shop.invoice(amount)
        if shop.broken:
            raise ConnectionError
        return paid

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 7)
    shop.pays, shop.broken = True, False
    assert way.invoke(workflow, None) == "bill over 7"
    assert shop.ran == ["pay", "invoice"]
    assert [(type(error), error.args, error.card) for error in shop.seen] == [(Declined, (51,), "visa")] * 2


def test_a_failure_that_ended_the_run_is_tried_again(way, log) -> None:
    """The call that failed is made again with its caller, also with other arguments."""
    shop = Shop(way, log)
    amounts = [1]

    @entrypoint(log)
    @way.flow
    def workflow(_):
        return (yield shop.pay(amounts[0]))

    with pytest.raises(Declined):
        way.invoke(workflow, 0)
    shop.pays, amounts[0] = True, 2
    assert way.invoke(workflow, None) == 2
    assert shop.ran == ["pay", "pay"]


def test_a_failure_that_was_raised_as_another_one_is_tried_again(way, log) -> None:
    """It ended the run, by whatever name; else nobody could ever get beyond it."""
    shop = Shop(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        yield shop.invoice(amount)
        try:
            return (yield shop.pay(amount))
        except Declined as error:
            raise RuntimeError("could not pay") from error

    gets_beyond(way, workflow, shop, "could not pay")
    assert shop.ran == ["invoice", "pay", "pay"]


def test_a_kept_failure_that_ends_the_run_after_all_is_tried_again(way, log) -> None:
    """The caller went on for a while, and then raised what it had caught: a resume gets beyond it."""
    shop = Shop(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        try:
            return (yield shop.pay(amount))
        except Declined:
            yield shop.invoice(amount)
            raise

    for _ in range(2):
        with pytest.raises(Declined):
            way.invoke(workflow, 3)
    shop.ran.clear()
    for _ in range(2):
        with pytest.raises(Declined):
            way.invoke(workflow, None)
    # It is tried once in each life; the note that followed it is found.
    assert shop.ran == ["pay", "pay"]


def test_a_users_own_retries_are_found(way, log) -> None:
    """Two calls failed and were caught, the third ended the run: only that one is made again."""
    shop = Shop(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        for left in (2, 1, 0):
            try:
                return (yield shop.pay(amount))
            except Declined:
                if not left:
                    raise

    gets_beyond(way, workflow, shop)
    assert shop.ran == ["pay"] * 4


def test_a_caller_that_asks_after_a_failure_finds_it_again(way, log) -> None:
    """The question followed the failure, so the answer is given to a caller that met the same failure."""
    shop = Shop(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        try:
            return (yield shop.pay(amount))
        except Declined:
            return interrupt("another card?")

    way.invoke(workflow, 3)
    shop.pays = True
    assert way.invoke(workflow, Command(resume="no")) == "no"
    assert shop.ran == ["pay"]


def test_siblings_that_nobody_looked_at_are_tried_again(way, log) -> None:
    """Two calls at once fail, and the first failure ends the run: a resume makes both again, not one at a time."""
    shop = Shop(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        return (yield [shop.pay(1), shop.pay(2), shop.pay(3)])

    with pytest.raises(Declined):
        way.invoke(workflow, 3)
    shop.pays = True
    assert way.invoke(workflow, None) == [1, 2, 3]
    assert shop.ran == ["pay"] * 6


def test_a_failure_that_was_not_met_yet_is_tried_again(way, log) -> None:
    """A call made after another had failed says nothing, as long as nobody had asked for the result of that one."""
    shop = Shop(way, log)

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        first = shop.pay(1)
        if way.is_async:
            while not first.done():
                yield asyncio.sleep(0)
        concurrent.futures.wait([first])
        second = shop.pay(2)
        return (yield [second, first])

    with pytest.raises(Declined):
        way.invoke(workflow, 3)
    assert shop.ran == ["pay"] * 2
    shop.pays = True
    assert way.invoke(workflow, None) == [2, 1]
    assert shop.ran == ["pay"] * 4


def test_a_retried_caller_calls_again_what_made_it_fail(way, log) -> None:
    """And meets again, without another call, the failure that it had caught before."""
    shop = Shop(way, log)
    attempts = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=Declined))
    @way.flow
    def careful(amount):
        attempts.append(1)
        try:
            yield shop.pay(amount)
        except Declined:
            yield shop.invoice(amount)
        if len(attempts) > 1:
            shop.pays = True
        return (yield shop.pay(amount))

    @entrypoint(log)
    @way.flow
    def workflow(amount):
        return (yield careful(amount))

    assert way.invoke(workflow, 5) == 5
    assert shop.ran == ["pay", "invoice", "pay", "pay"]


PROGRAM = """
import sys
from walgraph import Log, entrypoint, task

class Refused(Exception):
    pass
{extra}

@task
def pay():
    print("paying")
    {raising}

@task
def note():
    return 1

def workflow(x):
    try:
        pay().result()
    except Exception as error:
        print(type(error).__name__, error)
        note().result()
    if sys.argv[2] == "first":
        raise SystemExit(0)
    return "end"

with Log.open(sys.argv[1]) as log:
    graph = entrypoint(log)(workflow)
    print(graph.invoke(None if sys.argv[2] == "second" else 0, {{"configurable": {{"thread_id": "t"}}}}))
"""


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("raise Refused('no')", "raise Refused('no')", "Refused no"),
        ("class Gone(Exception): pass\n    raise Gone('no')", "pass", "RecordedError Gone('no')"),
        ("raise OSError(2, 'gone')", "pass", "FileNotFoundError [Errno 2] gone"),
    ],
)
def test_a_new_process_raises_the_same_failure(tmp_path, first, second, told) -> None:
    """By its class if that is loaded, else as a ``RecordedError`` that says what it was."""
    assert RecordedError
    said = []
    for life, raising in (("first", first), ("second", second)):
        source = textwrap.dedent(PROGRAM).format(extra="", raising=raising)
        done = subprocess.run(
            [sys.executable, "-c", source, str(tmp_path / "log.wal"), life],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert not done.stderr, done.stderr
        said.append(done.stdout.splitlines())
    assert said[0][0] == "paying"
    assert said[1] == [told, "end"]
