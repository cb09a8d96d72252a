"""Large values go out of line, once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from walgraph.wal.blob import CHUNK_BYTES, SPILL_BYTES, Blob, chunks, digest
from walgraph.wal.codec import Decoder, Encoder, Packed, references
from walgraph.wal.errors import LogCorrupt, LogFailed
from walgraph.wal.record import Edit, Forked, Reference, RunStarted, StateEdited, StateFolded, TaskFinished

BIG = "x" * 100_000


@dataclass(frozen=True)
class State:
    """What a fold might produce."""

    channels: dict[str, Any]
    step: int


class Contents(dict):
    """Blobs by digest, counting what is new."""

    def add(self, packed: Packed) -> int:
        """Take over the blobs; return how many bytes were new."""
        fresh = {blob.digest: blob.data for blob in packed.blobs if blob.digest not in self}
        self.update(fresh)
        return sum(map(len, fresh.values())) + len(packed.data)

    def decoder(self) -> Decoder:
        """Return a decoder that finds these blobs."""
        return Decoder(fetch=self.__getitem__)


LARGE: list[Any] = [
    BIG,
    BIG.encode(),
    "é" * 20_000,
    bytearray(50_000),
    list(range(100_000)),
    [float(n) for n in range(20_000)],
    tuple(range(50_000)),
    {n: str(n) for n in range(20_000)},
    {(n, str(n)): [n] for n in range(9_000)},
    {str(n): BIG for n in range(5)},
    [[[BIG, 1], (BIG, 2)], {"a": {BIG}}],
    State({"doc": BIG, "list": [{"n": n} for n in range(9_000)], "raw": bytearray(b"x")}, 3),
    [bytearray(40_000), {"a": [bytearray(3)] * 9_000}],
    set(map(str, range(9_000))),
    10**100_000,
]


def test_small_values_stay_inline() -> None:
    """Up to the limit nothing leaves the record."""
    packed = Encoder().value("x" * (SPILL_BYTES - 5))
    assert packed.blobs == ()
    assert len(Encoder().value("x" * SPILL_BYTES).blobs) == 1


def test_a_blob_is_named_by_its_content_and_cut_into_chunks_without_loss() -> None:
    """What a store relies on."""
    data = os.urandom(3 * CHUNK_BYTES + 1)
    assert b"".join(chunks(data)) == data
    assert [len(chunk) for chunk in chunks(data)] == [CHUNK_BYTES] * 3 + [1]
    assert list(chunks(b"")) == []
    [blob] = Encoder().value(BIG).blobs
    assert blob == Blob(digest(blob.data), blob.data)


@pytest.mark.parametrize("number", range(15))
def test_a_large_value_comes_back_the_same(number: int) -> None:
    """Whatever is cut is put together again, the encoding that says so is small, and the same each time."""
    value = LARGE[number]
    encoder, contents = Encoder(), Contents()
    packed = encoder.value(value)
    assert encoder.value(value) == packed
    contents.add(packed)
    assert len(packed.data) <= SPILL_BYTES
    assert packed.blobs
    back = contents.decoder().value(packed.data)
    assert back == value
    assert type(back) is type(value)


def test_every_place_of_a_record_can_spill() -> None:
    """Writes, inputs, arguments of Send, edits, states: each comes back, and the large text is there once."""
    records = [
        RunStarted("", 1, "r", {"doc": BIG}, None, "sync", 1, {"note": BIG}),
        TaskFinished("", ("a",), (("doc", BIG),), (("send", "b", {"doc": BIG}), "c")),
        StateEdited("", 1, "update", (Edit("a", (("doc", BIG),), ()),)),
        Forked("", 1, 1, "update", {"doc": [BIG]}),
        StateFolded(9, State({"doc": BIG}, 1)),
    ]
    contents = Contents()
    packed = Encoder().records(records)
    contents.add(packed)
    assert len(packed.blobs) == 1
    assert len(packed.data) < 1_000
    assert contents.decoder().records(packed.data) == records


def test_an_unchanged_large_value_costs_nothing_more() -> None:
    """The second state differs in a small value only, and adds only that."""
    encoder, contents = Encoder(), Contents()
    contents.add(encoder.records([StateFolded(1, State({"doc": BIG, "n": 1}, 1))]))
    assert contents.add(encoder.records([StateFolded(2, State({"doc": BIG, "n": 2}, 2))])) < 300


def test_a_growing_list_shares_its_unchanged_beginning() -> None:
    """A thousand snapshots of a growing chat are linear in its size, not quadratic."""
    encoder, contents, messages, written = Encoder(), Contents(), [], 0
    for number in range(400):
        messages.append({"role": "user", "content": f"{number}" * 200})
        if number % 10 == 0:
            written += contents.add(
                encoder.records([StateFolded(number + 1, State({"messages": messages}, number))])
            )
    whole = len(repr(messages))
    assert written < 5 * whole
    packed = encoder.value(messages)
    assert contents.add(packed) < SPILL_BYTES + 1_000
    assert contents.decoder().value(packed.data) == messages


def test_references_names_every_blob_and_reference() -> None:
    """Also those within tuples, objects, keys, and within other blobs, one level at a time."""
    ref = Reference(os.urandom(16), 5)
    packed = Encoder().value(
        {"a": (State({"doc": BIG, "ref": [ref]}, 1),), (ref,): 1, "list": [["y" * 10_000] * 9]}
    )
    contents = {blob.digest: blob.data for blob in packed.blobs}
    found, todo = set(), [packed.data]
    while todo:
        fresh = references(todo.pop()) - found
        found |= fresh
        todo += [contents[name] for name in fresh if name in contents]
    assert found == {ref.digest, *contents}
    assert references(Encoder().value({"a": 1}).data) == set()


def test_a_reference_is_handed_over_without_being_fetched() -> None:
    """The user fetches it when it is wanted."""
    ref = Reference(b"0" * 16, 5)
    assert Decoder().value(Encoder().value([ref]).data) == [ref]


def test_a_blob_that_is_not_as_recorded_is_corruption_and_a_failing_store_is_not() -> None:
    """The two are told apart, since different people must act."""
    packed = Encoder().value(BIG)
    with pytest.raises(LogCorrupt, match="bytes, and"):
        Decoder(fetch=lambda _: b"\x01").value(packed.data)
    with pytest.raises(LogCorrupt, match="nowhere to fetch"):
        Decoder().value(packed.data)

    def broken(_digest: bytes) -> bytes:
        raise LogFailed("the disk is gone")

    with pytest.raises(LogFailed):
        Decoder(fetch=broken).value(packed.data)


def test_deep_and_large_values_come_back() -> None:
    """Large parts far down go out with what contains them."""
    value: Any = BIG
    for number in range(300):
        value = [value, number] if number % 2 else (value, bytearray(b"x"))
    contents = Contents()
    packed = Encoder().value(value)
    contents.add(packed)
    again = Encoder().value(contents.decoder().value(packed.data))
    assert again == packed
