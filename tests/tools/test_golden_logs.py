"""The format is a promise: logs that earlier versions wrote are opened, and the same is seen in them as then."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_helpers import filled, same
from tools_helpers import told, wal
from wal_helpers import doomed

from walgraph import Command, FormatTooNew, FormatTooOld, Log, LogInUse
from walgraph.wal.creation import FORMAT
from walgraph.wal.tables import META
from walgraph.wal.upgrade import STEPS, upgrade
from walgraph.wal.verify import verify

HERE = Path(__file__).parent.parent / "golden_logs"
VERSIONS = sorted(each for each in HERE.iterdir() if each.name.isdigit())


def maker() -> Any:
    """Import the script that made the logs."""
    spec = importlib.util.spec_from_file_location("golden_logs_make", HERE / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["golden_logs_make"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def golden(request, tmp_path) -> Iterator[tuple[Path, dict]]:
    """A copy of a golden log, brought to the newest format, and what was seen in it."""
    path = tmp_path / "log"
    path.mkdir()
    (path / "data.mdb").write_bytes(gzip.decompress((request.param / "data.mdb.gz").read_bytes()))
    upgrade(path)
    return path, json.loads((request.param / "seen.json").read_text())


def test_there_is_a_golden_log_of_the_present_format() -> None:
    """A new format comes with a log of its own, and with a step from the one before."""
    assert [version.name for version in VERSIONS] == [str(number) for number in range(1, FORMAT + 1)]
    assert set(STEPS) == set(range(1, FORMAT))


def test_a_golden_log_verifies(golden) -> None:
    """Pages, checksums, chains, and that snapshots equal their folds."""
    path, _ = golden
    assert told("verify", path)["ok"] is True


def test_the_same_is_seen_in_a_golden_log(golden) -> None:
    """Threads, what they add up to, records and items; fields that came later may stand beside."""
    path, then = golden
    now = maker().seen(path)
    assert_within(then, now)


def assert_within(then: Any, now: Any, where: str = "") -> None:
    """Assert that all that was seen then is seen now."""
    if isinstance(then, dict):
        assert then.keys() <= now.keys(), where
        for key, value in then.items():
            assert_within(value, now[key], f"{where}.{key}")
    elif isinstance(then, list) and isinstance(now, list):
        assert len(then) == len(now), where
        for number, value in enumerate(then):
            assert_within(value, now[number], f"{where}[{number}]")
    else:
        assert then == now, where


def test_a_golden_log_carries_on(golden) -> None:
    """Questions are answered, finished threads go on, records are appended."""
    path, _ = golden
    made = maker()
    with Log.open(path) as log:
        asking = made.chain(made.one, made.ask, made.two).compile(log, name="asking")
        assert asking.invoke(Command(resume="Ada"), made.config("asking"))["names"] == ["one", "Ada", "two"]
        pair = made.chain(made.one, made.two).compile(log, name="pair")
        assert pair.invoke({"x": 0}, made.config("done"))["names"] == ["one", "two"] * 2
        assert verify(log).ok


def test_a_golden_log_goes_through_an_export(golden, tmp_path) -> None:
    """Byte for byte."""
    path, _ = golden
    wal("export", path, "-o", tmp_path / "lines")
    wal("import", tmp_path / "again", "--from", tmp_path / "lines")
    with Log.open(path) as log:
        same(log, tmp_path / "again")


# Upgrading. There is one format so far, so the way is tried with one that never was: format 0, like 1, but with the
# values of the table of facts backwards.


def backwards(table: str, entries: Any) -> Any:
    """Return the entries of format 1 for those of format 0."""
    for key, value in entries:
        yield (key, value[::-1]) if table == "meta" else (key, value)


@pytest.fixture
def old(tmp_path) -> Path:
    """A log of the format that never was."""
    path = tmp_path / "log"
    with filled(path) as log, log.store.all_tables.write() as txn:
        txn.put(META, b"store", txn.get(META, b"store")[::-1])
        txn.put(META, b"format", b"0")
    return path


def test_an_older_format_is_refused_until_it_is_upgraded(old) -> None:
    """Opening says what to do; upgrading does it, and keeps the old log."""
    with pytest.raises(FormatTooOld, match="wal upgrade"):
        Log.open(old)
    before = (old / "data.mdb").read_bytes()
    assert upgrade(old, apply=False, steps={0: backwards}) == (0, FORMAT, "")
    assert (old / "data.mdb").read_bytes() == before
    done = upgrade(old, steps={0: backwards})
    assert (done.before, done.after) == (0, FORMAT)
    assert (Path(done.kept) / "data.mdb").read_bytes() == before
    with Log.open(old) as log:
        assert verify(log).ok
        assert log.head("u").seq == 18
    assert upgrade(old, steps={0: backwards}) == (FORMAT, FORMAT, "")


def test_what_there_is_no_way_from_is_refused(old) -> None:
    """A format without a step, one that is newer, and a log that is open."""
    with pytest.raises(FormatTooNew):
        upgrade(old)
    assert wal("upgrade", old).exit_code == 5
    upgrade(old, steps={0: backwards})
    with Log.open(old), pytest.raises(LogInUse):
        upgrade(old)
    with Log.open(old) as log, log.store.all_tables.write() as txn:
        txn.put(META, b"format", b"99")
    with pytest.raises(FormatTooNew):
        upgrade(old)


def test_the_newest_format_needs_nothing(tmp_path) -> None:
    """And that is said."""
    with Log.open(tmp_path / "log"):
        pass
    assert "nothing to do" in wal("upgrade", tmp_path / "log", "--apply").stdout
    assert told("upgrade", tmp_path / "log")["applied"] is False
    assert wal("upgrade", tmp_path / "nowhere").exit_code == 3


BACKWARDS = """
def backwards(table, entries):
    for key, value in entries:
        yield (key, value[::-1]) if table == "meta" else (key, value)
upgrade(words[0], steps={0: backwards})
"""


def test_a_killed_upgrade_leaves_the_log_old_or_new(old) -> None:
    """Killed at each flush, link and rename."""
    before = (old / "data.mdb").read_bytes()
    killed = 0
    with doomed("from walgraph.wal.upgrade import upgrade", BACKWARDS, old) as is_killed:
        for fate in range(1, 60):
            killed += is_killed(fate)
            if (old / "data.mdb").read_bytes() != before:
                break
    assert killed > 3
    with Log.open(old) as log:
        assert verify(log).ok
    kept = [each / "data.mdb" for each in old.parent.glob("log.format-0-*")]
    assert before in [each.read_bytes() for each in kept if each.exists()]
