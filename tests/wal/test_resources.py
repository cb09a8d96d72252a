"""When the system has no more to give: files, memory, time. Errors are typed, and nothing that was recorded is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from wal_helpers import a_step, created, write_steps

from walgraph.wal import Log, LogFailed, Summary
from walgraph.wal.verify import verify

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are POSIX")
PROGRAM = """
import os, resource, sys
sys.path.insert(0, {tests!r})
from wal_helpers import a_step, created, write_steps
from walgraph.wal import *
from walgraph.wal.directory import walk_pages
from walgraph.wal.verify import verify
import walgraph.wal.backup, walgraph.wal.turn, subprocess
path = sys.argv[1]
def tried(call):
    try:
        return call()
    except WalgraphError as error:
        print(type(error).__name__, error.code, error.message.replace(path, "LOG"))
        return None
class NoFiles:
    def __enter__(self):
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, self.limit[1]))
        self.held = []
        try:
            while True:
                self.held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for _ in range(FREE):
            os.close(self.held.pop())
    def __exit__(self, *_):
        for each in self.held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limit)
"""


def said(body: str, path: Path) -> list[str]:
    """Run a program in a process of its own, and return the lines that it printed."""
    program = PROGRAM.format(tests=str(Path(__file__).parent.parent)) + body
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture
def path(tmp_path) -> Path:
    """A closed log with one thread."""
    with Log.open(tmp_path / "log") as log, log.writer("t") as writer:
        write_steps(writer, 0, 3)
    return tmp_path / "log"


@pytest.mark.parametrize("free", range(6))
def test_a_log_is_not_opened_without_file_descriptors(path, free: int) -> None:
    """However many are left: it is opened, or the error says what is lacking; later all is as it was."""
    lines = said(
        f"""
FREE = {free}
with NoFiles():
    log = tried(lambda: Log.open(path))
    if log is not None:
        log.close()
with Log.open(path) as log:
    print(len(list(log.read("t"))), verify(log).ok)
        """,
        path,
    )
    assert lines[-1] == "9 True"
    for line in lines[:-1]:
        assert line.startswith("OutOfResources WAL-E115 "), line
        assert "file" in line.lower()


def test_a_log_is_not_made_without_file_descriptors(tmp_path) -> None:
    """Nothing is left of the attempt; with descriptors it is made."""
    path = tmp_path / "log"
    lines = said(
        """
FREE = 2
with NoFiles():
    tried(lambda: Log.open(path))
print(sorted(os.listdir(os.path.dirname(path))))
Log.open(path).close()
        """,
        path,
    )
    assert lines[0].startswith("OutOfResources WAL-E115 ")
    assert lines[1:] == ["[]"]


def test_a_doubtful_file_is_not_opened_when_no_child_can_look_at_it(path) -> None:
    """Without descriptors for a child's pipes it is not known to be whole; it is left alone, and not called damaged."""
    with (path / "data.mdb").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 4096)
    lines = said(
        """
FREE = 2
with NoFiles():
    tried(lambda: Log.open(path))
        """,
        path,
    )
    assert [line.split()[0] for line in lines] == ["OutOfResources"]


def test_a_backup_without_file_descriptors_leaves_the_former_one(path, tmp_path) -> None:
    """The log goes on; the next backup is whole."""
    lines = said(
        f"""
target = {str(tmp_path / "backups")!r}
log = Log.open(path)
log.backup(target)
with log.writer("u") as writer:
    write_steps(writer, 0, 3)
    writer.flush()
    FREE = 0
    with NoFiles():
        tried(lambda: log.backup(target))
    write_steps(writer, 3, 4)
print(log.backup(target).frames)
print(verify(log).ok)
        """,
        path,
    )
    assert lines[0].startswith("OutOfResources WAL-E115 ")
    assert lines[-1] == "True"


def test_a_log_without_room_for_its_map_says_so(path) -> None:
    """With less address space than the smallest map: an error that names the limit, and nothing is changed."""
    lines = said(
        """
resource.setrlimit(resource.RLIMIT_AS, (900 << 20, resource.RLIM_INFINITY))
tried(lambda: Log.open(path))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with Log.open(path) as log:
    print(len(list(log.read("t"))), verify(log).ok)
        """,
        path,
    )
    assert lines[0].startswith("OutOfResources WAL-E115 No ")
    assert lines[1:] == ["9 True"]


def test_a_clock_that_jumps_changes_no_order(tmp_path, monkeypatch) -> None:
    """An hour back, a year forward, before 1970: times never go back, order is by position, and all of it verifies."""
    now = time.time_ns()
    hour = 3600 * 10**9
    with Log.open(tmp_path / "log") as log:
        for number, moment in enumerate((now, now - hour, now + 8760 * hour, now - 2 * hour, -(10**9), now)):
            monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
            with log.writer("t") as writer:
                write_steps(writer, number, number + 1)
            log.signal("t", "name", number)
        times = [header.time for header, _ in log.store.frames("t")]
        assert times == sorted(times)
        assert [stored.seq for stored in log.read("t")] == list(range(1, 19))
        assert verify(log).ok


def test_a_thread_that_dies_in_a_transaction_frees_the_log(tmp_path) -> None:
    """An exception ends it anywhere: the transaction is undone, and others write."""
    with Log.open(tmp_path / "log") as log:
        with log.writer("t") as writer:
            writer.append(created(), Summary())

        def dies() -> None:
            with contextlib.suppress(SystemExit), log.store.all_tables.write() as txn:
                txn.put(0, b"half", b"written")
                sys.exit()

        thread = threading.Thread(target=dies)
        thread.start()
        thread.join()
        with log.writer("t") as writer:
            write_steps(writer, 0, 2)
        with log.store.all_tables.read() as txn:
            assert txn.get(0, b"half") is None
        assert verify(log).ok


def test_a_process_that_dies_in_a_transaction_frees_the_log(path) -> None:
    """Killed within LMDB's write transaction: the lock is free at once, and nothing of it is seen."""
    child = os.fork()
    if not child:
        log = Log.open(path)
        with log.store.all_tables.write() as txn:
            txn.put(0, b"half", b"written")
            os._exit(9)
    os.waitpid(child, 0)
    with Log.open(path) as log:
        with log.writer("t") as writer:
            assert writer.seq == 9
            writer.append(a_step(3), Summary())
        with log.store.all_tables.read() as txn:
            assert txn.get(0, b"half") is None
        assert verify(log).ok


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_fork_at_any_time_harms_neither_side(tmp_path) -> None:
    """While threads write, between two records, within a run: the child opens the log itself, the parent goes on."""
    over = threading.Event()
    with Log.open(tmp_path / "log") as log:
        written: list[int] = []

        def write() -> None:
            with log.writer("t") as writer:
                number = 0
                while not over.is_set():
                    writer.append(a_step(number), Summary(), awaited=True)
                    writer.flush()
                    number += 1
                written.append(number)

        thread = threading.Thread(target=write)
        thread.start()
        for number in range(15):
            child = os.fork()
            if not child:
                try:
                    with Log.open(tmp_path / "log") as own, own.writer(f"c{number}") as writer:
                        write_steps(writer, 0, 2)
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
        over.set()
        thread.join()
        assert [stored.seq for stored in log.read("t")] == list(range(1, 3 * written[0] + 1))
        assert {head.thread_id: head.seq for head in log.threads() if head.thread_id != "t"} == {
            f"c{number}": 6 for number in range(15)
        }
        assert verify(log).ok


def test_a_failure_for_lack_of_files_is_no_other_failure() -> None:
    """It is one of the log, so whoever catches those is told."""
    from walgraph import LogError, OutOfResources

    assert issubclass(OutOfResources, LogError)
    assert not issubclass(OutOfResources, LogFailed)
