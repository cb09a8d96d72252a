"""Items in an ordered table, whatever keeps it.

    change   queue ──► the first is the leader: one write transaction for all who wait ──► they are told, the next leads
    view     one read transaction (``wal.item_view``)

Invariants:
1. Whoever waits is woken exactly once: when its changes are done, or to lead. While somebody waits, somebody leads.
2. If the changes of one caller cannot be carried out, those of the others are carried out without them.
3. A row is written after the items that it counts, in the same transaction.

This module must not know what values mean.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from .errors import LogFailed, WalgraphError
from .item_check import check_items
from .item_layout import (
    BY_KEY,
    BY_NAME,
    ITEM,
    SPACE,
    Space,
    Times,
    is_whole,
    is_worn,
    item_key,
    items_of,
    key_key,
    last_number,
    namespace_key,
    pack_item,
    pack_number,
    pack_space,
    space_key,
    times_of,
    unpack_item,
)
from .item_view import TableView, find_space, spaces
from .items import Change, Clear, Delete, Expire, Item, Items, ItemView, Namespace, Put, Touch
from .promise import renewed
from .tables import PAGE, Tables, WriteTransaction, entries

SWEEP = 1000
"""How many items one transaction of a sweep removes at most, so that writers never wait for long."""


class _Changing:
    """The changes of one write transaction; rows are written at its end."""

    def __init__(self, txn: WriteTransaction, table: int) -> None:
        self._txn = txn
        self._table = table
        self._now = time.time_ns()
        self._spaces: dict[Namespace, Space | None] = {}
        self._new: set[Namespace] = set()
        self._greatest: int | None = None
        self.removed = 0

    def apply(self, change: Change) -> None:
        """Carry out one change."""
        if type(change) is Put:
            self._put(change)
        elif type(change) is Touch:
            self._touch(change.namespace, change.key)
        elif type(change) is Delete:
            self._delete(change.namespace, change.key)
        elif type(change) is Expire:
            self._expire(change.namespace, change.key)
        elif type(change) is Clear:
            self._clear(change.namespace)

    def finish(self) -> None:
        """Write the rows of the namespaces that gained or lost items."""
        for namespace, space in self._spaces.items():
            if space is None:
                continue
            if space.held:
                self._txn.put(self._table, space_key(space.number), pack_space(space))
                if namespace in self._new:
                    self._txn.put(self._table, namespace_key(namespace), pack_number(space.number))
            elif namespace not in self._new:
                self._txn.delete(self._table, space_key(space.number))
                self._txn.delete(self._table, namespace_key(namespace))

    def _space(self, namespace: Namespace) -> Space | None:
        """Return a namespace's row as it stands now."""
        if namespace not in self._spaces:
            self._spaces[namespace] = find_space(self._txn, self._table, namespace)
        return self._spaces[namespace]

    def _new_space(self, namespace: Namespace) -> Space:
        """Return the row of a namespace that has none."""
        if self._greatest is None:
            last = self._txn.at_or_before(self._table, BY_KEY)
            self._greatest = last_number(last[0]) if last is not None and last[0].startswith(SPACE) else 0
        self._greatest += 1
        self._new.add(namespace)
        return Space(self._greatest, namespace, 0, 0)

    def _place(self, space: Space | None, key: str) -> bytes | None:
        """Return where an item lies."""
        number = None if space is None else self._txn.get(self._table, key_key(space.number, key))
        return None if space is None or number is None else item_key(space.number, last_number(number))

    def _whole(self, place: bytes | None) -> bytes | None:
        """Return the bytes of an item that is not damaged."""
        data = None if place is None else self._txn.get(self._table, place)
        return data if place is not None and data is not None and is_whole(place, data) else None

    def _put(self, put: Put) -> None:
        space = self._space(put.namespace) or self._new_space(put.namespace)
        place = self._place(space, put.key)
        created = self._now
        if place is None:
            space = self._spaces[put.namespace] = space._replace(last=space.last + 1, held=space.held + 1)
            place = item_key(space.number, space.last)
            self._txn.put(self._table, key_key(space.number, put.key), pack_number(space.last))
        elif (data := self._whole(place)) is not None:
            times = times_of(data)
            # One whose time is over begins anew, as does one that is damaged.
            if not 0 < times.expires_at <= self._now:
                created = times.created_at
        updated = max(self._now, created)
        times = Times(created, updated, put.ttl, updated + put.ttl if put.ttl else 0)
        self._txn.put(self._table, place, pack_item(place, times, put.key, put.value, put.vectors))

    def _touch(self, namespace: Namespace, key: str) -> None:
        place = self._place(self._space(namespace), key)
        data = self._whole(place)
        if place is None or data is None:
            return
        item = unpack_item(place, data, namespace)
        if self._now < item.expires_at and is_worn(item, self._now):
            times = Times(item.created_at, item.updated_at, item.ttl, self._now + item.ttl)
            self._txn.put(self._table, place, pack_item(place, times, item.key, item.value, item.vectors))

    def _delete(self, namespace: Namespace, key: str) -> None:
        space = self._space(namespace)
        place = self._place(space, key)
        if space is not None and place is not None:
            self._txn.delete(self._table, key_key(space.number, key))
            self._txn.delete(self._table, place)
            self._spaces[namespace] = space._replace(held=space.held - 1)
            self.removed += 1

    def _expire(self, namespace: Namespace, key: str) -> None:
        data = self._whole(self._place(self._space(namespace), key))
        if data is not None and 0 < times_of(data).expires_at <= self._now:
            self._delete(namespace, key)

    def _clear(self, namespace: Namespace | None) -> None:
        if namespace is None:
            self.removed += self._remove(ITEM)
            for kind in (BY_NAME, SPACE, BY_KEY):
                self._remove(kind)
            self._spaces.clear()
            self._new.clear()
            self._greatest = None
            return
        space = self._space(namespace)
        if space is not None:
            self.removed += self._remove(items_of(space.number))
            self._remove(BY_KEY + pack_number(space.number))
            self._spaces[namespace] = space._replace(held=0)

    def _remove(self, prefix: bytes) -> int:
        """Remove all entries whose keys begin so; return how many."""
        removed = 0
        while keys := [key for key in self._txn.keys(self._table, prefix, PAGE) if key.startswith(prefix)]:
            for key in keys:
                self._txn.delete(self._table, key)
            removed += len(keys)
        return removed


class _Turn:
    """What one caller wants changed, and what became of it."""

    __slots__ = ("changes", "done", "error", "leads", "removed", "signal")

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.done = False
        self.leads = False
        self.removed = 0
        self.error: WalgraphError | None = None
        # Released when its changes are done, or when it is to lead.
        self.signal = threading.Lock()
        self.signal.acquire()


class TableItems(Items):
    """The contract over one table.

    Args:
        tables: The storage.
        table: Which of its tables.
    """

    def __init__(self, tables: Tables, table: int) -> None:
        self._tables = tables
        self._table = table
        self._lock = threading.Lock()
        self._waiting: list[_Turn] = []
        self._is_led = False

    def change(self, changes: Sequence[Change]) -> int:
        """Carry out the changes in order, together with those of others who wait."""
        for change in changes:
            # Names that are no Unicode must be refused before others share a transaction with them.
            if not isinstance(change, Clear):
                change.key.encode()
            if change.namespace is not None:
                namespace_key(change.namespace)
        turn = _Turn(changes)
        with self._lock:
            self._waiting.append(turn)
            if not self._is_led:
                self._is_led = turn.leads = True
        if not turn.leads:
            self._wait(turn)
        if turn.leads:
            self._lead(turn)
        if turn.error is not None:
            raise renewed(turn.error, own=True)
        return turn.removed

    def _wait(self, turn: _Turn) -> None:
        """Wait until the changes are done, or until it is this caller's turn to lead."""
        try:
            turn.signal.acquire()
        except BaseException:
            # Ctrl-C struck: what its caller takes for not done must not be done later.
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                if turn.leads:
                    self._pass_on()
            raise

    def _lead(self, own: _Turn) -> None:
        """Carry out what waits; if it is refused and was not alone, each by itself. Then the next one leads."""
        with self._lock:
            turns, self._waiting = self._waiting, []
        try:
            self._commit(turns)
            if len(turns) > 1 and own.error is not None and not isinstance(own.error, LogFailed):
                for turn in turns:
                    self._commit([turn])
            with self._lock:
                for turn in turns:
                    turn.done = True
                    if turn is not own:
                        turn.signal.release()
                self._pass_on()
        except BaseException:
            # Ctrl-C struck here: one of the others does what they wait for.
            with self._lock:
                left = [turn for turn in turns if turn is not own and not turn.done]
                self._waiting = left + self._waiting
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Let the first who waits lead; called with the lock held."""
        self._is_led = bool(self._waiting)
        if self._waiting and not self._waiting[0].leads:
            self._waiting[0].leads = True
            self._waiting[0].signal.release()

    def _commit(self, turns: Sequence[_Turn]) -> None:
        """Carry out what some want in one transaction, and note what became of it."""
        error = None
        try:
            is_there = self._tables.prepare(
                self._table, create=any(type(change) is Put for turn in turns for change in turn.changes)
            )
            if is_there:
                self._write(turns)
        except WalgraphError as refused:
            error = refused
        for turn in turns:
            turn.error = error

    def _write(self, turns: Sequence[_Turn]) -> None:
        with self._tables.write() as txn:
            changing = _Changing(txn, self._table)
            for turn in turns:
                before = changing.removed
                for change in turn.changes:
                    changing.apply(change)
                turn.removed = changing.removed - before
            changing.finish()

    @contextlib.contextmanager
    def view(self) -> Iterator[ItemView]:
        """Return the present state."""
        if not self._tables.prepare(self._table, create=False):
            yield TableView(None, self._table)
            return
        with self._tables.read() as txn:
            yield TableView(txn, self._table)

    def sweep(self) -> int:
        """Remove the items whose time is over, in short transactions; return how many."""
        now = time.time_ns()
        over: list[Change] = []
        if self._tables.prepare(self._table, create=False):
            with self._tables.read() as txn:
                for space in spaces(txn, self._table):
                    for place, data in entries(txn, self._table, items_of(space.number)):
                        if is_whole(place, data) and 0 < times_of(data).expires_at <= now:
                            over.append(Expire(space.namespace, unpack_item(place, data, ()).key))
        return sum(self.change(over[start : start + SWEEP]) for start in range(0, len(over), SWEEP))

    def check(self, look: Callable[[Item], str | None]) -> tuple[int, list[str]]:
        """Read everything; return how many items there are, and what is wrong, in words."""
        if not self._tables.prepare(self._table, create=False):
            return 0, []
        with self._tables.read() as txn:
            return check_items(txn, self._table, look)
