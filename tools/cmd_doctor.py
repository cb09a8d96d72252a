"""``wal doctor``: is what the log stands on sound? Disk, file system, map, readers, owners, clock, versions.

    finding = what was looked at, how it stands (ok, note, warning, problem), what was found, and a remedy

The log's contents are ``wal verify``'s business; nothing of them is read but the directory of threads.

Invariants:
1. The log is opened for reading only. Flushes are timed on a file of our own beside it, which is removed.
2. Each finding that is not ok names a remedy.
3. What cannot be found out here is said to be unknown, never taken for sound.

It must not mend anything.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import click
import lmdb

from ..wal.creation import FORMAT
from ..wal.directory import REMOTE, file_system
from ..wal.head import moment
from ..wal.lmdb_store import LmdbStore
from ..wal.log import Log
from ..wal.turn import last_write, lock_file, process_of, writer
from .options import as_json, opened, placed, words
from .render import Column, Page

FLUSHES = 100
FLUSH_BYTES = 4096
SLOW_SECONDS = 0.02
AHEAD_SECONDS = 60
"""How far the log's newest time may lie in the future before the clock is doubted."""
FEW_BYTES = 1 << 30
WARNED_THREADS = 5
EXTRAS = ("numpy", "pydantic", "langchain_core", "obstore")
COLUMNS = (Column(""), Column("what"), Column("found"), Column("remedy"))


class Finding(NamedTuple):
    """One thing that was looked at. ``how`` is ok, note, warning or problem."""

    what: str
    how: str
    found: str
    remedy: str = ""


@click.command("doctor")
@words("[LOG]")
@as_json
def command(words: tuple[str, ...], *, as_json: bool) -> int:
    """Examine what the log stands on: disk, file system, readers, clock.

    Ends with 1 if there is a problem.
    """
    path, _ = placed(words)
    page = Page(as_json=as_json)
    findings = [*_versions(), *_place(path)]
    with opened(path) as log:
        findings += [*_file(log), *_readers(log), *_writer(log), *_threads(log), *_clock(log)]
    findings += [*_leftovers(path), *_flushes(path)]
    sound = all(finding.how != "problem" for finding in findings)
    if as_json:
        page.emit("doctor", path=path, ok=sound, findings=[finding._asdict() for finding in findings])
    else:
        page.table(COLUMNS, [(each.how, each.what, each.found, each.remedy) for each in findings])
    return 0 if sound else 1


def _versions() -> Iterator[Finding]:
    try:
        ours = version("walgraph")
    except PackageNotFoundError:
        ours = "not installed"
    engine = ".".join(map(str, lmdb.version()))
    found = f"walgraph {ours}, Python {platform.python_version()}, py-lmdb {version('lmdb')}, LMDB {engine}"
    yield Finding("versions", "ok", found)
    here = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
    yield Finding("extras", "ok", f"installed: {', '.join(here) or 'none'}")


def _place(path: str) -> Iterator[Finding]:
    kind = file_system(path)
    if kind is None:
        remedy = "See to it yourself that it is a local disk."
        yield Finding("file system", "note", "this system does not tell its kind", remedy)
    elif kind in REMOTE:
        remedy = "Move the log to a local disk; LMDB loses data on network file systems."
        yield Finding("file system", "problem", f"{kind}, a network file system", remedy)
    elif kind in {"tmpfs", "ramfs"}:
        yield Finding(
            "file system", "warning", f"{kind}, which is memory", "Move the log to a disk that stays."
        )
    elif kind in {"overlay", "aufs"}:
        remedy = "Put the log on a volume, unless it may go with the container."
        yield Finding("file system", "warning", f"{kind}, a container's own layer", remedy)
    else:
        yield Finding("file system", "ok", kind)
    mode = Path(path, "data.mdb").stat().st_mode & 0o777 if Path(path, "data.mdb").exists() else 0
    if mode & 0o006:
        remedy = f"chmod o-rw {path}/*, if the log holds what others must not see."
        yield Finding("permissions", "note", f"everybody may read data.mdb (mode {mode:o})", remedy)


def _file(log: Log) -> Iterator[Finding]:
    facts = dict(log.store.facts())
    size, free, room = _whole(facts["size"]), _whole(facts["free"]), _whole(facts["map_size"])
    if _whole(facts["format"]) < FORMAT:
        yield Finding("format", "note", f"{facts['format']}; the newest is {FORMAT}", "wal upgrade LOG")
    else:
        yield Finding("format", "ok", f"{FORMAT}")
    disk = shutil.disk_usage(log.path).free
    left = f"{disk >> 20} MiB"
    if disk < max(FEW_BYTES, size // 4):
        yield Finding("disk", "warning", f"{left} left", "Free space, or run wal compact LOG --apply.")
    else:
        yield Finding("disk", "ok", f"{left} left")
    if size > room // 2:
        remedy = "Open the log with a larger map_size; only addresses are reserved."
        yield Finding("map", "warning", f"{size} of {room} bytes are in use", remedy)
    else:
        yield Finding("map", "ok", f"{size} of {room} bytes")
    if free > size // 2 and size > 64 << 20:
        remedy = "wal compact LOG --shrink --apply, while nobody has it open."
        yield Finding("free space", "note", f"{free} of {size} bytes inside the file are free", remedy)


def _readers(log: Log) -> Iterator[Finding]:
    store = log.store
    assert isinstance(store, LmdbStore), "a path was given"
    slots = [line.split() for line in store.environment.lmdb.readers().splitlines()[1:]]
    processes = Counter(int(slot[0]) for slot in slots if slot and slot[0].isdecimal())
    processes.pop(os.getpid(), None)
    stale = sorted(process for process in processes if not _lives(process))
    if stale:
        who = ", ".join(map(str, stale))
        remedy = "Open the log once for writing, for example wal compact LOG --apply: it clears them."
        yield Finding("readers", "warning", f"processes that are gone still hold places: {who}", remedy)
    else:
        yield Finding("readers", "ok", f"{len(processes)} other processes have it open for reading")


def _writer(log: Log) -> Iterator[Finding]:
    """Look at who writes right now: a process that is stopped meanwhile keeps all others from writing."""
    thread = writer(lock_file(log.path))
    if not thread:
        yield Finding("writer", "ok", "nobody is writing right now")
        return
    process = process_of(thread)
    found = f"{process}, holds the lock of writers; nothing was written since {last_write(log.path)}"
    if process.is_stopped:
        remedy = f"kill -CONT {process.pid} lets it go on; kill -KILL {process.pid} frees the lock, and loses nothing."
        yield Finding("writer", "problem", found, remedy)
    else:
        yield Finding("writer", "ok", f"{process} is writing right now")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _threads(log: Log) -> Iterator[Finding]:
    owners: Counter[int] = Counter()
    crashed = []
    for head in log.threads():
        if head.status == "running":
            owners[log.core.claims.owner(head.thread_id) or 0] += 1
        elif head.status == "crashed":
            crashed.append(head.thread_id)
    said = [f"process {process or '?'} runs {count} threads" for process, count in sorted(owners.items())]
    stopped = [process for process in owners if process and process_of(process).is_stopped]
    if stopped:
        remedy = 'kill -CONT it, or end it; a thread of it can be taken over with if_busy="steal".'
        found = f"process {', '.join(map(str, stopped))} is stopped, and keeps its threads"
        yield Finding("owners", "warning", found, remedy)
    else:
        yield Finding("owners", "ok", "; ".join(said) or "nobody runs a thread")
    if crashed:
        names = ", ".join(crashed[:WARNED_THREADS]) + (", …" if len(crashed) > WARNED_THREADS else "")
        remedy = "graph.invoke(None, config) carries each on."
        yield Finding("unfinished", "warning", f"{len(crashed)} crashed threads: {names}", remedy)


def _clock(log: Log) -> Iterator[Finding]:
    newest = log.store.position().time
    ahead = (newest - time.time_ns()) / 1e9
    if ahead > AHEAD_SECONDS:
        found = f"the newest record is of {moment(newest).isoformat()}, {ahead:.0f} s in the future"
        remedy = (
            "Set the clock right. Until it has caught up, all records bear that time; their order is right."
        )
        yield Finding("clock", "warning", found, remedy)
    else:
        yield Finding("clock", "ok", "not behind the log")


def _leftovers(path: str) -> Iterator[Finding]:
    place = Path(path).resolve()
    found = [each.name for each in place.parent.iterdir() if each.name.startswith(f"{place.name}.new-")]
    if (place / "shrink").exists():
        found.append(f"{place.name}/shrink")
    if found:
        remedy = "Remove them, unless something is being made there right now."
        yield Finding(
            "leftovers", "note", f"of what was killed on the way: {', '.join(sorted(found))}", remedy
        )
    else:
        yield Finding("leftovers", "ok", "none")


def _flushes(path: str) -> Iterator[Finding]:
    """Time what a commit waits for: a small write and its flush, on the disk that the log lies on."""
    try:
        with tempfile.TemporaryFile(dir=Path(path).resolve().parent) as file:
            spans = [_flush(file.fileno()) for _ in range(FLUSHES)]
    except OSError as error:
        remedy = "Run it as somebody who may write there."
        yield Finding("flush", "note", f"could not be timed beside the log: {error.strerror}", remedy)
        return
    middle, worst = statistics.median(spans), sorted(spans)[int(FLUSHES * 0.99)]
    found = f"half within {middle * 1000:.2f} ms, 99 % within {worst * 1000:.2f} ms"
    if middle > SLOW_SECONDS:
        remedy = 'Use a faster disk, or durability="async": a sync step waits for two of them.'
        yield Finding("flush", "warning", found, remedy)
    else:
        yield Finding("flush", "ok", found)


def _flush(descriptor: int) -> float:
    begin = time.perf_counter()
    os.pwrite(descriptor, os.urandom(FLUSH_BYTES), 0)
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)
    return time.perf_counter() - begin


def _whole(fact: object) -> int:
    assert isinstance(fact, int), "sizes are numbers"
    return fact
