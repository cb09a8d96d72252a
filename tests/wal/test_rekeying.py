"""Encrypted logs over time: the mark that travels, old keys that are dropped, and caches that tell nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from encryption_helpers import ACME, NEW, OLD, RING, SECRET, fill, graph_on, values
from tools_helpers import ask, chain, config, one, process, told, wal

from walgraph import KeyMissing, KeyRing, Log, LogCache, LogStore
from walgraph.wal.compaction import compact
from walgraph.wal.envelope import is_sealed
from walgraph.wal.rekeying import uses
from walgraph.wal.verify import verify

TENANTS = {"acme/*": "acme"}
BOTH = KeyRing({"acme": ACME, "old": OLD, "new": NEW}, threads=TENANTS)
WITHOUT = KeyRing({"acme": ACME, "new": NEW}, threads=TENANTS)
KINDS = ("frames", "snapshots", "large_values", "items", "cached", "signals", "runs", "schedules")


def keys_file(path: Path, **keys: bytes) -> Path:
    """Write a keys file whose last key is the newest."""
    encoded = {name: base64.b64encode(key).decode() for name, key in keys.items()}
    path.write_text(json.dumps({"keys": encoded, "threads": TENANTS if "acme" in keys else {}}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with everything in it, under the keys acme and old."""
    place = tmp_path / "log"
    fill(place)
    with Log.open(place, keys=RING) as log:
        graph_on(log).invoke({"x": 7}, config("loose"), durability="exit")
        LogStore(log).put(("users",), "grace", {"text": SECRET}, ttl=60)
    return place


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A keys file with all three, of which new is the newest."""
    return keys_file(tmp_path / "keys.json", acme=ACME, old=OLD, new=NEW)


def count(path: Path, key: str) -> dict[str, int]:
    """Return what ``wal keys`` says lies under a key."""
    found = [each for each in told("keys", path)["keys"] if each["key"] == key]
    return {kind: found[0][kind] if found else 0 for kind in KINDS}


def bare(path: Path) -> None:
    """Cut everything off, so that no frame says any more that the log is encrypted."""
    with Log.open(path, keys=RING) as log:
        for head in log.threads():
            log.delete_thread(head.thread_id)
        compact(log)
        assert log.store.position().frames == 0


@pytest.mark.parametrize("way", ["restore", "import", "salvage", "repair", "shrink", "copy"])
def test_a_log_without_frames_stays_encrypted_wherever_it_goes(tmp_path: Path, path: Path, way: str) -> None:
    """Restored, imported, salvaged, repaired, shrunk, copied: nobody writes to it in the clear."""
    bare(path)
    made = tmp_path / "made"
    match way:
        case "restore":
            assert wal("backup", path, tmp_path / "backup").exit_code == 0
            assert wal("restore", tmp_path / "backup", made).exit_code == 0
        case "import":
            assert wal("export", path, "-o", tmp_path / "lines").exit_code == 0
            assert wal("import", made, "--from", tmp_path / "lines").exit_code == 0
        case "salvage":
            assert wal("repair", path, "--salvage", made, "--apply").exit_code == 0
        case "repair":
            from walgraph.wal.mending import examined, replace

            with examined(str(path)) as (pages, plan):
                replace(pages, plan, str(path))
            made = path
        case "shrink":
            assert wal("compact", path, "--shrink", "--apply").exit_code == 0
            made = path
        case "copy":
            made.mkdir()
            (made / "data.mdb").write_bytes((path / "data.mdb").read_bytes())
    with pytest.raises(KeyMissing, match="for writing without keys"):
        Log.open(made)
    with Log.open(made, keys=RING) as log:
        assert verify(log).ok


def test_an_import_of_some_threads_is_encrypted_by_what_the_lines_hold(tmp_path: Path, path: Path) -> None:
    """Also one of an earlier version, whose first line did not say so."""
    with Log.open(path, keys=RING) as log:
        compact(log, {"other": 10**6})
    lines = tmp_path / "lines"
    assert wal("export", path, "--thread", "other", "-o", lines).exit_code == 0
    assert json.loads(lines.read_text().splitlines()[0])["encrypted"] is True
    assert wal("import", tmp_path / "made", "--from", lines).exit_code == 0
    with pytest.raises(KeyMissing):
        Log.open(tmp_path / "made")


def test_a_repair_with_keys_knows_how_threads_stand(tmp_path: Path, keys: Path) -> None:
    """Without them a thread that lost its end is taken for crashed; with them its records tell."""
    path = tmp_path / "asked"
    with Log.open(path, keys=RING) as log:
        graph = chain(one, ask).compile(log, name="pair")
        graph.invoke({"x": 1}, config("t"), durability="sync")
        row = log.store.row("t")
        assert row is not None
        graph.update_state(config("t"), {"x": 5})
        newest = log.store.row("t")
        assert newest is not None
        with log.store.all_tables.write() as txn:  # type: ignore[attr-defined]
            from walgraph.wal.keyspace import number_key
            from walgraph.wal.tables import LOG

            data = txn.get(LOG, number_key(newest.lsn))
            txn.put(LOG, number_key(newest.lsn), data[:-1] + bytes([data[-1] ^ 1]))
    for options, status in ((("--keys", keys), "interrupted"), ((), "crashed")):
        made = tmp_path / status
        done = wal("repair", path, "--salvage", made, "--apply", *options)
        assert done.exit_code == 0, done.output
        heads = {each["thread"]: each["status"] for each in told("threads", made)["threads"]}
        assert heads == {"t": status}


def test_keys_tells_who_needs_what_without_any_key(path: Path, keys: Path) -> None:
    """Ids of keys stand in the clear; what nothing needs is named if the ring holds it."""
    report = told("keys", path, "--keys", keys)
    assert report["unused"] == ["new"]
    shown = {each["key"]: each for each in report["keys"]}
    assert shown["new"]["newest"] is True
    assert set(shown["old"]["threads"]) == {"other", "loose"}
    assert {kind for kind in KINDS if shown["old"][kind]} >= {"frames", "large_values", "items", "cached"}
    assert shown["acme"]["runs"] == 2
    assert "loose" in wal("keys", path, "--key", "old").stdout


def test_an_old_key_can_be_dropped_after_rekeying(tmp_path: Path, path: Path, keys: Path) -> None:
    """All that lies under it is cut or written anew, nobody else's is touched, and all says what it said."""
    with Log.open(path, keys=BOTH) as log:
        before = {thread: values(log, thread) for thread in ("acme/1", "other", "loose")}
        log.signal("loose", "ping", {"text": SECRET})
        items = [item._replace(value=b"", vectors=b"") for item in _items(log)]
    acme = count(path, "acme")
    plan = told("compact", path, "--rekey", "old", "--keys", keys)
    assert plan["applied"] is False
    assert count(path, "old")["frames"]
    done = told("compact", path, "--rekey", "old", "--apply", "--keys", keys)
    assert not any(done["left"].values()), done
    assert {each["thread"] for each in done["threads"]} == {"other", "loose"}
    assert not any(count(path, "old").values())
    assert count(path, "acme") == acme
    text = wal("compact", path, "--rekey", "old", "--apply", "--keys", keys).stdout
    assert "nothing in the log needs key 'old' any more" in text
    with Log.open(path, keys=WITHOUT) as log:
        assert {thread: values(log, thread) for thread in before} == before
        assert log.mailbox("other")[0].payload == {"text": SECRET}
        assert log.mailbox("loose")[0].payload == {"text": SECRET}
        found = _items(log)
        assert [item._replace(value=b"", vectors=b"") for item in found] == items
        assert not any(is_sealed(item.value) for item in found)
        assert LogCache(log).get([(("node", "x"), "key")]) == {}
        graph_on(log).invoke({"x": 1}, config("other"))
        report = verify(log)
        assert report.ok, report.problems
        assert report.closed == 0


def _items(log: Log) -> list[Any]:
    with log.items().view() as view:
        return list(view.scan(expired=True))


def test_runs_and_schedules_move_to_the_key_that_their_threads_have_now(tmp_path: Path) -> None:
    """What was handed over, what came of it and what recurs are the same under another key."""
    path = tmp_path / "log"
    fill(path)
    keys = keys_file(tmp_path / "all.json", acme=ACME, old=OLD, new=NEW)
    shape = json.loads(keys.read_text())
    keys.write_text(json.dumps(shape | {"threads": {"acme/*": "new"}}))
    done = told("compact", path, "--rekey", "acme", "--apply", "--keys", keys)
    assert not any(done["left"].values()), done
    assert done["rewritten"]["runs"] == 2
    assert done["rewritten"]["schedules"] == 1
    with Log.open(path, keys=KeyRing({"old": OLD, "new": NEW})) as log:
        (ended, waiting) = sorted(log.submissions().all(), key=lambda each: each.run)
        assert (ended.state, waiting.state) == ("ended", "waiting")
        assert not is_sealed(ended.result)
        assert SECRET.encode() in waiting.given
        assert SECRET.encode() in next(log.schedules().all()).given
        assert log.key_of("acme/1") == ("new", True)
        assert verify(log).ok


def test_what_waits_keeps_its_key_and_says_why(tmp_path: Path) -> None:
    """A thread that waits for an answer is not cut; once answered, the next call takes it."""
    path = tmp_path / "log"
    with Log.open(path, keys=KeyRing({"old": OLD})) as log:
        chain(one, ask).compile(log, name="pair").invoke({"x": 1}, config("t"))
    keys = keys_file(tmp_path / "keys.json", old=OLD, new=NEW)
    done = told("compact", path, "--rekey", "old", "--apply", "--keys", keys)
    (thread,) = done["threads"]
    assert done["left"]["frames"] == thread["left"] > 0
    assert "unfinished" in thread["why"]
    with Log.open(path, keys=KeyRing({"old": OLD, "new": NEW})) as log:
        from walgraph import Command

        chain(one, ask).compile(log, name="pair").invoke(Command(resume="Billy"), config("t"))
    done = told("compact", path, "--rekey", "old", "--apply", "--keys", keys)
    assert not any(done["left"].values()), done


def test_what_was_written_in_the_clear_can_be_encrypted(tmp_path: Path) -> None:
    """The empty key stands for none: frames of before are cut, and all else is encrypted."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        graph_on(log).invoke({"x": 1}, config("t"))
        LogStore(log).put(("users",), "ada", {"text": SECRET})
    keys = keys_file(tmp_path / "keys.json", new=NEW)
    done = told("compact", path, "--rekey", "", "--apply", "--keys", keys)
    assert not any(done["left"].values()), done
    assert wal("compact", path, "--shrink", "--apply").exit_code == 0
    assert SECRET.encode() not in (path / "data.mdb").read_bytes()
    with Log.open(path, keys=KeyRing({"new": NEW})) as log:
        assert SECRET in values(log, "t")["names"]
        assert verify(log).ok


def test_rekeying_refuses_what_makes_no_sense(path: Path, keys: Path) -> None:
    """Without keys, with the newest, with one that is not here, with other choices: nothing is changed."""
    before = count(path, "old")
    assert wal("compact", path, "--rekey", "old").exit_code == 2
    assert wal("compact", path, "--rekey", "new", "--keys", keys).exit_code == 2
    assert wal("compact", path, "--rekey", "gone", "--apply", "--keys", keys).exit_code == 5
    assert wal("compact", path, "--rekey", "old", "--status", "done", "--keys", keys).exit_code == 2
    assert wal("compact", path, "--rekey", "old", "--shrink", "--keys", keys).exit_code == 2
    assert count(path, "old") == before


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from tools_helpers import wal
from walgraph.wal import fault
left = [{after}]
def die(name):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
fault.hook = die
assert wal("compact", {path!r}, "--rekey", "old", "--apply", "--keys", {keys!r}).exit_code == 0
"""


def test_killed_at_any_point_a_rekeying_is_carried_on(tmp_path: Path, path: Path, keys: Path) -> None:
    """The log verifies, says what it said, and the next call ends the work."""
    with Log.open(path, keys=BOTH) as log:
        before = {thread: values(log, thread) for thread in ("acme/1", "other", "loose")}
    image, lives = (path / "data.mdb").read_bytes(), 0
    for after in range(1, 40, 2):
        place = tmp_path / f"life-{after}"
        place.mkdir()
        (place / "data.mdb").write_bytes(image)
        program = KILLED.format(
            tests=str(Path(__file__).parent.parent), after=after, path=str(place), keys=str(keys)
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        lives += 1
        with Log.open(place, keys=BOTH) as log:
            assert {thread: values(log, thread) for thread in before} == before
            assert verify(log).ok
        carried = told("compact", place, "--rekey", "old", "--apply", "--keys", keys)
        assert not any(carried["left"].values()), carried
    assert lives >= 3


def test_a_cache_does_not_tell_which_arguments_it_knows(path: Path) -> None:
    """Its keys are hashes of arguments, at which somebody could guess; in the file they depend on the key."""
    key = (("node", "x"), "key")
    with Log.open(path, keys=RING) as log:
        with log.store.cached.view() as view:
            kept = [item.key for item in view.scan()]
        assert kept
        assert "key" not in kept
        cache = LogCache(log)
        assert cache.get([key]) == {key: {"text": SECRET}}
        cache.set({key: ("other", 60)})
        assert cache.get([key]) == {key: "other"}
        assert uses(log).counts["old"]["cached"] == 1
        cache.clear([key[0]])
        assert cache.get([key]) == {}
    assert os.fspath(path)


def test_a_live_writer_goes_on_while_another_process_rekeys(path: Path, keys: Path) -> None:
    """What it writes meanwhile and afterwards is there, under the newest key."""
    with Log.open(path, keys=BOTH) as log:
        graph = graph_on(log)
        graph.invoke({"x": 1}, config("other"))
        LogStore(log).put(("users",), "ada", {"text": "changed"})
        done = process("compact", path, "--rekey", "old", "--apply", "--keys", keys)
        assert done.returncode == 0, done.stderr
        graph.invoke({"x": 1}, config("other"))
        item = LogStore(log).get(("users",), "ada")
        assert item is not None
        assert item.value == {"text": "changed"}
        assert values(log, "other")["names"].count(SECRET) == 5
        assert verify(log).ok
    assert not any(count(path, "old").values())


def test_restoring_to_an_earlier_moment_with_keys_knows_how_threads_stood(tmp_path: Path, keys: Path) -> None:
    """Their records tell, which nobody reads without."""
    path = tmp_path / "asked"
    with Log.open(path, keys=RING) as log:
        graph = chain(one, ask).compile(log, name="pair")
        graph.invoke({"x": 1}, config("t"), durability="sync")
        lsn = log.store.position().lsn
        graph.update_state(config("t"), {"x": 5})
    assert wal("backup", path, tmp_path / "backup").exit_code == 0
    for options, status in ((("--keys", keys), "interrupted"), ((), "crashed")):
        made = tmp_path / status
        assert wal("restore", tmp_path / "backup", made, "--lsn", lsn, *options).exit_code == 0
        assert [each["status"] for each in told("threads", made)["threads"]] == [status]
