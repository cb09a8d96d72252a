"""Random graphs are run to their end, and then gone back into at a random checkpoint: the end is the same again.

A node's result depends on nothing but its state and its answers, so a branch that begins as the thread really was at
the checkpoint, whichever graph it is one of, must come to what the thread came to. Crashes on the way change nothing.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation.by_hand import World
from simulation.graphs import shapes
from simulation.lives import CONFIG, EXPECTED, LIVES, Make, a_function, a_graph, next_of
from simulation.test_laws import proved


def ways_back(graph: Any, turn: int) -> list[dict[str, Any]]:
    """Return the configs of the last turn's checkpoints after which something is due, also those of subgraphs."""
    found: list[dict[str, Any]] = []
    for shown in graph.get_state_history(CONFIG):
        if shown.metadata.get("turn") != turn or shown.metadata["source"] == "update":
            break
        found.extend([shown.config] if shown.next else [])
        for where in [task.state for task in shown.tasks if task.state is not None]:
            found.extend(inner.config for inner in graph.get_state_history(where) if inner.next)
    return found


def gone_back(world: World, shape: Any, mode: str, make: Make, config: dict[str, Any]) -> dict[str, Any]:
    """Go back to a checkpoint, carry on through all deaths, and return the values at the end."""
    turn = shape.turns - 1
    given: Any = None
    where = {**config, "metadata": {"turn": turn}, "recursion_limit": 60}
    for _ in range(LIVES):
        with world.life(faulty=False) as log:
            graph = make(shape, world, log, mode)
            world.faulty = True
            with contextlib.suppress(*EXPECTED):
                graph.invoke(given, where)
            world.faulty = False
            if world.laws.broken is not None:
                raise world.laws.broken
        with world.life(faulty=False) as log:
            act = next_of(make(shape, world, log, mode), shape, turn, world.random)
            if act.do == "rest":
                values: dict[str, Any] = act.given
                return values
            assert act.do in {"resume", "answer"}, act
            given, where = act.given, {**CONFIG, "metadata": {"turn": turn}}
    raise AssertionError("it never ends")


@pytest.mark.parametrize("make", [a_graph, a_function])
@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(shape=shapes(), seed=st.integers(0, 2**32), chaos=st.integers(0, 5))
def test_every_way_back_leads_to_the_same_end(make, mode, shape, seed, chaos) -> None:
    """TT-1, TT-7: whatever checkpoint it begins at, and whatever crashes meanwhile."""
    world = World(seed, chaos)
    story = proved(world, shape, mode, make)
    with world.life(faulty=False) as log:
        ways = ways_back(make(shape, world, log, mode), shape.turns - 1)
    for config in random.Random(seed).sample(ways, min(3, len(ways))):
        world.chaos = chaos
        assert gone_back(world, shape, mode, make, config) == story.values
