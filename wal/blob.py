"""Large values that lie outside of records, found by the hash of their content.

    encoded value ≤ SPILL_BYTES    stays inside its record
    encoded value > SPILL_BYTES    becomes a Blob; the record holds its digest and length

A blob's name is the 128-bit XXH3 of its bytes, so the same value is stored once, however often it is recorded. The
hash is not a proof against malice: a store that finds a digest taken compares the bytes before it shares them.

Invariants:
1. ``Blob.digest == digest(Blob.data)`` for every blob that the codec makes.
2. ``b"".join(chunks(data)) == data``, and no chunk is empty.
3. A chunk and LMDB's header of 16 bytes fill whole pages of 4096 bytes, so that no page is left nearly empty.

This module must not know what the bytes mean, nor where they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator

import xxhash

from .named import NamedTuple

SPILL_BYTES = 32 * 1024
"""Encoded values above this size go out of line."""

SEALED = b"\xc1"
"""What encrypted data begins with, and no encoded value does (``wal.envelope``)."""

CHUNK_BYTES = 16 * 4096 - 16
"""The size in which a store cuts a blob: 16 pages less LMDB's header."""


class Blob(NamedTuple):
    """One large value: its digest and its bytes."""

    digest: bytes
    data: bytes


def digest(data: bytes) -> bytes:
    """Return the 16 bytes under which ``data`` is stored."""
    return xxhash.xxh3_128_digest(data)


def chunks(data: bytes) -> Iterator[bytes]:
    """Cut ``data`` into pieces of at most ``CHUNK_BYTES``."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
