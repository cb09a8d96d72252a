"""The pages that say what survives what, made of the table and of what its tests came to.

    table.py ─┐
              ├──► the README's table       a letter and a number in each cell lead to its tests
    results ──┘──► docs/durability.md       all cells, and below them each test: how it ended, when, how much it tried

    make durability      runs the tests that are named, with as many images and lives as are asked for, and writes both

Nothing here says that a test passed: a cell of which one failed says that, and one whose test was not run is an error.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from survival.table import COLUMNS, DAMAGE, MODES, RESOURCES, Cell, Row, tests

TESTS = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_name("results.json")
COUNTED = ("lives", "killed", "stopped", "faults", "acknowledged", "acknowledgements")


def results() -> dict[str, Any]:
    """Return what was recorded."""
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


def results_of(test: str, recorded: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was recorded of a test: of each of its parameters, if it names none."""
    names = [f"tests/{test}"] if test.endswith("]") else [f"tests/{test}", f"tests/{test}["]
    return [
        facts
        for name, facts in recorded["tests"].items()
        if name == names[0] or (len(names) > 1 and name.startswith(names[1]))
    ]


def exists(test: str) -> bool:
    """Tell whether there is a function of that name in that file."""
    file, _, name = test.partition("::")
    place = TESTS / file
    if not place.exists():
        return False
    tree = ast.parse(place.read_text("utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return name.partition("[")[0] in names


def codes() -> dict[str, str]:
    """Return the code of each test: T1, T2 and so on."""
    return {test: f"T{number}" for number, test in enumerate(tests(), 1)}


def sum_of(found: list[dict[str, Any]]) -> str:
    """Return what tests did together, in words."""
    units: dict[str, int] = {}
    lost = 0
    for facts in found:
        if "tried" in facts:
            units[facts["unit"]] = units.get(facts["unit"], 0) + facts["tried"]
            lost += facts.get("lost", 0)
        for name in COUNTED:
            if facts.get(name):
                units[name] = units.get(name, 0) + facts[name]
    words = [f"{count:,} {unit}" for unit, count in units.items()]
    return ", ".join(words) + (f", {lost:,} with a loss" if lost else "")


def shown(one: Cell, recorded: dict[str, Any], page: str) -> str:
    """Return a cell: what it says, how much was tried, and links to its tests."""
    found = [facts for test in one.tests for facts in results_of(test, recorded)]
    assert all(results_of(test, recorded) for test in one.tests), f"not all of {one.tests} were run"
    ended = {facts["outcome"] for facts in found}
    says = (
        one.says
        if ended == {"passed"}
        else f"**{'failed' if 'failed' in ended else 'not tried here'}**: {one.says}"
    )
    tried = sum_of(found)
    links = " ".join(f"[{codes()[test]}]({page}#{codes()[test].lower()})" for test in one.tests)
    return f"{says}{f' ({tried})' if tried else ''} {links}"


def table(rows: tuple[Row, ...], columns: tuple[str, ...], recorded: dict[str, Any], page: str) -> str:
    """Return rows as a table; a cell that stands for all columns is said once, in the first of them."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for each in rows:
        cells = [shown(one, recorded, page) for one in each.cells]
        # What does not depend on the mode holds for the first three columns; the settings without flushes say for
        # themselves what they lose.
        if len(columns) > 1 and len(cells) == 1:
            cells = [*cells, "the same", "the same", "–", "–"]
        lines.append(f"| {each.fault} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def short() -> str:
    """Return the README's table."""
    return table(MODES, COLUMNS, results(), "docs/durability.md")


def whole() -> str:
    """Return the tables of docs/durability.md, and the tests below them."""
    recorded = results()
    machine = recorded["machine"]
    parts = [
        f"Made of a run on {machine['system']} with Python {machine['python']} and LMDB {machine['lmdb']}.\n",
        "### By durability\n",
        table(MODES, COLUMNS, recorded, ""),
        "### Damage\n",
        table(DAMAGE, ("what becomes of it",), recorded, ""),
        "### Resources, processes, clocks\n",
        table(RESOURCES, ("what becomes of it",), recorded, ""),
        "### The tests\n",
        "| | test | ended | on | tried |\n|---|---|---|---|---|\n"
        + "\n".join(_line(test, recorded) for test in tests())
        + "\n",
    ]
    return "\n".join(parts)


def _line(test: str, recorded: dict[str, Any]) -> str:
    found = results_of(test, recorded)
    ended = ", ".join(sorted({facts["outcome"] for facts in found}))
    day = max(facts["date"] for facts in found)
    code = codes()[test]
    cases = f"{len(found)} cases" if len(found) > 1 else ""
    tried = "; ".join(each for each in (cases, sum_of(found)) if each)
    return f'| <a id="{code.lower()}"></a>{code} | `tests/{test}` | {ended} | {day} | {tried} |'


def nodes() -> list[str]:
    """Return what pytest is to run: files for tests with parameters that have blanks in them, else the tests."""
    return list(dict.fromkeys(f"tests/{test.partition('[')[0]}" for test in tests()))


if __name__ == "__main__":
    sys.exit(
        subprocess.run([sys.executable, "-m", "pytest", *nodes(), *sys.argv[1:]], check=False).returncode
    )
