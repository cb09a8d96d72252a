"""What may go: records that a snapshot stands for, values that nobody names, and the free space of the file.

    compact   online: per thread, cut frames at a snapshot ─► mark blobs that are named ─► sweep the others
    shrink    offline: copy live pages beside the file ─► fsync ─► verify ─► rename over it ─► fsync directory

The caller decides at which seq a thread may be cut, and has put a snapshot there: what an open question, a branch or
an unfinished run still needs is not known here. The snapshot at the horizon is kept for ever.

SWEEP   1. A token is written. From then on every commit, of any process, leaves a mark on each blob that it names.
        2. Frames and snapshots are read in short transactions, and the blobs that they name, and those that these name,
           and so on, are collected.
        3. In short write transactions, blobs are removed that were there at 1 and are neither collected nor marked,
           nor named by one that is marked. Nothing can be committed between the look at the marks and the removal.
        4. The token is removed. A sweep that was killed leaves only its token, which the next one replaces.

Invariants:
1. A blob that any record or snapshot names survives, also if it was named again while the sweep ran.
2. Every transaction is short: 1,000 frames, or 64 blobs.
3. A crash at any instant leaves a log that is whole, at worst with free space that is not used yet.

This module must not know what a state is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb

from .codec import references
from .core import is_open
from .directory import check_file, hold, sync_directory, walk_pages
from .environment import open_environment
from .errors import LogCorrupt, LogFull, LogInUse, ThreadBusy
from .fault import reach
from .lmdb_store import translate
from .log import Log
from .log_reading import ThreadId, as_thread_id
from .store import Store

SWEEP_BATCH = 64
COMPACTING = "\x00compaction"
"""What whoever makes a log smaller claims, as if it were a thread."""


class ThreadCut(NamedTuple):
    """What was, or would be, cut off one thread."""

    thread_id: str
    horizon: int
    frames: int
    records: int
    bytes: int


class Compaction(NamedTuple):
    """What a compaction did, or, if ``applied`` is false, would do."""

    applied: bool
    threads: tuple[ThreadCut, ...]
    blobs: int
    blob_bytes: int

    @property
    def frames(self) -> int:
        """How many frames went."""
        return sum(cut.frames for cut in self.threads)


def compact(log: Log, keep: Mapping[ThreadId, int] | None = None, *, apply: bool = True) -> Compaction:
    """Cut threads at snapshots and sweep unused blobs, beside live writers.

    Args:
        log: The log.
        keep: Thread → seq: its frames that lie at or before the newest snapshot ≤ seq are cut off.
        apply: Do it; otherwise only tell what would go.

    Raises:
        ThreadNotFound: A thread does not exist.
        LogInUse: Another compaction began meanwhile.
    """
    log.flush()
    cuts = []
    for thread_id, upto in (keep or {}).items():
        thread = as_thread_id(thread_id)
        cut = _plan_cut(log.store, thread, upto)
        if cut.frames:
            cuts.append(cut)
            if apply:
                log.truncate(thread, upto)
                reach("compaction: thread cut")
    gone = {cut.thread_id: cut.horizon for cut in cuts}
    blobs, size = sweep(log.store) if apply else _count_unused(log.store, gone)
    return Compaction(apply, tuple(cuts), blobs, size)


@contextmanager
def alone(log: Log) -> Iterator[None]:
    """Be the only one, among all processes, who makes this log smaller.

    Raises:
        LogInUse: Somebody else is at it.
    """
    claims, owner = log.core.claims, object()
    try:
        claims.take(COMPACTING, owner)
    except ThreadBusy as busy:
        process = busy.details.get("process")
        who = "this process" if process is None else f"process {process}"
        message = f"The log is being compacted by {who} already; nothing was done here."
        raise LogInUse(message, hint="Let it finish.", path=log.path, process=process) from None
    try:
        yield
    finally:
        claims.give_back(COMPACTING, owner)


def sweep(store: Store, pace: Callable[[int], None] | None = None) -> tuple[int, int]:
    """Remove the blobs that nothing names; return how many, and their bytes.

    Args:
        store: The store.
        pace: Told how many records were looked at, or blobs removed; may wait. No transaction is open then.

    Raises:
        LogInUse: Another sweep began meanwhile.
    """
    token = store.begin_sweep()
    reach("compaction: sweep begun")
    candidates = store.digests()
    live = named_blobs(store, {}, pace)
    unused = [digest for digest in candidates if digest not in live]
    removed = size = 0
    for start in range(0, len(unused), SWEEP_BATCH):
        batch = unused[start : start + SWEEP_BATCH]
        sizes = {digest: len(store.blob(digest) or b"") for digest in batch}
        chosen: list[bytes] = []

        def choose(
            marked: set[bytes], batch: list[bytes] = batch, chosen: list[bytes] = chosen
        ) -> Iterable[bytes]:
            # Blobs named by marked ones are followed inside the transaction, so that no commit comes in between.
            spared = follow(marked, store.blob, live)
            chosen += [digest for digest in batch if digest not in spared]
            return chosen

        if pace is not None:
            pace(len(batch))
        reach("compaction: before values go")
        removed += store.sweep(token, choose)
        size += sum(sizes[digest] for digest in chosen)
    store.end_sweep(token)
    reach("compaction: sweep ended")
    return removed, size


def named_blobs(
    store: Store, cut: Mapping[str, int], pace: Callable[[int], None] | None = None
) -> set[bytes]:
    """Return the digests of all blobs that a frame or snapshot names, directly or through other blobs.

    Args:
        store: Where to look.
        cut: Thread → horizon, as if the frames up to there were gone already.
        pace: Told of each frame how many records it holds; may wait.
    """
    horizons = {row.number: cut[row.thread] for row in store.rows() if row.thread in cut} if cut else {}
    found: set[bytes] = set()
    for header, body in store.tail():
        if pace is not None:
            pace(header.records)
        if header.last > horizons.get(header.thread, 0):
            found |= references(body)
    for row in store.rows():
        for seq in store.snapshots(row.thread):
            snapshot = store.snapshot(row.thread, seq)
            if snapshot is not None:
                found |= references(snapshot[1])
    return follow(found, store.blob, set())


def follow(named: Iterable[bytes], blob: Callable[[bytes], bytes | None], seen: set[bytes]) -> set[bytes]:
    """Return the named digests and all that their blobs name in turn; ``seen`` need not be followed again."""
    found = set(seen)
    waiting = [digest for digest in named if digest not in found]
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            data = blob(digest)
            if data is not None:
                waiting += references(data)
    return found


def shrink(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Copy what is live into a new file and put it in the place of the old; return its size before and after.

    Needs as much free space as the log's live data. Nobody else may have the log open.

    Raises:
        LogInUse: The log is open, here or in another process.
        LogFull: The disk has no room for the copy; the log is as it was.
        LogCorrupt: The copy does not verify; the log is as it was.
    """
    place = os.path.realpath(os.fspath(path))
    if is_open(place):
        raise LogInUse(f"The log at {place} is open in this process.", hint="Close it first.", path=place)
    check_file(place)
    data, fresh = Path(place, "data.mdb"), Path(place, "shrink")
    copy = fresh / "data.mdb"
    lock = hold(place, exclusive=True)
    try:
        before = data.stat().st_size
        # LMDB makes the copy readable for everybody, so nobody else may look into its folder.
        fresh.mkdir(mode=0o700, exist_ok=True)
        copy.unlink(missing_ok=True)
        # This process itself holds LOCK exclusively, so the environment is opened without asking for it again.
        environment = open_environment(place, create=False, readonly=True, force=True, locked=True)
        try:
            environment.lmdb.copy(str(fresh), compact=True)
        except (lmdb.Error, OSError) as error:
            raise _copy_failed(error, place) from error
        finally:
            environment.close()
        reach("shrink: copied")
        _sync_file(copy)
        reach("shrink: copy flushed")
        _verify(fresh)
        copy.chmod(data.stat().st_mode & 0o777)
        copy.replace(data)
        reach("shrink: replaced")
        sync_directory(place)
        reach("shrink: name flushed")
        return before, data.stat().st_size
    finally:
        copy.unlink(missing_ok=True)
        if fresh.is_dir():
            fresh.rmdir()
        if lock is not None:
            os.close(lock)


def _plan_cut(store: Store, thread: str, upto: int) -> ThreadCut:
    """Return what a truncation at ``upto`` would remove."""
    base = max([seq for seq in store.snapshots(thread) if seq <= upto], default=0)
    frames = records = size = 0
    for header, _ in store.frames(thread, 0, base + 1):
        if header.last <= base:
            frames, records, size = frames + 1, records + header.records, size + header.length
    return ThreadCut(thread, base, frames, records, size)


def _count_unused(store: Store, cut: Mapping[str, int]) -> tuple[int, int]:
    live = named_blobs(store, cut)
    unused = [digest for digest in store.digests() if digest not in live]
    return len(unused), sum(len(store.blob(digest) or b"") for digest in unused)


def _copy_failed(error: Exception, path: str) -> Exception:
    if isinstance(error, lmdb.DiskError) or "No space left" in str(error):
        message = f"There is no room for a copy of the log at {path}. The log is as it was."
        return LogFull(message, hint="Free as much space as the log's live data takes.", path=path)
    return translate(error, path)


def _verify(path: Path) -> None:
    found = walk_pages(str(path))
    if found:
        message = f"The compacted copy of the log does not verify: {found[0]}."
        raise LogCorrupt(message, hint="The log is as it was; run `wal verify` on it.", report=found)


def _sync_file(name: Path) -> None:
    descriptor = os.open(name, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
