"""Workloads that make logs out of logs: backups, restoring, importing, repairing, shrinking.

Each has a preparation, which runs before the disk is recorded and is durable, and puts marks of its own:

    kept FOLDER G t=N,…    backup G in FOLDER holds these threads, each as far as N or farther
    pruning FOLDER G       from here on backups older than G may be gone
    damaged LOG DIGEST     the log is damaged; a file of that digest is found at LOG, or beside it, for good
    mended LOG             the log had been repaired
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from powerloss.counting import STEPS, count_to_end, mark, steps_of

from walgraph import Log, LogStore
from walgraph.wal.backup import manifests
from walgraph.wal.backup_target import open_target
from walgraph.wal.compaction import shrink
from walgraph.wal.exporting import export_lines
from walgraph.wal.importing import import_lines
from walgraph.wal.keyspace import number_key
from walgraph.wal.mending import examined, replace, salvage
from walgraph.wal.restore import Moment, restore
from walgraph.wal.tables import LOG

KEEP = 2
"""How many backups stay."""


def back_up(path: Path, target: Path) -> int:
    """Make a backup, and say what it holds; return its number."""
    with Log.open(path) as log:
        held = ",".join(f"{thread}={n}" for thread, n in steps_of(log).items())
        made = log.backup(target)
    mark("kept", target.name, made.generation, held)
    return made.generation


def before_backup(folder: Path, fsync: str) -> None:
    """A log with two threads that have ended."""
    count_to_end(folder / "log", ["t0", "t1"], "sync", fsync)


def backup(folder: Path, fsync: str) -> None:
    """Backups are made one after another beside a run, and old ones removed."""
    path, target = folder / "log", folder / "backups"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(count_to_end, path, ["t2", "t3"], "sync", fsync)
        for number in range(5):
            generation = back_up(path, target)
            with Log.open(path, fsync=fsync) as log:
                LogStore(log).put(("a",), "k", {"n": number})
                mark("item", path.name, "k", number)
                mark("pruning", target.name, generation)
                made = log.backup(target, keep=KEEP)
                mark("kept", target.name, made.generation, "t0=12,t1=12")
        running.result()
    back_up(path, target)


def before_restore(folder: Path, fsync: str) -> None:
    """A log, and two backups of it."""
    count_to_end(folder / "log", ["t0"], "sync", fsync)
    back_up(folder / "log", folder / "backups")
    count_to_end(folder / "log", ["t1"], "sync", fsync)
    back_up(folder / "log", folder / "backups")


def restoring(folder: Path, fsync: str) -> None:
    """A log is restored as it was and as it was earlier, and imported from an export of it."""
    target = folder / "backups"
    early = manifests(open_target(target))[0]
    restore(target, folder / "late")
    _made(folder / "late", "t0", "t1")
    restore(target, folder / "early", upto=Moment(lsn=early.lsn))
    _made(folder / "early", "t0")
    with Log.open(folder / "late", readonly=True) as log:
        lines = list(export_lines(log))
    import_lines(lines, folder / "imported")
    _made(folder / "imported", "t0", "t1")
    count_to_end(folder / "early", ["t1"], "sync", fsync)


def is_log(path: Path) -> bool:
    """Whether a log lies there, and not other folders, a log in the making, or a damaged one that was kept."""
    return not (path.name in {"backups", "deep"} or ".new-" in path.name or ".damaged-" in path.name)


def repair(path: Path) -> None:
    """Repair a log if it needs it."""
    with examined(str(path)) as (pages, plan):
        if plan.is_damaged:
            replace(pages, plan, str(path))


def _made(path: Path, *threads: str) -> None:
    """Say that a log is there, with threads that have ended."""
    mark("made", path.name)
    for thread in threads:
        mark("step", path.name, thread, STEPS)


def digest(path: Path) -> str:
    """The digest of a log's data file."""
    return hashlib.sha256((path / "data.mdb").read_bytes()).hexdigest()


def before_repair(folder: Path, fsync: str) -> None:
    """A log whose second thread has a damaged frame."""
    path = folder / "log"
    count_to_end(path, ["t0", "t1"], "sync", fsync)
    with Log.open(path) as log:
        lsns = [header.lsn for header, _ in log.store.frames("t1")]
        with log.store.all_tables.write() as txn:
            key = number_key(lsns[len(lsns) // 2])
            value = txn.get(LOG, key) or b""
            txn.put(LOG, key, value[:-1] + bytes([value[-1] ^ 1]))
    mark("leave", path.name, "t1")
    mark("damaged", path.name, digest(path))


def repairing(folder: Path, fsync: str) -> None:
    """What can be read is put into a new log, then the log is repaired in its place, and goes on."""
    path = folder / "log"
    with examined(str(path)) as (pages, plan):
        salvage(pages, plan, str(folder / "salvaged"))
    _made(folder / "salvaged", "t0")
    repair(path)
    mark("mended", path.name)
    count_to_end(path, ["t1", "t2"], "sync", fsync)


def before_shrink(folder: Path, fsync: str) -> None:
    """A log of which a part is free."""
    count_to_end(folder / "log", ["t0", "t1", "t2"], "sync", fsync)
    with Log.open(folder / "log") as log:
        log.delete_thread("t0")
    mark("leave", "log", "t0")
    mark("gone", "log", "t0")


def shrinking(folder: Path, fsync: str) -> None:
    """The file is made smaller, again and again, with steps in between."""
    path = folder / "log"
    for number in range(3):
        shrink(path)
        count_to_end(path, [f"s{number}"], "sync", fsync)


WORKLOADS: dict[str, Callable[[Path, str], None]] = {
    "backup": backup,
    "restore": restoring,
    "repair": repairing,
    "shrink": shrinking,
    "before backup": before_backup,
    "before restore": before_restore,
    "before repair": before_repair,
    "before shrink": before_shrink,
}
