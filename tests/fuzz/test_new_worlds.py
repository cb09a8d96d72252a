"""New worlds for the laws: random graphs driven by hand, with seeds that nobody has tried.

``make fuzz`` gives them their share of WALGRAPH_FUZZ_SECONDS; ``WALGRAPH_FUZZ_SEED=n`` lives through one world again.
"""

from __future__ import annotations

import os
import random
import time

import pytest
from fuzz.shares import seconds
from fuzz.tally import tally
from simulation.by_hand import World
from simulation.graphs import a_shape
from simulation.laws import LawBroken
from simulation.lives import a_function, a_graph
from simulation.test_laws import MODES, proved

SECONDS = seconds("new_worlds")
SEED = int(os.environ.get("WALGRAPH_FUZZ_SEED", "0"))
WORLDS = 40
"""How many worlds there are when there is no time to search."""


@pytest.mark.timeout(0 if SECONDS else 120)
def test_the_laws_hold_in_new_worlds() -> None:
    """As long as there is time, another graph dies in other places, and the laws hold."""
    end = time.monotonic() + SECONDS
    first = SEED or (time.time_ns() % 2**40 if SECONDS else 1)
    count = 1 if SEED else 10**9 if SECONDS else WORLDS
    for seed in range(first, first + count):
        chance = random.Random(seed)
        shape, mode, make = (
            a_shape(chance.randrange),
            MODES[seed % 3],
            a_function if seed % 5 == 0 else a_graph,
        )
        try:
            proved(World(seed, chance.randrange(16)), shape, mode, make)
        except (Exception, LawBroken) as error:
            error.add_note(f"WALGRAPH_FUZZ_SEED={seed} replays it: {mode}, {shape}")
            raise
        tally(worlds=1)
        if SECONDS and time.monotonic() > end:
            break
