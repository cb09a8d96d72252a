"""Records and values into bytes.

    one batch ──► one call of msgpack ──► bytes ──► suspicious? ──► survey ──► refuse, or go on
                          │
                          └ hook, for every value that msgpack does not know ──► extension

The fast path is that one call. Only when the output contains a byte that a foreign value or deep nesting would leave
there is the value looked through in Python, and only large outputs, or those with bytearrays, are made a second time.

Invariants:
1. Nothing is returned that would not come back the same: the whole batch is refused instead.
2. Values nest at most ``DEPTH_MAX`` deep, counted as the deepest plain data plus the deepest extensions, so that
   neither side can run out of stack.
3. No value is encoded twice for each level that it lies at: every level is one Python frame and one pass.

This module must not know stores, frames, threads, or what records mean.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgpack import ExtType, Packer

from .blob import SPILL_BYTES, Blob
from .classes import form_of
from .errors import WalgraphError
from .named import NamedTuple, new
from .record import Record
from .refusal import explain, reason_against
from .registry import COMPILED
from .spill import Outline
from .values import FOREIGN, FORMS, FROZENSET, NESTED, SET, Refused, refuse_foreign
from .wire import ATOMS, TO_WIRE, map_values, named_values

DEPTH_MAX = 512
"""How deep values may nest, a record's own arrays included."""


class Packed(NamedTuple):
    """Encoded data, and the blobs that it names and that must be stored with it."""

    data: bytes
    blobs: tuple[Blob, ...]


_ODD = bytes([*range(0xC4, 0xCA), *range(0xD4, 0xD9)])
"""The msgpack headers of binary and extension data. An output without these bytes holds nothing suspicious."""

_CONTAINERS = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
"""The msgpack headers of arrays and maps. How many there are bounds the depth of an output."""

_SHALLOW = 16
_TOO_DEEP = f"it nests deeper than {DEPTH_MAX} levels, or contains itself"

_CHECKED = frozenset({bytearray, *FOREIGN})
"""Classes that msgpack writes without asking; of these a bytearray is merely written as something else."""

_READY = frozenset({SET, FROZENSET})
"""Codes whose payload is made in its encoded form."""


class _Writing:
    """The state of one encoding: how deep it is, and what it puts out of line."""

    __slots__ = ("bytearrays", "level", "outline", "packer", "tallest")

    def __init__(self) -> None:
        self.level = 0
        self.tallest = 0
        self.bytearrays = False
        self.outline: Outline | None = None
        self.packer = self.new_packer()

    def new_packer(self) -> Packer:
        """Return a packer of this state's own kind. One cannot be entered twice, and a new one costs 0.15 µs."""
        return Packer(strict_types=True, default=self.hook, unicode_errors="surrogatepass", buf_size=1024)

    def pack(self, value: Any) -> bytes:
        """Encode a value while another may be on its way."""
        data: bytes = self.new_packer().pack(value)
        return data

    def hook(self, value: Any) -> ExtType:
        """Turn a value that msgpack does not know into an extension; msgpack calls this."""
        cls = type(value)
        form = FORMS.get(cls) or COMPILED.get(cls) or form_of(cls)
        if form is None:
            raise Refused(value, reason_against(cls))
        code, make = form
        if code < NESTED:
            return new(ExtType, (code, make(value, self.pack)))
        if self.level >= DEPTH_MAX:
            raise Refused(value, _TOO_DEEP, whole=True)
        siblings = self.tallest
        self.tallest = 0
        self.level += 1
        plain = make(value, self.pack)
        if code in _READY:
            data = plain
        else:
            if self.outline is not None:
                # The first pass has looked at everything already.
                plain = self.outline.part(plain)
            # Called right here and not through ``pack``: each level of a value must cost one Python frame only.
            data = Packer(
                strict_types=True, default=self.hook, unicode_errors="surrogatepass", buf_size=256
            ).pack(plain)
        if self.outline is None:
            height = len(data) - len(data.translate(None, _CONTAINERS))
            if height > _SHALLOW or len(data.translate(None, _ODD)) != len(data):
                depth, has_bytearray = survey([plain])
                height = min(height, max(depth, 1) + self.tallest)
                self.bytearrays |= has_bytearray
            self.tallest = max(siblings, height)
        self.level -= 1
        return new(ExtType, (code, data))

    def check(self, values: list[Any]) -> bool:
        """Refuse foreign values and excessive depth; tell whether bytearrays were written as bytes."""
        depth, has_bytearray = survey(values)
        if depth + self.tallest > DEPTH_MAX:
            raise Refused(values[0], _TOO_DEEP, whole=True)
        return has_bytearray or self.bytearrays


def _is_suspicious(data: bytes) -> bool:
    """Tell whether encoded data may hold something foreign, or nest too deep."""
    size = len(data)
    return len(data.translate(None, _ODD)) != size or (
        size > DEPTH_MAX and size - len(data.translate(None, _CONTAINERS)) > DEPTH_MAX
    )


def survey(values: list[Any]) -> tuple[int, bool]:
    """Look through nested lists and dicts, layer by layer; what else there is has come to the hook.

    Returns:
        How many layers there are below ``values``, and whether a bytearray is among them.
    """
    depth, has_bytearray = -1, False
    layer: list[Any] = [values]
    while layer:
        below: list[Any] = []
        for container in layer:
            items = container
            if type(container) is dict:
                items = container.values()
                if not _CHECKED.isdisjoint(map(type, container)):
                    refuse_foreign(container)
            kinds = set(map(type, items))
            if kinds <= ATOMS:
                continue
            if not _CHECKED.isdisjoint(kinds):
                refuse_foreign(items)
                has_bytearray = True
            if list in kinds or dict in kinds:
                below += [item for item in items if type(item) is list or type(item) is dict]
        layer = below
        depth += 1
    return depth, has_bytearray


class Encoder:
    """Makes bytes of values and records. May be used by several threads at once."""

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        self._idle: list[_Writing] = []

    def value(self, value: Any, *, whole: bool = False) -> Packed:
        """Encode one value.

        Args:
            value: The value.
            whole: Whether its large parts stay inline, because the caller keeps all of it out of line.

        Raises:
            NotSerializable: The value, or a part of it, would not come back the same.
        """
        writing = self._take()
        try:
            data: bytes = writing.packer.pack(value)
            size = 0 if whole else len(data)
            # A value that is one of msgpack's own atoms holds nothing that could be checked.
            is_odd = type(value) not in ATOMS and _is_suspicious(data) and writing.check([value])
            if is_odd or size > SPILL_BYTES:
                return self._outlined(writing, size, lambda outline: outline.part(value), 0)
        except Exception as error:
            self._explain(error, [("the value", None, value)])
            raise
        self._idle.append(writing)
        return Packed(data, ())

    def records(self, records: Sequence[Record]) -> Packed:
        """Encode a batch as the concatenation of its records' encodings.

        Raises:
            NotSerializable: A user value in one of the records would not come back the same.
        """
        values: list[Any] = []
        try:
            writing = self._idle.pop()
            writing.tallest = 0
        except IndexError:
            writing = _Writing()
        count = len(records)
        header = 1 if count < 16 else 3 if count < 65536 else 5
        try:
            data: bytes = writing.packer.pack(
                [TO_WIRE[record.__class__](record, values) for record in records]
            )
            if (values and _is_suspicious(data) and writing.check(values)) or len(data) > SPILL_BYTES:
                return self._outlined(
                    writing, len(data), lambda outline: _outlined_wire(records, outline), header
                )
        except Exception as error:
            self._explain(error, [named for record in records for named in named_values(record)])
            raise
        self._idle.append(writing)
        return new(Packed, (data[header:], ()))

    def _take(self) -> _Writing:
        try:
            writing = self._idle.pop()
        except IndexError:
            return _Writing()
        writing.tallest = 0
        return writing

    def _outlined(
        self, writing: _Writing, size: int, change: Callable[[Outline], Any], header: int
    ) -> Packed:
        """Encode again, with large parts out of line and bytearrays as what they are.

        Neither ``writing`` nor its grown buffer is kept afterwards.
        """
        limit = SPILL_BYTES if size > SPILL_BYTES else sys.maxsize
        outline = writing.outline = Outline(limit, writing.hook, writing.pack)
        data = writing.pack(change(outline))[header:]
        return Packed(data, tuple([Blob(name, content) for name, content in outline.blobs.items()]))

    def _explain(self, error: Exception, named: Iterable[tuple[str, str | None, Any]]) -> None:
        """Raise ``NotSerializable`` if one of the values is to blame for the error."""

        def attempt(value: Any) -> None:
            writing = _Writing()
            try:
                writing.pack(value)
                writing.check([value])
            except Refused:
                raise
            except (RecursionError, ValueError) as problem:
                # msgpack says ValueError when plain lists and dicts nest too deep.
                raise Refused(value, _TOO_DEEP, whole=True) from problem
            except Exception as problem:
                raise Refused(value, f"encoding it raised {problem!r}") from problem

        try:
            explain(named, attempt)
        except WalgraphError as refusal:
            raise refusal from (None if isinstance(error, Refused | RecursionError) else error)


def _outlined_wire(records: Sequence[Record], outline: Outline) -> list[list[Any]]:
    return [TO_WIRE[type(record)](map_values(record, outline.part), []) for record in records]
