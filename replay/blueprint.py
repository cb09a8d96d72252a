"""A graph as plain data: all that fold and plan read of it.

The engine compiles what the user built into a blueprint and keeps the callables to itself. Control flow is not in
here either: where a finished task sends control is recorded with its outcome, so that an old log folds the same
after the edges changed.

Invariants:
1. A blueprint holds no user code but the reducers of its channels, which are declared pure.
2. Equal descriptions mean equal folds: the description is what a log keeps of the graph (its fingerprint).

It must not know nodes' functions, drawings or schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .channel import BaseChannel, describe, from_description

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Blueprint:
    """What fold and plan need of one graph.

    Args:
        name: The graph's name.
        entry: The node that a new input makes due: the hidden START, or the one node of an entrypoint.
        channels: Channel name → what it does with writes.
        nodes: Node name → what is worth recording about it: its edges and the like, as plain data.
    """

    __slots__ = ("channels", "entry", "finishing", "forgetful", "name", "nodes", "untracked")

    def __init__(
        self, name: str, entry: str, channels: Mapping[str, BaseChannel], nodes: Mapping[str, Any]
    ) -> None:
        """Keep the parts and find the channels that need care at every barrier."""
        self.name = name
        self.entry = entry
        self.channels = dict(channels)
        self.nodes = dict(nodes)
        self.forgetful = tuple(key for key, channel in self.channels.items() if channel.forgets)
        self.finishing = tuple(key for key, channel in self.channels.items() if _finishes(channel))
        self.untracked = frozenset(key for key, channel in self.channels.items() if not channel.tracked)

    def describe(self) -> dict[str, Any]:
        """Return the graph as plain data: what is written to the log as its fingerprint."""
        return {
            "name": self.name,
            "entry": self.entry,
            "nodes": self.nodes,
            "channels": {key: describe(channel) for key, channel in self.channels.items()},
        }


def _finishes(channel: BaseChannel) -> bool:
    """Return whether the channel heeds that nothing else is due (the AfterFinish kinds)."""
    return type(channel).finish is not BaseChannel.finish


def blueprint_of(description: Mapping[str, Any]) -> tuple[Blueprint, list[str]]:
    """Rebuild a blueprint from a log's description, for tools that do not have the user's code.

    Returns:
        The blueprint, and the channels whose reducer only the user's code has.
    """
    channels = {key: from_description(data) for key, data in description["channels"].items()}
    unknown = sorted(key for key, channel in channels.items() if channel is None)
    known = {key: channel for key, channel in channels.items() if channel is not None}
    return Blueprint(description["name"], description["entry"], known, description["nodes"]), unknown


def differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return what changed between two descriptions of a graph, one line each, empty when nothing did."""
    lines: list[str] = []
    for part in ("nodes", "channels"):
        before, after = recorded.get(part, {}), present.get(part, {})
        lines.extend(f"{part[:-1]} {key!r} was removed" for key in _only(before, after))
        lines.extend(f"{part[:-1]} {key!r} was added" for key in _only(after, before))
        lines.extend(
            f"{part[:-1]} {key!r} changed from {before[key]!r} to {after[key]!r}"
            for key in sorted(before)
            if key in after and before[key] != after[key]
        )
    return lines


def _only(these: Iterable[str], those: Iterable[str]) -> list[str]:
    return sorted(set(these) - set(those))
