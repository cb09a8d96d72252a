"""Cutting a thread's oldest frames off, where a snapshot stands for them.

    walk ─► lsns of the frames before the snapshot ─► removed, oldest first, some in each transaction

Invariants:
1. Every transaction is short, and leaves a thread that is whole: its anchor moves with its oldest frame.
2. Nothing is removed that a snapshot which is still there does not stand for.

This module must not know which thread may be cut, nor why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chain import read_frame, walk
from .fault import reach
from .frame import peek
from .keyspace import (
    POSITION_KEY,
    broken_chain,
    not_found,
    number_key,
    pack_position,
    pack_row,
    pair_key,
    read_position,
    snapshot_seqs,
)
from .tables import LOG, SNAPS, THREADS, ReadTransaction, Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .store import Row

CUT = 1000
"""How many frames one transaction removes unless said otherwise, so that writers never wait for long."""


class Truncating:
    """The threads in the tables, and how their beginnings go."""

    _tables: Tables

    def _row(self, txn: ReadTransaction, thread: str) -> Row | None:
        raise NotImplementedError

    def truncate(
        self, thread: str, upto: int, *, batch: int | None = None, pace: Callable[[int], None] | None = None
    ) -> int:
        """Cut off the frames whose records all lie at or before the newest snapshot ≤ ``upto``; return how many."""
        with self._tables.read() as txn:
            row = self._row(txn, thread)
            if row is None:
                raise not_found(thread)
            base = max([seq for seq in snapshot_seqs(txn, row.number) if seq <= upto], default=None)
            if base is None:
                return 0
            lsns = [header.lsn for header, _ in walk(txn, row, 0, base + 1) if header.last <= base]
        size, gone = batch or CUT, 0
        for start in range(0, len(lsns), size):
            if start and pace is not None:
                pace(size)
            gone += self._cut(thread, lsns[start : start + size], base)
            reach("cut: frames gone")
        return gone

    def _cut(self, thread: str, lsns: Sequence[int], base: int) -> int:
        """Remove a thread's oldest frames in one transaction, and return how many; the anchor moves with them."""
        with self._tables.write() as txn:
            row = self._row(txn, thread)
            if row is None:
                raise not_found(thread)
            # Since they were looked up, another compaction may have cut as far or further, and a writer's newer
            # snapshot may have taken the place of the one that was to stand for them.
            lsns = [lsn for lsn in lsns if lsn > row.anchor_lsn]
            if not lsns or base < row.base or txn.get(SNAPS, pair_key(row.number, base)) is None:
                return 0
            count = size = 0
            for lsn in lsns:
                header = peek(read_frame(txn, lsn, thread), lsn)
                if header.previous != row.anchor_lsn or header.thread != row.number:
                    raise broken_chain(thread, header, row.horizon)
                txn.delete(LOG, number_key(lsn))
                count, size = count + header.records, size + header.length
                row = row._replace(horizon=header.last, anchor=header.checksum, anchor_lsn=lsn)
            for seq in snapshot_seqs(txn, row.number):
                if seq < base:
                    txn.delete(SNAPS, pair_key(row.number, seq))
            row = row._replace(
                frames=row.frames - len(lsns), records=row.records - count, size=row.size - size, base=base
            )
            txn.put(THREADS, number_key(row.number), pack_row(row))
            position = read_position(txn)
            position = position._replace(frames=position.frames - len(lsns), size=position.size - size)
            txn.put(THREADS, POSITION_KEY, pack_position(position))
            return len(lsns)
