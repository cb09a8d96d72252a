"""The blobs of a store over tables: reading them, and removing those that nothing names.

    begin_sweep ──► commits leave marks on the blobs that they name ──► sweep … sweep ──► end_sweep

How a sweep is told which blobs are unused is said in ``wal.compaction``.

Invariants:
1. A sweep that was overtaken by another one removes nothing more.
2. Between the look at the marks and the removal nothing can be committed: both are one transaction.

It must not know what blobs hold.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import LogInUse
from .keyspace import (
    POSITION_KEY,
    chunk_key,
    clear_marks,
    pack_position,
    read_blob,
    read_marks,
    read_position,
)
from .tables import BLOBS, THREADS, Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Sweeping:
    """Large values in the tables, and how they go."""

    _tables: Tables

    def blob(self, digest: bytes) -> bytes | None:
        """Return a blob's bytes as they lie there, unchecked."""
        with self._tables.read() as txn:
            return read_blob(txn, digest)

    def digests(self) -> list[bytes]:
        """Return the digests of all blobs."""
        found: list[bytes] = []
        start = b"\x00"
        with self._tables.read() as txn:
            while keys := txn.keys(BLOBS, start, 1):
                found.append(keys[0][:16])
                # The next digest lies behind the greatest chunk number of this one.
                start = keys[0][:16] + b"\xff" * 5
        return found

    # Sweeping

    def begin_sweep(self) -> bytes:
        """From now on, every commit leaves a mark on the blobs that it refers to; return the sweep's token."""
        token = os.urandom(8)
        with self._tables.write() as txn:
            clear_marks(txn)
            txn.put(THREADS, POSITION_KEY, pack_position(read_position(txn)._replace(sweep=token)))
        return token

    def sweep(self, token: bytes, choose: Callable[[set[bytes]], Iterable[bytes]]) -> int:
        """Remove blobs in one transaction; ``choose`` gets the digests marked since the beginning and picks."""
        removed = 0
        with self._tables.write() as txn:
            if read_position(txn).sweep != token:
                raise LogInUse(
                    "Another compaction of this log has begun; this one stops.", hint="Let it finish."
                )
            for digest in choose(read_marks(txn)):
                number = 0
                while txn.delete(BLOBS, chunk_key(digest, number)):
                    number += 1
                removed += number > 0
        return removed

    def end_sweep(self, token: bytes) -> None:
        """Drop the marks."""
        with self._tables.write() as txn:
            position = read_position(txn)
            if position.sweep != token:
                txn.abandon()
                return
            clear_marks(txn)
            txn.put(THREADS, POSITION_KEY, pack_position(position._replace(sweep=b"")))
