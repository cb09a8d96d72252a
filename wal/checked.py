"""Rows with a checksum of their own, and names as keys: what all tables beside the log of frames are made of.

It must not know what rows mean.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgpack
import xxhash

from .errors import LogCorrupt

NAME_BYTES = 400
_SEAL = struct.Struct(">Q")
_packb: Callable[[object], bytes] = msgpack.packb
_hash = xxhash.xxh3_64_intdigest


def pack_checked(fields: tuple[object, ...], seed: int) -> bytes:
    """Encode a row of the directory with its own checksum in front."""
    data = _packb(fields)
    return _SEAL.pack(_hash(data, seed)) + data


def unpack_checked(data: bytes, seed: int, what: str) -> list[object]:
    """Decode what ``pack_checked`` made.

    Raises:
        LogCorrupt: The bytes are not what was written.
    """
    body = data[8:]
    if len(data) < 9 or _SEAL.unpack_from(data)[0] != _hash(body, seed):
        message = f"The {what} is damaged: its checksum does not match its {len(data)} bytes."
        raise LogCorrupt(message, hint="Run `wal verify`; restore from a backup.", what=what)
    fields: list[object] = msgpack.unpackb(body, use_list=False)
    return fields


def name_key(name: str) -> bytes:
    """Return the key under which a name, however long, is found; what it leads to is compared on every hit."""
    encoded = name.encode()
    return b"\x00" + encoded if len(encoded) <= NAME_BYTES else b"\x01" + xxhash.xxh3_128_digest(encoded)
