"""Random graphs, random ends, random crashes: the five laws hold after every effect, and the result is the same.

The examples are the same each time; ``tests/fuzz/test_new_worlds.py`` is where new ones are tried.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation.by_hand import World
from simulation.graphs import Shape, a_shape, shapes
from simulation.lives import CONFIG, Make, Story, a_function, a_graph, live_through

from walgraph import Log
from walgraph.engine import recorder
from walgraph.replay import paging
from walgraph.replay.recover import recover, without_snapshot
from walgraph.wal.codec import GLOBAL
from walgraph.wal.verify import verify

MODES = ("sync", "async", "exit")


def proved(world: World, shape: Shape, mode: str, make: Make = a_graph) -> Story:
    """Live through a world; the laws are checked on the way, the result and the log at the end."""
    story = live_through(world, shape, mode, make)
    # A world without faults is what the graph comes to when nothing happens but what it does itself.
    assert live_through(World(0), shape, "sync", make).values == story.values
    with world.life(faulty=False) as log:
        assert verify(log, structure=False).problems == ()
        rebuilt(log)
    return story


def rebuilt(log: Log) -> None:
    """A snapshot is worth what the records before it are worth: nothing of the root is lost or added."""
    thread, registry = CONFIG["configurable"]["thread_id"], GLOBAL
    head = log.head(thread)
    assert head is not None
    # Nobody's graph is known here, so that what is compared is the records themselves.
    state = without_snapshot(log, thread, lambda _: None, registry, head.seq)
    assert head.seq == state.seq == recover(log, thread, lambda _: None, registry).state.seq


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(shape=shapes(), seed=st.integers(0, 2**32), chaos=st.integers(0, 12))
def test_the_laws_hold_in_memory(mode, shape, seed, chaos) -> None:
    """Whatever ends first and whatever crashes, the laws hold and the result is that of an undisturbed run."""
    proved(World(seed, chaos), shape, mode)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(shape=shapes(), seed=st.integers(0, 2**32), chaos=st.integers(0, 12))
def test_the_laws_hold_for_functions(mode, shape, seed, chaos) -> None:
    """The same for an entrypoint that runs again from its top, and finds its calls recorded."""
    proved(World(seed, chaos), shape, mode, a_function)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(shape=shapes(), seed=st.integers(0, 2**32), chaos=st.integers(0, 8))
def test_the_laws_hold_on_a_disk(mode, shape, seed, chaos) -> None:
    """The same over LMDB, whose log is closed and opened again for each life."""
    with tempfile.TemporaryDirectory() as folder:
        proved(World(seed, chaos, Path(folder, "log")), shape, mode)


@pytest.mark.parametrize("mode", ["sync", "async"])
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(shape=shapes(), seed=st.integers(0, 2**32), chaos=st.integers(0, 12))
def test_the_laws_hold_with_a_snapshot_at_every_step(mode, shape, seed, chaos) -> None:
    """Snapshots at every chance change nothing: each life recovers from one, and the laws compare with the records."""
    with (
        mock.patch.object(recorder, "SNAPSHOT_RECORDS", 1),
        mock.patch.object(recorder, "SNAPSHOT_GROWTH", 0),
    ):
        proved(World(seed, chaos), shape, mode)


@pytest.mark.parametrize("mode", ["sync", "async"])
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(shape=shapes(), seed=st.integers(0, 2**32), chaos=st.integers(0, 12))
def test_the_laws_hold_with_pages_of_two_calls(mode, shape, seed, chaos) -> None:
    """Nearly all that a function's calls came to lies in pages of the log, and is read from there by every life."""
    with (
        mock.patch.multiple(recorder, SNAPSHOT_RECORDS=1, SNAPSHOT_GROWTH=0, PAGED_FROM=1),
        mock.patch.multiple(paging, PAGE_OUTCOMES=2, RUN_LENGTH=2),
    ):
        proved(World(seed, chaos), shape, mode, a_function)


def test_a_world_is_made_of_its_seed_alone() -> None:
    """The same seed gives the same deaths and the same effects, so that what failed once can be looked at."""
    shape = a_shape(random.Random(3).randrange)
    first, second = World(5, 8), World(5, 8)
    assert live_through(first, shape, "async") == live_through(second, shape, "async")
    assert (first.effects, first.done) == (second.effects, second.done)
    assert first.effects
