"""Threads of SqliteSaver, PostgresSaver and other savers, brought into a log and equal, checkpoint by checkpoint."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from postgres_server import NoPostgres, postgres_server, programs
from saver.putting import Putter, config
from saver.stories import STORIES
from saver.test_programs import Noted

from walgraph import Log, MemoryLog
from walgraph.tools.errors import ImportDiffers, SourceNotFound
from walgraph.tools.langgraph_saver import WalSaver
from walgraph.tools.moving import move
from walgraph.tools.moving_sources import SaverSource, SqliteSource, source_of
from walgraph.wal.progress import say_nothing


def told_on(saver: Any) -> None:
    """Tell all stories on a saver, each in a thread of its own."""
    for name, story in STORIES.items():
        story(_Renamed(saver, name), Noted)


class _Renamed:
    """A saver under which each story's thread has the story's name."""

    def __new__(cls, saver: Any, name: str) -> Any:
        class Renamed(type(saver)):
            def __init__(self) -> None:
                self.__dict__.update(saver.__dict__)

            def get_tuple(self, where: Any) -> Any:
                return super().get_tuple(_named(where, name))

            def put(self, where: Any, *rest: Any) -> Any:
                return super().put(_named(where, name), *rest)

            def put_writes(self, where: Any, *rest: Any) -> None:
                super().put_writes(_named(where, name), *rest)

            def list(self, where: Any, **how: Any) -> Any:
                return super().list(_named(where, name), **how)

        return Renamed()


def _named(where: Any, name: str) -> Any:
    return {**where, "configurable": {**where["configurable"], "thread_id": name}}


def everything(saver: Any) -> dict[Any, Any]:
    """All checkpoints of a saver, by thread, namespace and id, with the writes of each."""
    found = {}
    for each in saver.list(None):
        conf = each.config["configurable"]
        place = conf["thread_id"], conf["checkpoint_ns"], conf["checkpoint_id"]
        parent = each.parent_config and each.parent_config["configurable"]["checkpoint_id"]
        found[place] = (each.checkpoint, dict(each.metadata), parent, each.pending_writes)
    return found


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteSaver]:
    """A database of SqliteSaver that waits for no disk."""
    connection = sqlite3.connect(tmp_path / "old.db", check_same_thread=False)
    connection.execute("PRAGMA synchronous=OFF")
    yield SqliteSaver(connection)
    connection.close()


def test_a_database_of_sqlite_saver_is_equal_checkpoint_by_checkpoint(
    sqlite: SqliteSaver, tmp_path: Path
) -> None:
    """Values, versions, metadata, parents and writes of all stories, without anybody's classes being known."""
    told_on(sqlite)
    with Log.open(tmp_path / "log", fsync="off") as log:
        moved = move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)
        assert moved.threads == len(STORIES)
        assert moved.added == moved.checkpoints > 60
        before, after = everything(sqlite), everything(WalSaver(log))
        assert after == before
        again = move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)
        assert again == moved._replace(added=0)
        # The imported thread goes on.
        STORIES["chat"](_Renamed(WalSaver(log), "chat"), Noted)


def test_ten_thousand_checkpoints_are_imported_and_equal(sqlite: SqliteSaver, tmp_path: Path) -> None:
    """A long chat and many short threads; the log takes a small part of the database's room."""
    putter = Putter(sqlite, config("long"))
    said: list[str] = []
    for step in range(4000):
        said = [*said[-40:], f"{step} " + "x" * 60]
        putter.put({"said": said, "n": step}, step=step)
        if not step % 10:
            sqlite.put_writes(
                putter.config, [("said", step), ("__resume__", [step])], f"task {step}", "~path"
            )
    for thread in range(600):
        short = Putter(sqlite, config(f"thread {thread}"))
        for step in range(10):
            short.put({"n": step}, step=step)
    with Log.open(tmp_path / "log", fsync="off") as log:
        moved = move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)
        assert (moved.checkpoints, moved.added) == (10_000, 10_000)
        assert everything(WalSaver(log)) == everything(sqlite)
        size = sum(head.bytes for head in log.threads())
        assert size < (tmp_path / "old.db").stat().st_size / 5


def test_an_import_that_was_killed_carries_on(sqlite: SqliteSaver, tmp_path: Path) -> None:
    """What is there is not put again, and what is missing comes."""
    told_on(sqlite)

    class Death(Exception):
        """The end of a process."""

    calls: list[int] = []

    def dies(what: str, done: int, whole: int) -> None:
        calls.append(done)
        if what == "checkpoints" or len(calls) == 1:
            raise Death

    from walgraph.tools import moving

    every, moving.FLUSH_EVERY = moving.FLUSH_EVERY, 5
    try:
        with Log.open(tmp_path / "log", fsync="off") as log, pytest.raises(Death):
            move(SqliteSource(str(tmp_path / "old.db")), log, dies)
    finally:
        moving.FLUSH_EVERY = every
    with Log.open(tmp_path / "log", fsync="off") as log:
        moved = move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)
        assert 0 < moved.added < moved.checkpoints
        assert everything(WalSaver(log)) == everything(sqlite)


def test_a_thread_that_went_on_is_not_mixed_with_its_past(sqlite: SqliteSaver, tmp_path: Path) -> None:
    """Older checkpoints would come after newer ones; and a difference is told by name."""
    putter = Putter(sqlite)
    putter.put({"n": 1}, step=0)
    with MemoryLog() as log:
        move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)
        saver = WalSaver(log)
        here = Putter(saver)
        here.begin()
        putter.put({"n": 2}, step=1)
        here.put({"n": 3}, step=1)
        with pytest.raises(ImportDiffers, match="gone on"):
            move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)
    with MemoryLog() as log:
        move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)
        sqlite.conn.execute("UPDATE checkpoints SET metadata = '{\"step\": 7}'")
        sqlite.conn.commit()
        with pytest.raises(ImportDiffers, match="metadata"):
            move(SqliteSource(str(tmp_path / "old.db")), log, say_nothing)


def test_any_saver_can_be_a_source() -> None:
    """Through LangGraph's interface, which tells everything but the paths of tasks."""
    theirs = InMemorySaver()
    told_on(theirs)
    with MemoryLog() as log:
        move(SaverSource(theirs), log, say_nothing)
        before, after = everything(theirs), everything(WalSaver(log))
        assert before.keys() == after.keys()
        for place, (checkpoint, metadata, parent, writes) in before.items():
            assert after[place][:3] == (checkpoint, metadata, parent)
            assert sorted(map(repr, after[place][3])) == sorted(map(repr, writes))


def test_a_source_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    """A wrong path, another file, and a wrong module; what is none of these is left to others."""
    assert source_of("lines.jsonl") is None
    (tmp_path / "other").write_text("no database")
    for text in (f"sqlite:{tmp_path}/nothing", f"sqlite:{tmp_path}/other", "langgraph:nowhere:saver"):
        with pytest.raises(SourceNotFound):
            source_of(text)


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of a server that lives as long as the test."""
    try:
        programs()
    except NoPostgres as error:
        pytest.skip(str(error))
    with postgres_server(durable=False) as (address, _):
        yield address


def test_a_database_of_postgres_saver_is_equal_checkpoint_by_checkpoint(
    postgres: str, tmp_path: Path
) -> None:
    """Blobs, values in rows, and writes of all stories, from a server that is really running."""
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(postgres) as saver:
        saver.setup()
        told_on(saver)
        with Log.open(tmp_path / "log", fsync="off") as log:
            source = source_of(postgres)
            assert source is not None
            moved = move(source, log, say_nothing)
            assert moved.added == moved.checkpoints > 60
            assert everything(WalSaver(log)) == everything(saver)
            assert move(source, log, say_nothing).added == 0
            source.close()
    with pytest.raises(SourceNotFound):
        source_of(postgres.replace("/postgres", "/nothing"))
