"""Where transactional tasks keep their outcomes: a table in the user's own database.

    walgraph_outcomes    key      the call's idempotency key, the primary key
                         thread   its thread                base   the barrier that its step follows
                         name     what was called           call   a preview of the arguments
                         digest   of the arguments          at     nanoseconds since 1970
                         outcome  what it returned, as the log would hold it; NULL while its transaction is open

    begin ──► hold(row) ──► the user's function ──► keep(outcome) ──► commit
                 │ the key is there (a transaction that has it open is waited for)
                 └──► recall: the outcome that is there

The row is held before the function is called, so that of two processes with the same key one waits for the other.

Invariants:
1. Nobody but us ends the transaction: a function that tries is refused before it does.
2. The table is made when it is missing, in a transaction of its own.
3. What is not our table is not touched.

It must not know tasks or logs.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from .errors import OutcomeTableError, TransactionEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TABLE = "walgraph_outcomes"
T = TypeVar("T")


class Row(NamedTuple):
    """One call, as the table holds it."""

    key: str
    thread: str
    base: int
    name: str
    call: str
    digest: bytes
    at: int
    outcome: bytes | None = None


class Held(Exception):
    """The key is in the table already."""


class Missing(Exception):
    """The table is not there yet."""


class Database(Protocol):
    """One connection to the user's database, for one transaction at a time."""

    handed: Any
    """What the user's function is given."""

    def begin(self) -> None:
        """Begin a transaction."""

    def hold(self, row: Row) -> None:
        """Put a row without an outcome.

        Raises:
            Held: The key is there.
            Missing: The table is not.
        """

    def guard(self) -> None:
        """Refuse from here on that the transaction is ended."""

    def unguard(self) -> None:
        """Refuse it no more."""

    def refused(self, error: Exception) -> Exception | None:
        """Return the ``TransactionEnded`` that an error of the user's function stands for, if it does."""

    def keep(self, row: Row, outcome: bytes) -> None:
        """Put the outcome into the row that is held.

        Raises:
            TransactionEnded: It is not there any more.
        """

    def commit(self) -> None:
        """End the transaction."""

    def rollback(self) -> None:
        """Undo the transaction."""

    def recall(self, key: str) -> Row | None:
        """Return the row with this key."""

    def create(self) -> None:
        """Make the table; it is no error if somebody else just did."""

    def rows(self) -> list[Row]:
        """Return all rows, without their outcomes; none if there is no table."""

    def forget(self, keys: Sequence[str]) -> None:
        """Remove rows, in a transaction of their own."""

    def close(self) -> None:
        """Give the connection back."""


class Reached(Protocol):
    """A database that is reached from an event loop."""

    handed: Any
    """What the user's coroutine function is given."""

    async def begin(self) -> Database:
        """Connect, and return what has the steps, each of which ``run`` makes."""

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a step where the connection lives."""

    async def close(self) -> None:
        """Give the connection back."""


def ended(name: str) -> TransactionEnded:
    """Return the error of a function that is to end its transaction."""
    return TransactionEnded(
        f"{name} is to end the transaction of a transactional task; effect and outcome would not be one commit, so it "
        "was refused and everything is undone",
        hint="Leave it out: the transaction is committed when the function returns, and undone when it raises.",
    )


_CREATE = """
CREATE TABLE IF NOT EXISTS walgraph_outcomes (
    key TEXT NOT NULL PRIMARY KEY, thread TEXT NOT NULL, base INTEGER NOT NULL, name TEXT NOT NULL,
    call TEXT NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL, outcome BLOB
)
"""
_HOLD = """
INSERT INTO walgraph_outcomes (key, thread, base, name, call, digest, at, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_KEEP = "UPDATE walgraph_outcomes SET outcome = ? WHERE key = ?"
_RECALL = "SELECT key, thread, base, name, call, digest, at, outcome FROM walgraph_outcomes WHERE key = ?"
_ROWS = "SELECT key, thread, base, name, call, digest, at FROM walgraph_outcomes"
_FORGET = "DELETE FROM walgraph_outcomes WHERE key = ?"
_EXISTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'walgraph_outcomes'"
_TABLE_COLUMNS = "PRAGMA table_info(walgraph_outcomes)"


class Sqlite:
    """A connection of the standard library.

    Args:
        connection: The connection.

    Raises:
        OutcomeTableError: It is within a transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.handed: Any = connection
        self._connection = connection
        self._has_refused = False
        # Since Python 3.12 a connection may always be within a transaction that it began by itself.
        self._is_always_in = getattr(connection, "autocommit", None) is False
        if connection.in_transaction and not self._is_always_in:
            message = (
                "connect gave a connection that is within a transaction, which is somebody else's to end"
            )
            raise OutcomeTableError(message, hint="Give each call a connection of its own, or commit first.")

    def begin(self) -> None:
        """Begin a transaction, as the only one that writes."""
        if not self._connection.in_transaction:
            self._run("BEGIN IMMEDIATE")

    def hold(self, row: Row) -> None:
        """Put a row without an outcome."""
        try:
            self._run(_HOLD, row)
        except sqlite3.IntegrityError as error:
            raise Held from error
        except sqlite3.OperationalError as error:
            if self._has_table():
                raise self._not_ours(error) from error
            raise Missing from error

    def guard(self) -> None:
        """Refuse what would end the transaction: the database asks us about each statement."""
        self._has_refused = False

        def allow(action: int, *_: Any) -> int:
            if action != sqlite3.SQLITE_TRANSACTION:
                return sqlite3.SQLITE_OK
            self._has_refused = True
            return sqlite3.SQLITE_DENY

        self._connection.set_authorizer(allow)

    def unguard(self) -> None:
        """Refuse nothing any more."""
        self._connection.set_authorizer(None)

    def refused(self, error: Exception) -> Exception | None:
        """Return what an error of the database stands for, after it was refused to end the transaction."""
        is_ours = self._has_refused and isinstance(error, sqlite3.DatabaseError)
        return ended("a COMMIT, ROLLBACK or BEGIN") if is_ours else None

    def keep(self, row: Row, outcome: bytes) -> None:
        """Put the outcome into the row that is held."""
        if self._run(_KEEP, (outcome, row.key)).rowcount != 1:
            raise ended(row.name)

    def commit(self) -> None:
        """End the transaction."""
        self._run("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if it is still there."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def recall(self, key: str) -> Row | None:
        """Return the row with this key."""
        found = self._run(_RECALL, (key,)).fetchone()
        return None if found is None else Row(*found)

    def create(self) -> None:
        """Make the table."""
        self.begin()
        self._run(_CREATE)
        self.commit()

    def rows(self) -> list[Row]:
        """Return all rows, without their outcomes."""
        if not self._has_table():
            return []
        return [Row(*found) for found in self._run(_ROWS)]

    def forget(self, keys: Sequence[str]) -> None:
        """Remove rows."""
        self.begin()
        self._connection.executemany(_FORGET, [(key,) for key in keys])
        self.commit()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        cursor = self._connection.cursor()
        # The user's connection may make anything of rows, and we read tuples.
        cursor.row_factory = None
        return cursor.execute(statement, values)

    def _has_table(self) -> bool:
        return self._run(_EXISTS).fetchone() is not None

    def _not_ours(self, error: sqlite3.OperationalError) -> Exception:
        """Return what to raise of an error although there is a table: it is another, or the database is at fault."""
        held = {column[1] for column in self._run(_TABLE_COLUMNS)}
        return error if held >= set(Row._fields) else not_ours(sorted(set(Row._fields) - held))


def not_ours(lacking: Sequence[str]) -> OutcomeTableError:
    """Return the error of a table that has our name and lacks some of our columns."""
    message = f"the database has a table {TABLE} that is none of ours: it lacks {', '.join(lacking)}"
    return OutcomeTableError(message, hint="Rename it; walgraph makes its own when it is missing.")
