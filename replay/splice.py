"""What is new of a value that changed a little, found in its bytes.

    old   93 [m1][m2][m3]                 new   95 [m1][m2][m3] [m4][m5]
                                                ── ───────────  ────────
    pieces                                 bytes   Copied(old)   Copied(the write that brought them), or bytes

A list that grows has other bytes at its front, where its length stands, and at its end. So the header of a msgpack
array or map is looked at apart. What the rest has in common at its front and at its end is copied, or, of a list that
was cut at its front, what it begins with; what lies between is looked for among the writes that led to the new value.
Bytes of other formats are handled the same, only without luck; what a cipher made has nothing in common, and is
written whole.

Invariants:
1. The pieces, joined, are the new bytes, whatever the bytes mean.
2. It costs a few comparisons of memory, never a walk through the bytes in Python.

This module must not know what a payload is of.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wal.saved_record import Copied

LEAST = 64
"""A stretch must be this long to be copied: its address takes about ten bytes, and following it takes time."""


def splice(
    new: bytes, old: tuple[int, bytes] | None, writes: Sequence[tuple[int, bytes]]
) -> tuple[bytes | Copied, ...]:
    """Return the pieces of new bytes.

    Args:
        new: The bytes.
        old: Number and bytes of the payload before, if there is one.
        writes: Numbers and bytes of payloads that parts of it may come from, in the order in which they were applied.
    """
    if old is None:
        return tuple(_found(new, writes))
    number, former = old
    head, former_head = header_size(new), header_size(former)
    if new[:head] == former[:former_head]:
        head = former_head = 0
    body, former_body = new[head:], former[former_head:]
    front = common_front(body, former_body)
    back = common_back(body, former_body, min(len(body), len(former_body)) - front)
    if front < LEAST:
        front = 0
    if back < LEAST:
        back = 0
    if 2 * (front + back) < len(body):
        slid = _slid(new, old, writes)
        if (not front and not back) or _new_bytes(slid) < len(body) - front - back:
            return slid
    pieces: list[bytes | Copied] = []
    literal = new[:head]
    if front:
        if literal:
            pieces.append(literal)
            literal = b""
        pieces.append(Copied(number, former_head, former_head + front))
    pieces += _found(literal + body[front : len(body) - back], writes)
    if back:
        pieces.append(Copied(number, len(former) - back, len(former)))
    return tuple(pieces)


def _slid(
    new: bytes, old: tuple[int, bytes], writes: Sequence[tuple[int, bytes]]
) -> tuple[bytes | Copied, ...]:
    """Return the pieces of bytes that begin somewhere within the old ones, as those of a list cut at its front."""
    number, former = old
    head = header_size(new)
    at = former.find(new[head : head + LEAST]) if len(new) - head >= LEAST else -1
    if at < 0:
        return tuple(_found(new, writes))
    length = common_front(new[head:], former[at:])
    header: list[bytes | Copied] = [new[:head]] if head else []
    return (*header, Copied(number, at, at + length), *_found(new[head + length :], writes))


def _new_bytes(pieces: Sequence[bytes | Copied]) -> int:
    return sum([len(piece) for piece in pieces if type(piece) is bytes])


def header_size(data: bytes) -> int:
    """Return how many bytes say that a msgpack array or map begins; 0 if none does."""
    first = data[0] if data else 0
    if 0x80 <= first <= 0x9F:
        return 1
    return {0xDC: 3, 0xDE: 3, 0xDD: 5, 0xDF: 5}.get(first, 0)


def common_front(one: bytes, other: bytes) -> int:
    """Return how many bytes two values begin with alike."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def common_back(one: bytes, other: bytes, most: int) -> int:
    """Return how many bytes, ``most`` at most, two values end with alike."""
    if most <= 0:
        return 0
    one_end, other_end = one[-most:], other[-most:]
    if one_end == other_end:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if one_end[most - middle : most - low] == other_end[most - middle : most - low]:
            low = middle
        else:
            high = middle
    return low


def _found(data: bytes, writes: Sequence[tuple[int, bytes]]) -> list[bytes | Copied]:
    """Return the pieces of bytes, those copied that are found in writes."""
    pieces: list[bytes | Copied] = []
    if len(data) < LEAST:
        return [data] if data else []
    for number, written in writes:
        at = written.find(data)
        if at >= 0:
            return [*pieces, Copied(number, at, at + len(data))]
        start = header_size(written)
        part = written[start:]
        at = data.find(part) if len(part) >= LEAST else -1
        if at >= 0:
            if at:
                pieces.append(data[:at])
            pieces.append(Copied(number, start, len(written)))
            data = data[at + len(part) :]
            if len(data) < LEAST:
                break
    return [*pieces, data] if data else pieces
