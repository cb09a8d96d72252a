"""``wal export`` and ``wal import``, as a person uses them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tools_helpers import HOSTILE, ask, chain, config, fill, one, told, two, wal

from walgraph import Command, Log, LogStore
from walgraph.tools.cli import cli


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of threads, with a store, and with hostile text."""
    place = tmp_path_factory.mktemp("export") / "log.wal"
    fill(place)
    with Log.open(place) as log:
        LogStore(log).put(("users",), "ada", {"born": 1815})
        chain(one, two).compile(log).invoke({"x": HOSTILE}, config("hostile\n[red]"), durability="sync")
    return place


def test_a_log_goes_through_a_file(path: Path, tmp_path: Path) -> None:
    """Export, import, verify; the threads are the same, and an open question can be answered."""
    shape = told("export", path, "-o", tmp_path / "lines")
    made = told("import", tmp_path / "log", "--from", tmp_path / "lines")
    assert made["lines"] == shape["lines"]
    assert told("verify", tmp_path / "log")["ok"] is True
    assert told("threads", tmp_path / "log")["threads"] == told("threads", path)["threads"]
    with Log.open(tmp_path / "log") as log:
        done = chain(ask, two).compile(log).get_state(config("asking"))
        assert done.interrupts[0].value == "name?"
    assert "imported" in wal("import", tmp_path / "other", "--from", tmp_path / "lines").stdout


def test_a_log_goes_through_a_pipe(path: Path, tmp_path: Path) -> None:
    """Stdout is the lines alone, and stdin takes them."""
    run = [sys.executable, "-m", "walgraph"]
    with subprocess.Popen([*run, "export", path, "--thread", "done"], stdout=subprocess.PIPE) as out:
        done = subprocess.run([*run, "import", tmp_path / "log"], stdin=out.stdout, check=False)
    assert done.returncode == 0
    assert [each["thread"] for each in told("threads", tmp_path / "log")["threads"]] == ["done"]
    shown = wal("export", path, "--thread", "done").stdout.splitlines()
    assert all(json.loads(line) for line in shown)


def test_an_imported_thread_carries_on(tmp_path: Path) -> None:
    """The same checkpoint ids, the same question."""
    with Log.open(tmp_path / "log") as log:
        graph = chain(one, ask, two).compile(log)
        graph.invoke({}, config("t"))
        before = graph.get_state(config("t"))
    wal("export", tmp_path / "log", "-o", tmp_path / "lines")
    wal("import", tmp_path / "again", "--from", tmp_path / "lines")
    with Log.open(tmp_path / "again") as log:
        graph = chain(one, ask, two).compile(log)
        assert graph.get_state(config("t")) == before
        assert graph.invoke(Command(resume="Ada"), config("t"))["names"] == ["one", "Ada", "two"]


def test_a_log_can_be_looked_at_with_sql(path: Path, tmp_path: Path) -> None:
    """Threads, records, what they add up to, and items; values are JSON for SQLite's functions."""
    counts = told("export", path, "--sqlite", tmp_path / "log.db")
    assert counts["threads"] == 5
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as file:

        def ask_for(statement: str) -> list:
            return file.execute(statement).fetchall()

        assert ask_for("SELECT value FROM state WHERE thread = 'done' AND channel = 'x'") == [("2",)]
        assert ask_for("SELECT json_extract(value, '$.born') FROM items WHERE key = 'ada'") == [(1815,)]
        assert ask_for(
            "SELECT count(*) FROM records WHERE thread = 'asking' AND kind = 'TaskInterrupted'"
        ) == [(1,)]
        assert ask_for("SELECT count(*) FROM records") == [(counts["records"],)]
        assert ask_for("SELECT status FROM threads WHERE thread = 'failed'") == [("failed",)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--sqlite", "a", "-o", "b"], 2),
        (["--app", "x:y"], 2),
        (["--json"], 2),
        (["--thread", "nobody"], 3),
        (["--thread", "nobody", "--sqlite", "a"], 3),
    ],
)
def test_what_does_not_go_together_is_said(path: Path, tmp_path: Path, words: list[str], code: int) -> None:
    """Before anything is written."""
    words = [str(tmp_path / word) if word in {"a", "b"} else word for word in words]
    assert wal("export", path, *words).exit_code == code
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(path: Path, tmp_path: Path) -> None:
    """A file that is there stays, and so does a log."""
    (tmp_path / "file").write_text("mine")
    for words in (["-o"], ["--sqlite"]):
        assert wal("export", path, *words, tmp_path / "file").exit_code == 7
    assert (tmp_path / "file").read_text() == "mine"
    wal("export", path, "-o", tmp_path / "lines")
    assert wal("import", path, "--from", tmp_path / "lines").exit_code == 7
    assert wal("import", tmp_path / "new", "--from", tmp_path / "nowhere").exit_code == 2


def test_lines_that_are_none_are_refused(tmp_path: Path) -> None:
    """With the exit code of what cannot be read."""
    result = CliRunner().invoke(cli, ["import", str(tmp_path / "log")], input="hello\n")
    assert result.exit_code == 5
    assert "error[WAL-E111]" in result.stderr
