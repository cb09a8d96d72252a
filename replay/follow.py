"""Where control goes at a barrier: from the targets of a step's outcomes to what the next step consists of.

    targets ── route ──► nodes due, sends, half-seen joins, deferred nodes
                  └ no node due ── quiescent ──► deferred nodes and the joins of such become due; ``finish``

It must not read values nor apply writes, but for the channels that wait until nothing else is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..wal.record import Target
    from .blueprint import Blueprint
    from .state import JoinKey, SendKept


def route(
    targets: Sequence[Target],
    due: tuple[str, ...],
    sends: tuple[SendKept, ...],
    joins: dict[JoinKey, frozenset[str]],
    deferred: frozenset[str],
) -> tuple[tuple[str, ...], tuple[SendKept, ...], dict[JoinKey, frozenset[str]], frozenset[str]]:
    """Follow targets: return what is due, in order of names, the sends in order of arrival, joins and deferrals."""
    if len(targets) == 1 and not due and isinstance(targets[0], str):
        return (targets[0],), sends, joins, deferred
    names, sent = set(due), list(sends)
    full: set[JoinKey] = set()
    for target in targets:
        if isinstance(target, str):
            names.add(target)
            continue
        match target:
            case ("send", *_):
                sent.append(target[1:])
            case ("defer", node):
                deferred = deferred | {node}
            case ("join", members, end, late, arrived):
                key = (tuple(members), end, late)
                seen = joins.get(key, frozenset()) | {arrived}
                joins = {**joins, key: seen}
                if len(seen) == len(key[0]) and not late:
                    names.add(end)
                    full.add(key)
            case _:
                message = f"a target of unknown form is recorded: {target!r}"
                raise AssertionError(message)
    if full:
        # Only now: a member that arrives again in this very step is no part of the next filling.
        joins = {held: seen for held, seen in joins.items() if held not in full}
    return tuple(sorted(names)), tuple(sent), joins, deferred


def quiescent(
    joins: dict[JoinKey, frozenset[str]], deferred: frozenset[str]
) -> tuple[tuple[str, ...], dict[JoinKey, frozenset[str]], frozenset[str]]:
    """Release what waits until no node is due: deferred nodes, and full joins of deferred nodes (A-6, A-7)."""
    full = [key for key, seen in joins.items() if key[2] and len(seen) == len(key[0])]
    if not deferred and not full:
        return (), joins, deferred
    due = tuple(sorted(deferred | {key[1] for key in full}))
    return due, {key: seen for key, seen in joins.items() if key not in full}, frozenset()


def finish(blueprint: Blueprint, values: dict[str, Any]) -> dict[str, Any]:
    """Tell the channels that wait for it that nothing else is due (A-6)."""
    for key in blueprint.finishing:
        if key in values:
            finished = blueprint.channels[key].finish(values[key])
            if finished is not values[key]:
                values = {**values, key: finished}
    return values
