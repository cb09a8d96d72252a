"""Scenarios: one file per situation, which reads like the specification. ``stage`` says what their commands are.

Each is played as it is written, and once more for each append of it: killed before it, and after it. It goes on, and
ends the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from outliving import Outliving, without_the_accident
from stage import Stage
from transcripts import replay, steps_of, words_of

from walgraph.wal.environment import open_environment
from walgraph.wal.lmdb_store import LmdbStore

FOLDER = Path(__file__).parent / "scenarios"
PATHS = sorted(FOLDER.glob("*.txt"))
SCENARIO = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
UNKILLED_FROM = {
    "stale_writer_refused": (
        "claim",
        "who holds the thread lives in the process that would be killed, and would be gone with it",
    ),
}
"""The scenarios that are not killed from a command on, with the reason why that would be another situation."""

AGAIN = 50
"""How often a scenario is played, at most, until it comes to the commit at which it is to be killed."""


@SCENARIO
def test_a_scenario_goes_as_it_is_written(path) -> None:
    """Each command of the transcript shows what it showed when the transcript was written."""
    replay(path, Stage())


def places_in(path: Path) -> list[tuple[int, str]]:
    """Return the commits at which a scenario can be killed, before and after, by playing it."""
    stage = Stage()
    until = UNKILLED_FROM.get(path.stem, ("",))[0]
    for verb, values, options, _ in commands_of(path):
        if verb == until:
            break
        stage(verb, values, options)
    return stage.places


def commands_of(path: Path) -> list[tuple[str, list[Any], dict[str, Any], list[str]]]:
    """Return the commands of a transcript: verb, values, options, and what was shown."""
    steps = steps_of(path.read_text("utf-8"))
    return [(*words_of(step.command), step.shown) for step in steps if step.command]


def goes_on(path: Path, stage: Outliving) -> bool:
    """Play a scenario to its end, and say whether it was killed on the way."""
    for verb, values, options, expected in commands_of(path):
        shown = stage(verb, values, options)
        place = f"{path.stem}: {verb} {values}, killed {stage.when} commit {stage.number}"
        assert without_the_accident(verb, shown) == without_the_accident(verb, expected), place
    return stage.is_over


@SCENARIO
def test_a_scenario_outlives_a_kill_at_any_append(path) -> None:
    """Killed before or after any of its appends, it shows the same from there on; nothing recorded is run again."""
    places = places_in(path)
    assert places
    for number, when in places:
        # Siblings that end together may be recorded by one commit, and the last place is then not reached.
        assert any(goes_on(path, Outliving(number, when)) for _ in range(AGAIN)), (number, when)


@SCENARIO
def test_a_scenario_outlives_kills_on_a_real_disk(path, tmp_path) -> None:
    """The same over LMDB, killed at every third of those places."""
    for number, when in places_in(path)[1::3]:
        for again in range(AGAIN):
            folder = tmp_path / f"{number} {when} {again}"
            store = LmdbStore(open_environment(str(folder)))
            try:
                if goes_on(path, Outliving(number, when, store)):
                    break
            finally:
                store.close()
        else:
            pytest.fail(f"{when} commit {number} is never reached")


def test_what_is_not_killed_is_a_scenario() -> None:
    """The exceptions name scenarios and commands that there are, and each has a reason."""
    for name, (verb, reason) in UNKILLED_FROM.items():
        assert verb in {verb for verb, *_ in commands_of(FOLDER / f"{name}.txt")}
        assert reason
