"""How values that msgpack does not know are written: the table of extension codes, and the standard classes.

msgpack itself carries None, bool, int of up to 64 bit, float, str, bytes, list and dict. Everything else is an
extension: a code and a payload.

    code  payload     value
    ────  ──────────  ───────────────────────────────────────────────────────────────────────────
       1  raw bytes   bytearray
       2  raw bytes   int beyond 64 bit, two's complement, big-endian
       3  text        Decimal
       4  2 f64       complex
       5  12 + zone   datetime: year u16, month, day, hour, minute, second u8, microsecond u32, fold u8
       6  4           date: year u16, month u8, day u8
       7  8 + zone    time: hour, minute, second u8, microsecond u32, fold u8
       8  12          timedelta: days i32, seconds i32, microseconds i32
       9  zone        timezone or ZoneInfo
      10  16          UUID
      11  tag + text  path: p PurePosixPath, w PureWindowsPath, P PosixPath, W WindowsPath
      12  tag + text  IP: 4/6 address, n/N network, i/I interface (small: version 4, capital: version 6)
      13  16 + u64    a value that lies in a blob: digest, length
      14  16 + u64    Reference: the same address, but handed to the user as it is
    zone is empty (none), ``o`` + offset in microseconds i64, ``n`` + the same + name, or ``z`` + IANA key.

    From 32 on the payload is one more value of this same encoding.
      32  [items]                 tuple              40  [factory, items]           defaultdict
      33  [items]                 set, sorted        41  [class, member]            Enum
      34  [items]                 frozenset, sorted  42  [class, members, rest]     Flag
      35  [n, d]                  Fraction           43  [class, items, extra]      NamedTuple
      36  [start, stop, step]     range              44  [class, fields, extra]     dataclass, registered class
      37  {items}                 OrderedDict        45  [class, 4 parts]           pydantic model
      38  {items}                 Counter            46  [class, plain]             class with conversions
      39  [maxlen, items]         deque              47  [class, args, state, text] exception
      48  [dtype, shape, bytes]   numpy array        49  [dtype, bytes]             numpy scalar
      50  [class, plain, extra]   registered subclass of a builtin
      51  [lists]                 a long list in parts, of which some lie in blobs
      52  [dicts]                 a long dict in parts

Invariants:
1. Reading what was written gives an equal value of the same class, or the writing was refused.
2. A payload is a function of the value alone: sets are sorted by their encoding, so equal values have equal blobs.
3. Codes are part of the on-disk format; they are added to, never reused.

This module must not know user classes (``wal.classes``), nor depth, blobs and errors (``wal.codec``).
"""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import struct
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgpack import ExtType, Timestamp

from .errors import UnknownType
from .named import NamedTuple
from .record import Reference

BYTEARRAY, INTEGER, DECIMAL, COMPLEX, DATETIME, DATE, TIME, TIMEDELTA, ZONE = range(1, 10)
UUID, PATH, ADDRESS, BLOB, REFERENCE = range(10, 15)
NESTED = 32
"""Codes from here on carry an encoded value as payload."""
TUPLE, SET, FROZENSET, FRACTION, RANGE, ORDERED_DICT, COUNTER, DEQUE = range(32, 40)
DEFAULT_DICT, ENUM, FLAG, NAMED_TUPLE, OBJECT, MODEL, CUSTOM, EXCEPTION = range(40, 48)
ARRAY, SCALAR, DERIVED, JOINED_LIST, JOINED_DICT = range(48, 53)

Pack: TypeAlias = Callable[[Any], bytes]
"""Encodes one value."""


class Form(NamedTuple):
    """How values of one class are written: the code, and what makes the payload.

    For a code from ``NESTED`` on, the payload is still to be encoded, unless it is made as bytes already.
    """

    code: int
    make: Callable[[Any, Pack], Any]


class Refused(Exception):
    """A value cannot be written exactly; the encoder turns this into ``NotSerializable``."""

    def __init__(self, value: Any, reason: str, *, whole: bool = False) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        self.whole = whole
        """The value as a whole is at fault, and looking for a part to blame leads nowhere."""


FOREIGN: dict[type, str] = {
    memoryview: "it is a window on another object's memory; record bytes(value) instead",
    ExtType: "it would be mistaken for one of walgraph's own extensions",
    Timestamp: "it would not come back the same; record a datetime instead",
}
"""Classes that msgpack writes without asking and would not give back, with the reason to tell the user."""


def refuse_foreign(items: Iterable[Any]) -> None:
    """Raise ``Refused`` if one of the items is of a foreign class."""
    for item in items:
        if type(item) in FOREIGN:
            raise Refused(item, FOREIGN[type(item)])


_DATETIME = struct.Struct(">HBBBBBIB")
_DATE = struct.Struct(">HBB")
_TIME = struct.Struct(">BBBIB")
_TIMEDELTA = struct.Struct(">iii")
_OFFSET = struct.Struct(">q")
_COMPLEX = struct.Struct(">dd")
_ADDRESS = struct.Struct(">16sQ")
_MICROSECOND = datetime.timedelta(microseconds=1)

_PATHS: dict[type, bytes] = {
    pathlib.PurePosixPath: b"p",
    pathlib.PureWindowsPath: b"w",
    pathlib.PosixPath: b"P",
    pathlib.WindowsPath: b"W",
}
_PATH_TAGS = {tag: cls for cls, tag in _PATHS.items()}

_ADDRESSES: dict[type, bytes] = {
    ipaddress.IPv4Address: b"4",
    ipaddress.IPv6Address: b"6",
    ipaddress.IPv4Network: b"n",
    ipaddress.IPv6Network: b"N",
    ipaddress.IPv4Interface: b"i",
    ipaddress.IPv6Interface: b"I",
}
_ADDRESS_TAGS: dict[bytes, Any] = {tag: cls for cls, tag in _ADDRESSES.items()}

_FACTORIES: dict[Any, str | None] = {
    None: None, int: "int", float: "float", str: "str", bytes: "bytes", bool: "bool", complex: "complex",
    list: "list", dict: "dict", set: "set", tuple: "tuple", frozenset: "frozenset", bytearray: "bytearray",
    Decimal: "Decimal", Fraction: "Fraction", deque: "deque", Counter: "Counter", OrderedDict: "OrderedDict",
}  # fmt: skip
_FACTORY_NAMES = {name: factory for factory, name in _FACTORIES.items()}


def text_bytes(text: str) -> bytes:
    """Encode text, lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def bytes_text(data: bytes) -> str:
    """Decode what ``text_bytes`` made."""
    return data.decode("utf-8", "surrogatepass")


def write_zone(zone: datetime.tzinfo | None) -> bytes:
    """Encode a time zone; only the standard library's two kinds can be told apart and rebuilt."""
    if zone is None:
        return b""
    if type(zone) is datetime.timezone:
        # __getinitargs__ is how the class itself tells a given name from a derived one.
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        micros = _OFFSET.pack(offset // _MICROSECOND)
        return b"n" + micros + text_bytes(name[0]) if name else b"o" + micros
    if type(zone) is ZoneInfo and zone.key is not None:
        return b"z" + text_bytes(zone.key)
    raise Refused(zone, "only datetime.timezone and a ZoneInfo with a key can be recorded as a time zone")


def read_zone(data: bytes) -> datetime.tzinfo | None:
    """Decode what ``write_zone`` made."""
    if not data:
        return None
    if data[:1] in (b"o", b"n"):
        (offset,) = _OFFSET.unpack(data[1:9])
        delta = datetime.timedelta(microseconds=offset)
        return (
            datetime.timezone(delta, bytes_text(data[9:])) if data[:1] == b"n" else datetime.timezone(delta)
        )
    if data[:1] != b"z":
        raise ValueError("unknown kind of time zone")
    key = bytes_text(data[1:])
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise UnknownType(
            f"a recorded time is in zone {key!r}, of which this machine has no data",
            hint="install the package tzdata",
            name=key,
        ) from error


def _write_datetime(value: datetime.datetime, _pack: Pack) -> bytes:
    head = _DATETIME.pack(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.fold,
    )
    zone = value.tzinfo
    return head if zone is None else head + write_zone(zone)


def _read_datetime(data: bytes) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, fold = _DATETIME.unpack(data[:12])
    zone = read_zone(data[12:])
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _write_time(value: datetime.time, _pack: Pack) -> bytes:
    return _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold) + write_zone(
        value.tzinfo
    )


def _read_time(data: bytes) -> datetime.time:
    hour, minute, second, microsecond, fold = _TIME.unpack(data[:8])
    return datetime.time(hour, minute, second, microsecond, read_zone(data[8:]), fold=fold)


def _write_path(value: pathlib.PurePath, _pack: Pack) -> bytes:
    return _PATHS[type(value)] + text_bytes(str(value))


def _read_path(data: bytes) -> pathlib.PurePath:
    cls = _PATH_TAGS[data[:1]]
    text = bytes_text(data[1:])
    try:
        made: pathlib.PurePath = cls(text)
    except NotImplementedError as error:
        raise UnknownType(
            f"the recorded path {text!r} is a {cls.__name__}, which does not exist on this system",
            hint="record PurePosixPath or PureWindowsPath for paths of other systems",
            name=cls.__name__,
        ) from error
    return made


def _write_ip(value: Any, _pack: Pack) -> bytes:
    return _ADDRESSES[type(value)] + str(value).encode()


def _write_integer(value: int, _pack: Pack) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _write_set(value: Any, pack: Pack) -> bytes:
    """Encode the members once, and sort what that gives: packing them again as a list would double per level."""
    header = b"\xdd" + len(value).to_bytes(4, "big") if len(value) > 15 else bytes([0x90 | len(value)])
    return header + b"".join(sorted(map(pack, value)))


def _write_default_dict(value: defaultdict[Any, Any], _pack: Pack) -> list[Any]:
    factory = value.default_factory
    if factory is not None and not isinstance(factory, type):
        raise Refused(value, "a defaultdict can be recorded only when its factory is a builtin class or None")
    if factory not in _FACTORIES:
        raise Refused(value, f"a defaultdict whose factory is {factory!r} would not come back the same")
    return [_FACTORIES[factory], dict(value)]


def write_address(value: Any, _pack: Pack) -> bytes:
    """Encode digest and length, which is what a ``Reference`` and a spilled value consist of."""
    return _ADDRESS.pack(value[0], value[1])


def read_address(data: bytes) -> Reference:
    """Decode digest and length."""
    return Reference(*_ADDRESS.unpack(data))


FORMS: dict[type, Form] = {
    tuple: Form(TUPLE, lambda value, _pack: list(value)),
    int: Form(INTEGER, _write_integer),
    bytearray: Form(BYTEARRAY, lambda value, _pack: bytes(value)),
    Decimal: Form(DECIMAL, lambda value, _pack: str(value).encode()),
    complex: Form(COMPLEX, lambda value, _pack: _COMPLEX.pack(value.real, value.imag)),
    datetime.datetime: Form(DATETIME, _write_datetime),
    datetime.date: Form(DATE, lambda value, _pack: _DATE.pack(value.year, value.month, value.day)),
    datetime.time: Form(TIME, _write_time),
    datetime.timedelta: Form(
        TIMEDELTA, lambda value, _pack: _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)
    ),
    datetime.timezone: Form(ZONE, lambda value, _pack: write_zone(value)),
    ZoneInfo: Form(ZONE, lambda value, _pack: write_zone(value)),
    uuid.UUID: Form(UUID, lambda value, _pack: value.bytes),
    **{cls: Form(PATH, _write_path) for cls in _PATHS},
    **{cls: Form(ADDRESS, _write_ip) for cls in _ADDRESSES},
    Reference: Form(REFERENCE, write_address),
    set: Form(SET, _write_set),
    frozenset: Form(FROZENSET, _write_set),
    Fraction: Form(FRACTION, lambda value, _pack: [value.numerator, value.denominator]),
    range: Form(RANGE, lambda value, _pack: [value.start, value.stop, value.step]),
    OrderedDict: Form(ORDERED_DICT, lambda value, _pack: dict(value)),
    Counter: Form(COUNTER, lambda value, _pack: dict(value)),
    deque: Form(DEQUE, lambda value, _pack: [value.maxlen, list(value)]),
    defaultdict: Form(DEFAULT_DICT, _write_default_dict),
}
"""Standard class → how its values are written. Exact classes only: a subclass is a user class."""

RAW_READERS: dict[int, Callable[[bytes], Any]] = {
    BYTEARRAY: bytearray,
    INTEGER: lambda data: int.from_bytes(data, "big", signed=True),
    DECIMAL: lambda data: Decimal(data.decode()),
    COMPLEX: lambda data: complex(*_COMPLEX.unpack(data)),
    DATETIME: _read_datetime,
    DATE: lambda data: datetime.date(*_DATE.unpack(data)),
    TIME: _read_time,
    TIMEDELTA: lambda data: datetime.timedelta(*_TIMEDELTA.unpack(data)),
    ZONE: read_zone,
    UUID: lambda data: uuid.UUID(bytes=bytes(data)),
    PATH: _read_path,
    ADDRESS: lambda data: _ADDRESS_TAGS[data[:1]](data[1:].decode()),
    REFERENCE: read_address,
}
"""Code → what rebuilds the value from the payload's bytes."""


def _fraction(parts: list[int]) -> Fraction:
    numerator, denominator = parts
    if type(numerator) is not int or type(denominator) is not int:
        raise TypeError("a fraction consists of two integers")
    return Fraction(numerator, denominator)


def _counter(items: dict[Any, Any]) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    # Counter(items) would do the same through Python code per item; counts need not be numbers here.
    dict.update(counter, items)
    return counter


def _joined_dict(parts: list[dict[Any, Any]]) -> dict[Any, Any]:
    whole: dict[Any, Any] = {}
    for part in parts:
        whole.update(part)
    return whole


def _joined_list(parts: list[list[Any]]) -> list[Any]:
    whole: list[Any] = []
    for part in parts:
        whole += part
    return whole


PLAIN_READERS: dict[int, Callable[[Any], Any]] = {
    TUPLE: tuple,
    SET: set,
    FROZENSET: frozenset,
    FRACTION: _fraction,
    RANGE: lambda parts: range(*parts),
    ORDERED_DICT: OrderedDict,
    COUNTER: _counter,
    DEQUE: lambda parts: deque(parts[1], parts[0]),
    DEFAULT_DICT: lambda parts: defaultdict(_FACTORY_NAMES[parts[0]], parts[1]),
    JOINED_LIST: _joined_list,
    JOINED_DICT: _joined_dict,
}
"""Code → what rebuilds the value from the decoded payload, without any user class."""
