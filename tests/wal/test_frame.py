"""The bytes of a frame are pinned, and none of them can change unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walgraph.wal.errors import FormatTooNew, LogCorrupt
from walgraph.wal.frame import HEADER_BYTES, Header, first_seed, peek, seal, unseal

GOLDEN = Path(__file__).parent / "golden"
BODY = bytes.fromhex("93010aa16e")
HEADER = Header(2, 7, 3, 40, 42, 5, 9, b"frame-id", 1_700_000_000_000_000_000, len(BODY), 0)


def test_the_bytes_of_a_frame_are_the_golden_ones() -> None:
    """A change of this file is a change of the format on disk."""
    data, checksum = seal(HEADER, BODY, first_seed("thread"))
    assert (GOLDEN / "frame.hex").read_text().split() == [
        data[:HEADER_BYTES].hex(),
        data[HEADER_BYTES:].hex(),
    ]
    found = peek(data, 7)
    assert HEADER._replace(checksum=checksum) == found
    assert unseal(data, found, first_seed("thread")) == BODY


@pytest.mark.parametrize("place", range(HEADER_BYTES + len(BODY)))
def test_no_byte_can_change_unnoticed(place: int) -> None:
    """Header and body alike."""
    data, _ = seal(HEADER, BODY, 1)
    damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    with pytest.raises((LogCorrupt, FormatTooNew)):
        unseal(damaged, peek(damaged, 7), 1)


def test_a_frame_is_valid_only_in_its_place() -> None:
    """Under another lsn, or after another predecessor, the same bytes are damage."""
    data, _ = seal(HEADER, BODY, 1)
    with pytest.raises(LogCorrupt):
        peek(data, 8)
    with pytest.raises(LogCorrupt):
        unseal(data, peek(data, 7), 2)


@pytest.mark.parametrize("cut", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3])
def test_a_frame_cut_short_is_damage(cut: int) -> None:
    """Wherever it ends."""
    with pytest.raises(LogCorrupt):
        peek(seal(HEADER, BODY, 1)[0][:cut], 7)


def test_a_newer_format_and_unknown_flags_are_refused() -> None:
    """A reader that does not know a bit must not guess what it means."""
    data, _ = seal(HEADER, BODY, 1)
    for place, value in ((2, 2), (3, 2)):
        with pytest.raises(FormatTooNew):
            peek(data[:place] + bytes([value]) + data[place + 1 :], 7)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_sealing_and_unsealing_are_inverse(body: bytes, seed: int, seq: int) -> None:
    """For any body and any numbers."""
    data, checksum = seal(HEADER._replace(after=seq), body, seed)
    header = peek(data, 7)
    assert (seq, len(body), checksum) == (header.after, header.length, header.checksum)
    assert body == unseal(data, header, seed)
