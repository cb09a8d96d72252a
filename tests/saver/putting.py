"""Checkpoints put by hand, as LangGraph's loop would put them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.base.id import uuid6

_count = itertools.count()


def config(thread: str = "t", **more: Any) -> dict[str, Any]:
    """The config of a thread."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


def a_checkpoint(values: dict[str, Any], versions: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with these values."""
    return {
        "v": 4,
        "id": str(uuid6(clock_seq=next(_count) % 16000)),
        "ts": "2026-11-20T12:00:00+00:00",
        "channel_values": values,
        "channel_versions": versions,
        "versions_seen": {},
        "updated_channels": sorted(values),
    }


class Putter:
    """A run: reads where it begins, and puts one checkpoint after another."""

    def __init__(self, saver: Any, where: Any = None) -> None:
        self.saver = saver
        self.config = where or config()
        self.versions: dict[str, Any] = {}

    def begin(self, id: str | None = None) -> None:
        """Read the newest checkpoint, or the one with an id, and go on from there."""
        conf = {key: value for key, value in self.config["configurable"].items() if key != "checkpoint_id"}
        found = self.saver.get_tuple({"configurable": conf if id is None else {**conf, "checkpoint_id": id}})
        self.config = {"configurable": conf} if found is None else found.config
        self.versions = {} if found is None else dict(found.checkpoint["channel_versions"])

    def put(
        self, values: dict[str, Any] | None = None, *, changed: Sequence[str] | None = None, **metadata: Any
    ) -> Any:
        """Put a checkpoint behind the last one; ``changed`` are the channels with a new version, all if None."""
        values = {} if values is None else values
        new = {
            channel: self.saver.get_next_version(self.versions.get(channel), None)
            for channel in (values if changed is None else changed)
        }
        self.versions |= new
        given = a_checkpoint(values, dict(self.versions))
        self.config = self.saver.put(self.config, given, {"source": "loop", "parents": {}, **metadata}, new)
        return self.config
