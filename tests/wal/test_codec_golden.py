"""The bytes on disk: one file per record kind, and one with every kind of value.

A changed file is a changed format. Files are added when kinds are; to write the missing ones, run this module as a
script. It never overwrites one.
"""

from __future__ import annotations

import datetime
import enum
import ipaddress
import math
import pathlib
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from walgraph.wal.codec import Decoder, Encoder, register_type
from walgraph.wal.record import (
    KINDS,
    AttemptFailed,
    CallsSettled,
    Edit,
    Failure,
    Forked,
    Question,
    Reference,
    RunEnded,
    RunResumed,
    RunStarted,
    SignalReceived,
    StateEdited,
    StateFolded,
    StepCommitted,
    StepStarted,
    TaskAnswered,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskRouted,
    TaskStarted,
    ThreadCreated,
    TimerFired,
    TimerSet,
)
from walgraph.wal.saved_record import (
    SAVED_KINDS,
    CheckpointPut,
    CheckpointsDropped,
    Copied,
    Payload,
    WritesPut,
)

GOLDEN = pathlib.Path(__file__).parent / "golden"
AT = 1_760_000_000_000_000_000
GRAPH = Reference(bytes(range(16)), 1234)


@register_type(name="golden.Color")
class Color(enum.Enum):
    """An enum."""

    RED = "r"


@register_type(name="golden.Mode")
class Mode(enum.Flag):
    """A flag."""

    READ = 1
    WRITE = 2


@register_type(name="golden.Point")
class Point(NamedTuple):
    """A NamedTuple."""

    x: int
    y: int


@register_type(name="golden.Order")
@dataclass(frozen=True)
class Order:
    """A structured value with a number."""

    number: int
    lines: tuple[str, ...]


class Temperature:
    """A class that only its conversions understand."""

    def __init__(self, kelvin: float) -> None:
        self.kelvin = kelvin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Temperature) and other.kelvin == self.kelvin

    __hash__ = None


register_type(
    Temperature,
    name="golden.Temperature",
    encode=lambda value: value.kelvin,
    decode=Temperature,
)

VALUES: dict[Any, Any] = {
    "none": None,
    "bool": True,
    "int": [0, -1, 2**63, -(2**63)],
    "big int": [2**64, -(2**63) - 1, 10**30],
    "float": [0.5, -0.0, math.inf],
    "str": "héllo \ud800",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"\x00\xff"),
    "tuple": (1, (2,), ()),
    "set": {"b", "a"},
    "frozenset": frozenset({1, 2}),
    "decimal": Decimal("1.10"),
    "fraction": Fraction(1, 3),
    "complex": 1 + 2j,
    "datetime": datetime.datetime(2024, 2, 29, 23, 59, 58, 123456),  # noqa: DTZ001 - a naive one on purpose
    "utc": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "offset": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "X")),
    "zone": datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    "date": datetime.date(2024, 2, 29),
    "time": datetime.time(1, 2, 3, 4),
    "timedelta": datetime.timedelta(-1, 2, 3),
    "uuid": uuid.UUID(int=7),
    "path": pathlib.PurePosixPath("/tmp/a"),
    "windows": pathlib.PureWindowsPath("C:/a"),
    "ip": [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("fe80::/10")],
    "range": range(1, 10, 3),
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "counter": Counter("aab"),
    "deque": deque([1, 2], maxlen=5),
    "default": defaultdict(list, {"a": [1]}),
    "enum": Color.RED,
    "flag": Mode.READ | Mode.WRITE,
    "namedtuple": Point(1, 2),
    "dataclass": Order(7, ("tea", "milk")),
    "custom": Temperature(273.15),
    "reference": GRAPH,
    ("tuple", "key"): {1: "int key", None: "none key", 1.5: "float key", b"k": "bytes key"},
}

FAILURE = Failure("builtins:ValueError", "no", "Traceback ...", ("in fetch",))
RECORDS = [
    ThreadCreated(AT, "thread-1", "thread-0"),
    RunStarted("", AT, "run-1", {"messages": ["hi"]}, GRAPH, "async", 3, {"source": "input"}),
    RunResumed("", AT, "run-2", None, "sync", 4),
    StepStarted("", 2, ("fetch", "grade"), 1),
    TaskFinished(
        "sub:1",
        ("fetch", 0, "key"),
        (("messages", ["hello"]), ("pair", (1, 2))),
        ("parse", ("send", "grade", {"n": 1}), ("join", ("a", "b"), "end", False), ("defer", "last")),
        ("search", b"0123456789abcdef", "search('a')"),
    ),
    TaskRouted("", (3,), ("parse",)),
    TaskFailed("", ("fetch",), FAILURE, 2),
    TaskInterrupted(
        "", ("ask",), (Question("q1", 0, "sure?", None), Question("q2", 1, {"a": 1}, {"type": "str"}))
    ),
    TaskAnswered("", ("ask",), (("q1", True),)),
    StepCommitted("", AT, 2),
    RunEnded("", AT, "failed", "fetch raised"),
    StateEdited("", AT, "update", (Edit("fetch", (("count", 3),), ("parse",)), Edit(None, (), ()))),
    Forked("", AT, 17, "update", {"count": 3}),
    StateFolded(99, {"count": 4}),
    AttemptFailed("", ("fetch", 0), FAILURE, 1, AT, AT + 1_000, AT + 2_000),
    TaskStarted(
        "",
        ("fetch", 0),
        ("pay", b"0123456789abcdef", "('bob', 5)"),
        "4f1c5a3e-0000-1111-2222-333344445555",
        2,
        AT,
    ),
    TimerSet("", ("fetch", 0), 1, "wait", "approved", AT, AT + 1_000),
    TimerFired("", ("fetch", 0), 1, AT + 2_000),
    SignalReceived("", ("fetch", 0), 1, AT, "approved", 7, "order-7", {"by": "ada"}),
    CallsSettled("", (("fetch", 0), ("fetch", "key")), "kept"),
]
LATER = {
    "Forked.whole": Forked("", AT, 17, "fork", {"count": 3}, True),
    "TaskFailed.handled": TaskFailed("", (2,), FAILURE, 1, "__error_handler__fetch", b"packed"),
    "TaskFailed.called": TaskFailed(
        "", ("fetch", 0), FAILURE, 1, None, b"packed", ("search", b"0123456789abcdef", "search('a')")
    ),
    "StateEdited-noted": StateEdited("", AT, "clear", (), {"by": "ada"}),
    "RunResumed-noted": RunResumed("", AT, "run-2", GRAPH, "sync", 4, {"by": "ada"}),
    "RunResumed-deadline": RunResumed("", AT, "run-2", GRAPH, "sync", 4, None, AT + 1_000),
    "RunStarted-deadline": RunStarted("", AT, "r", {}, None, "", 0, {}, None, None, AT + 1_000),
    "TaskInterrupted.refused": TaskInterrupted(
        "", ("ask",), (Question("q1", 0, "sure?", None),), None, "ValueError('no number')"
    ),
    "TimerSet-endless": TimerSet("", ("fetch",), 0, "wait", "approved", AT, None),
    "RunStarted-nested": RunStarted("a:1|b:2", AT, "2|1", {}, None, "", 0, {}, ("b", 0), "a:1"),
    "StateEdited.path": StateEdited("", AT, "update", (Edit("fetch", (("count", 3),), (), (0, "key")),)),
}
SAVED_RECORDS: list[Any] = [
    CheckpointPut(
        "child:1",
        "1f0c-2",
        "1f0c-1",
        "1f0c-1",
        4,
        "2026-11-20T12:00:00+00:00",
        (("said", f"{7:032}"), ("old", f"{2:032}.0.25"), ("n", 3), ("x", 1.5)),
        (("reply", (("said", f"{6:032}"),)),),
        ("said",),
        (
            ("said", Payload("msgpack", (b"\x93", Copied(1, 1, 90), Copied(2, 1, 40), GRAPH))),
            ("same", 2),
            ("empty", None),
        ),
        {"source": "loop", "step": 1, "parents": {"": "1f0b"}},
        Payload("json", (b"{}",)),
    ),
    WritesPut(
        "",
        "1f0c-2",
        "task-1",
        "~__pregel_pull, reply",
        ((0, "said", Payload("msgpack", (b"\x90",))), (-3, "__interrupt__", 4)),
    ),
    CheckpointsDropped("", ("1f0c-1", "1f0c-2")),
]
"""The records of threads that LangGraph runs."""
LATER["CheckpointPut.whole"] = CheckpointPut(
    "", "1", None, None, 1, "", (), (), False, (), {"source": "input"}
)
"""Records with fields that came later, which those above are written without."""
CASES = (
    {type(record).__name__: record for record in (*RECORDS, *SAVED_RECORDS)}
    | {"values": StateFolded(1, VALUES)}
    | LATER
)


def hexadecimal(data: bytes) -> str:
    """Return bytes as lines of hexadecimal digits."""
    text = data.hex()
    return "".join(text[start : start + 96] + "\n" for start in range(0, len(text), 96))


def test_every_record_kind_has_golden_bytes() -> None:
    """No kind of record is without a pinned encoding."""
    assert {type(record) for record in RECORDS} == set(KINDS.values())
    assert {type(record) for record in SAVED_RECORDS} == set(SAVED_KINDS.values())


@pytest.mark.parametrize("name", CASES)
def test_encoding_gives_exactly_the_golden_bytes(name: str) -> None:
    """What this version writes is what the format says."""
    packed = Encoder().records([CASES[name]])
    assert packed.blobs == ()
    assert hexadecimal(packed.data) == (GOLDEN / f"{name}.hex").read_text(encoding="ascii")


@pytest.mark.parametrize("name", CASES)
def test_golden_bytes_decode_to_the_record(name: str) -> None:
    """What an earlier version wrote is read as what it meant, down to the classes of all values."""
    body = bytes.fromhex((GOLDEN / f"{name}.hex").read_text(encoding="ascii"))
    [record] = Decoder().records(body)
    assert record == CASES[name]
    assert_same_classes(record, CASES[name])


def assert_same_classes(left: Any, right: Any) -> None:
    """Compare the classes of two equal values, all the way down."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert_same_classes(list(left.items()), list(right.items()))
    elif isinstance(left, (list, tuple, deque)):
        for one, other in zip(left, right, strict=True):
            assert_same_classes(one, other)


if __name__ == "__main__":
    for case, wanted in CASES.items():
        file = GOLDEN / f"{case}.hex"
        if not file.exists():
            file.write_text(hexadecimal(Encoder().records([wanted]).data), encoding="ascii")
