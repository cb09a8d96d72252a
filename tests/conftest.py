"""What holds for every test: examples are drawn the same way each time, and what is found is kept in ``build``.

A gate that fails for one seed in a thousand teaches people to run it again. So in ``make test`` hypothesis draws from
a fixed seed, and a failure is there for everybody; ``make fuzz`` and ``make parity`` are where new seeds are tried, and
what they find is kept in ``build/hypothesis``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase

# Hundreds of tests start processes, each of which would compile the package anew where the surroundings forbid to keep
# what was compiled; that is ten times what importing it costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["walgraph.tools.testing", "survival.recording"]

BUILD = Path(__file__).parent.parent / "build" / "hypothesis"

set_hypothesis_home_dir(BUILD)
# Deadlines are off, since the machine may be busy with something else.
settings.register_profile("steady", derandomize=True, database=None, deadline=None, print_blob=True)
settings.register_profile(
    "searching",
    database=DirectoryBasedExampleDatabase(BUILD / "examples"),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
is_searching = "WALGRAPH_FUZZ_SECONDS" in os.environ or "WALGRAPH_PARITY_EXAMPLES" in os.environ
settings.load_profile("searching" if is_searching else "steady")


def pytest_terminal_summary(terminalreporter) -> None:
    """After ``make fuzz``: what the loops came to, all together."""
    counted = getattr(sys.modules.get("fuzz.tally"), "COUNTED", {})
    if is_searching and counted:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items()))
        terminalreporter.write_line(f"fuzz: {told}")
