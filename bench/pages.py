"""Puts what the last runs of `make bench` and `make bench-peers` found into the pages: `python bench/pages.py`.

    build/bench-results/floor.json, peer.json ──► between <!-- bench:NAME --> and <!-- /bench -->, wherever that stands

    floor     all rows beside their floors          peers     all rows beside LangGraph and DBOS
    targets   S1 to S15, reached or not             savers    checkpointers under LangGraph
    short     what README.md shows                  machine   what both were run on

`make bench WRITE=1` and `make bench-peers WRITE=1` do so after they have measured. No figure is copied by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from targets import COLUMNS, GOALS, Verdict, load

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "bench/README.md", "docs/langgraph_saver.md")
BLOCK = re.compile(r"(<!-- bench:([a-z]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
SHORT = {
    "S1": "chain of 1,000 nodes, `sync`",
    "S2": "the same, `async` and `exit`",
    "S3": "the same, without a log",
    "S4": "chat growing to 2,000 messages",
    "S5": "fan-out of 1,000 `Send`s",
    "S7": "killed after 1,000 tasks, resumed in a fresh process",
    "S8": "1,000 threads × 10 steps, 8 workers, `sync`",
    "S10": "thread of 10,000 steps: open, state, one more step in a fresh process",
}


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as pages hold it."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |\n" for line in lines)


def floor() -> str:
    """Return all rows of `make bench`."""
    headings = ("workload", "mode", "µs/step", "floor", "ratio", "target", "reached", "on disk")
    return table(headings, load("floor").get("rows", ()))


def peers() -> str:
    """Return all rows of `make bench-peers` but those of savers."""
    return _compared(row for row in load("peer").get("rows", ()) if not row[0].startswith("savers"))


def savers() -> str:
    """Return the rows of savers."""
    rows = [row for row in load("peer").get("rows", ()) if row[0].startswith("savers")]
    return _compared([row[0].removeprefix("savers: "), *row[1:]] for row in rows)


def _compared(rows: Iterable[Sequence[str]]) -> str:
    return table(("work", "mode", "", "µs/step", "on disk", "written", "peak memory"), rows)


def targets() -> str:
    """Return every target, with what was found in both columns."""
    rows = []
    for goal, (workload, *wanted) in GOALS.items():
        for column, text in zip(COLUMNS, wanted, strict=True):
            if text:
                beside = "its floor" if column == "floor" else "LangGraph"
                rows.append([goal, workload, beside, text, _found(goal, column)])
    return table(("", "work", "beside", "wanted", "found"), rows)


def short() -> str:
    """Return what README.md shows."""
    return table(
        ("", "beside its floor", "faster than LangGraph with SqliteSaver"),
        ([name, _found(goal, "floor"), _found(goal, "peer")] for goal, name in SHORT.items()),
    )


def _found(goal: str, column: str) -> str:
    verdicts: list[Verdict] = [each for each in load(column)["verdicts"] if each.goal == goal]
    shown = [f"{each.figure}{'' if each.reached else f' (wanted {each.wanted})'}" for each in verdicts]
    return ", ".join(shown) or "not measured"


def machine() -> str:
    """Return what both were run on."""
    return "".join(f"- `{command}`: {load(column)['machine']}\n" for column, command in COLUMNS.items())


BLOCKS: dict[str, Callable[[], str]] = {
    each.__name__: each for each in (floor, peers, savers, targets, short, machine)
}


def main() -> None:
    """Write the blocks of all pages."""
    for name in PAGES:
        path = ROOT / name
        text = path.read_text()
        path.write_text(BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[3]}", text))
        print(f"{name}: {len(BLOCK.findall(text))} tables")


if __name__ == "__main__":
    main()
