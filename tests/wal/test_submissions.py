"""The table of handed-over runs: whose turn it is, what queues allow, and what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from walgraph import Log, LogCorrupt, MemoryLog
from walgraph.wal.codec import Encoder
from walgraph.wal.submission_layout import (
    HOLDING,
    WAITING,
    Queue,
    Submission,
    Wish,
    group_key,
    queue_key,
    row_key,
)
from walgraph.wal.submissions import Submissions
from walgraph.wal.tables import SUBMITTED
from walgraph.wal.verify import verify

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


@pytest.fixture(params=["memory", "lmdb"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Submissions]:
    """An empty table of each kind."""
    with MemoryLog() if request.param == "memory" else Log.open(tmp_path / "log.wal") as log:
        yield log.submissions(write=True)


def hand_over(table: Submissions, run: str, thread: str, queue: str = "q", priority: int = 0) -> Submission:
    """Hand a run over."""
    return table.submit(Submission(0, run, thread, "graph", queue, priority, b"given", b"digest", NOW))


def line(table: Submissions, now: int = NOW) -> list[str]:
    """Return who may start, in order."""
    return [each.run for each in table.waiting(lambda *_: True, now)]


def test_a_thread_stands_in_line_once(table: Submissions) -> None:
    """The next run of a thread takes its place behind all others when the one before has ended."""
    for run, thread in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")):
        hand_over(table, run, thread)
    assert line(table) == ["a1", "b1", "c1"]
    assert table.start("a2", since=0, now=NOW) is None
    assert table.start("a1", since=0, now=NOW) is not None
    assert line(table) == ["b1", "c1"]
    table.end("a1", "done", now=NOW)
    assert line(table) == ["b1", "c1", "a2"]


def test_a_run_that_waits_again_has_the_place_that_it_had(table: Submissions) -> None:
    """What was drained goes on before what came later."""
    hand_over(table, "a", "a")
    hand_over(table, "b", "b")
    table.start("a", since=7, now=NOW)
    table.requeue("a")
    assert line(table) == ["a", "b"]
    again = table.start("a", since=9, now=NOW + 5)
    assert again is not None
    assert (again.since, again.started_at) == (7, NOW)


def test_a_suspended_run_frees_its_place_and_keeps_its_thread(table: Submissions) -> None:
    """While it sleeps others of its queue may run, but no other run of its thread."""
    table.define(Queue("q", 1))
    hand_over(table, "a1", "a")
    hand_over(table, "a2", "a")
    hand_over(table, "b", "b")
    table.start("a1", since=0, now=NOW)
    assert line(table) == []
    table.suspend("a1")
    assert line(table) == ["b"]
    table.start("b", since=0, now=NOW)
    assert table.start("a1", since=0, now=NOW) is None
    table.end("b", "done", now=NOW)
    assert table.start("a1", since=0, now=NOW) is not None


def test_a_parked_run_holds_nothing_up_but_its_thread(table: Submissions) -> None:
    """Nobody finds it until it is released; then it goes on where it was in line."""
    hand_over(table, "a1", "a")
    hand_over(table, "a2", "a")
    table.start("a1", since=0, now=NOW)
    table.park("a1", "dies")
    assert (line(table), table.started()) == ([], [])
    table.requeue("a1")
    assert line(table) == ["a1"]


def test_a_rate_counts_first_starts_in_any_period(table: Submissions) -> None:
    """Two in a second; a run that goes on does not count, and a definition may be changed at any time."""
    table.define(Queue("q", None, (2, 1.0)))
    for run in "abc":
        hand_over(table, run, run)
    for run in "ab":
        assert table.start(run, since=0, now=NOW) is not None
    assert line(table) == []
    assert table.start("c", since=0, now=NOW + SECOND - 1) is None
    table.requeue("a")
    assert table.start("a", since=0, now=NOW) is not None
    assert line(table, NOW + SECOND) == ["c"]
    table.define(Queue("q"))
    assert line(table) == ["c"]


def test_a_clock_that_is_set_back_costs_a_period_at_most(table: Submissions) -> None:
    """Starts that seem to lie in the future count as now, and no longer than that."""
    table.define(Queue("q", None, (1, 1.0)))
    for run in "abc":
        hand_over(table, run, run)
    table.start("a", since=0, now=NOW)
    earlier = NOW - 3600 * SECOND
    assert table.start("b", since=0, now=earlier) is None
    assert table.start("b", since=0, now=earlier + SECOND) is not None


def test_ended_runs_are_forgotten_on_request(table: Submissions) -> None:
    """What ended before a moment goes, with its id; what has not ended stays."""
    for run in "abc":
        hand_over(table, run, "t")
    table.start("a", since=0, now=NOW)
    table.end("a", "done", now=NOW)
    table.start("b", since=0, now=NOW)
    table.end("b", "done", now=NOW + 10)
    assert table.forget(NOW + 5) == 1
    assert table.get("a") is None
    assert [each.run for each in table.all()] == ["b", "c"]
    assert table.end("a", "done", now=NOW) is None


def test_cancelling_ends_what_waits_and_what_is_idle(table: Submissions) -> None:
    """Of a thread at work only what waits is ended; of an idle one everything, or the one run that is named."""
    for run in ("a1", "a2", "a3"):
        hand_over(table, run, "a")
    table.start("a1", since=0, now=NOW)
    ended = table.cancel("a", "", is_idle=False, reason="why", now=NOW)
    assert sorted(each.run for each in ended) == ["a2", "a3"]
    assert table.cancel("a", "else", is_idle=True, reason="", now=NOW) == []
    assert [each.how for each in table.cancel("a", "a1", is_idle=True, reason="", now=NOW)] == ["cancelled"]
    assert (table.of_thread("a"), table.started()) == ([], [])


def test_wishes_and_tries_are_kept_until_they_are_dropped(table: Submissions) -> None:
    """They go with their thread."""
    table.wish(Wish("t", "", "why", NOW))
    table.note_try("t", 2, 9)
    assert table.wishes() == [Wish("t", "", "why", NOW)]
    assert table.tried("t").times == 2
    table.drop("t")
    assert (table.wishes(), table.tried("t").times) == ([], 0)


def test_long_names_are_told_apart(table: Submissions) -> None:
    """Names of any length, of runs, threads and queues, find what is theirs."""
    long = "x" * 5000
    hand_over(table, long + "1", long, long)
    hand_over(table, long + "2", long + "2", long)
    table.define(Queue(long, 1))
    assert line(table) == [long + "1", long + "2"]
    assert table.queues() == [Queue(long, 1)]
    found = table.get(long + "2")
    assert found is not None
    assert found.thread == long + "2"


def test_a_long_line_is_read_page_by_page(table: Submissions) -> None:
    """Hundreds of threads in several queues come out in the order of priority, then of coming."""
    for n in range(300):
        hand_over(table, f"r{n}", f"t{n}", f"q{n % 3}", priority=n % 2)
    assert line(table) == [f"r{n}" for n in range(0, 300, 2)] + [f"r{n}" for n in range(1, 300, 2)]
    assert len(list(table.unfinished({"waiting"}))) == 300


def test_damaged_rows_are_reported(table: Submissions) -> None:
    """A row that is not what was written raises instead of telling something else."""
    made = hand_over(table, "a", "a")
    table.define(Queue("q", 1))
    for key, read in ((row_key(made.number), lambda: table.get("a")), (queue_key("q"), table.queues)):
        with table._tables.write() as txn:
            data = txn.get(SUBMITTED, key)
            assert data is not None
            txn.put(SUBMITTED, key, data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(LogCorrupt):
            read()


def test_verify_finds_what_is_wrong_with_the_table(tmp_path: Path) -> None:
    """A whole table has no problem; a damaged row, a lost pointer and one that leads nowhere are each told."""
    with Log.open(tmp_path / "log.wal") as log:
        table = log.submissions(write=True)
        given = log_value({"x": 1})
        for run in "abc":
            table.submit(Submission(0, run, "t", "graph", "q", 0, given, b"digest", NOW))
        table.define(Queue("q", 2, (5, 1.0)))
        table.start("a", since=0, now=NOW)
        table.end("a", "done", result=given, now=NOW)
        table.start("b", since=0, now=NOW)
        table.note_try("t", 1, 1)
        assert verify(log, structure=False).problems == ()
        with table._tables.write() as txn:
            held = txn.keys(SUBMITTED, HOLDING, 1)[0]
            txn.delete(SUBMITTED, held)
            txn.put(SUBMITTED, group_key(WAITING, "q", "graph") + b"\x00" * 16, b"\x00" * 7 + b"\x09")
            key = row_key(3)
            txn.put(SUBMITTED, key, (txn.get(SUBMITTED, key) or b"")[:-1] + b"?")
        said = "\n".join(problem.what for problem in verify(log, structure=False).problems)
        assert "is missing" in said
        assert "leads to no run" in said
        assert "run number 3 is damaged" in said


def log_value(value: object) -> bytes:
    """Return an encoded value."""
    return Encoder().value(value, whole=True).data
