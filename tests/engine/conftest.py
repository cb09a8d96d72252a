"""What the tests of the engine are run with: each way to call a graph, on each kind of log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Way
from store_helpers import Called, Shop
from subgraph_helpers import Ran
from timer_helpers import at_noon

from walgraph import Log, MemoryLog
from walgraph.engine.clock import FakeClock


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    """A way to call graphs."""
    return Way(request.param)


@pytest.fixture(params=["memory", "lmdb"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """A log of each kind, strict; the disk is not waited for, which tests of the log and of power loss do."""
    kind: str = request.param
    with (
        MemoryLog(strict=True)
        if kind == "memory"
        else Log.open(tmp_path / "log.wal", strict=True, fsync="off") as opened
    ):
        yield opened


@pytest.fixture(params=["no log", "memory", "lmdb"])
def maybe_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log | None]:
    """A log of each kind, or none."""
    if request.param == "no log":
        yield None
        return
    kind: str = request.param
    with (
        MemoryLog(strict=True)
        if kind == "memory"
        else Log.open(tmp_path / "log.wal", strict=True, fsync="off") as opened
    ):
        yield opened


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request: pytest.FixtureRequest) -> str:
    """A mode of durability."""
    mode: str = request.param
    return mode


@pytest.fixture
def ran() -> Ran:
    """What ran, in graphs made of ``subgraph_helpers``."""
    return Ran()


@pytest.fixture(params=["node", "function", "task"])
def kind(request: pytest.FixtureRequest) -> str:
    """How a subgraph is run: as a node, called in a node's function, or called in a task."""
    name: str = request.param
    return name


@pytest.fixture(params=["memory", "memory log", "lmdb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """Stores of each kind."""
    made = Shop(request.param, tmp_path)
    yield made
    for log in made.logs:
        log.close()


@pytest.fixture
def store(shop: Shop, way: Way) -> Called:
    """A store of each kind, called in each way."""
    return Called(shop.make(), way)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """A clock that shows noon."""
    with at_noon() as made:
        yield made
