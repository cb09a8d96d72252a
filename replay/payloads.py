r"""The payloads of one of LangGraph's threads: what lies behind each number.

    7 ──► Payload("msgpack", (b"\x95", Copied(4, 1, 900), Copied(6, 1, 300)))
                                      │                   └──► 6 ──► bytes
                                      └──► 4 ──► … ──► 1 ──► bytes, or a blob of the log

Payloads lean on earlier ones, so a value is read along a chain. How long it may become is decided where it is made:
``weight`` says how deep a payload lies and how much was written since the last one that stands by itself.

Invariants:
1. A payload leans on earlier ones only.
2. Reading takes time in proportion to the bytes and the pieces on the way, and no stack.

This module must not know checkpoints, nor which serialiser made the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ..wal.errors import LogCorrupt
from ..wal.record import Reference
from ..wal.saved_record import Copied, Kept, Payload, Piece
from ..wal.saved_wire import read_kept, write_kept

_SHORT = (1 << 16) + 2
"""The longest binary value of msgpack with a header of three bytes, header included."""


class Weight(NamedTuple):
    """How many payloads lie below one, and how many bytes were written since one that stands by itself."""

    depth: int
    written: int


LIGHT = Weight(0, 0)


class Payloads:
    """Number → payload."""

    def __init__(self) -> None:
        self.next = 1
        # Those of a snapshot stay as they are in it until they are asked for.
        self._kept: dict[int, Payload | list[Any]] = {}
        self._weights: dict[int, Weight] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._kept)

    def number(self, kept: Kept) -> int:
        """Return the number of what a record holds, keeping a payload under the next one.

        Raises:
            LogCorrupt: It leans on a payload that is not there.
        """
        if type(kept) is int:
            if kept not in self._kept:
                raise _missing(kept)
            return kept
        assert type(kept) is Payload, "a number or a payload"
        leans = [piece.number for piece in kept.pieces if type(piece) is Copied]
        number = self.next
        self.next += 1
        self._kept[number] = kept
        if leans:
            for each in leans:
                if each not in self._kept or each >= number:
                    raise _missing(each)
            below = [self.weight(each) for each in leans]
            literal = sum([size_of(piece) for piece in kept.pieces if type(piece) is not Copied])
            self._weights[number] = Weight(
                1 + max([weight.depth for weight in below]),
                literal + max([weight.written for weight in below]),
            )
        return number

    def get(self, number: int) -> Payload:
        """Return a payload.

        Raises:
            LogCorrupt: There is none of that number.
        """
        found = self._kept.get(number)
        if type(found) is Payload:
            return found
        payload = read_kept(found)
        if type(payload) is not Payload:
            raise _missing(number)
        self._kept[number] = payload
        return payload

    def numbers(self) -> list[int]:
        """Return the number of each payload."""
        return [*self._kept]

    def weight(self, number: int) -> Weight:
        """Return how much lies below a payload."""
        return self._weights.get(number, LIGHT)

    def size(self, number: int) -> int:
        """Return how many bytes a payload has."""
        return sum([size_of(piece) for piece in self.get(number).pieces])

    def read(self, number: int, fetch: Callable[[bytes], bytes]) -> bytes:
        """Return the bytes of a payload; ``fetch`` gives the bytes of a large value by its digest."""
        stack: list[Piece] = [*reversed(self.get(number).pieces)]
        found: list[bytes] = []
        while stack:
            piece = stack.pop()
            if type(piece) is bytes:
                found.append(piece)
            elif type(piece) is Reference:
                found.append(fetch(piece.digest))
            else:
                assert type(piece) is Copied, "there are three kinds of pieces"
                stack += reversed([*self._cut(piece, fetch)])
        return found[0] if len(found) == 1 else b"".join(found)

    def _cut(self, wanted: Copied, fetch: Callable[[bytes], bytes]) -> Iterator[Piece]:
        """Yield the pieces that a stretch consists of, one level down."""
        number, start, stop = wanted
        at = 0
        for piece in self.get(number).pieces:
            size = size_of(piece)
            low, high = max(start - at, 0), min(stop - at, size)
            at += size
            if low >= high:
                continue
            if high - low == size:
                yield piece
            elif type(piece) is bytes:
                yield piece[low:high]
            elif type(piece) is Reference:
                yield fetch(piece.digest)[low:high]
            elif type(piece) is Copied:
                yield Copied(piece.number, piece.start + low, piece.start + high)
        if stop > at:
            raise LogCorrupt(
                f"Payload {number} has {at} bytes, and {stop} are asked of it.", hint="Run `wal verify`."
            )

    def retain(self, numbers: Iterable[int]) -> int:
        """Forget all payloads but these and what they lean on; return how many went."""
        wanted: set[int] = set()
        waiting = [*numbers]
        while waiting:
            number = waiting.pop()
            if number not in wanted:
                wanted.add(number)
                waiting += [piece.number for piece in self.get(number).pieces if type(piece) is Copied]
        gone = [number for number in self._kept if number not in wanted]
        for number in gone:
            del self._kept[number]
            self._weights.pop(number, None)
        return len(gone)

    def to_plain(self) -> list[Any]:
        """Return the payloads as plain data; what is added later comes at the end."""
        rows: list[Any] = []
        for number, kept in self._kept.items():
            depth, written = self._weights.get(number, LIGHT)
            rows += (number, depth, written, write_kept(kept) if type(kept) is Payload else kept)
        return rows

    @classmethod
    def from_plain(cls, rows: list[Any], following: int) -> Payloads:
        """Return the payloads of plain data; ``following`` is the next number to give."""
        payloads = cls()
        payloads.next = following
        numbers = rows[0::4]
        payloads._kept = dict(zip(numbers, rows[3::4], strict=True))
        payloads._weights = {
            number: Weight(depth, written)
            for number, depth, written in zip(numbers, rows[1::4], rows[2::4], strict=True)
            if depth
        }
        return payloads


def size_of(piece: Piece) -> int:
    """Return how many bytes a piece stands for."""
    if type(piece) is bytes:
        return len(piece)
    if type(piece) is Reference:
        # The blob is the bytes as msgpack writes them; see ``wal.shared``.
        return piece.size - (3 if piece.size <= _SHORT else 5) if piece.size > 257 else piece.size - 2
    assert type(piece) is Copied, "there are three kinds of pieces"
    return piece.stop - piece.start


def _missing(number: int) -> LogCorrupt:
    return LogCorrupt(
        f"There is no payload {number} before this record.", hint="Run `wal verify`.", number=number
    )
