"""Export and import: values, records and tables come back byte for byte; what was changed is refused."""

from __future__ import annotations

import datetime
import io
import json
import math
import struct
import uuid
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from backup_helpers import filled, same
from hypothesis import given
from hypothesis import strategies as st
from wal_helpers import doomed

from walgraph import Log, LogExists, LogStore, MemoryLog, ThreadNotFound
from walgraph.wal import BackupDamaged, Encoder, FormatTooNew
from walgraph.wal.exporting import export_lines, record_bytes, record_shape, slices
from walgraph.wal.importing import import_lines
from walgraph.wal.still import still
from walgraph.wal.tagged import tagged, untagged

GOLDEN = Path(__file__).parent / "golden"
ODD = [
    *(None, True, 0, -1, 2**63, 2**70, -(2**70), 1.5, -0.0, math.inf, -math.inf, math.nan),
    *("text", "\udc80", "\u202e", b"\x00\xff", bytearray(b"x"), (1, 2), [1, [2]], {"a": {"b": 1}}),
    *({1: 2}, {(1, 2): 3}, {"$ext": 1}, {"$raw": "x"}, {"": 1}, {1, 2}, frozenset({"x"}), range(3)),
    *(Decimal("1.20"), Fraction(1, 3), 1 + 2j, uuid.UUID(int=5), datetime.date(2020, 1, 2)),
    *(datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(1), ValueError("x", 1)),
]


def carried(data: bytes) -> bytes:
    """Carry encoded data over through text."""
    return untagged(json.loads(json.dumps(tagged(data))))


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_every_kind_of_value_comes_back_byte_for_byte(value: Any) -> None:
    """What JSON lacks is tagged; nothing needs a class."""
    data = Encoder().value(value).data
    assert carried(data) == data
    assert "$raw" not in json.dumps(tagged(data)) or value == {"$raw": "x"}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("[A-Z]*.hex")), ids=lambda path: path.stem)
def test_every_golden_record_comes_back_byte_for_byte(path: Path) -> None:
    """Each kind of record, by the names of its fields."""
    for data in slices(bytes.fromhex(path.read_text())):
        shape = json.loads(json.dumps(record_shape(data)))
        assert "array" in shape or shape["kind"] == path.stem.partition("-")[0].partition(".")[0]
        assert record_bytes(shape) == data


def test_deep_and_unusual_data_are_kept_as_they_are() -> None:
    """What is nested beyond what readers of JSON take, and what msgpack may write in two ways."""
    deep: Any = 1
    for _ in range(200):
        deep = (deep,)
    data = Encoder().value(deep).data
    assert set(tagged(data)) == {"$raw"}
    other_nan = b"\xcb" + struct.pack(">Q", 0x7FF8000000000001)
    long_way = b"\xcd\x00\x01"
    twice = b"\x82\xa1a\x01\xa1a\x02"
    for odd in (data, other_nan, long_way, twice):
        assert carried(odd) == odd


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.just("$ext"), inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=20,
)


@given(JSON_LIKE)
def test_any_value_comes_back_byte_for_byte(value: Any) -> None:
    """Whatever hypothesis thinks of."""
    data = Encoder().value(value).data
    assert carried(data) == data


@given(st.binary(max_size=60))
def test_any_bytes_come_back(data: bytes) -> None:
    """Also those that are no encoded value at all."""
    assert carried(data) == data


# Whole logs


@pytest.fixture
def log(tmp_path) -> Any:
    """A log with two threads, a large value, a snapshot, items, and a compacted thread."""
    with filled(tmp_path / "log") as made:
        made.put_snapshot("t", 12, Encoder().value({"n": 12}))
        made.flush()
        made.truncate("t", 12)
        store = LogStore(made)
        for number in range(3):
            store.put(("users", "é"), f"k{number}", {"n": number, "big": "x" * 9000})
        yield made


def lines_of(log: Log, *threads: str) -> list[str]:
    """Return the lines of an export."""
    with still(log) as moment:
        return list(export_lines(moment, threads))


def test_an_import_gives_back_the_log(log, tmp_path) -> None:
    """Every entry of every table, byte by byte: ids, positions, checksums, times."""
    lines = lines_of(log)
    made = import_lines(lines, tmp_path / "again")
    assert (made.lines, made.report.threads) == (len(lines), 2)
    same(log, tmp_path / "again")
    with Log.open(tmp_path / "again") as again:
        assert lines_of(again)[1:-1] == lines[1:-1]
        assert LogStore(again).get(("users", "é"), "k1").value["n"] == 1


def test_lines_are_readable(log) -> None:
    """Records by the names of kinds and fields, large values and items on lines of their own."""
    shapes = [json.loads(line) for line in lines_of(log)]
    assert shapes[0]["kind"] == "walgraph-export"
    records = [record for shape in shapes if "frame" in shape for record in shape["records"]]
    assert {"kind": "StepCommitted", "fields": {"scope": "", "at": 4, "step": 4}} in records
    assert sum("blob" in shape for shape in shapes) == 1
    assert {shape["entry"] for shape in shapes if "entry" in shape} == {"item", "mail", "schedule", "submit"}
    assert shapes[-1]["end"]["lines"] == len(shapes) - 1


def test_some_threads_are_exported_alone(log, tmp_path) -> None:
    """With the large values that they name, and nothing of the others."""
    made = import_lines(lines_of(log, "u"), tmp_path / "again")
    assert made.report.threads == 1
    with Log.open(tmp_path / "again") as again:
        assert list(again.read("u")) == list(log.read("u"))
        assert again.head("t") is None
        with again.writer("new") as writer:
            assert writer.thread_id == "new"
    with pytest.raises(ThreadNotFound):
        lines_of(log, "nobody")


def test_an_export_that_was_changed_is_refused(log, tmp_path) -> None:
    """Cut short, a line lost, a value edited, another text, an empty one; nothing appears at the path."""
    lines = lines_of(log)
    frame = next(number for number, line in enumerate(lines) if line.startswith('{"frame"'))
    edited = [*lines]
    edited[frame] = edited[frame].replace('"step":', '"step":1')
    wrong: list[list[str]] = [
        lines[:-1],
        lines[:5],
        [*lines[:4], *lines[5:]],
        edited,
        ["hello\n"],
        ["3\n"],
        ['{"kind":"other"}\n'],
        [],
        [lines[-1]],
    ]
    for given_lines in wrong:
        with pytest.raises(BackupDamaged):
            import_lines(given_lines, tmp_path / "no")
        assert not (tmp_path / "no").exists()
    newer = json.dumps({**json.loads(lines[0]), "v": 99}) + "\n"
    with pytest.raises(FormatTooNew):
        import_lines([newer], tmp_path / "no")


def test_nothing_is_imported_over_something(log, tmp_path) -> None:
    """A log that is there stays as it is."""
    with pytest.raises(LogExists):
        import_lines(lines_of(log), log.path)


def test_a_log_in_memory_is_exported_too(tmp_path) -> None:
    """Export reads any log."""
    log = MemoryLog()
    assert len(lines_of(log)) == 2
    import_lines(lines_of(log), tmp_path / "empty")
    with Log.open(tmp_path / "empty") as empty:
        assert list(empty.threads()) == []


READING = """
import json
from walgraph.wal.importing import import_lines
json.loads = fated(json.loads)
"""


def test_a_killed_import_leaves_nothing_or_all(log, tmp_path) -> None:
    """Killed at lines, flushes and the rename: at the path is nothing, or a whole log; the next try makes it."""
    lines = lines_of(log)
    (tmp_path / "lines").write_text("".join(lines), encoding="utf-8")
    path = tmp_path / "again"
    fates = [1, 2, len(lines) // 2, *range(len(lines), len(lines) + 20)]
    killed = 0
    body = "import_lines(open(words[0], encoding='utf-8'), words[1])"
    with doomed(READING, body, tmp_path / "lines", path) as is_killed:
        for fate in fates:
            was_killed = is_killed(fate)
            killed += was_killed
            if path.exists():
                break
            assert was_killed
    assert killed >= 5
    same(log, path)


def test_lines_may_come_from_anywhere(log, tmp_path) -> None:
    """A file, a pipe, a list: whatever yields lines."""
    import_lines(io.StringIO("".join(lines_of(log))), tmp_path / "again")
    same(log, tmp_path / "again")
