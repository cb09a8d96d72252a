"""How items lie in a table: keys, rows and checksums.

A shelf of items is one table, made when the first item is put: ``item`` for stores, ``cache`` for caches. The first
byte of a key says what it is. Numbers are big-endian, u64 unless said otherwise.

    key                                    value
    01 + namespace                         number of the namespace
    02 + number of the namespace           checksum + msgpack array: labels, last item number given, items held
    03 + number of the namespace + key     number of the item
    04 + number of the namespace + of the item
                                           offset  size  field
                                                0     8  checksum    XXH3-64 of the rest, seeded with that of the key
                                                8     8  created     nanoseconds since 1970
                                               16     8  updated     nanoseconds since 1970
                                               24     8  time        to live, in nanoseconds; 0 for ever
                                               32     8  expires     nanoseconds since 1970; 0 never
                                               40     4  m           length of the key
                                               44     4  n           length of the value
                                               48     m  key         UTF-8
                                             48+m     n  value       encoded (``wal.codec``), nothing out of line
                                           48+m+n     …  vectors     what a search wants: msgpack array of pairs, a
                                                                     path and its vector (float64, big-endian);
                                                                     in a cache, the name of the value's form

NAMESPACE   Each label in UTF-8, followed by 00, so that the namespaces below another follow it. Of one with more than
            400 bytes the first 400 and the XXH3-128 of all. The labels are compared on every hit.

KEY         00 and the key in UTF-8, or 01 and its XXH3-128 if it has more than 400 bytes; compared on every hit.

ORDER       Numbers are given in the order in which namespaces and keys come, so items are read in that order.

Invariants:
1. Every value is covered by a checksum that also covers its place, or is a number whose target is compared on a hit.
2. A namespace without items has no row, and the rows say how many items there are, so that a lost one is noticed.

This module must not know when items change.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import xxhash

from .checked import NAME_BYTES, name_key, pack_checked, shaped, unpack_checked
from .errors import LogCorrupt
from .items import Item, Namespace
from .keyspace import RESTORE

BY_NAME, SPACE, BY_KEY, ITEM = b"\x01", b"\x02", b"\x03", b"\x04"

_number = struct.Struct(">Q")
_pair = struct.Struct(">QQ")
_head = struct.Struct(">QQQQII")
_hash = xxhash.xxh3_64_intdigest
ITEM_HEADER = 8 + _head.size
TOUCHES = 100
"""Into how many parts a time to live is divided; a touch within the first of them is not written."""


class Space(NamedTuple):
    """The row of a namespace: its number, its labels, the last number given to an item, and how many it holds."""

    number: int
    namespace: Namespace
    last: int
    held: int


class Times(NamedTuple):
    """When an item was made and changed, and how long it lives."""

    created_at: int
    updated_at: int
    ttl: int
    expires_at: int


def prefix_key(namespace: Namespace) -> bytes:
    """Return what the names of all namespaces that begin so begin with."""
    return BY_NAME + _labels(namespace)[:NAME_BYTES]


def namespace_key(namespace: Namespace) -> bytes:
    """Return the key under which a namespace's number is found."""
    encoded = _labels(namespace)
    if len(encoded) > NAME_BYTES:
        encoded = encoded[:NAME_BYTES] + xxhash.xxh3_128_digest(encoded)
    return BY_NAME + encoded


def _labels(namespace: Namespace) -> bytes:
    return b"".join([label.encode() + b"\x00" for label in namespace])


def space_key(number: int) -> bytes:
    """Return the key of a namespace's row."""
    return SPACE + _number.pack(number)


def key_key(number: int, key: str) -> bytes:
    """Return the key under which an item's number is found."""
    return BY_KEY + _number.pack(number) + name_key(key)


def item_key(number: int, item: int) -> bytes:
    """Return the key of an item."""
    return ITEM + _pair.pack(number, item)


def items_of(number: int) -> bytes:
    """Return what the keys of a namespace's items begin with."""
    return ITEM + _number.pack(number)


def last_number(key: bytes) -> int:
    """Return the number that a key ends with: of a namespace's row, or of an item."""
    number: int = _number.unpack(key[-8:])[0]
    return number


def pack_number(number: int) -> bytes:
    """Encode a number."""
    return _number.pack(number)


def pack_space(space: Space) -> bytes:
    """Encode the row of a namespace."""
    return pack_checked(space[1:], _hash(space_key(space.number)))


def unpack_space(data: bytes, number: int) -> Space:
    """Decode the row of a namespace.

    Raises:
        LogCorrupt: It is damaged.
    """
    what = f"row of namespace number {number}"
    return shaped(Space, [number, *unpack_checked(data, _hash(space_key(number)), what)], what)


def pack_item(place: bytes, times: Times, key: str, value: bytes, vectors: bytes) -> bytes:
    """Encode an item that lies at ``place``."""
    name = key.encode()
    body = b"".join([_head.pack(*times, len(name), len(value)), name, value, vectors])
    return _number.pack(_hash(body, _hash(place))) + body


def times_of(data: bytes) -> Times:
    """Return an item's times, unchecked; if there are too few bytes for them, those of an item that stays."""
    return Times(*_head.unpack_from(data, 8)[:4]) if len(data) >= ITEM_HEADER else Times(0, 0, 0, 0)


def is_worn(item: Item, now: int) -> bool:
    """Tell whether so much of an item's time has passed that beginning it anew is worth a write."""
    return item.ttl > 0 and now - (item.expires_at - item.ttl) >= item.ttl // TOUCHES


def is_whole(place: bytes, data: bytes) -> bool:
    """Tell whether an item's bytes are what was written there."""
    return len(data) >= ITEM_HEADER and _number.unpack_from(data)[0] == _hash(data[8:], _hash(place))


def unpack_item(place: bytes, data: bytes, namespace: Namespace) -> Item:
    """Decode an item.

    Raises:
        LogCorrupt: It is damaged.
    """
    if not is_whole(place, data):
        message = (
            f"Item number {last_number(place)} of namespace {namespace!r} is damaged: "
            f"its checksum does not match its {len(data)} bytes."
        )
        raise LogCorrupt(
            message, hint="Put it again, delete it, or restore from a backup.", namespace=namespace
        )
    created, updated, ttl, expires, name, length = _head.unpack_from(data, 8)
    value = ITEM_HEADER + name
    end = value + length
    key = data[ITEM_HEADER:value].decode()
    return Item(namespace, key, data[value:end], data[end:], created, updated, ttl, expires)


def misplaced(what: str, found: object) -> LogCorrupt:
    """Return the error for an entry that leads to something else than it should."""
    return LogCorrupt(f"The table of items names {found} for {what}.", hint=RESTORE, what=what)
