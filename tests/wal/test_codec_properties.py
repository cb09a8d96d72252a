"""Whatever can be built of supported values comes back the same."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import zoneinfo
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from walgraph.wal import encoder
from walgraph.wal.codec import Decoder, Encoder, references
from walgraph.wal.record import StateFolded, StepCommitted, TaskAnswered, TaskFinished


class Pair(NamedTuple):
    """Two values."""

    left: Any
    right: Any


@dataclass(frozen=True)
class Box:
    """One value in an object."""

    content: Any


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
ZONES = (
    st.none()
    | st.just(datetime.UTC)
    | st.sampled_from(["Europe/Berlin", "Asia/Kolkata"]).map(zoneinfo.ZoneInfo)
)
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXT
    | st.binary(max_size=20)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.complex_numbers(allow_nan=False)
    | st.datetimes(timezones=ZONES, allow_imaginary=True)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.ip_addresses()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 4))
    | TEXT.map(lambda text: pathlib.PurePosixPath(text.replace("\0", "")))
    | st.sampled_from([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_interface("fe80::1/64")])
)
KEYS = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.builds(Box, inner), max_leaves=4
)
# A signalling NaN has no hash, so it is no key.
NANS = st.sampled_from([Decimal("NaN"), Decimal("sNaN7"), Decimal("-Infinity")])
VALUES = st.recursive(
    ATOMS | NANS | st.binary(max_size=9).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.lists(inner, max_size=3).map(lambda items: deque(items, maxlen=7))
        | st.lists(st.integers(), max_size=3).map(Counter)
        | st.builds(Pair, inner, inner)
        | st.builds(Box, inner)
    ),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Equal with the same classes throughout; NaN is the same as NaN."""
    if type(left) is not type(right):
        return False
    if is_dataclass(left):
        return all(same(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, (set, frozenset)):
        pack = Encoder().value
        return sorted(pack(item).data for item in left) == sorted(pack(item).data for item in right)
    if isinstance(left, (list, tuple, deque)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, datetime.datetime):
        return (left.replace(tzinfo=None), left.fold, left.tzinfo) == (
            right.replace(tzinfo=None),
            right.fold,
            right.tzinfo,
        )
    return repr(left) == repr(right)


SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@given(VALUES)
@SETTINGS
def test_every_value_comes_back_the_same(value: Any) -> None:
    """Equal, of the same classes all the way down, and encoding it again gives the same bytes."""
    packed = Encoder().value(value)
    back = Decoder().value(packed.data)
    assert same(back, value)
    assert Encoder().value(back) == packed


@given(VALUES, VALUES)
@SETTINGS
def test_records_come_back_the_same_and_concatenate(first: Any, second: Any) -> None:
    """Bodies can be joined by joining their bytes, which is how frames are merged."""
    batch = [
        TaskFinished(
            "", ("a", 1), (("x", first), ("y", second)), ("b", ("send", "c", second)), ("n", b"d", "p")
        ),
        StepCommitted("", 1, 1),
    ]
    more = [TaskAnswered("s", ("a",), (("q", first),)), StateFolded(9, [first, second])]
    encoder, decoder = Encoder(), Decoder()
    body = encoder.records(batch).data + encoder.records(more).data
    assert same(decoder.records(body), batch + more)
    assert same(decoder.records(body, 4), batch + more)
    assert encoder.records(batch + more).data == body
    assert references(body) == set()


@given(VALUES, VALUES)
@SETTINGS
def test_spilling_changes_the_bytes_but_not_the_value(first: Any, second: Any) -> None:
    """With a limit of a few bytes nearly everything is out of line, and still comes back."""
    value = {
        "a": [first, second, [first] * 5],
        "b": (second, Box(first)),
        "c": dict.fromkeys(range(5), second),
    }
    before = encoder.SPILL_BYTES
    encoder.SPILL_BYTES = 40
    try:
        packed = Encoder().value(value)
        contents = {blob.digest: blob.data for blob in packed.blobs}
        back = Decoder(fetch=contents.__getitem__).value(packed.data)
        again = Encoder().value(back)
    finally:
        encoder.SPILL_BYTES = before
    assert same(back, value)
    # Blobs of a set's members come in the order of its iteration, which a set that was rebuilt need not share.
    assert (again.data, set(again.blobs)) == (packed.data, set(packed.blobs))
    named, todo = set(), [packed.data]
    while todo:
        fresh = references(todo.pop()) - named
        named |= fresh
        todo += [contents[name] for name in fresh]
    assert named == set(contents)
