"""What tests found out, kept: which were run, when, how they ended, and how much they tried.

    evidence(tried=2000, lost=0, unit="images")      a test says what it did
    WALGRAPH_EVIDENCE=FILE pytest …                  what the tests of this run say is put into FILE, beside the rest

The pages that say what survives what are made of that file (``survival.pages``).
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

_found: dict[str, dict[str, object]] = {}


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a function that notes what a test did: ``tried``, ``lost``, ``unit``, and other numbers."""

    def note(**facts: object) -> None:
        request.node.user_properties.append(("evidence", facts))

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note what a loop of ``make fuzz`` counted meanwhile."""
    before = Counter(_counted())
    yield
    counted = Counter(_counted()) - before
    if counted:
        item.user_properties.append(("evidence", dict(counted)))


def _counted() -> Counter[str]:
    counted: Counter[str] = getattr(sys.modules.get("fuzz.tally"), "COUNTED", Counter())
    return counted


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how a test ended; a skipped one ends before it is called."""
    if not os.environ.get("WALGRAPH_EVIDENCE") or (report.when != "call" and report.passed):
        return
    facts: dict[str, object] = {"outcome": report.outcome, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    for name, value in report.user_properties:
        if name == "evidence":
            facts.update(value)
    if report.nodeid not in _found or report.failed:
        _found[report.nodeid] = facts


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was found, in the process that has heard of all tests."""
    place = os.environ.get("WALGRAPH_EVIDENCE")
    if not place or not _found or hasattr(session.config, "workerinput"):
        return
    file = Path(place)
    before = json.loads(file.read_text("utf-8")) if file.exists() else {"tests": {}}
    before["tests"].update(_found)
    before["tests"] = dict(sorted(before["tests"].items()))
    before["machine"] = {
        "python": platform.python_version(),
        "lmdb": ".".join(map(str, lmdb.version())),
        "system": f"{platform.system()} {platform.machine()}",
    }
    file.write_text(json.dumps(before, indent=1, ensure_ascii=False) + "\n", "utf-8")
