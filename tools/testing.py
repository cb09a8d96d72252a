"""What tests of your own graphs need: kills at every record, a clock that skips sleeps, tasks that end by hand.

    pytest_plugins = ["walgraph.tools.testing"]      in conftest.py, for the fixture ``fake_clock``

    crash_everywhere(graph, input)     ``crashes``    killed before and after each record, does it end the same?
    fake_clock                         a fixture      who sleeps is woken at once, and time is what the test says
    by_hand(order)                     ``by_hand``    parallel tasks end in the order that the test chooses

Invariants:
1. Nothing of the library imports this module, and so pytest.

It must not hold what works without pytest: that is in the modules named above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..engine.clock import FakeClock, using
from .by_hand import by_hand
from .crashes import CrashFound, CrashReport, Difference, crash_everywhere

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CrashFound",
    "CrashReport",
    "Difference",
    "FakeClock",
    "by_hand",
    "crash_everywhere",
    "fake_clock",
]


@pytest.fixture
def fake_clock() -> Iterator[FakeClock]:
    """A clock that stands still until somebody sleeps or the test moves it; all runs of the test go by it."""
    with using(clock := FakeClock()):
        yield clock
