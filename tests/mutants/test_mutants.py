"""The hunt for mistakes is itself tried: what it would make can be made, and it tells what is found from what is not.

The whole hunt takes minutes, and is ``make mutants``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants.hunt import ROOT, copied, judged, made
from mutants.mutants import MUTANTS, Mutant

LOST_VERDICT = "tests/wal/test_store_contract.py::test_a_lower_epoch_is_refused_and_a_higher_one_taken"


def test_each_mistake_can_still_be_made() -> None:
    """A text that is no longer in the code, once, would be a mistake that nobody makes."""
    wrong = [
        f"{mutant.name}: {old!r}"
        for mutant in MUTANTS
        for old, new in mutant.edits
        if (ROOT / mutant.file).read_text().count(old) != 1 or new == old
    ]
    assert not wrong
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


def test_the_tests_that_should_find_a_mistake_exist() -> None:
    """They are named by file and function."""
    for mutant in MUTANTS:
        assert mutant.found_by
        for test in mutant.found_by:
            file, _, function = test.partition("::")
            assert f"def {function.partition('[')[0]}" in (ROOT / file).read_text()


def test_a_mistake_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """It is not taken for one that nobody found."""
    with pytest.raises(ValueError, match="0 times, not once"):
        made(Mutant("gone", "wal/claim.py", (("nowhere", ""),), ()), copied(tmp_path))


def test_what_is_found_is_told_from_what_lives() -> None:
    """A mistake is found by the test that it breaks, and by none where nothing is broken."""
    skipped = next(mutant for mutant in MUTANTS if mutant.name.endswith("is written all the same"))
    found = judged(skipped._replace(found_by=(LOST_VERDICT,)), suite=())
    assert (found.test.partition("[")[0], found.how) == (LOST_VERDICT, "failed")
    harmless = Mutant("harmless", "wal/claim.py", (('"""The claims', '"""These claims'),), (LOST_VERDICT,))
    lives = judged(harmless, suite=())
    assert (lives.test, lives.how) == ("", "every test passed")
