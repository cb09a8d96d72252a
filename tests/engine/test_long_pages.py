"""Functions that make very many calls: what these came to lies in pages of the log, and memory holds a bounded part."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from helpers import THREAD
from tools_helpers import told, wal

from walgraph import Log, LogCorrupt, NonDeterminism, entrypoint, interrupt, task
from walgraph.engine import recorder
from walgraph.replay import pages, paging
from walgraph.tools.testing import crash_everywhere

PAGE = 8
CALLS = 400


@pytest.fixture(autouse=True)
def small_pages() -> Iterator[None]:
    """Pages of 8 calls, and a look at them after every 16 records, so that 400 calls are many."""
    with (
        mock.patch.multiple(recorder, SNAPSHOT_RECORDS=16, PAGED_FROM=PAGE),
        mock.patch.multiple(paging, PAGE_OUTCOMES=PAGE),
        mock.patch.multiple(pages, RUN_LENGTH=4, KEPT_PAGES=4),
        mock.patch.multiple(paging, RUN_LENGTH=4),
    ):
        yield


class Program:
    """A function that makes calls in one of several ways, and fails at its end until it is told not to.

    Args:
        way: How graphs are called.
        log: The log.
        shape: How it calls.
    """

    def __init__(self, way: Any, log: Log | None, shape: str) -> None:
        self.ran = 0
        self.most = 0
        self.breaks = True
        self.left_out: object = None
        self.names: Callable[[int], str] = str
        self.log = log
        self.way = way

        @task
        @way.node
        def step(n):
            self.ran += 1
            return {"n": n}

        @task
        @way.flow
        def outer(n):
            first, second = yield [step(n), step(n)]
            return {"n": first["n"] + second["n"]}

        def one_by_one(calls):
            found = 0
            for n in range(calls):
                call = step.with_key(f"key {n}") if shape == "keyed" else outer if shape == "nested" else step
                if n != self.left_out:
                    (value,) = yield [call(n)]
                    found += value["n"]
                self.look()
            return (yield from self.end(found))

        def together(calls):
            found = 0
            for n in range(0, calls, 50):
                values = yield [step(n + more) for more in range(50)]
                found += sum(value["n"] for value in values)
                self.look()
            return (yield from self.end(found))

        self.flow = entrypoint(log)(way.flow(together if shape == "gathered" else one_by_one))

    def end(self, found: int) -> Iterator[Any]:
        """End, or fail."""
        yield []
        if self.breaks:
            raise ConnectionError
        return found

    def look(self) -> None:
        """Note how many outcomes are in memory."""
        from walgraph.engine.context import here

        outcomes = here().run.graph.outcomes
        self.most = max(self.most, sum(1 for _ in outcomes.recent()))
        self.pages = outcomes.pages

    def fail(self, durability: str = "async") -> None:
        """Run up to the failure at the end."""
        with pytest.raises(ConnectionError):
            self.way.invoke(self.flow, CALLS, durability=durability)

    def resume(self) -> Any:
        """Carry the run on to its end."""
        self.breaks = False
        return self.way.invoke(self.flow, None)


TOTAL = sum(range(CALLS))
SHAPES = {"plain": TOTAL, "keyed": TOTAL, "nested": 2 * TOTAL, "gathered": TOTAL}


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_holds_a_bounded_part_of_what_calls_came_to(way, tmp_path, shape, durability) -> None:
    """While it runs and when it is resumed; and a resume reads each page once and makes no call again."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        program = Program(way, log, shape)
        program.fail(durability)
        # At most what the budget of snapshots lets gather, and what fills no page.
        assert program.most <= 2 * program.ran // 3
        assert program.pages is not None
    with Log.open(tmp_path / "log", fsync="off") as log:
        again = Program(way, log, shape)
        assert again.resume() == SHAPES[shape]
        assert (again.ran, again.most <= program.most + PAGE) == (0, True)
        # Twice, where calls ended in another order than they began, or have keys: whether all were made is looked up.
        assert 0 < again.pages.reads <= len(again.pages.leaves) * (1 if shape == "plain" else 2)
    assert told("verify", tmp_path / "log")["ok"]


def test_what_is_asked_for_in_another_order_is_found(way, tmp_path) -> None:
    """Calls with keys may come in any order; no more than a few pages are in memory meanwhile."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        Program(way, log, "keyed").fail()
    with Log.open(tmp_path / "log", fsync="off") as log:
        ran = []

        @task
        @way.node
        def step(n):
            ran.append(n)
            return {"n": n}

        def one_by_one(calls):
            found = 0
            for n in reversed(range(calls)):
                (value,) = yield [step.with_key(f"key {n}")(n)]
                found += value["n"]
            return found

        assert way.invoke(entrypoint(log)(way.flow(one_by_one)), None) == TOTAL
        assert ran == []


@pytest.mark.parametrize("shape", ["plain", "keyed"])
def test_a_call_in_a_page_that_is_not_made_any_more_is_reported(way, tmp_path, shape) -> None:
    """A removed call is found at the end of its caller's body also where its outcome is not in memory."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        Program(way, log, shape).fail()
        again = Program(way, log, shape)
        again.left_out = 3 if shape == "keyed" else CALLS - 1
        with pytest.raises(NonDeterminism) as caught:
            again.resume()
        assert caught.value.details["path"][-1] == ("key 3" if shape == "keyed" else CALLS - 1)
        assert again.ran == 0


def named_pages(log: Log) -> set[bytes]:
    """The digests of the pages that the thread's newest snapshot names."""
    plain = log.decoder().value(log.snapshot("t")[1])
    return {reference.digest for reference, *_ in plain["scopes"][""]["pages"]}


def carried(how: str, path: Path, to: Path) -> Path:
    """Bring a log to another place, or change what it consists of; return where it is then."""
    match how:
        case "copy":
            with Log.open(path, fsync="off") as log:
                log.copy_thread("t", "other")
                log.delete_thread("t")
        case "export":
            assert wal("export", path, "-o", to / "lines").exit_code == 0
            assert wal("import", to / "log", "--from", to / "lines").exit_code == 0
            return to / "log"
        case "backup":
            assert wal("backup", path, to / "backups").exit_code == 0
            assert wal("restore", to / "backups", to / "log").exit_code == 0
            return to / "log"
        case "compact":
            assert wal("compact", path, "--apply").exit_code == 0
        case "repair":
            assert wal("repair", path, "--apply").exit_code in {0, 1}
    return path


@pytest.mark.parametrize("how", ["copy", "export", "backup", "compact", "repair"])
def test_pages_go_wherever_their_thread_goes(way, tmp_path, how) -> None:
    """What is copied, exported, backed up, compacted or repaired is carried on without a call made again."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        Program(way, log, "plain").fail()
    (tmp_path / "to").mkdir()
    path = carried(how, tmp_path / "log", tmp_path / "to")
    thread = "other" if how == "copy" else "t"
    with Log.open(path, fsync="off") as log:
        again = Program(way, log, "plain")
        again.breaks = False
        head = log.head(thread)
        assert head is not None
        assert head.snapshot_seq
        assert way.invoke(again.flow, None, {"configurable": {"thread_id": thread}}) == TOTAL
        assert again.ran == 0
        assert again.pages.reads
    assert told("verify", path)["ok"]


def test_pages_of_a_step_that_is_over_are_swept(way, tmp_path) -> None:
    """A compaction drops them once no snapshot names them, and leaves those of a step that is open."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        Program(way, log, "plain").fail()
        named = named_pages(log)
        assert len(named) >= CALLS // 2 // PAGE
    wal("compact", tmp_path / "log", "--apply")
    with Log.open(tmp_path / "log", fsync="off") as log:
        assert named <= set(log._core.store.digests())
        assert Program(way, log, "plain").resume() == TOTAL
        for _ in range(40):
            small = Program(way, log, "plain")
            small.breaks = False
            way.invoke(small.flow, 1)
    wal("compact", tmp_path / "log", "--apply")
    with Log.open(tmp_path / "log", fsync="off") as log:
        assert not named & set(log._core.store.digests())


def test_a_page_that_is_lost_is_an_error_and_no_second_call(way, tmp_path) -> None:
    """It is told which large value is missing; without the snapshot the records tell everything."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        Program(way, log, "plain").fail()
        store = log._core.store
        lost = min(named_pages(log))
        token = store.begin_sweep()
        assert store.sweep(token, lambda _: [lost]) == 1
        store.end_sweep(token)
    assert not told("verify", tmp_path / "log", code=1)["ok"]
    with Log.open(tmp_path / "log", fsync="off") as log:
        again = Program(way, log, "plain")
        with pytest.raises(LogCorrupt, match=lost.hex()):
            again.resume()
        assert again.ran == 0
    wal("repair", tmp_path / "log", "--apply")
    with Log.open(tmp_path / "log", fsync="off") as log:
        again = Program(way, log, "plain")
        assert (again.resume(), again.ran) == (TOTAL, 0)


def test_a_snapshot_that_replaces_one_which_is_not_stored_brings_its_pages(tmp_path) -> None:
    """Of two that wait for one commit the later stays; it names pages that came with the earlier one."""
    with Log.open(tmp_path / "log", fsync="off", flush_interval=30) as log:

        @task
        def step(n):
            return n

        @entrypoint(log)
        def flow(calls):
            found = [step(n).result() for n in range(calls)]
            return [interrupt("go on?"), found]

        flow.invoke(CALLS, THREAD, durability="async")
        stored = set(log._core.store.digests())
        assert named_pages(log) <= stored


def test_killed_anywhere_a_function_with_pages_ends_the_same() -> None:
    """Before and after every commit; recovery reads pages from the first snapshot on."""
    done: list[int] = []

    @task
    def step(n):
        done.append(n)
        return {"n": n}

    @task
    def pair(n):
        return step(n).result()["n"] + step(-n).result()["n"] + n

    @entrypoint()
    def flow(calls):
        found = [step(n).result()["n"] for n in range(calls)]
        found += [step.with_key(f"k{n}")(n).result()["n"] for n in range(calls)]
        return sum(found) + sum(pair(n).result() for n in range(calls))

    with (
        mock.patch.multiple(recorder, SNAPSHOT_RECORDS=1, SNAPSHOT_GROWTH=0, PAGED_FROM=2),
        mock.patch.multiple(paging, PAGE_OUTCOMES=2, RUN_LENGTH=2),
    ):
        report = crash_everywhere(flow, 5, outside=lambda: sorted(set(done)), reset=done.clear)
    assert report.kills >= 50
    # What ran again is what was running when the process died, and nothing that lay in a page.
    assert max(report.ran_again.values(), default=0) <= report.kills


def test_pages_are_read_on_an_event_loop_with_many_calls_at_once(tmp_path) -> None:
    """A parent that is tried again finds the children of its first attempt in pages."""
    attempts = []
    ran = []

    @task
    async def step(n):
        ran.append(n)
        return n

    @task(retry_policy=None)
    async def parent(calls):
        return sum(await asyncio.gather(*[step(n) for n in range(calls)]))

    with Log.open(tmp_path / "log", fsync="off") as log:

        @entrypoint(log)
        async def flow(calls):
            total = await parent(calls)
            attempts.append(total)
            if len(attempts) == 1:
                raise ConnectionError
            return operator.add(total, 1)

        with pytest.raises(ConnectionError):
            asyncio.run(flow.ainvoke(200, THREAD))
        assert asyncio.run(flow.ainvoke(None, THREAD)) == sum(range(200)) + 1
        assert sorted(ran) == list(range(200))
