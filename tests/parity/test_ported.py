"""The programs of the porting guide: on LangGraph and on walgraph they show the same, and kills change nothing.

Only the import lines, and the line that opens the log, are written otherwise for LangGraph.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from parity.comparing import differs
from parity.ported_differences import DIFFERENCES
from parity.porting import PROGRAMS, Call, Recorder, loaded, source

from walgraph import MemoryLog

NAMES = sorted(path.stem for path in PROGRAMS.glob("*.py"))
ASYNCHRONOUS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def calls_of(program: str, library: str, **how: Any) -> list[Call]:
    """Run a program with a library; return what its calls showed."""
    module = loaded(program, library)
    recorder = Recorder(
        module.compiled(MemoryLog(strict=True) if library == "walgraph" else InMemorySaver()), **how
    )
    module.run(recorder)
    return recorder.calls


@ASYNCHRONOUS
@pytest.mark.parametrize("streamed", [False, True], ids=["invoked", "streamed"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("program", NAMES)
def test_a_ported_program_shows_what_it_showed(
    program: str, durability: str, *, streamed: bool, asynchronous: bool
) -> None:
    """Outputs, streams in all modes, states and histories are equal, event by event."""
    how = {"durability": durability, "streamed": streamed, "asynchronous": asynchronous}
    theirs, ours = (calls_of(program, library, **how) for library in ("langgraph", "walgraph"))
    assert len(theirs) == len(ours)
    for even in DIFFERENCES:
        theirs, ours = even(theirs, ours)
    assert differs(theirs, ours) is None
    assert all(call.chunks if streamed else call.returned for call in ours)


@pytest.mark.parametrize("program", NAMES)
def test_a_ported_program_prints_what_it_printed(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole file is run, with its checkpointer or its log."""
    monkeypatch.setattr(sys, "argv", [program, str(tmp_path / "log")])
    printed = []
    for library in ("langgraph", "walgraph"):
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        loaded(program, library, name="__main__")
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != ""


@pytest.mark.parametrize("program", NAMES)
def test_only_imports_and_the_opening_of_the_log_are_ported(program: str) -> None:
    """One line of imports, and one that opens the log; and a program fits on a page or two."""
    ours, theirs = (source(program, library).splitlines() for library in ("walgraph", "langgraph"))
    changed = [line for line in ours if line not in theirs]
    assert [line.strip().split(" ")[0] for line in changed] == ["from", "with"]
    assert "walgraph" not in "\n".join(theirs)
    assert len(ours) < 130
    assert "Watch for:" in (ast.get_docstring(ast.parse("\n".join(ours))) or "")


LIVES = """
import json, os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
from parity.porting import Plain, Recorder, loaded
from walgraph import Log
from walgraph.wal.writer import Writer

PROGRAM, FOLDER, DURABILITY, ASYNCHRONOUS = sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4], sys.argv[5] == "async"
module = loaded(PROGRAM, "walgraph")
append, appends = Writer.append, 0

def live(name, fate=0, when=""):
    def fated(self, *arguments, **options):
        global appends
        appends += 1
        if appends == fate and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = append(self, *arguments, **options)
        if appends == fate:
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    # Nothing but imports happened before the fork: each life opens the log for itself.
    child = os.fork()
    if child == 0:
        try:
            Writer.append = fated
            with Log.open(FOLDER / f"{name}.wal", fsync="off") as log:
                graph = module.compiled(log)
                found = module.run(Recorder(graph, durability=DURABILITY, asynchronous=ASYNCHRONOUS))
                threads = [{"configurable": {"thread_id": head.thread_id}} for head in log.threads()]
                shown = [Plain().value(list(graph.get_state_history(thread))) for thread in threads]
            told = json.dumps([Plain().value(found), shown], sort_keys=True, default=repr)
            (FOLDER / f"{name}.json").write_text(told)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def told(name):
    return json.loads((FOLDER / f"{name}.json").read_text())

assert live("whole") == 0
whole, fate = told("whole"), 0
differing = []
for fate in range(1, 200):
    ends = [live(f"{fate} {when}", fate, when) for when in ("before", "after")]
    if 0 in ends:
        break
    assert ends == [-signal.SIGKILL] * 2, ends
    for when in ("before", "after"):
        assert live(f"{fate} {when}") == 0
        if told(f"{fate} {when}") != whole:
            differing.append([fate, when, told(f"{fate} {when}"), whole])
print(json.dumps([fate - 1, differing]))
"""


@pytest.mark.parametrize(
    ("program", "durability", "way"),
    [
        *((name, "sync", "sync") for name in NAMES),
        ("rank_the_books", "sync", "async"),
        ("two_approvals", "async", "sync"),
        ("two_approvals", "exit", "async"),
    ],
)
def test_a_ported_program_outlives_a_kill_at_any_append(
    program: str, durability: str, way: str, tmp_path: Path
) -> None:
    """Killed before and after each append, on a real log, it ends with the result and the history of a calm life."""
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", LIVES, tests, program, str(tmp_path), durability, way],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    appends, differing = json.loads(done.stdout)
    assert appends > 3
    for fate, when, killed, whole in differing[:1]:
        pytest.fail(f"killed {when} append {fate}: {differs(whole, killed)}")
