"""Where the two libraries differ on purpose: each difference is a function with its reason, and there are no others.

first_difference(theirs, ours)     compares event by event and field by field

``partings``   from here on the thread goes different ways
``evened``     what is shown otherwise, but means the same
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from parity.comparing import differs
from parity.evened import EVENED
from parity.partings import PARTINGS
from parity.watching import Seen

Evening = Callable[[Seen, Seen], tuple[Seen, Seen]]
Parting = Callable[[Seen, Seen], bool]
TOLD: Counter[str] = Counter()
"""How often each difference on purpose was met."""


class Difference(NamedTuple):
    """The first difference between two runs of a story."""

    event: int
    where: str
    theirs: Any
    ours: Any


def first_difference(
    theirs: list[Seen],
    ours: list[Seen],
    evened_out: Sequence[Evening] = EVENED,
    partings: Mapping[Parting, tuple[str, ...]] = PARTINGS,
) -> Difference | None:
    """Return the first difference that is not one on purpose, or None.

    Args:
        theirs: What was seen with LangGraph.
        ours: What was seen with walgraph.
        evened_out: What is made equal before it is compared.
        partings: What ends the comparison, with the fields that are still equal.
    """
    for number, pair in enumerate(zip(theirs, ours, strict=False)):
        their, our = pair
        for even in evened_out:
            evened = even(their, our)
            TOLD[even.__name__] += evened != (their, our)
            their, our = evened
        part = next((part for part in partings if part(their, our)), None)
        if part is not None:
            TOLD[part.__name__] += 1
            their, our = (tuple(getattr(seen, field) for field in partings[part]) for seen in (their, our))
        found = differs(their, our)
        if found is not None:
            return Difference(number, *found)
        if part is not None:
            return None
    if len(theirs) != len(ours):
        return Difference(min(len(theirs), len(ours)), "length", len(theirs), len(ours))
    return None
