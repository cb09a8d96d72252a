"""Transactional coroutine functions: cancelled at each step, beside each other, and connected to the wrong world."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import threading

import aiosqlite
import pytest
import sqlalchemy
from helpers import THREAD, Way, on, steps_of
from sale_helpers import ASYNC_KINDS, Shop, memory_log, selling_one
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as alchemy

from walgraph import InvalidGraph, MemoryLog, apurge_outcomes, entrypoint, purge_outcomes, transactional
from walgraph.engine.outcome_sqlalchemy import Alchemy
from walgraph.engine.outcome_table import TABLE, Sqlite

SYNC, ASYNC = Way("sync"), Way("async")
log = memory_log


@pytest.fixture(params=ASYNC_KINDS)
def shop(request, tmp_path):
    """A shop, reached in each way that there is for coroutines."""
    return Shop(request.param, tmp_path)


def tables(shop):
    """Return which tables there are."""
    return shop.asked("SELECT name FROM sqlite_master WHERE type = 'table'")


async def cancelled(flow, given):
    """Call a flow that will be cancelled meanwhile."""
    with pytest.raises(asyncio.CancelledError):
        await flow.ainvoke(given, THREAD)


def test_a_body_that_is_cancelled_has_no_effect(shop, log) -> None:
    """The transaction is undone, its row included, and the call is made again when the run is resumed."""
    flow = shop.flow(log)

    async def cancelling():
        task = asyncio.current_task()
        assert task is not None

        def waits(_):
            task.cancel()
            return asyncio.sleep(60)

        shop.fates += [None, waits]
        await cancelled(flow, ["tea", "rice"])

    asyncio.run(cancelling())
    assert shop.sales == ["tea"]
    assert len(shop.keys) == 1
    assert ASYNC.invoke(flow, None) == ["sold tea", "sold rice"]
    assert shop.sales == ["tea", "rice"]
    assert [what for what, _ in shop.calls] == ["tea", "rice", "rice"]


STEPS = {
    # What is cancelled there, whether it is sold then, and how often the function was called in the end.
    "begin": (False, 1),
    "hold": (False, 1),
    "keep": (True, 1),
    "guard": (False, 1),
    "commit": (True, 1),
    "rollback": (False, 2),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["aiosqlite", "async session"])
def test_a_transaction_is_cancelled_as_a_whole_or_not_at_all(tmp_path, log, monkeypatch, kind, step) -> None:
    """What was cancelled while it was committed is recorded as what it came to; else nothing has happened."""
    shop = Shop(kind, tmp_path)
    flow = shop.flow(log)
    ASYNC.invoke(shop.flow(MemoryLog()), ["first"], on("first"))
    shop.calls.clear()
    database = Alchemy if kind == "async session" else Sqlite
    made, left = getattr(database, step), [1]
    if step == "rollback":
        shop.fates.append(ValueError("no tea"))

    async def cancelling():
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def cancels(self, *arguments):
            if left:
                left.clear()
                if kind == "async session":
                    task.cancel()
                else:
                    arrived = threading.Event()
                    loop.call_soon_threadsafe(lambda: (task.cancel(), loop.call_later(0.01, arrived.set)))
                    arrived.wait(10)
            return made(self, *arguments)

        monkeypatch.setattr(database, step, cancels)
        await cancelled(flow, ["tea"])

    asyncio.run(cancelling())
    is_sold, calls = STEPS[step]
    assert shop.sales == (["first", "tea"] if is_sold else ["first"])
    assert len(shop.keys) == 1 + is_sold
    assert ("TaskFinished" in steps_of(log)) == is_sold
    assert ASYNC.invoke(flow, None) == ["sold tea"]
    assert shop.sales == ["first", "tea"]
    assert len(shop.calls) == calls


def test_calls_beside_each_other_are_each_a_transaction(shop, log) -> None:
    """Who has to wait for the database waits off the event loop, so that the other can go on."""
    sell = transactional(shop.connect, name="sell")(shop.sell)
    things = ["tea", "rice", "salt"]
    shop.fates += [lambda _: asyncio.sleep(0.01)] * 3

    @entrypoint(log)
    async def flow(things):
        return await asyncio.gather(*(sell(thing) for thing in things))

    assert ASYNC.invoke(flow, things) == [f"sold {thing}" for thing in things]
    assert sorted(shop.sales) == sorted(things)
    assert len(shop.keys) == 3


def test_what_connects_may_be_a_coroutine_function_a_factory_or_a_registry(tmp_path, log) -> None:
    """A connection that is begun is taken as it is."""
    shop = Shop("async session", tmp_path)
    factory = alchemy.async_sessionmaker(
        alchemy.create_async_engine(f"sqlite+aiosqlite:///{shop.path}", poolclass=sqlalchemy.NullPool)
    )

    async def connect():
        return factory()

    scoped = alchemy.async_scoped_session(factory, scopefunc=lambda: 0)
    for at, connects in enumerate((connect, factory, lambda: scoped)):
        sell = transactional(connects, name="sell")(shop.sell)
        assert ASYNC.invoke(selling_one(log, sell, ASYNC), "tea", on(f"run {at}")) == "sold tea"
    plain = Shop("aiosqlite", tmp_path)

    async def begun():
        return await plain.connect()

    sell = transactional(begun, name="sell")(plain.sell)
    assert ASYNC.invoke(selling_one(log, sell, ASYNC), "tea") == "sold tea"
    assert shop.sales == ["tea"] * 4
    assert asyncio.run(apurge_outcomes(factory, log)) == 4


def plain_function(database, what):
    """Is called in a thread."""


async def coroutine_function(database, what):
    """Is called on an event loop."""


async def connects_later():
    """Connect, on an event loop."""


ENGINE = sqlalchemy.create_engine("sqlite://")
ASYNC_ENGINE = alchemy.create_async_engine("sqlite+aiosqlite://")
FOR_THREADS = [ENGINE, orm.sessionmaker(ENGINE), functools.partial(sqlite3.connect, "shop.db")]
FOR_LOOPS = [
    ASYNC_ENGINE,
    alchemy.async_sessionmaker(ASYNC_ENGINE),
    functools.partial(aiosqlite.connect, "shop.db"),
    connects_later,
]
MIXED = [(coroutine_function, connect) for connect in FOR_THREADS] + [
    (plain_function, connect) for connect in FOR_LOOPS
]


@pytest.mark.parametrize(("function", "connect"), MIXED, ids=map(str, range(len(MIXED))))
def test_a_function_and_a_database_of_two_worlds_are_refused_where_they_meet(function, connect) -> None:
    """As far as what connects says what it is, before anything is called; the hint says what fits."""
    with pytest.raises(InvalidGraph, match=f"of '{function.__name__}'") as refused:
        transactional(connect)(function)
    assert ("aiosqlite" in refused.value.hint) or "async def" in refused.value.hint


@pytest.mark.parametrize("kind", ["sqlite", "engine", "connection", "session"])
def test_a_coroutine_function_is_given_no_database_for_threads(tmp_path, log, kind) -> None:
    """What only shows when it connects is refused before a step is made, and is closed."""
    shop, other = Shop(kind, tmp_path), Shop("aiosqlite", tmp_path)
    sell = transactional(shop.connect, name="sell")(other.sell)
    with pytest.raises(InvalidGraph, match="needs an asynchronous database"):
        ASYNC.invoke(selling_one(log, sell, ASYNC), "tea")
    assert other.calls == []
    assert tables(shop) == ["sales"]


@pytest.mark.parametrize("kind", [*ASYNC_KINDS, "a coroutine"])
@pytest.mark.parametrize("way", [SYNC, ASYNC], ids=repr)
def test_a_plain_function_is_given_no_database_for_event_loops(tmp_path, log, kind, way) -> None:
    """Not in a thread of an asynchronous run either; nothing is left open."""
    shop, other = Shop(kind, tmp_path), Shop("sqlite", tmp_path)
    connect = (lambda: connects_later()) if kind == "a coroutine" else shop.connect  # noqa: PLW0108 - it does not tell what it is
    sell = transactional(connect, name="sell")(other.sell)
    with pytest.raises(InvalidGraph, match="needs a database"):
        way.invoke(selling_one(log, sell, way), "tea")
    assert other.calls == []
    assert tables(shop) == ["sales"]


def test_a_coroutine_function_is_not_called_from_synchronous_code(shop, log) -> None:
    """As for any task; nothing is recorded, and the database has no table of ours."""
    sell = transactional(shop.connect, name="sell")(shop.sell)
    with pytest.raises(RuntimeError, match="async tasks cannot be called"):
        SYNC.invoke(selling_one(log, sell, SYNC), "tea")
    assert TABLE not in tables(shop)


@pytest.mark.parametrize(
    "given", [5, aiosqlite.Cursor(aiosqlite.connect("no.db"), None)], ids=["a number", "a cursor"]
)
def test_what_is_no_asynchronous_database_is_refused(log, given) -> None:
    """The error says what was given."""
    sell = transactional(lambda: given, name="sell")(coroutine_function)
    with pytest.raises(InvalidGraph, match=rf"gave a {type(given).__module__}\.{type(given).__name__}"):
        ASYNC.invoke(selling_one(log, sell, ASYNC), "tea")


def test_outcomes_are_purged_in_the_world_that_they_are_reached_in(log) -> None:
    """Each of the two says when the other is meant."""
    with pytest.raises(InvalidGraph, match="needs a database"):
        purge_outcomes(ASYNC_ENGINE, log)
    with pytest.raises(InvalidGraph, match="needs an asynchronous database"):
        asyncio.run(apurge_outcomes(ENGINE, log))


def test_what_a_session_has_not_flushed_is_part_of_the_commit(tmp_path, log) -> None:
    """Objects that were only added are written before the outcome is."""
    shop, mapping = Shop("async session", tmp_path), orm.registry()

    class Sale:
        """A row of the table of sales."""

        def __init__(self, what):
            self.what = what

    table = sqlalchemy.Table(
        "sales", mapping.metadata, sqlalchemy.Column("what", sqlalchemy.Text, primary_key=True)
    )
    mapping.map_imperatively(Sale, table)

    @transactional(shop.connect)
    async def sell(session, what):
        session.add(Sale(what))

    ASYNC.invoke(selling_one(log, sell, ASYNC), "tea")
    assert shop.sales == ["tea"]
    assert len(shop.keys) == 1
