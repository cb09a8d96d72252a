"""The program around the verbs: help, exit codes, errors, pipes, and where the log is."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tools_helpers import chain, config, fill, one, process, wal

from walgraph import Log
from walgraph.tools.cli import CODES, VERBS, exit_code
from walgraph.tools.cmd_errors import catalogue


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log that most tests look at."""
    place = tmp_path_factory.mktemp("cli") / "log.wal"
    fill(place)
    return place


def test_help_names_every_verb() -> None:
    """Each verb has a line, and each verb's own help works."""
    result = wal("--help")
    assert result.exit_code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in result.stdout
        assert wal(verb, "-h").exit_code == 0


def test_help_imports_no_verb() -> None:
    """Showing the help loads neither a verb nor rich."""
    program = """
import sys
from walgraph.tools.cli import cli
try:
    cli.main(["--help"])
except SystemExit:
    pass
print([name for name in sys.modules if name.startswith(("walgraph.tools.cmd_", "rich"))], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_rich_is_not_loaded_for_a_pipe(path: Path) -> None:
    """A table that goes into a pipe needs no rich."""
    program = f"""
import sys
from walgraph.tools.cli import cli
try:
    cli.main(["inspect", {str(path)!r}])
except SystemExit:
    pass
print("rich" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["threads", "{path}"], 0),
        (["nonsense"], 2),
        (["threads"], 2),
        (["threads", "{path}", "more"], 2),
        (["state", "{path}"], 2),
        (["inspect", "{path}", "done", "x"], 2),
        (["state", "{path}", "done", "--at", "noon"], 2),
        (["compact", "{path}", "--shrink", "--keep-last", "2"], 2),
        (["state", "{path}", "done", "--app", "no_such_module_anywhere:graph"], 2),
        (["threads", "{path}/nowhere"], 3),
        (["inspect", "{path}", "nobody"], 3),
        (["inspect", "{path}", "done", "999"], 3),
        (["state", "{path}", "done", "--at", "999"], 3),
        (["state", "{path}", "done", "--at", "step:99"], 3),
        (["state", "{path}", "done", "--at", "00000000000000000003"], 3),
        (["state", "{path}", "done", "--scope", "sub"], 3),
        (["compact", "{path}", "--thread", "nobody"], 3),
        (["errors", "WAL-E999"], 3),
    ],
)
def test_the_exit_code_tells_what_happened(path: Path, words: list[str], code: int) -> None:
    """0 ok, 2 wrong usage, 3 no such thing; whatever is wrong is said on stderr alone."""
    result = wal(*[word.format(path=path) for word in words])
    assert result.exit_code == code, result.output
    assert bool(result.stderr) == bool(code)
    assert not (code and result.stdout)


def test_what_is_not_a_log_is_unreadable(tmp_path: Path) -> None:
    """Something else at the path ends with 5, and stays as it is."""
    (tmp_path / "data.mdb").write_bytes(b"no database" * 1000)
    assert wal("inspect", tmp_path).exit_code == 5
    assert (tmp_path / "data.mdb").read_bytes() == b"no database" * 1000


def test_a_log_that_somebody_has_cannot_be_shrunk(tmp_path: Path) -> None:
    """Shrinking is refused with 4 while the log is open."""
    fill(tmp_path / "log")
    with Log.open(tmp_path / "log"):
        assert process("compact", tmp_path / "log", "--shrink", "--apply").returncode == 4


def test_errors_have_code_message_and_help(path: Path) -> None:
    """What happened, what to do, and where more is said."""
    lines = wal("inspect", path, "nobody").stderr.splitlines()
    assert lines == [
        "error[WAL-E404]: the log holds no thread 'nobody'",
        "   = help: wal threads LOG lists those it holds.",
        "   = help: wal errors WAL-E404",
    ]


def test_the_log_may_come_from_the_environment(path: Path) -> None:
    """With $WALGRAPH_LOG the first word is the thread, unless a log lies there."""
    env = {"WALGRAPH_LOG": str(path)}
    assert wal("inspect", "done", env=env).stdout == wal("inspect", path, "done").stdout
    assert wal("inspect", path, "done", env={"WALGRAPH_LOG": "/nowhere"}).exit_code == 0
    assert wal("state", "done", env=env).exit_code == 0
    assert wal("threads", env=env).stdout == wal("threads", path).stdout


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """A reader that has seen enough ends the program quietly."""
    with Log.open(tmp_path / "log") as log:
        graph = chain(one).compile(log)
        for number in range(300):
            graph.invoke({"x": number}, config("thread-" + str(number) * 90))
    command = [sys.executable, "-m", "walgraph", "threads", str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 0


def test_an_interrupt_ends_with_130(path: Path) -> None:
    """Ctrl-C is told from failure."""
    program = """
import os, signal, sys
from walgraph.tools import cmd_threads
from walgraph.tools.cli import main
cmd_threads.opened = lambda path: os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["wal", "threads", "anywhere"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (128 + signal.SIGINT, "interrupted")


def test_output_survives_a_terminal_that_knows_only_ascii(path: Path) -> None:
    """What the encoding lacks is shown by its code instead of ending the program."""
    done = process("inspect", path, "done", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "\\u2190" in done.stdout


def test_a_terminal_gets_a_table_of_its_width(path: Path) -> None:
    """On a terminal there are rules and colours, COLUMNS wide; NO_COLOR takes the colours away."""
    wide = _on_terminal(["inspect", str(path)], {"COLUMNS": "60", "TERM": "xterm"})
    assert "━" in wide or "─" in wide
    assert "\x1b[" in wide
    plain = _on_terminal(["inspect", str(path)], {"COLUMNS": "60", "TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[3" not in plain
    lines = re.sub("\x1b\\[[0-9;]*m", "", plain).splitlines()
    assert max(len(line) for line in lines[1:-1]) <= 60
    dumb = _on_terminal(["inspect", str(path)], {"COLUMNS": "60", "TERM": "dumb"})
    assert "\x1b" not in dumb


def _on_terminal(words: list[str], env: dict[str, str]) -> str:
    master, slave = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "WALGRAPH_LOG"}}
    command = [sys.executable, "-m", "walgraph", *words]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=environment | env) as running:
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    assert running.returncode == 0
    return shown.decode()


def test_every_error_has_a_code_of_its_own() -> None:
    """No two classes share a code, and each is explained."""
    known = catalogue()
    assert len({entry.code for entry in known}) == len(known)
    for entry in known:
        shown = wal("errors", entry.code).stdout
        assert entry.kind.__name__ in shown
        assert entry.what.split(".")[0].split()[0] in shown


def test_an_error_is_explained_by_any_form_of_its_code() -> None:
    """WAL-E102, e102 and 102 mean the same."""
    assert wal("errors", "WAL-E102").stdout == wal("errors", "e102").stdout == wal("errors", "102").stdout
    explained = json.loads(wal("errors", "102", "--json").stdout)["errors"][0]
    assert explained["error"] == "LogCorrupt"
    assert explained["exit_code"] == 5
    assert explained["act"].startswith("the disk")


def test_exit_codes_cover_what_they_name() -> None:
    """Each class in the table ends with its own code, whatever stands before it."""
    for kinds, code in CODES:
        for kind in kinds:
            if hasattr(kind, "code"):
                assert exit_code(kind("")) == code
