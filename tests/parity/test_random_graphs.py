"""Random stories of graphs and programs, run with LangGraph and with walgraph: all that a user could see is equal.

What differs on purpose is listed in ``differences``, each difference by name. ``make test`` tells the same few hundred
stories each time, ``make parity`` thousands of new ones.
"""

from __future__ import annotations

import os
import pprint
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from parity.differences import Difference, first_difference
from parity.libraries import OURS, THEIRS
from parity.program_differences import first_program_difference, watch_program
from parity.programs import program_stories
from parity.shapes import stories
from parity.watching import Seen, watch

EXAMPLES = int(os.environ.get("WALGRAPH_PARITY_EXAMPLES", "0"))
"""How many stories of each kind ``make parity`` tells; 0 in ``make test``, which does not shrink what it finds."""
PARTS = range(6 if EXAMPLES else 1)
"""In how many parts the stories of a kind are told, so that several processes share them."""
FOUND = Path(__file__).parent.parent.parent / "build" / "parity.txt"
"""Where differences are written down at once: a search for them goes on for long after the first."""
TRIES = 3
"""How often a story is told, at most, until it is told alike."""


def told(fewer: int) -> settings:
    """Return how many stories of a kind are told: ``fewer`` in ``make test``."""
    return settings(
        max_examples=-(-EXAMPLES // len(PARTS)) or fewer,
        phases=list(Phase) if EXAMPLES else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def told_alike(
    story: Any, watched: Callable[..., list[Seen]], compared: Callable[..., Difference | None]
) -> None:
    """Run a story with both libraries; fail with the first difference.

    On a busy machine siblings of a failure may end late. So a difference must show each time that the story is told.
    """
    for _ in range(TRIES):
        theirs, ours = watched(THEIRS, story), watched(OURS, story)
        found = compared(theirs, ours)
        if found is None:
            break
    else:
        message = (
            f"{pprint.pformat(story)}\nafter {[seen.did for seen in theirs[: found.event + 1]]}, {found.where} is\n"
            f"  theirs: {found.theirs!r}\n  ours:   {found.ours!r}"
        )
        if EXAMPLES:
            FOUND.parent.mkdir(exist_ok=True)
            with FOUND.open("a", encoding="utf-8") as file:
                file.write(f"{story!r}\n{message}\n\n")
        pytest.fail(message)


@pytest.mark.parametrize("part", PARTS)
@told(fewer=60)
@given(story=stories(("input",)))
def test_a_graph_runs_as_it_does_in_langgraph(story, part) -> None:
    """Inputs, answers and resumes: values, streams, what runs, the state and its history are equal."""
    told_alike(story, watch, first_difference)


@pytest.mark.parametrize("part", PARTS)
@told(fewer=60)
@given(story=stories())
def test_whatever_is_done_to_a_thread_comes_out_as_in_langgraph(story, part) -> None:
    """The same, with commands as inputs, edits, old checkpoints gone back to, and branches that begin there."""
    told_alike(story, watch, first_difference)


@pytest.mark.parametrize("part", PARTS)
@told(fewer=40)
@given(story=program_stories())
def test_a_function_runs_as_it_does_in_langgraph(story, part) -> None:
    """Entrypoints and tasks: what they return, save, ask, retry and stream, and the history, are equal."""
    told_alike(story, watch_program, first_program_difference)
