"""Outcomes of transactional tasks in a database that SQLAlchemy speaks to.

    Engine       a connection of it for each call, given back afterwards         the function is given a Connection
    Connection   itself; closed afterwards                                       … the Connection
    Session      itself; closed afterwards                                       … the Session

Invariants:
1. It is loaded only for objects of SQLAlchemy's, so SQLAlchemy is there.
2. What is said in ``outcome_table`` holds here too.

It must not know tasks or logs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import exc, orm

from .errors import OutcomeTableError
from .outcome_table import TABLE, Held, Missing, Row, ended, not_ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

METADATA = sqlalchemy.MetaData()
OUTCOMES = sqlalchemy.Table(
    TABLE,
    METADATA,
    # Lengths are needed by some databases for keys; ids of threads may be of any length, so those are text.
    sqlalchemy.Column("key", sqlalchemy.String(64), primary_key=True),
    sqlalchemy.Column("thread", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("base", sqlalchemy.BigInteger, nullable=False),
    sqlalchemy.Column("name", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("call", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("digest", sqlalchemy.LargeBinary, nullable=False),
    sqlalchemy.Column("at", sqlalchemy.BigInteger, nullable=False),
    sqlalchemy.Column("outcome", sqlalchemy.LargeBinary, nullable=True),
)
CHUNK = 500
"""How many keys are named in one statement."""


def database_of(given: Any) -> Alchemy | None:
    """Return what an object of SQLAlchemy's connects to; None for one that does not connect, or not synchronously."""
    if isinstance(given, sqlalchemy.Engine):
        return Alchemy(given.connect())
    if isinstance(given, sqlalchemy.Connection | orm.Session):
        return Alchemy(given)
    if isinstance(given, orm.scoped_session):
        return Alchemy(given())
    return None


class Alchemy:
    """A connection or a session.

    Args:
        handed: What the user's function is given.

    Raises:
        OutcomeTableError: It is within a transaction.
    """

    def __init__(self, handed: sqlalchemy.Connection | orm.Session) -> None:
        self.handed: Any = handed
        self._guarded: sqlalchemy.Connection | None = None
        if handed.in_transaction():
            message = (
                "connect gave a connection or session within a transaction, which is somebody else's to end"
            )
            raise OutcomeTableError(message, hint="Give each call one of its own, or commit first.")

    @property
    def _connection(self) -> sqlalchemy.Connection:
        if isinstance(self.handed, orm.Session):
            return self.handed.connection()
        connection: sqlalchemy.Connection = self.handed
        return connection

    def begin(self) -> None:
        """Begin a transaction."""
        self.handed.begin()

    def hold(self, row: Row) -> None:
        """Put a row without an outcome."""
        try:
            self._connection.execute(OUTCOMES.insert().values(row._asdict()))
        except exc.IntegrityError as error:
            raise Held from error
        except (exc.OperationalError, exc.ProgrammingError) as error:
            self.rollback()
            with self._other() as other:
                if not sqlalchemy.inspect(other).has_table(TABLE):
                    raise Missing from error
                held = {column["name"] for column in sqlalchemy.inspect(other).get_columns(TABLE)}
            if held >= set(Row._fields):
                raise
            raise not_ours(sorted(set(Row._fields) - held)) from error

    def guard(self) -> None:
        """Refuse that the transaction is committed; that it was undone ``keep`` finds out."""
        self._guarded = self._connection
        sqlalchemy.event.listen(self._guarded, "commit", _refuse)

    def unguard(self) -> None:
        """Refuse nothing any more."""
        sqlalchemy.event.remove(self._guarded, "commit", _refuse)

    def refused(self, error: Exception) -> Exception | None:
        """Return nothing: what refuses raises what it means."""
        return None

    def keep(self, row: Row, outcome: bytes) -> None:
        """Put the outcome into the row that is held."""
        if isinstance(self.handed, orm.Session):
            self.handed.flush()
        statement = OUTCOMES.update().where(OUTCOMES.c.key == row.key).values(outcome=outcome)
        if self._connection.execute(statement).rowcount != 1:
            raise ended(row.name)

    def commit(self) -> None:
        """End the transaction."""
        self.handed.commit()

    def rollback(self) -> None:
        """Undo the transaction."""
        self.handed.rollback()

    def recall(self, key: str) -> Row | None:
        """Return the row with this key."""
        statement = sqlalchemy.select(*(OUTCOMES.c[name] for name in Row._fields)).where(
            OUTCOMES.c.key == key
        )
        found = self._connection.execute(statement).one_or_none()
        return None if found is None else Row(*found)

    def create(self) -> None:
        """Make the table; it is no error if somebody else just did."""
        with self._other() as other:
            try:
                METADATA.create_all(other)
                other.commit()
            except exc.DBAPIError:
                other.rollback()
                if not sqlalchemy.inspect(other).has_table(TABLE):
                    raise

    def rows(self) -> list[Row]:
        """Return all rows, without their outcomes."""
        with self._other() as other:
            if not sqlalchemy.inspect(other).has_table(TABLE):
                return []
            statement = sqlalchemy.select(*(OUTCOMES.c[name] for name in Row._fields[:-1]))
            return [Row(*found) for found in other.execute(statement)]

    def forget(self, keys: Sequence[str]) -> None:
        """Remove rows."""
        with self._other() as other:
            for start in range(0, len(keys), CHUNK):
                other.execute(OUTCOMES.delete().where(OUTCOMES.c.key.in_(keys[start : start + CHUNK])))
            other.commit()

    def close(self) -> None:
        """Give the connection back."""
        self.handed.close()

    @contextmanager
    def _other(self) -> Iterator[sqlalchemy.Connection]:
        """Yield a connection of its own, for what is no part of a call's transaction."""
        bind = self.handed.get_bind() if isinstance(self.handed, orm.Session) else self.handed.engine
        engine = bind if isinstance(bind, sqlalchemy.Engine) else bind.engine
        with engine.connect() as connection:
            yield connection


def _refuse(_: Any) -> None:
    """Refuse a commit."""
    raise ended("commit()")
