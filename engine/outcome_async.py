"""Databases that are reached from an event loop: each step is made where the connection lives.

    aiosqlite.Connection           its thread         the function is given the Connection
    AsyncEngine                    a greenlet         … an AsyncConnection of it, given back afterwards
    AsyncConnection, AsyncSession  a greenlet         … itself; closed afterwards

Both are proxies of what ``outcome_table`` and ``outcome_sqlalchemy`` know, so their steps are made as they are.

Invariants:
1. It is loaded only for objects of aiosqlite's or SQLAlchemy's, so that package is there.
2. A connection that is given before it is begun is begun here; one that is begun is taken as it is.

It must not know tasks or logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .outcome_table import Sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from .outcome_table import Database, Reached

T = TypeVar("T")


def reached_of(given: Any) -> Reached | None:
    """Return what reaches an asynchronous database; None for an object that is none."""
    if any(kind.__module__.partition(".")[0] == "aiosqlite" for kind in type(given).__mro__):
        import aiosqlite

        return Threaded(given) if isinstance(given, aiosqlite.Connection) else None
    from sqlalchemy.ext import asyncio

    if isinstance(given, asyncio.async_scoped_session):
        given = given()
    elif isinstance(given, asyncio.AsyncEngine):
        given = given.connect()
    return Spawned(given) if isinstance(given, asyncio.AsyncConnection | asyncio.AsyncSession) else None


class _Proxy:
    """What the user's function is given, and we make our steps through."""

    def __init__(self, handed: Any) -> None:
        self.handed: Any = handed

    async def close(self) -> None:
        """Give the connection back, and end its thread if it has one."""
        await self.handed.close()


class Threaded(_Proxy):
    """A connection of aiosqlite's."""

    async def begin(self) -> Database:
        """Begin the connection's thread, if that is not done.

        Raises:
            OutcomeTableError: It is within a transaction.
        """
        connection = self.handed
        try:
            connection.in_transaction  # noqa: B018 - it raises if the connection is not begun
        except ValueError:
            await connection
        # What it stands for is asked for by its private name, as its own cursors and SQLAlchemy do: there is no other.
        return Sqlite(connection._conn)  # noqa: SLF001

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a step in the connection's thread."""
        result: T = await self.handed._execute(function, *arguments)  # noqa: SLF001
        return result


class Spawned(_Proxy):
    """A connection or session of SQLAlchemy's."""

    async def begin(self) -> Database:
        """Begin the connection, if that is not done.

        Raises:
            OutcomeTableError: It is within a transaction.
        """
        from sqlalchemy.ext.asyncio import AsyncConnection

        from .outcome_sqlalchemy import Alchemy

        handed = self.handed
        # A session begins by itself.
        if isinstance(handed, AsyncConnection) and handed.sync_connection is None:
            await handed
        database: Database = await handed.run_sync(Alchemy)
        return database

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a step in a greenlet, where what it waits for is awaited."""
        result: T = await self.handed.run_sync(lambda _: function(*arguments))
        return result
