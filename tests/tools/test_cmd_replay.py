"""``wal replay``: today's code against recorded threads, as a build would ask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import pathlib
from walgraph import Log, entrypoint, task

@task
def charge(amount):
    pathlib.Path("charged").open("a").write("x")
    return amount

@entrypoint()
def order(amount):
    return charge({call}).result()

if __name__ == "__main__":
    with Log.open("orders.wal") as log:
        recorded = order.copy({{"checkpointer": log}})
        for number in (1, 2, 3):
            recorded.invoke(number, {{"configurable": {{"thread_id": f"order {{number}}"}}}})
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a program, and a log of three threads that it wrote."""
    (tmp_path / "shop.py").write_text(CODE.format(call="amount"))
    subprocess.run([sys.executable, "shop.py"], cwd=tmp_path, check=True)
    return tmp_path


def wal(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call ``wal`` there."""
    return subprocess.run(
        [sys.executable, "-m", "walgraph", *words], cwd=place, capture_output=True, text=True, check=False
    )


def test_code_that_agrees_exits_with_zero(place: Path) -> None:
    """A line for each thread, and nothing is charged."""
    done = wal(place, "replay", "orders.wal", "--all", "--app", "shop:order")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["thread", "records", "bodies", "result", "seq", "what"]
    assert [line[-3:] for line in lines[1:]] == [["ok", "-", "-"]] * 3
    assert "code and history agree" in done.stderr
    assert (place / "charged").read_text() == "xxx"


def test_a_divergence_exits_with_one_and_says_where(place: Path) -> None:
    """Only the threads whose calls changed diverge."""
    (place / "shop.py").write_text(CODE.format(call="amount if amount < 3 else 0"))
    done = wal(place, "replay", "orders.wal", "--all", "--app", "shop:order")
    assert done.returncode == 1
    assert "order/0: charge(3), now charge(0)" in done.stdout
    assert "1 of 3 threads diverge" in done.stderr
    told = json.loads(wal(place, "replay", "orders.wal", "order 3", "--app", "shop:order", "--json").stdout)
    assert (told["kind"], told["v"], told["ok"]) == ("replay", 1, False)
    [thread] = told["threads"]
    assert (thread["result"], thread["path"], thread["recorded"]) == ("arguments", ["order", 0], "charge(3)")
    assert wal(place, "replay", "orders.wal", "order 1", "--app", "shop:order").returncode == 0
    assert (place / "charged").read_text() == "xxx"


def test_wrong_words_are_refused(place: Path) -> None:
    """A thread or --all, a thread that is there, and the code."""
    assert wal(place, "replay", "orders.wal", "--app", "shop:order").returncode == 2
    assert wal(place, "replay", "orders.wal", "order 1", "--all", "--app", "shop:order").returncode == 2
    assert wal(place, "replay", "orders.wal", "order 1").returncode == 2
    assert wal(place, "replay", "orders.wal", "nobody", "--app", "shop:order").returncode == 3
