"""Bytes into records and values, and the blobs that bytes name.

    bytes ──► msgpack ──► hook, per extension ──► raw readers, plain readers   (values)
                                               ├► class-based readers          (classes, registry)
                                               └► fetch ──► bytes of a blob ──► the same again

Invariants:
1. Whatever the bytes are, nothing but ``LogCorrupt`` and ``UnknownType`` is raised, and what ``fetch`` raises.
2. Nothing is imported or called that the registry does not hold.
3. Memory and stack are bounded by the length and by ``DEPTH_MAX``, whatever sizes the bytes claim.

This module must not know stores, frames, threads, or what records mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgpack import Unpacker, unpackb

from .blob import SEALED
from .classes import is_class_based, read_object
from .encoder import DEPTH_MAX
from .errors import KeyMissing, LogCorrupt, UnknownType, WalgraphError
from .record import Record
from .registry import GLOBAL, Opaque, Registry
from .values import BLOB, NESTED, PLAIN_READERS, RAW_READERS, REFERENCE, read_address
from .wire import FROM_WIRE

_UNPACKB_LEVELS = 4
"""``unpackb`` takes 48 KiB of C stack, so only the outermost levels use it; deeper ones pay for an Unpacker."""


class _Reading:
    """The state of one decoding."""

    __slots__ = ("decoder", "fault", "level")

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.level = 0
        self.fault: Exception | None = None

    def unpack(self, data: bytes) -> Any:
        """Decode exactly one value. Only for the outermost levels, since this takes 48 KiB of C stack."""
        return unpackb(
            data, ext_hook=self.hook, raw=False, strict_map_key=False, unicode_errors="surrogatepass"
        )

    def unpacker(self, data: bytes) -> Unpacker:
        """Return an Unpacker that is fed with the data, and cannot be made to ask for more memory than that."""
        unpacker = Unpacker(
            None,
            ext_hook=self.hook,
            raw=False,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            max_buffer_size=max(len(data), 1),
        )
        unpacker.feed(data)
        return unpacker

    def hook(self, code: int, data: bytes) -> Any:
        """Rebuild the value of an extension; msgpack calls this."""
        if self.level >= DEPTH_MAX:
            raise ValueError(f"it nests deeper than {DEPTH_MAX} levels")
        self.level += 1
        if code < NESTED:
            value = self._blob(data) if code == BLOB else self._raw(code, data)
        else:
            if self.level < _UNPACKB_LEVELS:
                content = self.unpack(data)
            else:
                # Unpacked right here and not through a method: each level must cost one Python frame only.
                unpacker = self.unpacker(data)
                content = unpacker.unpack()
                if unpacker.tell() != len(data):
                    raise ValueError("there are bytes after the value")
            if code in PLAIN_READERS:
                value = PLAIN_READERS[code](content)
            elif is_class_based(code):
                value = self._object(code, content)
            else:
                raise ValueError(f"extension code {code} is not known")
        self.level -= 1
        return value

    def _raw(self, code: int, data: bytes) -> Any:
        try:
            return RAW_READERS[code](data)
        except UnknownType as error:
            if not self.decoder.lenient:
                raise
            return Opaque(str(error.details.get("name")), data)

    def _object(self, code: int, content: Any) -> Any:
        try:
            return read_object(code, content, self.decoder.find)
        except UnknownType:
            if not self.decoder.lenient:
                raise
            return Opaque(content[0], content[1:] if len(content) != 2 else content[1])

    def _blob(self, address: bytes) -> Any:
        name, size = read_address(address)
        fetch = self.decoder.fetch
        if fetch is None:
            raise ValueError("a value lies out of line, and there is nowhere to fetch it from")
        try:
            data = fetch(name)
        except Exception as error:
            self.fault = error
            raise
        if len(data) != size:
            raise ValueError(f"a value out of line has {len(data)} bytes, and {size} were recorded")
        return self.unpack(data) if self.level < _UNPACKB_LEVELS else self.unpacker(data).unpack()


class Decoder:
    """Makes values and records of bytes. May be used by several threads at once.

    Args:
        registry: The classes that may be rebuilt.
        fetch: Returns the content of a blob by digest.
        lenient: Give ``Opaque`` for unknown classes instead of raising; for tools only.
    """

    __slots__ = ("fetch", "lenient", "registry")

    def __init__(
        self,
        registry: Registry = GLOBAL,
        fetch: Callable[[bytes], bytes] | None = None,
        *,
        lenient: bool = False,
    ) -> None:
        self.registry = registry
        self.fetch = fetch
        self.lenient = lenient

    def value(self, data: bytes) -> Any:
        """Decode one value.

        Raises:
            UnknownType: The value is of a class that is not known here.
            KeyMissing: The bytes are encrypted, and were not opened for want of their key.
            LogCorrupt: The bytes are not an encoded value.
        """
        reading = _Reading(self)
        try:
            return reading.unpack(data)
        except Exception as error:
            raise _corrupt(error, reading, data, "value") from error

    def records(self, body: bytes, count: int | None = None) -> list[Record]:
        """Decode a concatenation of records, exactly as they were encoded.

        Args:
            body: The encoded records.
            count: How many there are, if that is known; it saves a good part of the work.

        Raises:
            UnknownType: A value in it is of a class that is not known here.
            LogCorrupt: The bytes are not encoded records.
        """
        reading = _Reading(self)
        try:
            if count is None:
                unpacker, arrays, end = reading.unpacker(body), [], len(body)
                # Not by iterating: a record that is cut short would pass for one that is still to arrive.
                while unpacker.tell() < end:
                    arrays.append(unpacker.unpack())
            else:
                arrays = reading.unpack(_array_header(count) + body)
            found = [FROM_WIRE[array[0]](*array[1:]) for array in arrays]
            if self.lenient:
                _check_shapes(found)
            return found
        except Exception as error:
            raise _corrupt(error, reading, body, "records") from error

    def find(self, name: str) -> type:
        """Return the class of a recorded name.

        Raises:
            UnknownType: The registry does not hold it.
        """
        found = self.registry.find(name)
        if found is None:
            raise UnknownType(
                f"a recorded value is of class {name!r}, which is not known in this process",
                hint="register it before reading, register_type(cls), under this name if it has moved "
                f"(name={name!r}); or mention the class in the graph's state schema",
                name=name,
            )
        return found


def _check_shapes(records: list[Record]) -> None:
    """See that what records declare is of the declared classes: who reads leniently folds nothing that would notice."""
    from .checked import misfits

    for record in records:
        wrong = misfits(record)
        if wrong:
            raise ValueError(f"{type(record).__name__} has {', '.join(wrong)} of another class")


def _array_header(count: int) -> bytes:
    return bytes([0x90 | count]) if count < 16 else b"\xdd" + count.to_bytes(4, "big")


def _corrupt(error: Exception, reading: _Reading, data: bytes, what: str) -> Exception:
    """Return the error to raise for one that decoding ran into."""
    if error is reading.fault or isinstance(error, WalgraphError):
        return error
    if data[:1] == SEALED:
        return closed(data)
    return LogCorrupt(
        f"{len(data)} bytes are not encoded {what}: {error!r}",
        hint="run `wal verify` on the log; if it finds nothing, a newer walgraph has written this",
        cause=error,
    )


def closed(data: bytes) -> WalgraphError:
    """Return the error for encrypted data that was not opened."""
    from .envelope import parse

    try:
        key = parse(data).key
    except LogCorrupt as error:
        return error
    message = f"There is no key {key!r} here, with which these {len(data)} bytes are encrypted."
    hint = (
        "Open the log with keys=KeyRing({...}), or call wal with --keys FILE. "
        "If the key was forgotten on purpose, the data is gone for good."
    )
    return KeyMissing(message, hint=hint, key=key)


# ── references ──

_ADDRESS_HEADERS = (bytes([0xC7, 24, BLOB]), bytes([0xC7, 24, REFERENCE]))


def references(body: bytes) -> set[bytes]:
    """Return the digests of the blobs that encoded data names directly, for mark and sweep.

    Blobs are encoded data too and may name further ones; following them is the caller's business. Of encrypted data
    these are the names under which the blobs lie; they can be seen without its key.

    Raises:
        LogCorrupt: The bytes are not encoded data.
    """
    if body[:1] == SEALED:
        from .envelope import parse

        return set(parse(body).names)
    found: set[bytes] = set()
    if not any(header in body for header in _ADDRESS_HEADERS):
        return found
    level = 0

    def hook(code: int, data: bytes) -> object:
        nonlocal level
        if code in (BLOB, REFERENCE):
            found.add(read_address(data).digest)
        elif code >= NESTED:
            level += 1
            if level > DEPTH_MAX:
                raise ValueError(f"it nests deeper than {DEPTH_MAX} levels")
            walk(data)
            level -= 1
        # As a dict key it must be hashable, and different from every other key.
        return object()

    def walk(data: bytes) -> None:
        unpacker = Unpacker(
            None, ext_hook=hook, raw=True, strict_map_key=False, max_buffer_size=max(len(data), 1)
        )
        unpacker.feed(data)
        while unpacker.tell() < len(data):
            unpacker.unpack()

    try:
        walk(body)
    except Exception as error:
        raise LogCorrupt(
            f"{len(body)} bytes are not encoded data: {error!r}", hint="run `wal verify`"
        ) from error
    return found
