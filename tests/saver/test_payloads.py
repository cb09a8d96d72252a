"""Values as pieces of earlier ones: whatever changes, the bytes that come back are those that were put."""

from __future__ import annotations

import hashlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walgraph.replay.payloads import Payloads
from walgraph.replay.saved import SavedThread
from walgraph.replay.splice import common_back, common_front, splice
from walgraph.tools.saved_draft import Keeper, Typed
from walgraph.wal import LogCorrupt
from walgraph.wal.codec import Decoder
from walgraph.wal.saved_record import Copied, Payload
from walgraph.wal.shared import blob_of, bytes_of

ITEMS = st.lists(st.text(min_size=20, max_size=200), max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ITEMS, st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12))
def test_any_history_of_a_list_comes_back(changes: list[tuple[list[str], int, int]]) -> None:
    """Stretches of a list are replaced by others, again and again; each version is read back as it was."""
    state = SavedThread(Decoder())
    payloads = state.payloads
    keeper = Keeper(state, lambda number: payloads.read(number, lambda digest: blobs[digest]))
    blobs: dict[bytes, bytes] = {}
    current: list[str] = []
    numbers: list[tuple[int, bytes]] = []
    for new, start, stop in changes:
        written = payloads.number(keeper.kept(Typed("msgpack", msgpack.packb(new))))
        current = [*current[:start], *new, *current[stop:]]
        data = msgpack.packb(current)
        kept = keeper.kept(Typed("msgpack", data), numbers[-1][0] if numbers else None, [written])
        numbers.append((payloads.number(kept), data))
        blobs |= {blob.digest: bytes_of(blob.data) for blob in keeper.blobs}
    again = Payloads.from_plain(payloads.to_plain(), payloads.next)
    for number, data in numbers:
        assert payloads.read(number, blobs.__getitem__) == data
        assert again.read(number, blobs.__getitem__) == data
        assert payloads.size(number) == len(data)


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_common_ends_are_found(front: bytes, middle: bytes, back: bytes) -> None:
    """The longest common beginning and end, each as a walk byte by byte would find them."""
    one, other = front + middle + back, front + back
    longest = common_front(one, other)
    assert one[:longest] == other[:longest]
    assert longest == min(len(one), len(other)) or one[longest] != other[longest]
    behind = common_back(one, other, min(len(one), len(other)))
    assert behind == 0 or one[-behind:] == other[-behind:]
    assert behind >= len(back)


def test_a_list_that_grows_costs_what_is_new() -> None:
    """The header is written, the former items and the write that brought the new ones are referred to."""
    old, new = msgpack.packb(["x" * 90] * 20), msgpack.packb(["x" * 90] * 20 + ["y" * 90])
    write = msgpack.packb(["y" * 90])
    pieces = splice(new, (1, old), [(2, write)])
    assert pieces == (new[:3], Copied(1, 3, len(old)), Copied(2, 1, len(write)))


def test_a_list_that_is_cut_at_its_front_costs_what_is_new() -> None:
    """A window that slides over a chat refers to what is left of the former one."""
    items = [hashlib.sha256(bytes([number])).hexdigest() for number in range(20)]
    old, new = msgpack.packb(items), msgpack.packb([*items[2:], "y" * 64])
    pieces = splice(new, (1, old), [])
    assert pieces == (new[:3], Copied(1, 3 + 2 * 66, len(old)), new[-66:])


def test_pieces_lean_on_earlier_payloads_only() -> None:
    """A number that is not there, and a stretch beyond the end, are damage."""
    payloads = Payloads()
    payloads.number(Payload("t", (b"abc",)))
    with pytest.raises(LogCorrupt, match="no payload 7"):
        payloads.number(7)
    with pytest.raises(LogCorrupt, match="no payload 9"):
        payloads.number(Payload("t", (Copied(9, 0, 1),)))
    beyond = payloads.number(Payload("t", (Copied(1, 0, 9),)))
    with pytest.raises(LogCorrupt, match="3 bytes"):
        payloads.read(beyond, lambda _: b"")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, 200_000])
def test_a_large_value_is_a_blob_of_encoded_data(size: int) -> None:
    """Whatever header msgpack gives it, its bytes and its size are known."""
    data = bytes(index % 251 for index in range(size))
    address, blob = blob_of(data)
    assert bytes_of(blob.data) == data
    payloads = Payloads()
    assert payloads.size(payloads.number(Payload("t", (address,)))) == size


def test_a_chain_ends_before_reading_costs_more_than_the_value() -> None:
    """A value that leans on thousands of others stands by itself again."""
    state = SavedThread(Decoder())
    keeper = Keeper(state, lambda number: state.payloads.read(number, lambda _: b""))
    number, items, deepest = None, ["x" * 50] * 10, 0
    for turn in range(700):
        items = [*items[:-1], hashlib.sha256(str(turn).encode()).hexdigest()]
        number = state.payloads.number(keeper.kept(Typed("msgpack", msgpack.packb(items)), number))
        deepest = max(deepest, state.payloads.weight(number).depth)
    assert 200 < deepest < 300
