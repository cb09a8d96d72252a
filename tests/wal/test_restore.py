"""Restoring to a moment: an lsn or a time, and what cannot be had."""

from __future__ import annotations

from typing import Any

import pytest
from backup_helpers import Memory, filled
from wal_helpers import a_step, write_steps

from walgraph import Log
from walgraph.wal import BackupNotFound, Encoder, Summary
from walgraph.wal.restore import Moment, restore
from walgraph.wal.verify import verify


@pytest.fixture
def log(tmp_path) -> Any:
    """A log with two threads and a large value."""
    with filled(tmp_path / "log") as made:
        yield made


def test_a_log_is_restored_to_any_lsn(log, tmp_path) -> None:
    """Each thread stands at its last frame up to there, and what came later is not there."""
    target = Memory()
    log.backup(target)
    headers = [header for header, _ in log.store.tail()]
    for header in headers:
        path = tmp_path / str(header.lsn)
        done = restore(target, path, upto=Moment(lsn=header.lsn))
        assert (done.lsn, done.time, done.report.frames) == (header.lsn, header.time, header.lsn)
        with Log.open(path) as early:
            assert verify(early).ok
            for thread in ("t", "u"):
                left = [h for h, _ in log.frames(thread) if h.lsn <= header.lsn]
                head = early.head(thread)
                assert (head.seq if head else 0) == (left[-1].last if left else 0)
    with Log.open(path) as early, early.writer("t") as writer:
        write_steps(writer, 10, 12)


def test_a_log_is_restored_to_a_time(log, tmp_path) -> None:
    """Up to the last frame that was committed by then; later than the newest is the newest."""
    target = Memory()
    log.backup(target)
    headers = [header for header, _ in log.store.tail()]
    middle = headers[4]
    done = restore(target, tmp_path / "middle", upto=Moment(time=middle.time))
    assert done.lsn == max(header.lsn for header in headers if header.time <= middle.time)
    done = restore(target, tmp_path / "late", upto=Moment(time=headers[-1].time + 10**12))
    assert done.lsn == headers[-1].lsn
    with pytest.raises(BackupNotFound, match="ends at lsn"):
        restore(target, tmp_path / "no", upto=Moment(lsn=headers[-1].lsn + 1))


def test_a_thread_that_was_compacted_cannot_be_restored_to_before(log, tmp_path) -> None:
    """What was cut off is in no backup that was made later, and that is said; an earlier backup has it."""
    target = Memory()
    log.put_snapshot("t", 12, Encoder().value({"n": 12}))
    log.flush()
    early = log.backup(target)
    log.truncate("t", 12)
    with log.writer("u") as writer:
        writer.append(a_step(1, 1), Summary(), awaited=True)
    log.backup(target)
    with pytest.raises(BackupNotFound, match="compacted"):
        restore(target, tmp_path / "no", upto=Moment(lsn=2), generation=2)
    restore(target, tmp_path / "yes", upto=Moment(lsn=2))
    restore(target, tmp_path / "end", upto=Moment(lsn=early.lsn), generation=2)
    with Log.open(tmp_path / "end") as log_at_end:
        assert verify(log_at_end).ok
