"""A shop that sells through transactional tasks: its database is reached in each way there is, and asked afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sqlite3

import aiosqlite
import pytest
import sqlalchemy
from effect_helpers import Killed
from helpers import Way
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from walgraph import MemoryLog, apurge_outcomes, entrypoint, idempotency_key, purge_outcomes, transactional
from walgraph.engine.outcome_table import TABLE

SYNC_KINDS = ["sqlite", "sqlite, autocommit", "engine", "connection", "session"]
ASYNC_KINDS = ["aiosqlite", "async engine", "async connection", "async session"]


@pytest.fixture
def memory_log():
    """A strict log in memory; what is on disk is for the tests of crashes."""
    with MemoryLog(strict=True) as opened:
        yield opened


class Shop:
    """A database with a table of sales, reached in one of the ways there are, and a flow that sells.

    Args:
        kind: The way.
        folder: Where the database is.
        way: How the flow is called; as fits the database if None.
    """

    def __init__(self, kind, folder, way=None):
        self.path = folder / "shop.db"
        self.kind = kind
        self.is_async = kind in ASYNC_KINDS
        self.way = way or Way("async" if self.is_async else "sync")
        self.calls = []
        self.fates = []
        self.sell = self._asell if self.is_async else self._sell
        with contextlib.closing(sqlite3.connect(self.path)) as plain:
            plain.execute("CREATE TABLE IF NOT EXISTS sales (what TEXT)")

    def connect(self):
        """Return a connection, a session or an engine."""
        if "sqlite" in self.kind:
            level = None if "autocommit" in self.kind else ""
            connect = aiosqlite.connect if self.is_async else sqlite3.connect
            return connect(self.path, isolation_level=level, timeout=30)
        if self.is_async:
            # A connection that is kept belongs to an event loop, and each call of a flow has its own.
            engine = create_async_engine(f"sqlite+aiosqlite:///{self.path}", poolclass=sqlalchemy.NullPool)
        else:
            engine = sqlalchemy.create_engine(f"sqlite:///{self.path}")
        if self.kind.endswith("engine"):
            return engine
        if self.kind.endswith("connection"):
            return engine.connect()
        return async_sessionmaker(engine)() if self.is_async else orm.Session(engine)

    def insert(self, database, what):
        """Write a sale; to be awaited if the database is."""
        if "sqlite" in self.kind:
            return database.execute("INSERT INTO sales VALUES (?)", (what,))
        return database.execute(sqlalchemy.text("INSERT INTO sales VALUES (:what)"), {"what": what})

    def _sell(self, database, what, *, value=None):
        """Write a sale; and meet one's fate, if there is one."""
        self.calls.append((what, idempotency_key()))
        self.insert(database, what)
        self._met(database)
        return f"sold {what}" if value is None else value

    async def _asell(self, database, what, *, value=None):
        """Write a sale; and meet one's fate, if there is one."""
        self.calls.append((what, idempotency_key()))
        await self.insert(database, what)
        met = self._met(database)
        if inspect.isawaitable(met):
            await met
        return f"sold {what}" if value is None else value

    def _met(self, database):
        fate = self.fates.pop(0) if self.fates else None
        if callable(fate):
            return fate(database)
        if fate is not None:
            raise fate
        return None

    def asked(self, statement):
        """Return what the database answers."""
        with contextlib.closing(sqlite3.connect(self.path)) as plain:
            return [row[0] for row in plain.execute(statement)]

    @property
    def sales(self):
        """What was sold."""
        return self.asked("SELECT what FROM sales")

    @property
    def keys(self):
        """The keys of the outcomes that are kept."""
        return self.asked(f"SELECT key FROM {TABLE}")

    def flow(self, log, **options):
        """Return an entrypoint that sells what it is given, one after another."""
        sell = transactional(self.connect, name="sell", **options)(self.sell)

        @entrypoint(log)
        @self.way.flow
        def flow(things):
            told = []
            for thing in things:
                sold = yield sell(thing)
                told += [sold]
            return told

        return flow

    def purge(self, log, **options):
        """Remove outcomes that nobody will look for."""
        if self.is_async:
            return asyncio.run(apurge_outcomes(self.connect, log, **options))
        return purge_outcomes(self.connect, log, **options)


def dies_after_the_commit(monkeypatch):
    """Let the next transactional call die between its commit and its record."""
    from walgraph.engine import transactional as module

    tried, died = module._tried, []

    def deadly(*arguments):
        found = yield from tried(*arguments)
        if found is not None and not died:
            died.append(1)
            raise Killed
        return found

    monkeypatch.setattr(module, "_tried", deadly)
    return died


def selling_one(log, sell, way):
    """Return an entrypoint that makes one call."""

    @entrypoint(log)
    @way.flow
    def flow(what):
        return (yield sell(what))

    return flow
