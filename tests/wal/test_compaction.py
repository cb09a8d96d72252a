"""Compaction: what may go goes, what is named stays, at every instant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from wal_helpers import a_step, end, heard, start, tell, write_steps

from walgraph.wal import Encoder, Log, LogInUse, MemoryLog, Summary, ThreadNotFound, compaction
from walgraph.wal.compaction import compact, shrink
from walgraph.wal.record import RunStarted
from walgraph.wal.verify import verify


@pytest.fixture(params=["memory", "lmdb"])
def log(request, tmp_path) -> Iterator[Log]:
    """An empty log of each kind."""
    made = MemoryLog() if request.param == "memory" else Log.open(tmp_path / "log", fsync="off")
    yield made
    made.close()


def with_steps(log: Log, thread: str = "t", steps: int = 10, value: object = None) -> None:
    """Write steps, one frame each, and a snapshot two steps before the end."""
    with log.writer(thread) as writer:
        for number in range(steps):
            writer.append(a_step(number, value), Summary(), awaited=True)
            writer.flush()
            if number == steps - 3:
                log.put_snapshot(thread, writer.seq, Encoder().value({"step": number, "value": value}))


def test_records_before_the_snapshot_go(log: Log) -> None:
    """What is left is the snapshot and all after it; the head knows the horizon."""
    with_steps(log)
    report = compact(log, {"t": 30})
    assert (report.frames, report.threads[0].records) == (8, 24)
    assert [stored.seq for stored in log.read("t")] == [25, 26, 27, 28, 29, 30]
    head = log.head("t")
    assert head is not None
    assert (head.horizon, head.frames, head.seq) == (24, 2, 30)
    assert (
        log.snapshot("t")[0],
        log.decoder().value(log.snapshot("t")[1]),
    ) == (24, {"step": 7, "value": None})
    with log.writer("t") as writer:
        write_steps(writer, 10, 11)
    assert verify(log).ok


def test_without_apply_nothing_changes(log: Log) -> None:
    """The report is the same, and the log is as it was."""
    with_steps(log, value="x" * 50_000)
    log.put_shared("y" * 50_000)
    log.flush()
    before = [list(log.read("t")), log.store.digests(), log.store.position()]
    planned = compact(log, {"t": 30}, apply=False)
    assert before == [list(log.read("t")), log.store.digests(), log.store.position()]
    done = compact(log, {"t": 30})
    assert planned._replace(applied=True) == done
    assert (done.frames, done.blobs) == (8, 1)


def test_nothing_is_cut_without_a_snapshot(log: Log) -> None:
    """A thread that cannot be rebuilt otherwise keeps everything; an unknown one is an error."""
    with log.writer("t") as writer:
        write_steps(writer, 0, 5)
    assert compact(log, {"t": 15}).threads == ()
    assert len(list(log.read("t"))) == 15
    with pytest.raises(ThreadNotFound):
        compact(log, {"nobody": 3})


def test_only_blobs_that_nobody_names_are_swept(log: Log) -> None:
    """Named by a record, by a snapshot, or through another blob: all of it stays."""
    nested = {"parts": ["a" * 40_000, "b" * 40_000], "more": list(range(20_000))}
    reference = log.put_shared("z" * 50_000)
    with log.writer("keep") as writer:
        writer.append([RunStarted("", 1, "r", nested, reference, "sync", 1, {})], Summary())
    with_steps(log, "cut", value="c" * 50_000)
    with_steps(log, "gone", value="g" * 50_000)
    log.delete_thread("gone")
    assert compact(log, {"cut": 30}).blobs == 1
    log._shared.clear()
    assert log.shared(reference) == "z" * 50_000
    assert [record.input for _, record in log.read("keep")] == [nested]
    assert log.decoder().value(log.snapshot("cut")[1])["value"] == "c" * 50_000
    assert verify(log).ok
    log.delete_thread("keep")
    assert compact(log).blobs >= 3
    assert verify(log).ok


@pytest.mark.parametrize("after", ["the candidates", "what is named"])
def test_a_value_that_comes_back_during_a_sweep_survives(
    after: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look and the removal a writer records the same large value again."""
    value = "v" * 50_000
    with_steps(log, "gone", value=value)
    log.delete_thread("gone")
    place, name = (log.store, "digests") if after == "the candidates" else (compaction, "named_blobs")
    look = getattr(place, name)

    def looked_and_written(*asked: Any) -> Any:
        found = look(*asked)
        monkeypatch.undo()
        with log.writer("new") as writer:
            writer.append(a_step(0, value), Summary())
        return found

    monkeypatch.setattr(place, name, looked_and_written)
    compact(log)
    assert verify(log).ok
    assert value == next(log.read("new")).record.writes[0][1]


def test_a_shared_value_swept_away_comes_back_with_its_next_use(log: Log) -> None:
    """This process still knows it, so a record that names it brings it along."""
    reference = log.put_shared({"graph": "x" * 50_000})
    log.flush()
    compact(log)
    with log.writer("t") as writer:
        writer.append([RunStarted("", 1, "r", None, reference, "sync", 1, {})], Summary())
    log._shared.clear()
    assert log.shared(reference) == {"graph": "x" * 50_000}
    assert verify(log).ok


def test_compaction_runs_beside_a_writer_in_another_process(tmp_path) -> None:
    """Both finish, and nothing that was recorded after the snapshot is missing."""
    process = start(
        """
        log = Log.open(path, fsync="off")
        writer = log.writer("t")
        number = 0
        while number < 400:
            writer.append(a_step(number, "x" * 33_000 + str(number % 7)), Summary(), awaited=True)
            writer.flush()
            number += 1
            if number % 40 == 0:
                log.put_snapshot("t", writer.seq, Encoder().value(number))
                log.flush()
                say(number)
        log.close()
        """,
        tmp_path / "log",
    )
    with_cut = 0
    while True:
        line = heard(process)
        if not line:
            break
        with Log.open(tmp_path / "log", fsync="off") as log:
            with_cut += compact(log, {"t": int(line) * 3}).frames
    assert end(process) == 0
    with Log.open(tmp_path / "log", fsync="off") as log:
        assert with_cut > 100
        assert log.head("t").seq == 1200
        assert verify(log).ok


def test_shrinking_gives_space_back(tmp_path) -> None:
    """The file gets smaller, and the log is the same."""
    path = tmp_path / "log"
    with Log.open(path, fsync="off") as log:
        for number in range(30):
            with_steps(log, f"t{number}", value=str(number) * 30_000)
        for number in range(29):
            log.delete_thread(f"t{number}")
        compact(log)
        kept = list(log.read("t29"))
        with pytest.raises(LogInUse):
            shrink(path)
    before, after = shrink(path)
    assert after < before / 4
    assert after == (path / "data.mdb").stat().st_size
    assert verify(path).ok
    with Log.open(path, fsync="off") as log:
        assert kept == list(log.read("t29"))
        with log.writer("t29") as writer:
            write_steps(writer, 10, 11)
        assert verify(log).ok


def test_a_log_in_use_elsewhere_is_not_shrunk(tmp_path) -> None:
    """The other process would go on writing to the file that was replaced."""
    process = start("log = Log.open(path)\nsay('open')\nlisten()", tmp_path / "log")
    assert heard(process) == "open"
    with pytest.raises(LogInUse):
        shrink(tmp_path / "log")
    tell(process)
    assert end(process) == 0
    shrink(tmp_path / "log")
