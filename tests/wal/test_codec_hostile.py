"""Bytes that nobody encoded end in LogCorrupt or UnknownType, and in nothing else."""

from __future__ import annotations

import contextlib
import pathlib
import random
import struct
import subprocess
import sys
import threading
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walgraph.wal.codec import Decoder, Registry, references
from walgraph.wal.errors import LogCorrupt, UnknownType

FOLDER = pathlib.Path(__file__).parent / "golden"
GOLDEN = [*sorted(FOLDER.glob("[A-Z]*.hex")), FOLDER / "values.hex"]
PARTS = [bytes.fromhex(file.read_text(encoding="ascii")) for file in GOLDEN]
BODY = b"".join(PARTS)
DECODERS = [Decoder(), Decoder(Registry()), Decoder(Registry(), lenient=True)]


def ends_well(data: bytes) -> None:
    """Read the data in every way; only the two promised errors may come."""
    for decoder in DECODERS:
        for read in (decoder.value, decoder.records, lambda body, d=decoder: d.records(body, 3)):
            with contextlib.suppress(LogCorrupt, UnknownType):
                read(data)
    with contextlib.suppress(LogCorrupt):
        references(data)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_end_well(data: bytes) -> None:
    """Noise."""
    ends_well(data)


@given(st.integers(0, 127), st.recursive(st.none() | st.integers() | st.text() | st.binary(), st.lists))
@settings(max_examples=300, deadline=None)
def test_any_extension_with_any_content_ends_well(code: int, content: Any) -> None:
    """Well-formed msgpack that means nothing, under every code."""
    try:
        inner = msgpack.packb(content, unicode_errors="surrogatepass")
    except OverflowError:
        return
    ends_well(msgpack.packb([1, msgpack.ExtType(code, inner)]))
    ends_well(msgpack.packb({msgpack.ExtType(code, inner): 1}))


def test_damaged_records_end_well() -> None:
    """Every kind of record and value with bytes changed, cut or doubled."""
    dice = random.Random(7)
    for _ in range(1_500):
        damaged = bytearray(BODY)
        for _ in range(dice.choice((1, 1, 2, 5))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        if dice.random() < 0.3:
            del damaged[dice.randrange(len(damaged)) :]
        ends_well(bytes(damaged))


def test_every_truncation_is_noticed() -> None:
    """No prefix of a body passes for a shorter body, except at the end of a record."""
    ends = {sum(map(len, PARTS[:number])) for number in range(len(PARTS))}
    reader = Decoder(lenient=True)
    for size in range(len(BODY)):
        if size in ends:
            continue
        with pytest.raises(LogCorrupt):
            reader.records(BODY[:size])
    assert len(reader.records(BODY)) == len(PARTS)


@pytest.mark.parametrize("code", [32, 37, 43, 51])
def test_deep_nesting_cannot_kill_the_process(code: int) -> None:
    """Ten thousand extensions within each other, also on a thread with a small stack."""
    data = b"\x01"
    for _ in range(10_000):
        data = bytes([0xC9]) + struct.pack(">IB", len(data), code) + data
    problems: list[BaseException] = []

    def read() -> None:
        try:
            ends_well(data)
            ends_well(b"\x91" * 100_000)
        except BaseException as error:
            problems.append(error)

    before = threading.stack_size(1024 * 1024)
    try:
        worker = threading.Thread(target=read)
        worker.start()
        worker.join()
    finally:
        threading.stack_size(before)
    assert problems == []


@pytest.mark.parametrize(
    "header", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
)
def test_a_claimed_size_takes_no_memory(header: bytes) -> None:
    """A header that promises four thousand million items is refused before room is made for them."""
    with pytest.raises(LogCorrupt):
        Decoder().value(header)
    with pytest.raises(LogCorrupt):
        Decoder().records(header + b"\x01" * 50)


def test_an_unknown_kind_and_unknown_fields_are_refused() -> None:
    """Skipping what a newer version wrote would fold to a wrong state."""
    for array in ([99, 1], [10, "", 1, 2, "new"], [], ["x"], [10], {"a": 1}, 7):
        with pytest.raises(LogCorrupt):
            Decoder().records(msgpack.packb(array))


def test_a_record_without_a_later_field_is_read_with_its_default() -> None:
    """``TaskFinished.call`` came with a default."""
    [record] = Decoder().records(msgpack.packb([5, "", ["a"], [], None]))
    assert record.call is None


def test_names_in_data_are_never_imported_or_called() -> None:
    """A standard module that is not loaded stays unloaded, and a class nobody registered is not touched."""
    script = (
        "import sys, msgpack\n"
        "from walgraph.wal.codec import Decoder\n"
        "from walgraph.wal.errors import UnknownType, LogCorrupt\n"
        "for code in range(41, 51):\n"
        "    for name in ('antigravity:fly', 'os:system', 'subprocess:Popen', 'langchain_core.messages.x:y'):\n"
        "        for rest in ([], ['a'], [['a'], {}], [{}, {}], [{}, [], {}, {}], [['true'], {}, []]):\n"
        "            data = msgpack.packb(msgpack.ExtType(code, msgpack.packb([name, *rest])))\n"
        "            try: Decoder().value(data); print('read', code, name, rest)\n"
        "            except (UnknownType, LogCorrupt): pass\n"
        "print(sorted({'antigravity', 'pydantic', 'webbrowser'} & set(sys.modules)) if "
        "'langchain_core' not in sys.modules else [])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
