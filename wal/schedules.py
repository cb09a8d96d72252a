"""Schedules: what is to be handed over again and again, and which of its times have been dealt with.

    change(before, after)             the definition, a pause, what was skipped
    change(before, after, runs)       a firing: the runs that it hands over, and that it has done so, in one transaction

A firing is no two steps that a crash could come between: its runs lie in the table of handed-over runs, and the row of
its schedule says so, from the same commit on. Whoever decided on a row that somebody else has changed since is refused,
so that any number of processes may look at the same schedule.

Invariants:
1. A row is only changed by whoever has seen it as it is: compare and set, inside the write transaction.
2. A nominal time is handed over in the transaction that marks it as dealt with. A run whose id is known is not handed
   over again.
3. Reading holds no transaction between two values that it yields.

This module must not know what a cron expression means, nor decide what is due. It reads no clock: times are given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import WalgraphError
from .schedule_layout import (
    LOOK,
    ROW,
    Schedule,
    after,
    look_key,
    moment_of,
    pack_schedule,
    row_key,
    row_key_of,
    unpack_schedule,
)
from .submission_rows import admit, find
from .tables import SCHEDULED, SUBMITTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .submission_layout import Submission
    from .submissions import Submissions
    from .tables import ReadTransaction, Tables

PAGE = 64


class Schedules:
    """The schedules of one log.

    Args:
        tables: The storage.
        submissions: The runs that were handed over, whose listeners are told of new ones.
    """

    def __init__(self, tables: Tables, submissions: Submissions) -> None:
        self._tables = tables
        self._submissions = submissions

    def get(self, name: str) -> Schedule | None:
        """Return a schedule, or None."""
        if not self.is_there():
            return None
        with self._tables.read() as txn:
            return _found(txn, name)

    def all(self) -> Iterator[Schedule]:
        """Yield all schedules, in the order of their names."""
        start = ROW
        while self.is_there():
            with self._tables.read() as txn:
                page = [entry for entry in txn.scan(SCHEDULED, start, PAGE) if entry[0].startswith(ROW)]
            for key, data in page:
                yield unpack_schedule(key, data)
            if len(page) < PAGE:
                return
            start = page[-1][0] + b"\x00"

    def due(self, now: int) -> Iterator[Schedule]:
        """Yield the schedules that are to be looked at by a time, the longest overdue first."""
        start, end = LOOK, after(now)
        while self.is_there():
            with self._tables.read() as txn:
                page = [key for key in txn.keys(SCHEDULED, start, PAGE) if key < end]
                rows = [(key, txn.get(SCHEDULED, key)) for key in map(row_key_of, page)]
            for key, data in rows:
                if data is not None:
                    yield unpack_schedule(key, data)
            if len(page) < PAGE:
                return
            start = page[-1] + b"\x00"

    def next_look(self, now: int) -> int | None:
        """Return the first time after ``now`` at which one is to be looked at, if there is any."""
        if not self.is_there():
            return None
        with self._tables.read() as txn:
            found = txn.keys(SCHEDULED, after(now), 1)
        return moment_of(found[0]) if found and found[0].startswith(LOOK) else None

    def change(
        self, before: Schedule | None, wanted: Schedule | None, runs: Sequence[Submission] = ()
    ) -> bool:
        """Put one row in the place of another, and hand runs over, durably and together.

        Args:
            before: The row as the caller has seen it; None for no such schedule.
            wanted: The row that it is to be; None to delete it.
            runs: The runs to hand over; those whose ids are known are passed over.

        Returns:
            False if the row was changed by somebody else meanwhile; then nothing was done.
        """
        self._tables.prepare(SCHEDULED, create=True)
        if runs:
            self._tables.prepare(SUBMITTED, create=True)
        some = before or wanted
        assert some is not None, "from nothing to nothing is no change"
        key = row_key(some.name)
        with self._tables.write() as txn:
            if _found(txn, some.name) != before:
                txn.abandon()
                return False
            looked = None if before is None else look_key(before)
            looks = None if wanted is None else look_key(wanted)
            if looked is not None and looked != looks:
                txn.delete(SCHEDULED, looked)
            if looks is not None and looks != looked:
                txn.put(SCHEDULED, looks, b"\x00")
            if wanted is None:
                txn.delete(SCHEDULED, key)
            else:
                txn.put(SCHEDULED, key, pack_schedule(key, wanted))
            for run in runs:
                if find(txn, run.run) is None:
                    admit(txn, run)
        self._submissions.tell()
        return True

    def check(self, look: Callable[[bytes], str | None]) -> list[str]:
        """Read everything, and say what is wrong, in words.

        Args:
            look: Called with each encoded input; returns what is wrong with it, or None.
        """
        if not self.is_there():
            return []
        wrong: list[str] = []
        expected: set[bytes] = set()
        there: set[bytes] = set()
        with self._tables.read() as txn:
            start = b"\x00"
            while page := txn.scan(SCHEDULED, start, PAGE):
                for key, data in page:
                    if key.startswith(LOOK):
                        there.add(key)
                        continue
                    try:
                        schedule = unpack_schedule(key, data)
                    except WalgraphError as error:
                        wrong.append(error.message)
                        continue
                    if (looks := look_key(schedule)) is not None:
                        expected.add(looks)
                    if (problem := look(schedule.given)) is not None:
                        wrong.append(f"input of schedule {schedule.name!r}: {problem}")
                start = page[-1][0] + b"\x00"
        wrong += [f"the entry {key.hex()} names a time that is none" for key in sorted(there - expected)]
        wrong += [f"the entry {key.hex()}, when to look next, is missing" for key in sorted(expected - there)]
        return wrong

    def last_change(self) -> int:
        """Return a number that is another one after any process has committed anything."""
        return self._tables.last()

    def is_there(self) -> bool:
        """Tell whether there was ever a schedule."""
        return self._tables.prepare(SCHEDULED, create=False)


def _found(txn: ReadTransaction, name: str) -> Schedule | None:
    key = row_key(name)
    data = txn.get(SCHEDULED, key)
    if data is None:
        return None
    found = unpack_schedule(key, data)
    return found if found.name == name else None
