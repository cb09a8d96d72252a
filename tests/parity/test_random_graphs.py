"""Random stories, run with LangGraph and with walgraph: everything that a user could see is equal.

What differs on purpose is listed in ``differences``, each difference by name. ``make test`` tells the same few hundred
stories each time, ``make parity`` thousands of new ones.
"""

from __future__ import annotations

import os
import pprint

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from parity.differences import first_difference
from parity.libraries import OURS, THEIRS
from parity.shapes import Story, stories
from parity.watching import watch

EXAMPLES = int(os.environ.get("WALGRAPH_PARITY_EXAMPLES", "0"))
"""How many stories of each kind ``make parity`` tells; 0 in ``make test``, which does not shrink what it finds."""
TRIES = 3
"""How often a story is told, at most, until it is told alike."""
TOLD = settings(
    max_examples=EXAMPLES or 100,
    phases=list(Phase) if EXAMPLES else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def told_alike(story: Story) -> None:
    """Run a story with both libraries; fail with the first difference.

    On a busy machine siblings of a failure may end late. So a difference must show each time that the story is told.
    """
    for _ in range(TRIES):
        theirs, ours = watch(THEIRS, story), watch(OURS, story)
        found = first_difference(theirs, ours)
        if found is None:
            break
    else:
        pytest.fail(
            f"{pprint.pformat(story)}\nafter {[seen.did for seen in theirs[: found.event + 1]]}, {found.where} is\n"
            f"  theirs: {found.theirs!r}\n  ours:   {found.ours!r}"
        )


@TOLD
@given(story=stories(("input",)))
def test_a_graph_runs_as_it_does_in_langgraph(story) -> None:
    """Inputs, answers and resumes: values, streams, what runs, the state and its history are equal."""
    told_alike(story)


@TOLD
@given(story=stories())
def test_whatever_is_done_to_a_thread_comes_out_as_in_langgraph(story) -> None:
    """The same, with commands as inputs, edits, old checkpoints gone back to, and branches that begin there."""
    told_alike(story)
