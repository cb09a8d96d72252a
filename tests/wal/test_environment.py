"""Making and opening a log: what is refused, what is left untouched, what survives a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from wal_helpers import created, end, heard, start, tell, write_steps

from walgraph.wal import (
    FormatTooNew,
    Log,
    LogCorrupt,
    LogInUse,
    LogNotFound,
    LogReadOnly,
    NotALog,
    RemoteDisk,
    Summary,
)
from walgraph.wal import directory as module


def contents(path: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def a_log(path: Path, steps: int = 3) -> Path:
    """A closed log with one thread."""
    with Log.open(path) as log, log.writer("t") as writer:
        write_steps(writer, 0, steps)
    return path


def test_nothing_is_made_unless_asked_for(tmp_path) -> None:
    """Tools open with create=False or readonly=True, and a wrong path stays empty."""
    for options in ({"create": False}, {"readonly": True}):
        with pytest.raises(LogNotFound):
            Log.open(tmp_path / "deep" / "log", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_log_is_made_with_its_parents_or_in_an_empty_directory(tmp_path) -> None:
    """Both ways, with nothing left beside it."""
    for path in (tmp_path / "deep" / "er" / "log", tmp_path / "empty"):
        if path.name == "empty":
            path.mkdir()
        Log.open(path).close()
        assert sorted(file.name for file in path.iterdir()) == ["CLAIMS", "LOCK", "data.mdb", "lock.mdb"]
        assert [path.name] == [file.name for file in path.parent.iterdir() if "log" in file.name] or path.name


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\0" * 20_000, b"SQLite format 3\0" * 1000],
    ids=["empty", "short", "zeroes", "sqlite"],
)
def test_a_file_that_is_no_log_is_left_untouched(tmp_path, content: bytes) -> None:
    """As data.mdb in a directory, and as the path itself."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "data.mdb").write_bytes(content)
    (tmp_path / "file").write_bytes(content)
    before = contents(tmp_path)
    for name in ("dir", "file"):
        with pytest.raises(NotALog):
            Log.open(tmp_path / name)
    assert before == contents(tmp_path)


def test_a_directory_of_other_things_is_left_untouched(tmp_path) -> None:
    """No log is made among somebody's files."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(NotALog):
        Log.open(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_an_lmdb_file_of_somebody_else_is_refused(tmp_path) -> None:
    """It is valid, but its tables are not ours; its data is as it was."""
    other = lmdb.open(str(tmp_path), lib_version=0, max_dbs=4)
    with other.begin(write=True) as txn:
        txn.put(b"a", b"b")
    other.close()
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(NotALog):
        Log.open(tmp_path)
    assert before == (tmp_path / "data.mdb").read_bytes()


def test_a_newer_format_is_refused(tmp_path) -> None:
    """Ours, and LMDB's own."""
    path = a_log(tmp_path / "log")
    environment = lmdb.open(str(path), lib_version=0, max_dbs=16)
    meta = environment.open_db(b"meta")
    with environment.begin(write=True) as txn:
        txn.put(b"format", b"99", db=meta)
    environment.close()
    with pytest.raises(FormatTooNew, match="99"):
        Log.open(path)
    lmdb.open(str(tmp_path / "new"), lib_version=1).close()
    with pytest.raises(FormatTooNew, match="data format"):
        Log.open(tmp_path / "new")


@pytest.mark.parametrize("keep", [8192, 20_000])
def test_a_file_cut_short_is_not_opened(tmp_path, keep: int) -> None:
    """Reading it would end the process; a child process finds out."""
    path = a_log(tmp_path / "log", 200)
    os.truncate(path / "data.mdb", keep)
    with pytest.raises(LogCorrupt, match="bytes long"):
        Log.open(path)


def test_a_zeroed_meta_page_is_reported(tmp_path) -> None:
    """One of two: LMDB would refuse the whole file, and so do we, with a restore as the way out."""
    path = a_log(tmp_path / "log")
    with (path / "data.mdb").open("r+b") as file:
        file.seek(4096)
        file.write(b"\0" * 4096)
    with pytest.raises(LogCorrupt):
        Log.open(path)


def test_a_network_file_system_is_refused_unless_forced(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB's locks and memory map are not safe there."""
    kinds = {
        line.partition(" - ")[2].split(" ")[0]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
    }
    monkeypatch.setattr(module, "REMOTE", frozenset(kinds))
    with pytest.raises(RemoteDisk):
        Log.open(tmp_path / "log")
    Log.open(tmp_path / "log", force=True).close()


def test_a_reader_changes_nothing(tmp_path) -> None:
    """Neither a value nor a claim nor a thread."""
    path = a_log(tmp_path / "log")
    before = (path / "data.mdb").read_bytes()
    with Log.open(path, readonly=True) as log:
        assert len(list(log.read("t"))) == 9
        for call in (
            lambda: log.writer("t"),
            lambda: log.put_shared(1),
            lambda: log.delete_thread("t"),
            lambda: log.truncate("t", 3),
        ):
            with pytest.raises(LogReadOnly):
                call()
        with pytest.raises(LogInUse):
            Log.open(path)
    assert before == (path / "data.mdb").read_bytes()


AS_NOBODY = """
import os, sys
from walgraph.wal import Log, LogReadOnly
os.setgid(65534); os.setuid(65534)
try:
    Log.open(sys.argv[1])
except LogReadOnly as error:
    print(error.code)
with Log.open(sys.argv[1], readonly=True) as log:
    print(len(list(log.read("t"))))
"""


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become somebody else"
)
def test_a_directory_without_the_right_to_write_can_be_read(tmp_path) -> None:
    """Opening for writing says what is wrong; reading works without LMDB's lock."""
    path = a_log(tmp_path / "log")
    for file in path.iterdir():
        file.chmod(0o444)
    path.chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents][:-2]:
        parent.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path)], capture_output=True, text=True, check=False
    )
    assert result.stdout == "WAL-E106\n9\n", result.stderr


def test_a_second_fsync_in_one_process_is_refused(tmp_path) -> None:
    """LMDB's flags belong to the file, so two objects cannot differ."""
    with Log.open(tmp_path / "log"), pytest.raises(LogInUse, match="fsync"):
        Log.open(tmp_path / "log", fsync="off")


def test_an_environment_opened_beside_us_is_reported(tmp_path) -> None:
    """LMDB must not be open twice in a process."""
    path = a_log(tmp_path / "log")
    other = lmdb.open(str(path), lib_version=0)
    with pytest.raises(LogInUse, match="outside"):
        Log.open(path)
    other.close()
    Log.open(path).close()


def test_a_small_address_space_gets_a_smaller_map(tmp_path) -> None:
    """The map is halved until it fits."""
    body = """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        log = Log.open(path)
        write_steps(log.writer("t"), 0, 3)
        log.flush()
        say(log.store.facts()["map_size"] < 6 << 30)
        """
    process = start(body, tmp_path / "log")
    assert heard(process) == "True"
    assert end(process) == 0


def test_a_kill_during_creation_leaves_nothing_or_a_log(tmp_path) -> None:
    """Whatever the instant, the next opening makes or finds a whole log and clears what was left."""
    calls = ("fsync", "rename", "mkdir", "open")
    for call in calls:
        for nth in range(1, 6):
            path = tmp_path / f"{call}{nth}" / "log"
            body = f"""
                import signal
                from pathlib import Path
                count = 0
                def deadly(function):
                    def wrapper(*args, **kwargs):
                        global count
                        count += 1
                        if count == {nth}:
                            os.kill(os.getpid(), signal.SIGKILL)
                        return function(*args, **kwargs)
                    return wrapper
                if {call!r} in ("rename", "mkdir"):
                    setattr(Path, {call!r}, deadly(getattr(Path, {call!r})))
                else:
                    setattr(os, {call!r}, deadly(getattr(os, {call!r})))
                Log.open(path).close()
                """
            code = end(start(body, path))
            assert code in (0, -signal.SIGKILL)
            if path.exists():
                with Log.open(path, create=False) as log:
                    assert list(log.threads()) == []
            with Log.open(path) as log, log.writer("t") as writer:
                writer.append(created(), Summary())
            assert [file.name for file in path.parent.iterdir()] == ["log"]
            shutil.rmtree(path.parent)


def test_two_processes_may_make_one_log(tmp_path) -> None:
    """The one that comes second uses what the first made."""
    body = """
        say("ready")
        listen()
        with Log.open(path) as log, log.writer(str(os.getpid())) as writer:
            writer.append(created(), Summary())
        """
    for attempt in range(3):
        path = tmp_path / str(attempt) / "log"
        processes = [start(body, path) for _ in range(3)]
        for process in processes:
            assert heard(process) == "ready"
        for process in processes:
            tell(process)
        assert [end(process) for process in processes] == [0, 0, 0]
        with Log.open(path, create=False) as log:
            assert len(list(log.threads())) == 3


def test_a_table_is_opened_while_another_thread_writes(tmp_path: Path) -> None:
    """The first item of a store was put while a step was being committed, and both threads waited for ever.

    LMDB lets one write at a time, and its Python binding waits for that lock with the interpreter's own lock held when
    it opens a table by itself: the writer, which has the one, could never have the other.
    """
    program = f"""
import threading
from walgraph.wal import Log
from walgraph.wal.tables import ITEMS, LOG

log = Log.open({str(tmp_path / "a.wal")!r})
environment = log.store.environment
wrote = threading.Event()

def opens():
    wrote.wait()
    environment.open_later(ITEMS, create=True)

other = threading.Thread(target=opens)
other.start()
with environment.lmdb.begin(write=True) as txn:
    wrote.set()
    other.join(0.2)
    txn.put(b"k", b"v", db=environment.handles[LOG])
other.join()
assert ITEMS in environment.later
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
