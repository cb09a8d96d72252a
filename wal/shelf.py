"""Large values in the tables: written once, compared when they come again, marked while a sweep runs.

    put     digest there? ── no ─► chunks written
                  └─ yes ─► compared, once per process: equal ─► nothing; damaged ─► mended; else a clash of hashes
    mark    every digest that a commit names, while a sweep is looking for blobs that nobody names

Invariants:
1. Whether a blob is there is always asked inside the write transaction, since a sweep may have removed it.
2. A digest never comes to stand for other bytes.

This module must not know what the bytes mean.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable

import xxhash

from .blob import SEALED, Blob, chunks, digest
from .codec import references
from .errors import LogCorrupt
from .keyspace import chunk_key, read_blob
from .tables import BLOBS, MARKS, WriteTransaction

KNOWN = 4096
"""How many blobs a process remembers to have compared."""


class Shelf:
    """The blobs of one store, as this process knows them."""

    def __init__(self) -> None:
        # Digests whose stored bytes were compared with ours, with a second hash under a secret seed: nobody can
        # prepare other bytes that pass both, so a value that comes again costs two hashes and no comparison.
        self._compared: OrderedDict[bytes, int] = OrderedDict()
        self._secret = int.from_bytes(os.urandom(8))

    def put(self, txn: WriteTransaction, blobs: Iterable[Blob]) -> None:
        """Write the blobs that are not there yet.

        Raises:
            LogCorrupt: Other bytes with the same hash are there.
        """
        for blob in blobs:
            second = xxhash.xxh3_64_intdigest(blob.data, self._secret)
            is_there = txn.get(BLOBS, chunk_key(blob.digest, 0)) is not None
            if is_there and self._compared.get(blob.digest) == second:
                self._compared.move_to_end(blob.digest)
                continue
            self._write(txn, blob, read_blob(txn, blob.digest) if is_there else None)
            self._compared[blob.digest] = second
            if len(self._compared) > KNOWN:
                self._compared.popitem(last=False)

    def _write(self, txn: WriteTransaction, blob: Blob, stored: bytes | None) -> None:
        """Write a blob unless it is there; what is there but damaged is mended."""
        if stored == blob.data or (stored is not None and _is_same_sealed(blob.digest, stored)):
            return
        if stored is not None and digest(stored) == blob.digest:
            message = f"Two different values have the hash {blob.digest.hex()}; the second was not written."
            raise LogCorrupt(message, hint="Change the value by one byte.", digest=blob.digest.hex())
        number = 0
        for number, chunk in enumerate(chunks(blob.data)):
            txn.put(BLOBS, chunk_key(blob.digest, number), chunk)
        while stored is not None and txn.delete(BLOBS, chunk_key(blob.digest, number + 1)):
            number += 1


def mark(txn: WriteTransaction, bodies: Iterable[bytes], blobs: Iterable[Blob]) -> None:
    """Leave a mark on every blob that a commit names, for the sweep that is running."""
    used = {blob.digest for blob in blobs}
    for body in bodies:
        used |= references(body)
    txn.put_many(MARKS, [(name, b"") for name in sorted(used)])


def _is_same_sealed(name: bytes, stored: bytes) -> bool:
    """Return whether a large value lies there encrypted: that is never the same twice, but its name tells."""
    if stored[:1] != SEALED:
        return False
    from .envelope import is_whole

    return is_whole(name, stored)
