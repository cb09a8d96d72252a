"""Tasks whose effect is a write to the user's own database: done exactly once, from end to end.

    @transactional(connect)
    def credit(connection, account, amount): ...        credit(account, amount)    a task like others
    async def credit(connection, …): ...                await credit(account, amount)    on an event loop

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
4. Functions in threads and coroutine functions take the same steps (``outcome_steps``), and find each other's outcomes.

It must not speak to a database itself (``outcome_table``).
"""

from __future__ import annotations

import functools
import inspect
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
from .outcome_steps import (
    Body,
    Close,
    Do,
    Finish,
    Open,
    acarry_out,
    carry_out,
    check_connect,
    check_connectable,
)
from .outcome_table import Held, Missing, Row
from .policy import Policies
from .wish import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import timedelta

    from ..wal.log import Log
    from .context import TaskContext
    from .outcome_steps import Step
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
    raises or is cancelled. It must not end the transaction itself.

    Args:
        connect: A function that gives a ``sqlite3.Connection``, or SQLAlchemy's ``Engine``, ``Connection`` or
            ``Session``, which is closed after the call; or an ``Engine`` itself. For a coroutine function: one that
            gives an ``aiosqlite.Connection``, or SQLAlchemy's ``AsyncEngine``, ``AsyncConnection`` or
            ``AsyncSession`` (an ``async_sessionmaker`` does), which may be a coroutine function; or an ``AsyncEngine``
            itself. It is called once for each attempt.
        name: What the log calls the task; the function's name if None.
        retry_policy: When and how often to try again if it raises; None for what the entrypoint was told.

    Returns:
        A decorator. What it makes is called like any ``@task``, without the connection.

    Raises:
        InvalidGraph: ``connect`` can open nothing, or the function takes no connection, or one is for event loops and
            the other is not; what only shows when ``connect`` is called is refused then, before a step is made.
    """
    check_connectable(connect)
    policies = Policies.of(retry_policy, None, None)

    def decorate(function: Callable[..., Any]) -> TransactionalTask[Any, Any]:
        called = name or name_of(function)
        return TransactionalTask(_once(function, called, connect), called, policies)

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
        InvalidGraph: ``connect`` can open nothing, or what only coroutine functions can use.
    """
    check_connect(connect, is_async=False)
    return carry_out(_purged(log, unknown_after), connect)


async def apurge_outcomes(connect: Any, log: Log, *, unknown_after: timedelta | None = None) -> int:
    """Do what ``purge_outcomes`` does, with what connects for coroutine functions.

    Raises:
        InvalidGraph: ``connect`` can open nothing, or what only plain functions can use.
    """
    check_connect(connect, is_async=True)
    return await acarry_out(_purged(log, unknown_after), connect)


def _purged(log: Log, unknown_after: timedelta | None) -> Generator[Step, Any, int]:
    """Remove what nobody will look for, and return how much it was."""
    oldest = (
        None if unknown_after is None else clock.current.time_ns() - int(unknown_after.total_seconds() * 1e9)
    )
    database = yield Open()
    try:
        rows = yield Do(database.rows)
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
            yield Do(database.forget, (over,))
    finally:
        yield Close()
    return len(over)


def _once(function: Callable[..., Any], name: str, connect: Any) -> Callable[..., Any]:
    """Return a function without the connection, which is called in a transaction."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    }:
        message = f"{name!r} takes no connection: a transactional function is given one as its first argument"
        raise InvalidGraph(message)
    is_async = is_coroutine_function(function)
    check_connect(connect, name, is_async=is_async)

    def in_transaction(*args: Any, **kwargs: Any) -> Any:
        return carry_out(
            _steps(name, args, kwargs), connect, lambda handed: function(handed, *args, **kwargs)
        )

    async def ain_transaction(*args: Any, **kwargs: Any) -> Any:
        return await acarry_out(
            _steps(name, args, kwargs), connect, lambda handed: function(handed, *args, **kwargs)
        )

    made = functools.wraps(function)(ain_transaction if is_async else in_transaction)
    kept = parameters if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL else parameters[1:]
    made.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    del made.__wrapped__  # it has another signature
    return made


def _steps(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Step, Any, Any]:
    """Return what the call that is made here returned, now or in an earlier process."""
    context = here(name)
    _, digest, call = fingerprint(name, args, kwargs)
    thread = context.run.thread
    row = Row(context.idempotency_key, thread, context.base, name, call, digest, clock.current.time_ns())
    for _ in range(TRIES):
        database = yield Open()
        try:
            found = yield from _tried(database, row, context)
        finally:
            yield Close()
        if found is not None:
            return found[0]
    message = f"the outcome of {name} in the database comes and goes; its key is {row.key}"
    raise OutcomeTableError(message, hint="Does something else write to the table walgraph_outcomes?")


def _tried(
    database: Database, row: Row, context: TaskContext[Run]
) -> Generator[Step, Any, tuple[Any] | None]:
    """Return what the call returned, now or in an earlier process; None if it is to be tried again."""
    try:
        yield Do(database.begin)
        try:
            yield Do(database.hold, (row,))
        except Missing:
            yield Finish(database.rollback)
            yield Do(database.create)
            return None
        except Held:
            yield Finish(database.rollback)
            held = yield Do(database.recall, (row.key,))
            return None if held is None else _recalled(held, row, context)
        value = yield from _guarded(database)
        yield Do(database.keep, (row, Encoder().value(value, whole=True).data))
        yield Finish(database.commit)
    except BaseException:
        yield Finish(database.rollback)
        raise
    return (value,)


def _guarded(database: Database) -> Generator[Step, Any, Any]:
    """Return what the user's function returns, which cannot end the transaction."""
    yield Do(database.guard)
    try:
        return (yield Body())
    except Exception as error:
        refused = database.refused(error)
        if refused is not None:
            raise refused from error
        raise
    finally:
        yield Finish(database.unguard)


def _recalled(held: Row, row: Row, context: TaskContext[Run]) -> tuple[Any]:
    """Return what an earlier process came to.

    Raises:
        NonDeterminism: It made another call.
        OutcomeTableError: It left no outcome.
    """
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
