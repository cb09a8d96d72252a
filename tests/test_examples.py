"""The examples: each is killed, and run again, and says in the end what it says when nobody disturbs it.

Their lines that begin with ``·`` announce that a body runs, so a line that comes twice is a body that ran twice. What
follows ``result:`` is the outcome.

Invariants:
1. Examples are run as a reader runs them: a process of their own, from their file, with the path of a log.
2. Every file in ``examples`` is either run here or by the demo that is.
"""

from __future__ import annotations

import ast
import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from walgraph import Log, LogNotFound
from walgraph.wal.record import TaskFinished

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
BODIES = {
    "agent_in_the_background": {"ask_model", "use_tool"},
    "agent_with_tools": {"ask_model", "use_tool"},
    "approve_an_expense": {"check", "transfer"},
    "ask_a_human": {"draft", "send", "discard"},
    "chat": {"reply"},
    "crash_and_resume": {"look_up_price", "reserve", "charge"},
    "fan_out": {"count_lines", "summarise"},
    "pipeline_with_subgraph": {"split", "lower", "drop_doubles", "count"},
    "rate_limited_mails": {"send_mail"},
    "travel_back": {"wake_up", "walk"},
}
"""Example → the nodes and tasks that announce themselves."""

APART = {"demo", "survey", "bank", "transfer_money", "wait_for_approval", "nightly_report"}
"""Those that are run by tests of their own."""

SENT = "count_lines"
"""The one node that is sent to; its tasks have numbers, not names."""

KILLED = -9


class Ended(NamedTuple):
    """What a process said, and its exit code."""

    lines: list[str]
    code: int

    @property
    def bodies(self) -> list[str]:
        """The bodies that it announced."""
        return [line for line in self.lines if line.startswith("·")]

    @property
    def result(self) -> list[str]:
        """The outcome that it printed."""
        begin = next((n for n, line in enumerate(self.lines) if line.startswith("result:")), len(self.lines))
        return self.lines[begin:]


def run(example: str, log: Path, *, bodies: int = 0, seconds: float = 0.0) -> Ended:
    """Run an example.

    Args:
        example: Its name.
        log: The log that it is told.
        bodies: Kill it as soon as it has announced so many; 0 does not.
        seconds: Kill it after so long; 0 does not.
    """
    command = [sys.executable, "-u", str(EXAMPLES / f"{example}.py"), str(log)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        if seconds:
            time.sleep(seconds)
            child.kill()
        lines: list[str] = []
        for line in child.stdout:
            lines.append(line.rstrip("\n"))
            if bodies and sum(said.startswith("·") for said in lines) >= bodies:
                child.kill()
        errors = child.stderr.read()
    assert child.returncode in {0, KILLED}, errors
    return Ended(lines, child.returncode)


def recorded(example: str, log: Path) -> int:
    """Return how many of an example's bodies have their outcome in the log, seen from outside."""
    try:
        with Log.open(log, create=False, readonly=True) as opened:
            records = [stored.record for head in opened.threads() for stored in opened.read(head.thread_id)]
    except LogNotFound:
        return 0
    finished = [record for record in records if isinstance(record, TaskFinished)]
    names = [SENT if isinstance(record.path[0], int) else record.path[0] for record in finished]
    names = [record.call[0] if record.call else name for record, name in zip(finished, names, strict=True)]
    return sum(name in BODIES[example] for name in names)


def to_the_end(example: str, log: Path) -> list[Ended]:
    """Run an example until it gets to its end by itself, and return its lives."""
    lives = [run(example, log)]
    while lives[-1].code == KILLED:
        assert len(lives) < 3
        lives.append(run(example, log))
    return lives


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], int, float]]:
    """Each example's result, how many bodies it ran, and about how long it took, when nobody disturbs it."""
    found = {}
    for example in BODIES:
        began = time.perf_counter()
        lives = to_the_end(example, tmp_path_factory.mktemp(example) / "log")
        seconds = time.perf_counter() - began
        found[example] = (lives[-1].result, len({line for life in lives for line in life.bodies}), seconds)
    return found


@pytest.mark.parametrize("example", BODIES)
def test_an_example_that_is_killed_halfway_carries_on_to_the_same_result(
    example: str, undisturbed: dict[str, tuple[list[str], int, float]], tmp_path: Path
) -> None:
    """What the log holds at the kill does not run again, and the outcome is the undisturbed one."""
    expected, bodies, _ = undisturbed[example]
    first = run(example, tmp_path / "log", bodies=(bodies + 1) // 2)
    known = recorded(example, tmp_path / "log")
    later = to_the_end(example, tmp_path / "log")
    assert first.code == KILLED
    assert first.result == []
    assert expected
    assert later[-1].result == expected
    assert len({line for life in later for line in life.bodies}) == bodies - known
    assert recorded(example, tmp_path / "log") == bodies


@pytest.mark.parametrize("example", BODIES)
def test_an_example_that_is_killed_at_random_moments_carries_on_to_the_same_result(
    example: str, undisturbed: dict[str, tuple[list[str], int, float]], tmp_path: Path
) -> None:
    """Wherever three kills fall, imports and the opening of the log included, the outcome is the undisturbed one."""
    expected, bodies, seconds = undisturbed[example]
    chance = random.Random(example)
    for _ in range(3):
        known = recorded(example, tmp_path / "log")
        life = run(example, tmp_path / "log", seconds=chance.uniform(0.05, seconds))
        assert len(life.bodies) <= bodies - known
    last = to_the_end(example, tmp_path / "log")[-1]
    assert last.result == expected
    assert recorded(example, tmp_path / "log") == bodies


@pytest.mark.parametrize("example", BODIES)
def test_an_example_that_is_done_says_so_again_without_running_anything(example: str, tmp_path: Path) -> None:
    """Running it once more prints the same result from the log."""
    done = to_the_end(example, tmp_path / "log")[-1]
    again = run(example, tmp_path / "log")
    assert again.bodies == []
    assert again.result == done.result


def test_every_example_is_short_says_what_to_watch_for_and_is_run_here() -> None:
    """An example fits on a screen or two, under its name, and none is left out."""
    files = {path.stem: path.read_text("utf-8") for path in EXAMPLES.glob("*.py")}
    assert set(files) == {*BODIES, *APART}
    for name, text in files.items():
        assert "Watch for:" in (ast.get_docstring(ast.parse(text)) or ""), name
        assert name in APART or text.count("\n") < 80, name


def test_money_is_moved_once_though_the_first_life_dies_in_the_middle(tmp_path: Path) -> None:
    """As a reader runs it: killed, carried on by asking the bank, and done."""
    first = run("transfer_money", tmp_path / "log")
    assert first.code == KILLED
    assert first.bodies[-1] == "· moving 30 from bob to eve"
    second = run("transfer_money", tmp_path / "log")
    assert second.bodies[0] == "· asking the bank about transfer('bob', 'eve', 30): it happened: True"
    assert not set(first.bodies) & set(second.bodies)
    assert second.result[-1] == "  the bank: ada 520, bob 490, eve 490"
    again = run("transfer_money", tmp_path / "log")
    assert (again.bodies, again.result) == ([], second.result)


def test_the_demo_proves_what_it_says(tmp_path: Path) -> None:
    """Over forty modules and three kills every proof holds, and what it leaves can be looked at."""
    folder = tmp_path / "demo"
    command = [
        sys.executable,
        str(EXAMPLES / "demo.py"),
        "--modules",
        "40",
        "--kills",
        "3",
        "--folder",
        str(folder),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Every proof holds" in ended.stdout
    assert "ok: no problem" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert (folder / "undisturbed" / "report.md").read_text("utf-8").startswith("# The standard library")


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The demo as a module."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return __import__("demo")


def test_the_demo_would_notice_a_recorded_task_that_is_run_again(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its proofs fail for a ledger in which a second life repeats what the first had recorded."""
    measured, stored = ("measure", "a.py"), ("store", "a.py")
    written = ("write_file", "report.md")
    subject = demo.Subject(tmp_path, ["a.py"], 1, "sync")

    def failures(*repeated: tuple[str, str]) -> int:
        screen = demo.Screen()
        first = demo.Life([], [measured], [measured], killed=True)
        rest = [*repeated, stored, written]
        demo.prove_tasks(
            screen, subject, [first, demo.Life([measured], rest, [measured, stored, written], killed=False)]
        )
        return screen.failures

    assert failures() == 0
    assert failures(measured) > 0
    assert "NOT" in capsys.readouterr().out
