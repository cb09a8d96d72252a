"""What a transactional call wishes of the user's database, and who carries it out: a thread, or an event loop.

    Open()          connect                               → the database
    Do(function, …) one step of the transaction           → what it returned
    Finish(…)       one that ends it, or what was begun   → nothing
    Body()          the user's function is called         → what it returned
    Close()         the connection is given back

    the steps, once ──┬─► carry_out       each step is called
                      └─► acarry_out      each step is awaited, in the thread or greenlet of the connection

Invariants:
1. Whoever is cancelled waits for the step that has begun, and begins no further one but those that end the transaction:
   what came to a commit is told (``Overrun``), and else everything is undone when the call ends.
2. What connects to another world than the function lives in is refused before a step is made.

It must not know rows, logs or tasks.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sqlite3
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..wal.named import NamedTuple
from .effect import Overrun
from .errors import InvalidGraph
from .node import is_coroutine_function
from .outcome_table import Sqlite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from .outcome_table import Database, Reached

T = TypeVar("T")


class Open(NamedTuple):
    """Wanted: the database, connected to."""


class Do(NamedTuple):
    """Wanted: what this method of the database returns."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


class Finish(NamedTuple):
    """Wanted: that this method of the database is called, even for who was cancelled."""

    function: Callable[[], Any]


class Body(NamedTuple):
    """Wanted: what the user's function returns."""


class Close(NamedTuple):
    """Wanted: that the connection is given back."""


Step: TypeAlias = Open | Do | Finish | Body | Close


def carry_out(steps: Generator[Step, Any, T], connect: Any, body: Callable[[Any], Any] | None = None) -> T:
    """Make the steps in this thread.

    Args:
        steps: What is wished.
        connect: What ``transactional`` was given.
        body: What is called with the connection.
    """
    send: Any = steps.send
    answer: Any = None
    database: Database | None = None
    while True:
        try:
            step = send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # a generator's value
        send, answer = steps.send, None
        try:
            if step.__class__ is Open:
                answer = database = _opened(connect)
                continue
            assert database is not None, "it is open"
            if step.__class__ is Body:
                assert body is not None, "who wishes for a body has one"
                answer = body(database.handed)
            elif step.__class__ is Do:
                answer = step.function(*step.arguments)
            else:
                (database.close if step.__class__ is Close else step.function)()
        except BaseException as error:
            send, answer = steps.throw, error


async def acarry_out(
    steps: Generator[Step, Any, T], connect: Any, body: Callable[[Any], Awaitable[Any]] | None = None
) -> T:
    """Make the steps from the event loop.

    Args:
        steps: What is wished.
        connect: What ``transactional`` was given.
        body: What is awaited with the connection.

    Raises:
        Overrun: It was cancelled when it was all but done, and came to something all the same.
    """
    send: Any = steps.send
    answer: Any = None
    reached: Reached | None = None
    is_cancelled = False
    while True:
        try:
            step = send(answer)
        except StopIteration as stop:
            if is_cancelled:
                raise Overrun(stop.value) from None
            return stop.value  # type: ignore[no-any-return]  # a generator's value
        except Exception as error:
            if is_cancelled:
                raise asyncio.CancelledError from error
            raise
        send, answer = steps.send, None
        try:
            if is_cancelled and step.__class__ in {Open, Do, Body}:
                raise asyncio.CancelledError  # noqa: TRY301 - as the step that is not made would
            if step.__class__ is Body:
                assert body is not None, "who wishes for a body has one"
                assert reached is not None, "it is open"
                answer = await body(reached.handed)
                continue
            if step.__class__ is Open:
                reached = await _areached(connect)
            work = asyncio.ensure_future(_made(step, reached))
            is_cancelled = await _is_cancelled_meanwhile(work) or is_cancelled
            answer = work.result()
        except BaseException as error:
            send, answer = steps.throw, error


async def _made(step: Step, reached: Reached | None) -> Any:
    """Make a step where the connection lives."""
    assert reached is not None, "it is open"
    match step:
        case Open():
            return await reached.begin()
        case Do():
            return await reached.run(step.function, *step.arguments)
        case Finish():
            return await reached.run(step.function)
        case _:
            return await reached.close()


async def _is_cancelled_meanwhile(work: asyncio.Future[Any]) -> bool:
    """Wait until something has ended, and return whether who waits was cancelled meanwhile."""
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            is_cancelled = True
    return is_cancelled


def check_connectable(connect: Any) -> None:
    """See that something can connect.

    Raises:
        InvalidGraph: It can open nothing.
    """
    if not callable(connect) and _package_of(connect) != "sqlalchemy":
        message = f"transactional() takes a function that connects to a database, not {connect!r}"
        raise InvalidGraph(message, hint="For example transactional(lambda: sqlite3.connect('shop.db')).")


def check_connect(connect: Any, name: str = "", *, is_async: bool) -> None:
    """See that something can connect, and in the way of the function, as far as it tells before it is called.

    Raises:
        InvalidGraph: It can open nothing, or only what the function cannot use.
    """
    check_connectable(connect)
    while isinstance(connect, functools.partial):
        connect = connect.func
    module = str(getattr(connect, "__module__", "")) if inspect.isroutine(connect) else ""
    package = module.partition(".")[0]
    if is_coroutine_function(connect) or package == "aiosqlite" or _is_asynchronous(connect):
        known = True
    elif package in {"sqlite3", "_sqlite3"} or _package_of(connect) == "sqlalchemy":
        known = False
    else:
        return
    if known != is_async:
        raise _unfit(connect, name, is_async=is_async)


def _opened(connect: Any) -> Database:
    """Connect, and return what is connected to.

    Raises:
        InvalidGraph: It is no database that a plain function can use.
    """
    given = connect() if callable(connect) else connect
    found = _database_of(given)
    if found is not None:
        return found
    if inspect.iscoroutine(given):
        given.close()
    raise _unfit(given, is_async=False)


async def _areached(connect: Any) -> Reached:
    """Return what is to be connected to.

    Raises:
        InvalidGraph: It is no database that a coroutine function can use.
    """
    given = connect() if callable(connect) else connect
    if inspect.iscoroutine(given):
        given = await given
    if _is_asynchronous(given):
        from .outcome_async import reached_of

        reached = reached_of(given)
        if reached is not None:
            return reached
    elif (found := _database_of(given)) is not None:
        found.close()
    raise _unfit(given, is_async=True)


def _database_of(given: Any) -> Database | None:
    """Return what is connected to; None if it is none, or only for coroutines."""
    if isinstance(given, sqlite3.Connection):
        return Sqlite(given)
    if _package_of(given) == "sqlalchemy" and not _is_asynchronous(given):
        from .outcome_sqlalchemy import database_of

        return database_of(given)
    return None


def _package_of(given: Any) -> str:
    """Return from where an object is: one of the packages that connect, or nothing."""
    packages = {kind.__module__.partition(".")[0] for kind in type(given).__mro__}
    return "sqlalchemy" if "sqlalchemy" in packages else "aiosqlite" if "aiosqlite" in packages else ""


def _is_asynchronous(given: Any) -> bool:
    """Return whether an object is for event loops."""
    return _package_of(given) == "aiosqlite" or any(
        kind.__module__.startswith("sqlalchemy.ext.asyncio") for kind in type(given).__mro__
    )


def _unfit(given: Any, name: str = "", *, is_async: bool) -> InvalidGraph:
    """Return the error of what a function cannot use."""
    kind = f"{type(given).__module__}.{type(given).__qualname__}"
    whose = f" of {name!r}" if name else ""
    if is_async:
        message = f"connect{whose} gave a {kind}, and a transactional coroutine function needs an asynchronous database"
        hint = (
            "It may give an aiosqlite.Connection, or SQLAlchemy's AsyncEngine, AsyncConnection or AsyncSession; "
            "for any other make it a plain function, which runs in a thread under ainvoke."
        )
    else:
        message = f"connect{whose} gave a {kind}, and a transactional function needs a database"
        hint = (
            "It may give a sqlite3.Connection, or SQLAlchemy's Engine, Connection or Session; their asyncio kin and "
            "aiosqlite's are for coroutine functions: make it one with async def."
        )
    return InvalidGraph(message, hint=hint)
