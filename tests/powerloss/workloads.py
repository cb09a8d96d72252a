"""Programs whose disk is recorded, and what they say had been acknowledged.

    python -m powerloss.workloads NAME FOLDER FSYNC [FAULT]

Each drives one graph that counts, on real threads of real logs below FOLDER. Whenever the library has promised that
something will be found again, the program puts a mark into the trace:

    made LOG             the log had been made
    step LOG THREAD N    the thread had got as far as N
    leave LOG THREAD     from here on the thread may be gone, since it is being deleted
    gone LOG THREAD      the thread had been deleted
    item LOG KEY N       the store held N at KEY

``copies`` has the workloads that make logs out of logs, and more marks; a workload that needs something to be there has
another one before it, "before NAME", whose disk loses nothing.

FAULT is one of PLANTED: a mistake that was made in such code before, by others. With it, the tests must fail.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from powerloss import copies
from powerloss.counting import STEPS, config_of, count_to_end, counter, fail, load_of, mark
from powerloss.recording import SYNC, WRITE

from walgraph import Log, LogError, LogStore
from walgraph.tools.cmd_compact import command as wal_compact
from walgraph.wal import backup_target, building, directory, environment, mending
from walgraph.wal import compaction as compaction_module
from walgraph.wal import creation as creation_module
from walgraph.wal.compaction import compact, shrink


def creation(folder: Path, fsync: str) -> None:
    """Logs are made, one after another."""
    for number in range(5):
        path = folder / f"log-{number}"
        with Log.open(path, fsync=fsync) as log:
            mark("made", path.name)
            counter(log).update_state(config_of("t"), {"n": 1, "sum": 1, "load": load_of(1)}, as_node="count")
            mark("step", path.name, "t", 1)


def succession(folder: Path, fsync: str) -> None:
    """Whoever makes a log is killed before its name lasts, and another process goes on in the log; folders are new."""
    for name in ("log-0", "deep/er/log"):
        path = folder / name
        child = os.fork()
        if not child:

            def killed(flushed: str, place: Path = path) -> None:
                if Path(flushed) == place.parent and place.exists():
                    os._exit(9)
                directory.sync_directory(flushed)

            creation_module.sync_directory = killed
            Log.open(path, fsync=fsync)
        assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 9
        with Log.open(path, fsync=fsync) as log:
            mark("made", name)
            counter(log).update_state(config_of("t"), {"n": 1, "sum": 1, "load": load_of(1)}, as_node="count")
            mark("step", name, "t", 1)


def one_thread(durability: str) -> Callable[[Path, str], None]:
    """Two threads, one after the other, in one mode."""

    def workload(folder: Path, fsync: str) -> None:
        for thread in ("t0", "t1"):
            count_to_end(folder / "log", [thread], durability, fsync)

    return workload


def group(folder: Path, fsync: str) -> None:
    """Six threads at once, which share commits."""
    count_to_end(folder / "log", [f"t{number}" for number in range(6)], "sync", fsync)


def company(folder: Path, fsync: str) -> None:
    """Two processes make one log, and write to it in two modes."""
    child = os.fork()
    count_to_end(folder / "log", ["c0", "c1"] if child else ["p0", "p1"], "sync" if child else "async", fsync)
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def compaction(folder: Path, fsync: str) -> None:
    """History is cut off, online while a run is going on, and the file made smaller."""
    path = folder / "log"
    count_to_end(path, ["t0", "t1"], "sync", fsync)
    with Log.open(path, fsync=fsync) as log:
        store = LogStore(log)
        pool = ThreadPoolExecutor(1)
        running = pool.submit(count_to_end, path, ["t2"], "sync", fsync)
        for number in range(8):
            store.put(("a",), "k", {"n": number})
            mark("item", path.name, "k", number)
        wal_compact.main([str(path), "--apply", "--app", "powerloss.workloads:APP"], standalone_mode=False)
        running.result()
        pool.shutdown()
        log.copy_thread("t1", "copy")
        mark("step", path.name, "copy", STEPS)
        mark("leave", path.name, "t0")
        log.delete_thread("t0")
        mark("gone", path.name, "t0")
        compact(log)
    shrink(path)
    count_to_end(path, ["t3"], "sync", fsync)


APP = counter(None)
"""The graph, for the command line."""


def recovery(folder: Path, fsync: str) -> None:
    """Logs are repaired and threads carried on, whatever a crash left; one thread more is begun, and a backup made."""
    for path in sorted(folder.iterdir()):
        if copies.is_log(path):
            copies.repair(path)
            with Log.open(path, fsync=fsync) as log:
                threads = [head.thread_id for head in log.threads()]
            if threads:
                count_to_end(path, threads[:2], "sync", fsync)
    count_to_end(folder / "log", ["late"], "async", fsync)
    if (folder / "backups").exists():
        copies.back_up(folder / "log", folder / "backups")


def failing(folder: Path, fsync: str) -> None:
    """Flushes and writes fail, one after another; each time the log is opened again and the thread carried on."""
    path = folder / "log"
    Log.open(path, fsync=fsync).close()
    mark("made", path.name)
    faults = [(SYNC, errno.EIO), (WRITE, errno.EIO), (WRITE, errno.ENOSPC)]
    for number, (kind, error) in enumerate(faults * 4):
        thread = f"t{number}"
        fail(kind, number, error)
        try:
            count_to_end(path, [thread], "sync", fsync)
            raise AssertionError(f"fault {number} was not met")
        except LogError:
            fail(0, 0, 0)
        count_to_end(path, [thread], "sync", fsync)


WORKLOADS: dict[str, Callable[[Path, str], None]] = {
    "creation": creation,
    "succession": succession,
    "sync": one_thread("sync"),
    "async": one_thread("async"),
    "exit": one_thread("exit"),
    "group": group,
    "company": company,
    "compaction": compaction,
    "failing": failing,
    "recovery": recovery,
    **copies.WORKLOADS,
}


def in_place() -> None:
    """Make logs where they are to be, not beside it."""

    def create(path: str) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)
        Path(path, "LOCK").touch()
        creation_module._fill(Path(path))

    environment.create_log = create


def unflushed_folders() -> None:
    """Forget that a rename lasts only when its folder was flushed."""
    for module in (creation_module, compaction_module, mending, building, backup_target):
        module.sync_directory = lambda _: None


def unflushed_files() -> None:
    """Take what was written for durable, so that a name may come to lead to nothing."""
    flush = os.fsync
    os.fsync = lambda file: None if stat.S_ISREG(os.fstat(file).st_mode) else flush(file)


PLANTED: dict[str, Callable[[], None]] = {
    "in place": in_place,
    "unflushed folders": unflushed_folders,
    "unflushed files": unflushed_files,
}

if __name__ == "__main__":
    for fault in sys.argv[4:]:
        PLANTED[fault]()
    WORKLOADS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
