"""What encrypted data looks like, wherever it lies. Reading this much of it takes no key.

    offset  size  field
         0     1  mark        c1, which no msgpack begins with
         1     1  version     1
         2     1  n           length of the key's id
         3     n  key         id of the key, UTF-8
       3+n     8  check       first 8 bytes of HMAC-SHA256(key, "walgraph check"), so that a wrong key is known as such
      11+n     4  m           how many large values the data names
      15+n  16·m  names       under which these lie, sorted
  15+n+16m    12  nonce       random
  27+n+16m        sealed      AES-GCM of the data, its tag of 16 bytes at the end

A large value's envelope is followed by the XXH3-64 of its bytes, seeded with that of its name; the others lie in what
has a checksum of its own.

SEALED     With AES-GCM under HMAC-SHA256(key, label), where the label is "walgraph " and the kind of data, and, if it
           belongs to a thread, a zero byte and the thread's id. Associated data are all bytes before the nonce, and
           the msgpack array of what the data is:

               ["frame", thread, after, last]       the body of a frame
               ["snapshot", thread, seq]            the state in a snapshot
               ["blob", name]                       a large value
               ["signal", thread, name, id]         the payload of a signal; id is nil if it has none
               ["run", thread, run, field]          what was handed over (given), its digest, what came of it (outcome)
               ["schedule", name, field]            what a schedule hands over (given), and its digest
               ["item", shelf, labels, key, field]  an item's value or vectors; shelf is "store" or "cache"

CACHE      A result in a cache lies under the hexadecimal NAME of the msgpack array ["cache", labels, key], in the place
           of a digest: the key itself is a hash of arguments, at which somebody could guess.

NAME       A large value lies under the first 16 bytes of HMAC-SHA256(HMAC-SHA256(key, "walgraph name"), digest), where
           the digest, by which the data names it, is the XXH3-128 of the bytes that were sealed. So whoever has not
           the key cannot see that two values of different keys are equal, nor guess at one.

Invariants:
1. What a frame, a snapshot or a large value names lies under the same key as it.
2. Nothing here is secret, and nothing here is believed before the tag was checked.

This module must not know a key.
"""

from __future__ import annotations

import struct

import xxhash

from .blob import SEALED as MARK
from .errors import LogCorrupt
from .named import NamedTuple

VERSION = 1
CHECK_BYTES, NONCE_BYTES, TAG_BYTES, NAME_BYTES = 8, 12, 16, 16
_count = struct.Struct(">I")
_checksum = struct.Struct(">Q")


class Envelope(NamedTuple):
    """The parts of encrypted data; ``open`` is all that comes before the nonce."""

    key: str
    check: bytes
    names: tuple[bytes, ...]
    open: bytes
    nonce: bytes
    sealed: bytes


def is_sealed(data: bytes) -> bool:
    """Tell whether data is encrypted."""
    return data[:1] == MARK


def begin(key: str, check: bytes, names: tuple[bytes, ...]) -> bytes:
    """Return what comes before the nonce."""
    encoded = key.encode()
    return b"".join([MARK, bytes([VERSION, len(encoded)]), encoded, check, _count.pack(len(names)), *names])


def parse(data: bytes) -> Envelope:
    """Take encrypted data apart.

    Raises:
        LogCorrupt: It is too short, or of a version that this walgraph does not know.
    """
    size = len(data)
    if size < 3 or data[:1] != MARK or data[1] != VERSION:
        raise _broken(f"{size} bytes are no encrypted data of version {VERSION}")
    start = 3 + data[2]
    fixed = start + CHECK_BYTES + _count.size
    if size < fixed + NONCE_BYTES + TAG_BYTES:
        raise _broken(f"encrypted data of {size} bytes is cut short")
    count = _count.unpack_from(data, start + CHECK_BYTES)[0]
    nonce = fixed + count * NAME_BYTES
    # Compared before anything is made of the number, which may be anything in a damaged file.
    if size < nonce + NONCE_BYTES + TAG_BYTES:
        raise _broken(f"encrypted data of {size} bytes says that it names {count} large values")
    try:
        key = data[3:start].decode()
    except UnicodeDecodeError:
        raise _broken("the key's id of encrypted data is no UTF-8") from None
    names = tuple([data[place : place + NAME_BYTES] for place in range(fixed, nonce, NAME_BYTES)])
    body = nonce + NONCE_BYTES
    return Envelope(
        key, data[start : start + CHECK_BYTES], names, data[:nonce], data[nonce:body], data[body:]
    )


def with_checksum(name: bytes, data: bytes) -> bytes:
    """Return a large value's envelope with its checksum behind it."""
    return data + _checksum.pack(_hash(name, data))


def without_checksum(name: bytes, data: bytes) -> bytes:
    """Return the envelope of a large value.

    Raises:
        LogCorrupt: The bytes are not what was written.
    """
    if not is_whole(name, data):
        raise _broken(f"the large value {name.hex()} is damaged: its checksum does not match")
    return data[: -_checksum.size]


def is_whole(name: bytes, data: bytes) -> bool:
    """Tell whether an encrypted large value is what was written under that name."""
    envelope, size = data[: -_checksum.size], _checksum.size
    return len(data) > size and _checksum.unpack(data[-size:])[0] == _hash(name, envelope)


def is_blob(name: bytes, data: bytes, digest: bytes) -> bool:
    """Tell whether a large value is what was written, as far as it can be told without keys.

    Args:
        name: The name under which it lies.
        data: Its bytes.
        digest: The digest of these bytes.
    """
    return is_whole(name, data) if is_sealed(data) else digest == name


def _hash(name: bytes, data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data, xxhash.xxh3_64_intdigest(name))


def _broken(what: str) -> LogCorrupt:
    return LogCorrupt(f"{what[:1].upper()}{what[1:]}.", hint="Run `wal verify`; restore from a backup.")
