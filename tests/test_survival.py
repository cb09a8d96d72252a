"""What the pages say of faults is what tests found: each cell names its tests, they exist, were run, and passed."""

from __future__ import annotations

import pytest
from survival.pages import exists, results, results_of
from survival.table import COLUMNS, DAMAGE, MODES, RESOURCES, TABLES
from survival.table import tests as named

EXPECTED = {
    "killed", "power", "torn", "full", "EIO", "cut short", "SQLite", "empty or missing", "zeroed", "swapped",
    "overwritten", "elsewhere", "older", "flipped", "newer format", "somebody else", "unknown kind", "lock.mdb",
    "backup damaged", "hostile", "come back", "map full", "descriptors", "address space", "stopped", "two writers",
    "one thread", "fork", "dies in a transaction", "clocks", "readers", "right to write", "network",
    "while a log is made", "compaction", "recovery", "restore", "interrupt", "ids of threads",
}  # fmt: skip
"""Words for every kind of fault that must have a row."""


def test_every_kind_of_fault_has_a_row() -> None:
    """A row that is taken out of the table is missed."""
    faults = [each.fault for table in TABLES for each in table]
    assert {word for word in EXPECTED if not any(word in fault for fault in faults)} == set()
    assert len(faults) == len(set(faults))
    assert (len(MODES), len(DAMAGE), len(RESOURCES)) >= (8, 23, 21)


def test_every_cell_names_its_tests() -> None:
    """There is a cell for each column, or one for all, and none without a test."""
    for table in TABLES:
        for each in table:
            assert len(each.cells) in {1, len(COLUMNS)}
            assert all(one.says and one.tests for one in each.cells), each.fault


@pytest.mark.parametrize("test", named())
def test_what_a_cell_names_is_a_test_that_was_run(test: str) -> None:
    """It exists, and is on record as passed: a table is not made of what somebody hopes."""
    assert exists(test)
    found = results_of(test, results())
    assert found, "run `make durability`"
    assert {facts["outcome"] for facts in found} == {"passed"}
