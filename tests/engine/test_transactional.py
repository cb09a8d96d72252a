"""Tasks whose effect and outcome are one commit of the user's database."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import sqlite3
import threading

import pytest
from effect_helpers import MODES, QUICKLY, Killed
from helpers import THREAD, Way, on
from sale_helpers import ASYNC_KINDS, SYNC_KINDS, Shop, dies_after_the_commit, memory_log, selling_one

from walgraph import (
    InvalidGraph,
    MemoryLog,
    NonDeterminism,
    NotSerializable,
    OutcomeTableError,
    TransactionEnded,
    entrypoint,
    purge_outcomes,
    task,
    transactional,
)
from walgraph.engine.outcome_table import TABLE

SYNC = Way("sync")
log = memory_log
KINDS = SYNC_KINDS + ASYNC_KINDS


@pytest.fixture(params=KINDS)
def any_shop(request, tmp_path):
    """A shop, reached in each way."""
    return Shop(request.param, tmp_path)


@pytest.fixture(
    params=[
        "sqlite sync",
        "sqlite async",
        "session sync",
        "session async",
        "aiosqlite async",
        "async session async",
    ]
)
def shop(request, tmp_path):
    """A shop, reached in ways that have little in common, by functions in threads and by coroutines."""
    kind, _, way = request.param.rpartition(" ")
    return Shop(kind, tmp_path, Way(way))


@pytest.fixture
def way(shop):
    """The way in which the shop's flow is called."""
    return shop.way


@pytest.fixture
def plain_shop(tmp_path):
    """A shop, reached by the standard library."""
    return Shop("sqlite", tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_effect_and_outcome_are_committed_together(any_shop, log, mode) -> None:
    """The table is made when it is missing, with one row for each call, under its idempotency key."""
    shop = any_shop
    flow = shop.flow(log)
    assert shop.way.invoke(flow, ["tea", "rice"], durability=mode) == ["sold tea", "sold rice"]
    assert shop.sales == ["tea", "rice"]
    assert sorted(shop.keys) == sorted(key for _, key in shop.calls)
    assert len(set(shop.keys)) == 2


def test_what_raises_has_no_effect(shop, way, log) -> None:
    """The transaction is undone, its row included; the call is simply made again."""
    flow = shop.flow(log)
    shop.fates.append(ValueError("no tea"))
    with pytest.raises(ValueError, match="no tea"):
        way.invoke(flow, ["tea"])
    assert shop.sales == []
    assert shop.keys == []
    assert way.invoke(flow, None) == ["sold tea"]
    assert shop.sales == ["tea"]


def test_policies_for_all_tasks_apply(shop, way, log) -> None:
    """Since nothing has happened when it raises, nothing speaks against trying again."""
    shop.fates += [ConnectionError(), ConnectionError()]
    flow = shop.flow(log, retry_policy=QUICKLY)
    assert way.invoke(flow, ["tea"]) == ["sold tea"]
    assert shop.sales == ["tea"]
    assert len(shop.calls) == 3


def test_who_died_after_the_commit_finds_the_outcome(shop, way, log, durability, monkeypatch) -> None:
    """The function is not called again, and the call returns what it had returned, of whatever type."""
    value = {"at": datetime.date(2026, 1, 2), "items": ("tea", 1), "large": ["x" * 100_000]}
    shop.fates.append(None)
    sell = transactional(shop.connect, name="sell")(functools.partial(shop.sell, value=value))
    flow = selling_one(log, sell, way)
    died = dies_after_the_commit(monkeypatch)
    with pytest.raises(Killed):
        way.invoke(flow, "tea", durability=durability)
    assert died == [1]
    assert shop.sales == ["tea"]
    assert way.invoke(flow, None, durability=durability) == value
    assert shop.sales == ["tea"]
    assert len(shop.calls) == 1


def test_another_call_under_a_committed_key_stops_the_run(shop, way, log, monkeypatch) -> None:
    """G9: changed arguments find what was committed in their place; nothing is executed."""
    died = dies_after_the_commit(monkeypatch)
    prices = iter([1, 2, 1])
    sell = transactional(shop.connect, name="sell")(shop.sell)

    @entrypoint(log)
    @way.flow
    def flow(what):
        return (yield sell(f"{what} at {next(prices)}"))

    with pytest.raises(Killed):
        way.invoke(flow, "tea")
    with pytest.raises(NonDeterminism, match="tea at 2"):
        way.invoke(flow, None)
    assert way.invoke(flow, None) == "sold tea at 1"
    assert died == [1]
    assert shop.sales == ["tea at 1"]


def ends_by(name):
    """Return what a function does to a database that is not its to do."""

    def end(database):
        if name == "with":
            with database:
                database.execute("SELECT 1")
        else:
            return getattr(database, name)()
        return None

    return end


@pytest.mark.parametrize("how", ["commit", "rollback", "with"])
def test_the_transaction_is_not_the_functions_to_end(any_shop, log, how) -> None:
    """It is refused before it happens, or undone; nothing is committed without its outcome."""
    if how == "with" and not any_shop.kind.startswith("sqlite"):
        pytest.skip("only the standard library's connections commit so")
    flow = any_shop.flow(log)
    any_shop.fates.append(ends_by(how))
    with pytest.raises(TransactionEnded, match="one commit"):
        any_shop.way.invoke(flow, ["tea"])
    assert any_shop.sales == []
    assert any_shop.keys == []
    assert any_shop.way.invoke(flow, None) == ["sold tea"]
    assert any_shop.sales == ["tea"]


def test_what_cannot_be_recorded_is_not_committed(shop, log) -> None:
    """The outcome is written down within the transaction."""
    sell = transactional(shop.connect, name="sell")(functools.partial(shop.sell, value=threading.Lock()))
    with pytest.raises(NotSerializable):
        shop.way.invoke(selling_one(log, sell, shop.way), "tea")
    assert shop.sales == []


@pytest.mark.parametrize("kind", ["sqlite", "engine", "aiosqlite", "async engine"])
def test_processes_with_one_key_wait_for_each_other(tmp_path, kind) -> None:
    """A stopped process that wakes up beside the one that took its run over finds the outcome, and does nothing."""
    shop = Shop(kind, tmp_path)
    inside, go = threading.Event(), threading.Event()

    def waits(_):
        inside.set()
        # It blocks its event loop too, as a stopped process does.
        go.wait(10)

    def run(log, told):
        flow = selling_one(log, transactional(shop.connect, name="sell")(shop.sell), shop.way)
        told.append(shop.way.invoke(flow, "tea"))

    told: list[str] = []
    # Two logs with threads of one name have the same keys: what two processes with one log would have.
    shop.way.invoke(shop.flow(MemoryLog()), ["table"], on("first"))
    shop.calls.clear()
    shop.fates.append(waits)
    runs = [threading.Thread(target=run, args=(MemoryLog(), told)) for _ in range(2)]
    runs[0].start()
    assert inside.wait(10)
    runs[1].start()
    go.set()
    for each in runs:
        each.join(30)
    assert told == ["sold tea", "sold tea"]
    assert [what for what, _ in shop.calls] == ["tea"]
    assert shop.sales.count("tea") == 1


def test_outcomes_of_runs_that_are_done_can_be_purged(shop, log) -> None:
    """What an unfinished run may still look for stays, and so does what belongs to another log."""
    flow, way = shop.flow(log), shop.way
    assert shop.purge(log) == 0
    way.invoke(flow, ["tea", "rice"], on("done"))
    shop.fates += [None, ValueError("no rice")]
    with pytest.raises(ValueError, match="no rice"):
        way.invoke(flow, ["tea", "rice"], on("failed"))
    (kept,) = [key for _, key in shop.calls[2:3]]
    assert shop.purge(log) == 2
    assert shop.keys == [kept]
    way.invoke(flow, None, on("failed"))
    log.delete_thread("failed")
    assert shop.purge(log) == 0
    assert shop.purge(log, unknown_after=datetime.timedelta(days=1)) == 0
    assert shop.purge(log, unknown_after=datetime.timedelta(0)) == 2
    assert shop.keys == []


def test_a_table_of_that_name_that_is_not_ours_is_left_alone(shop, log) -> None:
    """The error says what it lacks."""
    with contextlib.closing(sqlite3.connect(shop.path)) as plain:
        plain.execute(f"CREATE TABLE {TABLE} (mine TEXT)")
    with pytest.raises(OutcomeTableError, match="none of ours: it lacks at, base"):
        shop.way.invoke(shop.flow(log), ["tea"])
    assert shop.calls == []


def test_a_row_without_an_outcome_is_reported(plain_shop, log) -> None:
    """Only a commit that was not ours leaves one."""
    flow = plain_shop.flow(log)
    plain_shop.fates.append(ValueError())
    with pytest.raises(ValueError):
        SYNC.invoke(flow, ["tea"])
    with contextlib.closing(sqlite3.connect(plain_shop.path)) as plain:
        _, key = plain_shop.calls[0]
        plain.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (key)")
        row = (key, "t", 2, "sell", "('tea',)", b"", 1, None)
        plain.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        plain.commit()
    with pytest.raises(OutcomeTableError, match="without an outcome"):
        SYNC.invoke(flow, None)
    assert plain_shop.sales == []


def test_a_connection_within_a_transaction_is_refused(any_shop, log) -> None:
    """It is not ours to commit."""
    if any_shop.kind in {"engine", "async engine", "sqlite, autocommit"}:
        pytest.skip("such a connection is begun on purpose only")
    connect = any_shop.connect

    opened = []

    def begun():
        database = connect()
        any_shop.insert(database, "theirs")
        return database

    async def abegun():
        database = connect()
        if any_shop.kind != "async session":
            await database
        opened.append(database)
        await any_shop.insert(database, "theirs")
        return database

    async def sold():
        with pytest.raises(OutcomeTableError, match="within a transaction"):
            await any_shop.flow(log).ainvoke(["tea"], THREAD)
        for database in opened:
            await database.close()

    if any_shop.is_async:
        any_shop.connect = abegun
        asyncio.run(sold())
        return
    any_shop.connect = begun
    with pytest.raises(OutcomeTableError, match="within a transaction"):
        SYNC.invoke(any_shop.flow(log), ["tea"])


def test_rows_may_be_made_into_anything(plain_shop, log, monkeypatch) -> None:
    """What the user's connection does with rows is not what we read them by."""
    connect = plain_shop.connect

    def odd():
        database = connect()
        database.row_factory = lambda *found: {"row": found[1]}
        return database

    plain_shop.connect = odd
    flow = plain_shop.flow(log)
    dies_after_the_commit(monkeypatch)
    with pytest.raises(Killed):
        SYNC.invoke(flow, ["tea"])
    assert SYNC.invoke(flow, None) == ["sold tea"]
    assert purge_outcomes(odd, log) == 1


BAD = [
    (lambda: transactional("shop.db"), "takes a function that connects"),
    (lambda: transactional(lambda: None)(lambda: None), "takes no connection"),
]


@pytest.mark.parametrize(("make", "text"), BAD, ids=[text for _, text in BAD])
def test_what_makes_no_sense_is_refused_where_it_is_written(make, text) -> None:
    """Not when it would be called."""
    with pytest.raises(InvalidGraph, match=text):
        make()


def test_what_is_no_database_is_refused(log) -> None:
    """The error says what was given, and what may be."""
    sell = transactional(lambda: 5)(print)

    @entrypoint(log)
    @SYNC.flow
    def flow(x):
        yield sell()

    with pytest.raises(InvalidGraph, match=r"gave a builtins\.int"):
        SYNC.invoke(flow, 1)


@pytest.mark.parametrize("kind", ["engine", "async engine"])
def test_an_engine_may_be_given_as_it_is(tmp_path, log, kind) -> None:
    """It makes a connection for each call."""
    shop = Shop(kind, tmp_path)
    engine = shop.connect()
    shop.connect = engine
    assert shop.way.invoke(shop.flow(log), ["tea"]) == ["sold tea"]
    assert shop.sales == ["tea"]
    if not shop.is_async:
        engine.dispose()


def test_it_can_be_called_within_a_task_and_injected(shop, way, log) -> None:
    """It is a task like others: below another, with what is injected into tasks, and a name of its own."""

    def named(what, config):
        return f"{what} on {config['configurable']['thread_id']}"

    def sell_here(database, what, *, config):
        return shop.sell(database, named(what, config))

    async def asell_here(database, what, *, config):
        return await shop.sell(database, named(what, config))

    sell = transactional(shop.connect, name="sell")(asell_here if shop.is_async else sell_here)

    @task
    @way.flow
    def around(what):
        return (yield sell(what))

    @entrypoint(log)
    @way.flow
    def flow(what):
        return (yield around(what))

    assert sell.name == "sell"
    assert way.invoke(flow, "tea") == "sold tea on t"
    assert shop.sales == ["tea on t"]
