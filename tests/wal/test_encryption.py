"""Encrypted logs: what is hidden, from whom, and what still works without a key."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from encryption_helpers import ACME, LARGE, NEW, OLD, RING, SECRET, fill, graph_on, values
from tools_helpers import chain, config, one, process, told, two, wal
from worker_helpers import until

from walgraph import (
    KeyMissing,
    KeyRing,
    Log,
    LogCache,
    LogCorrupt,
    LogInUse,
    LogStore,
    Tampered,
    Worker,
    WrongKey,
    schedule,
)
from walgraph.wal.compaction import compact, shrink
from walgraph.wal.keyspace import number_key, pack_snapshot
from walgraph.wal.tables import BLOBS, SNAPS
from walgraph.wal.verify import verify


def digest_of(state: Any) -> str:
    """Return what a state is, in short."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that no test changes."""
    path = tmp_path_factory.mktemp("encrypted") / "log"
    fill(path)
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    place = tmp_path / "log"
    place.mkdir()
    (place / "data.mdb").write_bytes((filled / "data.mdb").read_bytes())
    return place


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A keys file with the ring."""
    import base64

    place = tmp_path / "keys.json"
    encoded = {name: base64.b64encode(key).decode() for name, key in (("acme", ACME), ("old", OLD))}
    place.write_text(json.dumps({"keys": encoded, "threads": {"acme/*": "acme"}}))
    return place


def test_nothing_that_a_user_gave_lies_in_the_file(filled: Path, tmp_path: Path) -> None:
    """Neither in the log nor in a backup or an export of it; an unencrypted one is full of it."""
    places = [filled / "data.mdb"]
    assert wal("backup", filled, tmp_path / "backup").exit_code == 0
    assert wal("export", filled, "-o", tmp_path / "lines").exit_code == 0
    places += [each for each in (tmp_path / "backup").rglob("*") if each.is_file()]
    places.append(tmp_path / "lines")
    for place in places:
        held = place.read_bytes()
        assert SECRET[:-1].encode() not in held
        # base64 of it, at each of the three places that it may begin at
        assert not any(
            piece in held for piece in (b"TW9udGFuYSBXaWxk", b"9udGFuYSBXaWxka", b"b250YW5hIFdpbGRo")
        )
    with Log.open(tmp_path / "plain") as log:
        graph_on(log).invoke({"x": 1}, config("t"))
    assert SECRET.encode() in (tmp_path / "plain" / "data.mdb").read_bytes()


def test_with_the_keys_all_is_as_without_encryption(path: Path) -> None:
    """States, history, signals, items, caches and handed-over runs come back; the thread goes on."""
    with Log.open(path, keys=RING) as log:
        assert values(log, "other")["names"] == ["one", SECRET, LARGE] * 3
        assert len(list(graph_on(log).get_state_history(config("acme/1")))) == 12
        assert log.mailbox("other")[0].payload == {"text": SECRET}
        item = LogStore(log).get(("users",), "ada")
        assert item is not None
        assert item.value == {"text": SECRET}
        assert LogCache(log).get([(("node", "x"), "key")]) == {(("node", "x"), "key"): {"text": SECRET}}
        with Worker(log, graph_on(log)):
            until(lambda: (found := log.submissions().get("w")) is not None and found.state == "ended")
            yearly = schedule(
                "0 4 1 1 *",
                graph_on(log),
                {"x": 1, "names": [SECRET]},
                name="yearly",
                thread_id="acme/yearly",
            )
            yearly.pause()
            yearly.resume()
            assert yearly.trigger().result(20)["names"] == [SECRET, "one", SECRET, LARGE]
        assert values(log, "acme/waits")["names"] == [SECRET, "one", SECRET, LARGE]
        log.copy_thread("other", "acme/copy")
        assert values(log, "acme/copy") == values(log, "other")
        assert log.key_of("acme/copy") == ("acme", True)
        report = verify(log)
        assert report.ok, report.problems
        assert report.closed == 0


def test_without_keys_a_log_is_verified_and_listed(path: Path, keys: Path) -> None:
    """Checksums, chains and counts need no key; what does is refused, with the key's id."""
    report = told("verify", path)
    assert report["ok"] is True
    listed = {each["thread"]: each for each in told("threads", path)["threads"]}
    assert (listed["acme/1"]["key"], listed["acme/1"]["readable"]) == ("acme", False)
    assert (listed["other"]["key"], listed["other"]["readable"]) == ("old", False)
    assert "done, no key old" in wal("threads", path).stdout
    assert "no key" not in wal("threads", path, "--keys", keys).stdout
    refused = wal("state", path, "other")
    assert refused.exit_code == 5
    assert "WAL-E120" in refused.stderr
    assert "'old'" in refused.stderr
    shown = wal("state", path, "other", "--keys", keys)
    assert shown.exit_code == 0, shown.output
    assert SECRET[:8] in shown.stdout
    assert wal("state", path, "other", env={"WALGRAPH_KEYS_FILE": str(keys)}).exit_code == 0
    assert wal("signal", path, "other", "go").exit_code == 5
    assert wal("state", path, "other", "--keys", path / "data.mdb").exit_code == 2
    with pytest.raises(KeyMissing, match="for writing without keys"):
        Log.open(path)
    assert compacted(path, keys)


def compacted(path: Path, keys: Path) -> bool:
    """Compact with keys, and say whether each thread kept its tenant's."""
    done = told("compact", path, "--apply", "--keys", keys)
    assert any(each["seq"] for each in done["threads"])
    with Log.open(path, keys=RING) as log:
        assert verify(log).ok
        assert log.key_of("acme/1") == ("acme", True)
        found = log.store.snapshot("acme/1")
        return found is not None and found[1][3:7] == b"acme" and bool(values(log, "acme/1"))


def test_a_forgotten_key_forgets_its_tenant_and_nobody_else(path: Path) -> None:
    """Its threads are listed, and told to be unreadable for want of that key; all others are as they were."""
    ring = KeyRing({"old": OLD}, threads=lambda thread: "acme" if thread.startswith("acme/") else None)
    with Log.open(path, keys=ring) as log:
        assert log.head("acme/1") is not None
        assert log.key_of("acme/1") == ("acme", False)
        with pytest.raises(KeyMissing, match="'acme'") as caught:
            values(log, "acme/1")
        assert caught.value.details["key"] == "acme"
        with pytest.raises(KeyMissing):
            graph_on(log).invoke({"x": 1}, config("acme/1"))
        with pytest.raises(KeyMissing):
            graph_on(log).invoke({"x": 1}, config("acme/new"))
        assert log.head("acme/new") is None
        with pytest.raises(KeyMissing):
            log.mailbox("acme/1")
        # The same large value was written by both tenants, and lies there for each.
        assert values(log, "other")["names"][2] == LARGE
        graph_on(log).invoke({"x": 1}, config("other"))
        assert verify(log).ok
        compact(log)
        assert verify(log).ok
        blobs = len(log.store.digests())
        log.delete_thread("acme/1")
        log.delete_thread("acme/run")
        compact(log)
        assert len(log.store.digests()) < blobs
        assert values(log, "other")["names"][2] == LARGE


def test_equal_values_of_two_tenants_cannot_be_told(filled: Path) -> None:
    """Large values are found by names that depend on the key."""
    with Log.open(filled, keys=RING, readonly=True) as log:
        by_key: dict[bytes, set[bytes]] = {}
        for name in log.store.digests():
            by_key.setdefault((log.store.blob(name) or b"")[3:7], set()).add(name)
    assert by_key.keys() == {b"acme", b"old" + b"\x5f"} or len(by_key) == 2
    first, second = by_key.values()
    assert first
    assert second
    assert not first & second


def test_a_wrong_key_a_missing_one_and_tampering_are_three_things(path: Path) -> None:
    """Each has a type of its own; tampering is damage as well."""
    with (
        Log.open(path, keys=KeyRing({"acme": ACME, "old": NEW}), readonly=True) as log,
        pytest.raises(WrongKey),
    ):
        values(log, "other")
    with (
        Log.open(path, keys=KeyRing({"acme": ACME}), readonly=True) as log,
        pytest.raises(KeyMissing),
    ):
        values(log, "other")
    assert issubclass(Tampered, LogCorrupt)
    assert len({WrongKey.code, KeyMissing.code, Tampered.code, LogCorrupt.code}) == 4


def _bodies(log: Log, thread: str) -> list[Any]:
    return list(log.store.frames(thread))


def test_a_frame_that_was_moved_or_changed_is_refused(path: Path) -> None:
    """Thread and position are part of what the tag covers, so whoever mends all checksums is found out all the same."""
    with Log.open(path, keys=RING) as log:
        frames = _bodies(log, "other")
        (first, body), (second, other) = frames[0], frames[1]
        place = ("frame", "other", first.after, first.last)
        assert log.opened(body, *place) != body
        wrong = [
            (body, ("frame", "elsewhere", first.after, first.last)),
            (body, ("frame", "other", second.after, second.last)),
            (other, place),
            (body, ("snapshot", "other", first.last)),
            (body[:-1] + bytes([body[-1] ^ 1]), place),
            (body[:20] + bytes([body[20] ^ 1]) + body[21:], place),
        ]
        for data, where in wrong:
            with pytest.raises((Tampered, LogCorrupt)):
                log.opened(data, *where)
        compact(log)
        tables = log.store.all_tables  # type: ignore[attr-defined]
        with tables.write() as txn:
            entries = txn.scan(BLOBS, b"", 99)
            keys = [key for key, _ in entries if key[16:] == b"\0" * 4]
            large = dict(entries)
            txn.put(BLOBS, keys[0], large[keys[1]])
        found = verify(log)
        assert any("digest" in each.what for each in found.problems)


def test_a_snapshot_in_anothers_place_is_refused(path: Path) -> None:
    """Also if its checksum was made to fit there."""
    with Log.open(path, keys=RING) as log:
        told_rows = {row.thread: row for row in log.store.rows()}
        log.put_snapshot("other", told_rows["other"].seq, log_packed())
        log.flush()
        found = log.store.snapshot("other")
        assert found is not None
        number, seq = told_rows["acme/1"].number, told_rows["acme/1"].seq
        with log.store.all_tables.write() as txn:  # type: ignore[attr-defined]
            txn.put(SNAPS, number_key(number) + number_key(seq), pack_snapshot(found[1], number, seq))
        with pytest.raises(Tampered):
            log.snapshot("acme/1")
        assert any("another place" in each.what for each in verify(log).problems)


def log_packed() -> Any:
    """Return an encoded state of no thread."""
    from walgraph.wal.codec import Encoder

    return Encoder().value({"n": 1})


def test_a_new_key_is_written_with_and_the_old_ones_still_read(path: Path) -> None:
    """Rotation: nothing is rewritten at once; what is cut and what is written anew has the new key."""
    ring = KeyRing({"acme": ACME, "old": OLD, "new": NEW}, threads={"acme/*": "acme"})
    with Log.open(path, keys=ring) as log:
        graph_on(log).invoke({"x": 1}, config("other"), durability="sync")
        assert log.key_of("other") == ("new", True)
        assert values(log, "other")["names"][2] == LARGE
        assert len({data[:40] for data in map(log.store.blob, log.store.digests()) if data}) >= 3
        assert verify(log).ok


def test_a_log_may_be_encrypted_from_some_day_on(tmp_path: Path) -> None:
    """What was written before stays readable, and is not encrypted; nobody writes in the clear from then on."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        graph_on(log).invoke({"x": 1}, config("t"))
        with pytest.raises(LogInUse, match="other keys"):
            Log.open(path, keys=RING)
    with Log.open(path, keys=RING) as log:
        graph_on(log).invoke({"x": 1}, config("t"))
        assert values(log, "t")["names"] == ["one", SECRET, LARGE] * 2
        with Log.open(path, keys=KeyRing({"acme": ACME, "old": OLD}, threads={"acme/*": "acme"})):
            pass
    with pytest.raises(KeyMissing):
        Log.open(path)


def test_only_the_owner_may_read_the_files(filled: Path, tmp_path: Path) -> None:
    """Data, locks, claims, backups, exports, what restores, imports and shrinking make: 0600, whatever the umask."""
    before = os.umask(0)
    try:
        fresh = tmp_path / "fresh"
        with Log.open(fresh) as log:
            graph_on(log).invoke({"x": 1}, config("t"))
        shrink(fresh)
        assert wal("backup", fresh, tmp_path / "backup").exit_code == 0
        assert wal("restore", tmp_path / "backup", tmp_path / "restored").exit_code == 0
        assert wal("export", fresh, "-o", tmp_path / "lines").exit_code == 0
        assert wal("export", fresh, "--sqlite", tmp_path / "sqlite").exit_code == 0
        assert wal("import", tmp_path / "imported", "--from", tmp_path / "lines").exit_code == 0
    finally:
        os.umask(before)
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert len(files) > 12
    assert {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in files} == {
        each.name: "0o600" for each in files
    }


def test_backups_and_exports_keep_what_is_encrypted(filled: Path, tmp_path: Path, keys: Path) -> None:
    """They are made, verified and restored without keys; with them, what comes back is what was there."""
    assert wal("backup", filled, tmp_path / "backup").exit_code == 0
    assert wal("restore", tmp_path / "backup", tmp_path / "restored").exit_code == 0
    assert wal("export", filled, "-o", tmp_path / "lines").exit_code == 0
    done = wal("import", tmp_path / "imported", "--from", tmp_path / "lines")
    assert done.exit_code == 0, done.output
    for name in ("restored", "imported"):
        with pytest.raises(KeyMissing):
            Log.open(tmp_path / name)
        with Log.open(tmp_path / name, keys=RING) as log:
            assert values(log, "other")["names"] == ["one", SECRET, LARGE] * 3
            assert verify(log).ok


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from tools_helpers import *
from walgraph import KeyRing
from walgraph.wal import lmdb_store
import os, signal
ring = KeyRing({{"acme": b"a" * 16, "old": b"o" * 32}}, threads={{"acme/*": "acme"}})
with Log.open({path!r}, keys=ring) as log:
    graph = chain(one, two).compile(log, name="pair")
    begun = [0]
    def killing(name):
        original = getattr(lmdb_store.LmdbTransaction, name)
        def exit(self, *given):
            begun[0] += self._write
            if begun[0] > {after} and self._write:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, *given)
        setattr(lmdb_store.LmdbTransaction, name, exit)
    killing({when!r})
    for number in range(100):
        graph.invoke({{"x": number}}, config("acme/1"), durability={durability!r})
        print(number, flush=True)
"""


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("when", ["__enter__", "__exit__"])
def test_killed_before_or_after_a_commit_it_resumes(tmp_path: Path, durability: str, when: str) -> None:
    """An encrypted log keeps what was acknowledged, verifies with and without keys, and goes on."""
    path, draw = tmp_path / "log", random.Random(f"{durability} {when}")
    program = KILLED.format(
        path=str(path),
        tests=str(Path(__file__).parent.parent),
        after=draw.randrange(2, 9),
        when=when,
        durability=durability,
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Log.open(path, keys=RING) as log:
        graph = chain(one, two).compile(log, name="pair")
        if graph.get_state(config("acme/1")).next:
            graph.invoke(None, config("acme/1"))
        names = graph.get_state(config("acme/1")).values.get("names", [])
        assert names == ["one", "two"] * (len(names) // 2)
        assert len(names) // 2 >= len(done.stdout.split())
        graph.invoke({"x": 1}, config("acme/1"))
        assert verify(log).ok
    assert verify(path).ok


def test_a_golden_encrypted_log_is_read(tmp_path: Path) -> None:
    """A log that was encrypted with fixed keys when the format was made is read for ever."""
    golden = Path(__file__).parent.parent / "golden_logs" / "encrypted"
    path = tmp_path / "log"
    path.mkdir()
    (path / "data.mdb").write_bytes(gzip.decompress((golden / "data.mdb.gz").read_bytes()))
    seen = json.loads((golden / "seen.json").read_text())
    with Log.open(path, keys=RING) as log:
        assert {thread: digest_of(values(log, thread)) for thread in seen} == seen
        assert log.mailbox("other")[0].payload == {"text": SECRET}
        assert verify(log).ok
    assert process("verify", path).returncode == 0


if __name__ == "__main__":  # makes the golden log, once: python tests/wal/test_encryption.py FOLDER
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "log")
        fill(made)
        shrink(made)
        with Log.open(made, keys=RING, readonly=True) as opened:
            shown = {thread: digest_of(values(opened, thread)) for thread in ("acme/1", "acme/run", "other")}
        target = Path(sys.argv[1])
        target.mkdir()
        (target / "data.mdb.gz").write_bytes(gzip.compress((made / "data.mdb").read_bytes(), mtime=0))
        (target / "seen.json").write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n")
