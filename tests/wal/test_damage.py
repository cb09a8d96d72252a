"""Damage of a log's files: nobody is killed by it, nothing is lost in silence, and what is whole stays readable.

Every look at a damaged log happens in a child process here, so that one that is killed is seen.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from wal_helpers import a_step, created

from walgraph.wal import FormatTooNew, Log, LogCorrupt, Summary, WalgraphError
from walgraph.wal.frame import FIELD_BYTES
from walgraph.wal.keyspace import number_key
from walgraph.wal.mending import examined, salvage
from walgraph.wal.tables import LOG
from walgraph.wal.verify import verify

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a child looks at what is damaged")
PAGE = 4096
NAMES = [f"t{number}" for number in range(5)]
ROUNDS = int(os.environ.get("WALGRAPH_DAMAGE_ROUNDS", "40"))


@pytest.fixture
def path(tmp_path) -> Path:
    """A closed log with five threads, written in turns."""
    place = tmp_path / "log"
    with Log.open(place, fsync="off") as log:
        writers = [log.writer(name) for name in NAMES]
        for number in range(30):
            for writer in writers:
                writer.append(a_step(number, "y" * 200), Summary(), awaited=True)
                writer.flush()
        for writer in writers:
            writer.close()
    return place


def lay(path: Path, data: bytes) -> None:
    """Put a data file in the place of a log's own."""
    (path / "data.mdb").write_bytes(data)
    (path / "lock.mdb").unlink(missing_ok=True)


def in_child(look: Callable[[], object]) -> tuple[int, object]:
    """Return the signal that ended a child which looked, or 0, and what it saw."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), max(2, sys.stderr.fileno()))
        try:
            seen = look()
        except BaseException as error:
            seen = f"raised {error!r}"
        os.write(writer, json.dumps(seen).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read()
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, json.loads(text) if text else None


def seen_of(path: Path, *, readonly: bool) -> dict[str, object]:
    """Open a log and read all of it, then write; return the seqs of each thread, or the error that names it."""
    seen: dict[str, object] = {}
    try:
        log = Log.open(path, readonly=readonly)
    except WalgraphError as error:
        return {"open": error.code}
    for name in NAMES:
        try:
            seen[name] = [stored.seq for stored in log.read(name)]
        except WalgraphError as error:
            seen[name] = error.code
    try:
        seen["listed"] = sorted(head.thread_id for head in log.threads())
    except WalgraphError as error:
        seen["listed"] = error.code
    if not readonly:
        try:
            with log.writer("new") as writer:
                writer.append(created("new"), Summary())
                writer.flush()
        except WalgraphError as error:
            seen["write"] = error.code
    return seen


def damaged(kind: str, whole: bytes, chance: random.Random) -> bytes:
    """Return a file with one page damaged; the meta pages are whole."""
    data = bytearray(whole)
    at = chance.randrange(2, len(whole) // PAGE) * PAGE
    if kind == "zeroed page":
        data[at : at + PAGE] = bytes(PAGE)
    elif kind == "random page":
        data[at : at + PAGE] = chance.randbytes(PAGE)
    elif kind == "page from elsewhere":
        other = chance.randrange(2, len(whole) // PAGE) * PAGE
        data[at : at + PAGE] = whole[other : other + PAGE]
    else:
        data[at + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("kind", ["zeroed page", "random page", "page from elsewhere", "flipped bit"])
def test_damage_of_a_page_kills_nobody_and_loses_nothing_in_silence(path, kind: str, evidence) -> None:
    """Whoever reads or writes gets a typed error, or all that was there; a process was killed by one in 450 before."""
    whole = (path / "data.mdb").read_bytes()
    truth = {name: list(range(1, 91)) for name in NAMES}
    chance = random.Random(kind)
    found: Counter[str] = Counter()
    for number in range(ROUNDS):
        lay(path, damaged(kind, whole, chance))
        killed, seen = in_child(lambda number=number: seen_of(path, readonly=bool(number % 2)))
        assert not killed, f"round {number}: killed by signal {killed}"
        assert isinstance(seen, dict), f"round {number}: {seen}"
        if "open" in seen:
            found["refused"] += 1
            continue
        for name in NAMES:
            assert seen[name] == truth[name] or str(seen[name]).startswith("WAL-E"), f"round {number}: {name}"
        assert seen["listed"] == NAMES or str(seen["listed"]).startswith("WAL-E")
        is_whole = [seen[name] == truth[name] for name in NAMES]
        found["unhurt" if all(is_whole) else "told"] += 1
    assert found["unhurt"] < ROUNDS
    evidence(tried=ROUNDS, lost=0, unit="damaged files")


def test_a_damaged_record_leaves_the_other_threads_readable(path) -> None:
    """The error names lsn and seq; the others are read, and written, as if nothing were."""
    whole = (path / "data.mdb").read_bytes()
    with Log.open(path) as log:
        [lsn] = [header.lsn for header, _ in log.store.frames("t2") if header.last == 45]
        with log.store.all_tables.read() as txn:
            body = txn.get(LOG, number_key(lsn))
    at = whole.index(body) + FIELD_BYTES + 60
    lay(path, whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    with Log.open(path) as log:
        with pytest.raises(LogCorrupt, match=f"lsn {lsn}, after seq 42"):
            list(log.read("t2"))
        for name in ("t0", "t1", "t3", "t4"):
            assert [stored.seq for stored in log.read(name)] == list(range(1, 91))
            with log.writer(name) as writer:
                writer.append(a_step(30), Summary())
    assert not verify(path).ok


def test_what_cannot_be_opened_can_be_salvaged(path, tmp_path) -> None:
    """The root of the records is overwritten: the log is refused, and a repair keeps what no page leads to any more."""
    whole = (path / "data.mdb").read_bytes()
    chance = random.Random(3)
    for _ in range(200):
        lay(path, damaged("random page", whole, chance))
        try:
            Log.open(path).close()
        except LogCorrupt:
            break
    with examined(str(path)) as (pages, plan):
        salvage(pages, plan, str(tmp_path / "saved"))
    with Log.open(tmp_path / "saved") as log:
        assert verify(log).ok
        assert {head.thread_id for head in log.threads()} <= set(NAMES)


def test_swapped_meta_pages_are_refused(path) -> None:
    """LMDB would open the log one commit back, and say nothing."""
    whole = (path / "data.mdb").read_bytes()
    lay(path, whole[PAGE : 2 * PAGE] + whole[:PAGE] + whole[2 * PAGE :])
    for readonly in (False, True):
        with pytest.raises(LogCorrupt, match="changed places"):
            Log.open(path, readonly=readonly)
    lay(path, whole)
    with Log.open(path) as log:
        assert verify(log).ok


def test_a_page_that_is_older_than_the_others_is_noticed(path) -> None:
    """A write that the disk lost: one page, and its number, are as they were some commits ago."""
    whole = (path / "data.mdb").read_bytes()
    with Log.open(path) as log, log.writer("t0") as writer:
        for number in range(30, 40):
            writer.append(a_step(number), Summary(), awaited=True)
            writer.flush()
        truth = [stored.seq for stored in log.read("t0")]
    newer = (path / "data.mdb").read_bytes()
    for at in range(2 * PAGE, len(newer), PAGE):
        old, new = whole[at : at + PAGE], newer[at : at + PAGE]
        if old == new or not old:
            continue
        lay(path, newer[:at] + old + newer[at + PAGE :])
        killed, seen = in_child(lambda: seen_of(path, readonly=False))
        assert not killed
        assert isinstance(seen, dict), seen
        if "open" not in seen:
            assert seen["t0"] == truth or str(seen["t0"]).startswith("WAL-E"), at // PAGE


@pytest.mark.parametrize(
    "content", [b"", bytes(8192), b"nonsense" * 1024], ids=["empty", "zeroes", "nonsense"]
)
def test_a_damaged_lock_file_is_made_anew(path, content: bytes) -> None:
    """Nothing in it is needed once nobody has the log open."""
    (path / "lock.mdb").write_bytes(content)
    killed, seen = in_child(lambda: seen_of(path, readonly=False))
    assert (killed, seen) == (0, {**{name: list(range(1, 91)) for name in NAMES}, "listed": NAMES})


@pytest.mark.parametrize("name", ["lock.mdb", "LOCK", "CLAIMS"])
def test_a_missing_file_of_locks_is_made_anew(path, name: str) -> None:
    """They hold locks of live processes only."""
    (path / name).unlink()
    with Log.open(path) as log, log.writer("t0") as writer:
        writer.append(a_step(30), Summary())
    assert (path / name).exists()
    assert verify(path).ok


def test_a_missing_data_file_is_no_new_log(path) -> None:
    """What is left of a log is not taken for a place where one may be made."""
    (path / "data.mdb").unlink()
    left = sorted(each.name for each in path.iterdir())
    with pytest.raises(WalgraphError) as caught:
        Log.open(path)
    assert caught.value.code == "WAL-E101"
    assert left == sorted(each.name for each in path.iterdir())


def test_a_record_of_an_unknown_kind_stops_its_thread_alone(tmp_path) -> None:
    """A newer walgraph wrote it: skipping it would give a wrong state; the others are read."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        with log.writer("new") as writer, log.writer("old") as other:
            other.append(created("old"), Summary())
            writer.append(created("new"), Summary())
            writer.flush()
            committer = log.core.committer
            body = msgpack.packb([120, "what is yet to come"])
            committer.append(writer, body, (), (1, 2, 1), Summary(), awaited=True)
            writer.seq = 2
            writer.flush()
        assert [head.thread_id for head in log.threads()] == ["old", "new"]
        assert len(list(log.read("old"))) == 1
        with pytest.raises((FormatTooNew, LogCorrupt), match="120"):
            list(log.read("new"))


def test_a_directory_beside_the_log_is_left_alone(path) -> None:
    """Somebody's copies and notes are no business of ours."""
    shutil.copy(path / "data.mdb", path / "data.mdb.bak")
    (path / "notes").mkdir()
    with Log.open(path) as log:
        assert verify(log).ok
    assert (path / "data.mdb.bak").exists()


def test_any_text_is_the_id_of_a_thread(tmp_path) -> None:
    """Longer than LMDB's keys, with zero bytes, composed and decomposed: each is one thread, and none another's."""
    names = ["x" * 600, "x" * 601, "a\0b", "a\0c", "\u00e9", "e\u0301", " ", "\U0001f600" * 200]
    with Log.open(tmp_path / "log") as log:
        for number, name in enumerate(names):
            with log.writer(name) as writer:
                writer.append(created(name), Summary())
                for step in range(number):
                    writer.append(a_step(step), Summary())
    with Log.open(tmp_path / "log") as log:
        assert {head.thread_id: head.seq for head in log.threads()} == {
            name: 1 + 3 * number for number, name in enumerate(names)
        }
        assert verify(log).ok
