"""What ``import walgraph`` brings along.

The budget is 40 ms of CPU beyond the standard library. Time is measured in ``bench/bench_import.py``, since a timed
test fails on a busy machine; what spends the time is which modules are loaded, and that can be held exactly.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import walgraph

MODULES, COMPILED = 121, 17
"""How many modules ``import walgraph`` may load, and how many of their classes may be the standard library's named
tuples or dataclasses."""
HEAVY = ["click", "hypothesis", "langchain_core", "numpy", "psycopg", "pydantic", "rich", "starlette"]


def modules_after(statement: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter holds after the statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", HEAVY)
def test_import_leaves_heavy_modules_alone(name: str, imported: set[str]) -> None:
    """Neither optional packages nor what only the tools need are loaded with the library."""
    assert name not in imported


def test_import_leaves_names_on_demand_alone(imported: set[str]) -> None:
    """Modules whose names are loaded at their first use are not loaded before."""
    lazy = {f"walgraph{module}" for module in walgraph._ON_DEMAND.values()}
    lazy |= {f"walgraph.wal.{name}" for name in ("items", "item_layout", "item_view", "table_items")}
    assert not lazy & imported


@pytest.mark.parametrize("module", ["timeout", "step_timeout", "caching", "canonical"])
def test_import_leaves_what_most_runs_do_not_need_alone(module: str, imported: set[str]) -> None:
    """These are loaded by the first run that needs them."""
    assert f"walgraph.engine.{module}" not in imported


def test_import_loads_few_modules(imported: set[str]) -> None:
    """Each module of ours costs a quarter of a millisecond; what most runs do not need is loaded where it is used."""
    ours = {name for name in imported if name.partition(".")[0] == "walgraph"}
    assert len(ours) <= MODULES, sorted(ours)


def test_import_compiles_few_classes() -> None:
    """A class that writes its own code costs as much as a module: only what users make instances of may be one."""
    program = """
import sys
import walgraph
made = []
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] == "walgraph":
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == name:
                is_tuple = hasattr(value, "_fields") and type(value) is type
                if is_tuple or "__dataclass_fields__" in vars(value):
                    made.append(value.__qualname__)
print(*sorted(made))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert len(done.stdout.split()) <= COMPILED, done.stdout


def test_import_brings_the_library_itself(imported: set[str]) -> None:
    """The probe sees what was imported, so that its silence on the rest means something."""
    assert "walgraph" in imported


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """Return the modules loaded by ``import walgraph`` in a process of its own."""
    return modules_after("import walgraph")
