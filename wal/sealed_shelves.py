"""What a log keeps beside its records, encrypted: items, handed-over runs, and schedules.

    caller ──► seal ──► the shelf or table that would be there without keys ──► open ──► caller

Names stay as they are, since they are looked for: namespaces, keys of store items, threads, runs, graphs, queues. Keys
of caches, which are hashes of arguments that could be guessed at, are hashed again with the key of the value.

Invariants:
1. What is stored is what was given, encrypted for its place; all else is as without keys.
2. What has no key here is handed on closed, and refused by whoever decodes it.

This module must not know how data is encrypted.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgpack

from .envelope import is_sealed, parse
from .errors import LogCorrupt
from .items import Clear, Item, Items, ItemView, Put
from .schedules import Schedules
from .submissions import Submissions
from .vault import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .items import Change, Namespace
    from .schedule_layout import Schedule
    from .store import Store
    from .submission_layout import Submission
    from .tables import Tables
    from .vault import Vault


class SealedShelves:
    """What is beside the records of a log, encrypted.

    Args:
        store: What keeps it.
        vault: The keys.
    """

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    @property
    def items(self) -> Items:
        """What stores keep."""
        return SealedItems(self._store.items, self._vault, "store")

    @property
    def cached(self) -> Items:
        """What caches keep."""
        return SealedCache(self._store.cached, self._vault, "cache")

    @property
    def submissions(self) -> SealedSubmissions:
        """The runs that were handed over."""
        return SealedSubmissions(self._store.submissions, self._vault)

    @property
    def schedules(self) -> Schedules:
        """The schedules."""
        runs = self.submissions
        return SealedSchedules(runs.tables, runs, self._vault)


class SealedItems(Items):
    """A shelf of items whose values and vectors are encrypted.

    Args:
        items: The shelf as it lies there.
        vault: The keys.
        shelf: ``store`` or ``cache``.
    """

    def __init__(self, items: Items, vault: Vault, shelf: str) -> None:
        self._items = items
        self._vault = vault
        self._shelf = shelf

    def change(self, changes: Sequence[Change]) -> int:
        """Carry out the changes in order, durably and atomically; return how many items were removed."""
        return self._items.change([self._closed(self._placed(each)) for each in changes])

    @contextmanager
    def view(self) -> Iterator[ItemView]:
        """Return the present state."""
        with self._items.view() as view:
            yield _SealedView(view, self)

    def sweep(self) -> int:
        """Remove the items whose time is over."""
        return self._items.sweep()

    def check(self, look: Callable[[Item], str | None]) -> tuple[int, list[str]]:
        """Read everything; return how many items there are, and what is wrong, in words."""

        def opened(item: Item) -> str | None:
            try:
                item = self.opened(item)
            except LogCorrupt as error:
                return error.message
            return None if is_sealed(item.value) else look(item)

        return self._items.check(opened)

    def opened(self, item: Item) -> Item:
        """Return an item with what it holds in the clear."""
        value = self._vault.open(item.value, self._what(item.namespace, item.key, "value"))
        vectors = self._vault.open(item.vectors, self._what(item.namespace, item.key, "vectors"))
        return item._replace(value=value, vectors=vectors)

    def place(self, namespace: Namespace, key: str) -> str | None:
        """Return the key under which an item lies; None if that takes a key of the ring that is not here."""
        return key

    def _placed(self, change: Change) -> Change:
        """Return a change of what lies there."""
        return change

    def _closed(self, put: Change) -> Change:
        if type(put) is not Put:
            return put
        key = self._vault.ring.of_namespace(put.namespace)
        value = self._vault.seal(key, put.value, self._what(put.namespace, put.key, "value"))
        vectors = put.vectors
        if vectors:
            vectors = self._vault.seal(key, vectors, self._what(put.namespace, put.key, "vectors"))
        return put._replace(value=value, vectors=vectors)

    def _what(self, namespace: Namespace, key: str, field: str) -> tuple[Any, ...]:
        return ("item", self._shelf, namespace, key, field)


class SealedCache(SealedItems):
    """A cache whose keys tell nothing to whoever guesses at the arguments that they are hashes of.

    With another key of the ring all that it held is forgotten, as a cache may.
    """

    def place(self, namespace: Namespace, key: str) -> str | None:
        """Return the key under which an item lies; None if that takes a key of the ring that is not here."""
        name = self._vault.ring.of_namespace(namespace)
        if self._vault.ring.get(name) is None:
            return None
        return self._vault.name(name, msgpack.packb(("cache", namespace, key))).hex()

    def _placed(self, change: Change) -> Change:
        if isinstance(change, Clear):
            return change
        place = self.place(change.namespace, change.key)
        if place is None:
            raise missing(self._vault.ring.of_namespace(change.namespace))
        return change._replace(key=place)


class _SealedView(ItemView):
    """One state of a sealed shelf."""

    def __init__(self, view: ItemView, shelf: SealedItems) -> None:
        self._view = view
        self._shelf = shelf
        self._opened = shelf.opened

    def get(self, namespace: Namespace, key: str, *, expired: bool = False) -> Item | None:
        """Return an item, or None if it is not there."""
        place = self._shelf.place(namespace, key)
        item = None if place is None else self._view.get(namespace, place, expired=expired)
        return None if item is None else self._opened(item)._replace(key=key)

    def scan(self, prefix: Namespace = (), *, expired: bool = False) -> Iterator[Item]:
        """Yield the items of all namespaces that begin so."""
        return map(self._opened, self._view.scan(prefix, expired=expired))

    def is_worn(self, item: Item) -> bool:
        """Tell whether a touch would begin the item's time anew."""
        return self._view.is_worn(item)

    def spaces(self, *, expired: bool = False) -> list[Namespace]:
        """Return the namespaces that hold items."""
        return self._view.spaces(expired=expired)


class SealedSubmissions(Submissions):
    """Runs that were handed over, whose inputs and outcomes are encrypted.

    Args:
        submissions: What keeps them as they are given.
        vault: The keys.
    """

    def __init__(self, submissions: Submissions, vault: Vault) -> None:
        super().__init__(submissions.tables)
        self._vault = vault
        # Whoever waits is told by all who look at the table.
        self.listeners = submissions.listeners

    def submit(self, wanted: Submission) -> Submission:
        """Keep a run durably and return it."""
        return self._opened(super().submit(self.closed(wanted)))

    def closed(self, wanted: Submission) -> Submission:
        """Return a run that is to be handed over with what was given encrypted."""
        return wanted._replace(
            given=self._seal(wanted, wanted.given, "given"),
            digest=self._seal(wanted, wanted.digest, "digest"),
        )

    def end(
        self, run: str, how: str, *, reason: str = "", result: bytes = b"", now: int
    ) -> Submission | None:
        """Note what came of a run, and let the thread's next one stand in line."""
        known = super().get(run)
        if known is not None:
            result = self._seal(known, msgpack.packb((result, reason)), "outcome")
        return self._or_none(super().end(run, how, reason="", result=result, now=now))

    def get(self, run: str) -> Submission | None:
        """Return a run that was handed over, or None."""
        return self._or_none(super().get(run))

    def of_thread(self, thread: str) -> list[Submission]:
        """Return the submissions of a thread that have not ended, in order."""
        return list(map(self._opened, super().of_thread(thread)))

    def first(self, thread: str) -> Submission | None:
        """Return the oldest submission of a thread that has not ended."""
        return self._or_none(super().first(thread))

    def all(self) -> Iterator[Submission]:
        """Yield all submissions that are remembered, oldest first."""
        return map(self._opened, super().all())

    def started(self) -> list[Submission]:
        """Return the submissions that hold a place in their queue."""
        return list(map(self._opened, super().started()))

    def waiting(self, is_served: Callable[[str, str], bool], now: int) -> Iterator[Submission]:
        """Yield who may start, in the order of priority and tickets."""
        return map(self._opened, super().waiting(is_served, now))

    def start(self, run: str, *, since: int, now: int) -> Submission | None:
        """Give a waiting or suspended run its place in the queue."""
        return self._or_none(super().start(run, since=since, now=now))

    def cancel(self, thread: str, run: str, *, is_idle: bool, reason: str, now: int) -> list[Submission]:
        """End the submissions of a thread that wait, and with an idle thread those begun too."""
        ended = super().cancel(thread, run, is_idle=is_idle, reason=reason, now=now)
        return list(map(self._opened, ended))

    def _is_same(self, wanted: Submission, known: Submission) -> bool:
        return self._opened(wanted).digest == self._opened(known).digest

    def _seal(self, submission: Submission, data: bytes, field: str) -> bytes:
        return self._vault.seal_for(submission.thread, data, _what(submission, field))

    def _or_none(self, submission: Submission | None) -> Submission | None:
        return None if submission is None else self._opened(submission)

    def _opened(self, submission: Submission) -> Submission:
        given = self._vault.open(submission.given, _what(submission, "given"))
        digest = self._vault.open(submission.digest, _what(submission, "digest"))
        result, reason = submission.result, submission.reason
        if is_sealed(result):
            result = self._vault.open(result, _what(submission, "outcome"))
            if not is_sealed(result):
                result, reason = msgpack.unpackb(result)
        return submission._replace(given=given, digest=digest, result=result, reason=reason)


class SealedSchedules(Schedules):
    """Schedules whose inputs are encrypted.

    Args:
        tables: The storage.
        submissions: The runs that were handed over, encrypted likewise.
        vault: The keys.
    """

    def __init__(self, tables: Tables, submissions: SealedSubmissions, vault: Vault) -> None:
        super().__init__(tables, submissions)
        self._runs = submissions
        self._vault = vault

    def get(self, name: str) -> Schedule | None:
        """Return a schedule, or None."""
        found = super().get(name)
        return None if found is None else self._opened(found)

    def all(self) -> Iterator[Schedule]:
        """Yield all schedules, in the order of their names."""
        return map(self._opened, super().all())

    def due(self, now: int) -> Iterator[Schedule]:
        """Yield the schedules that are to be looked at by a time, the longest overdue first."""
        return map(self._opened, super().due(now))

    def change(
        self, before: Schedule | None, wanted: Schedule | None, runs: Sequence[Submission] = ()
    ) -> bool:
        """Put one row in the place of another, and hand runs over, durably and together."""
        some = before or wanted
        held = None if some is None else super().get(some.name)
        if (None if held is None else self._opened(held)) != before:
            return False
        if wanted is not None:
            closed = self._closed(wanted)
            if held is not None and before is not None and wanted.given == before.given:
                # What did not change stays as it lies there, unless the key did.
                is_same = key_of(held.given) == key_of(closed.given)
                closed = closed._replace(given=held.given) if is_same else closed
            wanted = closed
        return super().change(held, wanted, [self._runs.closed(run) for run in runs])

    def _closed(self, schedule: Schedule) -> Schedule:
        ring, thread = self._vault.ring, schedule.thread
        key = self._vault.key_of(thread) if thread else ring.newest
        given, digest = (
            self._vault.seal(key, data, ("schedule", schedule.name, field))
            for field, data in (("given", schedule.given), ("digest", schedule.digest))
        )
        return schedule._replace(given=given, digest=digest)

    def _opened(self, schedule: Schedule) -> Schedule:
        given = self._vault.open(schedule.given, ("schedule", schedule.name, "given"))
        digest = self._vault.open(schedule.digest, ("schedule", schedule.name, "digest"))
        return schedule._replace(given=given, digest=digest)


def key_of(data: bytes) -> str | None:
    """Return the id of the key that data is encrypted with; None if it is not."""
    return parse(data).key if is_sealed(data) else None


def _what(submission: Submission, field: str) -> tuple[str, str, str, str]:
    return ("run", submission.thread, submission.run, field)
