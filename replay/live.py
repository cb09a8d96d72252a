"""The values of a graph whose step is open: as of the last barrier, with what finished since (LangGraph rule GS-1).

Invariants:
1. It never fails because a step's writes conflict: such a channel is shown as it was before.

It must not be recorded: what an open step comes to is decided when it is closed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .fold import apply_writes
from .state import FINISHED

if TYPE_CHECKING:
    from ..wal.record import Write
    from .blueprint import Blueprint
    from .state import GraphState


def live_values(blueprint: Blueprint, graph: GraphState, *, bump: bool = False) -> dict[str, Any]:
    """Return the values with the writes of the open step's finished tasks.

    Args:
        blueprint: The graph.
        graph: Its state; not changed.
        bump: Whether channels that forget have forgotten what was not written again.
    """
    values = graph.values
    if not graph.outcomes:
        return values
    written: dict[str, list[tuple[str, Write]]] = {}
    for path in sorted(graph.paths(), key=lambda p: (isinstance(p[0], int), p[0])):
        outcome = graph.standing(path)
        if outcome is not None and outcome.status == FINISHED:
            for write in outcome.writes:
                if write[0] == "__root__" or write[0][:2] != "__":
                    written.setdefault(write[0], []).append((graph.node_of(path), write))
    for writes in written.values():
        with suppress(Exception):
            values = apply_writes(blueprint, values, writes, bump=False)
    if bump and written:
        forgotten = set(blueprint.forgetful).difference(written)
        values = {key: value for key, value in values.items() if key not in forgotten}
    return values
