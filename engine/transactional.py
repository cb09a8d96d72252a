"""Tasks whose effect is a write to the user's own database: done exactly once, from end to end.

    @transactional(connect)
    def credit(connection, account, amount): ...        credit(account, amount)    a task like others

    all before it is durable ──► one transaction: hold the key ─► the function ─► its outcome ─► COMMIT ──► TaskFinished
                                                      │ the key is there: an earlier process died after its COMMIT
                                                      └──► the outcome that is there ─────────────────────► TaskFinished

The effect and what the call returned are one commit of the user's database. Whoever died before it has changed nothing,
and whoever died after it finds the outcome there when the task runs again, under the same idempotency key.

Invariants:
1. Everything that the key is made of is durable in the log before the transaction begins, in every mode, so that
   whoever takes the run up finds the key again.
2. A row is removed only when the log tells that nobody will look for it (``purge_outcomes``).
3. What cannot be written down is refused before the commit, and then nothing has happened.

It must not speak to a database itself (``outcome_table``).
"""

from __future__ import annotations

import functools
import inspect
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from ..replay.errors import NonDeterminism
from ..wal.codec import Decoder, Encoder
from . import clock
from .call import fingerprint
from .calling import TaskFunction
from .context import here
from .errors import InvalidGraph, OutcomeTableError
from .node import is_coroutine_function, name_of
from .outcome_table import Held, Missing, Row, Sqlite
from .policy import Policies
from .wish import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import timedelta

    from ..wal.log import Log
    from .context import TaskContext
    from .outcome_table import Database
    from .retry import RetryPolicy
    from .run import Run
    from .wish import Wish

P = ParamSpec("P")
R = TypeVar("R")
TRIES = 3
"""How often a transaction is begun that finds the table missing, or a row that is gone when it is looked for."""


class TransactionalTask(TaskFunction[P, R]):
    """A task whose effect and outcome are one commit of the user's database; made by ``transactional``."""

    def _attempts(self, *arguments: Any) -> Generator[Wish, Any, Any]:
        # What the key is made of must outlive this process, or the next one would not know what it has done.
        yield Note((), is_durable=True)
        return (yield from super()._attempts(*arguments))


class TransactionalDecorator(Protocol):
    """What ``transactional(connect)`` gives: it keeps the types of the function, but for its first parameter."""

    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> TransactionalTask[P, R]:
        """Return the task."""


def transactional(
    connect: Any, *, name: str | None = None, retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None
) -> TransactionalDecorator:
    """Return a decorator that makes a task of a function which writes to your own database, exactly once.

    The function is given a connection within a transaction, and then the arguments of the call. The transaction is
    committed when it returns, together with what it returned, in the table ``walgraph_outcomes``; it is undone when it
    raises. It must not end the transaction itself.

    Args:
        connect: A function that gives a ``sqlite3.Connection``, or SQLAlchemy's ``Engine``, ``Connection`` or
            ``Session``, which is closed after the call; or an ``Engine`` itself. It is called once for each attempt.
        name: What the log calls the task; the function's name if None.
        retry_policy: When and how often to try again if it raises; None for what the entrypoint was told.

    Returns:
        A decorator. What it makes is called like any ``@task``, without the connection.

    Raises:
        InvalidGraph: ``connect`` can open nothing, or the function takes no connection or is a coroutine function.
    """
    connector = _connector_of(connect)
    policies = Policies.of(retry_policy, None, None)

    def decorate(function: Callable[..., Any]) -> TransactionalTask[Any, Any]:
        called = name or name_of(function)
        return TransactionalTask(_once(function, called, connector), called, policies)

    return decorate


def purge_outcomes(connect: Any, log: Log, *, unknown_after: timedelta | None = None) -> int:
    """Remove outcomes from a database that nobody will look for any more, and return how many.

    Those are the outcomes of runs that are done, as the log durably tells. It can be called at any time, beside runs.

    Args:
        connect: What ``transactional`` was given.
        log: The log of the runs; a row of a thread that it does not hold is left alone.
        unknown_after: Remove rows of threads that the log does not hold, too, if they are older than that; only for a
            database that no other log's runs write to.

    Raises:
        InvalidGraph: ``connect`` can open nothing.
    """
    database = _connector_of(connect)()
    oldest = (
        None if unknown_after is None else clock.current.time_ns() - int(unknown_after.total_seconds() * 1e9)
    )
    try:
        rows = database.rows()
        heads = {thread: log.head(thread) if thread else None for thread in {row.thread for row in rows}}
        over: list[str] = []
        for row in rows:
            head = heads[row.thread]
            if head is None:
                is_over = oldest is not None and row.at < oldest
            else:
                is_over = head.status == "done" and row.base < head.seq
            if is_over:
                over.append(row.key)
        if over:
            database.forget(over)
    finally:
        database.close()
    return len(over)


def _once(function: Callable[..., Any], name: str, connector: Callable[[], Database]) -> Callable[..., Any]:
    """Return a function without the connection, which is called in a transaction."""
    parameters = list(inspect.signature(function).parameters.values())
    if is_coroutine_function(function):
        message = f"{name!r} is a coroutine function, and transactions are made in threads"
        raise InvalidGraph(message, hint="Make it a plain function; under ainvoke it runs in a thread.")
    if not parameters or parameters[0].kind not in {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    }:
        message = f"{name!r} takes no connection: a transactional function is given one as its first argument"
        raise InvalidGraph(message)

    @functools.wraps(function)
    def in_transaction(*args: Any, **kwargs: Any) -> Any:
        context = here(name)
        _, digest, call = fingerprint(name, args, kwargs)
        thread = context.run.thread
        row = Row(context.idempotency_key, thread, context.base, name, call, digest, clock.current.time_ns())
        for _ in range(TRIES):
            database = connector()
            try:
                found = _tried(
                    database, row, context, functools.partial(function, database.handed, *args, **kwargs)
                )
            finally:
                database.close()
            if found is not None:
                return found[0]
        message = f"the outcome of {name} in the database comes and goes; its key is {row.key}"
        raise OutcomeTableError(message, hint="Does something else write to the table walgraph_outcomes?")

    kept = parameters if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL else parameters[1:]
    in_transaction.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    del in_transaction.__wrapped__  # it has another signature
    return in_transaction


def _tried(
    database: Database, row: Row, context: TaskContext[Run], body: Callable[[], Any]
) -> tuple[Any] | None:
    """Return what the call returned, now or in an earlier process; None if it is to be tried again."""
    try:
        database.begin()
        try:
            database.hold(row)
        except Missing:
            database.rollback()
            database.create()
            return None
        except Held:
            database.rollback()
            return _recalled(database, row, context)
        with database.guarded():
            value = body()
        database.keep(row, Encoder().value(value, whole=True).data)
        database.commit()
    except BaseException:
        database.rollback()
        raise
    return (value,)


def _recalled(database: Database, row: Row, context: TaskContext[Run]) -> tuple[Any] | None:
    """Return what an earlier process came to.

    Raises:
        NonDeterminism: It made another call.
        OutcomeTableError: It left no outcome.
    """
    held = database.recall(row.key)
    if held is None:
        return None
    same_arguments = held.digest == row.digest or not held.digest or not row.digest
    if held.name != row.name or not same_arguments:
        recorded, attempted = (held.name, held.digest, held.call), (row.name, row.digest, row.call)
        message = (
            f"a task of thread {row.thread!r} with the key {row.key} was {held.name}{held.call} when it was committed "
            f"to the database, and now is {row.name}{row.call}; nothing was executed"
        )
        raise NonDeterminism(
            message,
            hint="What a task is called with must not depend on clock, randomness or changed code.",
            recorded=recorded,
            attempted=attempted,
            path=context.path,
        )
    if held.outcome is None:
        since = datetime.fromtimestamp(held.at / 1e9, UTC)
        message = f"the database holds {row.name}{row.call} since {since.isoformat()} without an outcome ({row.key})"
        raise OutcomeTableError(
            message,
            hint="Only a commit by somebody else can have left it; look what was done, and complete the row.",
        )
    return (Decoder(context.run.recorder.registry).value(held.outcome),)


def _connector_of(connect: Any) -> Callable[[], Database]:
    """Return what opens the user's database.

    Raises:
        InvalidGraph: It can open nothing.
    """
    is_engine = type(connect).__module__.partition(".")[0] == "sqlalchemy"
    if not callable(connect) and not is_engine:
        message = f"transactional() takes a function that connects to a database, not {connect!r}"
        raise InvalidGraph(message, hint="For example transactional(lambda: sqlite3.connect('shop.db')).")
    return lambda: _opened(connect)


def _opened(connect: Any) -> Database:
    """Connect, and return what is connected to.

    Raises:
        InvalidGraph: It is no database that can be used so.
    """
    given = connect() if callable(connect) else connect
    if isinstance(given, sqlite3.Connection):
        return Sqlite(given)
    if any(kind.__module__.partition(".")[0] == "sqlalchemy" for kind in type(given).__mro__):
        from .outcome_sqlalchemy import database_of

        found = database_of(given)
        if found is not None:
            return found
    kind = f"{type(given).__module__}.{type(given).__qualname__}"
    message = f"transactional() needs a database, and connect gave a {kind}"
    raise InvalidGraph(
        message,
        hint="It may give a sqlite3.Connection, or SQLAlchemy's Engine, Connection or Session (not their asyncio kin).",
    )
