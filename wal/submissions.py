"""Runs that were handed over, and what becomes of them: a table beside the records.

    submit ──► waiting ──start──► started ──end──► ended          of each thread one after another, in order
                  ▲                 │  ▲
                  └────requeue──────┤  │
                                    └──┴── suspended (sleeping, or waiting for a signal), parked

A thread's records say what a run did; this table says that it is to be done, by whom it may be done now, and what came
of it. Each change is one durable transaction, so that a killed process leaves one of the states above, and whoever has
claimed the thread may go on from there.

FAIRNESS   Only the first submission of a thread stands in line. When it ends, the thread's next one takes a place at
           the end of the line, so that a thread with many submissions does not keep others from having their turn.

Invariants:
1. A run is known by its id: the same submission again changes nothing, another one under the same id is refused.
2. At most one submission of a thread is started, suspended or parked, and it is the thread's oldest.
3. A queue's limits are checked in the transaction that starts a run, so that they hold for all processes together.
4. Reading holds no transaction between two values that it yields.

This module must not know what is submitted, nor who is alive. It reads no clock: times are given.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from .errors import RunConflict, RunNotFound
from .submission_layout import (
    ENDED,
    GROUP_BYTES,
    HOLDING,
    QUEUE,
    RELEASE,
    ROW,
    TRIES,
    WAITING,
    WISH,
    Queue,
    Submission,
    Tries,
    Wish,
    group_key,
    last_number,
    moment_of,
    pack_fields,
    row_key,
    unpack_fields,
)
from .submission_limits import (
    check_queue,
    has_room,
    note_start,
    put_queue,
    queue_of,
    tidy_starts,
    unpacked_queue,
)
from .submission_rows import (
    FINAL,
    PAGE,
    admit,
    erase,
    find,
    finish,
    first_of,
    keep,
    keys_of,
    leave_line,
    next_entry,
    of_thread,
    row_of,
    unpacked,
)
from .tables import SUBMITTED

if TYPE_CHECKING:
    from .tables import Tables

_LAST = b"\xff" * 17
"""What is greater than all that follows a hash in a key."""


class Listener(Protocol):
    """What is told that there may be something to do: an ``Event`` for example."""

    def set(self) -> None:
        """Take note."""


class Submissions:
    """The runs that were handed over to one log.

    Args:
        tables: The storage.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.listeners: set[Listener] = set()
        """Who is told when a run of this process has come to wait for its turn."""

    @property
    def tables(self) -> Tables:
        """The storage."""
        return self._tables

    # Handing over

    def submit(self, wanted: Submission) -> Submission:
        """Keep a run durably and return it; the same one again changes nothing. Its number and state are given here.

        Raises:
            RunConflict: Another run has that id.
        """
        self._prepare()
        with self._tables.write() as txn:
            known = find(txn, wanted.run)
            if known is not None:
                txn.abandon()
                if not self._is_same(wanted, known):
                    raise _conflict(wanted, known)
                return known
            made = admit(txn, wanted)
        self.tell()
        return made

    def get(self, run: str) -> Submission | None:
        """Return a run that was handed over, or None."""
        if not self._is_there():
            return None
        with self._tables.read() as txn:
            return find(txn, run)

    def of_thread(self, thread: str) -> list[Submission]:
        """Return the submissions of a thread that have not ended, in order."""
        if not self._is_there():
            return []
        with self._tables.read() as txn:
            return of_thread(txn, thread)

    def first(self, thread: str) -> Submission | None:
        """Return the oldest submission of a thread that has not ended."""
        if not self._is_there():
            return None
        with self._tables.read() as txn:
            return first_of(txn, thread)

    def unfinished(self, states: Collection[str] = ()) -> Iterator[Submission]:
        """Yield the submissions that have not ended, oldest first."""
        for submission in self.all():
            if submission.state != FINAL and (not states or submission.state in states):
                yield submission

    def all(self) -> Iterator[Submission]:
        """Yield all submissions that are remembered, oldest first."""
        start = row_key(0)
        while self._is_there():
            with self._tables.read() as txn:
                page = [entry for entry in txn.scan(SUBMITTED, start, PAGE) if entry[0].startswith(ROW)]
            for key, data in page:
                yield unpacked(key, data)
            if len(page) < PAGE:
                return
            start = page[-1][0] + b"\x00"

    def started(self) -> list[Submission]:
        """Return the submissions that hold a place in their queue, whether or not those who hold it live."""
        if not self._is_there():
            return []
        with self._tables.read() as txn:
            found = [row_of(txn, last_number(key)) for key in keys_of(txn, HOLDING)]
        return [submission for submission in found if submission is not None]

    # Taking turns

    def waiting(self, is_served: Callable[[str, str], bool], now: int) -> Iterator[Submission]:
        """Yield who may start, in the order of priority and tickets.

        Args:
            is_served: Tells of a queue's and a graph's name whether they are wanted.
            now: The time; queues that are full, or have started enough lately, are left out.
        """
        if not self._is_there():
            return
        line: list[tuple[bytes, bytes]] = []
        start = WAITING
        with self._tables.read() as txn:
            while found := next_entry(txn, start, WAITING):
                key, data = found
                submission = row_of(txn, last_number(data))
                group = key[:GROUP_BYTES]
                if (
                    submission is not None
                    and is_served(submission.queue, submission.graph)
                    and has_room(txn, submission.queue, now)
                ):
                    heapq.heappush(line, (key[GROUP_BYTES:], group))
                start = group + _LAST + b"\xff"
        while line:
            page: list[Submission] = []
            with self._tables.read() as txn:
                while line and len(page) < PAGE:
                    place, group = heapq.heappop(line)
                    found = next_entry(txn, group + place, group)
                    if found is None:
                        continue
                    key, data = found
                    after = next_entry(txn, key + b"\x00", group)
                    if after is not None:
                        heapq.heappush(line, (after[0][GROUP_BYTES:], group))
                    submission = row_of(txn, last_number(data))
                    if submission is not None:
                        page.append(submission)
            yield from page

    def start(self, run: str, *, since: int, now: int) -> Submission | None:
        """Give a waiting or suspended run its place in the queue; None if it is not its turn, or there is none.

        Args:
            run: The run; the caller has claimed its thread.
            since: The thread's last seq.
            now: The time.
        """
        self._prepare()
        with self._tables.write() as txn:
            found = find(txn, run)
            if found is None or found.state not in {"waiting", "suspended"}:
                txn.abandon()
                return None
            if found.state == "waiting" and not found.ticket:
                txn.abandon()
                return None
            tidy_starts(txn, found.queue, now)
            is_first = not found.started_at
            if not has_room(txn, found.queue, now, goes_on=not is_first):
                return None
            leave_line(txn, found)
            started = found._replace(state="started", reason="")
            if is_first:
                started = started._replace(since=since, started_at=max(now, 1))
                note_start(txn, started, now)
            keep(txn, started)
        return started

    def requeue(self, run: str) -> None:
        """Let a started, suspended or parked run wait for its turn again, at the place that it had."""
        self._change(run, "waiting", {"started", "suspended", "parked"})

    def suspend(self, run: str) -> None:
        """Free the place of a run that sleeps or waits for the world."""
        self._change(run, "suspended", {"started"})

    def park(self, run: str, reason: str) -> None:
        """Let nobody take a run up any more, until it is released."""
        self._change(run, "parked", {"waiting", "started", "suspended"}, reason)

    def end(
        self, run: str, how: str, *, reason: str = "", result: bytes = b"", now: int
    ) -> Submission | None:
        """Note what came of a run, and let the thread's next one stand in line; None if there is no such run."""
        if not self._is_there():
            return None
        with self._tables.write() as txn:
            found = find(txn, run)
            if found is None or found.state == FINAL:
                txn.abandon()
                return found
            ended = found._replace(how=how, reason=reason, result=result, ended_at=max(now, 1))
            ended = finish(txn, found, ended)
        self.tell()
        return ended

    def cancel(self, thread: str, run: str, *, is_idle: bool, reason: str, now: int) -> list[Submission]:
        """End the submissions of a thread that wait, and with an idle thread those begun too; return what has ended.

        Args:
            thread: The thread.
            run: The one run that is meant, or empty for all.
            is_idle: Whether the caller has claimed the thread, so that nothing of it runs.
            reason: Why.
            now: The time.
        """
        if not self._is_there():
            return []
        with self._tables.write() as txn:
            meant = [
                each
                for each in of_thread(txn, thread)
                if run in {"", each.run} and (is_idle or (each.state == "waiting" and not each.started_at))
            ]
            if not meant:
                txn.abandon()
            at = max(now, 1)
            # The last one first, so that none of them stands in line in between.
            return [
                finish(txn, each, each._replace(how="cancelled", reason=reason, ended_at=at))
                for each in reversed(meant)
            ]

    def drop(self, thread: str) -> int:
        """Forget all submissions of a thread that have not ended, and what is known of it; return how many."""
        if not self._is_there():
            return 0
        with self._tables.write() as txn:
            gone = of_thread(txn, thread)
            for each in gone:
                erase(txn, each)
            for kind in (TRIES, WISH):
                txn.delete(SUBMITTED, group_key(kind, thread))
        return len(gone)

    def forget(self, before: int) -> int:
        """Forget runs that ended before a moment, with their results; return how many."""
        gone = 0
        while self._is_there():
            with self._tables.write() as txn:
                keys = [
                    key
                    for key in txn.keys(SUBMITTED, ENDED, PAGE)
                    if key.startswith(ENDED) and moment_of(key) < before
                ]
                if not keys:
                    txn.abandon()
                    return gone
                for key in keys:
                    txn.delete(SUBMITTED, key)
                    found = row_of(txn, last_number(key))
                    if found is not None:
                        erase(txn, found)
                gone += len(keys)
        return gone

    # Queues

    def define(self, queue: Queue) -> None:
        """Say what a queue allows, from now on and for everybody."""
        check_queue(queue)
        self._prepare()
        with self._tables.write() as txn:
            if queue_of(txn, queue.name) == queue:
                txn.abandon()
            else:
                put_queue(txn, queue)

    def queues(self) -> list[Queue]:
        """Return what was said of queues."""
        if not self._is_there():
            return []
        with self._tables.read() as txn:
            return [unpacked_queue(key, txn.get(SUBMITTED, key) or b"") for key in keys_of(txn, QUEUE)]

    # Threads that are taken over, and those that are to stop

    def tried(self, thread: str) -> Tries:
        """Return how often a thread was taken over since it last got on."""
        if not self._is_there():
            return Tries(thread, 0, 0)
        with self._tables.read() as txn:
            key = group_key(TRIES, thread)
            data = txn.get(SUBMITTED, key)
        if data is None:
            return Tries(thread, 0, 0)
        fields: list[Any] = unpack_fields(key, data, "entry of a thread that was taken over")
        return Tries(*fields)

    def note_try(self, thread: str, count: int, seq: int) -> None:
        """Keep how often a thread was taken over, and its last seq; zero times forgets it."""
        self._prepare()
        key = group_key(TRIES, thread)
        with self._tables.write() as txn:
            if count:
                txn.put(SUBMITTED, key, pack_fields(key, Tries(thread, count, seq)))
            elif not txn.delete(SUBMITTED, key):
                txn.abandon()

    def wish(self, wish: Wish) -> None:
        """Let whoever runs a thread know that it is to stop."""
        self._prepare()
        key = group_key(WISH, wish.thread)
        with self._tables.write() as txn:
            txn.put(SUBMITTED, key, pack_fields(key, wish))

    def wishes(self) -> list[Wish]:
        """Return all wishes that nobody has fulfilled."""
        if not self._is_there():
            return []
        with self._tables.read() as txn:
            return [_wish(key, txn.get(SUBMITTED, key) or b"") for key in keys_of(txn, WISH)]

    def fulfil(self, thread: str, wish: Wish | None = None) -> None:
        """Drop the wish for a thread; if one is given, that one only."""
        key = group_key(WISH, thread)
        if self._is_there():
            with self._tables.write() as txn:
                found = txn.get(SUBMITTED, key)
                if found is None or (wish is not None and found != pack_fields(key, wish)):
                    txn.abandon()
                else:
                    txn.delete(SUBMITTED, key)

    def check(self, look: Callable[[bytes], str | None]) -> tuple[int, list[str]]:
        """Read everything; return how many runs are known, and what is wrong, in words.

        Args:
            look: Called with each encoded input and result; returns what is wrong with it, or None.
        """
        if not self._is_there():
            return 0, []
        from .submission_check import check_submissions

        with self._tables.read() as txn:
            return check_submissions(txn, look)

    def last_change(self) -> int:
        """Return a number that is another one after any process has committed anything."""
        return self._tables.last()

    # Within

    def _is_same(self, wanted: Submission, known: Submission) -> bool:
        return known.digest == wanted.digest

    def _is_there(self) -> bool:
        return self._tables.prepare(SUBMITTED, create=False)

    def _prepare(self) -> None:
        self._tables.prepare(SUBMITTED, create=True)

    def _change(self, run: str, state: str, before: Collection[str], reason: str = "") -> None:
        if not self._is_there():
            return
        with self._tables.write() as txn:
            found = find(txn, run)
            if found is None or found.state not in before:
                txn.abandon()
                return
            leave_line(txn, found)
            reason = RELEASE if found.state == "parked" else reason
            keep(txn, found._replace(state=state, reason=reason))
        self.tell()

    def tell(self) -> None:
        """Let listeners know that something has come to wait for its turn."""
        for listener in tuple(self.listeners):
            listener.set()


def not_handed_over(run: str) -> RunNotFound:
    """Return the error for a run that nobody handed over."""
    return RunNotFound(f"No run {run!r} was handed over to this log.", hint="submit hands one over.", run=run)


def _wish(key: bytes, data: bytes) -> Wish:
    fields: list[Any] = unpack_fields(key, data, "wish to cancel a run")
    return Wish(*fields)


def _conflict(wanted: Submission, known: Submission) -> RunConflict:
    message = (
        f"Run {wanted.run!r} was handed over before, for thread {known.thread!r} and graph {known.graph!r}, with "
        "another input or other options. Nothing was changed."
    )
    hint = "Give another run_id, or hand over exactly the same again."
    return RunConflict(message, hint=hint, run=wanted.run)
