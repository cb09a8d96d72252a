"""What recognisers of differences ask about a call and the thread after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from parity.showing import Snapshot


def repeated(items: Iterable[Any]) -> Counter[str]:
    """Return how often there is each of what cannot be hashed."""
    return Counter(map(repr, items))


def is_steered(found: Snapshot) -> bool:
    """Say whether a goto was given to the thread as an input."""
    return "steered" in (plain_values(found).get("trace") or ())


def commands(found: Snapshot) -> int:
    """Return how many commands, given as inputs, have written to the thread."""
    trace = plain_values(found).get("trace") or ()
    return sum(entry in {"steered", "updated"} for entry in trace)


def plain_values(found: Snapshot) -> dict[str, Any]:
    """Return the values of a checkpoint by key."""
    return found.values if isinstance(found.values, dict) else {}


def rival_errors(found: Any) -> set[str]:
    """Return what failed beside something else that failed, in a graph or in a subgraph of it."""
    if not isinstance(found, Snapshot):
        return set()
    errors = [task.error for task in found.tasks if task.error]
    below = [rival_errors(task.state) for task in found.tasks]
    return set().union(errors if len(errors) > 1 else (), *below)
