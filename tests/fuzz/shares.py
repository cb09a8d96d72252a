"""How the time of a search is shared: each search of this folder gets a part of WALGRAPH_FUZZ_SECONDS.

make fuzz                                     600 seconds
MINUTES=60, or WALGRAPH_FUZZ_SECONDS=3600     as many as are said
"""

from __future__ import annotations

import os
from fractions import Fraction

SHARES = {
    "crash_loops": Fraction(6, 20),
    "new_worlds": Fraction(3, 20),
    "sieges": Fraction(3, 20),
    "transfers": Fraction(2, 20),
    "crowds": Fraction(2, 20),
    "storms": Fraction(2, 20),
    "hostile": Fraction(2, 20),
}
"""Search, as its module is called behind ``test_`` → its part of the time."""


def seconds(search: str) -> float:
    """Return how many seconds a search may take; 0 in ``make test``, where nothing is searched for."""
    whole = float(os.environ.get("WALGRAPH_FUZZ_SECONDS", "0"))
    return whole * float(SHARES[search])
